"""The run directory: what is written where, and how it is read back. A file appears whole or not at all.

run.json       status, command, config, versions, times, device, final metrics of each replicate
history.csv    epoch, replicate, loss, accuracy; test_loss, test_accuracy where examples are kept for testing
geometry/      epoch-000200.nc, one labelled dataset a checkpoint
checkpoints/   epoch-000200.npz: weights, optimizer and generator states
figures/       pictures, drawn from the files above
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

if TYPE_CHECKING:
    from torch import Tensor

    from nngeom_cli.training import Checkpoint

__all__ = ["FIGURES", "Run", "RunDirectory", "load_run", "written_whole"]

INFO = "run.json"
HISTORY = "history.csv"
GEOMETRY = "geometry"
CHECKPOINTS = "checkpoints"
FIGURES = "figures"
ENGINE = "h5netcdf"
SCORES = ("loss", "accuracy", "test_loss", "test_accuracy")  # read to the last digit


def epoch_name(epoch: int) -> str:
    return f"epoch-{epoch:06d}"


def saved_epochs(folder: Path, suffix: str) -> dict[int, Path]:
    """The files of a folder that `epoch_name` named, by their epoch, in order."""
    return dict(sorted((int(path.stem.removeprefix("epoch-")), path) for path in folder.glob(f"epoch-*{suffix}")))


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; what is written there takes its place at the end, or vanishes on an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


class RunDirectory:
    """Writes one run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.info: dict[str, Any] = {}
        self.history: list[pd.DataFrame] = []

    def update(self, **info: Any) -> None:
        """Adds to run.json."""
        self.info |= info
        with written_whole(self.directory / INFO) as path:
            path.write_text(json.dumps(self.info, indent=2) + "\n")

    def add_history(self, checkpoint: Checkpoint, replicates: list[int]) -> None:
        """Keeps a row a replicate for history.csv."""
        rows = {"epoch": checkpoint.epoch, "replicate": replicates}
        scores = {"loss": checkpoint.loss, "accuracy": checkpoint.accuracy} | checkpoint.test
        self.history.append(pd.DataFrame(rows | scores))

    def write_history(self) -> None:
        """Writes history.csv: every digit, so that reading gives the same numbers."""
        with written_whole(self.directory / HISTORY) as path:
            pd.concat(self.history).to_csv(path, index=False, na_rep="nan")

    def write_geometry(self, epoch: int, dataset: xr.Dataset) -> None:
        """Writes what a probe measured after `epoch` epochs."""
        with written_whole(self.directory / GEOMETRY / f"{epoch_name(epoch)}.nc") as path:
            dataset.assign_coords(epoch=epoch).to_netcdf(path, engine=ENGINE)

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Writes parameters, optimizer and generator states."""
        arrays = {"generators": checkpoint.generators}
        arrays |= {f"weights.{layer}": values for layer, values in enumerate(checkpoint.weights)}
        for name, layers in checkpoint.optimizer.items():
            arrays |= {f"optimizer.{name}.{layer}": values for layer, values in enumerate(layers)}
        with written_whole(self.directory / CHECKPOINTS / f"{epoch_name(checkpoint.epoch)}.npz") as path:
            np.savez(path, allow_pickle=False, **arrays)


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
        """running, complete, diverged, interrupted or failed."""
        return str(self.info["status"])

    @property
    def config(self) -> dict[str, Any]:
        """The whole config of the run."""
        return dict(self.info["config"])

    @functools.cached_property
    def history(self) -> pd.DataFrame:
        """Loss and accuracy: columns epoch, replicate, loss, accuracy, and test_loss, test_accuracy if there are."""
        return pd.read_csv(self.directory / HISTORY, converters=dict.fromkeys(SCORES, float))

    @functools.cached_property
    def geometry(self) -> xr.Dataset:
        """All probed checkpoints, joined along `epoch`: `run.geometry.ricci_scalar.sel(epoch=2000)`."""
        paths = saved_epochs(self.directory / GEOMETRY, ".nc").values()
        if not paths:
            raise FileNotFoundError(f"`{self.directory}` must hold probed checkpoints. Got none. Run it to the end.")
        parts = [xr.load_dataset(path, engine=ENGINE) for path in paths]
        measured = [name for name, values in parts[0].items() if "replicate" in values.dims]
        joined = xr.concat(
            [part[measured] for part in parts], dim="epoch", coords="minimal", compat="override", join="exact"
        )
        constant = parts[0].drop_vars([*measured, "epoch"])
        geometry: xr.Dataset = xr.merge([joined, constant]).assign_attrs(parts[0].attrs)
        return geometry

    def parameters(self, epoch: int) -> list[Tensor]:
        """Weights of each layer after `epoch` epochs, `(replicates, out, in + 1)`, the bias as last column."""
        import torch

        path = self.directory / CHECKPOINTS / f"{epoch_name(epoch)}.npz"
        if not path.exists():
            saved = ", ".join(map(str, saved_epochs(path.parent, ".npz")))
            raise FileNotFoundError(f"`epoch` must be one that was saved. Got {epoch}. Choose from {saved}.")
        with np.load(path, allow_pickle=False) as arrays:
            layers = sum(name.startswith("weights.") for name in arrays.files)
            return [torch.from_numpy(arrays[f"weights.{layer}"]) for layer in range(layers)]


def load_run(directory: Path | str) -> Run:
    """Reads a run directory back.

    Raises:
        FileNotFoundError: the directory holds no run.

    Example:
        >>> run = load_run("outputs/runs/xor/20260101-120000-000000-seed0")    # doctest: +SKIP
        >>> run.geometry.log_volume_element.sel(epoch=2000, layer=1).mean("replicate")    # doctest: +SKIP
    """
    directory = Path(directory)
    path = directory / INFO
    if not path.exists():
        raise FileNotFoundError(
            f"`{directory}` must be a run directory. Got one without {INFO}. `nngeom run` prints its own."
        )
    return Run(directory, json.loads(path.read_text()))
