"""Curves of the effective volume element, speed or curvature between two inputs, coloured by the prediction there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from nngeom_cli.analysis.degeneracy import bottleneck_words, volume_rank
from nngeom_cli.analysis.path import path_statistics
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.image import draw_image
from nngeom_cli.figures.selection import counted, describe, final_scores, networks_shown, representative
from nngeom_cli.figures.style import (
    CLASS_COLOURS,
    COLUMN_WIDTH,
    FONT_SIZE,
    LINE,
    SMALL_FONT_SIZE,
    TEXT_WIDTH,
    Array,
    control_colours,
    wrapped,
)
from nngeom_cli.store.run import Run

__all__ = [
    "CURVATURE",
    "SPEED",
    "VOLUME",
    "Curve",
    "along_paths",
    "class_colour",
    "coloured_curve",
    "first_change",
    "pair_words",
    "value_range",
]

LEFT, RIGHT, GAP_X, GAP_Y, BOTTOM = 0.6, 0.1, 0.14, 0.24, 0.32  # inches
IMAGE = 0.2  # side of an inset image, in panel widths; not more than MAX_IMAGE inches
MAX_IMAGE = 0.5
INSET_PAD = 0.05  # inches


@dataclass(frozen=True)
class Curve:
    """What is drawn along the paths.

    Attributes:
        variable: its name in the dataset; `name`: what it is called in a sentence.
        label: of its axis, with unit.
        images: whether the ends of the path are shown beneath it.
        lengths: whether its integral, the length of the path, stands above it.
    """

    variable: str
    name: str
    label: str
    images: bool = False
    lengths: bool = False


VOLUME = Curve(
    "log_effective_volume_element", "volume", "log effective volume element\n(natural log, top {top_k})", images=True
)
SPEED = Curve("speed", "speed", "speed |Jv|, whose integral is\nthe length in feature space", lengths=True)
CURVATURE = Curve("path_curvature", "curvature", "curvature of the path's image\n(1 / feature length)")


def along_paths(run: Run, layer: int, note: str | None = None, curve: Curve = VOLUME) -> Sheet:
    """A panel for each pair: trained replicates in the colours of their predictions, untrained controls in greys.

    The images are the ends of the path and, between them, the one at which the prediction of the representative
    replicate first changes; their frames have the colour of its prediction.
    """
    shown, left_out = networks_shown(run)
    geometry = shown.sel(layer=layer)
    geometry = geometry.assign(height=geometry[curve.variable])
    last = geometry.isel(epoch=-1)
    controls = geometry.isel(epoch=0) if len(geometry.epoch) > 1 and geometry.epoch[0] == 0 else None
    pairs = last.sizes["pair"]
    columns = pairs if pairs <= 3 else 2 if pairs == 4 else 3
    rows = -(-pairs // columns)
    width = COLUMN_WIDTH if pairs == 1 else TEXT_WIDTH
    across = (width - LEFT - RIGHT - (columns - 1) * GAP_X) / columns
    down = 0.75 * across if columns < 3 else 0.95 * across
    seed = representative(run)
    values = np.concatenate([data.height.values.ravel() for data in (last, controls) if data is not None])
    title = wrapped(title_words(run, shown, layer, seed, values, curve) + left_out, width - 0.1)
    headings = [pair_words(last.isel(pair=pair)) for pair in range(pairs)]
    if curve.lengths:
        lengths = length_words(shown.sel(layer=[layer]))
        headings = [f"{words}\n{wrapped(more, across)}" for words, more in zip(headings, lengths, strict=True)]
    gap = GAP_Y + LINE * max(words.count("\n") for words in headings)
    classes = np.unique(last.predicted_class.values)
    keys = legend_keys(classes, controls is not None)
    keys_across = 5 if width == COLUMN_WIDTH else 12
    key_lines = -(-len(keys) // keys_across)
    top = LINE * (title.count("\n") + 1) + 0.1 + LINE + 0.04 + gap - GAP_Y
    height = top + rows * down + (rows - 1) * gap + BOTTOM + LINE * key_lines + 0.08
    sheet = Sheet.blank(width, height, note)
    sheet.text(0.05, 0.05, title, fontsize=FONT_SIZE)
    low, high = value_range(values)
    low = 0.0 if curve.lengths else low
    image = min(MAX_IMAGE, IMAGE * across) if curve.images and "image_shape" in last.attrs else 0.0
    floor = low - (high - low) * (image + 2 * INSET_PAD) / (down - image - 2 * INSET_PAD) if image else low
    ticks = [value for value in MaxNLocator(5).tick_values(low, high) if low <= value <= high]
    ticks = ticks if np.isfinite(values).any() else []
    for pair in range(pairs):
        row, column = divmod(pair, columns)
        axes = sheet.axes(LEFT + column * (across + GAP_X), top + row * (down + gap), across, down)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        axes.set_ylim(floor, high)
        axes.set_yticks(ticks)
        axes.set_title(headings[pair], fontsize=FONT_SIZE)
        if controls is not None:
            draw_controls(axes, controls.isel(pair=pair))
        draw_replicates(axes, last.isel(pair=pair), seed)
        if not np.isfinite(last.height.isel(pair=pair)).any():
            why = bottleneck_words(last.attrs, layer, volume_rank(last.attrs, curve.variable, layer))
            axes.text(
                0.5,
                0.6,
                wrapped(why or f"no value at epoch {int(last.epoch)}", across),
                transform=axes.transAxes,
                ha="center",
            )
        if image:
            draw_images(axes, last.isel(pair=pair).sel(replicate=seed), image, across, down)
        beneath = pair + columns < pairs
        axes.tick_params(labelleft=column == 0, labelbottom=not beneath)
        if not beneath:
            axes.set_xlabel("fraction of the way to the second input")
        if column == 0:
            axes.set_ylabel(curve.label.format(**last.attrs))
    sheet.legend(keys, keys_across)
    return replace(sheet, data=shown.sel(layer=[layer]).isel(epoch=[-1] if controls is None else [0, -1]))


def title_words(run: Run, geometry: xr.Dataset, layer: int, seed: int, values: Array, curve: Curve) -> str:
    """The network, its replicates, the one whose images are shown, and how many points could not be drawn."""
    count = geometry.sizes["replicate"]
    words = f"{describe(geometry, layer)}; epoch {int(geometry.epoch[-1])}, {counted(count)}"
    images = curve.images and "image_shape" in geometry.attrs
    if count > 1 or images:
        thick = "thick line and images" if images else "thick line"
        words += f"; {thick}: seed {seed} ({final_scores(run)[seed]})"
    if left_out := int((~np.isfinite(values)).sum()):
        words += f"; the {curve.name} is 0 or unknown at {left_out} of {values.size} points"
    return words


def length_words(geometry: xr.Dataset) -> list[str]:
    """For each pair its length, and how much of it is spent near a change of prediction, with controls in place of it.

    Means over replicates.
    """
    asked = ["final", "other", "middle"]
    numbers = path_statistics(geometry, boundaries=asked).squeeze("layer").mean("replicate")
    lengths = numbers.length.transpose("epoch", "pair").values
    shares, others, middles = numbers.length_near_change.isel(epoch=-1).sel(boundary=asked).values
    excesses = numbers.length_excess.isel(epoch=-1).sel(boundary="final").values
    words = []
    for pair, (share, excess, other, middle) in enumerate(zip(shares, excesses, others, middles, strict=True)):
        before = f" (untrained {lengths[0, pair]:.3g})" if len(lengths) > 1 and geometry.epoch[0] == 0 else ""
        near = (
            f", {share:.0%} of it in the {share - excess:.0%} of the path near a change" if np.isfinite(share) else ""
        )
        elsewhere = [(other, "near the changes of other paths"), (middle, "near the middle")]
        controls = ", ".join(f"{value:.0%} {where}" for value, where in elsewhere if near and np.isfinite(value))
        words.append(f"mean length {lengths[-1, pair]:.3g}{before}{near}{f' ({controls})' if controls else ''}")
    return words


def pair_words(data: xr.Dataset) -> str:
    """Classes and dataset indices of a pair."""
    (first, second), (start, end) = data.endpoint_class.values, data.endpoint_index.values
    return f"class {first:g} to class {second:g}  (inputs {start:g}, {end:g})"


def steps(data: xr.Dataset) -> int:
    """Steps from one end of the path to the other."""
    return int(data.attrs["steps"])


def value_range(values: Array) -> tuple[float, float]:
    """Least and greatest finite value, with some room."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 0.0, 1.0
    room = 0.05 * float(np.ptp(finite)) or 0.5
    return float(finite.min()) - room, float(finite.max()) + room


def class_colour(label: int) -> str:
    """Colour of a class."""
    return CLASS_COLOURS[int(label) % len(CLASS_COLOURS)]


def coloured_curve(t: Array, values: Array, classes: Sequence[int], linewidth: float) -> LineCollection:
    """A curve that has the colour of its class around each point, halfway to the neighbours.

    Args:
        t: places, `(steps + 1,)`.
        values: heights there; nothing is drawn towards a value that is not finite.
        classes: class at each place.
        linewidth: in points.
    """
    points = np.stack([t, np.where(np.isfinite(values), values, np.nan)], axis=1)
    middle = 0.5 * (points[:-1] + points[1:])
    before, after = np.vstack([points[:1], middle]), np.vstack([middle, points[-1:]])
    return LineCollection(
        list(np.stack([before, points, after], axis=1)),
        colors=[class_colour(label) for label in classes],
        linewidths=linewidth,
        capstyle="round",
        joinstyle="round",
    )


def draw_replicates(axes: Axes, data: xr.Dataset, seed: int) -> None:
    """The trained networks, the representative one above the others and thicker."""
    t = data.step.values / steps(data)
    thin = 0.9 if data.sizes["replicate"] <= 12 else 0.5
    for replicate in data.replicate.values:
        one = data.sel(replicate=replicate)
        chosen = replicate == seed
        curve = coloured_curve(t, one.height.values, one.predicted_class.values, 1.6 if chosen else thin)
        curve.set(label=f"replicate {replicate}", zorder=3 if chosen else 2)
        axes.add_collection(curve, autolim=False)


def draw_controls(axes: Axes, data: xr.Dataset) -> None:
    """The same networks before training."""
    t = data.step.values / steps(data)
    curves = data.height.transpose("replicate", "step").values
    for values, colour, replicate in zip(curves, control_colours(len(curves)), data.replicate.values, strict=True):
        axes.plot(t, values, color=colour, linewidth=0.5, zorder=1, label=f"untrained {replicate}")


def first_change(classes: Sequence[int] | NDArray[np.int64]) -> int | None:
    """First step at which the prediction is not that at the start; None if it never changes.

    Example:
        >>> first_change([3, 3, 8, 3])
        2
    """
    changed = np.flatnonzero(np.asarray(classes) != classes[0])
    return int(changed[0]) if len(changed) else None


def draw_images(axes: Axes, data: xr.Dataset, image: float, across: float, down: float) -> None:
    """The ends of the path in the lower corners, and the first image with another prediction between them.

    Args:
        axes: whose lower part is free.
        data: one pair and one replicate.
        image: side of an image in inches.
        across: width of the axes in inches.
        down: height of the axes in inches.
    """
    width, height, pad_x, pad_y = image / across, image / down, INSET_PAD / across, INSET_PAD / down
    shown = {0: pad_x, steps(data): 1 - pad_x - width}  # left edge of the image at a step
    change = first_change(data.predicted_class.values)
    if change is not None and change not in shown:
        place = change / steps(data)
        shown[change] = float(np.clip(place - width / 2, 2 * pad_x + width, 1 - 2 * (pad_x + width)))
        value = float(data.height.values[change])
        low, high = axes.get_ylim()
        top = low + (height + pad_y) * (high - low)
        line: dict[str, Any] = {"color": "black", "linewidth": 0.6, "linestyle": ":", "zorder": 4}
        axes.plot([shown[change] + width / 2, place], [top, value], **line)
        axes.plot(place, value, marker="o", markersize=3, color="white", markeredgecolor="black", zorder=5)
    if change is None:
        words = f"always predicted: {data.predicted_class.values[0]:g}"
        axes.text(0.5, pad_y, words, transform=axes.transAxes, ha="center", va="bottom", fontsize=SMALL_FONT_SIZE)
    start, end = data.endpoint.values
    limits = (data.endpoint.values.min(), data.endpoint.values.max())
    for step, left in shown.items():
        inset = axes.inset_axes((left, pad_y, width, height), xticks=[], yticks=[], zorder=6, label=f"step {step}")
        picture = start + step / steps(data) * (end - start)
        draw_image(inset, picture, data.attrs["image_shape"], *limits)
        for spine in inset.spines.values():
            spine.set(color=class_colour(data.predicted_class.values[step]), linewidth=1.2)


def legend_keys(classes: Sequence[int] | NDArray[np.int64], controls: bool) -> list[Line2D]:
    """Legend entries: the classes that are predicted somewhere, and the untrained controls."""
    keys = [Line2D([], [], color=class_colour(label), linewidth=1.6, label=f"{label:g}") for label in classes]
    keys[0].set_label(f"predicted class {classes[0]:g}")
    if controls:
        keys.append(Line2D([], [], color="black", linewidth=0.5, label="untrained (epoch 0)"))
    return keys
