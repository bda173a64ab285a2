"""Lets only one process at a time write into a folder."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from nngeom_cli.errors import ConfigError, FolderError, unwritable
from nngeom_cli.system.atomic import refuse_links
from nngeom_cli.system.held_folder import RESUME, held

__all__ = ["sole_writer"]

LOCK = ".lock"


@contextlib.contextmanager
def sole_writer(directory: Path) -> Iterator[None]:
    """Makes this process the only writer in `directory` inside the block. Its lock ends with the process, in any case.

    It also holds between machines that share the drive; a drive without locks is refused.

    Raises:
        ConfigError: another process writes there, or something in it is a link.
        FolderError: it cannot be written or locked, or it was moved or deleted inside the block.
    """
    import fcntl

    refuse_links(directory)
    with held(directory, RESUME), contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context((directory / LOCK).open("a+"))
        except OSError as error:
            raise unwritable(directory, error) from error
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock's, training processes do not inherit it
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise FolderError(
                    f"`{directory}` must be on a drive that can lock files. Got: {error.strerror}. Choose another."
                ) from error
            file.seek(0)
            raise ConfigError(
                f"`{directory}` must have one writer at a time. Got a second one, while {file.read() or 'another'} is "
                "running. Wait for it, or stop it."
            ) from None
        with contextlib.suppress(OSError):  # on a full disk the lock works without a name in it
            if os.fstat(file.fileno()).st_nlink == 1:  # a file that has another name, say in a backup, is not changed
                file.truncate(0)
                os.write(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield
