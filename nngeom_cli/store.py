"""The run directory: what is written where, and how it is read back. A file appears whole or not at all.

run.json       status, process, command, config, versions, times, device, final metrics of each replicate
history.csv    epoch, replicate, loss, accuracy; test_loss, test_accuracy where examples are kept for testing
geometry/      epoch-000200.nc, one labelled dataset a probed epoch
checkpoints/   epoch-000200.npz: weights, optimizer and generator states, the history until then
SHA256SUMS     checksums of the files of geometry/ and checkpoints/
figures/       pictures, drawn from the files above
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from nngeom_cli.arrays import netcdf_bytes, read_dataset
from nngeom_cli.checkpoints import arrays_of, read_weights
from nngeom_cli.errors import DamageError, one_line, shown
from nngeom_cli.files import checksum, write_manifest, written_whole
from nngeom_cli.process import is_gone

if TYPE_CHECKING:
    from torch import Tensor

    from nngeom_cli.training import Checkpoint

__all__ = ["FIGURES", "Run", "RunDirectory", "load_run"]

INFO = "run.json"
HISTORY = "history.csv"
GEOMETRY = "geometry"
CHECKPOINTS = "checkpoints"
FIGURES = "figures"
SCORES = ("loss", "accuracy", "test_loss", "test_accuracy")  # read to the last digit
STATUSES = ("running", "complete", "diverged", "interrupted", "failed")
INFO_TYPES: dict[str, tuple[type, ...]] = {
    "process": (dict,),
    "command": (str,),
    "config": (dict,),
    "config_hash": (str,),
    "extended_from": (list,),
    "resumed": (list,),
    "replicates": (list,),
    "diverged": (list,),
    "source": (dict,),
    "versions": (dict,),
    "wall_seconds": (float, int),
    "cpu_seconds": (float, int),
    "peak_memory_mib": (float, int),
}
OTHERWISE = "It was changed or damaged: copy it from a backup, or run again."


def geometry_name(epoch: int) -> str:
    return f"{GEOMETRY}/epoch-{epoch:06d}.nc"


def checkpoint_name(epoch: int) -> str:
    return f"{CHECKPOINTS}/epoch-{epoch:06d}.npz"


def epoch_of(name: str) -> int:
    """The epoch of a file that one of the two functions above named; -1 of any other file."""
    found = re.fullmatch(rf"(?:{GEOMETRY}/epoch-([0-9]{{6,18}})\.nc|{CHECKPOINTS}/epoch-([0-9]{{6,18}})\.npz)", name)
    return int(found[1] or found[2]) if found else -1


def saved_epochs(directory: Path, folder: str) -> dict[int, Path]:
    """The files of `folder` in a run directory, by their epoch, in order."""
    paths = {epoch_of(f"{folder}/{path.name}"): path for path in (directory / folder).glob("epoch-*")}
    return {epoch: paths[epoch] for epoch in sorted(paths) if epoch >= 0}


class RunDirectory:
    """Writes one run.

    Attributes:
        directory: where.
        info: run.json.
        history: parts of history.csv.
        checksums: of each file of geometry/ and checkpoints/ that counts, by its name in the directory.
    """

    def __init__(self, directory: Path, info: Mapping[str, Any] | None = None) -> None:
        self.directory = directory
        self.info: dict[str, Any] = dict(info or {})
        self.history: list[pd.DataFrame] = []
        self.checksums: dict[str, str] = {}

    def update(self, **info: Any) -> None:
        """Adds to run.json; None takes a key away."""
        self.info = {key: value for key, value in (self.info | info).items() if value is not None}
        with written_whole(self.directory / INFO) as path:
            path.write_text(json.dumps(self.info, indent=2) + "\n")

    def add_history(self, checkpoint: Checkpoint, replicates: list[int]) -> None:
        """Adds a row a replicate."""
        rows = {"epoch": checkpoint.epoch, "replicate": replicates}
        scores = {"loss": checkpoint.loss, "accuracy": checkpoint.accuracy} | checkpoint.test
        self.history.append(pd.DataFrame(rows | scores))

    def write_geometry(self, epoch: int, dataset: xr.Dataset) -> None:
        """Writes what a probe measured after `epoch` epochs."""
        name = geometry_name(epoch)
        with written_whole(self.directory / name) as path:
            path.write_bytes(netcdf_bytes(dataset.assign_coords(epoch=epoch)))
            self.checksums[name] = checksum(path)

    def write_checkpoint(self, checkpoint: Checkpoint, kept: Collection[int]) -> None:
        """Writes all that is needed to go on from here, then the manifest, then history.csv.

        At each moment the manifest names whole files only, so that a run can go on wherever it was cut.

        Args:
            checkpoint: parameters, optimizer and generator states.
            kept: epochs whose checkpoints are kept; of the others only the last two are.
        """
        history = pd.concat(self.history, ignore_index=True)
        name = checkpoint_name(checkpoint.epoch)
        with written_whole(self.directory / name) as path:
            np.savez(path, allow_pickle=False, **arrays_of(checkpoint, history))
            self.checksums[name] = checksum(path)
        passing = sorted(epoch for epoch in self.epochs(CHECKPOINTS) if epoch not in kept)
        outdated = [checkpoint_name(epoch) for epoch in passing[:-2]]
        for name in outdated:
            del self.checksums[name]
        self.write_manifest()
        self.write_history()
        for name in outdated:
            (self.directory / name).unlink()

    def write_history(self) -> None:
        """Writes history.csv with every digit, so that reading gives the same numbers."""
        with written_whole(self.directory / HISTORY) as path:
            pd.concat(self.history, ignore_index=True).to_csv(path, index=False, na_rep="nan")

    def write_manifest(self) -> None:
        """Writes the checksums."""
        write_manifest(self.directory, self.checksums)

    def epochs(self, folder: str) -> list[int]:
        """Epochs that the manifest has a file of in `folder`, in order."""
        return sorted(epoch_of(name) for name in self.checksums if name.startswith(f"{folder}/"))

    def forget(self, names: Sequence[str]) -> None:
        """Takes files out of the manifest, then away."""
        self.checksums = {name: value for name, value in self.checksums.items() if name not in names}
        self.write_manifest()
        for name in names:
            (self.directory / name).unlink(missing_ok=True)

    def read_geometry(self, epoch: int) -> xr.Dataset:
        """What was measured after `epoch` epochs."""
        return read_dataset(self.directory / geometry_name(epoch))

    def divergence(self, last: int) -> list[dict[str, int]] | None:
        """Replicates whose loss is not finite after the last epoch, and since when it is not; None without any."""
        history = pd.concat(self.history)
        diverged = []
        for seed, rows in history.groupby("replicate"):
            finite = np.isfinite(rows.loss)
            if not finite[rows.epoch == last].all():
                since = rows.epoch[rows.epoch > rows.epoch[finite].max()] if finite.any() else rows.epoch
                diverged.append({"replicate": int(seed), "epoch": int(since.min())})
        return diverged or None


@dataclass(frozen=True)
class Run:
    """A run as it lies on disk. Nothing is read before it is asked for, run.json apart.

    Attributes:
        directory: where it lies.
        info: run.json.
    """

    directory: Path
    info: dict[str, Any]

    @property
    def status(self) -> str:
        """running, complete, diverged, interrupted or failed; one that is running without a process is interrupted."""
        status = str(self.info["status"])
        return "interrupted" if status == "running" and is_gone(self.info.get("process", {})) else status

    @property
    def config(self) -> dict[str, Any]:
        """The whole config of the run."""
        if "config" not in self.info:
            raise DamageError(f"`{self.directory / INFO}: config` must be given. Got nothing. {OTHERWISE}")
        return dict(self.info["config"])

    @functools.cached_property
    def history(self) -> pd.DataFrame:
        """Loss and accuracy: columns epoch, replicate, loss, accuracy, and test_loss, test_accuracy if there are."""
        path = self.directory / HISTORY
        if not path.is_file():
            raise FileNotFoundError(f"`{self.directory}` must hold a history. Got none. `nngeom resume` goes on.")
        try:
            history = pd.read_csv(path, converters=dict.fromkeys(SCORES, float), index_col=False)
            return history.astype({"epoch": int, "replicate": int, "loss": float, "accuracy": float})
        except (ValueError, KeyError, OverflowError) as error:
            what = "columns epoch, replicate, loss, accuracy"
            raise DamageError(
                f"`{path}` must have {what}. Got: {one_line(error)}. `nngeom resume` mends it."
            ) from error

    @functools.cached_property
    def geometry(self) -> xr.Dataset:
        """All probed checkpoints, joined along `epoch`: `run.geometry.ricci_scalar.sel(epoch=2000)`."""
        return _joined(self._measured())

    @functools.cached_property
    def first_and_last(self) -> xr.Dataset:
        """`geometry` at the first and at the last probed checkpoint only, which is quicker to read."""
        return _joined([self._measured()[place] for place in (0, -1)])

    def _measured(self) -> list[Path]:
        paths = list(saved_epochs(self.directory, GEOMETRY).values())
        if not paths:
            raise FileNotFoundError(f"`{self.directory}` must hold probed checkpoints. Got none. Run it to the end.")
        return paths

    def parameters(self, epoch: int) -> list[Tensor]:
        """Weights of each layer after `epoch` epochs, `(replicates, out, in + 1)`, the bias as last column.

        In the parametrization ntk these are W, of which the layer uses W / sqrt(in).
        """
        import torch

        path = self.directory / checkpoint_name(epoch)
        if not path.exists():
            saved = ", ".join(map(str, saved_epochs(self.directory, CHECKPOINTS)))
            raise FileNotFoundError(f"`epoch` must be one that was saved. Got {epoch}. Choose from {saved}.")
        return [torch.from_numpy(weights) for weights in read_weights(path)]


def _joined(paths: Sequence[Path]) -> xr.Dataset:
    """What was measured at several checkpoints, along `epoch`."""
    parts = [read_dataset(path) for path in paths]
    measured = [name for name, values in parts[0].items() if "replicate" in values.dims]
    joined = xr.concat(
        [part[measured] for part in parts], dim="epoch", coords="minimal", compat="override", join="exact"
    )
    constant = parts[0].drop_vars([*measured, "epoch"])
    geometry: xr.Dataset = xr.merge([joined, constant]).assign_attrs(parts[0].attrs)
    return geometry


def load_run(directory: Path | str) -> Run:
    """Reads a run directory back.

    Raises:
        FileNotFoundError: the directory holds no run.
        DamageError: its run.json is not what a run writes.

    Example:
        >>> run = load_run("outputs/runs/xor/20260101-120000-000000-seed0")    # doctest: +SKIP
        >>> run.geometry.log_volume_element.sel(epoch=2000, layer=1).mean("replicate")    # doctest: +SKIP
    """
    directory = Path(directory)
    path = directory / INFO
    if not path.is_file():
        raise FileNotFoundError(
            f"`{directory}` must be a run directory. Got one without {INFO}. `nngeom run` prints its own."
        )
    try:
        info = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise DamageError(f"`{path}` must hold JSON. Got: {one_line(error)}. {OTHERWISE}") from error
    if not isinstance(info, dict) or info.get("status") not in STATUSES:
        raise DamageError(f"`{path}` must hold one of the statuses {', '.join(STATUSES)}. Got none. {OTHERWISE}")
    for key, kinds in INFO_TYPES.items():
        if key in info and (isinstance(info[key], bool) or not isinstance(info[key], kinds)):
            raise DamageError(f"`{path}: {key}` must be {kinds[0].__name__}. Got {shown(info[key])}. {OTHERWISE}")
    return Run(directory, info)
