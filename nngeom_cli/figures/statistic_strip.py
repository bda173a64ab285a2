"""A statistic at each checkpoint, over replicates: the strip beneath the heatmaps that it sums up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.scales import power_words
from nngeom_cli.figures.strips import Strip
from nngeom_cli.figures.style import (
    CONTROL_COLOUR,
    LIKE_COLOUR,
    LIKE_LINES,
    LINE,
    MISSING_COLOUR,
    REPLICATE_COLOUR,
    SMALL_FONT_SIZE,
    STATISTIC_COLOUR,
    wrapped,
)

__all__ = ["draw_strip", "draw_strips", "strip_keys", "strips_height"]

AXES, BELOW = 0.72, 0.28  # inches: height of the axes; for tick labels and what the axis is
LEAST_CONTRAST = 0.05  # nats: the scale of a contrast reaches at least this far
LIMIT_LINE: tuple[int, tuple[int, ...]] = (0, (1, 1))
GAP, RIGHT = 0.42, 0.15  # inches: between two axes, for tick labels; at the edge


def strips_height(strips: Sequence[Strip], width: float) -> float:
    """Inches that strips side by side take; 0 if there are none."""
    return titles_height(strips, width) + AXES + BELOW if strips else 0.0


def titles_height(strips: Sequence[Strip], width: float) -> float:
    return LINE * (
        1 + max(wrapped(strip.title, strip_width(strips, width), SMALL_FONT_SIZE).count("\n") for strip in strips)
    )


def strip_width(strips: Sequence[Strip], width: float) -> float:
    return (width - RIGHT - (len(strips) - 1) * GAP) / len(strips)


def draw_strips(sheet: Sheet, strips: Sequence[Strip], left: float, top: float, width: float) -> None:
    """Strips side by side in the space from (`left`, `top`), `width` inches wide."""
    across, head = strip_width(strips, width), titles_height(strips, width)
    for place, strip in enumerate(strips):
        start = left + place * (across + GAP)
        sheet.text(start, top, wrapped(strip.title, across, SMALL_FONT_SIZE), fontsize=SMALL_FONT_SIZE)
        draw_strip(sheet.axes(start, top + head, across, AXES), strip, across)


def draw_strip(axes: Axes, strip: Strip, inches: float) -> None:
    """Each replicate thin, their mean thick in its interval, and the level of the untrained networks."""
    epochs = strip.values.epoch.values
    estimate, low, high = (strip.over[name].values for name in ("estimate", "low", "high"))
    few = len(epochs) <= 20
    for values in strip.values.transpose("replicate", "epoch").values:
        axes.plot(epochs, values, color=REPLICATE_COLOUR, linewidth=0.4, marker="." if few else "", markersize=1.5)
    axes.fill_between(epochs, low, high, color=STATISTIC_COLOUR, alpha=0.25, linewidth=0.0, zorder=2.5)
    axes.plot(
        epochs, estimate, color=STATISTIC_COLOUR, linewidth=1.2, marker="." if few else "", markersize=3, zorder=3
    )
    if len(epochs) > 1 and epochs[0] == 0 and np.isfinite(estimate[0]):
        axes.axhline(estimate[0], color=CONTROL_COLOUR, linewidth=0.8, linestyle="--", zorder=2.8)
        if np.isfinite(low[0]):
            axes.axhspan(low[0], high[0], color=CONTROL_COLOUR, alpha=0.12, linewidth=0.0, zorder=1)
    if math.isfinite(strip.limit):
        axes.axhline(strip.limit, color=CONTROL_COLOUR, linewidth=0.8, linestyle=LIMIT_LINE, zorder=2.8)
    for control, mean in strip.controls.items():
        axes.plot(epochs, mean.values, color=LIKE_COLOUR, linestyle=LIKE_LINES[control], linewidth=0.8, zorder=2.7)
    axes.plot(
        strip.stages,
        np.zeros(len(strip.stages)),
        transform=axes.get_xaxis_transform(),
        linestyle="none",
        marker="^",
        markersize=2.5,
        color="black",
        clip_on=False,
    )
    scale_values(axes, strip)
    if strip.undefined:
        words = wrapped(strip.undefined, 0.95 * inches, SMALL_FONT_SIZE)
        axes.text(0.02, 0.96, words, transform=axes.transAxes, va="top", fontsize=SMALL_FONT_SIZE, zorder=5)
    scale_epochs(axes, epochs)
    axes.set_xlabel("epoch", fontsize=SMALL_FONT_SIZE, labelpad=0.5)


def scale_values(axes: Axes, strip: Strip) -> None:
    """A correlation on its whole range; a contrast with 0 in view; nats on a range where small changes look small."""
    axes.axhline(0.0, color=MISSING_COLOUR, linewidth=0.4, zorder=0.5)
    values = np.concatenate([[strip.limit], *(np.ravel(drawn) for drawn in (strip.values, *strip.controls.values()))])
    values = values[np.isfinite(values)]
    low, high = 0.0 if strip.name.endswith("share") else -1.0, 1.0
    if strip.name.endswith("contrast"):
        low, high = min(-LEAST_CONTRAST, values.min(initial=0.0)), max(LEAST_CONTRAST, values.max(initial=0.0))
    elif strip.name.endswith(("mean", "stretch", "excess")) and values.size:
        middle, half = (values.max() + values.min()) / 2, max(LEAST_CONTRAST, np.ptp(values) / 2)
        low, high = middle - half, middle + half
    room = 0.06 * (high - low)
    axes.set_yticks([tick for tick in MaxNLocator(4).tick_values(low, high) if low - room <= tick <= high + room])
    axes.set_ylim(low - room, high + (5 if strip.undefined else 1) * room)


def scale_epochs(axes: Axes, epochs: NDArray[np.int64]) -> None:
    """Logarithmic from the first trained checkpoint on, with the untrained network at the left."""
    first, last = int(epochs[epochs > 0].min(initial=epochs[-1])), int(epochs[-1])
    if first == last:
        axes.set_xlim(*((-0.1 * last, 1.1 * last) if last else (-1, 1)))
        axes.set_xticks(sorted({int(epochs[0]), last}))
        return
    axes.set_xscale("symlog", linthresh=first, linscale=0.4)
    decades = [10**power for power in range(len(str(last)))]
    ticks = [epoch for epoch in decades if first <= epoch < last / 2.5]
    if epochs[0] == 0:
        ticks.insert(0, 0)
    axes.set_xticks([*ticks, last], [*map(power_words, ticks), f"{last}"])
    axes.minorticks_off()
    axes.set_xlim(-0.1 * first if epochs[0] == 0 else first, 1.08 * last)


def strip_keys(strips: Mapping[tuple[str, int], Sequence[Strip]]) -> list[Artist]:
    """Legend entries of what is on the strips."""
    first = next(strip for group in strips.values() for strip in group)
    replicates, epochs = first.values.sizes["replicate"], first.values.epoch.values
    keys: list[Artist] = []
    if replicates > 1:
        interval = "95% interval" if replicates >= 6 else "bootstrap interval"  # fewer cannot give 95 %
        mean = f"mean of {replicates} replicates, {interval}"
        keys.append(Line2D([], [], color=REPLICATE_COLOUR, linewidth=0.6, label="one replicate"))
        keys.append(Patch(facecolor=STATISTIC_COLOUR, alpha=0.5, label=mean))
    if epochs[0] == 0 and len(epochs) > 1:
        keys.append(Line2D([], [], color=CONTROL_COLOUR, linewidth=0.8, linestyle="--", label="untrained (epoch 0)"))
        if replicates > 1:
            keys.append(Patch(facecolor=CONTROL_COLOUR, alpha=0.12, label="interval of the untrained mean"))
    if any(math.isfinite(strip.limit) for group in strips.values() for strip in group):
        label = "untrained, at infinite width"
        keys.append(Line2D([], [], color=CONTROL_COLOUR, linewidth=0.8, linestyle=LIMIT_LINE, label=label))
    for control, words in first.control_words.items():
        if np.isfinite(first.controls[control]).any():
            look = {"color": LIKE_COLOUR, "linewidth": 0.8, "linestyle": LIKE_LINES[control]}
            keys.append(Line2D([], [], label=words, **look))
    keys.append(Line2D([], [], color="black", linestyle="none", marker="^", markersize=2.5, label="epochs shown above"))
    return keys
