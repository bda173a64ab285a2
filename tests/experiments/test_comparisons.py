"""What a sweep's runs say together: closed forms for the statistics, a figure and tables from real sweeps."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from made_runs import made_run, plane, texts
from small_runs import FEWER_SETTINGS

from nngeom_cli.analysis.grid import grid_statistics
from nngeom_cli.analysis.networks import networks
from nngeom_cli.cli.entry import main
from nngeom_cli.experiments.compare import EXPERIMENTS, draw_comparison, experiment
from nngeom_cli.experiments.generalization import PREDICTORS
from nngeom_cli.geometry import InfiniteWidth, TorchFeatureMap, log_volume_element, measure
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
        section, _, leaf = key.partition(".")
        groups = [ROOT / "conf" / section / f"{name}.yaml" for name in str(swept[key]).split(",")]
        assert leaf in composed[section] if leaf else all(group.is_file() for group in groups)


SMALL = ["optimizer.epochs=20", "replicates=3", "probe.resolution=8", "device=cpu", "figures.draw=false"]
WITH_FIELDS = ["amari_wu", "amari_wu_digits"]
OWN_TABLE = [*WITH_FIELDS, "magnify", "depth"]  # with tests of their own


def trained(directory, width=8, diverged=()):
    """A run of two replicates, of which the places in `diverged` are."""
    run = made_run(directory, plane())
    architecture = {"hidden": [width, 8], "parametrization": "standard", "output_scale": width, "activation": "erf"}
    run.config = {"architecture": architecture, "optimizer": {"weight_decay": 0.0}}
    for place in diverged:
        run.info["replicates"][place] |= {"loss": None, "accuracy": None, "test_accuracy": None}
    return run


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OWN_TABLE])
def test_networks_that_diverged_are_in_no_statistic_and_are_counted(name, tmp_path):
    runs = [trained(tmp_path, width) for width in (16, 32)]
    lost = trained(tmp_path, 64, diverged=(0, 1))  # its geometry is finite: the loss alone overflowed
    table = networks([*runs, lost])
    assert table.volume_change.isna().tolist() == [False] * 4 + [True] * 2
    assert table.seed.tolist() == [3, 4] * 3
    statistics, healthy = (EXPERIMENTS[name].statistics(rows, rng()) for rows in (table, networks(runs)))
    named = ["statistic", "of", *(["start", "end"] if "start" in healthy else ["epoch"] if "epoch" in healthy else [])]
    both = healthy.merge(statistics, on=named, suffixes=("", "_lost"))
    assert len(both) == len(healthy)
    assert both.estimate_lost.tolist() == pytest.approx(both.estimate.tolist(), nan_ok=True)
    assert statistics.n.max() <= 4
    words = texts(EXPERIMENTS[name].draw(table, statistics).figure)
    assert "networks, of which 2 diverged and are left out" in words


def test_an_activation_without_curvature_says_so_whichever_network_diverged(tmp_path):
    run = trained(tmp_path, diverged=(0,))
    run.geometry["ricci_scalar"] *= 0.0
    activations = EXPERIMENTS["activations"]
    table = networks([run])
    figure = activations.draw(table, activations.statistics(table, rng())).figure
    assert texts(figure).count("R = 0") == 2  # before training and after it


def test_a_network_has_its_change_of_volume_in_nats_and_what_seeds_differ_by(tmp_path):
    run = trained(tmp_path)
    table = networks([run])
    V, R = run.geometry.log_volume_element.values[:, 0], np.abs(run.geometry.ricci_scalar.values[:, 0])
    spread = ((V[0, 0] - V[0, 1]) ** 2).mean() ** 0.5
    for replicate, row in table.iterrows():
        before, after = V[0, replicate], V[-1, replicate]
        assert row.volume_change == pytest.approx(((after - before) ** 2).mean() ** 0.5)
        assert row.volume_spread == pytest.approx(spread)
        assert (row.initial_log_volume, row.log_volume) == pytest.approx((before.mean(), after.mean()))
        assert row.initial_curvature == pytest.approx(np.median(R[0, replicate]))
        assert row.curvature == pytest.approx(np.median(R[-1, replicate]))
    assert table.seed.tolist() == [3, 4]


def test_a_network_has_its_boundarys_statistics_and_those_of_the_controls(tmp_path):
    run = trained(tmp_path)
    row = networks([run]).iloc[1]
    measured = grid_statistics(run.first_and_last).isel(layer=0, replicate=1)
    for name in ("volume_band_mean", "volume_band_contrast", "curvature_band_contrast"):
        for boundary, end in [("final", ""), ("other", "_other"), ("mirrored", "_mirrored"), ("rotated", "_rotated")]:
            before, after = measured[name].sel(boundary=boundary).values
            assert row[f"initial_{name}{end}"] == pytest.approx(before, nan_ok=True)
            assert row[f"{name}{end}"] == pytest.approx(after, nan_ok=True)


def test_each_checkpoint_is_a_row_with_its_scores_and_its_own_boundary(tmp_path):
    run = trained(tmp_path, diverged=(1,))
    table = networks([run], every_checkpoint=True)
    assert table[["epoch", "seed"]].to_numpy().tolist() == [[10, 3], [10, 4], [200, 3], [200, 4]]
    assert table.accuracy.tolist() == pytest.approx([0.8, np.nan, 0.9, np.nan], nan_ok=True)
    own = grid_statistics(run.geometry).volume_band_contrast.sel(boundary="own").isel(layer=0, replicate=0)
    assert table.volume_band_contrast[::2].tolist() == pytest.approx(own.values[1:].tolist())
    pd.testing.assert_frame_equal(table[2:].reset_index(drop=True), networks([run]))


def layer(random, inputs=1.0, features=1.0):
    """Two tanh layers, untrained and trained, whose inputs or features are given in another unit."""
    weights = [random.normal(size=(6, 2)) / inputs for _ in range(2)]
    biases = [random.normal(size=6) for _ in range(2)]

    def feature_map(stage):
        matrix, bias = (torch.from_numpy(values[stage]) for values in (weights, biases))
        return TorchFeatureMap(lambda x: features * torch.tanh(matrix @ x + bias))

    return feature_map


@pytest.mark.parametrize("unit", [1e-3, 0.147, 2.0, 1e4])
@pytest.mark.parametrize("of", ["inputs", "features"])
def test_what_is_measured_of_a_network_obeys_the_laws_of_scale(of, unit, tmp_path):
    axis = np.linspace(-1.5, 1.5, 7)
    rows = []
    for scale in (1.0, unit):
        inputs, features = (scale if of == what else 1.0 for what in ("inputs", "features"))
        run = trained(tmp_path)
        box = [inputs * end for end in run.geometry.attrs["box"]]
        geometry = (
            run.geometry.isel(epoch=[0, -1]).interp(x=axis, y=axis).assign_attrs(run.geometry.attrs | {"box": box})
        )
        points = torch.from_numpy(np.stack(np.meshgrid(axis, axis), axis=-1)) * inputs
        random = rng()
        for replicate in range(2):
            made = layer(random, inputs, features)
            for stage in (0, 1):
                numbers = measure(made(stage), points, ["log_volume_element", "ricci_scalar"])
                for name, values in numbers.items():
                    geometry[name][stage, 0, replicate] = values.numpy()
        geometry["ricci_scalar_error"] = 1e-12 * abs(geometry.ricci_scalar)
        run.geometry = geometry.assign_coords(x=inputs * axis, y=inputs * axis)
        rows.append(networks([run]))
    plain, scaled = rows
    shift = {"inputs": -2 * np.log(unit), "features": 2 * np.log(unit)}[of]
    assert scaled.volume_change.tolist() == pytest.approx(plain.volume_change.tolist(), rel=1e-9)
    assert scaled.volume_spread.tolist() == pytest.approx(plain.volume_spread.tolist(), rel=1e-9)
    assert (scaled.log_volume - plain.log_volume).tolist() == pytest.approx([shift] * 2, rel=1e-9)
    power = {"inputs": 0, "features": -2}[of]
    assert (scaled.curvature / plain.curvature).tolist() == pytest.approx([unit**power] * 2, rel=1e-6)
    if of == "features":
        for name in ("volume_band_contrast", "volume_rank_correlation", "curvature_band_contrast"):
            assert scaled[name].tolist() == pytest.approx(plain[name].tolist(), rel=1e-6)


def test_networks_of_ntk_have_their_distance_from_the_limit_in_nats(tmp_path):
    run = trained(tmp_path)
    run.config["architecture"]["parametrization"] = "ntk"
    run.geometry.attrs["widths"] = np.array([2, 8, 1])
    shifted = trained(tmp_path)
    shifted.config, shifted.geometry = run.config, run.geometry.copy(deep=True)
    axis = run.geometry.x.values
    radius = torch.from_numpy(np.hypot(*np.meshgrid(axis, axis)))
    limit = InfiniteWidth("erf", 0.5**0.5, 1.0, 2).log_volume_element(radius).numpy()
    for place, offset in enumerate((0.3, -2.0)):
        shifted.geometry.log_volume_element[0, 0, place] = limit + offset
    assert networks([shifted]).distance_to_infinite_width.tolist() == pytest.approx([0.3, 2.0])


def test_generalization_names_settings_without_spread_and_counts_all_its_tests(tmp_path):
    size, random = 36, rng()
    columns = [*PREDICTORS, "volume_band_mean_other"]
    table = pd.concat(
        [
            pd.DataFrame(random.normal(size=(size, len(columns))), columns=columns).assign(
                epoch=epoch,
                loss=0.1,
                width=np.repeat([4, 8, 16], 12),
                activation="tanh",
                weight_decay=0.0,
                data_seed=np.tile(np.repeat(np.arange(6), 2), 3),
                seed=np.tile(np.arange(12), 3),
                test_accuracy=np.where(np.repeat([4, 8, 16], 12) == 8, 0.9, random.random(size)),
            )
            for epoch in (10, 100)
        ]
    )
    found = EXPERIMENTS["generalization"].statistics(table, rng())
    assert found.of.iloc[-1] == "n = 8, tanh, weight decay 0"
    tested = found.dropna(subset="p")
    assert len(tested) == 2 * 2 * len(PREDICTORS)
    assert tested.p_holm.min() == pytest.approx(min(1, len(tested) * tested.p.min()))
    assert tested[tested.epoch == 10].detectable.isna().all()
    assert tested[(tested.epoch == 100) & (tested.of == "within settings")].detectable.between(0.2, 0.95).all()
    words = texts(EXPERIMENTS["generalization"].draw(table, found).figure)
    assert "of 7 could hardly" not in words  # the control is no test
    assert "36 tanh networks of 6 seeds in 3 settings" in words
    assert "Settings without spread of test accuracy: n = 8, tanh, weight decay 0." in words


@pytest.mark.parametrize(("name", "setting"), [("width", "width"), ("lazy", "output_scale")])
def test_a_bent_curve_is_drawn_with_its_slopes_and_no_power_law(name, setting, tmp_path):
    scales, seeds, random = [16.0, 32, 64, 128, 256], 12, rng()
    x = np.tile(scales, seeds)
    bent = np.exp(-0.2 * np.log(x) ** 2 + 0.05 * random.normal(size=len(x)))
    table = pd.DataFrame({setting: x, "volume_change": bent, "seed": np.repeat(np.arange(seeds), len(scales))}).assign(
        parametrization="standard", activation="erf", accuracy=1.0, volume_spread=0.3, loss=bent
    )
    found = EXPERIMENTS[name].statistics(table, rng())
    rate = found[found.statistic == f"rate of volume_change in {setting}"]
    assert rate.estimate.isna().all()
    local = found[found.statistic == f"local rate of volume_change in {setting}"]
    assert local.start.tolist() == scales[:-1]
    assert (local.low < local.high).all()
    ranges = found[found.statistic == f"rate by range of volume_change in {setting}"]
    assert ranges.low.isna().all()
    assert len(ranges) == 3
    of_means = found[found.statistic == "geometric mean volume_change"]
    assert of_means.estimate.tolist() == pytest.approx(np.exp(np.log(bent).reshape(seeds, -1).mean(axis=0)))
    assert [float(str(value).removeprefix("standard, n = ")) for value in of_means.of] == scales
    words = texts(EXPERIMENTS[name].draw(table, found).figure)
    assert "no power law fits" in words
    assert "exponent from" in words


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_runs_small_and_ends_with_a_figure_and_tables(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    grid = not any(word.startswith(("probe.points", "probe.steps")) for word in FEWER_SETTINGS[name])
    small = [word for word in SMALL if grid or not word.startswith("probe.resolution")]
    code = main(["run", "-m", f"experiment={name}", "hydra.sweep.dir=sweep", *small, *FEWER_SETTINGS[name]])
    printed, said = capsys.readouterr()
    assert code == 0, printed + said
    assert f"figure {tmp_path / 'sweep' / 'figures' / name}.png" in printed.splitlines()
    assert any(line.startswith("statistic ") for line in printed.splitlines())
    runs = [load_run(path.parent) for path in sorted((tmp_path / "sweep").glob("*/run.json"))]
    assert experiment(runs) == name
    drawn = draw_comparison(runs, tmp_path / "again")
    of_fields = [f"{name}-fields.png"] * (name in WITH_FIELDS)
    assert [path.name for path in drawn] == [f"{name}.png", f"{name}.csv", f"{name}-networks.csv", *of_fields]
    assert drawn[1].read_text(encoding="utf-8") == (tmp_path / "sweep" / "figures" / f"{name}.csv").read_text()
    assert (tmp_path / "again" / f"{name}.pdf").is_file()
    table = pd.read_csv(drawn[2])
    assert len(table) == 3 * len(runs) * {"generalization": 3, "depth": 3 * 3}.get(name, 1)
    statistics = pd.read_csv(drawn[1])
    finite = statistics.dropna(subset=["estimate", "low", "high"])
    assert len(finite) > 0
    assert (finite.low <= finite.high).all()
    if name == "width":
        check_distance(table)
    if name in ("width", "lazy"):
        assert statistics.statistic.str.startswith("local rate of volume_change").any()
        assert statistics.statistic.str.contains("change_over_spread").any()


def check_distance(table):
    """The distance from infinite width of one network, asked of the geometry library."""
    row = table[(table.parametrization == "ntk") & (table.width == 16) & (table.seed == 1)].iloc[0]
    network = initial_network([2, 16, 1], "erf", initial_generators(1, 1), parametrization="ntk")
    axis = torch.linspace(-1.5, 1.5, 8, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    theory = InfiniteWidth("erf", 0.5**0.5, 1.0, 2).log_volume_element(points.norm(dim=1))
    measured = log_volume_element(network.feature_map(1), points)[0]
    expected = (measured - theory).square().mean().sqrt().item()
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
    assert "local rate of volume_change in output_scale" in again
    assert all(line in before.replace(str(tmp_path) + "/", "") for line in again.splitlines())
    alone = ["replicates=1" if word.startswith("replicates=") else word for word in SMALL]
    assert main(["run", "-m", "seed=0,5", "hydra.sweep.dir=plain", *alone, "probe.checkpoints=[]"]) == 0
    assert not (tmp_path / "plain" / "figures").exists()
    capsys.readouterr()
    assert main(["figures", "plain"]) == 0
    drawn = [Path(line).name for line in capsys.readouterr().out.splitlines()]
    assert drawn == ["grid-layer-1.png"] * 2
