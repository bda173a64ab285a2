"""Runs that diverge are saved, resumed and extended like others, with the bits of a run that was never interrupted."""

import contextlib
import math
import os
import signal

import numpy as np
import pytest
from small_runs import config

from nngeom_cli.errors import ConfigError, RunError
from nngeom_cli.runs import context
from nngeom_cli.runs import run as runner
from nngeom_cli.runs.resume import resume
from nngeom_cli.store.arrays import read_arrays
from nngeom_cli.store.run import load_run
from nngeom_cli.store.run_directory import RunDirectory

PROBED = [0, 5, 10, 20]
ALL = {"optimizer__lr": 1e6, "architecture__activation": "monomial3"}
ADAM = {"name": "adam", "lr": 1e300, "weight_decay": 0.0, "betas": [0.9, 0.999], "eps": 1e-8, "epochs": 20}
KINDS = {
    "all of them": ALL,
    "all of them, mini-batches": ALL | {"optimizer__batch_size": 3},
    "all of them, adam": {"optimizer": ADAM | {"batch_size": None}, "architecture__activation": "monomial3"},
    "one of them": {},
}


@pytest.fixture
def run_to(monkeypatch, tmp_path):
    """Runs a config in a directory of a name, until its end or until the checkpoint of an epoch is written."""
    monkeypatch.setenv("NNGEOM_CORES", "1")
    make, write = context.untrained, RunDirectory.write_checkpoint

    def with_one_broken(*arguments, **options):
        network = make(*arguments, **options)
        network.weights[0][0, 0, 0] = math.nan
        return network

    def run(name, changes, stop=None):
        def write_and_stop(store, checkpoint, kept):
            write(store, checkpoint, kept)
            if checkpoint.epoch == stop:
                os.kill(os.getpid(), signal.SIGTERM)

        if "architecture__activation" not in changes:
            monkeypatch.setattr(context, "untrained", with_one_broken)
        monkeypatch.setattr(RunDirectory, "write_checkpoint", write_and_stop)
        directory = tmp_path / name
        directory.mkdir()
        with contextlib.suppress(RunError, KeyboardInterrupt):
            runner.run(config(probe__checkpoints=PROBED, **changes), directory, command="nngeom run")
        monkeypatch.setattr(RunDirectory, "write_checkpoint", write)
        return load_run(directory)

    return run


def assert_same(run, whole):
    """All that was measured and saved, with the bits of each NaN."""
    assert run.status == whole.status == "diverged"
    assert run.info["diverged"] == whole.info["diverged"]
    assert run.info["replicates"] == whole.info["replicates"]
    assert (run.directory / "history.csv").read_bytes() == (whole.directory / "history.csv").read_bytes()
    assert run.geometry.identical(whole.geometry)
    for name in (path.name for path in (whole.directory / "checkpoints").iterdir()):
        mine, other = (bits(one.directory / "checkpoints" / name) for one in (run, whole))
        assert mine == other


def bits(path):
    """The arrays of a checkpoint as bytes, but for the name of its run."""
    return {name: values.tobytes() for name, values in read_arrays(path).items() if name != "run"}


@pytest.mark.parametrize(("kind", "stop"), [*((kind, 5) for kind in KINDS), ("all of them, mini-batches", 0)])
def test_a_run_that_diverges_is_resumed_to_the_same_bits(run_to, kind, stop):
    whole, run = run_to("whole", KINDS[kind]), run_to("run", KINDS[kind], stop)
    assert (whole.status, run.status) == ("diverged", "interrupted")
    with pytest.raises(RunError, match="not finite at the end"):
        resume(run.directory)
    assert_same(load_run(run.directory), whole)


@pytest.mark.parametrize("kind", ["all of them, mini-batches", "one of them"])
def test_a_run_that_diverged_is_extended_like_any_other(run_to, kind):
    run = run_to("run", KINDS[kind])
    with pytest.raises(RunError, match="not finite at the end"):
        resume(run.directory, ["optimizer.epochs=40"])
    long = run_to("long", KINDS[kind] | {"optimizer__epochs": 40})
    assert load_run(run.directory).history.epoch.max() == 40
    assert_same(load_run(run.directory), long)


def test_to_resume_a_run_that_diverged_says_so_and_changes_nothing(run_to, capsys):
    run = run_to("run", ALL)
    before = {path: path.read_bytes() for path in run.directory.rglob("*") if path.is_file() and path.suffix != ".log"}
    capsys.readouterr()
    with pytest.raises(RunError, match=r"2 of 2 replicates is not finite at the end \(seed 3 at epoch 2, 4 at "):
        resume(run.directory)
    assert capsys.readouterr().out == "The run is diverged: nothing is left to do.\n"
    assert before == {path: path.read_bytes() for path in before}


def test_a_run_that_diverged_and_was_interrupted_is_not_extended_before_its_end(run_to):
    run = run_to("run", ALL, stop=5)
    with pytest.raises(ConfigError, match=r"must be \d+ until the run is complete\. Got 40\."):
        resume(run.directory, ["optimizer.epochs=40"])


def test_the_files_of_the_schedule_are_all_there(run_to):
    run = run_to("run", ALL)
    assert run.geometry.epoch.values.tolist() == PROBED
    assert run.history.epoch.unique().tolist() == list(range(21))
    assert np.isfinite(run.geometry.log_volume_element.sel(epoch=0)).all()
    assert np.isnan(run.geometry.log_volume_element.sel(epoch=[5, 10, 20])).all()
    assert all(bool(weights.isnan().all()) for weights in run.parameters(20))
