"""Files that are whole or absent."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from nngeom_cli.errors import ConfigError
from nngeom_cli.system.held_folder import require_held, room_for

__all__ = [
    "paths_below",
    "read_json",
    "read_whole",
    "refuse_interpolation",
    "refuse_link",
    "refuse_links",
    "remove_leftovers",
    "unshared",
    "written_whole",
]

LEFTOVER = ".half-"
DAY = 24 * 60 * 60  # seconds; nobody writes one file for that long
LARGEST_JSON, DEEPEST_JSON = 2**26, 20  # a sweep of 20,000 jobs has 40 MB
MOST_PARTS = 4_000_000  # of JSON, each of which is up to a hundred bytes in memory


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; what is written there takes its place at the end, or vanishes on an error.

    After a power cut `path` is the old file or the new one, too: the data reach the disk before the name does.
    An OSError of what is done meanwhile names `path`.
    """
    room_for(path)
    try:
        handle, temporary = _locked_file(path)
    except OSError as error:
        error.filename = str(path.parent)  # what cannot be written, not a name that nobody has heard of
        raise
    try:
        yield temporary
        require_held(path)
        _synchronise(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        _synchronise(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):  # lest it hide the first one
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        os.close(handle)


def _locked_file(path: Path) -> tuple[int, Path]:
    """An empty file beside `path`, locked for as long as its handle is open: so others see that it has a writer."""
    import fcntl

    while True:
        handle, name = tempfile.mkstemp(prefix=f"{_leftover()}{path.stem}-", suffix=path.suffix, dir=path.parent)
        with contextlib.suppress(OSError):  # some drives have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:  # else somebody has taken it for a leftover, just before the lock
            return handle, path.with_name(Path(name).name)  # as `path` is, from a working folder that may be renamed
        os.close(handle)


def _leftover() -> str:
    """What the names of files begin with that are half written by a process of this machine."""
    return f"{LEFTOVER}{zlib.crc32(os.uname().nodename.encode()):08x}-"


def _synchronise(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if not path.is_dir() or error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some shared drives cannot
            raise
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read_whole(path: Path, largest: int) -> bytes:
    """The bytes of a file that somebody else may have written.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no file, or has more than `largest` bytes.
    """
    if not path.is_file():
        raise ValueError("it is no file")
    with path.open("rb") as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"it has more than {largest} bytes")
    return content


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no file, larger or nested deeper than any of ours, or holds something else.
    """
    text = read_whole(path, LARGEST_JSON)
    if sum(map(text.count, (b",", b"[", b"{"))) > MOST_PARTS:
        raise ValueError(f"it has more than {MOST_PARTS} parts")
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested deeply") from None
    level = [content]
    for _ in range(DEEPEST_JSON):
        inner = [
            list(node.values()) if isinstance(node, dict) else node for node in level if isinstance(node, dict | list)
        ]
        level = list(chain.from_iterable(inner))
        if not level:
            return content
    raise ValueError("it is nested deeply")


def refuse_link(path: Path) -> None:
    """Raises ConfigError where a file or folder, if it is there, leads elsewhere or is something else, as a pipe is."""
    if path.is_symlink():
        raise ConfigError(
            f"`{path}` must be a file or folder itself. Got a link to {path.readlink()}. "
            "Put a copy of what it leads to in its place."
        )
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ConfigError(f"`{path}` must be a file or a folder. Got a pipe, a socket or a device. Remove it.")


def refuse_links(directory: Path) -> None:
    """`refuse_link` for all that lies in `directory`: what is then written there stays there."""
    for path in paths_below(directory):
        refuse_link(path)


def paths_below(directory: Path) -> Iterator[Path]:
    """All that lies in a folder, however deep; a link to a folder is not followed, nor what cannot be looked into."""
    waiting = [str(directory)]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                yield Path(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)


def refuse_interpolation(key: str, path: Path) -> None:
    """Raises ConfigError for a folder that Hydra cannot pass on: it takes `${` for the beginning of a key."""
    if "${" in str(path):
        raise ConfigError(
            f"`{key}` must be a folder without ${{ in its path. Got {path}. Rename that folder, or choose another."
        )


def unshared(path: Path) -> None:
    """Gives a file that is written in place a content of its own, where it shares one with another name."""
    if path.is_file() and path.stat().st_nlink > 1:
        with written_whole(path) as copy:
            shutil.copyfile(path, copy)


def remove_leftovers(*folders: Path, alone: bool = False) -> None:
    """Removes what a process left half written in these folders when it was killed.

    What a process is writing stays: it holds a lock. Another machine's lock may not be seen here, so its files stay for
    a day, unless this process is known to write there `alone`; so do all where the drive has no locks.
    """
    for path in chain.from_iterable(folder.glob(f"{LEFTOVER}*") for folder in folders):
        with contextlib.suppress(OSError):  # somebody was quicker, or it cannot be removed, and then it may stay
            old = path.lstat().st_mtime < time.time() - DAY
            if old or alone or path.name.startswith(_leftover()):
                _remove_unlocked(path, old)


def _remove_unlocked(path: Path, old: bool) -> None:
    import fcntl

    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno == errno.EWOULDBLOCK or not old:
                return
        path.unlink()
    finally:
        os.close(handle)
