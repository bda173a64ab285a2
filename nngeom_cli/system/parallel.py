"""The cores of this machine, and iterators whose items are made in processes of their own.

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

__all__ = ["available_cores", "in_processes", "never", "split"]

FORKS = sys.platform == "linux"  # elsewhere a process that was forked may hang in the system's own libraries
LOOK_SECONDS = 0.5  # between two looks at a process that has nothing to read
LOOKS = 6  # at a process that is stopped again and again

T = TypeVar("T")


def available_cores() -> int:
    """Cores that this process may use: those it may run on, or NNGEOM_CORES if that is set and not empty.

    Raises:
        ConfigError: NNGEOM_CORES is no number of cores.
    """
    asked = os.environ.get("NNGEOM_CORES", "").strip()
    if asked:
        whole = asked.isdecimal() and len(asked) < 10 and int(asked) > 0
        require(whole, "NNGEOM_CORES", "a number of cores, at least 1", asked, "Unset, it is all that there are.")
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
    """Nobody asks for an end."""
    return False


@contextlib.contextmanager
def in_processes(sources: Sequence[Iterator[T]], asked: Callable[[], bool] = never) -> Iterator[list[Iterator[T]]]:
    """The same iterators; if there are several, each runs in a process of its own, ahead of whoever reads it.

    Where processes cannot be forked they run in this one, as they are read.

    The processes end with the `with` block, however it ends, and with this process, however that ends.
    One that is stopped (SIGSTOP) is waited for, as whoever stopped it may let it go on.

    Args:
        sources: the iterators.
        asked: whether the end is near: from then on a process that is stopped is made to go on.

    Raises:
        LostProcessError: in reading; a process has ended without a word.
        KeyboardInterrupt: in reading; the end is near, and a process stays stopped.
    """
    if len(sources) == 1 or not FORKS:
        yield list(sources)
        return
    fork = multiprocessing.get_context("fork")
    processes, receivers = [], []
    collected = gc.get_freeze_count() == 0  # else the caller has frozen it already, and would find it thawed
    if collected:
        gc.freeze()  # what is here stays: to look for garbage in it, each process would write to it, and so copy it
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
    """What such a process does: sends each item, then None; or the exception that ended it."""
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
            raise LostProcessError("A process ended without a word.", process.exitcode)
        if isinstance(item, Exception):
            raise item
        yield item


def next_of(items: queue.SimpleQueue[Any], process: BaseProcess, asked: Callable[[], bool]) -> Any:
    """The next of the items that a process sends; see `in_processes` for one that is stopped."""
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
