"""The final metrics of a run, and the statistics of its first and last checkpoint, as plain arrays over networks."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nngeom_cli.analysis.data import data_statistics
from nngeom_cli.analysis.degeneracy import layer_word
from nngeom_cli.analysis.geodesic import geodesic_statistics
from nngeom_cli.analysis.grid import grid_statistics
from nngeom_cli.analysis.limit import at_infinite_width
from nngeom_cli.analysis.path import path_statistics
from nngeom_cli.analysis.plane import plane_statistics
from nngeom_cli.analysis.statistic import CONTROLS
from nngeom_cli.store.run import Run

__all__ = ["STATISTICS", "final_metrics", "statistics_of"]

STATISTICS = {
    "grid": grid_statistics,
    "path": path_statistics,
    "geodesic": geodesic_statistics,
    "plane": plane_statistics,
    "data": data_statistics,
}
LIMITED = (
    *("volume_mean", "volume_band_mean", "volume_band_contrast", "volume_rank_correlation", "volume_entropy"),
    *("curvature_mean", "curvature_band_mean", "curvature_band_contrast", "curvature_rank_correlation"),
    "curvature_entropy",
)
Values = dict[str, NDArray[np.float64]]


def final_metrics(run: Run) -> Values:
    """Metrics of each replicate in run.json, `(replicates, 1)`; all but `solved` NaN where the loss is not finite."""
    rows = run.replicates
    lost = np.array([row["loss"] is None for row in rows])
    metrics = {}
    for name in rows[0]:
        if name != "replicate":
            numbers = np.array([math.nan if row[name] is None else float(row[name]) for row in rows])
            metrics[name] = (numbers if name == "solved" else np.where(lost, math.nan, numbers))[:, None]
    return metrics


def statistics_of(run: Run, kept: NDArray[np.bool_]) -> Values:
    """Each statistic of the trained networks, its `.change` under training, and its controls: `(replicates, repeated)`.

    Of a statistic that asks about a boundary `NAME.other` has that control in place of the network's final boundary,
    and `NAME.minus_other` is the paired difference from it; so for each of `CONTROLS`. `band_shared.other` says how
    much of the control's band is that of the network's own boundary. `NAME.infinite_width` is that of the limit of the
    untrained layer, with the network's final boundary.

    Args:
        run: with a first and a last checkpoint; there is no `.change` where they are the same.
        kept: which networks have a value, and are other replicates to each other.
    """
    geometry, kind = run.first_and_last, run.first_and_last.attrs["kind"]
    some = geometry.isel(replicate=kept) if kept.any() else geometry
    statistics = STATISTICS[kind](some, boundaries=["final", *CONTROLS[kind]])
    boundaries = statistics.boundary.values.tolist()
    trained = geometry.indexes["epoch"].is_unique
    layers = statistics.layer.values.tolist()
    words = [layer_word(geometry.attrs, layer).replace("-", "") for layer in layers]
    values: Values = {}
    for name in (str(name) for name in statistics if f"{name}_undefined" in statistics):
        asks = "boundary" in statistics[name].dims
        numbers = _by_boundary(statistics[name])
        of_layer = "layer" in statistics[name].dims
        for place, word in enumerate(words if of_layer else words[:1]):
            label = f"{name}.{word}" if len(layers) > 1 and of_layer else name
            before, after = numbers[0, 0, place], numbers[0, -1, place]
            values[label] = after
            if trained:
                values[f"{label}.change"] = after - before
            for control in CONTROLS[kind] if asks else ():
                theirs = numbers[boundaries.index(control), -1, place]
                values |= {f"{label}.{control}": theirs, f"{label}.minus_{control}": after - theirs}
    limit = at_infinite_width(some)
    if limit is not None:
        at_limit = STATISTICS[kind](limit, boundaries=["final"])
        for name in (name for name in LIMITED if name in at_limit):
            numbers = _by_boundary(at_limit[name])
            for place, word in enumerate(words):
                label = name if len(layers) == 1 else f"{name}.{word}"
                values[f"{label}.infinite_width"] = numbers[0, 0, place]
    if "band_shared" in statistics:
        shared = statistics.band_shared.transpose("boundary", "epoch", "replicate").values[:, -1]
        for control in CONTROLS[kind]:
            values[f"band_shared.{control}"] = shared[boundaries.index(control)][:, None]
    return {name: _among_all(of_network, kept) for name, of_network in values.items()}


def _by_boundary(statistic: xr.DataArray) -> NDArray[np.float64]:
    """`(boundary, epoch, layer, replicate, repeated)`, with one boundary, the final one, where it asks about none."""
    named = statistic if "boundary" in statistic.dims else statistic.expand_dims(boundary=["final"])
    named = named if "layer" in named.dims else named.expand_dims("layer")
    ordered = named.transpose("boundary", "epoch", "layer", "replicate", ...)
    return np.asarray(ordered.values, dtype=float).reshape(*ordered.shape[:4], -1)


def _among_all(values: NDArray[np.float64], kept: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Values of the networks that are kept, NaN for the others."""
    if kept.all():
        return values
    whole = np.full((len(kept), values.shape[1]), math.nan)
    if kept.any():
        whole[kept] = values
    return whole
