"""How far a command is: a line now and then where stderr is no terminal, a bar where it is, nothing of a short one."""

import contextlib
import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest
from hydra.types import RunMode
from made_runs import made_run, plane, write_run
from omegaconf import OmegaConf
from small_runs import config

from nngeom_cli.analysis.networks import networks
from nngeom_cli.analysis.summary import summarize_runs
from nngeom_cli.figures.animation import animate
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.draw import SHEETS, draw_figures
from nngeom_cli.launch import launchers
from nngeom_cli.launch.job import _progress_of
from nngeom_cli.reproduction import reproduce as reproduction
from nngeom_cli.runs import run as runner
from nngeom_cli.store.sweep import Job, Sweep
from nngeom_cli.system import progress
from nngeom_cli.system.progress import Progress, quietly, within
from nngeom_cli.theory.infinite_width import TheoryConfig, theory_curves


@pytest.fixture(autouse=True)
def first_after_five_seconds(monkeypatch):
    monkeypatch.setattr(progress, "FIRST", 5.0)  # as it is outside the tests


@pytest.fixture
def clock(monkeypatch):
    """Time that the test sets."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    monkeypatch.setattr(progress._Clock, "said", -progress.EVERY)
    return Clock


def lines(capsys):
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def count(clock, seconds, each=1.0, **options):
    """Work of so many seconds, of which each `each` is told."""
    with Progress("epoch", round(seconds / each), **options) as told:
        for step in range(round(seconds / each)):
            clock.now += each
            told.update(step + 1, "loss 0.31")


@pytest.mark.parametrize("seconds", [0, 1, 4, 9])
def test_short_work_says_nothing(clock, capsys, seconds):
    count(clock, seconds)
    assert lines(capsys) == []


def test_work_of_a_minute_tells_after_five_seconds_and_every_ten(clock, capsys):
    count(clock, 60)
    told = lines(capsys)
    assert told[0] == "nngeom: 5 of 60 epochs, loss 0.31, about 55 s left"
    assert [line.split()[1] for line in told] == ["5", "15", "25", "35", "45", "55"]


def test_a_line_that_comes_when_all_but_a_moment_is_done_is_left_out(clock, capsys):
    count(clock, 18)
    assert [line.split()[1] for line in lines(capsys)] == ["5"]


def test_long_work_tells_ever_less_often(clock, capsys):
    count(clock, 6 * 3600, each=5.0)
    told = lines(capsys)
    assert 20 < len(told) < 150
    assert told[-1].endswith(" min left") or told[-1].endswith(" s left")


def test_work_that_was_begun_before_is_not_counted_for_the_time_that_is_left(clock, capsys):
    with Progress("epoch", 100, done=90) as told:
        clock.now += 10
        told.update(91)
    assert lines(capsys) == ["nngeom: 91 of 100 epochs, about 90 s left"]


def test_where_nothing_is_done_yet_no_time_is_promised(clock, capsys):
    with Progress("job", 8) as told:
        clock.now += 20
        told.update(0)
    assert lines(capsys) == ["nngeom: 0 of 8 jobs, after 20 s"]


def test_many_short_works_within_a_long_one_tell_which_it_is(clock, capsys):
    for run in range(12):
        with within(f"run {run + 1} of 12"):
            count(clock, 4)
    assert lines(capsys) == []
    with within("reproduce"):
        for run in range(12):
            with within(f"run {run + 1}"), Progress("figure", 9) as told:
                clock.now += 4
                told.update(1)
    assert lines(capsys) == [
        "nngeom: reproduce: run 2: 1 of 9 figures, about 30 s left",
        "nngeom: reproduce: run 5: 1 of 9 figures, about 30 s left",
        "nngeom: reproduce: run 8: 1 of 9 figures, about 30 s left",
        "nngeom: reproduce: run 11: 1 of 9 figures, about 30 s left",
    ]


def test_beside_others_on_a_terminal_nothing_is_told(clock, capsys):
    with quietly():
        count(clock, 60)
    assert lines(capsys) == []
    count(clock, 7, each=0.1)
    assert lines(capsys) == []


@pytest.mark.parametrize("stream", [None, "closed", "broken"])
def test_a_line_that_nobody_can_read_ends_nothing(clock, monkeypatch, stream):
    class Broken(io.StringIO):
        def write(self, _):
            raise BrokenPipeError

    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", {None: None, "closed": closed, "broken": Broken()}[stream])
    count(clock, 60)


def test_what_breaks_inside_leaves_nothing_behind(clock, capsys):
    with pytest.raises(ZeroDivisionError), within("job 3"), Progress("epoch", 10):
        raise ZeroDivisionError
    assert (progress._Clock.depth, progress._Clock.around) == (0, [])


def on_terminal(monkeypatch, work):
    """What some work writes to stderr where that is a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    written = []

    def read():
        with contextlib.suppress(OSError):  # the terminal is closed
            while True:
                written.append(os.read(ours, 4096))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    with os.fdopen(theirs, "w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        work()
    reader.join(timeout=5)
    os.close(ours)
    return b"".join(written).decode()


def test_on_a_terminal_there_is_a_bar_with_the_name_of_the_job(monkeypatch):
    def work():
        with within("job 3"), Progress("epoch", 10) as told:
            told.bar.mininterval = 0
            told.update(4, "loss 0.31")

    monkeypatch.setattr(progress, "BAR_DELAY", 0.0)
    shown = on_terminal(monkeypatch, work)
    assert "job 3:" in shown
    assert "4/10" in shown
    assert "loss 0.31" in shown


def test_on_a_terminal_short_work_shows_no_bar(monkeypatch):
    def work():
        with Progress("epoch", 10) as told:
            told.update(4)

    assert on_terminal(monkeypatch, work).strip() == ""


def test_on_a_terminal_that_others_write_to_a_line_takes_the_place_of_the_bar(clock, monkeypatch):
    shown = on_terminal(monkeypatch, lambda: count(clock, 20, lines=True))
    assert shown.splitlines()[0] == "nngeom: 5 of 20 epochs, loss 0.31, about 15 s left"


@pytest.fixture
def talkative(monkeypatch):
    """All that is told, whenever there is something to tell."""
    for name in ("FIRST", "EVERY", "SHARE"):
        monkeypatch.setattr(progress, name, 0.0)


def test_a_run_that_takes_long_tells_epoch_and_loss_and_prints_the_same(tmp_path, monkeypatch, capsys, talkative):
    def printed(first):
        monkeypatch.setattr(progress, "FIRST", first)
        directory = tmp_path / str(first)
        directory.mkdir()
        runner.run(config(), directory, command="")
        captured = capsys.readouterr()
        return captured.out.split(" in ")[0], captured.err.splitlines()

    quiet, nothing = printed(5.0)
    told, said = printed(0.0)
    assert (quiet, nothing) == (told, [])
    assert "of 20 epochs, mean loss 0." in said[3]


def figures(directory):
    """Two figures of a made run, which are drawn as blank sheets."""
    sheets = {"one": lambda note: Sheet.blank(1, 1, note), "two": lambda note: Sheet.blank(1, 1, note)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SHEETS, "grid", lambda _: sheets)
        draw_figures(made_run(directory, plane()))


def compared(directory):
    run = made_run(directory, plane())
    architecture = {"hidden": [8, 8], "parametrization": "standard", "output_scale": None, "activation": "erf"}
    run.config = {"architecture": architecture, "optimizer": {"weight_decay": 0.0}}
    networks([run, run])


def summarized(directory):
    for name in ("a", "b"):
        write_run(directory / name)
    summarize_runs([directory]).text("json")


def reproduced(_):
    with pytest.MonkeyPatch.context() as patch:
        done = subprocess.CompletedProcess([], 0, stdout="figure\n/run\n", stderr="")
        patch.setattr(reproduction.subprocess, "run", lambda *_, **__: done)
        assert reproduction.train_missing(["figure2", "figure1-sigmoid"], quick=True)["figure2"] == Path("/run")


def curves(_):
    theory_curves(TheoryConfig(["erf"], 2, 1.0, 0.5, 1.7, 2, [8, 16], 2, 0, ""))


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (figures, "1 of 2 figures"),
        (compared, "1 of 2 runs"),
        (summarized, "1 of 2 runs"),
        (reproduced, "2 of 2 runs"),
        (curves, "1 of 3 layers"),
        (lambda directory: animate(made_run(directory, plane((0, 10)))), "1 of 2 frames"),
    ],
)
def test_all_that_may_take_a_minute_tells_how_far_it_is(tmp_path, capsys, talkative, work, told):
    work(tmp_path)
    assert told in capsys.readouterr().err


def test_a_sweep_on_a_launcher_that_does_not_tell_counts_the_jobs_that_are_over(
    tmp_path, monkeypatch, capsys, talkative
):
    monkeypatch.setattr(launchers, "LOOK_SECONDS", 0.01)
    names = ["before", "finished", "runs", "waits"]
    jobs = [Job(name, [], "nngeom run", {}) for name in names]
    write_run(tmp_path / "before", status="failed", finished="yesterday")
    write_run(tmp_path / "runs", status="running")
    with launchers._watched(Sweep(tmp_path, "joblib", jobs), jobs):
        wait_for(capsys, "0 of 4 jobs")
        write_run(tmp_path / "finished", finished="now")
        wait_for(capsys, "1 of 4 jobs")


def wait_for(capsys, words):
    end, said = time.monotonic() + 10, ""
    while words not in said:
        assert time.monotonic() < end, said
        said += capsys.readouterr().err
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("launcher", "expected"),
    [("basic", (["job 3"], False)), ("joblib", ([], True)), ("submitit_slurm", (["job 3"], False))],
)
def test_a_job_tells_under_its_name_and_not_where_others_write_too(launcher, expected):
    settings = OmegaConf.create({"mode": "MULTIRUN", "runtime": {"choices": {"hydra/launcher": launcher}}})
    settings.mode = RunMode.MULTIRUN
    with _progress_of(settings, "3"):
        assert (progress._Clock.around, progress._Clock.quiet) == expected


def test_a_job_that_is_no_sweeps_has_no_name():
    settings = OmegaConf.create({"mode": "RUN", "job": {"num": "???"}})
    settings.mode = RunMode.RUN
    with _progress_of(settings):
        assert progress._Clock.around == []


def test_a_notebook_has_a_bar_and_no_warning_where_ipywidgets_is_missing():
    program = """
import io, sys, types, warnings
warnings.simplefilter("error")
shell = types.SimpleNamespace(config={"IPKernelApp": {}})
sys.modules["IPython"] = types.SimpleNamespace(get_ipython=lambda: shell)
sys.modules["ipywidgets"] = sys.modules["IPython.html"] = None
from nngeom_cli.system import progress
progress.BAR_DELAY = 0.0
before, sys.stderr = warnings.filters[:], io.StringIO()
with progress.Progress("epoch", 3) as shown:
    for epoch in range(3):
        shown.update(epoch + 1, "loss 0.5")
print("0/3 [" in sys.stderr.getvalue(), warnings.filters == before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "True"], done.stderr
