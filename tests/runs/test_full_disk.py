"""A disk that is full, or breaks, at each moment of each command: one sentence, and what it advises works."""

import errno
import gc
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace

import pytest
from disk import FullDisk
from small_figures import one_sheet
from small_runs import assert_same

from nngeom_cli.cli.entry import main
from nngeom_cli.figures import draw as figures
from nngeom_cli.figures import infinite_width as theory_figure
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.launch.hydra_patches import JOINED_JOBS
from nngeom_cli.launch.lost_jobs import lost_jobs_are_results
from nngeom_cli.store.run import load_run
from nngeom_cli.store.sweep import Sweep

NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG)
WORDS = ["optimizer.epochs=3", "probe.checkpoints=[0]", "probe.resolution=3", "replicates=2"]
ENDLESS = 10**9
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*job.log:ResourceWarning")  # logging forgets to close it
TOLD = r"jerky film|\d+ of \d+ \w+, "  # beside errors; how far it is only on a machine that is slow


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NNGEOM_CORES", "1")
    monkeypatch.setenv("PATH", "")  # no ffmpeg
    monkeypatch.setitem(figures.SHEETS, "grid", one_sheet)
    monkeypatch.setattr(theory_figure, "draw_theory", lambda *_: Sheet.blank(1, 1))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run, a longer one, a sweep, and a run that was to be longer when it was killed."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("NNGEOM_CORES", "1")
        words = [*WORDS, "figures.draw=false"]
        assert main(["run", *words, "hydra.run.dir=run"]) == 0
        assert main(["run", "-m", *words, "seed=0,5", "hydra.sweep.dir=sweep"]) == 0
        shutil.copytree("run", "longer")
        assert main(["resume", "longer", "optimizer.epochs=5"]) == 0
    return folder


COMMANDS = {  # what is there before, the command
    "run": ("", ["run", *WORDS, "hydra.run.dir=new"]),
    "sweep": ("", ["run", "-m", *WORDS, "figures.draw=false", "seed=0,5", "hydra.sweep.dir=new"]),
    "extension": ("run", ["resume", "run", "optimizer.epochs=5"]),
    "figures of a run": ("run", ["figures", "run"]),
    "figures of a sweep": ("sweep", ["figures", "sweep"]),
    "animate": ("run", ["animate", "run"]),
    "theory": ("", ["theory", "widths=[]", "points=2", "directory=new"]),
    "summarize": ("run", ["summarize", "run"]),
}


def contents(folder):
    """Of each file, but for run.json and the log, which tell of the sittings."""
    files = (path for path in folder.rglob("*") if path.is_file())
    kept = (path for path in files if path.name not in ("run.json", "job.log", ".lock"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}


def commands_in(said):
    """The commands that a message advises."""
    return dict.fromkeys(re.findall(r"`(nngeom (?:resume|figures) [^`]*)`", said))


def full_at(name, last, number, whole, folder, capsys):
    """Runs a command on a disk that fails from its `last` touch on; whether it did. What is said then is followed."""
    there, words = COMMANDS[name]
    folder.mkdir()
    os.chdir(folder)
    if there:
        shutil.copytree(whole / there, there)
    before = contents(folder)
    with pytest.MonkeyPatch.context() as patch:
        disk = FullDisk(patch, folder, last, number)
        code = main(words)
    gc.collect()
    said = [line for line in capsys.readouterr().err.splitlines() if not re.search(TOLD, line)]
    assert not list(folder.rglob(".half-*"))
    assert before.items() <= contents(folder).items() or name == "extension"
    if code == 0:  # a log that is cut short, at the most
        assert said == []
    else:
        assert code == 1
        assert said
        for line in said:
            assert "Error" not in line
            suggestion = r"(.*, then .*|Copy it to one that is not|Set hydra.*=FOLDER)\."
            assert re.fullmatch(rf"nngeom: .*must be .* Got.*: {os.strerror(number)}\. {suggestion}", line), said
        for command in commands_in("\n".join(said)) or [shlex.join(["nngeom", *words])]:
            assert main(shlex.split(command)[1:]) == 0, (said, command, capsys.readouterr().err)
    if name == "run":
        assert_same(load_run("new"), load_run(whole / "run"), epochs=[0, 3])
        assert "figures/plane.nc" in contents(folder / "new")
    elif name == "sweep":
        for job in ("0-seed=0", "1-seed=5"):
            assert_same(load_run(f"new/{job}"), load_run(whole / "sweep" / job), epochs=[0, 3])
    elif name == "extension":
        assert_same(load_run("run"), load_run(whole / "longer"), epochs=[0, 3, 5])
    elif code:  # what the command makes is the same as if nothing had happened
        after = contents(folder)
        assert main(words) == 0
        assert contents(folder) == after
        assert after.keys() > before.keys()
    os.chdir(folder.parent)
    return disk.count >= last


def full_at_each(name, whole, tmp_path, capsys, step):
    for last, number in zip(range(1, ENDLESS, step), cycle(NUMBERS)):
        failed = full_at(name, last, number, whole, tmp_path / str(last), capsys)
        shutil.rmtree(tmp_path / str(last))
        if not failed:
            break
    assert last > 1 + step or name == "summarize"


@pytest.mark.parametrize(
    ("name", "last", "number"),
    [
        ("run", 5, errno.ENOSPC),  # while Hydra writes
        ("run", 13, errno.EDQUOT),  # before run.json is there
        ("run", 45, errno.EFBIG),
        ("sweep", 4, errno.ENOSPC),  # before sweep.json is there
        ("extension", 2, errno.EIO),  # before run.json tells of it
        ("figures of a run", 9, errno.EROFS),
        ("figures of a sweep", 30, errno.ENOSPC),
        ("animate", 3, errno.EDQUOT),
        ("theory", 4, errno.EFBIG),
    ],
)
def test_a_disk_that_fails_is_a_sentence_whose_advice_works(name, last, number, whole, tmp_path, capsys):
    assert full_at(name, last, number, whole, tmp_path / "here", capsys)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "step"), [("run", 97), ("extension", 67)])
def test_a_disk_that_fails_at_some_moments_is_a_sentence_whose_advice_works(name, step, whole, tmp_path, capsys):
    full_at_each(name, whole, tmp_path, capsys, step)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", COMMANDS)
def test_a_disk_that_fails_at_each_moment_is_a_sentence_whose_advice_works(name, whole, tmp_path, capsys):
    full_at_each(name, whole, tmp_path, capsys, 5 if name == "sweep" else 1)


def test_a_job_of_submitit_whose_result_has_no_room_is_a_sentence(tmp_path):
    submitit = pytest.importorskip("submitit.core.core", reason="not installed: make test-launchers")

    def results(job):
        raise RuntimeError("Traceback (most recent call last):\n  dump\nOSError: [Errno 28] No space left on device")

    with (
        JOINED_JOBS.replaced(results),
        lost_jobs_are_results(Sweep(tmp_path, "slurm", [])),
    ):
        (result,) = submitit.Job.results(SimpleNamespace(paths=SimpleNamespace(folder="there")))
    assert result._return_value == (
        f"`{tmp_path}` must be a folder that can be written. Got: No space left on device. "
        "Make room, then run the command again."
    )


# ---- with the real command, in a process of its own, whose end HDF5 has a part in


@pytest.mark.slow
def test_where_only_the_numbers_of_a_figure_do_not_fit_no_process_crashes():
    words = ["optimizer.epochs=1", "probe.checkpoints=[0]", "probe.resolution=200", "replicates=1"]
    assert main(["run", *words, "figures.draw=false", "hydra.run.dir=run"]) == 0
    between = 1_000_000  # bytes: more than a picture has, fewer than what is drawn
    done = subprocess.run(
        [sys.executable, "-m", "nngeom_cli", "figures", "run"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (between, between)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "Error" not in done.stderr
    assert re.search(
        r"nngeom: `run/figures/.*\.nc` .* Got: File too large\. .*, then run the command again\.\n$", done.stderr
    )
    assert {path.suffix for path in Path("run/figures").iterdir()} == {".png", ".pdf"}
