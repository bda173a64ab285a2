"""Whoever calls the library keeps all that is theirs: threads, logs, warnings, pictures, random numbers, signals."""

import gc
import json
import locale
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import pytest
import torch
import torch._dynamo  # which torch imports, and sympy with its filters, when something is first differentiated

import nngeom_cli
from nngeom_cli import geometry
from nngeom_cli.analysis.summary import summarize_runs
from nngeom_cli.cli.entry import main
from nngeom_cli.cli.page_commands import defaults_of
from nngeom_cli.config.loader import load_config
from nngeom_cli.config.run import Config
from nngeom_cli.figures import draw_figures
from nngeom_cli.figures.animation import animate
from nngeom_cli.figures.infinite_width import save_theory
from nngeom_cli.geometry import MLPFeatureMap, ricci_scalar
from nngeom_cli.launch.application import composed
from nngeom_cli.pages.report import write_report
from nngeom_cli.runs.resume import resume
from nngeom_cli.runs.run import run
from nngeom_cli.store.run import load_run
from nngeom_cli.store.sweep import Job, Sweep, load_sweep
from nngeom_cli.theory.infinite_width import load_theory, theory_curves

SMALL = ["optimizer.epochs=4", "replicates=3", "probe.resolution=5", "probe.checkpoints=[2]", "device=cpu"]
SMALL += ["figures.draw=false"]


def state():
    """What a process has one of, and its owner may have set."""
    mask = os.umask(0)
    os.umask(mask)
    loggers = [logging.root, *(logging.getLogger(name) for name in ("nngeom_cli", "hydra", "mine", "matplotlib"))]
    return {
        "torch": (torch.get_num_threads(), torch.get_default_dtype(), torch.get_default_device()),
        "gradients": (torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled()),
        "random numbers": (torch.get_rng_state().tolist(), str(np.random.mtrand._rand.get_state()), random.getstate()),
        "numpy": (np.geterr(), np.get_printoptions()),
        "logging": (logging.raiseExceptions, logging.lastResort, logging.root.manager.disable),
        "loggers": [(each.name, each.level, each.handlers[:], each.propagate, each.disabled) for each in loggers],
        "files of loggers": [handler.stream.closed for handler in MINE],
        "warnings": warnings.filters[:],
        "pictures": dict(matplotlib.rcParams.items()),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "files": (mask, Path.cwd()),
        "garbage": (gc.get_threshold(), gc.isenabled(), gc.get_freeze_count() > 0),
        "process": (dict(os.environ), sys.argv[:], sys.path[:], sys.stdout, sys.stderr, sys.excepthook),
        "language": locale.setlocale(locale.LC_ALL),
    }


MINE: list[logging.FileHandler] = []


@pytest.fixture
def owner(monkeypatch, tmp_path):
    """A process whose owner has set everything to something of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["notebook.py", "--mine"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    handlers, level = logging.root.handlers[:], logging.root.level
    MINE.append(logging.FileHandler("mine.log", mode="w"))
    logging.root.addHandler(MINE[0])
    logging.root.setLevel(logging.ERROR)
    logging.getLogger("nngeom_cli").setLevel(logging.WARNING)
    before = (torch.get_num_threads(), gc.get_threshold(), os.umask(0o027), signal.getsignal(signal.SIGTERM))
    torch.set_num_threads(4)
    gc.set_threshold(333, 4, 4)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with (
        matplotlib.rc_context({"font.size": 3.5, "lines.linewidth": 9, "savefig.transparent": True, "axes.grid": True}),
        warnings.catch_warnings(),
        np.errstate(over="raise"),
    ):
        warnings.filterwarnings("error", "of my own", FutureWarning)
        yield
    torch.set_num_threads(before[0])
    gc.set_threshold(*before[1])
    os.umask(before[2])
    signal.signal(signal.SIGTERM, before[3])
    logging.getLogger("nngeom_cli").setLevel(logging.NOTSET)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    MINE.pop().close()


class Saved(NamedTuple):
    """A complete run, made on one thread; its config without pictures; an empty folder for another run."""

    path: Path
    config: Config
    empty: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    config = load_config(composed(SMALL))
    path = tmp_path_factory.mktemp("sweep") / "saved"
    path.mkdir()
    Sweep(path.parent, "basic", [Job(path.name, [], "nngeom run", asdict(config))]).write()
    run(config, path, command="nngeom run")
    draw_figures(load_run(path))
    return path, config


@pytest.fixture
def saved(made, tmp_path):
    (tmp_path / "empty").mkdir()
    return Saved(*made, tmp_path / "empty")


X = torch.linspace(-1, 1, 10, dtype=torch.float64).reshape(5, 2)
MODULE = torch.nn.Sequential(torch.nn.Linear(2, 3)).double()  # its numbers are drawn here
LAYER = MLPFeatureMap([X[:4] + 1], [X[:4, 0]], "sigmoid")


def theory(_):
    config = load_theory(composed(["widths=[8]", "networks=2", "points=3", "activation=erf"], "theory"))
    save_theory(theory_curves(config).assign_attrs(command=""), Path("theory"))


def whole_run(saved):
    read = load_run(saved)
    assert all(len(part) for part in (read.geometry.load(), read.history, read.parameters(4)))
    assert len(ricci_scalar(read.feature_map(4, 1), X)) == 3


def whole_sweep(directory):
    sweep = load_sweep(directory)
    assert [sweep.run(job).status for job in sweep.jobs] == ["complete"]


def paraboloid(point):
    return torch.stack([point[0], point[1], point @ point])


GEOMETRY = {
    "PAPER_CURVATURE_FACTOR": lambda factor: factor * 2,
    "Activation": lambda kind: kind("cube", lambda z: z**3, lambda z: 3 * z**2, lambda z: (3 * z**2, 6 * z), odd=True),
    "FixedPoint": lambda kind: kind(1.0, 1.0, 1.0, 1.0),
    "Geodesic": lambda kind: kind(*[X] * len(kind._fields)),
    "InfiniteWidth": lambda limit: limit("sin", 1.0, 0.5, 2).ricci_scalar(X[:, 0].abs() + 0.1),
    "MLPFeatureMap": lambda kind: kind.from_module(MODULE, layer=1)(X),
    "ModuleFeatureMap": lambda kind: kind(MODULE, "0").outputs(X),
    "PredictionFeatureMap": lambda kind: kind(MODULE)(X),
    "PrincipalRicci": lambda kind: kind(X, X),
    "TorchFeatureMap": lambda kind: kind(paraboloid)(X),
    "check_activation": lambda check: check(geometry.get_activation("gelu")),
    "distance": lambda of: of(LAYER, X[:1], X[1:2]),
    "fixed_point": lambda of: of("tanh", 1.5, 0.3),
    "geodesic": lambda of: of(LAYER, X[:1], X[1:2]),
    "get_activation": lambda get: get("gelu"),
    "layer_spectra": lambda of: of(LAYER, X, [1], 2),
    "measure_layers": lambda of: of(LAYER, X, [1]),
    "path_curvature": lambda of: of(LAYER.restricted_to(X[0], X[1:2]), X[:, :1]),
}  # how each name of the library is called that is no function of a feature map and points, with top_k or without
WITH_TOP_K = ("log_effective_volume_element", "metric_spectrum", "principal_directions", "log_spectral_gap")


def library(name):
    public = getattr(geometry, name)
    if name in GEOMETRY:
        GEOMETRY[name](public)
        return
    for feature_map in (LAYER, paraboloid):
        public(feature_map, X, *([1] if name in WITH_TOP_K else []))


def refused(overrides):
    with pytest.raises(ValueError, match="must be a positive number"):
        nngeom_cli.run(overrides)


CALLS = {
    "run": lambda saved: run(saved.config, saved.empty, command="nngeom run"),
    "run of a dict": lambda _: nngeom_cli.run({"optimizer.epochs": 2, "replicates": 1, "figures.draw": False}),
    "run of words": lambda _: nngeom_cli.run([*SMALL[:-1], "figures.draw=true"]),
    "a wrong dict": lambda _: refused({"optimizer.lr": -1}),
    "animate": lambda saved: animate(load_run(saved.path)),
    "theory": theory,
    "write_report": lambda saved: write_report(saved.path, defaults_of),
    "summarize_runs": lambda saved: summarize_runs([saved.path]).text("terminal"),
    "load_run": lambda saved: whole_run(saved.path),
    "load_config": lambda saved: load_config(json.loads(json.dumps(asdict(saved.config)))),
    "load_sweep": lambda saved: whole_sweep(saved.path.parent),
    "the command run": lambda _: main(["run", *SMALL]),
    "the command run -m": lambda _: main(["run", "-m", *SMALL, "seed=0,1"]),
    "a wrong command": lambda _: main(["run", "optimizer.lr=-1"]),
    "the command --help": lambda _: main(["run", "--help"]),
    "completion": lambda _: main(["-sc", "query=bash"]),
} | {name: lambda _, name=name: library(name) for name in geometry.__all__}


@pytest.mark.parametrize("call", CALLS)
def test_a_call_leaves_everything_as_it_was(call, saved, owner, monkeypatch, capsys):
    monkeypatch.setenv("COMP_LINE", "nngeom run task=x")
    monkeypatch.setenv("NNGEOM_CORES", "2")
    before = state()
    CALLS[call](saved)
    after = state()
    for what in before:
        assert after[what] == before[what], what


def test_resuming_leaves_everything_as_it_was(saved, owner, capsys):
    shutil.copytree(saved.path, "again")
    before = state()
    resume(Path("again"), ["optimizer.epochs=8"])
    after = state()
    assert load_run("again").history.epoch.max() == 8
    for what in before:
        assert after[what] == before[what], what


def test_numbers_do_not_depend_on_the_callers_settings(saved, owner, capsys):
    """Four threads, another default type, other random numbers, numpy that raises."""
    torch.manual_seed(17)
    torch.set_default_dtype(torch.float16)
    try:
        run(saved.config, saved.empty, command="nngeom run")
    finally:
        torch.set_default_dtype(torch.float32)
    one, other = load_run(saved.path), load_run(saved.empty)
    assert one.geometry.drop_attrs().identical(other.geometry.drop_attrs())
    assert one.history.equals(other.history)
    for epoch in (0, 2, 4):
        for mine, theirs in zip(one.parameters(epoch), other.parameters(epoch), strict=True):
            assert torch.equal(mine, theirs)


def test_pictures_do_not_depend_on_the_callers_settings_and_leave_them(saved, owner):
    before = state()
    drawn = draw_figures(load_run(saved.path), directory=Path("figures"), cores=2)
    after = state()
    assert len(drawn) == 2
    for path in drawn:
        assert path.read_bytes() == (saved.path / "figures" / path.name).read_bytes()
    for what in before:
        assert after[what] == before[what], what


def test_importing_changes_nothing():
    """Each module of ours; what other packages do when they are imported is their own affair."""
    modules = [
        ".".join(path.relative_to(Path(nngeom_cli.__file__).parent.parent).with_suffix("").parts)
        for path in sorted(Path(nngeom_cli.__file__).parent.rglob("*.py"))
        if path.name != "__main__.py"
    ]
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import h5netcdf, h5py, hydra, matplotlib.animation, pandas, pytest, scipy.stats, sklearn.datasets, torch, tqdm, xarray
import hydra._internal.core_plugins.basic_sweeper, hydra._internal.core_plugins.basic_launcher, PIL.Image, psutil
import importlib
from hydra.core.config_store import ConfigStore
import gc, logging, os, random, signal, warnings
import numpy as np
source = open({__file__!r}).read()
names = "import locale\\nfrom pathlib import Path\\nMINE = []\\n"
exec(names + source[source.index("def state"):source.index("MINE: list")])
before = state()
configs = repr(ConfigStore.instance().repo)
for module in {modules!r}:
    importlib.import_module(module)
after = state()
print([what for what in before if after[what] != before[what]], configs == repr(ConfigStore.instance().repo))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "True"], done.stdout


def test_the_names_of_the_package_are_offered_before_they_are_used():
    assert dir(nngeom_cli) == sorted(nngeom_cli.__all__)
