"""Curves of the effective volume element, speed or curvature between two inputs, coloured by the prediction there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from nngeom_cli.analysis.degeneracy import bottleneck_words, volume_rank
from nngeom_cli.figures.canvas import Sheet, fitting
from nngeom_cli.figures.image import draw_image
from nngeom_cli.figures.naming import Names, names_of
from nngeom_cli.figures.path_development import draw_development, draw_development_bar, relative, scale_of
from nngeom_cli.figures.path_words import VOLUME, Curve, length_words, pair_words, title_words
from nngeom_cli.figures.selection import networks_shown, representative
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
    "along_paths",
    "class_colour",
    "coloured_curve",
    "first_change",
    "value_range",
]

LEFT, RIGHT, GAP_X, GAP_Y, BOTTOM = 0.6, 0.1, 0.14, 0.24, 0.32  # inches
IMAGE = 0.2  # side of an inset image, in panel widths; not more than MAX_IMAGE inches
MAX_IMAGE = 0.5
INSET_PAD = 0.05  # inches
GROWTH, GROWTH_GAP, BAR = 0.75, 0.06, 0.62  # inches: of a panel through training with the gap above it, of its scale


def along_paths(
    run: Run, layer: int, note: str | None = None, curve: Curve = VOLUME, *, development: bool = True
) -> Sheet:
    """A panel for each pair: trained replicates in the colours of their predictions, untrained controls in greys.

    Beneath each, where there are checkpoints between and `development` asks for it, how the curve of one replicate
    develops through training.

    The images are the ends of the path and, between them, the one at which the prediction of the representative
    replicate first changes; their frames have the colour of its prediction.
    """
    shown, left_out = networks_shown(run)
    geometry = shown.sel(layer=layer)
    geometry = geometry.assign(height=geometry[curve.variable])
    last = geometry.isel(epoch=-1)
    controls = geometry.isel(epoch=0) if len(geometry.epoch) > 1 and geometry.epoch[0] == 0 else None
    pairs, names = last.sizes["pair"], names_of(run)
    columns = pairs if pairs <= 3 else 2 if pairs == 4 else 3
    rows = -(-pairs // columns)
    width = COLUMN_WIDTH if pairs == 1 else TEXT_WIDTH
    growth = GROWTH * (development and geometry.sizes["epoch"] > 2)
    right = BAR if growth else RIGHT
    across = (width - LEFT - right - (columns - 1) * GAP_X) / columns
    down = 0.75 * across if columns < 3 else 0.95 * across
    seed = representative(run)
    values = np.concatenate([data.height.values.ravel() for data in (last, controls) if data is not None])
    title = wrapped(title_words(run, shown, layer, seed, values, curve) + left_out, width - 0.1)
    headings = [pair_words(last.isel(pair=pair), names) for pair in range(pairs)]
    if curve.lengths:
        lengths = length_words(shown.sel(layer=[layer]))
        headings = [f"{words}\n{wrapped(more, across)}" for words, more in zip(headings, lengths, strict=True)]
    gap = GAP_Y + growth + LINE * max(words.count("\n") for words in headings)
    classes = np.unique(last.predicted_class.values)
    keys = legend_keys(classes, names, controls is not None)
    keys_across = fitting(keys, width)
    key_lines = -(-len(keys) // keys_across)
    top = LINE * (title.count("\n") + 1) + 0.1 + LINE + 0.04 + gap - GAP_Y - growth
    height = top + rows * (down + growth) + (rows - 1) * (gap - growth) + BOTTOM + LINE * key_lines + 0.08
    sheet = Sheet.blank(width, height, note)
    sheet.text(0.05, 0.05, title, fontsize=FONT_SIZE)
    low, high = value_range(values)
    low = 0.0 if curve.lengths else low
    image = min(MAX_IMAGE, IMAGE * across) if curve.images and "image_shape" in last.attrs else 0.0
    floor = low - (high - low) * (image + 2 * INSET_PAD) / (down - image - 2 * INSET_PAD) if image else low
    ticks = [value for value in MaxNLocator(5).tick_values(low, high) if low <= value <= high]
    ticks = ticks if np.isfinite(values).any() else []
    developments = [relative(geometry.height.isel(pair=pair).sel(replicate=seed), curve) for pair in range(pairs)]
    scale = scale_of(developments)
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
            draw_images(axes, last.isel(pair=pair).sel(replicate=seed), names, image, across, down)
        beneath = pair + columns < pairs
        if growth:
            start = top + row * (down + gap) + down + GROWTH_GAP
            low_axes = sheet.axes(LEFT + column * (across + GAP_X), start, across, growth - GROWTH_GAP)
            one = geometry.isel(pair=pair).sel(replicate=seed)
            draw_development(low_axes, one, developments[pair], scale, named=column == 0)
            if pair == columns - 1:
                draw_development_bar(sheet, scale, curve, width - right + 0.06, start, growth - GROWTH_GAP)
        lowest = low_axes if growth else axes
        axes.tick_params(labelleft=column == 0, labelbottom=not beneath and not growth)
        lowest.tick_params(labelleft=column == 0, labelbottom=not beneath)
        if not beneath:
            lowest.set_xlabel("fraction of the way to the second input")
        if column == 0:
            axes.set_ylabel(curve.label.format(**last.attrs))
    sheet.legend(keys, keys_across)
    return replace(sheet, data=shown.sel(layer=[layer]))


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


def draw_images(axes: Axes, data: xr.Dataset, names: Names, image: float, across: float, down: float) -> None:
    """The ends of the path in the lower corners, and the first image with another prediction between them.

    Args:
        axes: whose lower part is free.
        data: one pair and one replicate.
        names: of classes.
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
        words = f"always predicted: {names.of_class(data.predicted_class.values[0])}"
        axes.text(0.5, pad_y, words, transform=axes.transAxes, ha="center", va="bottom", fontsize=SMALL_FONT_SIZE)
    start, end = data.endpoint.values
    limits = (data.endpoint.values.min(), data.endpoint.values.max())
    for step, left in shown.items():
        inset = axes.inset_axes((left, pad_y, width, height), xticks=[], yticks=[], zorder=6, label=f"step {step}")
        picture = start + step / steps(data) * (end - start)
        draw_image(inset, picture, data.attrs["image_shape"], *limits)
        for spine in inset.spines.values():
            spine.set(color=class_colour(data.predicted_class.values[step]), linewidth=1.2)


def legend_keys(classes: Sequence[int] | NDArray[np.int64], names: Names, controls: bool) -> list[Line2D]:
    """Legend entries: the classes that are predicted somewhere, and the untrained controls."""
    words = [names.of_class(label) for label in classes]
    keys = [
        Line2D([], [], color=class_colour(label), linewidth=1.6, label=text)
        for label, text in zip(classes, words, strict=True)
    ]
    keys[0].set_label(f"predicted class {words[0]}")
    if controls:
        keys.append(Line2D([], [], color="black", linewidth=0.5, label="untrained (epoch 0)"))
    return keys
