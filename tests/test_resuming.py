"""A run that was interrupted, and resumed, is the run that never was: every array, the history, the parameters."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_runner import config

from nngeom_cli import runner
from nngeom_cli.errors import ConfigError, DamageError
from nngeom_cli.resuming import resume
from nngeom_cli.store import RunDirectory, load_run

PROBED = [0, 5, 10, 20]


@pytest.fixture(autouse=True)
def _one_core(monkeypatch):
    monkeypatch.setenv("NNGEOM_CORES", "1")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never interrupted."""
    directory = tmp_path_factory.mktemp("whole")
    runner.run(config(probe__checkpoints=PROBED), directory, command="nngeom run")
    return load_run(directory)


@pytest.fixture
def copy(whole, tmp_path):
    """A copy of it elsewhere."""
    return Path(shutil.copytree(whole.directory, tmp_path / "copy"))


def interrupted(directory, monkeypatch, epoch, **changes):
    """A run that got a SIGTERM when it had just written the checkpoint of `epoch`."""
    write = RunDirectory.write_checkpoint

    def write_and_stop(store, checkpoint, kept):
        write(store, checkpoint, kept)
        if checkpoint.epoch == epoch:
            os.kill(os.getpid(), signal.SIGTERM)

    directory.mkdir(exist_ok=True)
    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "write_checkpoint", write_and_stop)
        with pytest.raises(KeyboardInterrupt):
            runner.run(config(**{"probe__checkpoints": PROBED} | changes), directory, command="nngeom run")
    return load_run(directory)


def assert_same(run, whole, epochs=PROBED):
    assert run.status == whole.status == "complete"
    assert run.geometry.identical(whole.geometry)
    assert (run.directory / "history.csv").read_bytes() == (whole.directory / "history.csv").read_bytes()
    assert run.info["replicates"] == whole.info["replicates"]
    for epoch in epochs:
        for left, right in zip(run.parameters(epoch), whole.parameters(epoch), strict=True):
            assert torch.equal(left, right)


def damage(path, how):
    content = path.read_bytes()
    flipped = content[:300] + bytes([content[300] ^ 1]) + content[301:]
    path.write_bytes({"truncated": content[:-7], "flipped": flipped, "empty": b""}[how])


@pytest.mark.parametrize("every", [0, 60])
def test_an_interrupted_run_goes_on_to_the_same_bits(whole, tmp_path, monkeypatch, capsys, every):
    run = interrupted(tmp_path / "run", monkeypatch, 5, checkpoint_seconds=every)
    assert (run.status, run.info["error"]) == ("interrupted", "KeyboardInterrupt")
    resume(run.directory)
    assert "Goes on from epoch 6 of 20." in capsys.readouterr().out
    assert_same(load_run(run.directory), whole)
    assert [sitting["epoch"] for sitting in load_run(run.directory).info["resumed"]] == [6]
    assert "error" not in load_run(run.directory).info


@pytest.mark.parametrize(
    ("how", "what"),
    [("truncated", "its checksum is wrong"), ("flipped", "its checksum is wrong"), ("empty", "it is empty")],
)
def test_a_damaged_newest_checkpoint_is_said_and_the_one_before_is_used(whole, copy, capsys, how, what):
    damage(copy / "checkpoints" / "epoch-000020.npz", how)
    resume(copy)
    said = capsys.readouterr().out
    assert f"Skipped checkpoints/epoch-000020.npz: {what}." in said
    assert "Goes on from epoch 10 of 20." in said
    assert_same(load_run(copy), whole)


def test_a_damaged_checkpoint_in_the_middle_is_trained_again(whole, copy, capsys):
    damage(copy / "checkpoints" / "epoch-000005.npz", "flipped")
    resume(copy)
    assert "Goes on from epoch 0 of 20." in capsys.readouterr().out
    assert_same(load_run(copy), whole)


def test_damaged_and_missing_geometry_is_measured_again(whole, copy, capsys):
    damage(copy / "geometry" / "epoch-000005.nc", "flipped")
    (copy / "geometry" / "epoch-000010.nc").unlink()
    resume(copy)
    said = capsys.readouterr().out
    assert "Measures geometry/epoch-000005.nc again: its checksum is wrong." in said
    assert "Measures geometry/epoch-000010.nc again: it is missing." in said
    assert_same(load_run(copy), whole)


def test_without_a_whole_checkpoint_resume_refuses(copy):
    for path in (copy / "checkpoints").iterdir():
        damage(path, "flipped")
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file() and path.name != ".lock"}
    with pytest.raises(
        DamageError, match=r"must hold a whole checkpoint\. Got none\. Skipped checkpoints/epoch-000000"
    ):
        resume(copy)
    assert before == {path: path.read_bytes() for path in before}


def test_without_a_manifest_resume_refuses(copy):
    (copy / "SHA256SUMS").unlink()
    with pytest.raises(DamageError, match=r"epoch-000020\.npz: it is not in the manifest"):
        resume(copy)


def test_a_run_that_has_no_checkpoint_yet_starts_at_the_beginning(whole, copy):
    shutil.rmtree(copy / "checkpoints")
    shutil.rmtree(copy / "geometry")
    (copy / "SHA256SUMS").unlink()
    (copy / "history.csv").unlink()
    RunDirectory(copy, load_run(copy).info).update(status="interrupted", replicates=None)
    resume(copy)
    assert_same(load_run(copy), whole)


def test_a_run_that_was_killed_before_its_last_history_has_the_whole_one(whole, copy):
    lines = (copy / "history.csv").read_text().splitlines(keepends=True)
    (copy / "history.csv").write_text("".join(lines[:-5]))
    RunDirectory(copy, load_run(copy).info).update(status="interrupted", replicates=None)
    resume(copy)
    assert_same(load_run(copy), whole)


def test_leftovers_of_a_killed_process_are_ignored_and_removed(whole, tmp_path, monkeypatch):
    run = interrupted(tmp_path / "run", monkeypatch, 5)
    leftovers = [
        run.directory / name for name in (".half-run-1.json", "geometry/.half-a.nc", "checkpoints/.half-b.npz")
    ]
    for path in leftovers:
        path.write_text("half")
    resume(run.directory)
    assert_same(load_run(run.directory), whole)
    assert not any(path.exists() for path in leftovers)


def test_a_complete_run_has_nothing_left_to_do(copy, capsys):
    before = (copy / "run.json").read_bytes()
    resume(copy)
    assert capsys.readouterr().out == "The run is complete: nothing is left to do.\n"
    assert (copy / "run.json").read_bytes() == before


def test_more_epochs_extend_a_complete_run(copy, tmp_path):
    resume(copy, ["optimizer.epochs=40"])
    (tmp_path / "long").mkdir()
    runner.run(config(probe__checkpoints=PROBED, optimizer__epochs=40), tmp_path / "long", command="")
    assert_same(load_run(copy), load_run(tmp_path / "long"), [*PROBED, 40])
    assert load_run(copy).config["optimizer"]["epochs"] == 40
    assert load_run(copy).info["extended_from"] == [20]


def test_an_extension_that_was_interrupted_keeps_the_schedule_of_what_lay_behind(tmp_path, monkeypatch):
    spread = {"spacing": "linear", "count": 3}
    directory = tmp_path / "run"
    directory.mkdir()
    runner.run(config(probe__checkpoints=spread), directory, command="")
    write = RunDirectory.write_checkpoint
    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "write_checkpoint", lambda *_: os.kill(os.getpid(), signal.SIGTERM) or write(*_))
        with pytest.raises(KeyboardInterrupt):
            resume(directory, ["optimizer.epochs=60"])
    resume(directory)
    assert load_run(directory).geometry.epoch.values.tolist() == [0, 10, 20, 30, 60]
    assert load_run(directory).history.epoch.unique().tolist() == list(range(61))
    with pytest.raises(ConfigError, match=r"must be at least 60, which were trained\. Got 30\."):
        resume(directory, ["optimizer.epochs=30"])


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("optimizer.lr=0.5", r"`optimizer\.lr` must be 0\.02, as in the run\. Got 0\.5\. `nngeom run --from "),
        ("seed=${oc.env:HOME}", r"`seed` must be a plain value\. Got \$\{oc\.env:HOME\}\. "),
        ("task.name=sinusoid", r"`task\.points` must be given"),
        ("optimizer.epoch=30", r"`optimizer\.epoch` must be a key of the config\. Got 30\. Did you mean"),
        ("epochs", r"`epochs` must be KEY=VALUE\. Got no `=`\. "),
        ("seed=[", r"`seed=\[` must be KEY=VALUE\. Got: while parsing a flow node"),
        (
            "seed=!!python/name:os.system",
            r"`seed=!!python/name:os\.system` must be KEY=VALUE\. Got: could not determine",
        ),
    ],
)
def test_another_config_is_refused_with_the_difference(copy, override, sentence):
    before = (copy / "run.json").read_bytes()
    with pytest.raises(ConfigError, match=sentence):
        resume(copy, [override])
    assert (copy / "run.json").read_bytes() == before


def test_an_interrupted_run_is_not_extended_before_it_is_complete(tmp_path, monkeypatch):
    run = interrupted(tmp_path / "run", monkeypatch, 5)
    with pytest.raises(
        ConfigError, match=r"must be 20 until the run is complete\. Got 40\. Resume it without, first\."
    ):
        resume(run.directory, ["optimizer.epochs=40"])


def test_a_config_that_was_edited_in_run_json_is_refused(copy):
    path = copy / "run.json"
    path.write_text(path.read_text().replace('"lr": 0.02', '"lr": 0.03'))
    with pytest.raises(ConfigError, match="config` must be as it was when the run began"):
        resume(copy)


@pytest.mark.parametrize("before", [[20], [30], [10, 5], [True], ["5"], [None]])
def test_stages_of_an_extension_that_no_run_can_have_had_are_refused(copy, before):
    RunDirectory(copy, load_run(copy).info).update(extended_from=before)
    with pytest.raises(ConfigError, match="extended_from` must be rising epochs below 20"):
        resume(copy)


def test_a_checkpoint_of_another_network_is_not_taken(copy, tmp_path, capsys):
    (tmp_path / "other").mkdir()
    runner.run(config(probe__checkpoints=PROBED, architecture__hidden=[5]), tmp_path / "other", command="")
    shutil.copy(tmp_path / "other" / "SHA256SUMS", copy)
    shutil.copy(tmp_path / "other" / "checkpoints" / "epoch-000020.npz", copy / "checkpoints")
    with pytest.raises(DamageError, match=r"epoch-000020\.npz: it is of another network or optimizer"):
        resume(copy)


def test_code_that_has_changed_since_is_said_and_what_it_made_is_no_longer_taken_for_its_work(
    tmp_path, monkeypatch, capsys
):
    run = interrupted(tmp_path / "run", monkeypatch, 5)
    assert set(run.info["source"]) == {"training", "probe"}
    RunDirectory(run.directory, run.info).update(source=run.info["source"] | {"probe": "0" * 64})
    resume(run.directory)
    assert "The code of probe has changed since the run began: what follows may differ" in capsys.readouterr().out
    assert load_run(run.directory).info["source"] == {"training": run.info["source"]["training"]}


def test_a_second_process_is_refused_and_a_lock_without_a_process_is_not(copy, capsys):
    code = """
import pathlib, sys, time
from nngeom_cli.process import sole_writer
with sole_writer(pathlib.Path(sys.argv[1])):
    print("mine", flush=True)
    time.sleep(60)
"""
    other = subprocess.Popen([sys.executable, "-c", code, str(copy)], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "mine\n"
    with pytest.raises(ConfigError, match=rf"one writer at a time\. Got a second one, while process {other.pid} on "):
        resume(copy)
    other.kill()
    other.communicate()
    resume(copy)
    assert capsys.readouterr().out == "The run is complete: nothing is left to do.\n"


def test_resuming_adds_up_what_a_run_costs(tmp_path, monkeypatch):
    run = interrupted(tmp_path / "run", monkeypatch, 5)
    resume(run.directory)
    first, last = run.info, load_run(run.directory).info
    for cost in ("wall_seconds", "cpu_seconds", "peak_memory_mib"):
        assert 0 < first[cost] <= last[cost]
    assert np.isfinite(last["wall_seconds"])
