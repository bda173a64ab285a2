"""The cores of this machine, and iterators whose items are made in their own processes.

The work here is mostly Python and small kernels, so threads would wait for each other; processes do not.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from nngeom_cli.errors import LostProcessError, require
from nngeom_cli.system.process import end_with_parent, is_stopped

__all__ = ["FORKS", "available_cores", "in_processes", "never", "split"]

FORKS = sys.platform == "linux"  # elsewhere a forked process may hang in the system's libraries
LOOK_SECONDS = 0.5  # between two checks of a process that sends nothing
LOOKS = 6  # that find a process stopped before it is given up

T = TypeVar("T")


def available_cores() -> int:
    """Cores that this process may use: those it may run on, or NNGEOM_CORES if that is set and not empty.

    Raises:
        ConfigError: NNGEOM_CORES is not a number of cores.
    """
    asked = os.environ.get("NNGEOM_CORES", "").strip()
    if asked:
        whole = asked.isdecimal() and len(asked) < 10 and int(asked) > 0
        require(whole, "NNGEOM_CORES", "a number of cores, at least 1", asked, "Unset it to use all cores.")
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def split(length: int, parts: int) -> list[slice]:
    """A range cut into `parts` slices of nearly the same length.

    Example:
        >>> split(8, 3)
        [slice(0, 2, None), slice(2, 5, None), slice(5, 8, None)]
    """
    edges = [length * part // parts for part in range(parts + 1)]
    return [slice(low, high) for low, high in pairwise(edges)]


def never() -> bool:
    """No stop is ever requested."""
    return False


@contextlib.contextmanager
def in_processes(sources: Sequence[Iterator[T]], asked: Callable[[], bool] = never) -> Iterator[list[Iterator[T]]]:
    """The same iterators; if there are several, each runs in its own process, ahead of its reader.

    Where processes cannot be forked, they run in this one as they are read.

    The processes end with the `with` block and with this process, however these end.
    One that is stopped (SIGSTOP) is waited for, as it may be continued.

    Args:
        sources: the iterators.
        asked: whether a stop was requested: from then on a process that is stopped is made to continue.

    Raises:
        LostProcessError: in reading; a process has ended unexpectedly.
        KeyboardInterrupt: in reading; a stop was requested, and a process stays stopped.
    """
    if len(sources) == 1 or not FORKS:
        yield list(sources)
        return
    fork = multiprocessing.get_context("fork")
    processes, receivers = [], []
    collected = gc.get_freeze_count() == 0  # else the caller has frozen objects, and they must stay so
    if collected:
        gc.freeze()  # else the garbage collection of each process would write to these objects, and so copy them
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)  # no thread of ours holds a lock here
            for source in sources:
                receiver, sender = fork.Pipe(duplex=False)
                process = fork.Process(target=send_all, args=(source, sender, os.getpid()), daemon=True)
                process.start()
                sender.close()  # before the next fork: a pipe ends when the only process that writes to it does
                processes.append(process)
                receivers.append(receiver)
        pairs = zip(receivers, processes, strict=True)
        yield [receive_all(receiver, process, asked) for receiver, process in pairs]
    finally:
        if collected:
            gc.unfreeze()
        for process in processes:
            process.kill()
            process.join()


def send_all(source: Iterator[Any], sender: Connection, parent: int) -> None:
    """Runs in such a process: sends each item, then None; or the exception that ended it."""
    end_with_parent(parent)
    for number in (signal.SIGINT, signal.SIGTERM):  # a terminal or a scheduler sends them to the whole group
        signal.signal(number, signal.SIG_IGN)  # the parent decides
    try:
        for item in source:
            sender.send_bytes(pickle.dumps(item))
        sender.send_bytes(pickle.dumps(None))
    except Exception as error:
        sender.send_bytes(pickle.dumps(error))


def receive_all(receiver: Connection, process: BaseProcess, asked: Callable[[], bool]) -> Iterator[Any]:
    """The items that such a process sends, read as they come, so that it never waits for the reader."""
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def read() -> None:
        try:
            while True:
                items.put(pickle.loads(receiver.recv_bytes()))
        except (EOFError, OSError):
            items.put(EOFError())

    threading.Thread(target=read, daemon=True).start()
    while (item := next_of(items, process, asked)) is not None:
        if isinstance(item, EOFError):
            process.join()
            raise LostProcessError("A process ended unexpectedly.", process.exitcode)
        if isinstance(item, Exception):
            raise item
        yield item


def next_of(items: queue.SimpleQueue[Any], process: BaseProcess, asked: Callable[[], bool]) -> Any:
    """The next item that a process sends; see `in_processes` for one that is stopped."""
    assert process.pid is not None
    looks = 0
    while True:
        try:
            return items.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            if asked() and is_stopped(process.pid):
                if looks == LOOKS:
                    raise KeyboardInterrupt from None
                looks += 1
                os.kill(process.pid, signal.SIGCONT)
