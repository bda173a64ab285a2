"""Measures the network that heatmaps show again, on a finer grid than the statistics need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import xarray as xr

from nngeom_cli.analysis.degeneracy import layer_words
from nngeom_cli.analysis.sampling import sign_flips, undersampled_words
from nngeom_cli.config.probe import GridConfig, PlaneConfig
from nngeom_cli.config.run import Config
from nngeom_cli.figures.draw import MOST_CHECKPOINTS_DRAWN
from nngeom_cli.figures.selection import representative, shown_epochs
from nngeom_cli.probes.grid import grid
from nngeom_cli.probes.plane import plane
from nngeom_cli.runs.context import RunContext
from nngeom_cli.store.checkpoints import read_weights
from nngeom_cli.store.layout import checkpoint_name
from nngeom_cli.store.run import Run
from nngeom_cli.training.network import Network

__all__ = ["display_of", "display_resolution"]

DRAWN = ("log_volume_element", "ricci_scalar", "ricci_scalar_error", "margin", "predicted_class")
MOST_OPERATIONS = 1e11  # about half a minute on a core
LARGEST = float(np.finfo(np.float32).max)


def display_resolution(config: Config, epochs: int) -> int | None:
    """Points per side of the finer grid: as configured, fewer where that takes long; None where the probe is as fine.

    Args:
        config: of the run.
        epochs: how many checkpoints are measured.
    """
    probe, asked = config.probe, config.figures.resolution
    if not isinstance(probe, GridConfig | PlaneConfig) or asked is None:
        return None
    widths = [config.task.inputs, *config.architecture.hidden, config.task.outputs]
    widths = widths[: max(probe.numbered(widths)) + 1]
    planes = len(probe.triples) if isinstance(probe, PlaneConfig) else 1
    of_point = 2 * 6 * epochs * planes * sum(into * out for into, out in pairwise(widths))  # the map, J and H
    points = min(asked, int((MOST_OPERATIONS / of_point) ** 0.5))
    return points if points > probe.resolution else None


def display_of(run: Run, context: RunContext, tell: Callable[[str], None]) -> xr.Dataset | None:
    """What heatmaps show, at the epochs that they show; None where the probe's own grid is as fine.

    Args:
        run: with all of its checkpoints.
        context: of the run; its network is loaded with their weights.
        tell: is given a sentence for each layer whose curvature changes faster than this grid, too.
    """
    run = run.drawable(MOST_CHECKPOINTS_DRAWN, keep=context.config.figures.epochs or ())
    seed, epochs = representative(run), shown_epochs(run)
    points, network = display_resolution(context.config, len(epochs)), context.network
    if points is None or not isinstance(network, Network):  # of modules each point takes far longer
        return None
    probe, parts = context.config.probe, []
    place = context.seeds.index(seed)
    if isinstance(probe, PlaneConfig):
        measured = plane(replace(probe, resolution=points), context.task, seed, effective=False)
    else:
        assert isinstance(probe, GridConfig)
        measured = grid(replace(probe, resolution=points), context.task, seed)
    for epoch in epochs:
        network.load(read_weights(run.file(checkpoint_name(epoch))))
        one = measured(network.block(slice(place, place + 1)))[list(DRAWN)].expand_dims(epoch=[epoch])
        parts.append(one)
    display = xr.concat(parts, "epoch")
    for layer in display.layer.values.tolist():
        last = display.sel(layer=layer).isel(epoch=-1)
        if words := undersampled_words(sign_flips(last.ricci_scalar, last.ricci_scalar_error), points):
            tell(f"{layer_words(display.attrs, layer)} in its heatmaps is {words}: raise figures.resolution")
    return small(display)


def small(display: xr.Dataset) -> xr.Dataset:
    """The same with seven digits, which a picture does not show."""
    R, error = display.ricci_scalar, display.ricci_scalar_error
    part = (error / abs(R)).where(R != 0, error)  # so that a number beyond float32 keeps its reliability
    R = R.where(~np.isfinite(R), R.clip(-LARGEST, LARGEST))
    error = (part * abs(R)).where(R != 0, error).clip(max=LARGEST)
    whole: xr.Dataset = display.assign(ricci_scalar=R, ricci_scalar_error=error)
    numbers = {name: "float32" for name in DRAWN if name != "predicted_class"}
    for name, kind in (numbers | {"predicted_class": "int16"}).items():
        whole[name] = whole[name].astype(kind)
    return whole
