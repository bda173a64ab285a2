"""Processes: this one by a name that no other ever has, whether another is still there, and what ends with it."""

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

SWEEP_PROCESS = "NNGEOM_SWEEP_PROCESS"  # in the environment of a sweep's processes on this machine: the sweep's own
LOOK_SECONDS = 0.5  # between two looks at whether a process is gone
PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that a process gets when its parent ends


def this_process() -> dict[str, Any]:
    """Host, process id and start of this process: together they name no other one, ever."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _start(os.getpid())}


def is_gone(process: Mapping[str, Any]) -> bool:
    """Whether a process that `this_process` described has ended. One on another host counts as alive."""
    pid = process.get("pid")
    if type(pid) is not int or not 0 < pid < 2**31:
        return True
    return process.get("host") == socket.gethostname() and process.get("started") != _start(pid)


def _start(pid: int) -> str | None:
    """When a process started, counted from the boot, as clocks are set; None where it has ended, buried or not."""
    import psutil

    try:
        boot, process = psutil.boot_time(), psutil.Process(pid)
        ended = process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        return None if ended else f"{process.create_time() - boot:.2f} s after boot"
    except psutil.Error:
        return None


def is_stopped(pid: int) -> bool:
    """Whether a process of this machine was stopped, by SIGSTOP or a debugger."""
    import psutil

    try:
        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    except psutil.Error:
        return False


def end_with_parent(parent: int) -> None:
    """On Linux this process is killed when `parent` ends, however that ends, and even if it is stopped by then."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:  # it has ended already
        os.kill(os.getpid(), signal.SIGKILL)


def end_with_sweep() -> None:
    """A process that works for a sweep of this machine ends with the sweep's, in its job or between two.

    SIGTERM interrupts its job from the start: until its run listens, it would kill joblib's workers, all of them then,
    and be lost on submitit's.
    """
    if sweep := os.environ.pop(SWEEP_PROCESS, None):
        end_with(json.loads(sweep))
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def end_with(process: Mapping[str, Any]) -> None:
    """This process is killed soon after another one of this machine, which `this_process` described, is gone."""

    def watch() -> None:
        while not is_gone(process):
            time.sleep(LOOK_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    if sys.platform == "linux" and process["pid"] == os.getppid():
        end_with_parent(process["pid"])
