"""Processes: the one that writes a run, whether it is still there, what ends with it, and signals that end it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from nngeom_cli.errors import ConfigError, FolderError, unwritable
from nngeom_cli.system.atomic import refuse_links
from nngeom_cli.system.held_folder import RESUME, held
from nngeom_cli.system.programs import output_of

__all__ = [
    "SWEEP_PROCESS",
    "Stop",
    "end_with_parent",
    "end_with_sweep",
    "is_gone",
    "is_stopped",
    "sole_writer",
    "stop_on_signal",
    "this_process",
]

LOCK = ".lock"
SWEEP_PROCESS = "NNGEOM_SWEEP_PROCESS"  # in the environment of a sweep's processes on this machine: the sweep's own
SIGNALS = (signal.SIGINT, signal.SIGTERM)
ECHO_SECONDS = 0.5
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


@contextlib.contextmanager
def sole_writer(directory: Path) -> Iterator[None]:
    """Nobody else writes to `directory` meanwhile. The system lets go of the lock with the process, however that ends.

    The lock holds between machines too, where the drive that they share has locks; one that has none is refused.

    Raises:
        ConfigError: another process is at work on it, or something in it leads elsewhere.
        FolderError: it cannot be written, or not be locked; or it was moved or deleted meanwhile.
    """
    import fcntl

    refuse_links(directory)
    with held(directory, RESUME), contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context((directory / LOCK).open("a+"))
        except OSError as error:
            raise unwritable(directory, error) from error
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock's, training processes do not inherit it
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise FolderError(
                    f"`{directory}` must be on a drive that can lock files. Got: {error.strerror}. Choose another."
                ) from error
            file.seek(0)
            raise ConfigError(
                f"`{directory}` must have one writer at a time. Got a second one, while {file.read() or 'another'} is "
                "at work. Wait for it, or stop it."
            ) from None
        with contextlib.suppress(OSError):  # on a full disk the lock is as good without a name on it
            if os.fstat(file.fileno()).st_nlink == 1:  # nor is a file changed that has another name, in a backup say
                file.truncate(0)
                os.write(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield


class Stop:
    """What SIGINT and SIGTERM ask for.

    Attributes:
        requested: a signal has come. Who saves work looks at this between two steps.
    """

    def __init__(self) -> None:
        self.requested = False
        self._patient = True
        self._since = 0.0

    def at_once(self) -> None:
        """From now on a signal, or one that has come already, raises KeyboardInterrupt: there is nothing to save."""
        self._patient = False
        if self.requested:
            raise KeyboardInterrupt

    def handle(self, number: int, _: FrameType | None) -> None:
        """The signal handler. The second signal ends the process as if nobody had listened.

        One that comes at once is the first again: `timeout` and some schedulers send it to a process and to its group.
        """
        if not self.requested:
            self.requested, self._since = True, time.monotonic()
            if not self._patient:
                raise KeyboardInterrupt
        elif time.monotonic() - self._since > ECHO_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


@contextlib.contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """SIGINT and SIGTERM ask for an end, which comes when the work is saved; a second one ends at once."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():  # signals are not for it
        yield stop
        return
    before = {number: signal.signal(number, stop.handle) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
