"""The comparison of trained networks with the kernels of Amari and Wu: the machines, correlations and verdicts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from made_runs import texts
from scipy.stats import spearmanr

from nngeom_cli.cli.entry import main
from nngeom_cli.experiments.agreement import (
    COLUMNS,
    CONTROLS,
    ERRORS,
    correlation,
    features_error,
    fields_of,
    networks_and_machines,
    partial_correlation,
)
from nngeom_cli.experiments.amari_wu import DECISIVE, draw, statistics, verdict
from nngeom_cli.experiments.machines import KERNELS, PENALTIES, SCALES, Machines, in_box, machines_of, trained_machines
from nngeom_cli.kernels import kernel_metric
from nngeom_cli.store.run import load_run
from nngeom_cli.tasks.task import Task


def rng():
    return np.random.default_rng(0)


def table(sets=6, **columns):
    """Two networks on each data set of one task, with noise in each column."""
    random, size = rng(), 2 * sets
    made = pd.DataFrame({name: 0.01 * random.normal(size=size) for name in COLUMNS if name != "task"})
    made[list(ERRORS)] = 0.05 + 0.01 * random.random((size, len(ERRORS)))
    shared = {"task": "moons", "activation": "sigmoid", "loss": 0.1, "data_seed": np.repeat(np.arange(sets), 2)}
    return made.assign(**shared, **columns)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"kernel_1999": 0.5}, "holds"),
        ({"kernel_1999": 0.5, "initial_kernel_1999": 0.7}, "fails"),
        ({"kernel_1999": 0.5, "kernel_1999_mirrored": 0.7}, "fails"),
        ({"kernel_1999": 0.5, "kernel_1999_task": 0.7}, "fails"),
        ({"kernel_1999": -0.5}, "fails"),
        ({"kernel_1999": 0.5, "kernel_1999_mirrored": np.tile([0.0, 0.0, 1.0, 1.0], 3)}, "undecided"),
        ({"kernel_1999": 0.5, "kernel_1999_task": np.nan}, "undecided"),
        ({"kernel_1999": 0.5, "kernel_1999_other": 0.7, "closeness": 0.9}, "holds"),
    ],
)
def test_the_paper_holds_where_a_kernel_beats_all_three_controls(columns, expected):
    assert verdict(statistics(table(**columns), rng()), "1999", "moons") == expected


def test_differences_are_paired_within_networks_and_data_sets_are_what_is_counted():
    made = table()
    found = statistics(made, rng()).set_index("statistic")
    by_hand = {
        "mean kernel_2002_gain": made.kernel_2002 - made.initial_kernel_2002,
        "mean kernel_2002_over_mirrored": made.kernel_2002 - made.kernel_2002_mirrored,
        "mean kernel_2002_over_closeness": made.kernel_2002 - made.closeness,
        "mean machine_error_2002_change": made.machine_error_2002 - made.machine_error,
        "mean features_error_gain": made.features_error - made.initial_features_error,
    }
    for name, values in by_hand.items():
        assert found.estimate[name] == pytest.approx(values.mean())
    assert (found.n == 6).all()
    assert {f"mean kernel_{year}{end}" for year in KERNELS for end in DECISIVE} <= set(found.index)
    assert {f"mean kernel_{year}_{control}" for year in KERNELS for control in CONTROLS} <= set(found.index)


def test_networks_that_diverged_are_left_out_and_counted():
    made = table()
    lost = made.iloc[:2].assign(**dict.fromkeys(COLUMNS[1:], np.nan), data_seed=6, loss=np.nan)
    both = pd.concat([made, lost], ignore_index=True)
    found = statistics(both, rng())
    healthy = statistics(made, rng())
    assert found.estimate.tolist() == pytest.approx(healthy.estimate.tolist())
    assert found.n.tolist() == healthy.n.tolist()
    words = texts(draw(both, found).figure)
    assert "14 sigmoid networks, of which 2 diverged and are left out: means over 6 data sets" in words
    assert "moons 1999" in words


def test_a_partial_correlation_is_that_of_what_a_third_leaves():
    random = rng()
    given, a, b = (random.permutation(40).astype(float) for _ in range(3))
    residuals = [values - np.polyval(np.polyfit(given, values, 1), given) for values in (a, b)]
    assert partial_correlation(a, b, given) == pytest.approx(np.corrcoef(residuals)[0, 1])
    assert partial_correlation(np.exp(a / 9), b**3, given) == pytest.approx(partial_correlation(a, b, given))


def test_a_constant_field_has_no_correlation():
    assert np.isnan(correlation(np.ones(5), np.arange(5.0)))


def test_a_box_has_its_own_edges():
    grid = np.stack(np.meshgrid([0.0, 1.0, 2.0], [5.0, 6.0]), axis=-1)
    assert in_box(grid, (1.0, 2.0, 5.0, 5.5)).tolist() == [[False, True, True], [False, False, False]]


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
def test_the_error_on_features_depends_on_no_unit_and_no_origin(unit):
    random = rng()
    labels = np.arange(40) % 2
    train, test = (random.normal(size=(40, 2)) + 3 * labels[:, None] for _ in range(2))
    moved = features_error(unit * train + 7 * unit, labels, unit * test + 7 * unit, labels)
    assert moved == features_error(train, labels, test, labels)
    assert moved < 0.2


@pytest.fixture(scope="module")
def task():
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 2
    inputs = torch.randn(60, 2, generator=random, dtype=torch.float64) + 1.5 * labels[:, None]
    return Task("made", inputs[:30], labels[:30], outputs=2, test=(inputs[30:], labels[30:]))


@pytest.fixture(scope="module")
def machines(task):
    return trained_machines(task, (-2.0, 3.0, -1.0, 4.0))


def test_machines_follow_their_rules(task, machines):
    assert torch.equal(machines.first.inputs, task.inputs)
    in_medians = machines.first.kernel.scale / float(torch.pdist(task.inputs).median())
    assert any(in_medians == pytest.approx(scale) for scale in SCALES)
    assert machines.first.penalty in PENALTIES
    mean = machines.first.decision(task.inputs).square().mean()
    assert machines.magnified["2007"].kernel.factor.sharpness == pytest.approx(1 / float(mean))
    for machine in machines.magnified.values():
        squared = (2 * machine.kernel.factor.log(task.inputs)).exp().mean()
        assert machine.penalty * float(squared) == pytest.approx(machines.first.penalty)


def test_what_is_chosen_does_not_depend_on_the_test_set(task, machines):
    again = trained_machines(replace(task, test=None), machines.box)
    assert (again.first.kernel, again.first.penalty) == (machines.first.kernel, machines.first.penalty)


def test_the_controls_are_the_same_field_elsewhere(machines):
    grid = np.stack(np.meshgrid(np.linspace(-2, 3, 7), np.linspace(-1, 4, 5)), axis=-1)
    twice = Machines(machines.first, machines.magnified, (-4.0, 6.0, -2.0, 8.0))
    inside, fields = fields_of(grid, machines, {"task": machines, "other": None})
    _, far = fields_of(2 * grid, twice, {"task": machines, "other": twice})
    assert inside.all()
    for year in KERNELS:
        field = fields[year].reshape(5, 7)
        np.testing.assert_allclose(fields[f"{year}_mirrored"].reshape(5, 7), field[:, ::-1])
        np.testing.assert_allclose(fields[f"{year}_task"], fields[year])
        np.testing.assert_allclose(far[f"{year}_task"], fields[year])  # from one box into the other
        np.testing.assert_allclose(far[f"{year}_other"], far[year])
        assert np.isnan(fields[f"{year}_other"]).all()


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Runs of two data sets of threes and eights, and their table."""
    sweep = tmp_path_factory.mktemp("digits") / "sweep"
    small = ["optimizer.epochs=3", "probe.resolution=6", "task.test_fraction=0.9", "task.data_seed=0,10"]
    main(["run", "-m", "experiment=amari_wu_digits", f"hydra.sweep.dir={sweep}", "task.digits=[3,8]", *small])
    runs = [load_run(directory) for directory in sorted(sweep.glob("[01]-*"))]
    return sweep, runs, networks_and_machines(runs)


def test_correlations_of_digits_are_those_on_planes_with_the_metric_of_64_dimensions_along_them(digits):
    _, runs, table = digits
    run = runs[0]
    (machines, _), _ = machines_of(run)
    geometry = run.first_and_last.isel(layer=0)
    for year in KERNELS:
        found = []
        for place in range(2):
            one = geometry.isel(plane=place)
            corners, places = one.corner.values, one.corner_place.values  # (3, 64), (3, 2)
            x, y = (each.ravel() for each in np.meshgrid(one.x, one.y))
            low, high = places.min(axis=0), places.max(axis=0)
            inside = (low[0] <= x) & (x <= high[0]) & (low[1] <= y) & (y <= high[1])
            mixture = np.linalg.solve(np.vstack([places.T, np.ones(3)]), np.stack([x, y, np.ones(len(x))]))
            basis = np.linalg.lstsq(places[1:] - places[0], corners[1:] - corners[0], rcond=None)[0]  # (2, 64)
            metric = kernel_metric(machines.magnified[year].kernel, mixture.T[inside] @ corners).numpy()
            kernel = np.linalg.slogdet(basis @ metric @ basis.T)[1] / 2
            network = one.log_volume_element.isel(epoch=-1).values.reshape(2, -1)[:, inside]
            found.append([spearmanr(kernel, each).statistic for each in network])
        assert table[f"kernel_{year}"][:2].tolist() == pytest.approx(np.mean(found, axis=0).tolist(), abs=1e-9)


def test_digits_have_errors_controls_and_a_name_for_each_pair(digits):
    sweep, _, table = digits
    assert set(table.task) == {"digits 3/8"}
    assert np.isfinite(table[list(ERRORS)].to_numpy(float)).all()
    for year in KERNELS:
        assert np.isfinite(table[[f"kernel_{year}", f"kernel_{year}_mirrored", f"kernel_{year}_other"]]).all(axis=None)
        assert table[f"kernel_{year}_task"].isna().all()
    assert (sweep / "figures" / "amari_wu_digits-fields.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "errors"), [(["task.test_fraction=0.0"], 0), (["task.test_fraction=0.8", "optimizer.lr=1e300"], 2)]
)
def test_sweeps_without_a_test_set_or_with_saturated_networks_are_drawn(more, errors, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = ["task=moons", "task.data_seed=0,10", "task.points=60", "optimizer.epochs=20", "probe.resolution=8"]
    main(["run", "-m", "experiment=amari_wu", "hydra.sweep.dir=sweep", *small, *more])
    printed, said = capsys.readouterr()
    assert f"figure {tmp_path / 'sweep' / 'figures' / 'amari_wu-fields.png'}" in printed.splitlines(), printed + said
    found = pd.read_csv(tmp_path / "sweep" / "figures" / "amari_wu.csv").set_index("statistic")
    assert found.n["mean machine_error_2002"] == errors
