"""How much memory there is: what cannot fit is refused before it starts, and a killed process is explained."""

from __future__ import annotations

import contextlib
import resource
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nngeom_cli.errors import LostProcessError, require

__all__ = ["available_memory", "in_words", "losses_explained", "lost_words", "machine_memory", "require_room"]

GROUPS = Path("/sys/fs/cgroup")  # where Linux keeps the limits of containers and of SLURM's jobs
MEMBERSHIP = Path("/proc/self/cgroup")


def available_memory() -> int:
    """Bytes that are free on this machine, at most the limit of the container or cluster job."""
    import psutil

    return min([int(psutil.virtual_memory().available), *_limits()])


def machine_memory() -> int:
    """The most bytes that a process can have: main memory and swap space, within the same limits."""
    import psutil

    total, swap = int(psutil.virtual_memory().total), int(psutil.swap_memory().total)
    if sys.platform == "darwin":  # macOS makes swap space as it needs it
        swap = max(total, swap)
    return min([total + swap, *_limits()])


def require_room(arrays: Mapping[str, tuple[int, str]], values: Mapping[str, Any], copies: str) -> None:
    """Raises `ConfigError` if arrays certainly do not fit into memory together; it names the key of the largest.

    Args:
        arrays: bytes of each and what it is, by the key that makes it large.
        values: of these keys.
        copies: the key that multiplies all of them, as typed, `replicates=8`.
    """
    needed, there = sum(size for size, _ in arrays.values()), machine_memory()
    key = max(arrays, key=lambda name: arrays[name][0])
    size, what = arrays[key]
    require(
        needed <= there,
        key,
        f"small enough for the memory of this machine, {in_words(there)}",
        values[key],
        f"It takes at least {in_words(needed)}, {in_words(size)} of it for {what}. Lower it, or {copies}.",
    )


def lost_words(exitcode: int | None, needed: int, suggestion: str) -> str:
    """Why a worker process ended unexpectedly, and what to do.

    Args:
        exitcode: minus the signal that ended it; None if unknown.
        needed: bytes of the arrays that it worked with.
        suggestion: a sentence that says what to do then.

    Example:
        >>> print(lost_words(-11, 800, "`nngeom resume RUN` continues it."))
        A worker process was ended by SIGSEGV (Segmentation fault). `nngeom resume RUN` continues it.
    """
    if exitcode is not None and exitcode >= 0:
        return f"A worker process ended unexpectedly, with exit code {exitcode}. {suggestion}"
    number = signal.Signals(-exitcode) if exitcode else None
    if number not in (None, signal.SIGKILL):
        return f"A worker process was ended by {number.name} ({signal.strsignal(number)}). {suggestion}"
    what = "was killed (SIGKILL), most likely" if number else "ended unexpectedly, most likely killed"
    return (
        f"A worker process {what} by the system for lack of memory: its arrays alone take {in_words(needed)}, "
        f"and {in_words(available_memory())} of {in_words(machine_memory())} in this machine are free now. "
        f"Run fewer jobs at once or set NNGEOM_CORES=1: {suggestion} Or run again with a smaller `probe.resolution` "
        "or fewer `replicates`."
    )


@contextlib.contextmanager
def losses_explained(needed: int, suggestion: str) -> Iterator[None]:
    """Raises a LostProcessError of the block again, with the sentence of `lost_words`."""
    try:
        yield
    except LostProcessError as error:
        raise LostProcessError(lost_words(error.exitcode, needed, suggestion), error.exitcode) from error


def _limits() -> list[int]:
    """Memory limits of this process and of its control groups, versions 1 and 2."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    limits = [] if soft == resource.RLIM_INFINITY else [soft]
    try:
        lines = [line.split(":", 2) for line in MEMBERSHIP.read_text().splitlines()]
    except OSError:
        return limits
    for kinds, own in (line[1:] for line in lines if line[1:2] in ([""], ["memory"])):
        top, name = GROUPS / kinds, "memory.limit_in_bytes" if kinds else "memory.max"
        group = top / own.lstrip("/")
        for folder in (group, *group.parents):
            try:
                limit = (folder / name).read_text().strip()
            except OSError:
                continue
            limits += [int(limit)] if limit.isdecimal() else []  # or "max"
    return limits


def in_words(size: float) -> str:
    """A number of bytes in words.

    Example:
        >>> in_words(999), in_words(3_200_000), in_words(8e9), in_words(10**400)
        ('999 bytes', '3.2 MB', '8 GB', 'millions of EB')
    """
    if size < 1000:
        return f"{size:.0f} bytes"
    if size >= 10**24:
        return "millions of EB"
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        size /= 1000
        if size < 1000:
            return f"{size:.3g} {unit}"
    return f"{size / 1000:.3g} EB"
