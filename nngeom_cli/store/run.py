"""A run, read from its directory."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr

from nngeom_cli.errors import DamageError, one_line, one_of, shown
from nngeom_cli.store.arrays import read_dataset
from nngeom_cli.store.checkpoints import read_weights
from nngeom_cli.store.checksums import ID, beginning, damaged, fault, read_manifest
from nngeom_cli.store.history import parsed
from nngeom_cli.store.html import shown_in_notebook
from nngeom_cli.store.layout import (
    CHECKPOINTS,
    DISPLAY,
    GEOMETRY,
    HISTORY,
    INFO,
    MANIFEST,
    checkpoint_name,
    epoch_of,
    geometry_name,
    saved_epochs,
    state_name,
)
from nngeom_cli.store.run_info import (
    FINISHED,
    OTHERWISE,
    described_info,
    probed_epochs,
    refuse_cleaned,
    refuse_lost,
    status_of,
)
from nngeom_cli.system.atomic import read_whole
from nngeom_cli.system.memory import available_memory

if TYPE_CHECKING:
    from torch import Tensor

    from nngeom_cli.geometry import MLPFeatureMap, ModuleFeatureMap, PredictionFeatureMap


__all__ = ["FINISHED", "Run", "described", "joined", "load_run", "refuse_lost"]

ROOM = 2**30
SHARE = 4  # a history may take 1 / SHARE of the free memory: its table is larger
T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """A run on disk. Files other than run.json and SHA256SUMS are read when they are first needed.

    Attributes:
        directory: its run directory.
        info: the content of run.json.
        manifest: checksums of its files by name, with which each file that is read must agree; None checks nothing.
        thinned: how many checkpoints were measured, if `geometry` has only some of them; 0 if it has all.
        chosen: epochs that `geometry` has; None if it has all.
    """

    directory: Path
    info: dict[str, Any] = field(repr=False)  # pages of it
    manifest: Mapping[str, str] | None = field(default=None, repr=False)
    thinned: int = 0
    chosen: Collection[int] | None = None

    @property
    def status(self) -> str:
        """running, complete, diverged, interrupted or failed; interrupted also where the process of a run has ended."""
        return status_of(self.info)

    @property
    def config(self) -> dict[str, Any]:
        """The whole config of the run."""
        if "config" not in self.info:
            raise DamageError(f"`{self.directory / INFO}: config` must be given. Got nothing. {OTHERWISE}")
        return dict(self.info["config"])

    @functools.cached_property
    def history(self) -> pd.DataFrame:
        """Loss and accuracy by epoch and replicate; those of test examples, and a volume penalty, if there are any."""
        return self._consistent(Run._read_history)

    @functools.cached_property
    def geometry(self) -> xr.Dataset:
        """The geometry at all probed checkpoints, along `epoch`: `run.geometry.ricci_scalar.sel(epoch=2000)`."""
        return self._consistent(lambda run: run._joined(run._to_be_read()))

    @functools.cached_property
    def display(self) -> xr.Dataset | None:
        """One replicate on a finer grid, at the epochs that heatmaps show; None where it was not measured, or deleted.

        Raises:
            DamageError: the file is not as the run wrote it.
        """
        path, expected = self.directory / DISPLAY, self.info.get("display")
        if expected is None or not path.is_file():
            return None
        if self.manifest is not None and (what := fault(path, expected)):
            raise DamageError(
                f"`{path}` must be as the run wrote it. Got: {what}. Delete it: heatmaps are drawn without it, coarser."
            )
        return read_dataset(path)

    @functools.cached_property
    def first_and_last(self) -> xr.Dataset:
        """`geometry` at the first and last probed checkpoints only, which is quicker to read."""
        return self._consistent(lambda run: run._joined([run._measured()[place] for place in (0, -1)]))

    @property
    def replicates(self) -> list[dict[str, Any]]:
        """Final metrics of each replicate, as in run.json, in the order of `geometry.replicate`."""
        rows: list[dict[str, Any]] = self.info["replicates"]
        seeds = [row["replicate"] for row in rows]
        if seeds != self.first_and_last.replicate.values.tolist():
            key = f"{self.directory / INFO}: replicates"
            raise DamageError(f"`{key}` must be those that were measured. Got {shown(seeds)}. Copy it again.")
        return rows

    def drawable(self, most: int, room: int = ROOM, keep: Collection[int] = ()) -> Run:
        """The same run with only as many measured checkpoints as a picture can show and memory should hold.

        They are evenly spaced and include the first and the last.

        Args:
            most: number of checkpoints, at least 2.
            room: bytes that `geometry` may take; two checkpoints may take more.
            keep: epochs that stay, if they were measured.
        """
        epochs = self._consistent(Run._measured)
        largest = max((self.directory / geometry_name(epoch)).stat().st_size for epoch in epochs)
        most = max(2, min(most, room // max(1, largest)))
        if len(epochs) <= most:
            return self
        places = {round(place * (len(epochs) - 1) / (most - 1)) for place in range(most)}
        chosen = {epochs[place] for place in places} | {epoch for epoch in keep if epoch in epochs}
        return replace(self, thinned=len(epochs), chosen=frozenset(chosen))

    def each_checkpoint(self) -> Iterator[xr.Dataset]:
        """The geometry at each probed checkpoint, one at a time; `geometry` is read first."""
        for epoch in self._consistent(Run._measured) if self.thinned else self.geometry.epoch.values.tolist():
            if self.chosen is None or epoch in self.chosen:
                yield self.geometry.sel(epoch=epoch)
            else:
                yield replace(self, chosen=frozenset([epoch])).geometry.squeeze("epoch")

    def parameters(self, epoch: int) -> list[Tensor]:
        """Weights of each layer after `epoch` epochs, `(replicates, out, in + 1)`, the bias as last column.

        In the ntk parametrization these are W, and the layer uses W / sqrt(in). Of convolutional, residual and
        `layer_norm` networks they are the parameters as torch has them, each with an axis of replicates: of each layer
        its weight and its bias, then the gain and the bias of its `layer_norm`.
        """
        import torch

        refuse_cleaned(self.directory, self.info)
        if "recorded" in self.config:
            path = self.directory / state_name(int(epoch))
            raise ValueError(
                f"`parameters` must be asked of a run of `nngeom run`. Got one of a Recorder. "
                f"`torch.load({str(path)!r}, weights_only=True)` is the state_dict."
            )
        written = [epoch_of(name) for name in self.manifest or () if name.startswith(f"{CHECKPOINTS}/")]
        saved = sorted({*saved_epochs(self.directory, CHECKPOINTS), *(epoch for epoch in written if epoch >= 0)})
        if epoch not in saved:
            suggestion = f"Choose from {', '.join(map(str, saved))}." if saved else "The run has no checkpoints."
            raise FileNotFoundError(f"`epoch` must be one that was saved. Got {shown(epoch)}. {suggestion}")
        name = checkpoint_name(int(epoch))
        weights = self._consistent(lambda run: read_weights(run.file(name)))
        return [torch.from_numpy(layer) for layer in weights]

    def feature_map(self, epoch: int, layer: int | str) -> MLPFeatureMap | ModuleFeatureMap | PredictionFeatureMap:
        """Feature map of a layer of all replicates after `epoch` epochs, divided by sqrt(n), as it was measured.

        Args:
            epoch: one at which a checkpoint was saved.
            layer: 1 = the first hidden layer; the one past the last = the output, unless that has a scale;
                "prediction", or the number past the output = the probabilities of the classes.

        Returns:
            A feature map for the functions of `nngeom_cli.geometry`. At points `(*batch, d)` they return
            `(replicates, *batch, ...)`, the replicates in the order of `geometry.replicate`.

        Raises:
            FileNotFoundError: no checkpoint was saved at `epoch`.
            ValueError: the networks have no such layer.

        Example:
            >>> run = load_run("outputs/runs/xor/20260101-120000-000000-seed0")    # doctest: +SKIP
            >>> ricci_scalar(run.feature_map(epoch=2000, layer=1), [0.0, 0.0]).shape    # doctest: +SKIP
            torch.Size([8])
        """
        from nngeom_cli.config.loader import load_config
        from nngeom_cli.config.probe import PREDICTION
        from nngeom_cli.config.recorded import require_plugins
        from nngeom_cli.geometry import PredictionFeatureMap
        from nngeom_cli.training.make import make_network

        refuse_cleaned(self.directory, self.info)
        if "recorded" in self.config:
            path = str(self.directory / state_name(int(epoch)))
            raise ValueError(
                "`feature_map` must be asked of a run of `nngeom run`. Got one of a Recorder. Load the state_dict "
                f"{path!r} into your model, and take ModuleFeatureMap(model, name)."
            )
        require_plugins(self.info)
        config = load_config(self.config)
        architecture, hidden = config.architecture, config.architecture.depth
        layers: list[Any] = list(range(1, hidden + 1 + (architecture.output_scale is None)))
        if len(layers) > hidden and config.task.outputs > 1:
            layers.append(PREDICTION)
        layer = PREDICTION if layer == hidden + 2 and PREDICTION in layers else layer
        if layer not in layers:
            which = "hidden" if len(layers) == hidden else f"{hidden + 1} is the output"
            raise ValueError(f"`layer` must be {one_of(map(str, layers))} ({which}). Got {shown(layer)}.")
        weights = [values.numpy() for values in self.parameters(epoch)]
        network = make_network(config, len(weights[0]))
        if [values.shape for values in weights] != [tuple(shape) for shape in network.shapes]:
            raise damaged(self.directory / checkpoint_name(int(epoch)), "it has another network", self.directory)
        network.load(weights)
        if layer == PREDICTION:
            return PredictionFeatureMap(network.output_map())
        return network.feature_map(int(layer))

    def _repr_html_(self) -> str:
        """What a notebook shows: status, networks and their scores, and the first figure that was drawn."""
        rows = [row for row in self.info.get("replicates", []) if isinstance(row, dict)]
        names = list(rows[0]) if rows else []
        scores = [names, *([_in_short(row.get(name)) for name in names] for row in rows)]
        task = self.info.get("config", {}).get("task", {})
        title = f"{task.get('name', 'run') if isinstance(task, dict) else 'run'}, {self.status}"
        return shown_in_notebook(title, scores, self.directory)

    def look_through(self) -> None:
        """Looks quickly for damage: history.csv must be as it was written, and the other files must exist.

        Raises:
            DamageError: a file is missing, or history.csv is not as it was written.
        """
        self._consistent(Run._require_files)

    def _require_files(self) -> None:
        for name in self.manifest or ():
            if not (self.directory / name).is_file():
                raise damaged(self.directory / name, "it is missing", self.directory)
        self._history_text(self.directory / HISTORY)

    def _consistent(self, read: Callable[[Run], T]) -> T:
        """The result of `read`; if the run was written to since it was loaded, it is loaded again first."""
        try:
            return read(self)
        except DamageError:
            if self.manifest is None:
                raise
            now = load_run(self.directory)
            if (now.manifest, now.info) == (self.manifest, self.info) or now.info.get(ID) != self.info.get(ID):
                raise
            return replace(now, thinned=self.thinned, chosen=self.chosen)._consistent(read)

    def file(self, name: str) -> Path:
        """The path of a file, such as checkpoints/epoch-000200.npz, which must be as the run wrote it.

        Raises:
            DamageError: it is not.
        """
        path = self.directory / name
        if self.manifest is not None and (what := fault(path, self.manifest.get(name))):
            raise damaged(path, what, self.directory)
        return path

    def _read_history(self) -> pd.DataFrame:
        path = self.directory / HISTORY
        try:
            return parsed(self._history_text(path))
        except (ValueError, KeyError, OverflowError) as error:
            what = "columns epoch, replicate, loss, accuracy"
            suggestion = f"`nngeom resume {shlex.quote(str(self.directory))}` repairs it."
            raise DamageError(f"`{path}` must have {what}. Got: {one_line(error)}. {suggestion}") from error

    def _history_text(self, path: Path) -> bytes:
        """The text whose checksum is in the manifest: all of it, or its beginning if an unfinished run wrote more."""
        expected = None if self.manifest is None else self.manifest.get(HISTORY)
        if expected is None:
            if not path.is_file() or (self.manifest is not None and ID in self.info):
                raise FileNotFoundError(
                    f"`{self.directory}` must hold a history. Got none. `nngeom resume` continues it."
                )
            return read_whole(path, available_memory() // SHARE)
        what, text = fault(path, expected), None
        if what is None or (path.is_file() and self.info["status"] not in FINISHED):
            content = read_whole(path, available_memory() // SHARE)
            text = content if what is None else beginning(content, expected)
        if text is None:
            raise damaged(path, str(what), self.directory)
        return text

    def _measured(self) -> list[int]:
        """Epochs whose geometry was saved; a finished run must have all at which it is measured."""
        if self.manifest is None:
            epochs = list(saved_epochs(self.directory, GEOMETRY))
        else:
            epochs = sorted(epoch_of(name) for name in self.manifest if name.startswith(f"{GEOMETRY}/"))
            due = probed_epochs(self.directory / INFO, self.info)
            finished = self.info["status"] in FINISHED
            for epoch in sorted({*epochs, *(due if finished else ())}):
                path = self.directory / geometry_name(epoch)
                if epoch not in due:
                    raise damaged(path, "the run is not measured at that epoch", self.directory)
                if epoch not in epochs or not path.is_file():
                    what = "it is missing" if epoch in epochs else "it is not in the manifest"
                    raise damaged(path, what, self.directory)
        if not epochs:
            raise FileNotFoundError(f"`{self.directory}` must hold probed checkpoints. Got none. Run it to the end.")
        return epochs

    def _to_be_read(self) -> list[int]:
        return [epoch for epoch in self._measured() if self.chosen is None or epoch in self.chosen]

    def _joined(self, epochs: Sequence[int]) -> xr.Dataset:
        """The geometry at several checkpoints, joined along `epoch`."""
        try:
            return joined([self._measured_after(epoch) for epoch in epochs])
        except (ValueError, KeyError) as error:
            if isinstance(error, DamageError):
                raise
            what = f"files with different arrays: {one_line(error)}"
            raise damaged(self.directory / GEOMETRY, what, self.directory) from error

    def _measured_after(self, epoch: int) -> xr.Dataset:
        path = self.file(geometry_name(epoch))
        dataset = read_dataset(path)
        if self.manifest is not None and np.asarray(dataset.coords.get("epoch", -1)).tolist() != epoch:
            raise damaged(path, "it belongs to another epoch", self.directory)
        return dataset


def _in_short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def joined(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """What was measured at several checkpoints, along `epoch`; constants stay without it."""
    measured = [name for name, values in parts[0].items() if "replicate" in values.dims]
    along = xr.concat([part[measured] for part in parts], "epoch", coords="minimal", compat="override", join="exact")
    constant = parts[0].drop_vars([*measured, "epoch"])
    whole: xr.Dataset = xr.merge([along, constant]).assign_attrs(parts[0].attrs)
    return whole


def load_run(directory: Path | str, *, verify: bool = True) -> Run:
    """Reads a run from its directory.

    Every file is checked against the checksums that the run wrote, even while it is running. A run that was saved
    before run.json had an `id` has no checksums of history.csv and of its final metrics.

    Args:
        directory: the run directory.
        verify: False reads the files unchecked.

    Raises:
        FileNotFoundError: the directory holds no run.
        DamageError: its run.json or SHA256SUMS is not what the run wrote. Later reads can raise it too.

    Example:
        >>> run = load_run("outputs/runs/xor/20260101-120000-000000-seed0")    # doctest: +SKIP
        >>> run.geometry.log_volume_element.sel(epoch=2000, layer=1).mean("replicate")    # doctest: +SKIP
    """
    run = described(Path(directory), verify=verify)
    if not verify:
        return run
    manifest, what = read_manifest(run.directory, run.info.get(ID))
    path = run.directory / MANIFEST
    if what is not None and (path.exists() or (ID in run.info and run.info["status"] in FINISHED)):
        raise damaged(path, what, run.directory)
    return Run(run.directory, run.info, manifest)


def described(directory: Path, *, verify: bool) -> Run:
    """A run of which only run.json has been read, checked if `verify`."""
    return Run(directory, described_info(directory, verify=verify))
