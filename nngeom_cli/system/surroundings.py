"""What nngeom's own processes set for themselves, and what is restored in others.

`own_process` is for the command's process and for workers: in one that only imports nngeom it would change the owner's
settings.
"""

from __future__ import annotations

import errno
import gc
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any

from nngeom_cli.errors import printable

__all__ = ["lenient_streams", "logging_left_alone", "one_thread", "own_process", "replaced"]

NOBODY_READS = (errno.EPIPE, errno.EIO)  # a pipe whose reader has ended, a terminal that was closed
FEWER_COLLECTIONS = 50_000  # imports and figures make objects by the hundred thousand, and little garbage


def own_process() -> None:
    """Prepares a process that belongs to the command alone."""
    gc.set_threshold(FEWER_COLLECTIONS)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # KeyboardInterrupt, as for SIGINT
    os.environ["MPLBACKEND"] = "agg"  # figures go to files; a notebook's kernel exports its own backend
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)  # libraries start programs too: fc-list, uname
    os.environ["PATH"] = os.pathsep.join(filter(os.path.isabs, folders)) or os.defpath  # not the working directory
    for name in [name for name in os.environ if name.startswith("TQDM_")]:
        del os.environ[name]  # a wrong one would end a run
    if not os.environ.get("SOURCE_DATE_EPOCH", "0").isdecimal():
        del os.environ["SOURCE_DATE_EPOCH"]  # numpy and matplotlib would fail on it
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed: `2>&-`; the next file would get its number, and what is printed would go there
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


@contextmanager
def lenient_streams() -> Iterator[list[OSError]]:
    """Makes stdout and stderr take any text, and drop what nobody reads any more: `nngeom summarize outputs | head`.

    Yields:
        Other errors by which output was lost, such as a full disk; complete at the end of the block.
    """
    troubles: list[OSError] = []
    with ExitStack() as stack:
        if sys.stdout is sys.__stdout__:  # else it has been replaced
            stdout = _stream(1, sys.stdout, troubles)
            stack.enter_context(redirect_stdout(stdout))
            stack.callback(stdout.flush)
        if sys.stderr is sys.__stderr__:
            stderr = _stream(2, sys.stderr, [])
            stack.enter_context(redirect_stderr(stderr))
            stack.callback(stderr.flush)
        yield troubles


def _stream(number: int, before: Any, troubles: list[OSError]) -> io.TextIOWrapper:
    raw = _Output(number, "w", closefd=False)
    raw.troubles = troubles
    encoding = before.encoding if before is not None else "utf-8"
    at_once = number == 2 or raw.isatty()
    kind = _Terminal if number == 1 and raw.isatty() else io.TextIOWrapper  # stderr shows progress bars
    return kind(io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=at_once)


class _Terminal(io.TextIOWrapper):
    """Text without control characters: the name of a folder or class could move the cursor or set the title."""

    def write(self, text: str) -> int:
        super().write("\n".join(map(printable, text.split("\n"))))
        return len(text)


class _Output(io.FileIO):
    """A file whose every write succeeds."""

    troubles: list[OSError]

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in NOBODY_READS:
                self.troubles.append(error)
            return memoryview(data).nbytes


@contextmanager
def logging_left_alone() -> Iterator[None]:
    """Restores the caller's logging after Hydra sets up its own inside the block; handlers stay open."""
    import logging
    from weakref import WeakValueDictionary

    known: dict[str, Any] = {"_handlers": WeakValueDictionary(), "_handlerList": []}  # Hydra would close all in them
    before = {name: getattr(logging, name) for name in known}
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    states = [(each, each.level, each.handlers[:]) for each in loggers if isinstance(each, logging.Logger)]
    for name, value in known.items():
        setattr(logging, name, value)
    try:
        yield
    finally:
        logging.shutdown(known["_handlerList"])
        for handler in filter(None, (reference() for reference in known["_handlerList"])):
            with suppress(OSError):  # on a full disk, where shutdown leaves it open
                handler.close()
        for name, value in before.items():
            setattr(logging, name, value)
        for logger, level, handlers in states:
            logger.setLevel(level)
            logger.handlers[:] = handlers


@contextmanager
def one_thread() -> Iterator[None]:
    """Gives torch one thread in the block: small networks gain nothing from more, and one has the same bits anywhere.

    Afterwards there are as many as before.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Gives an attribute another value inside the block."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
