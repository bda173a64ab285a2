"""Writes the run directory so that the run can be read and resumed at any moment."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from nngeom_cli.errors import FolderError
from nngeom_cli.store.arrays import netcdf_bytes, read_dataset
from nngeom_cli.store.checkpoints import arrays_of
from nngeom_cli.store.checksums import ID, checksum, sealed, write_manifest
from nngeom_cli.store.history import History
from nngeom_cli.store.layout import (
    CHECKPOINTS,
    DISPLAY,
    GEOMETRY,
    HISTORY,
    INFO,
    checkpoint_name,
    epoch_of,
    geometry_name,
    saved_epochs,
    state_name,
)
from nngeom_cli.system.atomic import written_whole
from nngeom_cli.system.held_folder import place_of, require_held

if TYPE_CHECKING:
    from nngeom_cli.training.checkpoint import Checkpoint

__all__ = ["RunDirectory"]


class RunDirectory:
    """Writes one run.

    Attributes:
        directory: the run directory.
        info: the content of run.json.
        history: the content of history.csv.
        checksums: of history.csv and each valid file of geometry/ and checkpoints/, by its name in the directory.
    """

    def __init__(self, directory: Path, info: Mapping[str, Any] | None = None) -> None:
        self.directory = directory
        self.info: dict[str, Any] = dict(info or {})
        self.history = History()
        self.checksums: dict[str, str] = {}

    @property
    def id(self) -> str | None:
        """Identifies the run in all of its files; None for a run saved before there were ids."""
        return self.info.get(ID)

    def follow(self) -> None:
        """If the directory was moved, writes to its new place from now on."""
        self.directory = place_of(self.directory)

    def update(self, **info: Any) -> None:
        """Adds keys to run.json; None removes a key."""
        self.info = {key: value for key, value in (self.info | info).items() if value is not None}
        with written_whole(self.directory / INFO) as path:
            path.write_text(json.dumps(sealed(self.info) if self.id else self.info, indent=2) + "\n")

    def add_history(self, checkpoint: Checkpoint, replicates: list[int]) -> None:
        """Adds one row per replicate."""
        rows = {"epoch": checkpoint.epoch, "replicate": replicates}
        self.history.add(pd.DataFrame(rows | checkpoint.scores))

    def write_geometry(self, epoch: int, dataset: xr.Dataset) -> None:
        """Writes what a probe measured after `epoch` epochs."""
        name = geometry_name(epoch)
        with written_whole(self.directory / name) as path:
            path.write_bytes(netcdf_bytes(dataset.assign_coords(epoch=epoch)))
            self.checksums[name] = checksum(path)

    def write_display(self, dataset: xr.Dataset) -> None:
        """Writes what is measured for heatmaps only, and its checksum into run.json."""
        with written_whole(self.directory / DISPLAY) as path:
            path.write_bytes(netcdf_bytes(dataset))
            found = checksum(path)
        self.update(display=found)

    def write_checkpoint(self, checkpoint: Checkpoint, kept: Collection[int]) -> None:
        """Writes all that is needed to resume from here, then history.csv, then the manifest.

        At any moment the manifest names only whole files and, for history.csv, the whole or its beginning, so that the
        run can be read and resumed wherever it was cut off.

        Args:
            checkpoint: parameters, optimizer and generator states.
            kept: epochs whose checkpoints are kept; of the others only the last two are.
        """
        name = checkpoint_name(checkpoint.epoch)
        with written_whole(self.directory / name) as path:
            np.savez(path, allow_pickle=False, **arrays_of(checkpoint, self.history.table(), self.id))
            self.checksums[name] = checksum(path)
        passing = sorted(epoch for epoch in self.epochs(CHECKPOINTS) if epoch not in kept)
        outdated = [checkpoint_name(epoch) for epoch in passing[:-2]]
        for name in outdated:
            del self.checksums[name]
        self.write_history()
        self.write_manifest()
        for name in outdated:
            self._remove(self.directory / name)

    def write_state(self, epoch: int, content: bytes) -> None:
        """Writes the state of a user's models after `epoch` epochs, then history.csv, then the manifest."""
        name = state_name(epoch)
        with written_whole(self.directory / name) as path:
            path.write_bytes(content)
            self.checksums[name] = checksum(path)
        self.write_history()
        self.write_manifest()

    def write_history(self) -> None:
        """Writes history.csv."""
        with written_whole(self.directory / HISTORY) as path:
            path.write_bytes(self.history.text())
        self._note_history()

    def rewind(self) -> None:
        """Sets the manifest and then history.csv back to the state held here; in this order they always agree."""
        self._note_history()
        self.write_manifest()
        with written_whole(self.directory / HISTORY) as path:
            path.write_bytes(self.history.text())

    def _note_history(self) -> None:
        if self.id:
            self.checksums[HISTORY] = self.history.checksum()

    def write_again(self, checkpoint: Checkpoint) -> bool:
        """Replaces a damaged checkpoint if the new one has the checksum in the manifest; returns whether it has."""
        history = self.history.table()
        until = history[history.epoch <= checkpoint.epoch]
        name, buffer = checkpoint_name(checkpoint.epoch), io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays_of(checkpoint, until, self.id))
        if hashlib.sha256(buffer.getbuffer()).hexdigest() != self.checksums.get(name):
            return False
        with written_whole(self.directory / name) as path:
            path.write_bytes(buffer.getbuffer())
        return True

    def write_manifest(self) -> None:
        """Writes the checksums."""
        write_manifest(self.directory, self.checksums, self.id)

    def epochs(self, folder: str) -> list[int]:
        """Epochs with a file of `folder` in the manifest, in order."""
        return sorted(epoch_of(name) for name in self.checksums if name.startswith(f"{folder}/"))

    def remove_rest(self) -> None:
        """Removes geometry and checkpoint files that are not in the manifest: others have replaced them."""
        paths = [*saved_epochs(self.directory, GEOMETRY).values(), *saved_epochs(self.directory, CHECKPOINTS).values()]
        for path in paths:
            if f"{path.parent.name}/{path.name}" not in self.checksums:
                self._remove(path)

    def _remove(self, path: Path) -> None:
        require_held(path)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()

    def require_files(self) -> None:
        """Raises FolderError if a file that the run has written is gone: someone may have removed it."""
        for name in self.checksums:
            if not (self.directory / name).is_file():
                raise FolderError(
                    f"`{self.directory / name}` must stay where it is until the run has ended. Got: it is gone. "
                    f"`nngeom resume {shlex.quote(str(self.directory))}` computes it again, if it can."
                )

    def read_geometry(self, epoch: int) -> xr.Dataset:
        """What was measured after `epoch` epochs."""
        return read_dataset(self.directory / geometry_name(epoch))

    def divergence(self, last: int) -> list[dict[str, int]] | None:
        """Replicates whose loss is not finite after the last epoch, and since which epoch; None if all are finite."""
        history = self.history.table()
        diverged = []
        for seed, rows in history.groupby("replicate"):
            finite = np.isfinite(rows.loss)
            if not finite[rows.epoch == last].all():
                since = rows.epoch[rows.epoch > rows.epoch[finite].max()] if finite.any() else rows.epoch
                diverged.append({"replicate": int(seed), "epoch": int(since.min())})
        return diverged or None

    def first_reached(self, accuracy: float) -> list[dict[str, int]]:
        """The first recorded epoch at which each replicate has an accuracy; those that never have it are left out."""
        history = self.history.table()
        first = history[history.accuracy >= accuracy].groupby("replicate").epoch.min()
        return [{"replicate": int(seed), "epoch": int(epoch)} for seed, epoch in first.items()]
