"""Keeps the rows of finished runs, so that a table over many of them need not read them all again.

A row is used again only if run.json and SHA256SUMS are the same to the last byte, if each file that SHA256SUMS names
has the size, times and number in its file system that it had, and if the code that made the row is the same. A kept row
that was cut short is as if there was none. Rows lie in the user's cache folder, and can be deleted at any time.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nngeom_cli.store.layout import INFO, MANIFEST

__all__ = ["recalled", "state_of", "stored"]

PACKAGE = Path(__file__).parent.parent
CODE = ("analysis", "store", "config")  # what a row depends on beside the files of its run
LARGEST = 2**22  # bytes of a file that is looked at
SETTLED = 2.0  # seconds: a file changed again within them may show the same time
UNUSED = 60 * 24 * 60 * 60  # seconds after which a row is removed


@dataclass(frozen=True)
class State:
    """What a row depends on: a hash of it, and when the newest file of the run was changed."""

    hash: str
    changed: float


def state_of(directory: Path) -> State | None:
    """The state of a run's files; None of a run whose rows cannot be kept, such as one that has not ended."""
    try:
        info, manifest = ((directory / name).read_bytes() for name in (INFO, MANIFEST))
        if max(len(info), len(manifest)) > LARGEST:
            return None
        digest = hashlib.sha256(f"{_code()} {len(info)} ".encode() + info + manifest)
        changed = 0.0
        lines = [line for line in manifest.decode().splitlines() if not line.startswith("#")]
        for name in (INFO, MANIFEST, *(line.partition("  ")[2] for line in lines)):
            found = (directory / name).stat()
            seen = (name, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
            digest.update(repr(seen).encode())
            changed = max(changed, found.st_mtime, found.st_ctime)
    except (OSError, ValueError):
        return None
    return State(digest.hexdigest(), changed)


def recalled(directory: Path, state: State | None) -> Any:
    """The content that was kept for a run in that state; None if there is none."""
    place = _place(directory)
    if state is None or place is None:
        return None
    try:
        head, _, body = place.read_bytes().partition(b"\n")
    except OSError:
        return None
    if head.decode(errors="replace") != f"{state.hash} {hashlib.sha256(body).hexdigest()}":
        return None
    with contextlib.suppress(OSError):
        if time.time() - place.stat().st_mtime > UNUSED / 10:
            os.utime(place)
    return json.loads(body)


def stored(directory: Path, state: State | None, content: Any) -> None:
    """Keeps what was computed from a run that was in that state before, if it still is and has settled."""
    place = _place(directory)
    if state is None or place is None or state != state_of(directory) or time.time() - state.changed < SETTLED:
        return
    body = json.dumps(content).encode()
    with contextlib.suppress(OSError):  # a home that is full or write-protected keeps no rows
        place.parent.mkdir(parents=True, exist_ok=True)
        _remove_unused(place.parent)
        handle, name = tempfile.mkstemp(dir=place.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(f"{state.hash} {hashlib.sha256(body).hexdigest()}\n".encode() + body)
            Path(name).replace(place)
        except OSError:
            Path(name).unlink()


def _place(directory: Path) -> Path | None:
    """The file that keeps a run's row; None where there is no cache folder."""
    try:
        named = Path(os.environ.get("XDG_CACHE_HOME", ""))
        cache = named if named.is_absolute() else Path.home() / ".cache"
        name = hashlib.sha256(os.fsencode(os.path.realpath(directory))).hexdigest()
    except (OSError, RuntimeError):
        return None
    return cache / "nngeom" / "rows" / name[:2] / f"{name[2:]}.json"


@functools.cache
def _remove_unused(folder: Path) -> None:
    """Removes rows that were not used for long, once in a process."""
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > UNUSED:
                path.unlink()


@functools.cache
def _code() -> str:
    """A hash of the code that makes a row, and of the libraries that it calls."""
    from importlib.metadata import version

    digest = hashlib.sha256(" ".join(version(name) for name in ("numpy", "scipy", "xarray")).encode())
    for part in CODE:
        for path in sorted((PACKAGE / part).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
