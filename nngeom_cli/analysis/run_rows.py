"""The runs below some folders, each as a row: its directory, status, config and final measurements."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nngeom_cli.analysis.data import data_statistics
from nngeom_cli.analysis.grid import grid_statistics
from nngeom_cli.analysis.path import path_statistics
from nngeom_cli.analysis.plane import plane_statistics
from nngeom_cli.analysis.statistic import CONTROLS
from nngeom_cli.config.nested import leaves
from nngeom_cli.errors import NngeomError, beginning_of
from nngeom_cli.store.layout import INFO
from nngeom_cli.store.run import FINISHED, Run, described, load_run

__all__ = ["OF_SEEDS", "Row", "grouped_by_config", "read_row"]

STATISTICS = {"grid": grid_statistics, "path": path_statistics, "plane": plane_statistics, "data": data_statistics}
LONGEST_NOTE = 1000  # characters
OF_SEEDS = ("seed", "replicates", "device")  # what runs of one group may differ in


@dataclass(frozen=True)
class Row:
    """A run, or a group of them.

    Attributes:
        runs: directories.
        status: of the run; of a group, the number of runs with each status.
        config: by key as typed, `optimizer.lr`.
        values: metrics after the last epoch, each over replicates (and pairs or planes).
        note: anything else that the reader should know.
    """

    runs: list[Path]
    status: str
    config: dict[str, Any]
    values: dict[str, xr.DataArray]
    note: str = ""

    @property
    def networks(self) -> int:
        """The number of networks in the row."""
        return max((values.sizes["replicate"] for values in self.values.values()), default=0)


def read_row(directory: Path) -> Row:
    """The row of one run."""
    config: dict[str, Any] = {}
    try:
        config = dict(leaves(described(directory, verify=True).config))
        run = load_run(directory)
        if run.status not in FINISHED:
            return Row([directory], run.status, config, {}, _progress(run))
        run.look_through()
        values = final_metrics(run)
        lost = np.isnan(values["loss"])
        values |= statistics_of(run, np.asarray(~lost))
        note = f"{int(lost.sum())} of {lost.size} replicates diverged" if lost.any() else ""
        return Row([directory], run.status, config, values, note)
    except FileNotFoundError as error:
        missing = INFO not in {path.name for path in directory.glob(INFO)}
        return Row([directory], "not started" if missing else "damaged", config, {}, "" if missing else str(error))
    except Exception as error:  # one damaged run must not cost the other rows
        what = str(error) if isinstance(error, NngeomError) else f"{type(error).__name__}: {error}"
        return Row([directory], "damaged", config, {}, _note(what))


def _progress(run: Run) -> str:
    """How far an unfinished run has come, and what stopped it."""
    epochs = run.config["optimizer"]["epochs"]
    try:
        reached = f"epoch {run.history.epoch.max()} of {epochs}"
    except FileNotFoundError:
        reached = f"epoch 0 of {epochs}"
    error = str(run.info.get("error") or "")
    return _note(f"{reached}{': ' if error else ''}{error}")


def _note(text: str) -> str:
    """Text on one line; the start of a long one."""
    return beginning_of(" ".join(text.split()), LONGEST_NOTE)


def final_metrics(run: Run) -> dict[str, xr.DataArray]:
    """The metrics of each replicate in run.json; NaN where the loss is not finite, except `solved`."""
    rows = run.replicates
    seeds = [row["replicate"] for row in rows]
    lost = np.array([row["loss"] is None for row in rows])
    metrics = {}
    for name in rows[0]:
        if name != "replicate":
            numbers = np.array([math.nan if row[name] is None else float(row[name]) for row in rows])
            kept = numbers if name == "solved" else np.where(lost, math.nan, numbers)
            metrics[name] = xr.DataArray(kept, {"replicate": seeds}, "replicate")
    return metrics


def statistics_of(run: Run, kept: NDArray[np.bool_]) -> dict[str, xr.DataArray]:
    """Each statistic of the trained networks, its `.change` under training, and its controls.

    Of a statistic that asks about a boundary `NAME.other` has that control in place of the network's final boundary,
    and `NAME.minus_other` is the paired difference from it; so for each of `CONTROLS`. `band_shared.other` says how
    much of the control's band is that of the network's own boundary.

    Args:
        run: with a first and a last checkpoint; there is no `.change` where they are the same.
        kept: which networks have a value, and are other replicates to each other.
    """
    geometry, kind = run.first_and_last, run.first_and_last.attrs["kind"]
    some = geometry.isel(replicate=kept) if kept.any() else geometry
    statistics = STATISTICS[kind](some, boundaries=["final", *CONTROLS[kind]])
    trained = geometry.indexes["epoch"].is_unique
    values = {}
    for name in statistics:
        if f"{name}_undefined" not in statistics:
            continue
        for layer in statistics.layer.values.tolist():
            label = str(name) if statistics.sizes["layer"] == 1 else f"{name}.layer{layer}"
            of_layer = statistics[name].sel(layer=layer, drop=True)
            final = of_layer.sel(boundary="final", drop=True) if "boundary" in of_layer.dims else of_layer
            before, after = (final.isel(epoch=epoch, drop=True) for epoch in (0, -1))
            values[label] = after
            if trained:
                values[f"{label}.change"] = after - before
            for control in CONTROLS[kind] if "boundary" in of_layer.dims else ():
                theirs = of_layer.sel(boundary=control, drop=True).isel(epoch=-1, drop=True)
                values |= {f"{label}.{control}": theirs, f"{label}.minus_{control}": after - theirs}
    if "band_shared" in statistics:
        last = statistics.band_shared.isel(epoch=-1, drop=True)
        values |= {f"band_shared.{control}": last.sel(boundary=control, drop=True) for control in CONTROLS[kind]}
    at = {"replicate": geometry.replicate.values}
    lost = xr.DataArray(~kept, at, "replicate")
    return {name: of_network.reindex(at).where(~lost) for name, of_network in values.items()}


def grouped_by_config(rows: Sequence[Row]) -> Iterator[Row]:
    """One row for the finished runs of each config, whatever their seeds; then the other runs."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.values:
            same = {key: value for key, value in row.config.items() if key not in OF_SEEDS}
            groups.setdefault(json.dumps(same, sort_keys=True), []).append(row)
    for group in groups.values():
        counts = Counter(row.status for row in group)
        values = {
            name: xr.concat([row.values[name] for row in group if name in row.values], "replicate", join="override")
            for name in group[0].values
        }
        configs = {key: [row.config.get(key) for row in group] for key in group[0].config}
        yield Row(
            runs=[run for row in group for run in row.runs],
            config={key: found[0] if found.count(found[0]) == len(found) else found for key, found in configs.items()},
            status=", ".join(f"{count} {status}" if len(group) > 1 else status for status, count in counts.items()),
            values={name: pooled.drop_duplicates("replicate") for name, pooled in values.items()},
            note="; ".join(row.note for row in group if row.note),
        )
    yield from (row for row in rows if not row.values)
