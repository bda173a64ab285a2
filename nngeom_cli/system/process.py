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
from pathlib import Path
from typing import Any

from nngeom_cli.system.programs import output_of

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
    """When a process started, in the system's own words; None where it is gone, or only waits to be buried."""
    if not Path("/proc/self/stat").exists():
        return output_of("ps", "-o", "lstart=", "-p", str(pid)) or None
    try:
        fields = _fields(pid)
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    return None if fields[0] in "ZX" else f"{fields[19]} ticks after boot {boot}"


def _fields(pid: int) -> list[str]:
    """What Linux tells of a process after its name, its state first."""
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].decode().split()  # a name is any bytes


def is_stopped(pid: int) -> bool:
    """Whether a process of this machine was stopped, by SIGSTOP or a debugger; known on Linux only."""
    try:
        return _fields(pid)[0] in "Tt"
    except OSError:
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
