"""How a curve along a path develops through training: a row for each checkpoint, its colours relative to its mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize

from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.heatmap import casing
from nngeom_cli.figures.path_words import Curve
from nngeom_cli.figures.scales import linear_norm
from nngeom_cli.figures.style import (
    BOUNDARY_COLOUR,
    MISSING_COLOUR,
    SMALL_FONT_SIZE,
    TINY_FONT_SIZE,
    VOLUME_COLOURS,
    Array,
)

__all__ = ["draw_development", "draw_development_bar", "relative", "scale_of"]

MOST_NAMED = 4  # epochs on the axis


def relative(heights: xr.DataArray, curve: Curve) -> Array:
    """Heights `(epoch, step)` relative to the mean of their checkpoint: minus it, or divided by it."""
    values = heights.transpose("epoch", "step").values
    finite = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(finite, values, 0.0).sum(axis=1, keepdims=True) / finite.sum(axis=1, keepdims=True)
        known = np.where(finite, values, np.nan)
        parts: Array = known - mean if curve.logarithm else known / mean
    return parts


def scale_of(developments: Sequence[Array]) -> Normalize | None:
    """One scale for all paths."""
    return linear_norm(np.concatenate([values.ravel() for values in developments]))


def draw_development(axes: Axes, data: xr.Dataset, values: Array, scale: Normalize | None, *, named: bool) -> None:
    """A row of colours for each checkpoint, the first at the top; red where the prediction changes.

    Args:
        axes: the panel.
        data: one pair and one replicate.
        values: what `relative` gives.
        scale: for all panels.
        named: whether its epochs stand at the left.
    """
    epochs, count = data.epoch.values.tolist(), data.sizes["epoch"]
    half = 0.5 / int(data.attrs["steps"])
    axes.set_facecolor(MISSING_COLOUR)
    if scale is not None:
        axes.imshow(
            np.ma.masked_invalid(values),
            extent=(-half, 1 + half, count - 0.5, -0.5),
            interpolation="nearest",
            aspect="auto",
            norm=scale,
            cmap=VOLUME_COLOURS,
        )
    classes = data.predicted_class.transpose("epoch", "step").values
    rows, steps = np.nonzero(np.diff(classes, axis=1))
    places = (2 * steps + 1) * half
    lines = np.stack([np.stack([places, rows - 0.5], 1), np.stack([places, rows + 0.5], 1)], axis=1)
    axes.add_collection(
        LineCollection(
            list(lines), colors=BOUNDARY_COLOUR, linewidths=0.8, path_effects=casing(0.8), label="change of prediction"
        ),
        autolim=False,
    )
    axes.set(xlim=(0, 1), ylim=(count - 0.5, -0.5), xticks=[0, 0.25, 0.5, 0.75, 1])
    axes.set_xticklabels(["0", "0.25", "0.5", "0.75", "1"])
    shown = np.unique(np.linspace(0, count - 1, min(count, MOST_NAMED)).round().astype(int))
    axes.set_yticks(shown, [f"{epochs[place]}" for place in shown], fontsize=TINY_FONT_SIZE)
    if named:
        axes.set_ylabel("epoch", fontsize=SMALL_FONT_SIZE)


def draw_development_bar(
    sheet: Sheet, scale: Normalize | None, curve: Curve, left: float, top: float, height: float
) -> None:
    """The scale of all panels of a figure."""
    if scale is None:
        return
    bar = sheet.figure.colorbar(ScalarMappable(scale, VOLUME_COLOURS), cax=sheet.axes(left, top, 0.08, height))
    bar.set_label("minus mean" if curve.logarithm else "/ mean", fontsize=TINY_FONT_SIZE)
    bar.ax.tick_params(labelsize=TINY_FONT_SIZE)
