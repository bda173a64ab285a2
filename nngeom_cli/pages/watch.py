"""What `nngeom watch` serves, and when it is new."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

from nngeom_cli.errors import NngeomError
from nngeom_cli.pages.report import PageData, page_data
from nngeom_cli.pages.run_view import Defaults
from nngeom_cli.pages.server import PageServer
from nngeom_cli.store.layout import INFO, MANIFEST, SWEEP
from nngeom_cli.store.run import described
from nngeom_cli.store.sweep import load_sweep

__all__ = ["page_server", "version_of"]


def page_server(directory: Path, defaults: Defaults, port: int = 0) -> PageServer:
    """A server of the page of a run or a sweep; `serve_forever` starts it.

    Args:
        directory: of a run or a sweep, started or not.
        defaults: the default values for a config, or None where they are not known.
        port: 0 for any that is free.

    Raises:
        ConfigError: the port cannot be used.
    """

    def data(version: str) -> PageData:
        return page_data(directory, defaults, served=True, version=version)

    return PageServer(lambda: version_of(directory), data, port)


def version_of(directory: Path) -> str:
    """A word that changes whenever a run, or a run of a sweep, has written or ended."""
    marks = hashlib.sha256()
    for folder in _runs_of(directory):
        for name in (INFO, MANIFEST, SWEEP):
            with contextlib.suppress(OSError):
                state = (folder / name).stat()
                marks.update(f"{name} {state.st_mtime_ns} {state.st_size} {state.st_ino};".encode())
        with contextlib.suppress(NngeomError, OSError):
            marks.update(described(folder, verify=False).status.encode())  # its process may have been killed
    return marks.hexdigest()[:16]


def _runs_of(directory: Path) -> Iterator[Path]:
    yield directory
    if (directory / SWEEP).exists():
        yield from (directory / job.directory for job in load_sweep(directory).jobs)
