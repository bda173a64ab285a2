"""Runs of convolutional, residual and layer_norm networks: measured, resumed, read back; what they refuse."""

import os
import shutil
import signal
from dataclasses import asdict

import numpy as np
import pytest
import torch
from small_runs import assert_same, config

from nngeom_cli.cli.entry import main
from nngeom_cli.config.footprint import main_arrays
from nngeom_cli.config.loader import load_config
from nngeom_cli.config.run import config_hash
from nngeom_cli.errors import ConfigError
from nngeom_cli.geometry import log_effective_volume_element, log_volume_element, ricci_scalar
from nngeom_cli.launch.application import composed
from nngeom_cli.runs import run as runner
from nngeom_cli.runs.context import pause_epochs, prepare
from nngeom_cli.runs.resume import resume
from nngeom_cli.store.run import load_run
from nngeom_cli.store.run_directory import RunDirectory

pytestmark = pytest.mark.usefixtures("one_core")

SMALL = ["figures.draw=false", "replicates=2", "optimizer.epochs=3", "probe.checkpoints=[0,1]", "device=cpu"]
DIGITS = ["task=digits", *SMALL, "optimizer.batch_size=600", "task.test_fraction=0.5"]
CONVOLUTIONAL = ["architecture=convolutional", "architecture.channels=[2,3]", "architecture.hidden=[6]"]
RESIDUAL = ["architecture.residual=true", "architecture.layer_norm=true", "architecture.hidden=[6,6]"]
PATH = ["probe.layers=[3,4]", "probe.steps=2", "probe.pairs=[[0,6]]", "probe.top_k=3"]
RUNS = {
    "convolutional": [*DIGITS, *CONVOLUTIONAL, *PATH],
    "on a grid": ["task=xor", *SMALL, *RESIDUAL, "probe.layers=[2,1]", "probe.resolution=3"],
    "at examples": [*DIGITS, *CONVOLUTIONAL, "probe=data", "probe.points=6", "probe.layers=[1,3]", "dtype=float32"],
}
PLANE = ["probe=plane", "probe.resolution=2", "probe.triples=[[0,6,8]]", "probe.layers=[2]", "probe.top_k=3"]


def made(directory, words):
    directory.mkdir(exist_ok=True)
    runner.run(load_config(composed(words)), directory, command="nngeom run")
    return load_run(directory)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """`runs(name)` -> a saved run of `RUNS`, made once."""
    known = {}

    def saved(name):
        if name not in known:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("NNGEOM_CORES", "1")
                known[name] = made(tmp_path_factory.mktemp("run"), RUNS[name])
        return known[name]

    return saved


@pytest.mark.parametrize("name", ["convolutional", "on a grid"])
def test_a_stopped_run_resumes_to_the_run_that_was_not_stopped(name, runs, tmp_path, monkeypatch):
    whole, write = runs(name), RunDirectory.write_checkpoint

    def write_and_stop(store, checkpoint, kept):
        write(store, checkpoint, kept)
        if checkpoint.epoch == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "write_checkpoint", write_and_stop)
        with pytest.raises(KeyboardInterrupt):
            made(tmp_path / "stopped", RUNS[name])
    resume(tmp_path / "stopped")
    assert_same(load_run(tmp_path / "stopped"), whole, epochs=[0, 1, 3])


@pytest.mark.parametrize("name", RUNS)
def test_a_feature_map_of_a_saved_run_gives_what_the_run_measured(name, runs):
    run = runs(name)
    for epoch in (0, 3):
        for layer in run.geometry.layer.values.tolist():
            measured, feature_map = run.geometry.sel(epoch=epoch, layer=layer), run.feature_map(epoch, layer)
            if measured.attrs["kind"] == "grid":
                x = np.stack(np.meshgrid(measured.x, measured.y), axis=-1)
                assert np.array_equal(log_volume_element(feature_map, x), measured.log_volume_element)
                assert np.array_equal(ricci_scalar(feature_map, x), measured.ricci_scalar, equal_nan=True)
                continue
            x = measured.input.values if "input" in measured else measured.endpoint.values[:, 0]
            values = log_effective_volume_element(feature_map, x.astype(run.config["dtype"]), measured.top_k)
            wanted = measured.log_effective_volume_element.transpose("replicate", ...)
            wanted = wanted if "point" in wanted.dims else wanted.isel(step=0)
            exact = 1e-10 if run.config["dtype"] == "float64" else 1e-3  # other points in a batch, other roundings
            np.testing.assert_allclose(values, wanted, rtol=exact, atol=exact)


def test_replicates_are_the_runs_of_their_seeds(runs, tmp_path):
    both = runs("convolutional")
    alone = made(tmp_path / "alone", [*RUNS["convolutional"], "seed=1", "replicates=1", "probe.checkpoints=[]"])
    for together, one in zip(both.parameters(3), alone.parameters(3), strict=True):
        assert torch.equal(together[1:], one)
    mine = both.geometry.sel(replicate=[1], epoch=[0, 3])
    for name in ("log_effective_volume_element", "speed", "path_curvature"):
        np.testing.assert_array_equal(mine[name], alone.geometry[name])


def test_layers_have_names_in_files_and_networks_a_name(runs):
    about = runs("convolutional").geometry.attrs
    assert about["layer_names"] == "conv1\nconv2\ndense1"
    assert list(about["widths"]) == [64, 2 * 16, 3 * 4, 6, 10]
    assert about["activation"] == "convolutional softplus"
    about = runs("on a grid").geometry.attrs
    assert (list(about["widths"]), about["activation"]) == ([2, 6, 6, 1], "layer_norm residual sigmoid")
    assert "layer_names" not in about


def test_another_probe_measures_what_a_run_that_had_it_from_the_start_measures(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    wanted = made(tmp_path / "wanted", [*DIGITS, *CONVOLUTIONAL, *PLANE])
    capsys.readouterr()
    assert main(["measure", str(runs("convolutional").directory), *PLANE]) == 0
    again = load_run(capsys.readouterr().out.splitlines()[-1])
    assert again.geometry.attrs["kind"] == "plane"
    assert_same(again, wanted, epochs=[0, 1, 3])


def test_figures_and_tables_are_drawn(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("convolutional", "on a grid"):
        directory = shutil.copytree(runs(name).directory, tmp_path / name)
        assert main(["figures", str(directory)]) == 0
    drawn = {path.name for path in (tmp_path / "convolutional" / "figures").glob("*.png")}
    assert {"path-layer-3.png", "path-layer-4.png"} <= drawn
    capsys.readouterr()
    assert main(["summarize", str(tmp_path / "convolutional"), "--format", "csv"]) == 0
    assert capsys.readouterr().out.count("\n") == 2


REFUSED = [
    (["architecture=convolutional"], "architecture.kind", "fully_connected for task=xor, whose inputs are not images"),
    (["architecture.residual=true"], "architecture.residual", "false where no hidden layer"),
    (["architecture.layer_norm=true", "architecture.hidden=[1]"], "architecture.hidden", "widths of at least 2"),
    (["architecture.layer_norm=true", "architecture.parametrization=ntk"], "architecture.parametrization", "standard"),
    (
        ["architecture.residual=true", "architecture.hidden=[8,8]", "architecture.output_scale=2"],
        "architecture.output_scale",
        "null with residual",
    ),
    (
        ["architecture.layer_norm=true", "optimizer.volume_penalty=0.1"],
        "optimizer.volume_penalty",
        "0 for convolutional, residual and layer_norm networks",
    ),
    (["architecture.kind=recurrent"], "architecture.kind", "fully_connected or convolutional"),
    (["architecture.channels=[8]"], "architecture.channels", "left out here"),
    (["architecture.hidden=[]"], "architecture.hidden", "a list of at least one width"),
    (
        ["task=digits", "architecture=convolutional", "architecture.channels=[]"],
        "architecture.channels",
        "at least one",
    ),
    (["task=digits", "architecture=convolutional", "architecture.kernel=[2]"], "architecture.kernel", "odd"),
    (
        ["task=digits", "architecture=convolutional", "architecture.stride=[1,1,1]"],
        "architecture.stride",
        "one size, or 2, one for each of architecture.channels",
    ),
    (
        ["task=digits", "architecture=convolutional", "architecture.channels=[2,2,2,2]"],
        "architecture.pool",
        "small enough for the 1 x 1 pixels that layer 4 has to pool",
    ),
    (["task=digits", "architecture=convolutional", "architecture.pooling=mean"], "architecture.pooling", "average"),
    (
        ["task=digits", "architecture=convolutional", "architecture.output_scale=2"],
        "architecture.output_scale",
        "left out here",
    ),
    (["task=digits", "architecture=convolutional", "architecture.residual=true"], "architecture.residual", "false"),
    (["task=digits", "architecture=convolutional", "probe.layers=[4]"], "probe.layers", "to 3, the output"),
    (
        ["task=digits", "architecture=convolutional", "architecture.channels=[1]", "architecture.pool=[4]"],
        "probe.top_k",
        "at most 4, the rank of the metric",
    ),
]


@pytest.mark.parametrize(("words", "key", "must_be"), REFUSED, ids=lambda value: str(value)[-60:])
def test_what_cannot_be_is_refused_by_the_name_of_its_key(words, key, must_be, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"nngeom: `{key}` must be ")
    assert must_be in line
    assert list(tmp_path.iterdir()) == []


def test_a_saved_config_without_the_new_keys_is_a_fully_connected_one_with_the_same_hash():
    today = config()
    plain = asdict(today)
    for name in ("kind", "residual", "layer_norm"):
        del plain["architecture"][name]
    assert load_config(plain) == today
    assert config_hash(plain) == config_hash(today)
    plain["architecture"]["hidden"] = [4, 4]
    changed = load_config(plain | {"architecture": plain["architecture"] | {"residual": True}})
    assert config_hash(changed) != config_hash(plain)


def test_images_that_are_too_large_are_refused_for_their_memory():
    words = ["task=digits", "architecture=convolutional"]
    small = main_arrays(load_config(composed(words)))
    large = main_arrays(load_config(composed([*words, "architecture.channels=[8,1000000]"])))
    assert large["architecture.channels"][0] > 1e9 > small["architecture.channels"][0]
    with pytest.raises(ConfigError, match=r"`architecture\.channels` must be small enough"):
        runner.run(load_config(composed([*words, f"architecture.channels=[{10**12},8]"])), None, command="")


@pytest.mark.parametrize("name", ["convolutional", "on a grid"])
def test_training_pauses_after_half_a_second_or_so(name):
    config = load_config(composed([*RUNS[name], "optimizer.epochs=100000"]))
    assert 1 < pause_epochs(prepare(config, torch.device("cpu"), [100000])).step < 2000
