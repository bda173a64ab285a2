"""A folder that is moved, replaced or deleted while something is written into it: said, not made anew, and resumed."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from disk import Disk
from processes import LONG, PLUGINS, installed, start, started
from processes import held as stopped
from processes import nngeom as command
from small_runs import assert_same, config, left_by_hydra

from nngeom_cli.cli.entry import main
from nngeom_cli.errors import FolderError
from nngeom_cli.launch import application
from nngeom_cli.runs import run as runner
from nngeom_cli.runs.resume import resume
from nngeom_cli.runs.unstarted import begun, opened
from nngeom_cli.store.run import load_run
from nngeom_cli.store.sweep import load_sweep
from nngeom_cli.system.atomic import written_whole
from nngeom_cli.system.held_folder import held

pytestmark = pytest.mark.usefixtures("one_core")

PROBED = [0, 3, 4]
SETTINGS = config(optimizer__epochs=4, probe__checkpoints=[0, 3], checkpoint_seconds=0)
MISSED = "must stay where it is while nngeom writes into it. Got: it was moved"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never moved, and the number of times that it touched the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NNGEOM_CORES", "1")
        directory = tmp_path_factory.mktemp("whole")
        disk = Disk(patch, 10**9, lambda _: None)
        begin(directory)
    return load_run(directory), disk.count


def begin(directory):
    with held(directory, "nngeom resume"), begun(directory, SETTINGS, "nngeom run"):
        runner.run(SETTINGS, directory, command="nngeom run")


def files(directory):
    """All that is there, with its content and when it was written; None without a folder."""
    if not directory.exists():
        return None
    return {
        path.relative_to(directory): (path.stat().st_mtime_ns, path.is_file() and path.read_bytes())
        for path in directory.rglob("*")
    }


def nothing(_):
    pass


REPLACEMENTS = {
    "nothing": nothing,
    "an empty folder": Path.mkdir,
    "a file": lambda path: path.write_text("a file"),
    "another run": lambda path: shutil.copytree(path.parent / "other", path),
}


class Move:
    """Moves a folder at one moment, and puts something in its place."""

    def __init__(self, old, new, replacement):
        self.old, self.new, self.replacement, self.left = old, new, replacement, None

    def __call__(self, _=None):
        if self.left is None:
            self.old.rename(self.new)
            self.replacement(self.old)
            self.left = (files(self.old),)


@pytest.mark.slow
def test_a_run_that_is_moved_at_a_few_moments_goes_on_where_it_is(whole, tmp_path, monkeypatch):
    moved_everywhere(whole, tmp_path, monkeypatch, step=17)


@pytest.mark.exhaustive
def test_a_run_that_is_moved_at_any_moment_goes_on_where_it_is(whole, tmp_path, monkeypatch):
    moved_everywhere(whole, tmp_path, monkeypatch, step=1)


def moved_everywhere(whole, folder, monkeypatch, step):
    run, touches = whole
    assert touches > 50
    shutil.copytree(run.directory, folder / "other")
    for last in range(1, touches + 1, step):
        old, new = folder / f"old-{last}", folder / f"new-{last}"
        old.mkdir()
        left_by_hydra(old, asdict(SETTINGS))
        move = Move(old, new, list(REPLACEMENTS.values())[last % len(REPLACEMENTS)])
        with monkeypatch.context() as patch:
            Disk(patch, last, move)
            with pytest.raises(FolderError) as caught:
                begin(old)
        assert str(caught.value) == f"`{old}` {MISSED} to {new}. `nngeom resume {new}` continues there."
        assert files(old) == move.left[0], last
        told = opened(new)
        assert (told.status, told.info.get("error")) in (
            ("interrupted", None),  # run.json was not there yet
            ("failed", f"FolderError: {caught.value}"),
            ("complete", None),
        ), last
        resume(new)
        assert_same(load_run(new), run, epochs=PROBED)
        assert not list(new.rglob(".half-*"))


def test_of_a_folder_that_is_deleted_nothing_is_made_anew(tmp_path, monkeypatch):
    run, gone = tmp_path / "run", tmp_path / "gone"
    run.mkdir()
    Disk(monkeypatch, 30, Move(run, gone, lambda _: shutil.rmtree(gone)))
    with pytest.raises(FolderError, match=f"`{run}` {MISSED} or deleted. If it was moved, `nngeom resume FOLDER`"):
        begin(run)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["geometry", "checkpoints", "geometry/epoch-000000.nc", "checkpoints/epoch-000000.npz"]
)
def test_a_run_whose_first_checkpoints_are_taken_away_meanwhile_is_not_complete(whole, tmp_path, monkeypatch, name):
    run, taken = tmp_path / "run", tmp_path / "taken"
    run.mkdir()
    with monkeypatch.context() as patch:
        Disk(patch, 45, Move(run / name, taken, nothing))
        with pytest.raises(FolderError, match=f"`{run / name}` must stay where it is"):
            begin(run)
    assert load_run(run).status == "failed"
    if name == "checkpoints":  # nothing else can give them back
        taken.rename(run / name)
    resume(run)
    assert_same(load_run(run), whole[0], epochs=PROBED)


@pytest.mark.parametrize("word", ["figures", "animate"])
def test_of_a_run_that_is_moved_while_it_is_drawn_no_picture_is_made_in_its_place(
    whole, tmp_path, monkeypatch, capsys, word
):
    run, new = tmp_path / "run", tmp_path / "new place"
    shutil.copytree(whole[0].directory, run)
    with monkeypatch.context() as patch:
        Disk(patch, 2, Move(run, new, Path.mkdir))
        assert main([word, str(run)]) == 1
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"`nngeom {word} '{new}'` continues there.")
    assert list(run.iterdir()) == []


@pytest.mark.parametrize(
    ("moved", "replacement"),
    [("outputs/sweep", "nothing"), ("outputs", "an empty folder"), ("outputs/sweep", "another sweep")],
)
def test_of_a_sweep_that_is_moved_no_other_job_starts(nngeom, runner, tmp_path, monkeypatch, replacement, moved):
    sweep, jobs = tmp_path / "outputs" / "sweep", ["-m", "seed=0,1,2"]
    replacements = REPLACEMENTS | {"another sweep": lambda path: shutil.copytree(tmp_path / "other", path)}
    if replacement == "another sweep":
        assert nngeom("run", *jobs, "optimizer.lr=1", f"hydra.sweep.dir={tmp_path / 'other' / 'sweep'}")[0] == 0
    move, run, before = (
        Move(tmp_path / moved, tmp_path / "new", replacements[replacement]),
        runner.run,
        len(runner.runs),
    )

    def run_and_move(*arguments, **options):
        run(*arguments, **options)
        if len(runner.runs) == before + 2:
            move()

    with monkeypatch.context() as patch:
        patch.setattr(runner, "run", run_and_move)
        code, out, err = nngeom("run", *jobs, f"hydra.sweep.dir={sweep}")
    new = tmp_path / "new" if moved == "outputs/sweep" else tmp_path / "new" / "sweep"
    assert (code, [line[:4] for line in out]) == (1, ["job ", "accu"] * 2)
    assert err == [f"nngeom: `{sweep}` {MISSED} to {new}. `nngeom resume {new}` continues there."]
    assert files(tmp_path / moved) == move.left[0]
    code, out, err = nngeom("resume", new)
    assert (code, out[-1], err) == (0, str(new), [])
    assert [config.seed for config, _, _ in runner.runs[before:]] == [0, 1, 2]


def test_of_a_sweep_that_is_moved_before_its_jobs_resume_nothing_is_made_in_its_place(
    nngeom, runner, tmp_path, monkeypatch
):
    sweep, new = tmp_path / "sweep", tmp_path / "new"
    runner.failures[1] = ZeroDivisionError("oh")
    nngeom("run", "-m", "seed=0,1", f"hydra.sweep.dir={sweep}")
    monkeypatch.setattr(application, "refuse_new_cluster", Move(sweep, new, nothing))
    code, _, err = nngeom("resume", sweep)
    assert (code, err) == (1, [f"nngeom: `{sweep}` {MISSED} to {new}. `nngeom resume {new}` continues there."])
    assert not sweep.exists()


def test_a_run_goes_on_where_the_working_folder_is_renamed(whole, tmp_path, monkeypatch):
    """Its path is from there, and leads to it as before."""
    (tmp_path / "old" / "run").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "old")
    with monkeypatch.context() as patch:
        Disk(patch, 30, Move(tmp_path / "old", tmp_path / "new", nothing))
        begin(Path("run"))
    assert_same(load_run(tmp_path / "new" / "run"), whole[0], epochs=PROBED)


def test_a_drive_that_numbers_a_folder_anew_has_not_moved_it(tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "samestat", lambda *_: False)
    with held(tmp_path), written_whole(tmp_path / "deep" / "file") as path:
        path.write_text("whole")
    assert (tmp_path / "deep" / "file").read_text() == "whole"


# ---- with the real command, in processes of its own


@pytest.mark.slow
def test_a_real_run_that_is_moved_ends_with_1_and_goes_on_at_the_new_place(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    process = started(old, "optimizer.epochs=60000", "replicates=2")
    move = Move(old, new, Path.mkdir)
    move()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.endswith(f"nngeom: `{old}` {MISSED} to {new}. `nngeom resume {new}` continues there.\n")
    assert files(old) == {}
    assert load_run(new).status == "failed"
    done = command("resume", new)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, str(new))


@pytest.mark.slow
@pytest.mark.skipif(not installed(PLUGINS["joblib"]), reason="not installed: make test-launchers")
def test_a_real_sweep_that_is_moved_ends_with_1_and_starts_no_other_job(tmp_path):
    sweep, new = tmp_path / "sweep", tmp_path / "new"
    words = ["seed=0,1,2", f"hydra.sweep.dir={sweep}", "hydra/launcher=joblib"]
    process = start("run", "-m", *LONG, *words, folder=tmp_path)
    jobs = stopped(sweep, process, 2)
    Move(sweep, new, nothing)()
    for pid in jobs.values():
        os.kill(pid, signal.SIGCONT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert err.endswith(f"nngeom: `{sweep}` {MISSED} to {new}. `nngeom resume {new}` continues there.\n")
    assert not sweep.exists()
    *begun, last = [load_sweep(new).status(job) for job in load_sweep(new).jobs]
    assert (set(begun) <= {"failed", "interrupted"}, last) == (True, "not started")


@pytest.mark.exhaustive
def test_moved_at_random_times_a_real_run_ends_as_one_that_was_not(tmp_path):
    words = ["task=digits", "optimizer.epochs=12", "replicates=4", "checkpoint_seconds=0.1", "probe.pairs=[[3,8]]"]
    assert command("run", *words, f"hydra.run.dir={tmp_path / 'whole'}").returncode == 0
    whole, chance, directory, moves = load_run(tmp_path / "whole"), random.Random(0), tmp_path / "0", 0
    arguments = ["run", *words, f"hydra.run.dir={directory}"]
    while not moves or load_run(directory).status != "complete":
        process = subprocess.Popen(
            [sys.executable, "-m", "nngeom_cli", *map(str, arguments)], text=True, stderr=subprocess.PIPE
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(1, 6) + moves / 2)
        if process.returncode is None and directory.exists():
            new = tmp_path / str(moves + 1)
            directory.rename(new)
            _, said = process.communicate(timeout=120)
            over = (new / "run.json").exists() and load_run(new).status == "complete"
            assert process.returncode in ((0, 1) if over else (1, 2)), said  # 2: resume had not looked for it yet
            assert not directory.exists()
            directory, moves = new, moves + 1
        else:
            _, said = process.communicate()
            assert process.returncode == 0, said
        arguments = ["resume", directory]
    assert_same(load_run(directory), whole, epochs=whole.geometry.epoch.values.tolist())
