"""Runs with a volume penalty: what they record, that they resume with the same bits, and how they end where it does."""

import json

import pytest
from small_runs import PROBED, assert_same, config
from test_resuming import interrupted

from nngeom_cli.config.run import config_hash
from nngeom_cli.errors import DamageError, RunError
from nngeom_cli.runs import run as runner
from nngeom_cli.runs.resume import resume
from nngeom_cli.store.run import load_run

pytestmark = pytest.mark.usefixtures("one_core")
PENALTY = {"optimizer__volume_penalty": -0.05, "optimizer__volume_penalty_where": "boundary"}


@pytest.fixture(scope="module")
def penalized(tmp_path_factory):
    directory = tmp_path_factory.mktemp("penalized")
    runner.run(config(probe__checkpoints=PROBED, **PENALTY), directory, command="nngeom run")
    return load_run(directory)


def test_the_history_and_the_end_have_the_penalty_beside_the_loss(penalized):
    assert list(penalized.history) == ["epoch", "replicate", "loss", "accuracy", "volume_penalty"]
    last = penalized.history[penalized.history.epoch == 20].volume_penalty.tolist()
    assert [row["volume_penalty"] for row in penalized.replicates] == last
    assert all(value > 0 for value in last)  # log V < 0 near the boundary, times a negative strength


def test_a_run_without_a_penalty_is_recorded_as_ever(tmp_path):
    runner.run(config(), tmp_path, command="nngeom run")
    run = load_run(tmp_path)
    assert list(run.history) == ["epoch", "replicate", "loss", "accuracy"]
    older = json.loads(json.dumps(run.config))
    for name in list(older["optimizer"]):
        if name.startswith("volume_penalty"):
            del older["optimizer"][name]
    assert config_hash(older) == run.info["config_hash"]


def test_a_penalized_run_that_was_interrupted_is_the_run_that_never_was(penalized, tmp_path, monkeypatch):
    run = interrupted(tmp_path / "stopped", monkeypatch, 5, **PENALTY)
    resume(run.directory)
    assert_same(load_run(run.directory), penalized)


def test_a_damaged_geometry_and_history_of_a_penalized_run_are_repaired(penalized, tmp_path, monkeypatch, capsys):
    run = interrupted(tmp_path / "damaged", monkeypatch, 10, **PENALTY)
    (run.directory / "geometry" / "epoch-000005.nc").write_bytes(b"")
    resume(run.directory)
    assert_same(load_run(run.directory), penalized)


def test_checkpoints_of_another_objective_are_not_resumed_from(penalized, tmp_path, monkeypatch):
    run = interrupted(tmp_path / "plain", monkeypatch, 5)
    for path in (penalized.directory / "checkpoints").iterdir():
        if (run.directory / "checkpoints" / path.name).exists():
            (run.directory / "checkpoints" / path.name).write_bytes(path.read_bytes())
    (run.directory / "SHA256SUMS").unlink()
    with pytest.raises(DamageError):
        resume(run.directory)


def test_a_layer_that_loses_rank_is_named_in_the_end(tmp_path, capsys):
    changes = {"architecture__activation": "relu", "optimizer__volume_penalty": 0.5}
    with pytest.raises(RunError, match=r"bring `optimizer.volume_penalty`, which is 0.5, nearer to 0, or take"):
        runner.run(config(**changes), tmp_path, command="nngeom run")
    run = load_run(tmp_path)
    assert run.status == "diverged"
    assert run.info["diverged"]
    lost = {row["replicate"] for row in run.info["diverged"]}
    assert all((row["loss"] is None) == (row["replicate"] in lost) for row in run.replicates)
