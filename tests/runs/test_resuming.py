"""A run that was interrupted, and resumed, is the run that never was: every array, the history, the parameters."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from disk import ends_in_a_process
from small_runs import PROBED, assert_same, config

from nngeom_cli.errors import ConfigError, DamageError
from nngeom_cli.runs import repair
from nngeom_cli.runs import run as runner
from nngeom_cli.runs.resume import resume
from nngeom_cli.store.checksums import checksum
from nngeom_cli.store.run import load_run
from nngeom_cli.store.run_directory import RunDirectory

pytestmark = pytest.mark.usefixtures("one_core")


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


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A function that gives the directory of a complete run with a changed config, each made once."""

    @functools.cache
    def made(changes):
        directory = tmp_path_factory.mktemp("other")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NNGEOM_CORES", "1")
            runner.run(config(probe__checkpoints=PROBED, **json.loads(changes)), directory, command="")
        return directory

    return lambda changes: made(json.dumps(changes))


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


def damage(path, how):
    content = path.read_bytes()
    flipped = content[:300] + bytes([content[300] ^ 1]) + content[301:]
    path.write_bytes({"truncated": content[:-7], "flipped": flipped, "empty": b""}[how])


@pytest.mark.parametrize("every", [0, 60])
def test_an_interrupted_run_goes_on_to_the_same_bits(whole, tmp_path, monkeypatch, capsys, every):
    run = interrupted(tmp_path / "run", monkeypatch, 5, checkpoint_seconds=every)
    assert (run.status, run.info["error"]) == ("interrupted", "KeyboardInterrupt")
    resume(run.directory)
    assert "Resumes from epoch 6 of 20." in capsys.readouterr().out
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
    assert "Resumes from epoch 10 of 20." in said
    assert_same(load_run(copy), whole)


@pytest.mark.parametrize("lost", [[0], [5], [0, 5], [5, 10], [0, 5, 10]])
def test_damaged_checkpoints_before_a_whole_one_are_trained_again_and_the_rest_stays(whole, copy, capsys, lost):
    kept = {path: path.stat().st_mtime_ns for path in copy.glob("*/epoch-*")}
    for epoch in lost:
        damage(copy / "checkpoints" / f"epoch-{epoch:06d}.npz", "flipped")
        del kept[copy / "checkpoints" / f"epoch-{epoch:06d}.npz"]
    resume(copy)
    said = capsys.readouterr().out
    assert "Resumes from epoch 20 of 20." in said
    assert all(f"Computes checkpoints/epoch-{epoch:06d}.npz again: its checksum is wrong." in said for epoch in lost)
    assert_same(load_run(copy), whole)
    assert kept == {path: path.stat().st_mtime_ns for path in kept}


@pytest.mark.parametrize("lost", [0, 5])
def test_geometry_whose_checkpoint_is_lost_too_is_measured_again(whole, copy, lost):
    damage(copy / "checkpoints" / f"epoch-{lost:06d}.npz", "truncated")
    damage(copy / "geometry" / f"epoch-{lost:06d}.nc", "flipped")
    resume(copy)
    assert_same(load_run(copy), whole)


def test_a_checkpoint_that_training_would_not_give_again_stays_as_it_is(copy, capsys, monkeypatch):
    damaged = copy / "checkpoints" / "epoch-000005.npz"
    damage(damaged, "flipped")
    trained = repair.trained

    def trained_elsewhere(*arguments):
        checkpoint = trained(*arguments)
        checkpoint.weights[0][0] += 2.0**-50
        return checkpoint

    monkeypatch.setattr(repair, "trained", trained_elsewhere)
    resume(copy)
    assert "Leaves checkpoints/epoch-000005.npz as it is: training gives other bits here" in capsys.readouterr().out
    assert load_run(copy).geometry.epoch.values.tolist() == PROBED
    damage(copy / "geometry" / "epoch-000005.nc", "flipped")
    with pytest.raises(DamageError, match=r"must have a whole checkpoint where its geometry is damaged\. Got none at"):
        resume(copy)
    assert load_run(copy).status == "failed"
    monkeypatch.undo()
    resume(copy)
    assert load_run(copy).geometry.epoch.values.tolist() == PROBED


@pytest.mark.parametrize("last", range(1, 60, 6))
def test_killed_while_it_mends_a_run_loses_nothing_that_was_whole(whole, copy, last):
    whole_files = {path.relative_to(copy): path.read_bytes() for path in copy.glob("*/epoch-*")}
    for name in ("checkpoints/epoch-000000.npz", "geometry/epoch-000005.nc", "checkpoints/epoch-000020.npz"):
        damage(copy / name, "flipped")
        del whole_files[Path(name)]
    ended = ends_in_a_process(last, partial(resume, copy))
    for name, content in whole_files.items():
        assert ended or name.suffix == ".nc" or (copy / name).read_bytes() == content
        assert (copy / name).is_file()
    resume(copy)
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


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (Path.unlink, "it is missing"),
        (lambda path: path.write_bytes(b""), "its own checksum is wrong"),
        (lambda path: path.write_bytes(path.read_bytes()[:-70]), "its own checksum is wrong"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"a", b"b", 1)), "its own checksum is wrong"),
    ],
)
def test_a_damaged_manifest_is_made_again_from_the_checkpoints_themselves(whole, copy, capsys, spoil, why):
    spoil(copy / "SHA256SUMS")
    damage(copy / "geometry" / "epoch-000005.nc", "flipped")
    with pytest.raises(DamageError, match=rf"SHA256SUMS` must be as the run wrote it\. Got: {why}\. Copy it again, or"):
        load_run(copy)
    resume(copy)
    said = capsys.readouterr().out
    assert f"Writes SHA256SUMS again, and measures the geometry again: {why}." in said
    assert "Resumes from epoch 20 of 20." in said
    assert_same(load_run(copy), whole)


@pytest.mark.parametrize("how", ["truncated", "flipped", "empty", "missing"])
def test_a_damaged_history_is_written_again(whole, copy, capsys, how):
    path = copy / "history.csv"
    path.unlink() if how == "missing" else damage(path, how)
    with pytest.raises(DamageError, match=rf"`nngeom resume {copy}` repairs it\."):
        _ = load_run(copy).history
    resume(copy)
    assert "Writes history.csv again." in capsys.readouterr().out
    assert_same(load_run(copy), whole)


def test_a_run_that_has_no_checkpoint_yet_starts_at_the_beginning(whole, copy):
    shutil.rmtree(copy / "checkpoints")
    shutil.rmtree(copy / "geometry")
    (copy / "SHA256SUMS").unlink()
    (copy / "history.csv").unlink()
    RunDirectory(copy, load_run(copy, verify=False).info).update(status="interrupted", replicates=None)
    resume(copy)
    assert_same(load_run(copy), whole)


def test_a_run_that_was_killed_before_its_last_history_has_the_whole_one(whole, copy):
    lines = (copy / "history.csv").read_text().splitlines(keepends=True)
    (copy / "history.csv").write_text("".join(lines[:-5]))
    RunDirectory(copy, load_run(copy, verify=False).info).update(status="interrupted", replicates=None)
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
    with pytest.raises(ConfigError, match=r"optimizer\.epochs` must be at least 60.* Got 30\."):
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
    (copy / ".lock").unlink(missing_ok=True)  # a run that was sent to somebody has none
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=sentence):
        resume(copy, [override])
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_an_interrupted_run_is_not_extended_before_it_is_complete(tmp_path, monkeypatch):
    run = interrupted(tmp_path / "run", monkeypatch, 5)
    with pytest.raises(ConfigError, match=r"must be 20 until the run is complete\. Got 40\."):
        resume(run.directory, ["optimizer.epochs=40"])


@pytest.mark.parametrize(("old", "new"), [('"lr": 0.02', '"lr": 0.03'), ('"solved": false', '"solved": true')])
def test_a_run_json_that_was_edited_is_refused(copy, old, new):
    path = copy / "run.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    for read in (resume, load_run):
        with pytest.raises(DamageError, match=r"run\.json` must be as the run wrote it\. Got: its checksum is wrong\."):
            read(copy)
    assert load_run(copy, verify=False).status == "complete"


@pytest.mark.parametrize("before", [[20], [30], [10, 5], [True], ["5"], [None]])
def test_stages_of_an_extension_that_no_run_can_have_had_are_refused(copy, before):
    RunDirectory(copy, load_run(copy).info).update(extended_from=before)
    with pytest.raises(
        DamageError, match=r"extended_from` must be (increasing epochs below 20|a list, each item an integer)"
    ):
        resume(copy)


@pytest.mark.parametrize("change", [{"architecture__hidden": [5]}, {"seed": 4}, {"optimizer__lr": 0.021}, {}])
@pytest.mark.parametrize("files", [["SHA256SUMS", "checkpoints"], ["checkpoints"], ["SHA256SUMS"], ["run.json"]])
def test_nothing_of_another_run_is_taken(whole, copy, other, files, change):
    for name in files:
        of_other = other(change) / name
        shutil.rmtree(copy / name) if of_other.is_dir() else (copy / name).unlink()
        shutil.copytree(of_other, copy / name) if of_other.is_dir() else shutil.copy(of_other, copy)
    if files == ["SHA256SUMS"]:  # the checkpoints say themselves whose they are
        resume(copy)
        assert_same(load_run(copy), whole)
        return
    with pytest.raises(
        DamageError, match=r"must hold a whole checkpoint.* belongs to another run|its checksum is wrong"
    ):
        resume(copy)
    with pytest.raises(DamageError):
        load_run(copy).parameters(5)


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
from nngeom_cli.system.writer import sole_writer
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


def unstarted(directory):
    """Makes a run one of which nothing is done."""
    info = load_run(directory).info
    for name in ("geometry", "checkpoints", "figures"):
        shutil.rmtree(directory / name, ignore_errors=True)
    for name in ("history.csv", "SHA256SUMS"):
        (directory / name).unlink()
    kept = {key: info[key] for key in ("id", "command", "config", "config_hash")}
    RunDirectory(directory, kept).update(status="failed")


@pytest.mark.parametrize("place", ["job.log", ".hydra/hydra.yaml"])
@pytest.mark.parametrize("lead", [lambda path: path.symlink_to("../theirs"), os.mkfifo], ids=["link", "pipe"])
def test_nothing_is_read_or_written_through_a_link_of_a_run_that_has_not_begun(copy, place, lead):
    unstarted(copy)
    (copy / ".hydra").mkdir(exist_ok=True)
    (copy.parent / "theirs").write_text("theirs")
    lead(copy / place)
    with pytest.raises(ConfigError, match=f"`{copy / place}` must be a file or"):
        resume(copy)
    assert (copy.parent / "theirs").read_text() == "theirs"


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]",
        "a: !!timestamp x",
        "a: !!int ''",
        "a: !!bool x",
        "a: !!python/object/apply:os.getcwd []",
        "# " + "x" * 2**20,
    ],
)
def test_what_hydra_never_writes_is_not_begun(copy, text):
    unstarted(copy)
    (copy / "run.json").unlink()
    (copy / ".hydra").mkdir(exist_ok=True)
    (copy / ".hydra" / "config.yaml").write_text(text)
    with pytest.raises(DamageError, match=r"`.*config\.yaml` must be what Hydra writes"):
        resume(copy)


HOSTILE = {
    "epoch": np.array(np.inf),
    "weights": np.array(1.0),
    "optimizer": np.zeros(3),
    "test": np.zeros(3),
    "generators": np.zeros((2, 5056), dtype=">u2"),
    "history": np.full((2, 4), np.inf),
    "history_columns": np.array("x"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_checkpoint_that_no_run_wrote_is_passed_over_though_its_checksum_fits(whole, copy, name):
    path = copy / "checkpoints" / "epoch-000020.npz"
    with np.load(path) as saved:
        arrays = dict(saved)
    np.savez(path, **arrays | {name: HOSTILE[name]})
    store = RunDirectory(copy, load_run(copy).info)
    store.checksums = dict(load_run(copy).manifest) | {"checkpoints/epoch-000020.npz": checksum(path)}
    store.write_manifest()
    resume(copy)
    assert_same(load_run(copy), whole)
