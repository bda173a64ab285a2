"""A run that cannot fit into the memory is refused with its size; one that may fit is not."""

from importlib import import_module

import pytest

from nngeom_cli.cli.entry import main
from nngeom_cli.config import footprint
from nngeom_cli.config.footprint import main_arrays, require_memory
from nngeom_cli.config.loader import load_config
from nngeom_cli.errors import ConfigError
from nngeom_cli.launch.application import composed
from nngeom_cli.runs.context import prepare
from nngeom_cli.system import memory
from nngeom_cli.system.memory import machine_memory
from nngeom_cli.training.device import resolve_device

TOO_LARGE = [
    (["probe.resolution=20000"], "`probe.resolution` must be small enough", "Got 20000. It takes at least "),
    (["replicates=100000000"], "`probe.resolution`", "Lower it, or replicates=100000000."),
    (["architecture.hidden=[8,1000000000]"], "`architecture.hidden`", "for the networks and their derivatives"),
    (["architecture.hidden=[1000000,1000000]"], "`architecture.hidden`", "Got [1000000,1000000]. "),
    (["task=sinusoid", "task.points=10000000000000"], "`task.points`", "for the data"),
    (["task=digits", "probe.steps=10000000000"], "`probe.steps`", "for what is measured"),
    (
        ["task=digits", "probe=plane", f"probe.resolution={10**18}"],
        "`probe.resolution`",
        "It takes at least millions of EB",
    ),
    (["task=moons", f"task.points={10**400}"], "`task.points`", "Got 1000"),
    (
        ["optimizer=adamw", f"architecture.hidden=[{2**62},{2**62}]"],
        "`architecture.hidden`",
        "Got [4611686018427387904,",
    ),
]


@pytest.mark.parametrize(("words", "key", "told"), TOO_LARGE, ids=lambda value: str(value)[:40])
def test_a_run_that_cannot_fit_is_one_sentence_and_nothing_on_disk(words, key, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"nngeom: {key}")
    assert told in line
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_with_one_job_that_cannot_fit_does_not_start(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "-m", "probe.resolution=3,20000"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("nngeom: Job 1 (probe.resolution=20000): `probe.resolution` must be small enough")
    assert list(tmp_path.iterdir()) == []


def test_what_the_documentation_runs_fits_into_two_gigabytes():
    for words in (
        ["task=xor"],
        ["task=sinusoid"],
        ["task=digits"],
        ["task=digits", "probe=plane"],
        ["task=spirals"],
        ["task=digits", "probe=data"],
    ):
        assert sum(size for size, _ in main_arrays(load_config(composed(words))).values()) < 2e9


@pytest.mark.parametrize(
    "words",
    [
        ["task=moons", "probe.layers=all"],
        ["task=digits"],
        ["task=digits", "probe=plane"],
        ["task=digits", "probe=data", "probe.layers=all", "task.test_fraction=0.01", "probe.split=test"],
        ["task=moons", "probe=data", "probe.layers=all"],
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_arrays_are_those_that_a_run_has(words, dtype):
    key = "probe.points" if "probe=data" in words else "probe.steps" if words == ["task=digits"] else "probe.resolution"
    short = [f"{key}=7"]
    config = load_config(composed([*words, *short, "replicates=2", f"dtype={dtype}"]))
    arrays = main_arrays(config)
    context = prepare(config, resolve_device("cpu"), [config.optimizer.epochs])
    measured = context.probe(context.network)
    of_networks = sum(values.nbytes for values in measured.values() if "replicate" in values.dims)
    size, _ = arrays[key]
    assert size == 2 * of_networks
    parameters = sum(weights.nbytes for weights in context.network.weights)
    assert parameters < arrays["architecture.hidden"][0]
    measure = import_module("nngeom_cli.geometry.measure")
    assert footprint.FEWEST_POINTS == measure._FEWEST_POINTS
    assert footprint.MOST_ELEMENTS == measure._MOST_ELEMENTS


def test_a_run_is_held_against_the_memory_that_there_is(monkeypatch):
    config = load_config(composed(["task=xor"]))
    require_memory(config)
    needed = sum(size for size, _ in main_arrays(config).values())
    assert 0 < needed < machine_memory()
    monkeypatch.setattr(memory, "machine_memory", lambda: needed)
    require_memory(config)
    monkeypatch.setattr(memory, "machine_memory", lambda: needed - 1)
    with pytest.raises(ConfigError, match="memory of this machine"):
        require_memory(config)


THEORY = [
    ("networks=1000000000", "widths"),
    ("depth=1000000000", "widths"),
    ("widths=[100000000000]", "widths"),
    ("points=1000000000000", "points"),
    ("d=100000000", "widths"),
    ("seed=99999999999999999999", "seed"),
    ("seed=4294967296", "seed"),
    ("widths=[9223372036854775807]", "widths"),
]


@pytest.mark.parametrize(("word", "key"), THEORY)
def test_a_theory_that_cannot_fit_is_one_sentence_and_nothing_on_disk(word, key, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    wide = ["widths=[100000000]"] if word.startswith("d=") else []
    assert main(["theory", word, *wide]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"nngeom: `{key}` must be ")
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_a_larger_machine_is_not_resumed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = ["replicates=1", "probe.resolution=3", "probe.checkpoints=[]", "optimizer.epochs=1", "figures.draw=false"]
    assert main(["run", *small, "hydra.run.dir=run", "device=cpu"]) == 0
    monkeypatch.setattr(memory, "machine_memory", lambda: 1000)
    capsys.readouterr()
    assert main(["resume", "run"]) == 2
    assert "memory of this machine, 1 kB" in capsys.readouterr().err
