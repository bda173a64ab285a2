"""The comparison of networks that were trained with a penalty on volume: its differences, relations and figure."""

import numpy as np
import pandas as pd
import pytest
from made_runs import examples, made_run, texts
from scipy.stats import permutation_test

from nngeom_cli.analysis.data import data_statistics
from nngeom_cli.analysis.paired import detectable_difference, sign_flip_p
from nngeom_cli.analysis.relation import holm
from nngeom_cli.experiments.magnify import AT_POINTS, COLUMNS, OUTCOMES, draw, networks_at_examples, statistics


def rng():
    return np.random.default_rng(0)


def table(sets=8, effect=0.0, **columns):
    """Two networks on each data set, place and strength; a penalty changes test accuracy by `effect` times itself."""
    random, rows = rng(), []
    for data_seed in range(sets):
        control = {name: 0.5 + 0.01 * random.normal(size=2) for name in COLUMNS}
        for where in ("boundary", "everywhere"):
            for strength in (-0.03, 0.0, 0.03):
                some = {
                    name: values + (strength != 0) * 0.001 * random.normal(size=2) for name, values in control.items()
                }
                some["test_accuracy"] = some["test_accuracy"] + effect * strength
                about = {"where": where, "strength": strength, "data_seed": data_seed, "activation": "tanh"}
                rows.append(pd.DataFrame(some).assign(seed=[data_seed, data_seed + 1], **about))
    return pd.concat(rows, ignore_index=True).assign(**columns)[list(COLUMNS)]


def found_of(statistics, statistic, of):
    (row,) = statistics[(statistics.statistic == statistic) & (statistics.of == of)].to_dict("records")
    return row


def test_differences_are_paired_by_data_set_with_the_networks_without_a_penalty():
    made = table(effect=1.0)
    found = statistics(made, rng())
    for where in ("boundary", "everywhere"):
        for strength in (-0.03, 0.03):
            row = found_of(found, "paired difference of test_accuracy", f"{where} {strength:+g}")
            of = made[made["where"] == where].pivot_table(index="data_seed", columns="strength", values="test_accuracy")
            differences = (of[strength] - of[0.0]).to_numpy()
            assert row["estimate"] == pytest.approx(differences.mean())
            assert row["low"] < strength < row["high"]
            assert row["n"] == 8
            assert row["p"] == pytest.approx(2 / 2**8)  # all have one sign
            assert row["detectable"] < 0.03
    tested = found.dropna(subset="p")
    assert len(tested) == 4 * len(OUTCOMES) + 8
    assert tested.p_holm.tolist() == pytest.approx(holm(tested.p.to_numpy()).tolist())
    assert "paired difference of accuracy" in set(found.statistic)


def test_nothing_is_found_where_nothing_is():
    made = table()
    found = statistics(made, rng())
    assert (found.p_holm.dropna() > 0.05).all()
    words = texts(draw(made, found).figure)
    assert "Test accuracy differs (p < 0.05): nowhere" in words
    assert "Robust distance differs (p < 0.05): nowhere" in words
    assert "Related within settings: nothing" in words
    assert "would have been found with a probability of 80 %" in words


def test_what_is_found_is_said_with_its_interval():
    made = table(effect=2.0)
    found = statistics(made, rng())
    words = texts(draw(made, found).figure)
    row = found_of(found, "paired difference of test_accuracy", "everywhere +0.03")
    assert row["p_holm"] > 0.05  # 8 data sets are too few for 16 tests
    made = table(sets=14, effect=2.0)
    found = statistics(made, rng())
    words = texts(draw(made, found).figure)
    row = found_of(found, "paired difference of test_accuracy", "everywhere +0.03")
    assert f"everywhere +0.03 {row['estimate']:+.3f} [{row['low']:.3f}, {row['high']:.3f}]" in words


def test_networks_that_diverged_are_left_out_and_counted():
    made = table()
    lost = (made.data_seed == 0) & (made.strength == 0.03)
    broken = made.copy()
    broken.loc[
        lost, [name for name in COLUMNS if name not in ("where", "strength", "data_seed", "activation", "seed")]
    ] = np.nan
    found = statistics(broken, rng())
    assert found_of(found, "paired difference of test_accuracy", "boundary +0.03")["n"] == 7
    assert found_of(found, "paired difference of test_accuracy", "boundary -0.03")["n"] == 8
    assert "of which 4 diverged and are left out" in texts(draw(broken, found).figure)


def test_a_sweep_without_a_control_has_no_differences():
    made = table()
    made = made[made.strength != 0].reset_index(drop=True)
    found = statistics(made, rng())
    assert not found.statistic.str.startswith("paired").any()
    assert draw(made, found).figure is not None


def test_a_network_has_the_means_of_its_examples(tmp_path):
    geometry = examples(replicates=2, robust=True)
    run = made_run(tmp_path, geometry)
    optimizer = {"volume_penalty": -0.5, "volume_penalty_where": "boundary", "volume_penalty_width": 0.4}
    run.config = {"optimizer": optimizer, "architecture": {"activation": "tanh"}, "task": {"data_seed": 7}}
    run.info["replicates"][1] |= {"loss": None, "accuracy": None, "test_accuracy": None}
    made = networks_at_examples([run])
    assert tuple(made) == COLUMNS
    assert made.strength.tolist() == [-0.5, -0.5]
    assert made.data_seed.tolist() == [7, 7]
    assert made.loss.isna().tolist() == made.robust_distance.isna().tolist() == [False, True]
    last = geometry.isel(epoch=-1, layer=0, replicate=0)
    V, distance = last.log_effective_volume_element.values, last.adversarial_distance.values
    weights = np.exp(-((last.first_order_distance.values / 0.4) ** 2) / 2)
    right = (last.predicted_class == last.true_class).values
    row = made.iloc[0]
    assert row.log_volume == pytest.approx(V.mean())
    assert row.log_volume_near == pytest.approx((weights * V).sum() / weights.sum())
    assert row.robust_distance == pytest.approx(np.where(right, distance, 0.0).mean())
    numbers = data_statistics(geometry).sel(replicate=3)
    for name in AT_POINTS:
        of = numbers[name].isel(layer=0) if "layer" in numbers[name].dims else numbers[name]
        assert row[name] == pytest.approx(of.sel(boundary="final", epoch=30).item())
        assert row[f"initial_{name}"] == pytest.approx(of.sel(boundary="final", epoch=0).item())
        assert row[f"{name}_other"] == pytest.approx(of.sel(boundary="other", epoch=30).item())


@pytest.mark.parametrize("pairs", [2, 5, 20])
def test_the_p_of_sign_flips_is_that_of_scipy(pairs):
    differences = rng().normal(0.4, 1.0, size=pairs)

    def mean(a, b, axis):
        return np.mean(a - b, axis=axis)

    options = {"permutation_type": "samples", "vectorized": True, "n_resamples": 20_000, "rng": rng()}
    theirs = permutation_test((differences, np.zeros(pairs)), mean, **options).pvalue
    found = sign_flip_p(differences, rng())
    assert found == pytest.approx(theirs, abs=1e-12 if pairs < 17 else 4 * (0.25 / 5000) ** 0.5)  # 4 standard errors
    assert np.isnan(sign_flip_p(np.array([np.nan]), rng()))
    assert sign_flip_p(np.append(differences, np.nan), rng()) == found


def test_a_detectable_difference_is_found_in_four_of_five_experiments():
    random, n, tests = rng(), 16, 20
    size = detectable_difference(random.normal(size=n) * 1.0, tests=tests)
    assert np.isnan(detectable_difference(np.ones(1), tests=tests))
    differences = random.normal(size=(400, n))
    spread = differences.std(axis=1, ddof=1)
    typical = np.mean(
        [detectable_difference(each / s, tests=tests) for each, s in zip(differences, spread, strict=True)]
    )
    signs = 1.0 - 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
    moved = differences[:150] + typical
    as_large = (abs(signs @ moved.T) >= abs(moved.sum(axis=1)) * (1 - 1e-12)).mean(axis=0)
    assert (as_large < 0.05 / tests).mean() == pytest.approx(0.8, abs=0.1)  # standard error 0.03
    assert 0.5 * typical < size < 2 * typical
