"""Statistics equal slow literal twins, and have known values where the case was made; what is undefined is counted."""

import math

import numpy as np
import pytest
import scipy.stats
import xarray as xr

from nngeom_cli.analysis import bootstrap
from nngeom_cli.analysis import grid as module
from nngeom_cli.analysis.bootstrap import over_replicates, stage_table
from nngeom_cli.analysis.boundary import decision_boundary, distance_to_boundary
from nngeom_cli.analysis.grid import grid_statistics
from nngeom_cli.analysis.path import path_statistics
from nngeom_cli.analysis.statistic import BOUNDARIES, REASONS

AXIS = np.linspace(-1.5, 1.5, 31)
X, Y = np.meshgrid(AXIS, AXIS)
BOX = [-1.0, 1.0, -0.6, 0.8]
INSIDE = (abs(X) < 1.001) & (Y > -0.601) & (Y < 0.801)
CURVE = Y - 0.5 * np.sin(3 * X)
DISTANCE = distance_to_boundary(np.stack([X, Y], axis=-1), decision_boundary(CURVE, AXIS, AXIS))
KINDS = ("rank_correlation", "band_contrast", "band_mean", "mean")
STATISTICS = [f"{field}_{kind}" for field in ("volume", "curvature") for kind in KINDS[:3]]


def grid(log_volume, ricci=1.0, error=0.0, margin=CURVE, box=BOX):
    """A grid geometry: fields broadcast to (epoch, layer, replicate, y, x), margins to (epoch, replicate, y, x)."""
    shape = np.broadcast_shapes((1, 1, 1, *X.shape), *(np.shape(field) for field in (log_volume, ricci, error)))
    margin_shape = (shape[0], shape[2], *X.shape)
    fields = {"log_volume_element": log_volume, "ricci_scalar": ricci, "ricci_scalar_error": error}
    arrays = {
        name: (("epoch", "layer", "replicate", "y", "x"), np.broadcast_to(values, shape).astype(float))
        for name, values in fields.items()
    }
    arrays |= {"input": (("point", "feature"), np.zeros((4, 2))), "label": ("point", np.zeros(4))}  # as a run has them
    arrays["margin"] = (("epoch", "replicate", "y", "x"), np.broadcast_to(margin, margin_shape).astype(float))
    coordinates = {"x": AXIS, "y": AXIS, "epoch": 10 * np.arange(shape[0]), "replicate": 3 + np.arange(shape[2])}
    coordinates["layer"] = 1 + np.arange(shape[1])
    return xr.Dataset(arrays, coordinates, {"kind": "grid", "task": "made", "box": box})


def path(log_volume, predicted, speed=None):
    """A path geometry: log volumes and speeds of (epoch, layer, pair, replicate, step), predictions without layer."""
    log_volume, predicted = np.asarray(log_volume, dtype=float), np.asarray(predicted)
    *lead, steps = np.broadcast_shapes((1, 1, 1, 1, 1), log_volume.shape)
    shape = (max(lead[0], predicted.shape[0] if predicted.ndim == 4 else 1), *lead[1:], steps)
    dims = ("epoch", "layer", "pair", "replicate", "step")
    arrays = {
        "log_effective_volume_element": (dims, np.broadcast_to(log_volume, shape).copy()),
        "predicted_class": ((dims[0], *dims[2:]), np.broadcast_to(predicted, (shape[0], *shape[2:])).copy()),
    }
    if speed is not None:
        arrays["speed"] = (dims, np.broadcast_to(speed, shape).astype(float))
    coordinates = {"epoch": np.arange(shape[0]), "layer": [1 + i for i in range(shape[1])]}
    return xr.Dataset(arrays, coordinates | {"replicate": np.arange(shape[3])}, {"kind": "path"})


def class_after(*changes, steps=65):
    """A prediction that is another one from each of these steps on."""
    return np.searchsorted(changes, np.arange(steps), side="right")


def at_boundary(values, boundary):
    """A statistic that asks about no boundary has the same value for each."""
    return values.sel(boundary=boundary) if "boundary" in values.dims else values


def one(statistics, name, boundary="final"):
    return at_boundary(statistics[name], boundary).item()


def reason(statistics, name, boundary="final"):
    return REASONS[one(statistics, f"{name}_undefined", boundary)]


def slow_lines(geometry, epoch, replicate, boundary):
    """The polylines that a boundary stands for; those of a control are moved vertex by vertex."""
    margin = geometry.margin.isel(epoch=epoch if boundary == "own" else -1, replicate=replicate).values
    left, right, bottom, top = geometry.attrs["box"]
    move = {
        "mirrored": lambda x, y: [left + (right - x), y],
        "rotated": lambda x, y: [left + (right - x), bottom + (top - y)],
    }.get(boundary, lambda x, y: [x, y])
    lines = decision_boundary(margin, geometry.x.values, geometry.y.values)
    return [np.array([move(*vertex) for vertex in line]) for line in lines]


def slow_grid_statistics(geometry, epoch, layer, replicate, boundary, band):
    """The definitions, point by point: `KINDS` of the volume, then of the curvature."""
    count = geometry.sizes["replicate"]
    if boundary == "other":
        asked = [(replicate + step) % count for step in range(1, min(count, 8))]
        found = [slow_grid_statistics(geometry, epoch, layer, (replicate, who), "final", band) for who in asked]
        return np.mean(found, axis=0).tolist()
    field_of, lines_of = replicate if isinstance(replicate, tuple) else (replicate, replicate)
    cell = geometry.isel(epoch=epoch, layer=layer, replicate=field_of)
    fields = [cell[name].values for name in ("log_volume_element", "ricci_scalar", "ricci_scalar_error")]
    lines = slow_lines(geometry, epoch, lines_of, boundary)
    volume, curvature = [], []
    for j, y in enumerate(geometry.y.values):
        for i, x in enumerate(geometry.x.values):
            if not (-1.001 < x < 1.001 and -0.601 < y < 0.801):
                continue
            distance = float(distance_to_boundary([x, y], lines))
            value, R, error = (float(field[j, i]) for field in fields)
            if math.isfinite(value):
                volume.append((value, distance))
            if math.isfinite(R) and R != 0 and error <= 0.1 * abs(R):
                curvature.append((math.log(abs(R)), distance))
    result = []
    for points in (volume, curvature):
        values, distances = np.array(points).T
        near = [value for value, distance in points if distance <= band]
        far = [value for value, distance in points if distance > band]
        correlation = scipy.stats.spearmanr(values, -distances).statistic
        result += [correlation, np.mean(near) - np.mean(far), np.mean(near), np.mean(values)]
    return result


def random_geometry(seed=0, shape=(3, 2, 2)):
    """Fields with ties, NaN, zeros and unreliable points, and margins that move."""
    rng = np.random.default_rng(seed)
    size = (*shape, *X.shape)
    log_volume = np.where(rng.random(size) < 0.1, np.nan, rng.normal(size=size).round(1) - DISTANCE)
    ricci = np.where(rng.random(size) < 0.1, 0.0, rng.normal(size=size) * np.exp(DISTANCE))
    ricci[rng.random(size) < 0.1] = np.nan
    error = abs(ricci) * 10 ** rng.uniform(-12, 0, size)
    margin = Y - 0.5 * np.sin(3 * X) + rng.normal(size=(shape[0], shape[2], 1, 1)) / 5
    return grid(log_volume, ricci, error, margin)


@pytest.mark.parametrize(("band", "replicates"), [(0.15, 2), (0.4, 3)])
@pytest.mark.parametrize("boundary", BOUNDARIES["grid"])
def test_grid_statistics_equal_their_slow_twin(boundary, band, replicates):
    geometry = random_geometry(shape=(2, 1, replicates))
    statistics = grid_statistics(geometry, band=band)
    names = [f"{field}_{kind}" for field in ("volume", "curvature") for kind in KINDS]
    for epoch, layer, replicate in np.ndindex(2, 1, replicates):
        fast = [float(at_boundary(statistics[name], boundary)[epoch, layer, replicate]) for name in names]
        assert fast == pytest.approx(slow_grid_statistics(geometry, epoch, layer, replicate, boundary, band), abs=1e-12)


def test_grid_statistics_do_not_depend_on_the_order_of_dimensions():
    geometry = random_geometry()
    turned = geometry.transpose("x", "replicate", ..., "epoch")
    xr.testing.assert_identical(grid_statistics(geometry), grid_statistics(turned))


def test_left_out_points_are_counted_each_once():
    geometry = random_geometry()
    statistics = grid_statistics(geometry)
    boxed = [
        geometry[name].values[..., INSIDE] for name in ("log_volume_element", "ricci_scalar", "ricci_scalar_error")
    ]
    log_volume, R, error = boxed
    assert statistics.attrs["points"] == INSIDE.sum()
    assert np.array_equal(statistics.volume_missing, np.isnan(log_volume).sum(axis=-1))
    assert np.array_equal(statistics.curvature_missing, np.isnan(R).sum(axis=-1))
    assert np.array_equal(statistics.curvature_zero, (R == 0).sum(axis=-1))
    assert np.array_equal(statistics.curvature_unreliable, ((R != 0) & (error > 0.1 * abs(R))).sum(axis=-1))
    assert (statistics.curvature_unreliable > 0).all()


@pytest.mark.parametrize(("sign", "expected"), [(-1, 1.0), (1, -1.0)])
def test_rank_correlation_of_a_monotone_function_of_the_distance_is_one(sign, expected):
    statistics = grid_statistics(grid(sign * DISTANCE**3, ricci=-np.exp(sign * DISTANCE)))
    assert one(statistics, "volume_rank_correlation") == pytest.approx(expected, abs=1e-12)
    assert one(statistics, "curvature_rank_correlation") == pytest.approx(
        expected, abs=1e-3
    )  # log exp d rounds to ties


@pytest.mark.parametrize("band", [0.15, 0.3])
def test_band_contrast_of_a_bump_on_the_band_is_its_height(band):
    bump = np.where(band < DISTANCE, 0.2, 1.7)
    statistics = grid_statistics(grid(bump, ricci=-np.exp(-2 * bump)), band=band)
    assert one(statistics, "volume_band_contrast") == pytest.approx(1.5)
    assert one(statistics, "curvature_band_contrast") == pytest.approx(-3.0)


def test_points_outside_the_box_change_nothing():
    field = np.cos(5 * X) * Y
    outside = np.where(INSIDE, field, 1e3 * DISTANCE)
    for name in STATISTICS[:3]:
        assert one(grid_statistics(grid(outside)), name) == one(grid_statistics(grid(field)), name)
        assert one(grid_statistics(grid(outside, box=[-1.5, 1.5, -1.5, 1.5])), name) != one(
            grid_statistics(grid(field)), name
        )


def test_final_boundary_is_that_of_the_last_epoch_and_own_that_of_each():
    margin = np.stack([X, CURVE])[:, None]
    statistics = grid_statistics(grid(np.stack([-abs(X), -DISTANCE])[:, None, None], margin=margin))
    own, final = (statistics.volume_rank_correlation.sel(boundary=name).values.ravel() for name in ("own", "final"))
    assert own == pytest.approx([1, 1])
    assert final[1] == pytest.approx(1)
    assert abs(final[0]) < 0.5


def test_network_without_a_boundary_has_no_statistic():
    margin = np.stack([np.ones_like(X), CURVE])[:, None]
    statistics = grid_statistics(
        grid(np.broadcast_to(-DISTANCE, (2, 1, 1, *X.shape)), ricci=1 + DISTANCE, margin=margin)
    )
    for name in STATISTICS:
        numbers = statistics.sel(boundary=["final", "own"])
        flags = numbers[f"{name}_undefined"].squeeze().values
        assert [[REASONS[flag] for flag in row] for row in flags] == [["defined"] * 2, ["no_boundary", "defined"]]
        assert np.isnan(numbers[name].squeeze().values).tolist() == [[False, False], [True, False]]


@pytest.mark.parametrize(
    ("arguments", "name", "expected"),
    [
        ({"log_volume": 2.0}, "volume_rank_correlation", "constant"),
        ({"log_volume": 2.0 + 1e-13 * X}, "volume_rank_correlation", "constant"),
        ({"log_volume": 2.0 + 1e-6 * X}, "volume_rank_correlation", "defined"),
        ({"log_volume": np.nan}, "volume_rank_correlation", "no_point"),
        ({"log_volume": -np.inf}, "volume_band_contrast", "no_point"),
        ({"log_volume": np.where(DISTANCE <= 0.15, 1.0, np.nan)}, "volume_band_contrast", "one_side"),
        ({"log_volume": np.where(DISTANCE > 0.15, 1.0, np.nan)}, "volume_band_contrast", "one_side"),
        ({"log_volume": 1.0, "box": [3, 4, 3, 4]}, "volume_rank_correlation", "no_point"),
        ({"log_volume": 1.0, "ricci": 0.0}, "curvature_rank_correlation", "flat"),
        ({"log_volume": 1.0, "ricci": np.where(X > 0, 0.0, np.nan)}, "curvature_band_contrast", "flat"),
        ({"log_volume": 1.0, "ricci": np.nan}, "curvature_band_contrast", "no_point"),
        ({"log_volume": 1.0, "ricci": X + 2, "error": 1.0}, "curvature_band_contrast", "no_point"),
        ({"log_volume": 1.0, "ricci": X + 2, "error": np.nan}, "curvature_band_contrast", "no_point"),
        ({"log_volume": 1.0, "ricci": 3 + 1e-4 * X, "error": 1e-3}, "curvature_rank_correlation", "constant"),
        ({"log_volume": 1.0, "ricci": 3 + 1e-4 * X, "error": 1e-5}, "curvature_rank_correlation", "defined"),
    ],
)
def test_undefined_statistics_are_nan_with_their_reason(arguments, name, expected):
    statistics = grid_statistics(grid(**arguments))
    assert reason(statistics, name) == expected
    assert math.isnan(one(statistics, name)) == (expected != "defined")


def test_constant_field_has_a_contrast_of_zero():
    statistics = grid_statistics(grid(2.0))
    assert (one(statistics, "volume_band_contrast"), reason(statistics, "volume_band_contrast")) == (0.0, "defined")


def test_few_nan_points_are_left_out_and_change_little():
    field = -DISTANCE.copy()
    field[15, 12:15] = np.nan
    statistics = grid_statistics(grid(field))
    assert one(statistics, "volume_rank_correlation") == pytest.approx(1, abs=1e-12)
    assert statistics.volume_missing.item() == 3


@pytest.mark.parametrize("band", [0, -1, math.nan])
def test_band_that_is_not_positive_is_refused(band):
    with pytest.raises(ValueError, match=f"`band` must be positive. Got {band}. The default is 0.15."):
        grid_statistics(grid(1.0), band=band)


def test_geometry_of_another_kind_is_refused():
    with pytest.raises(ValueError, match=r"`kind` of the geometry must be grid\. Got path"):
        grid_statistics(path(np.zeros(5), [0, 0, 0, 1, 1]))
    with pytest.raises(ValueError, match=r"`kind` of the geometry must be path\. Got grid"):
        path_statistics(grid(1.0))


@pytest.mark.parametrize("boundary", ["final", "own"])
@pytest.mark.parametrize(("peak", "change"), [(20, 33), (33, 20), (10, 10), (0, 64), (64, 1)])
def test_peak_distance_is_the_steps_between_peak_and_change(peak, change, boundary):
    bump = np.exp(-(((np.arange(65) - peak) / 9) ** 2))
    assert one(path_statistics(path(bump, class_after(change))), "peak_distance", boundary) == abs(peak - change)


def slow_changes(predicted, epoch, pair, replicate, boundary):
    """The steps that a boundary stands for: a list of changes for each path that is asked."""
    epochs, pairs, _, steps = predicted.shape
    if boundary == "middle":
        return [[steps // 2]]
    several = [(pair + step) % pairs for step in range(1, min(pairs, 8))] if boundary == "other" else [pair]
    classes = [predicted[epoch if boundary == "own" else epochs - 1, one, replicate] for one in several]
    return [[s for s in range(1, steps) if one[s] != one[s - 1]] for one in classes]


def slow_path_statistics(log_volume, several):
    """The definitions, step by step: the means over several lists of changes of those that have any."""
    finite = [s for s in range(len(log_volume)) if math.isfinite(log_volume[s])]
    mean = np.mean([log_volume[s] for s in finite])
    highest = max(log_volume[s] for s in finite)
    peaks = [s for s in finite if log_volume[s] == highest]
    distances, levels = [], []
    for changes in several:
        if changes:
            distances.append(np.mean([min(abs(s - change) for change in changes) for s in peaks]))
        if at_change := [log_volume[s] for s in changes if s in finite]:
            levels.append(np.mean(at_change))
    level = np.mean(levels) if levels else math.nan
    return [np.mean(distances), level - mean, level, mean], len(peaks)


@pytest.mark.parametrize("boundary", BOUNDARIES["path"])
def test_path_statistics_equal_their_slow_twin(boundary):
    rng = np.random.default_rng(1)
    log_volume = rng.normal(size=(3, 2, 4, 5, 65)).round(1)  # with ties
    log_volume[rng.random(log_volume.shape) < 0.1] = -np.inf
    predicted = (rng.random((3, 4, 5, 65)) < 0.1).cumsum(axis=-1) % 3
    statistics = path_statistics(path(log_volume, predicted))
    assert statistics.peak_steps.max() > 1
    assert np.array_equal(statistics.steps_missing, np.isinf(log_volume).sum(axis=-1))
    names = ("peak_distance", "change_excess", "volume_at_change", "volume_mean")
    for e, layer, pair, r in np.ndindex(3, 2, 4, 5):
        cell = statistics.sel(boundary=boundary).isel(epoch=e, layer=layer, pair=pair, replicate=r)
        changes = slow_changes(predicted, e, pair, r, boundary)
        expected, peaks = slow_path_statistics(log_volume[e, layer, pair, r], changes)
        assert [cell[name].item() for name in names] == pytest.approx(expected, abs=1e-12, nan_ok=True)
        assert cell.peak_steps.item() == peaks


def test_peak_distance_is_to_the_nearest_of_several_changes():
    statistics = path_statistics(path(-abs(np.arange(65) - 30.0), class_after(5, 27, 40)))
    assert one(statistics, "peak_distance") == 3


def test_steps_that_share_the_maximum_count_equally():
    curve = np.zeros(65)
    curve[[10, 50]] = 1.0
    statistics = path_statistics(path(curve, class_after(12)))
    assert one(statistics, "peak_distance") == (2 + 38) / 2
    assert statistics.peak_steps.item() == 2


def test_change_excess_of_a_lone_spike_at_the_change_is_its_height_over_the_mean():
    curve = np.zeros(65)
    curve[20] = 6.5
    assert one(path_statistics(path(curve, class_after(20))), "change_excess") == pytest.approx(6.5 - 0.1)


def test_untrained_control_is_held_against_the_final_change_and_its_own():
    predicted = np.stack([class_after(50), class_after(20)])[:, None, None]
    statistics = path_statistics(path(-abs(np.arange(65) - 22.0), predicted))
    assert statistics.peak_distance.sel(boundary=["final", "own"]).squeeze().values.tolist() == [[2, 2], [28, 2]]


@pytest.mark.parametrize(
    ("curve", "predicted", "distance", "excess"),
    [
        (np.arange(65.0), class_after(), "no_change", "no_change"),
        (np.full(65, -np.inf), class_after(9), "no_point", "no_point"),
        (np.full(65, 3.0), class_after(9), "constant", "defined"),
        (np.where(np.arange(65) == 9, np.nan, np.arange(65)), class_after(9), "defined", "no_point"),
    ],
)
def test_undefined_path_statistics_are_nan_with_their_reason(curve, predicted, distance, excess):
    statistics = path_statistics(path(curve, predicted))
    for name, expected in (("peak_distance", distance), ("change_excess", excess)):
        assert reason(statistics, name) == expected
        assert math.isnan(one(statistics, name)) == (expected != "defined")


def slow_length_statistics(speed, several):
    """The definitions, segment by segment: the means over several lists of changes of those that have any."""
    last = len(speed) - 1
    length = sum((speed[s] + speed[s + 1]) / 2 / last for s in range(last))
    shares, excesses = [], []
    for changes in filter(None, several):
        near = [min(abs(s - change) for change in changes) <= last / 16 for s in range(last + 1)]
        spent = sum((near[s] * speed[s] + near[s + 1] * speed[s + 1]) / 2 / last for s in range(last))
        even = sum((near[s] + near[s + 1]) / 2 / last for s in range(last))
        shares.append(spent / length)
        excesses.append(spent / length - even)
    return [length, np.mean(shares), np.mean(excesses)]


@pytest.mark.parametrize("boundary", BOUNDARIES["path"])
def test_length_statistics_equal_their_slow_twin(boundary):
    rng = np.random.default_rng(2)
    speed = rng.exponential(size=(2, 2, 3, 4, 65))
    predicted = (rng.random((2, 3, 4, 65)) < 0.03).cumsum(axis=-1) + np.arange(65) // 64
    statistics = path_statistics(path(speed, predicted, speed))
    for e, layer, pair, r in np.ndindex(2, 2, 3, 4):
        cell = statistics.sel(boundary=boundary).isel(epoch=e, layer=layer, pair=pair, replicate=r)
        expected = slow_length_statistics(speed[e, layer, pair, r], slow_changes(predicted, e, pair, r, boundary))
        measured = [cell.length.item(), cell.length_near_change.item(), cell.length_excess.item()]
        assert measured == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_a_path_of_constant_speed_has_that_length_and_no_excess():
    statistics = path_statistics(path(np.zeros(65), class_after(20), 3.0))
    assert one(statistics, "length") == pytest.approx(3)
    assert one(statistics, "length_near_change") == pytest.approx(9 / 64)
    assert one(statistics, "length_excess") == pytest.approx(0, abs=1e-15)


def test_a_path_that_only_moves_at_the_change_spends_all_its_length_there():
    speed = np.zeros(65)
    speed[[29, 30, 31]] = 64.0
    statistics = path_statistics(path(np.zeros(65), class_after(30), speed))
    assert one(statistics, "length") == pytest.approx(3)
    assert one(statistics, "length_near_change") == 1


def test_length_is_known_without_a_change_but_not_its_share_there():
    statistics = path_statistics(path(np.zeros(65), class_after(), 2.0))
    assert one(statistics, "length") == pytest.approx(2)
    assert math.isnan(one(statistics, "length_near_change"))
    assert reason(statistics, "length_excess") == "no_change"
    still = path_statistics(path(np.zeros(65), class_after(9), 0.0))
    assert one(still, "length") == 0
    assert reason(still, "length_near_change") == "no_point"


def test_statistics_say_what_they_are_and_survive_a_file(tmp_path):
    for statistics in (grid_statistics(random_geometry()), path_statistics(path(np.arange(65.0), class_after(9)))):
        for name, values in statistics.items():
            assert values.attrs["long_name"], name
            assert "units" in values.attrs, name
        statistics.to_netcdf(tmp_path / "statistics.nc", engine="h5netcdf")
        xr.testing.assert_equal(xr.load_dataset(tmp_path / "statistics.nc", engine="h5netcdf"), statistics)
    labelled = grid_statistics(random_geometry()).volume_band_contrast.sel(epoch=20, layer=2, replicate=4)
    assert labelled.attrs["units"] == "nats"
    assert labelled.sizes == {"boundary": len(BOUNDARIES["grid"])}


def coverage(replicates, pairs, rng, trials=1500):
    """How often the interval of Gaussian values, those of a replicate correlated, holds the true mean 0."""
    values = rng.normal(size=(trials, replicates, 1)) + 0.5 * rng.normal(size=(trials, replicates, pairs))
    summary = over_replicates(xr.DataArray(values, dims=("trial", "replicate", "pair")), rng)
    return float(((summary.low <= 0) & (summary.high >= 0)).mean())


@pytest.mark.parametrize(("replicates", "pairs"), [(8, 1), (20, 1), (8, 5)])
def test_bootstrap_interval_covers_the_truth_as_often_as_it_says(replicates, pairs):
    assert coverage(replicates, pairs, np.random.default_rng(2)) == pytest.approx(0.95, abs=0.02)


def test_bootstrap_interval_is_about_that_of_scipy_for_many_replicates():
    values = np.random.default_rng(3).gamma(2.0, size=60)
    ours = over_replicates(xr.DataArray(values, dims="replicate"), np.random.default_rng(0))
    theirs = scipy.stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(1))
    ends = theirs.confidence_interval
    assert [ours.low.item(), ours.high.item()] == pytest.approx([ends.low, ends.high], abs=0.1 * (ends.high - ends.low))


def test_bootstrap_is_the_same_again_and_shares_its_resamples_between_cells():
    values = xr.DataArray(np.random.default_rng(4).normal(size=(3, 8)), dims=("epoch", "replicate"))
    whole = over_replicates(values, np.random.default_rng(0))
    assert whole.identical(over_replicates(values, np.random.default_rng(0)))
    assert whole.isel(epoch=1).identical(over_replicates(values[1], np.random.default_rng(0)))
    assert not whole.identical(over_replicates(values, np.random.default_rng(1)))


def test_pairs_of_a_replicate_are_no_independent_values():
    values = xr.DataArray(
        np.repeat(np.random.default_rng(5).normal(size=(8, 1)), 30, axis=1), dims=("replicate", "pair")
    )
    together = over_replicates(values, np.random.default_rng(0))
    alone = over_replicates(values.isel(pair=0), np.random.default_rng(0))
    xr.testing.assert_allclose(together, alone)


@pytest.mark.parametrize(("centre", "expected"), [("mean", 4.0), ("median", 2.0)])
def test_estimate_is_over_all_defined_pairs_and_n_counts_replicates(centre, expected):
    values = xr.DataArray([[1.0, 2.0], [9.0, np.nan], [np.nan, np.nan]], dims=("replicate", "pair"))
    summary = over_replicates(values, np.random.default_rng(0), centre)
    assert (summary.estimate.item(), summary.n.item()) == (expected, 2)


@pytest.mark.parametrize(("values", "estimate", "n"), [([5.0, np.nan], 5.0, 1), ([np.nan, np.nan], np.nan, 0)])
def test_fewer_than_two_replicates_have_no_interval(values, estimate, n):
    summary = over_replicates(xr.DataArray(values, dims="replicate"), np.random.default_rng(0))
    assert summary.estimate.item() == pytest.approx(estimate, nan_ok=True)
    assert np.isnan([summary.low.item(), summary.high.item()]).all()
    assert summary.n.item() == n


def test_summary_has_the_paired_difference_of_trained_and_initial():
    rng = np.random.default_rng(6)
    own_level = 10 * rng.normal(size=(8, 1, 1))
    curves = np.stack([own_level * 0, own_level * 0 + 1])[:, None] * (DISTANCE <= 0.15) + own_level * DISTANCE / 10
    table = stage_table(grid_statistics(grid(curves)), np.random.default_rng(0))
    rows = table[(table.statistic == "volume_band_contrast") & (table.boundary == "final")].set_index("stage")
    assert list(rows.index) == ["initial", "trained", "difference"]
    assert rows.epoch.tolist() == [0, 10, 10]
    assert rows.loc["difference", ["estimate", "low", "high"]].tolist() == pytest.approx([1, 1, 1])
    assert rows.loc["trained", "high"] - rows.loc["trained", "low"] > 0.01
    assert (rows.n == 8).all()
    assert (rows.units == "nats").all()


def test_summary_counts_what_is_undefined_at_either_end_and_says_why():
    none = np.ones_like(X)
    margin = np.stack([np.stack([none, CURVE, CURVE, CURVE]), np.stack([CURVE, CURVE, CURVE, none])])
    first = np.stack([-DISTANCE, np.full_like(X, 2.0), -DISTANCE, -DISTANCE])
    field = np.stack([first, np.stack([-DISTANCE] * 4)])[:, None]
    table = stage_table(grid_statistics(grid(field, margin=margin)), np.random.default_rng(0))
    table = table.set_index(["statistic", "boundary", "stage"])
    row = table.loc["volume_rank_correlation", "own", "difference"]
    assert (row.n, row.undefined, row.reasons) == (1, 3, "2 no_boundary, 1 constant")
    assert table.loc["volume_band_contrast", "final", "initial"].reasons == "1 no_boundary"
    assert table.loc["curvature_rank_correlation", "final", "trained"].reasons == "3 constant, 1 no_boundary"
    assert (table.reasons == "").sum() == (table.undefined == 0).sum()


def test_summary_of_one_checkpoint_has_no_difference():
    table = stage_table(path_statistics(path(np.arange(65.0), class_after(9))), np.random.default_rng(0))
    assert set(table.stage) == {"initial"}
    assert table.set_index(["statistic", "boundary"]).loc[("peak_distance", "own"), "estimate"] == 55


def test_distances_are_computed_once_for_each_boundary(monkeypatch):
    calls = []
    monkeypatch.setattr(module, "distance_to_boundary", lambda *both: calls.append(1) or distance_to_boundary(*both))
    grid_statistics(random_geometry(shape=(4, 3, 2)))
    assert len(calls) == 4 * 2 + 2 * 2  # the final ones also mirrored and rotated
    calls.clear()
    grid_statistics(random_geometry(shape=(4, 3, 2)), boundaries=["other", "final"])
    assert len(calls) == 2


@pytest.mark.parametrize("at_once", [1, 700, 20_000])
def test_an_interval_is_the_same_where_not_all_resamples_fit_into_memory(monkeypatch, at_once):
    values = xr.DataArray(np.random.default_rng(1).normal(size=(2, 5, 3)), dims=("epoch", "replicate", "pair"))
    rng, again = np.random.default_rng(0), np.random.default_rng(0)
    whole = over_replicates(values, rng, "median")
    monkeypatch.setattr(bootstrap, "MOST_RESAMPLED", at_once)
    assert over_replicates(values, again, "median").identical(whole)
    assert rng.random() == again.random()
