"""Processes: the identity of this one, whether another is still running, and how to end with another."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

__all__ = ["SWEEP_PROCESS", "end_with_parent", "end_with_sweep", "is_gone", "is_stopped", "this_process"]

SWEEP_PROCESS = "NNGEOM_SWEEP_PROCESS"  # variable of a sweep's processes on this machine: the sweep's own process
LOOK_SECONDS = 0.5  # between two checks whether a process has ended
PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that a process gets when its parent ends


def this_process() -> dict[str, Any]:
    """Host, process id and start time of this process, which together no other process ever has."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _start(os.getpid())}


def is_gone(process: Mapping[str, Any]) -> bool:
    """Whether a process that `this_process` described has ended. One on another host counts as alive."""
    pid = process.get("pid")
    if type(pid) is not int or not 0 < pid < 2**31:
        return True
    return process.get("host") == socket.gethostname() and process.get("started") != _start(pid)


def _start(pid: int) -> str | None:
    """When a process started, counted from the boot as clocks may be set; None if it has ended, even as a zombie."""
    import psutil

    try:
        boot, process = psutil.boot_time(), psutil.Process(pid)
        ended = process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        return None if ended else f"{process.create_time() - boot:.2f} s after boot"
    except psutil.Error:
        return None


def is_stopped(pid: int) -> bool:
    """Whether a process of this machine is stopped, by SIGSTOP or a debugger."""
    import psutil

    try:
        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    except psutil.Error:
        return False


def end_with_parent(parent: int) -> None:
    """On Linux, has this process killed when `parent` ends in any way, even if this process is stopped then."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:  # the parent has ended already
        os.kill(os.getpid(), signal.SIGKILL)


def end_with_sweep() -> None:
    """Makes a process that works for a sweep on this machine end with the sweep's own, in a job or between two.

    SIGTERM interrupts its job from the start: until the run handles it, it would kill joblib's workers, and then all of
    them, and submitit's would ignore it.
    """
    if sweep := os.environ.pop(SWEEP_PROCESS, None):
        end_with(json.loads(sweep))
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def end_with(process: Mapping[str, Any]) -> None:
    """Kills this process soon after another one on this machine, which `this_process` described, has ended."""

    def watch() -> None:
        while not is_gone(process):
            time.sleep(LOOK_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    if sys.platform == "linux" and process["pid"] == os.getppid():
        end_with_parent(process["pid"])
