"""The run directory as a run writes it: at each moment what lies there can be read, and gone on with."""

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
    GEOMETRY,
    HISTORY,
    INFO,
    checkpoint_name,
    epoch_of,
    geometry_name,
    saved_epochs,
)
from nngeom_cli.system.atomic import written_whole
from nngeom_cli.system.held_folder import place_of, require_held

if TYPE_CHECKING:
    from nngeom_cli.training.checkpoint import Checkpoint

__all__ = ["RunDirectory"]


class RunDirectory:
    """Writes one run.

    Attributes:
        directory: where.
        info: run.json.
        history: what history.csv holds.
        checksums: of history.csv and each file of geometry/ and checkpoints/ that counts, by its name in the directory.
    """

    def __init__(self, directory: Path, info: Mapping[str, Any] | None = None) -> None:
        self.directory = directory
        self.info: dict[str, Any] = dict(info or {})
        self.history = History()
        self.checksums: dict[str, str] = {}

    @property
    def id(self) -> str | None:
        """Names the run, in all that belongs to it. None: the run is from before there was one, and stays as it was."""
        return self.info.get(ID)

    def follow(self) -> None:
        """From now on writes where the directory is now, if it was moved."""
        self.directory = place_of(self.directory)

    def update(self, **info: Any) -> None:
        """Adds to run.json; None takes a key away."""
        self.info = {key: value for key, value in (self.info | info).items() if value is not None}
        with written_whole(self.directory / INFO) as path:
            path.write_text(json.dumps(sealed(self.info) if self.id else self.info, indent=2) + "\n")

    def add_history(self, checkpoint: Checkpoint, replicates: list[int]) -> None:
        """Adds a row a replicate."""
        rows = {"epoch": checkpoint.epoch, "replicate": replicates}
        scores = {"loss": checkpoint.loss, "accuracy": checkpoint.accuracy} | checkpoint.test
        self.history.add(pd.DataFrame(rows | scores))

    def write_geometry(self, epoch: int, dataset: xr.Dataset) -> None:
        """Writes what a probe measured after `epoch` epochs."""
        name = geometry_name(epoch)
        with written_whole(self.directory / name) as path:
            path.write_bytes(netcdf_bytes(dataset.assign_coords(epoch=epoch)))
            self.checksums[name] = checksum(path)

    def write_checkpoint(self, checkpoint: Checkpoint, kept: Collection[int]) -> None:
        """Writes all that is needed to go on from here, then history.csv, then the manifest.

        At each moment the manifest names whole files only, and of history.csv the whole or its beginning, so that a run
        can be read, and go on, wherever it was cut.

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

    def write_history(self) -> None:
        """Writes history.csv."""
        with written_whole(self.directory / HISTORY) as path:
            path.write_bytes(self.history.text())
        self._note_history()

    def rewind(self) -> None:
        """Takes the manifest and history.csv back to what the store has: in this order, as each fits the other then."""
        self._note_history()
        self.write_manifest()
        with written_whole(self.directory / HISTORY) as path:
            path.write_bytes(self.history.text())

    def _note_history(self) -> None:
        if self.id:
            self.checksums[HISTORY] = self.history.checksum()

    def write_again(self, checkpoint: Checkpoint) -> bool:
        """Writes a checkpoint that was damaged, and says whether it is the one that the manifest names; else not."""
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
        """Epochs that the manifest has a file of in `folder`, in order."""
        return sorted(epoch_of(name) for name in self.checksums if name.startswith(f"{folder}/"))

    def remove_rest(self) -> None:
        """Removes the files of checkpoints that the manifest does not name: others have taken their place."""
        paths = [*saved_epochs(self.directory, GEOMETRY).values(), *saved_epochs(self.directory, CHECKPOINTS).values()]
        for path in paths:
            if f"{path.parent.name}/{path.name}" not in self.checksums:
                self._remove(path)

    def _remove(self, path: Path) -> None:
        require_held(path)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()

    def require_files(self) -> None:
        """Raises FolderError unless all is there that the run has written: somebody may have tidied up meanwhile."""
        for name in self.checksums:
            if not (self.directory / name).is_file():
                raise FolderError(
                    f"`{self.directory / name}` must stay where it is while the run is at work. Got: it is gone. "
                    f"`nngeom resume {shlex.quote(str(self.directory))}` makes it again, if it can."
                )

    def read_geometry(self, epoch: int) -> xr.Dataset:
        """What was measured after `epoch` epochs."""
        return read_dataset(self.directory / geometry_name(epoch))

    def divergence(self, last: int) -> list[dict[str, int]] | None:
        """Replicates whose loss is not finite after the last epoch, and since when it is not; None without any."""
        history = self.history.table()
        diverged = []
        for seed, rows in history.groupby("replicate"):
            finite = np.isfinite(rows.loss)
            if not finite[rows.epoch == last].all():
                since = rows.epoch[rows.epoch > rows.epoch[finite].max()] if finite.any() else rows.epoch
                diverged.append({"replicate": int(seed), "epoch": int(since.min())})
        return diverged or None
