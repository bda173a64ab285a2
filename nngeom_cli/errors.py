"""What a user can get wrong, in one line: the key as typed, the constraint, the value, a suggestion."""

from __future__ import annotations

import difflib
import errno
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nngeom_cli.synonyms import value_named

__all__ = [
    "LARGEST_SEED",
    "ConfigError",
    "DamageError",
    "FolderError",
    "JobError",
    "LostProcessError",
    "NngeomError",
    "RunError",
    "beginning_of",
    "did_you_mean",
    "disk_trouble",
    "nearest",
    "one_line",
    "one_of",
    "printable",
    "require",
    "require_seed",
    "say",
    "sentence_of",
    "shown",
    "system_words",
    "unwritable",
]

AGAIN = "run the command again"
LONGEST = 100  # characters of a value in a message, at most
REPAIRS = {
    errno.ENOSPC: "Make room",
    errno.EDQUOT: "Make room",
    errno.EFBIG: "Allow larger files (ulimit -f)",
    errno.EIO: "Check the disk",
    errno.EROFS: "Make its disk writable",
    errno.EACCES: "Change its rights",
    errno.EPERM: "Change its rights",
}  # what to do about a disk; "then" and the next step follow
ELSEWHERE = {
    errno.EROFS: "Copy it to one that is not.",
    errno.EACCES: "Change its rights, or copy it.",
    errno.EPERM: "Change its rights, or copy it.",
    errno.EEXIST: "Move away what is in its place.",
    errno.ENOTDIR: "Move away what is in its place.",
    errno.EISDIR: "Move away what is in its place.",
}
LARGEST_SEED = 2**32 - 1  # the largest seed that every random generator takes


class NngeomError(Exception):
    """What nngeom says to its user: `str(error)` is the whole message, one line that a terminal only shows."""

    def __init__(self, sentence: str) -> None:
        super().__init__(printable(sentence))


class ConfigError(NngeomError, ValueError):
    """A command or config that cannot be run."""


class DamageError(NngeomError):
    """A file of a run or sweep that is not what was written there."""


class FolderError(NngeomError, OSError):
    """A folder or file that cannot be made or written."""


class RunError(NngeomError):
    """A run that did not come to a good end."""


class LostProcessError(RunError):
    """A worker process ended unexpectedly.

    Attributes:
        exitcode: as `multiprocessing` has it: minus the signal, if one ended it.
    """

    def __init__(self, sentence: str, exitcode: int | None = None) -> None:
        super().__init__(sentence)
        self.exitcode = exitcode


class JobError(NngeomError):
    """Why a job of a sweep failed. It goes through any launcher."""


def require(satisfied: bool, key: str, constraint: str, value: Any, suggestion: str) -> None:
    """Raise `ConfigError` unless `satisfied`.

    Args:
        satisfied: whether the constraint holds.
        key: the config key as a user types it, `optimizer.lr`.
        constraint: what follows "must be", without a full stop.
        value: what the key holds.
        suggestion: a sentence that says what to do instead.

    Raises:
        ConfigError: `satisfied` is false.

    Example:
        >>> require(False, "replicates", "at least 1", 0, "Leave it out for 8 networks.")
        Traceback (most recent call last):
        ...
        nngeom_cli.errors.ConfigError: `replicates` must be at least 1. Got 0. Leave it out for 8 networks.
    """
    if not satisfied:
        raise ConfigError(f"`{key}` must be {constraint}. Got {shown(value)}. {suggestion}")


def require_seed(key: str, seed: int) -> None:
    """Raise `ConfigError` unless every random generator takes `seed`."""
    require(0 <= seed <= LARGEST_SEED, key, f"between 0 and {LARGEST_SEED}", seed, f"The default is {key}=0.")


def printable(text: str) -> str:
    r"""`text` on one line without control characters, which are written as in a Python string.

    Example:
        >>> print(printable("a\nb"))
        a\nb
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def sentence_of(error: BaseException, suggestion: str) -> str:
    """An error as one line: our own are one already; others get their type and where to read more."""
    if isinstance(error, NngeomError):
        return str(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())}. {suggestion}"


def system_words(error: OSError, then: str = AGAIN) -> str:
    """What the operating system refused, in one line; an error without an errno is shown as it is.

    Args:
        error: of the operating system.
        then: what to do once the disk has room again.

    Example:
        >>> system_words(OSError(errno.EROFS, "Read-only file system", "figures"))
        '`figures` must be a file or folder that can be used. Got: Read-only file system. Copy it to one that is not.'
    """
    if error.errno is None:
        return " ".join(str(error).split()) or type(error).__name__
    said = " ".join(str(error.strerror).split())
    again = f"{REPAIRS[error.errno]}, then {then}." if error.errno in REPAIRS else None
    path = error.filename2 or error.filename
    if path is None:
        return f"There must be room for what the command writes. Got: {said}. {again or 'Try again.'}"
    suggestion = ELSEWHERE.get(error.errno) or again or "Check the path."
    path = beginning_of(str(path)) if error.errno == errno.ENAMETOOLONG else path
    return f"`{path}` must be a file or folder that can be used. Got: {said}. {suggestion}"


def disk_trouble(error: BaseException) -> OSError | None:
    """The underlying error if a full, broken or write-protected disk caused `error`."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in REPAIRS:
            return seen
        seen = seen.__cause__
    return None


def unwritable(directory: Path, error: OSError, then: str = "") -> FolderError:
    """The error for a run or sweep folder that cannot be written, for the caller to raise.

    Args:
        directory: the folder.
        error: of the operating system.
        then: what to do after the repair; by default, to resume what is saved or to run the command again.

    Example:
        >>> print(unwritable(Path("new"), OSError(errno.EROFS, "Read-only file system")))
        `new` must be a folder that can be written. Got: Read-only file system. Make its disk writable, then run the \
command again.
    """
    if not then:
        resumable = any((directory / name).exists() for name in ("run.json", "sweep.json"))
        then = f"`nngeom resume {shlex.quote(str(directory))}` continues it" if resumable else AGAIN
    repair = REPAIRS.get(error.errno or 0, "Repair that")
    return FolderError(
        f"`{directory}` must be a folder that can be written. Got: {error.strerror}. {repair}, then {then}."
    )


def shown(value: Any) -> str:
    """A config value as typed on the command line: null, true, [1,2], {a: 1}; long ones are cut."""
    typed = _typed(value)
    return beginning_of(typed)


def _typed(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_typed, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_typed(item)}" for key, item in value.items()) + "}"
    return str(value) or "nothing"


def one_of(choices: Iterable[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    *head, last = list(choices)
    return f"{', '.join(head)} or {last}" if head else last


def one_line(error: BaseException) -> str:
    """The message of another library's error, without line breaks and full stop; long ones are cut."""
    said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return beginning_of(said)


def beginning_of(text: str, most: int = LONGEST) -> str:
    """`text`, cut to `most` characters and three dots if it is longer."""
    return text if len(text) <= most else f"{text[:most]}..."


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that `word` most likely means: another name of it, or a misspelling.

    Example:
        >>> nearest("Swish", ["relu", "silu"]), nearest("TANH", ["relu", "tanh"]), nearest("nope", ["relu", "tanh"])
        ('silu', 'tanh', None)
    """
    by_small = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(word.lower(), by_small, n=1, cutoff=0.6)
    same, named = by_small.get(word.lower()), value_named(word, by_small.values())
    return same or named or next((by_small[choice] for choice in close), None)


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`Did you mean NEAREST?`, or an empty string if nothing is near."""
    near = nearest(word, choices)
    return f"Did you mean `{near}`?" if near else ""


def say(sentence: str) -> None:
    """Prints a sentence for the user on stderr."""
    print(f"nngeom: {printable(sentence)}", file=sys.stderr, flush=True)  # noqa: T201
