"""Training on a page: loss and accuracy, and the statistics of the geometry, at each checkpoint."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from nngeom_cli.analysis.bootstrap import over_replicates
from nngeom_cli.analysis.degeneracy import layer_words
from nngeom_cli.analysis.run_statistics import STATISTICS
from nngeom_cli.analysis.statistic import BOUNDARIES, CONTROLS, count_reasons
from nngeom_cli.pages.packing import Numbers
from nngeom_cli.pages.room import evenly

__all__ = ["scores_of", "statistics_through_training"]

MOST_ROWS = 400  # epochs of a history
MOST_CELLS = 4000  # intervals of statistics: a millisecond each
LAYERS = 10  # that statistics are shown of, if a network has more


def scores_of(history: pd.DataFrame, numbers: Numbers) -> dict[str, Any]:
    """Loss and accuracies of each replicate, (replicate, epoch), at up to MOST_ROWS epochs."""
    history = history.drop_duplicates(["epoch", "replicate"], keep="last")
    epochs = np.unique(history.epoch.to_numpy())
    kept = epochs[evenly(len(epochs), MOST_ROWS)]
    scores = [name for name in history.columns if name not in ("epoch", "replicate")]
    tables = {
        name: history.pivot_table(name, "replicate", "epoch", dropna=False).reindex(columns=kept) for name in scores
    }
    return {
        "epochs": kept.tolist(),
        "seeds": tables[scores[0]].index.tolist(),
        "scores": {name: numbers.add(table.to_numpy()) for name, table in tables.items()},
    }


def statistics_through_training(geometry: xr.Dataset, band: float, numbers: Numbers) -> dict[str, Any]:
    """Each statistic of each layer at each checkpoint: replicates, their mean with its interval, and the controls.

    Args:
        geometry: of the networks that count, at all checkpoints that were read.
        band: `figures.band`.
        numbers: takes the arrays.
    """
    kind = geometry.attrs["kind"]
    layers = evenly(geometry.sizes["layer"], LAYERS)
    options: dict[str, Any] = {"band": band} if kind == "grid" else {}
    found = STATISTICS[kind](geometry.isel(layer=layers), boundaries=["final", *CONTROLS[kind]], **options)
    names = [str(name) for name in found if f"{name}_undefined" in found]
    most = max(2, MOST_CELLS // (len(names) * len(layers)))
    found = found.isel(epoch=evenly(found.sizes["epoch"], most))
    return {
        "epochs": found.epoch.values.tolist(),
        "seeds": found.replicate.values.tolist(),
        "layers": {layer: layer_words(geometry.attrs, layer) for layer in found.layer.values.tolist()},
        "controls": {name: words for name, words in BOUNDARIES[kind].items() if name in CONTROLS[kind]},
        "statistics": [
            _statistic(found, name, layer, numbers) for name in names for layer in found.layer.values.tolist()
        ],
    }


def _statistic(found: xr.Dataset, name: str, layer: int, numbers: Numbers) -> dict[str, Any]:
    values, flags = found[name].sel(layer=layer), found[f"{name}_undefined"].sel(layer=layer)
    controls = {}
    if "boundary" in values.dims:
        others = values.mean([dim for dim in values.dims if dim not in ("epoch", "boundary")])
        controls = {
            str(who): numbers.add(others.sel(boundary=who).transpose("epoch").values)
            for who in values.boundary.values
            if who != "final" and np.isfinite(others.sel(boundary=who)).any()
        }
        values, flags = values.sel(boundary="final"), flags.sel(boundary="final")
    over = over_replicates(values, np.random.default_rng(0))
    within = [dim for dim in values.dims if dim not in ("epoch", "replicate")]
    reasons = [f"{reason.replace('_', ' ')} ({count})" for reason, count in count_reasons(flags.values)]
    return {
        "name": name,
        "layer": layer,
        "title": str(found[name].attrs["long_name"]),
        "units": str(found[name].attrs["units"]),
        "each": numbers.add(values.mean(within).transpose("replicate", "epoch").values),
        "mean": numbers.add(over.estimate.values),
        "interval": numbers.add(np.stack([over.low.values, over.high.values])),
        "controls": controls,
        "undefined": f"undefined in {flags.values.astype(bool).sum()} of {flags.size}: {', '.join(reasons)}"
        if reasons
        else "",
    }
