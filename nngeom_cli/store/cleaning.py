"""Drops the checkpoints of a finished run, and keeps all that figures, tables and films are made from."""

from __future__ import annotations

import contextlib
import datetime
import os
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path

from nngeom_cli.errors import ConfigError
from nngeom_cli.store.layout import CHECKPOINTS, MANIFEST, epoch_of
from nngeom_cli.store.run import Run, load_run
from nngeom_cli.store.run_directory import RunDirectory
from nngeom_cli.store.run_info import CLEANED, FINISHED
from nngeom_cli.system.atomic import refuse_links
from nngeom_cli.system.held_folder import require_held
from nngeom_cli.system.writer import sole_writer

__all__ = ["Droppable", "clean", "droppable"]


@dataclass(frozen=True)
class Droppable:
    """The checkpoints of a run.

    Attributes:
        run: the run.
        names: of the files in its folder of checkpoints.
        size: their bytes.
    """

    run: Run
    names: list[str]
    size: int


def droppable(directory: Path) -> Droppable:
    """The checkpoints of a run that can do without them: it has ended, and its other files are whole.

    Raises:
        FileNotFoundError: the directory holds no run.
        ConfigError: the run has not ended, or something in it is a link.
        DamageError: one of its files is damaged, which only checkpoints could repair.
    """
    refuse_links(directory)
    run = load_run(directory)
    if run.status not in FINISHED:
        path = shlex.quote(str(directory))
        what = "Wait for it." if run.status == "running" else f"`nngeom resume {path}` completes it."
        raise ConfigError(f"`{directory}` must be a run that has ended. Got one that is {run.status}. {what}")
    for name in run.manifest or ():
        if not name.startswith(f"{CHECKPOINTS}/"):
            run.file(name)
    names, size = [], 0
    with contextlib.suppress(FileNotFoundError), os.scandir(directory / CHECKPOINTS) as entries:
        for entry in entries:
            about = entry.stat(follow_symlinks=False)
            if epoch_of(f"{CHECKPOINTS}/{entry.name}") >= 0 and stat.S_ISREG(about.st_mode):
                names.append(entry.name)
                size += about.st_size
    return Droppable(run, sorted(names), size)


def clean(directory: Path) -> Droppable:
    """Drops the checkpoints of a run. Wherever it is cut off, the run can be read, and can be cleaned again.

    First run.json says that the run has none, then SHA256SUMS; then the files go, one by one.

    Raises:
        FileNotFoundError: the directory holds no run.
        ConfigError: the run has not ended, another process writes into it, or something in it is a link.
        DamageError: one of its other files is damaged.
        FolderError: it cannot be written.
    """
    droppable(directory)  # before a lock is written into it
    with sole_writer(directory):
        found = droppable(directory)
        if not found.names:
            return found
        store = RunDirectory(directory, found.run.info)
        if CLEANED not in store.info:
            store.update(**{CLEANED: datetime.datetime.now(datetime.timezone.utc).isoformat()})
        manifest = found.run.manifest or {}
        store.checksums = {name: value for name, value in manifest.items() if not name.startswith(f"{CHECKPOINTS}/")}
        if (directory / MANIFEST).exists():
            store.write_manifest()
        folder = os.open(directory / CHECKPOINTS, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            for name in found.names:
                require_held(directory / CHECKPOINTS / name)
                os.unlink(name, dir_fd=folder)  # in the folder that was looked at, whatever has its name now
        finally:
            os.close(folder)
        with contextlib.suppress(OSError):  # something else lies in it
            (directory / CHECKPOINTS).rmdir()
    return found
