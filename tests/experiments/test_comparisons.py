"""What a sweep's runs say together: closed forms for the statistics, a figure and tables from real sweeps."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from made_runs import made_run, plane, texts
from scipy.stats import spearmanr, t

from nngeom_cli.analysis.bootstrap import grouped_rank_correlation, power_law
from nngeom_cli.analysis.networks import networks
from nngeom_cli.cli.entry import main
from nngeom_cli.experiments.compare import EXPERIMENTS, draw_comparison, experiment
from nngeom_cli.geometry import InfiniteWidth, log_volume_element
from nngeom_cli.store.run import load_run
from nngeom_cli.training.loop import initial_generators
from nngeom_cli.training.network import initial_network

ROOT = Path(__file__).parents[2]
NAMES = sorted(EXPERIMENTS)


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("nngeom run experiment=lazy seed=0", "lazy"),
        ("nngeom run -m seed=0 experiment=width", "width"),
        ("nngeom run 'unbalanced", None),
        ("nngeom run experiment=lazy 'unbalanced", "lazy"),
        ("nngeom run +experiment=a/../b", None),
        ("nngeom run task.path='my experiment=lazy.csv'", None),
        ("", None),
    ],
)
def test_an_experiment_is_read_from_any_command(command, name, tmp_path):
    run = made_run(tmp_path, plane())
    run.info["command"] = command
    assert experiment([run]) == name


def test_the_interval_of_a_power_law_holds_the_rate_as_often_as_it_says():
    random, x = rng(), np.repeat([8.0, 16, 32, 64, 128], 10)
    rates = [power_law(x, 3 * x**-0.75 * np.exp(0.3 * random.normal(size=50)), random)[0] for _ in range(60)]
    inside = sum(rate.low < -0.75 < rate.high for rate in rates)
    assert 50 <= inside <= 60  # 57 expected of 95 %


def test_a_power_law_is_the_least_squares_line_of_logarithms():
    x = np.repeat([8.0, 16, 32, 64, 128], 10)
    y = 3 * x**-0.75 * np.exp(0.3 * rng().normal(size=50))
    rate, factor = power_law(x, y, rng())
    slope, intercept = np.polyfit(np.log(x), np.log(y), 1)
    assert rate.value == pytest.approx(slope, rel=1e-9)
    assert factor == pytest.approx(np.exp(intercept), rel=1e-9)
    assert rate.high - rate.low == pytest.approx(2 * 1.96 * 0.3 / np.sqrt(50 * np.log(x).var()), rel=0.25)


def test_the_interval_of_a_power_law_is_as_wide_for_few_networks_as_students_t_says():
    x = np.repeat([8.0, 16, 32, 64, 128], 3)
    y = x**-0.75 * np.exp(0.3 * rng().normal(size=15))
    rate, _ = power_law(x, y, rng())
    logs = np.log(y).reshape(5, 3)
    error = np.sqrt(logs.var(axis=1, ddof=1).mean() / (15 * np.log(x).var()))  # of the slope
    assert rate.high - rate.low == pytest.approx(2 * t.ppf(0.975, 10) * error, rel=0.15)  # plain ones: 0.72 of it


def test_one_network_at_each_place_has_a_rate_and_no_interval():
    rate, _ = power_law(np.array([1.0, 2, 4]), np.array([8.0, 4, 2]), rng())
    assert rate.value == pytest.approx(-1)
    assert np.isnan([rate.low, rate.high]).all()


def test_one_setting_has_no_interval_over_settings():
    found = grouped_rank_correlation(np.arange(5.0), np.arange(5.0), np.zeros(5), within=False, rng=rng())
    assert (found.value, found.n) == (1.0, 5)
    assert np.isnan([found.low, found.high]).all()


def test_a_power_law_needs_two_places():
    assert np.isnan(power_law(np.array([2.0, 2.0]), np.array([1.0, 2.0]), rng())[0].value)


def test_rank_correlation_over_all_networks_is_scipys():
    random = rng()
    x = random.normal(size=60)
    y = x + random.normal(size=60)
    groups = np.arange(60) // 6
    found = grouped_rank_correlation(x, y, groups, within=False, rng=rng())
    assert found.value == pytest.approx(spearmanr(x, y).statistic, rel=1e-12)
    assert found.low < found.value < found.high


def test_differences_between_settings_count_for_nothing_within_them():
    random = rng()
    groups = np.repeat(np.arange(30), 8)
    x, y = (100 * groups + random.normal(size=240) for _ in range(2))
    assert grouped_rank_correlation(x, y, groups, within=False, rng=rng()).low > 0.9
    within = grouped_rank_correlation(x, y, groups, within=True, rng=rng())
    assert within.low < 0 < within.high


def test_networks_without_a_value_are_left_out():
    x, y = np.array([1.0, 2, np.nan, 4]), np.array([1.0, 3, 2, 4])
    assert grouped_rank_correlation(x, y, np.zeros(4), within=False, rng=rng()).n == 3
    nothing = grouped_rank_correlation(x * np.nan, y, np.zeros(4), within=True, rng=rng())
    assert nothing.n == 0
    assert np.isnan(nothing.value)


def test_each_comparison_has_an_experiment():
    assert all((ROOT / "conf" / "experiment" / f"{name}.yaml").is_file() for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_experiment_says_what_it_is_and_its_first_job_composes(name, capsys):
    text = (ROOT / "conf" / "experiment" / f"{name}.yaml").read_text(encoding="utf-8")
    header = text.partition("defaults:")[0]
    assert f"nngeom run -m experiment={name} " in header
    assert "on two cores" in header
    assert "# Expect: " in header
    swept = yaml.safe_load(text)["hydra"]["sweeper"]["params"]
    assert main(["run", f"experiment={name}", "--cfg", "job"]) == 0
    composed = yaml.safe_load(capsys.readouterr().out)
    for key in swept:
        section, leaf = key.split(".")
        assert leaf in composed[section]


SMALL = ["optimizer.epochs=20", "replicates=3", "probe.resolution=8", "device=cpu", "figures.draw=false"]
FEWER = {
    "width": ["architecture.hidden=[4],[16],[32]"],
    "lazy": ["architecture.output_scale=1,3,30"],
    "generalization": [
        "architecture.hidden=[4],[8]",
        "architecture.activation=tanh",
        "optimizer.weight_decay=0.0,1e-2",
    ],
    "activations": ["architecture.activation=tanh,relu,monomial2"],
}


def trained(directory, width=8, diverged=()):
    """A run of two replicates, of which the places in `diverged` are."""
    run = made_run(directory, plane())
    architecture = {"hidden": [width, 8], "parametrization": "standard", "output_scale": width, "activation": "erf"}
    run.config = {"architecture": architecture, "optimizer": {"weight_decay": 0.0}}
    for place in diverged:
        run.info["replicates"][place] |= {"loss": None, "accuracy": None, "test_accuracy": None}
    return run


@pytest.mark.parametrize("name", NAMES)
def test_networks_that_diverged_are_in_no_statistic_and_are_counted(name, tmp_path):
    runs = [trained(tmp_path, width) for width in (16, 32)]
    lost = trained(tmp_path, 64, diverged=(0, 1))  # its geometry is finite: the loss alone overflowed
    table = networks([*runs, lost])
    assert table.volume_change.isna().tolist() == [False] * 4 + [True] * 2
    assert table.seed.tolist() == [3, 4] * 3
    statistics, healthy = (EXPERIMENTS[name][0](rows, rng()) for rows in (table, networks(runs)))
    assert statistics.estimate.head(len(healthy)).tolist() == pytest.approx(healthy.estimate.tolist(), nan_ok=True)
    assert statistics.n.max() <= 4
    words = texts(EXPERIMENTS[name][1](table, statistics).figure)
    assert "networks, of which 2 diverged and are left out" in words


def test_an_activation_without_curvature_says_so_whichever_network_diverged(tmp_path):
    run = trained(tmp_path, diverged=(0,))
    run.geometry["ricci_scalar"] *= 0.0
    statistics, draw = EXPERIMENTS["activations"]
    table = networks([run])
    figure = draw(table, statistics(table, rng())).figure
    assert texts(figure).count("R = 0") == 2  # before training and after it


def test_a_network_has_its_change_of_volume_relative_to_the_volume_before(tmp_path):
    run = trained(tmp_path)
    table = networks([run])
    V, R = run.geometry.log_volume_element.values[:, 0], np.abs(run.geometry.ricci_scalar.values[:, 0])
    for replicate, row in table.iterrows():
        before, after = V[0, replicate], V[-1, replicate]
        assert row.volume_change == pytest.approx(((after - before) ** 2).sum() ** 0.5 / (before**2).sum() ** 0.5)
        assert (row.initial_log_volume, row.log_volume) == pytest.approx((before.mean(), after.mean()))
        assert row.initial_curvature == pytest.approx(np.median(R[0, replicate]))
        assert row.curvature == pytest.approx(np.median(R[-1, replicate]))
    assert table.seed.tolist() == [3, 4]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_runs_small_and_ends_with_a_figure_and_tables(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = main(["run", "-m", f"experiment={name}", "hydra.sweep.dir=sweep", *SMALL, *FEWER[name]])
    printed, said = capsys.readouterr()
    assert code == 0, printed + said
    assert f"figure {tmp_path / 'sweep' / 'figures' / name}.png" in printed.splitlines()
    assert any(line.startswith("statistic ") for line in printed.splitlines())
    runs = [load_run(path.parent) for path in sorted((tmp_path / "sweep").glob("*/run.json"))]
    assert experiment(runs) == name
    drawn = draw_comparison(runs, tmp_path / "again")
    assert [path.name for path in drawn] == [f"{name}.png", f"{name}.csv", f"{name}-networks.csv"]
    assert drawn[1].read_text(encoding="utf-8") == (tmp_path / "sweep" / "figures" / f"{name}.csv").read_text()
    assert (tmp_path / "again" / f"{name}.pdf").is_file()
    table = pd.read_csv(drawn[2])
    assert len(table) == 3 * len(runs)
    statistics = pd.read_csv(drawn[1])
    finite = statistics.dropna(subset=["estimate", "low", "high"])
    assert len(finite) > 0
    assert (finite.low <= finite.high).all()
    if name == "width":
        check_distance(table)


def check_distance(table):
    """The distance from infinite width of one network, asked of the geometry library."""
    row = table[(table.parametrization == "ntk") & (table.width == 16) & (table.seed == 1)].iloc[0]
    network = initial_network([2, 16, 1], "erf", initial_generators(1, 1), parametrization="ntk")
    axis = torch.linspace(-1.5, 1.5, 8, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    theory = InfiniteWidth("erf", 0.5**0.5, 1.0, 2).log_volume_element(points.norm(dim=1))
    measured = log_volume_element(network.feature_map(1), points)[0]
    expected = ((measured - theory).square().mean() / theory.square().mean()).sqrt().item()
    assert row.distance_to_infinite_width == pytest.approx(expected, rel=1e-9)


def test_runs_of_no_comparison_are_left_alone(tmp_path):
    class Plain:
        info = {"command": "nngeom run task=xor seed=3"}  # noqa: RUF012

    assert experiment([Plain()]) is None
    assert draw_comparison([Plain()], tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    assert networks([Plain()]).empty


@pytest.mark.slow
def test_figures_of_a_sweep_are_its_comparison_or_those_of_its_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "-m", "experiment=lazy", "architecture.output_scale=1,9", "hydra.sweep.dir=lazy", *SMALL]) == 0
    before = capsys.readouterr().out
    assert main(["figures", "lazy"]) == 0
    again = capsys.readouterr().out
    assert "rate of volume_change in output scale" in again
    assert all(line in before.replace(str(tmp_path) + "/", "") for line in again.splitlines())
    alone = ["replicates=1" if word.startswith("replicates=") else word for word in SMALL]
    assert main(["run", "-m", "seed=0,5", "hydra.sweep.dir=plain", *alone, "probe.checkpoints=[]"]) == 0
    assert not (tmp_path / "plain" / "figures").exists()
    capsys.readouterr()
    assert main(["figures", "plain"]) == 0
    drawn = [Path(line).name for line in capsys.readouterr().out.splitlines()]
    assert drawn == ["plane-layer-1.png"] * 2
