"""Ends a sweep on a signal: running jobs save what they have, no other job starts, and no process is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import psutil

from nngeom_cli.store.sweep import Sweep
from nngeom_cli.system.held_folder import require_held
from nngeom_cli.system.process import this_process

__all__ = ["ended_by_signals", "is_stopped"]

STOPPED = ".stopped"
PATIENCE = 30.0  # seconds that a job gets to save what it has and end
HEAD_START = 3.0  # seconds before SIGTERM follows a Ctrl-C, which the terminal sends to all jobs


@contextlib.contextmanager
def ended_by_signals(sweep: Sweep, cancel: Callable[[], None]) -> Iterator[None]:
    """Inside the block, SIGINT and SIGTERM end all jobs once they are saved, and raise KeyboardInterrupt.

    A second signal ends them at once.

    Args:
        sweep: the sweep whose jobs run inside the block.
        cancel: asks the jobs on other machines to end.
    """
    (sweep.directory / STOPPED).unlink(missing_ok=True)
    stopping = False

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal stopping
        if stopping:
            raise KeyboardInterrupt
        stopping = True
        _mark(sweep)
        cancel()
        end_jobs(sweep, time.monotonic() + (HEAD_START if number == signal.SIGINT else 0))
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except BaseException:
        _mark(sweep)
        end_descendants()
        raise
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def _mark(sweep: Sweep) -> None:
    """Marks the sweep as stopped, so that no job starts. If that cannot be written, jobs are ended all the same."""
    with contextlib.suppress(OSError):
        require_held(sweep.directory)
        (sweep.directory / STOPPED).touch()


def is_stopped(directory: Path) -> bool:
    """Whether the sweep in `directory` was stopped, so that no job may start."""
    return (directory / STOPPED).exists()


def end_jobs(sweep: Sweep, ask: float) -> None:
    """Sends each running job SIGTERM once, from the monotonic time `ask` on, and waits until none runs.

    Jobs that were stopped (SIGSTOP) are continued so that they can save what they have.
    """
    asked: set[Path] = set()
    here = this_process()
    while time.monotonic() < ask + PATIENCE:
        runs = [run for job in sweep.jobs if sweep.status(job) == "running" and (run := sweep.run(job))]
        elsewhere = [run for run in runs if run.info["process"] != here]
        if not elsewhere:
            return
        for run in elsewhere:
            process = run.info["process"]
            if time.monotonic() >= ask and run.directory not in asked and process["host"] == here["host"]:
                asked.add(run.directory)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process["pid"], signal.SIGTERM)
        for descendant in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                descendant.resume()
        time.sleep(0.1)


def end_descendants() -> None:
    """Ends all descendants of this process: SIGTERM, and SIGKILL a second later."""
    for end in (psutil.Process.terminate, psutil.Process.kill):
        processes = [child for child in psutil.Process().children(recursive=True) if not is_tracker(child)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                end(process)
        psutil.wait_procs(processes, timeout=1)


def is_tracker(process: psutil.Process) -> bool:
    """Whether it is joblib's resource tracker, which removes semaphores and ends by itself, after the others."""
    try:
        return any("resource_tracker import main" in word for word in process.cmdline())
    except psutil.Error:
        return False
