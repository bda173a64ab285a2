"""Statistics at examples equal slow literal twins, have known values where the case was made, and say why not."""

import numpy as np
import pytest
import scipy.stats
import xarray as xr
from made_runs import examples

from nngeom_cli.analysis.bootstrap import stage_table
from nngeom_cli.analysis.data import data_statistics, data_words
from nngeom_cli.analysis.statistic import REASONS

CORRELATIONS = [
    f"{field}_{what}{within}"
    for field in ("effective_volume", "curvature")
    for what in ("margin", "entropy")
    for within in ("", "_within")
]


def random_examples(seed=0, shape=(2, 2, 3), points=40):
    """Fields with ties, missing and unreliable values, three classes of unequal size, and duplicates."""
    rng = np.random.default_rng(seed)
    geometry = examples(epochs=10 * np.arange(shape[0]), layers=1 + np.arange(shape[1]), replicates=shape[2])
    geometry = geometry.isel(point=np.arange(points) % geometry.sizes["point"])
    size = (*shape, points)
    volume = np.where(rng.random(size) < 0.1, -np.inf, rng.normal(size=size).round(1))
    R = np.where(rng.random(size) < 0.1, np.nan, rng.normal(size=size))
    R[rng.random(size) < 0.1] = 0.0
    dims, once = ("epoch", "layer", "replicate", "point"), ("epoch", "replicate", "point")
    flat = (shape[0], shape[2], points)
    changed = geometry.assign(
        log_effective_volume_element=(dims, volume),
        participation_ratio=(dims, np.where(np.isinf(volume), np.nan, rng.uniform(1, 6, size))),
        local_rank=(dims, rng.integers(0, 6, size).astype(float)),
        ricci_scalar=(dims, R),
        ricci_scalar_error=(dims, np.abs(R) * 10 ** rng.uniform(-9, 0, size)),
        margin=(once, rng.normal(size=flat).round(1)),
        entropy=(once, rng.exponential(size=flat)),
        predicted_class=(once, rng.integers(0, 3, flat)),
        true_class=("point", rng.choice(3, points, p=[0.6, 0.3, 0.1])),
    )
    copied = changed.isel(point=[*range(points - 5), 0, 1, 2, 3, 3])
    return copied.drop_vars(["input"])


def literal(volume, other, labels):
    """Spearman's correlation over points that have a value, and that of ranks which are centred within each class."""
    known = np.isfinite(volume)
    a, b, labels = volume[known], other[known], labels[known]
    within = np.zeros((2, len(a)))
    for label in set(labels.tolist()):
        mine = labels == label
        for row, values in zip(within, (a, b), strict=True):
            row[mine] = scipy.stats.rankdata(values[mine]) - (mine.sum() + 1) / 2
    return scipy.stats.spearmanr(a, b).statistic, (within[0] @ within[1]) / np.sqrt(
        (within[0] @ within[0]) * (within[1] @ within[1])
    )


def whose(geometry, boundary, epoch, replicate):
    """Margins, entropies and predicted classes that a network is asked about: its own, or those of each other one."""
    count = geometry.sizes["replicate"]
    networks = [(replicate + step) % count for step in range(1, count)] if boundary == "other" else [replicate]
    at = geometry.isel(epoch=epoch if boundary == "own" else -1)
    return [
        (abs(one.margin.values), one.entropy.values, one.predicted_class.values)
        for one in (at.isel(replicate=network) for network in networks)
    ]


@pytest.mark.parametrize("boundary", ["final", "own", "other"])
def test_data_statistics_equal_their_slow_twin(boundary):
    geometry = random_examples()
    labels = geometry.true_class.values
    statistics = data_statistics(geometry).sel(boundary=boundary)
    for epoch, layer, replicate in np.ndindex(2, 2, 3):
        here = geometry.isel(epoch=epoch, layer=layer, replicate=replicate)
        R, error = here.ricci_scalar.values, here.ricci_scalar_error.values
        with np.errstate(divide="ignore", invalid="ignore"):
            usable = np.isfinite(R) & (R != 0) & (error <= 0.1 * abs(R))
            curvature = np.where(usable, np.log(abs(R)), np.nan)
        volume = np.where(np.isfinite(here.log_effective_volume_element), here.log_effective_volume_element, np.nan)
        fields = {"effective_volume": volume, "curvature": curvature}
        expected = {}
        for name, values in fields.items():
            for place, what in enumerate(("margin", "entropy")):
                pairs = [literal(values, of[place], labels) for of in whose(geometry, boundary, epoch, replicate)]
                expected[f"{name}_{what}"], expected[f"{name}_{what}_within"] = np.mean(pairs, axis=0)
        fields |= {name: here[name].values for name in ("local_rank", "participation_ratio")}
        for name, values in fields.items():
            parts = []
            for _, _, predicted in whose(geometry, boundary, epoch, replicate):
                wrong = predicted != labels
                parts.append((np.nanmean(values[~wrong]), np.nanmean(values[wrong])))
            right, wrong = np.mean(parts, axis=0)
            expected[f"{name}_mean"], expected[f"{name}_wrong_contrast"] = np.nanmean(values), wrong - right
            if name in ("effective_volume", "curvature"):
                expected[f"{name}_right_mean"], expected[f"{name}_wrong_mean"] = right, wrong
            by_class = [np.nanmean(values[labels == label]) for label in np.unique(labels)]
            found = statistics[f"{name}_by_class"].isel(epoch=epoch, layer=layer, replicate=replicate)
            np.testing.assert_allclose(found, by_class, rtol=1e-12)
        measured = statistics.isel(epoch=epoch, layer=layer, replicate=replicate)
        for name, value in expected.items():
            assert measured[name].item() == pytest.approx(value, abs=1e-12), name
        defined = {str(name) for name in statistics if f"{name}_undefined" in statistics}
        assert set(expected) == defined
    assert statistics.class_points.values.tolist() == np.bincount(labels).tolist()
    wrong = (geometry.predicted_class != geometry.true_class).sum("point")
    assert (statistics.wrong_points == wrong).all()


def test_left_out_points_are_counted():
    geometry = random_examples()
    statistics = data_statistics(geometry)
    volume, R = geometry.log_effective_volume_element, geometry.ricci_scalar
    assert (statistics.effective_volume_missing == np.isinf(volume).sum("point")).all()
    assert (statistics.curvature_missing == R.isnull().sum("point")).all()
    assert (statistics.curvature_zero == (R == 0).sum("point")).all()
    assert statistics.attrs["points"] == 40


def test_a_volume_that_falls_with_the_margin_has_correlation_minus_one():
    geometry = examples()
    final = abs(geometry.margin.isel(epoch=-1))
    falling = geometry.assign(log_effective_volume_element=-np.exp(final) + 0 * geometry.log_effective_volume_element)
    statistics = data_statistics(falling)
    for name in ("effective_volume_margin", "effective_volume_margin_within"):
        assert (statistics[name].sel(boundary="final") == -1).all()
        assert (statistics[name].sel(boundary="other") > -1).all()


def test_a_difference_between_classes_is_no_relation_within_them():
    geometry = random_examples().drop_vars(["ricci_scalar", "ricci_scalar_error"])
    raised = geometry.assign(
        log_effective_volume_element=geometry.log_effective_volume_element + 100 * geometry.true_class,
        entropy=geometry.entropy + 100 * geometry.true_class,
    )
    before, after = data_statistics(geometry), data_statistics(raised)
    xr.testing.assert_allclose(after.effective_volume_entropy_within, before.effective_volume_entropy_within)
    assert (after.effective_volume_entropy > 0.5).all()
    assert (before.effective_volume_entropy < 0.5).all()


def test_scale_laws():
    geometry = random_examples()
    before = data_statistics(geometry)
    scaled = geometry.assign(log_effective_volume_element=geometry.log_effective_volume_element + 3.0)
    scaled = scaled.assign(margin=-7 * geometry.margin, ricci_scalar=geometry.ricci_scalar / 4)
    after = data_statistics(scaled.assign(ricci_scalar_error=geometry.ricci_scalar_error / 4))
    shifts = {"effective_volume": 3.0, "curvature": -np.log(4)}
    for name in before:
        of = next((field for field in shifts if str(name).startswith(field)), "")
        moved = shifts[of] if str(name).endswith(("mean", "by_class")) and of else 0.0
        np.testing.assert_allclose(after[name], before[name] + moved, atol=1e-9, err_msg=str(name))


@pytest.mark.parametrize(
    ("change", "name", "reason"),
    [
        ({"log_effective_volume_element": -np.inf}, "effective_volume_margin", "no_point"),
        ({"log_effective_volume_element": -np.inf}, "effective_volume_mean", "no_point"),
        ({"log_effective_volume_element": 2.0}, "effective_volume_entropy", "constant"),
        ({"log_effective_volume_element": 2.0}, "effective_volume_entropy_within", "constant"),
        ({"margin": 0.5}, "effective_volume_margin", "constant"),
        ({"margin": 0.5}, "effective_volume_margin_within", "constant"),
        ({"margin": np.nan}, "effective_volume_wrong_contrast", "no_point"),
        ({"entropy": np.nan}, "effective_volume_entropy", "no_point"),
        ({"ricci_scalar": 0.0}, "curvature_margin", "flat"),
        ({"ricci_scalar": 0.0}, "curvature_margin_within", "flat"),
        ({"ricci_scalar": 0.0}, "curvature_right_mean", "flat"),
        ({"ricci_scalar": np.nan}, "curvature_entropy", "no_point"),
        ({"participation_ratio": np.nan}, "participation_ratio_mean", "no_point"),
    ],
)
def test_what_is_undefined_is_nan_with_its_reason(change, name, reason):
    geometry = random_examples()
    changed = geometry.assign({key: geometry[key] * 0 + value for key, value in change.items()})
    if "log_effective_volume_element" in change:
        changed["log_effective_volume_element"][:] = change["log_effective_volume_element"]
    statistics = data_statistics(changed)
    assert statistics[name].isnull().all()
    assert {REASONS[flag] for flag in statistics[f"{name}_undefined"].values.flat} == {reason}


def test_networks_that_err_nowhere_have_no_mean_where_they_err():
    geometry = examples()
    right = geometry.assign(predicted_class=geometry.true_class + 0 * geometry.predicted_class)
    statistics = data_statistics(right)
    for name in ("effective_volume_wrong_mean", "effective_volume_wrong_contrast", "local_rank_wrong_contrast"):
        assert {REASONS[flag] for flag in statistics[f"{name}_undefined"].values.flat} == {"all_alike"}
    mean = statistics.effective_volume_mean.broadcast_like(statistics.effective_volume_right_mean)
    xr.testing.assert_allclose(statistics.effective_volume_right_mean, mean.transpose(*mean.dims))
    wrong = geometry.assign(predicted_class=geometry.true_class + 1 + 0 * geometry.predicted_class)
    assert data_statistics(wrong).effective_volume_right_mean.isnull().all()


def test_one_replicate_has_no_other():
    statistics = data_statistics(examples(replicates=1))
    flags = statistics.effective_volume_margin_undefined
    assert {REASONS[flag] for flag in flags.sel(boundary="other").values.flat} == {"no_other"}
    assert (flags.sel(boundary=["final", "own"]) == 0).all()


def test_a_replicate_that_diverged_is_left_out_of_the_control_of_the_others():
    geometry = examples(replicates=3)
    alone = data_statistics(geometry.isel(replicate=[0, 1])).effective_volume_margin.sel(boundary="other")
    measured = [name for name, values in geometry.items() if "replicate" in values.dims and values.dtype.kind == "f"]
    lost = geometry.assign({name: geometry[name].where(geometry.replicate != 5) for name in measured})
    control = data_statistics(lost).effective_volume_margin.sel(boundary="other")
    xr.testing.assert_allclose(control.isel(replicate=[0, 1]), alone)
    assert control.isel(replicate=2).isnull().all()


def test_classes_of_one_example_say_nothing_within_classes():
    geometry = random_examples()
    single = geometry.assign(true_class=("point", np.arange(40)))
    flags = data_statistics(single).effective_volume_margin_within_undefined
    assert {REASONS[flag] for flag in flags.values.flat} == {"no_point"}
    mostly = geometry.assign(true_class=("point", np.where(np.arange(40) < 39, 0, 1)))
    without = data_statistics(mostly.isel(point=slice(39))).effective_volume_margin
    xr.testing.assert_allclose(
        data_statistics(mostly).effective_volume_margin_within, without.rename("effective_volume_margin_within")
    )


def test_the_order_of_dimensions_and_of_points_changes_nothing():
    geometry = random_examples()
    turned = geometry.transpose("point", "replicate", ..., "epoch").isel(point=np.random.default_rng(0).permutation(40))
    xr.testing.assert_allclose(data_statistics(turned), data_statistics(geometry), atol=1e-12)


def test_each_statistic_has_a_row_at_each_stage():
    statistics = data_statistics(random_examples(shape=(2, 1, 8)))
    table = stage_table(statistics, np.random.default_rng(0))
    rows = table.query("statistic == 'effective_volume_margin' and stage == 'difference'")
    assert {"final", "own", "other"} <= set(rows.boundary)
    assert set(table.statistic) == {str(name) for name in statistics if f"{name}_undefined" in statistics}


def test_a_sentence_a_layer_says_what_was_found():
    geometry = examples(layers=(1, 2), replicates=3)
    sentences = data_words(geometry.isel(epoch=-1))
    found = data_statistics(geometry).isel(epoch=-1).mean("replicate")
    assert len(sentences) == 2
    for layer, words in zip((1, 2), sentences, strict=True):
        assert words.startswith(f"layer {layer}")
        assert " at 30 of 90 training examples" in words
        for name in ("effective_volume_margin", "effective_volume_entropy"):
            for boundary in ("final", "other"):
                assert f"{found[name].sel(boundary=boundary, layer=layer).item():.2f}" in words
    (alone,) = data_words(examples(replicates=1).isel(epoch=-1))
    assert "other" not in alone
    assert data_words(geometry.assign(margin=geometry.margin * np.nan).isel(epoch=-1)) == []


def test_geometry_of_another_kind_is_refused():
    with pytest.raises(ValueError, match=r"`kind` of the geometry must be data\. Got grid"):
        data_statistics(examples().assign_attrs(kind="grid"))
