"""The networks of several runs, each as a row: its settings, its training, the geometry of its first layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from nngeom_cli.analysis.grid import grid_statistics
from nngeom_cli.analysis.statistic import Array
from nngeom_cli.store.measured import check_measured
from nngeom_cli.store.run import Run
from nngeom_cli.system.progress import Progress

__all__ = ["networks"]


def networks(runs: Sequence[Run]) -> pd.DataFrame:
    """A row for each network of some runs on a grid: its settings, its training, the geometry of its first layer.

    Columns: `width` (of that layer), `parametrization`, `output_scale`, `activation`, `weight_decay`, `seed`; `loss`,
    `accuracy` and, if there is one, `test_accuracy` at the end; over the grid `volume_change`, the root mean square of
    log V trained minus initial over that of log V initial, `initial_log_volume` and `log_volume` (means, nats),
    `initial_curvature` and `curvature` (medians of |R|); and `grid_statistics` of the trained network and, as
    `initial_...`, of the untrained one, for the final boundary. All are NaN for a network that diverged.

    Args:
        runs: those whose last checkpoint was not measured are left out.

    Raises:
        ValueError: a run's probe is not a grid.
    """
    tables = []
    with Progress("run", len(runs)) as progress:
        for place, run in enumerate(runs):
            if "replicates" in run.info and run.first_and_last.indexes["epoch"].is_unique:
                tables.append(_networks_of(run))
            progress.update(place + 1)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _networks_of(run: Run) -> pd.DataFrame:
    config = run.config
    check_measured(run.first_and_last, run.directory)
    geometry = run.first_and_last.isel(layer=[0])
    log_volume, curvature = geometry.log_volume_element.isel(layer=0), abs(geometry.ricci_scalar).isel(layer=0)
    first, last = log_volume.isel(epoch=0), log_volume.isel(epoch=1)
    over = ("y", "x")
    numbers: dict[str, Any] = {
        "volume_change": np.sqrt(((last - first) ** 2).mean(over) / (first**2).mean(over)),
        "initial_log_volume": first.mean(over),
        "log_volume": last.mean(over),
        "initial_curvature": curvature.isel(epoch=0).median(over),
        "curvature": curvature.isel(epoch=1).median(over),
    }
    measured = grid_statistics(geometry, boundaries=["final"]).sel(boundary="final").isel(layer=0)
    for name in ("volume_band_contrast", "volume_rank_correlation", "curvature_band_contrast"):
        numbers |= {f"initial_{name}": measured[name].isel(epoch=0), name: measured[name].isel(epoch=1)}
    final = pd.DataFrame(run.replicates).drop(columns="solved").rename(columns={"replicate": "seed"})
    final = final.astype({"seed": int} | {name: float for name in final if name != "seed"})
    table = final.assign(**{name: values.values for name, values in numbers.items()})
    architecture = config["architecture"]
    settings = {
        "width": architecture["hidden"][0],
        "parametrization": architecture["parametrization"],
        "output_scale": architecture["output_scale"],
        "activation": architecture["activation"],
        "weight_decay": config["optimizer"]["weight_decay"],
    }
    if architecture["parametrization"] == "ntk" and len(np.atleast_1d(run.first_and_last.attrs["widths"])) == 3:
        table["distance_to_infinite_width"] = _distance_to_infinite_width(first, architecture["activation"])
    table.loc[table.loss.isna(), table.columns != "seed"] = np.nan
    for place, (name, value) in enumerate(settings.items()):
        table.insert(place, name, value)
    return table


def _distance_to_infinite_width(log_volume: xr.DataArray, activation: str) -> Array:
    """Root mean square of log V minus its limit, over that of the limit (weights of variance 1/d, biases of 1)."""
    import torch  # the one number here that is not on disk: figures that do not show it start without torch

    from nngeom_cli.geometry import InfiniteWidth

    radius = np.hypot(log_volume.x, log_volume.y)
    theory = InfiniteWidth(activation, weight_std=math.sqrt(0.5), bias_std=1.0, dimension=2)
    limit = xr.zeros_like(radius) + theory.log_volume_element(torch.from_numpy(radius.values)).numpy()
    difference = ((log_volume - limit) ** 2).mean(("y", "x")) / (limit**2).mean()
    distance: Array = np.sqrt(difference).values
    return distance
