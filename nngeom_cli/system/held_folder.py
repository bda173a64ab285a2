"""Folders that are held open while files are written into them, and so are known by identity, not by name.

A folder that is moved, renamed or deleted in that time is not created again, and one put in its place stays untouched.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from nngeom_cli.errors import FolderError, unwritable

__all__ = ["RESUME", "held", "place_of", "require_held", "room_for", "trouble_of"]

RESUME = "nngeom resume"


class Held:
    """A folder that is held open.

    Attributes:
        path: where it was opened.
        command: what continues after a move, if it takes the new place as an argument.
        used: folders in it that have been written into; none is created twice.
    """

    def __init__(self, path: Path, command: str | None) -> None:
        self.path, self.command = path, command
        self.used: set[Path] = set()
        self._handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def close(self) -> None:
        """Releases the folder."""
        os.close(self._handle)

    def place(self) -> Path | None:
        """Where it is now; None if it is deleted or the system does not say."""
        name = self._name()
        return name if name is not None and self._is_at(name) else None

    def trouble(self) -> FolderError | None:
        """The error if its path no longer leads to it; None if it does."""
        if self._is_at(self.path) or str(self._name()) == os.path.realpath(self.path):  # some drives renumber folders
            return None
        return self.lost(self.path, self.place())

    def lost(self, path: Path, place: Path | None = None) -> FolderError:
        """The error for the folder, or one in it, that has moved to `place`; None if that is unknown."""
        got = "it was moved or deleted" if place is None else f"it was moved to {place}"
        words = "FOLDER" if place is None else shlex.quote(str(place))
        suggestion = "Run the command again." if self.command is None else f"`{self.command} {words}` continues there."
        if self.command is not None and place is None:
            suggestion = f"If it was moved, {suggestion}"
        return FolderError(f"`{path}` must stay where it is while nngeom writes into it. Got: {got}. {suggestion}")

    def _name(self) -> Path | None:
        """Its name now, if the system says; for a deleted folder a name that does not exist."""
        try:
            return Path(f"/proc/self/fd/{self._handle}").readlink()
        except OSError:
            return None

    def _is_at(self, path: Path) -> bool:
        try:
            return os.path.samestat(path.stat(), os.fstat(self._handle))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
                return False
            raise


_open: list[Held] = []  # in this process, the outermost first


@contextlib.contextmanager
def held(directory: Path, command: str | None = None) -> Iterator[None]:
    """Holds a folder open inside the block; each write of this process into it checks that it is still in its place.

    Args:
        directory: an existing one.
        command: what continues after a move, if it takes the new place as an argument: `nngeom resume`.

    Raises:
        FolderError: it cannot be opened, or it was moved or deleted, even if that first raised another error.
    """
    require_held(directory)
    try:
        folder = Held(directory, command)
    except OSError as error:
        raise unwritable(directory, error) from error
    _open.append(folder)
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if trouble := folder.trouble():
            raise trouble from error
        raise
    else:
        if trouble := folder.trouble():
            raise trouble
    finally:
        _open.remove(folder)
        folder.close()


def trouble_of(path: Path) -> FolderError | None:
    """The error if a held folder that is or contains `path` was moved or deleted, else None."""
    return next((trouble for folder in _around(path) if (trouble := folder.trouble())), None)


def require_held(path: Path) -> None:
    """Raises FolderError if a held folder that is or contains `path` was moved or deleted."""
    if trouble := trouble_of(path):
        raise trouble


def place_of(directory: Path) -> Path:
    """Where a held folder is now, as far as known."""
    places = [folder.place() for folder in _around(directory) if folder.path == directory]
    return next((place for place in places if place is not None), directory)


def room_for(path: Path) -> None:
    """Creates the folder for a file; inside a held folder, only if nothing was written into it before.

    Raises:
        FolderError: a held folder, or one in it that has been written into, was moved or deleted.
    """
    require_held(path)
    folders, parent = _around(path), path.parent
    if not folders:
        parent.mkdir(parents=True, exist_ok=True)
    elif parent != folders[-1].path and parent not in folders[-1].used:
        parent.mkdir(exist_ok=True)
        folders[-1].used.add(parent)
    elif not parent.is_dir():
        raise folders[-1].lost(parent)


def _around(path: Path) -> list[Held]:
    return [folder for folder in tuple(_open) if path.is_relative_to(folder.path)]
