"""The networks of several runs, each as a row: its settings, its training, the geometry of its first layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from nngeom_cli.analysis.grid import grid_statistics
from nngeom_cli.analysis.statistic import CONTROLS
from nngeom_cli.store.measured import check_measured
from nngeom_cli.store.run import Run
from nngeom_cli.system.progress import Progress

__all__ = ["networks", "scores"]

OF_GRIDS = (
    "volume_band_mean",
    "volume_band_contrast",
    "volume_rank_correlation",
    "curvature_band_mean",
    "curvature_band_contrast",
)
PLACE = ("y", "x")


def networks(runs: Sequence[Run], *, every_checkpoint: bool = False) -> pd.DataFrame:
    """A row for each network of some runs on a grid: its settings, its training, the geometry of its first layer.

    Columns: `width` (of that layer), `parametrization`, `output_scale`, `activation`, `weight_decay`, `data_seed`,
    `epoch`, `seed`; `loss`, `accuracy` and, if there is one, `test_accuracy`; over the grid, in nats, `volume_change`,
    the root mean square of log V trained minus initial; `volume_spread`, that of two untrained networks, this one and
    the next of its run; `distance_to_infinite_width`, that of log V initial minus its limit (ntk, one hidden layer);
    `log_volume`, the mean; `curvature`, the median of |R|; and, of `grid_statistics`, `OF_GRIDS`, for the network's
    boundary, and with `_other`, `_mirrored` or `_rotated` behind them for those controls of the final one. What begins
    with `initial_` is of the untrained network and the final boundary. All are NaN for a network that diverged.

    Args:
        runs: those whose last checkpoint was not measured are left out.
        every_checkpoint: a row for each network at each checkpoint, not only at the last; controls are of the last.

    Raises:
        ValueError: a run's probe is not a grid.
    """
    tables = []
    with Progress("run", len(runs)) as progress:
        for place, run in enumerate(runs):
            if "replicates" in run.info and run.first_and_last.indexes["epoch"].is_unique:
                tables.append(_networks_of(run, every_checkpoint))
            progress.update(place + 1)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def scores(run: Run) -> pd.DataFrame:
    """The settings and scores of a run's trained networks, a row each, on any probe: the first columns of `networks`.

    Empty where the last checkpoint was not measured.
    """
    if "replicates" not in run.info or not run.first_and_last.indexes["epoch"].is_unique:
        return pd.DataFrame()
    check_measured(run.first_and_last, run.directory)
    return _with_settings(run, _scores(run, every_checkpoint=False).rename(columns={"replicate": "seed"}))


def root_mean_square(difference: xr.DataArray) -> xr.DataArray:
    """Over the grid."""
    mean: xr.DataArray = (difference**2).mean(PLACE)
    root: xr.DataArray = mean**0.5
    return root


def _networks_of(run: Run, every_checkpoint: bool) -> pd.DataFrame:
    geometry = run.geometry if every_checkpoint else run.first_and_last
    check_measured(geometry, run.directory)
    geometry = geometry.isel(layer=[0])
    log_volume, curvature = geometry.log_volume_element.isel(layer=0), abs(geometry.ricci_scalar).isel(layer=0)
    first = log_volume.isel(epoch=0, drop=True)
    means, medians = log_volume.mean(PLACE), curvature.median(PLACE)
    numbers: dict[str, xr.DataArray] = {
        "volume_change": root_mean_square(log_volume - first),
        "volume_spread": _spread(first),
        "initial_log_volume": means.isel(epoch=0, drop=True),
        "log_volume": means,
        "initial_curvature": medians.isel(epoch=0, drop=True),
        "curvature": medians,
    }
    architecture = run.config["architecture"]
    if architecture.get("parametrization") == "ntk" and len(np.atleast_1d(geometry.attrs["widths"])) == 3:
        numbers["distance_to_infinite_width"] = _distance_to_infinite_width(first, architecture["activation"])
    numbers |= _of_grids(geometry, every_checkpoint)
    measured = xr.Dataset(numbers).isel(epoch=slice(1, None)).reset_coords(drop=True)
    table = measured.to_dataframe(dim_order=["epoch", "replicate"]).reset_index()
    table = _scores(run, every_checkpoint).merge(table, on=["epoch", "replicate"]).rename(columns={"replicate": "seed"})
    return _with_settings(run, table)


def _with_settings(run: Run, table: pd.DataFrame) -> pd.DataFrame:
    """The table with the settings of its run before it; NaN for networks that diverged."""
    architecture = run.config["architecture"]
    lost = [row["replicate"] for row in run.replicates if row["loss"] is None]
    table.loc[table.seed.isin(lost), ~table.columns.isin(["seed", "epoch"])] = np.nan
    settings = {
        "width": next(iter(architecture["hidden"]), None),
        "parametrization": architecture.get("parametrization"),
        "output_scale": architecture.get("output_scale"),
        "activation": architecture["activation"],
        "weight_decay": run.config["optimizer"]["weight_decay"],
        "data_seed": run.config.get("task", {}).get("data_seed"),
    }
    for place, (name, value) in enumerate(settings.items()):
        table.insert(place, name, value)
    return table


def _scores(run: Run, every_checkpoint: bool) -> pd.DataFrame:
    """Loss and accuracies of each network at the last checkpoint, and at those before it."""
    final = pd.DataFrame(run.replicates).drop(columns="solved").astype({"replicate": int})
    final = final.astype({name: float for name in final if name != "replicate"})
    final.insert(0, "epoch", run.first_and_last.epoch.values[-1])
    if not every_checkpoint:
        return final
    before = run.history[run.history.epoch.isin(run.geometry.epoch.values[1:-1])]
    return pd.concat([before[[name for name in final if name in before]], final], ignore_index=True)


def _of_grids(geometry: xr.Dataset, every_checkpoint: bool) -> dict[str, xr.DataArray]:
    """Statistics of the trained and of the untrained networks, and their controls."""
    boundary = "own" if every_checkpoint else "final"
    measured = grid_statistics(geometry, boundaries=list(dict.fromkeys(["final", boundary, *CONTROLS["grid"]]))).isel(
        layer=0
    )
    numbers = {}
    for name in OF_GRIDS:
        for end, of in [("", boundary), *((f"_{control}", control) for control in CONTROLS["grid"])]:
            numbers[f"{name}{end}"] = measured[name].sel(boundary=of, drop=True)
            initial = measured[name].sel(boundary=of if end else "final", drop=True).isel(epoch=0, drop=True)
            numbers[f"initial_{name}{end}"] = initial
    return numbers


def _spread(log_volume: xr.DataArray) -> xr.DataArray:
    """Root mean square difference between each untrained network and the next of its run; NaN for a single one."""
    if log_volume.sizes["replicate"] == 1:
        nothing: xr.DataArray = xr.full_like(log_volume.isel(x=0, y=0, drop=True), np.nan)
        return nothing
    return root_mean_square(log_volume - log_volume.roll(replicate=-1))


def _distance_to_infinite_width(log_volume: xr.DataArray, activation: str) -> xr.DataArray:
    """Root mean square of log V minus its limit, in nats (weights of variance 1/d, biases of 1)."""
    import torch  # the one number here that is not on disk: figures that do not show it start without torch

    from nngeom_cli.geometry import InfiniteWidth

    radius = np.hypot(log_volume.x, log_volume.y)
    theory = InfiniteWidth(activation, weight_std=math.sqrt(0.5), bias_std=1.0, dimension=2)
    limit: xr.DataArray = xr.zeros_like(radius) + theory.log_volume_element(torch.from_numpy(radius.values)).numpy()
    return root_mean_square(log_volume - limit)
