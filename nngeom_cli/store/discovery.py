"""Finds runs on disk."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path

from nngeom_cli.errors import DamageError
from nngeom_cli.store.layout import INFO, MANIFEST, SWEEP
from nngeom_cli.store.sweep import load_sweep
from nngeom_cli.system.atomic import paths_below

__all__ = ["find_runs"]


def find_runs(directories: Sequence[Path]) -> list[Path]:
    """Run directories at or below `directories`, in order, each once. Jobs of sweeps count even before they start."""
    found: dict[Path, Path] = {}
    for directory in directories:
        if not directory.is_dir():
            raise FileNotFoundError(f"`{directory}` must be a directory. Got none. See outputs/.")
        below: set[Path] = set()
        for path in paths_below(directory):
            if path.name in (INFO, MANIFEST, ".hydra"):
                below.add(path.parent)
            elif path.name == SWEEP:
                with contextlib.suppress(DamageError):  # its runs are found all the same
                    below |= {path.parent / job.directory for job in load_sweep(path.parent).jobs}
        if not below:
            raise FileNotFoundError(f"`{directory}` must hold runs. Got none. `nngeom run` prints where a run is.")
        for path in sorted(below, key=_by_number):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Sorts 9-xor before 10-xor."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(path))]
