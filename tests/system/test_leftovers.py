"""Files that a killed process left half written go with the next command; those of a process at work stay."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
from made_runs import made_run, plane

from nngeom_cli.figures import draw_figures
from nngeom_cli.figures.animation import animate
from nngeom_cli.figures.infinite_width import save_theory
from nngeom_cli.system.atomic import remove_leftovers, written_whole
from nngeom_cli.theory.infinite_width import TheoryConfig, theory_curves

WRITER = """
import pathlib, sys, time
from nngeom_cli.system.atomic import written_whole
with written_whole(pathlib.Path(sys.argv[1])) as path:
    path.write_text("half")
    print("writes", flush=True)
    time.sleep(600)
"""


@contextlib.contextmanager
def writer(path):
    """A process that is writing `path` meanwhile."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "writes\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def half_written(folder):
    return sorted(path.name for path in folder.glob(".half-*"))


@pytest.fixture
def leftover(tmp_path):
    """A function that leaves a file of a killed process in a folder."""

    def leave(folder):
        with writer(folder / "figure.png"):
            pass
        assert len(half_written(folder)) == 1

    return leave


def drawn(folder):
    draw_figures(made_run(folder, plane(epochs=(0, 10))))
    return folder / "figures"


def animated(folder):
    animate(made_run(folder, plane(epochs=(0, 10))))
    return folder / "figures"


def theory(folder):
    curves = theory_curves(TheoryConfig(["erf"], 2, 1.0, 0.5, 1.7, 2, [], 2, 0, ""))
    save_theory(curves.assign_attrs(command="nngeom theory"), folder / "figures")
    return folder / "figures"


@pytest.mark.parametrize("command", [drawn, animated, theory])
def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path, monkeypatch, leftover, command):
    monkeypatch.setenv("PATH", "")  # no ffmpeg
    leftover(tmp_path / "figures")
    dead = half_written(tmp_path / "figures")
    with writer(tmp_path / "figures" / "other.png"):
        (alive,) = {*half_written(tmp_path / "figures")} - {*dead}
        assert half_written(command(tmp_path)) == [alive]


def test_a_stopped_writer_is_alive(tmp_path):
    with writer(tmp_path / "figure.png") as process:
        process.send_signal(signal.SIGSTOP)
        remove_leftovers(tmp_path, alone=True)
        assert len(half_written(tmp_path)) == 1
    remove_leftovers(tmp_path)
    assert half_written(tmp_path) == []


def test_the_file_of_another_machine_stays_for_a_day(tmp_path, leftover, monkeypatch):
    leftover(tmp_path)
    path = next(tmp_path.iterdir())
    here = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "elsewhere", *here[2:])))
    remove_leftovers(tmp_path)
    assert path.exists()
    os.utime(path, (time.time() - 2 * 86400,) * 2)
    remove_leftovers(tmp_path)
    assert not path.exists()


def test_who_writes_alone_removes_what_another_machine_left(tmp_path, leftover, monkeypatch):
    leftover(tmp_path)
    here = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "elsewhere", *here[2:])))
    remove_leftovers(tmp_path, alone=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.symlink_to("kept"), os.mkfifo])
def test_a_link_or_pipe_of_such_a_name_harms_nothing(tmp_path, make):
    (tmp_path / "kept").write_text("kept")
    make(tmp_path / ".half-thing")
    remove_leftovers(tmp_path, alone=True)
    assert (tmp_path / "kept").read_text() == "kept"


def test_a_file_that_is_taken_for_a_leftover_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    import fcntl

    flock, taken = fcntl.flock, []

    def late(handle, how):
        if not taken:
            taken.extend(tmp_path.iterdir())
            taken[0].unlink()
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with written_whole(tmp_path / "file") as path:
        path.write_text("whole")
    assert (tmp_path / "file").read_text() == "whole"
    assert len(taken) == 1


def test_a_drive_without_locks_takes_files(tmp_path, monkeypatch):
    import fcntl

    def none(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", none)
    with written_whole(tmp_path / "file") as path:
        path.write_text("whole")
        remove_leftovers(tmp_path, alone=True)  # nobody can tell, so it stays
        assert path.exists()
        left = tmp_path / path.name.replace(".half-", ".half-other-")
        left.touch()
        os.utime(left, (time.time() - 2 * 86400,) * 2)
        remove_leftovers(tmp_path)
        assert not left.exists()
    assert (tmp_path / "file").read_text() == "whole"
