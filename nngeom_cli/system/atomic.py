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
DAY = 24 * 60 * 60  # seconds; no file takes that long to write
LARGEST_JSON, DEEPEST_JSON = 2**26, 20  # a sweep of 20,000 jobs has 40 MB
MOST_PARTS = 4_000_000  # of JSON, each up to a hundred bytes in memory


@contextlib.contextmanager
def written_whole(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A temporary path beside `path`; what is written there replaces `path` at the end, or is removed on an error.

    Even after a power cut `path` is the old file or the new one: the data reach the disk before the name does.
    An OSError inside the block names `path`. What can be made again need not be `durable`: it does not wait for the
    disk, and after a power cut it may be empty.
    """
    room_for(path)
    try:
        handle, temporary = _locked_file(path)
    except OSError as error:
        error.filename = str(path.parent)  # the folder that cannot be written, not a temporary name
        raise
    try:
        yield temporary
        require_held(path)
        if durable:
            _synchronise(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        if durable:
            _synchronise(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):  # so that it does not hide the first one
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        os.close(handle)


def _locked_file(path: Path) -> tuple[int, Path]:
    """An empty file beside `path`, locked while its handle is open, so that others see that it has a writer."""
    import fcntl

    while True:
        handle, name = tempfile.mkstemp(prefix=f"{_leftover()}{path.stem}-", suffix=path.suffix, dir=path.parent)
        with contextlib.suppress(OSError):  # some drives have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:  # else it was removed as a leftover, just before the lock
            return handle, path.with_name(Path(name).name)  # relative if `path` is: the working folder may be renamed
        os.close(handle)


def _leftover() -> str:
    """The prefix of the names of files that a process of this machine has half written."""
    return f"{LEFTOVER}{zlib.crc32(os.uname().nodename.encode()):08x}-"


def _synchronise(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if not path.is_dir() or error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some shared drives cannot do this
            raise
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read_whole(path: Path, largest: int) -> bytes:
    """The bytes of a file that someone else may have written.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a file, or has more than `largest` bytes.
    """
    if not path.is_file():
        raise ValueError("it is not a file")
    with path.open("rb") as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"it has more than {largest} bytes")
    return content


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a file, does not hold JSON, or is larger or nested deeper than any of ours.
    """
    text = read_whole(path, LARGEST_JSON)
    if sum(map(text.count, (b",", b"[", b"{"))) > MOST_PARTS:
        raise ValueError(f"it has more than {MOST_PARTS} parts")
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [content]
    for _ in range(DEEPEST_JSON):
        inner = [
            list(node.values()) if isinstance(node, dict) else node for node in level if isinstance(node, dict | list)
        ]
        level = list(chain.from_iterable(inner))
        if not level:
            return content
    raise ValueError("it is nested too deeply")


def refuse_link(path: Path) -> None:
    """Raises ConfigError if `path` is a link, or exists and is neither a file nor a folder."""
    if path.is_symlink():
        raise ConfigError(
            f"`{path}` must be a file or folder itself. Got a link to {path.readlink()}. "
            "Put a copy of what it leads to in its place."
        )
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ConfigError(f"`{path}` must be a file or a folder. Got a pipe, a socket or a device. Remove it.")


def refuse_links(directory: Path) -> None:
    """`refuse_link` for everything in `directory`, so that what is written there stays there."""
    for path in paths_below(directory):
        refuse_link(path)


def paths_below(directory: Path) -> Iterator[Path]:
    """Everything in a folder, however deep; links to folders are not followed, and unreadable folders are skipped."""
    waiting = [str(directory)]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                yield Path(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)


def refuse_interpolation(key: str, path: Path) -> None:
    """Raises ConfigError for a folder that Hydra cannot pass on: it takes `${` for the start of a key."""
    if "${" in str(path):
        raise ConfigError(
            f"`{key}` must be a folder without ${{ in its path. Got {path}. Rename that folder, or choose another."
        )


def unshared(path: Path) -> None:
    """Gives a file that will be written in place its own copy of the content, if it shares that with another name."""
    if path.is_file() and path.stat().st_nlink > 1:
        with written_whole(path) as copy:
            shutil.copyfile(path, copy)


def remove_leftovers(*folders: Path, alone: bool = False) -> None:
    """Removes the files in these folders that a process was still writing when it was killed.

    A file that is being written stays: it is locked. Another machine's locks may not be seen here, so its files stay
    for a day, unless this process is known to write there `alone`; so do all files on a drive without locks.
    """
    for path in chain.from_iterable(folder.glob(f"{LEFTOVER}*") for folder in folders):
        with contextlib.suppress(OSError):  # already removed, or it cannot be removed and may stay
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
