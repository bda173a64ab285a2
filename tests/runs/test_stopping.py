"""A run with optimizer.stop=solved ends once every replicate has solved its task, and is else a run like any other."""

import pytest
import torch
from small_runs import config

from nngeom_cli.cli.entry import main
from nngeom_cli.config.run import config_hash
from nngeom_cli.errors import ConfigError
from nngeom_cli.runs import run as runner
from nngeom_cli.runs.measure import measure
from nngeom_cli.runs.origin import measured_again
from nngeom_cli.runs.resume import resume
from nngeom_cli.store.run import load_run
from nngeom_cli.store.run_directory import RunDirectory

EPOCHS = {"optimizer__epochs": 400, "optimizer__lr": 0.1, "probe__checkpoints": [0, 10, 400]}
SOLVED = {"optimizer__stop": "solved", **EPOCHS}


def made(directory, **changes):
    directory.mkdir()
    runner.run(config(**changes), directory, command="nngeom run")
    return load_run(directory)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    return made(tmp_path_factory.mktemp("stopped") / "run", **SOLVED)


@pytest.fixture(scope="module")
def unstopped(tmp_path_factory):
    return made(tmp_path_factory.mktemp("unstopped") / "run", **EPOCHS)


def test_it_ends_at_the_first_recorded_epoch_at_which_all_have_solved_the_task(stopped, unstopped):
    accuracy = unstopped.history.pivot_table(index="epoch", columns="replicate", values="accuracy")
    end = int(accuracy.index[(accuracy.min(axis=1) == 1) & (accuracy.index > 0)][0])
    assert 10 < end < 400
    assert stopped.status == "complete"
    assert stopped.info["stopped_at"] == end
    assert stopped.geometry.epoch.values.tolist() == [0, 10, end]
    first = {int(seed): int(accuracy.index[accuracy[seed] == 1][0]) for seed in accuracy}
    assert {row["replicate"]: row["epoch"] for row in stopped.info["solved_at"]} == first
    assert all(row["solved"] for row in stopped.info["replicates"])


def test_until_then_it_has_the_bits_of_a_run_that_goes_on(stopped, unstopped):
    end = stopped.info["stopped_at"]
    history = unstopped.history
    assert stopped.history.equals(history[history.epoch <= end])
    assert stopped.geometry.sel(epoch=[0, 10]).identical(unstopped.geometry.sel(epoch=[0, 10]))


def test_a_run_that_solves_nothing_ends_after_its_last_epoch(tmp_path):
    run = made(tmp_path / "run", optimizer__stop="solved", optimizer__lr=1e-6)
    assert "stopped_at" not in run.info
    assert run.info["solved_at"] == []
    assert run.geometry.epoch.values.tolist() == [0, 5, 20]


def test_a_run_without_it_says_nothing_of_it(unstopped):
    assert not {"stopped_at", "solved_at"} & {*unstopped.info}
    assert config_hash(config(**EPOCHS)) == unstopped.info["config_hash"]


@pytest.mark.parametrize("moment", ["write_geometry", "write_checkpoint", "update", "first_reached"])
def test_cut_off_as_it_stops_it_is_resumed_to_the_same_bits(moment, stopped, tmp_path, monkeypatch):
    whole = getattr(RunDirectory, moment)
    end = stopped.info["stopped_at"]

    def cut(self, *words, **info):
        epoch = getattr(words[0], "epoch", words[0]) if words else info.get("stopped_at")
        if epoch == end or moment == "first_reached":
            raise KeyboardInterrupt
        return whole(self, *words, **info)

    monkeypatch.setattr(RunDirectory, moment, cut)
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "run", **SOLVED)
    monkeypatch.undo()
    resume(tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert run.status == "complete"
    for key in ("stopped_at", "solved_at", "replicates"):
        assert run.info[key] == stopped.info[key]
    assert run.geometry.identical(stopped.geometry)
    assert run.history.equals(stopped.history)
    for mine, other in zip(run.parameters(end), stopped.parameters(end), strict=True):
        assert torch.equal(mine, other)


def test_on_two_cores_it_ends_at_the_same_epoch(stopped, tmp_path, monkeypatch):
    monkeypatch.setenv("NNGEOM_CORES", "2")
    run = made(tmp_path / "run", **SOLVED)
    assert run.info["stopped_at"] == stopped.info["stopped_at"]
    assert run.geometry.identical(stopped.geometry)


def test_it_cannot_be_trained_longer_and_says_how_another_can(stopped):
    with pytest.raises(
        ConfigError, match=r"`optimizer.epochs` must be left out.* ended at epoch \d+.*optimizer.stop=null"
    ):
        resume(stopped.directory, ["optimizer.epochs=500"])


def test_it_is_measured_again_up_to_where_it_stopped(stopped, tmp_path):
    finer = config(**SOLVED, probe__resolution=7)
    (tmp_path / "finer").mkdir()
    measure(finer, tmp_path / "finer", measured_again(stopped, finer), command="nngeom measure")
    run = load_run(tmp_path / "finer")
    assert run.info["stopped_at"] == stopped.info["stopped_at"]
    assert run.geometry.epoch.equals(stopped.geometry.epoch)
    assert run.geometry.sizes["x"] == 7


def test_the_command_says_how_many_epochs_there_were(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["optimizer.lr=0.1", "optimizer.epochs=400", "replicates=2", "probe.resolution=5", "figures.draw=false"]
    assert main(["run", "task=xor", "optimizer.stop=solved", "hydra.run.dir=run", *words]) == 0
    end = load_run("run").info["stopped_at"]
    assert f"{end} of 400 epochs in " in capsys.readouterr().out
    assert main(["run", "optimizer.stop=early"]) == 2
    assert "`optimizer.stop` must be solved, or null. Got early." in capsys.readouterr().err
    assert main(["run", "optimizer.stop=true"]) == 2  # no name at all
    assert "`optimizer.stop` must be solved, or null. Got true. null trains" in capsys.readouterr().err
