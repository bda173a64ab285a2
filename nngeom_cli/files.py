"""Files that are whole or absent."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from nngeom_cli.errors import ConfigError

__all__ = [
    "read_json",
    "refuse_interpolation",
    "refuse_link",
    "refuse_links",
    "remove_leftovers",
    "unshared",
    "written_whole",
]

LEFTOVER = ".half-"
LARGEST_JSON, DEEPEST_JSON = 2**26, 20  # a sweep of 20,000 jobs has 40 MB


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; what is written there takes its place at the end, or vanishes on an error.

    After a power cut `path` is the old file or the new one, too: the data reach the disk before the name does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle, name = tempfile.mkstemp(prefix=f"{LEFTOVER}{path.stem}-", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        error.filename = str(path.parent)  # what cannot be written, not a name that nobody has heard of
        raise
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _synchronise(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        _synchronise(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no file, larger or nested deeper than any of ours, or holds something else.
    """
    if not path.is_file():
        raise ValueError("it is no file")
    with path.open("rb") as file:
        text = file.read(LARGEST_JSON + 1)
    if len(text) > LARGEST_JSON:
        raise ValueError(f"it has more than {LARGEST_JSON} bytes")
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
    for folder, folders, names in os.walk(directory):
        for name in (*folders, *names):
            refuse_link(Path(folder, name))


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


def remove_leftovers(directory: Path) -> None:
    """Removes what a process left half written when it was killed, in `directory` and below."""
    for path in directory.rglob(f"{LEFTOVER}*"):
        path.unlink()
