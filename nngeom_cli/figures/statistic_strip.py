"""A statistic at each checkpoint, over replicates: the strip beneath the heatmaps that it sums up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from nngeom_cli.analysis.bootstrap import over_replicates
from nngeom_cli.analysis.controls import SAME_LINE
from nngeom_cli.analysis.degeneracy import unreliable
from nngeom_cli.analysis.grid import grid_statistics
from nngeom_cli.analysis.limit import at_infinite_width
from nngeom_cli.analysis.plane import plane_statistics
from nngeom_cli.analysis.statistic import CONTROLS, count_reasons
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.style import (
    CONTROL_COLOUR,
    LIKE_COLOUR,
    LIKE_LINES,
    LINE,
    MISSING_COLOUR,
    REPLICATE_COLOUR,
    SMALL_FONT_SIZE,
    STATISTIC_COLOUR,
    power_words,
    wrapped,
)

__all__ = [
    "Strip",
    "draw_strip",
    "draw_strips",
    "grid_strips",
    "plane_strips",
    "strip_keys",
    "strip_of",
    "strips_data",
    "strips_height",
]

AXES, BELOW = 0.72, 0.28  # inches: height of the axes; for tick labels and what the axis is
REASON_WORDS = {
    "no_boundary": "no boundary in the window",
    "no_change": "one prediction all along",
    "no_other": "no other example of the class",
    "flat": "R = 0",
    "no_point": "no usable point",
    "constant": "constant field",
    "one_side": "no usable point in the band or none outside",
    "all_alike": "all predictions right, or all wrong",
}
GRID_CONTROLS = {
    "other": "boundaries of others",
    "mirrored": "mirrored boundary",
    "rotated": "rotated boundary",
}
PLANE_CONTROLS = {
    "other": "entropy of others",
    "rotated": "corners renamed in turn",
    "middle": "entropy of the weights",
}
LEAST_CONTRAST = 0.05  # nats: the scale of a contrast reaches at least this far
LIMIT_LINE: tuple[int, tuple[int, ...]] = (0, (1, 1))
GAP, RIGHT = 0.42, 0.15  # inches: between two axes, for tick labels; at the edge


@dataclass(frozen=True)
class Strip:
    """One statistic through training.

    Attributes:
        name: of the statistic in what `grid_statistics` or `plane_statistics` returns.
        title: what it is, and its unit.
        values: of each replicate, (epoch, replicate); NaN where it is undefined.
        over: `over_replicates` of them.
        controls: the mean over replicates with each control in place of their boundary, (epoch,).
        control_words: what each control is.
        undefined: how often it is undefined, and why; empty if never.
        stages: the epochs of the heatmaps.
        limit: the mean over replicates with the limit of infinite width in place of the untrained network; NaN without.
    """

    name: str
    title: str
    values: xr.DataArray
    over: xr.Dataset
    controls: Mapping[str, xr.DataArray]
    control_words: Mapping[str, str]
    undefined: str
    stages: Sequence[int]
    limit: float = math.nan

    @property
    def data(self) -> xr.Dataset:
        """What is drawn, by name."""
        parts = {f"{self.name}_{part}": values for part, values in [*self.over.items(), *self.controls.items()]}
        whole = xr.Dataset({self.name: self.values, **parts}).drop_vars("boundary", errors="ignore")
        drawn: xr.Dataset = whole.expand_dims("layer")
        return drawn


def grid_strips(
    geometry: xr.Dataset, layers: Sequence[int], band: float, stages: Sequence[int]
) -> dict[tuple[str, int], list[Strip]]:
    """The strips under the heatmaps of a variable and a layer.

    Args:
        geometry: `run.geometry` of a grid probe.
        layers: those that are drawn.
        band: half width of the band around the boundary, in units of input space.
        stages: the epochs of the heatmaps.
    """
    numbers = grid_statistics(geometry.sel(layer=list(layers)), band=band, boundaries=["final", *CONTROLS["grid"]])
    limit = at_infinite_width(geometry.sel(layer=list(layers)).isel(epoch=[0, -1]))
    wide = None if limit is None else grid_statistics(limit, band=band, boundaries=["final"])
    titles = {
        "rank_correlation": "rank correlation of {} with closeness to final boundary",
        "band_contrast": f"mean {{}} within {band:g} of final boundary minus elsewhere (nats)",
        "band_mean": f"mean {{}} within {band:g} of final boundary (nats)",
    }
    shared = numbers.band_shared.isel(epoch=-1, drop=True).mean("replicate")
    words = {
        control: text + (" (same line)" if shared.sel(boundary=control) > SAME_LINE else "")
        for control, text in GRID_CONTROLS.items()
    }
    fields = {"log_volume_element": ("volume", "log V"), "ricci_scalar": ("curvature", "log |R|")}
    strips: dict[tuple[str, int], list[Strip]] = {}
    for variable, (prefix, quantity) in fields.items():
        for layer in layers:
            strips[variable, layer] = []
            for kind, title in titles.items():
                title = title.format(quantity)
                one = strip_of(numbers.sel(layer=layer), f"{prefix}_{kind}", title, words, stages)
                if wide is not None:
                    of_limit = wide[one.name].sel(layer=layer, boundary="final").isel(epoch=0)
                    one = replace(one, limit=float(of_limit.mean("replicate")))
                strips[variable, layer].append(one)
    return strips


def plane_strips(
    geometry: xr.Dataset, plane: int, layers: Sequence[int], stages: Sequence[int]
) -> dict[tuple[str, int], list[Strip]]:
    """The strips under the last heatmaps of a layer that are not flat.

    Args:
        geometry: `run.geometry` of a plane probe.
        plane: number of the plane.
        layers: those that are drawn.
        stages: the epochs of the heatmaps.
    """
    one = geometry.sel(layer=list(layers)).isel(plane=[plane])
    numbers = plane_statistics(one, boundaries=["final", *CONTROLS["plane"]]).isel(plane=0)
    titles = {
        "effective_volume_entropy": "rank correlation of log V_eff with the entropy of the final prediction, in the "
        "triangle of the three inputs",
        "volume_entropy": "the same for log volume of the restricted map",
        "curvature_entropy": "the same for log |R| of the restricted map",
    }
    strips = {}
    for layer in layers:
        R, error = one.ricci_scalar.sel(layer=layer), one.ricci_scalar_error.sel(layer=layer)
        bent = bool(((abs(R) > 0) & ~unreliable(R, error)).any())
        strips["ricci_scalar" if bent else "log_volume_element", layer] = [
            strip_of(numbers.sel(layer=layer), name, title, PLANE_CONTROLS, stages) for name, title in titles.items()
        ]
    return strips


def strip_of(
    numbers: xr.Dataset, name: str, title: str, control_words: Mapping[str, str], stages: Sequence[int]
) -> Strip:
    """One statistic of one layer, with the controls that `control_words` names if it asks about a boundary."""
    values, flags = numbers[name], numbers[f"{name}_undefined"]
    controls = {}
    if "boundary" in values.dims:
        controls = {who: values.sel(boundary=who, drop=True).mean("replicate") for who in control_words}
        values, flags = values.sel(boundary="final"), flags.sel(boundary="final")
    over = over_replicates(values, np.random.default_rng(0))
    return Strip(name, title, values, over, controls, control_words, why_undefined(flags.values), stages)


def strips_height(strips: Sequence[Strip], width: float) -> float:
    """Inches that strips side by side take; 0 if there are none."""
    return titles_height(strips, width) + AXES + BELOW if strips else 0.0


def titles_height(strips: Sequence[Strip], width: float) -> float:
    return LINE * (
        1 + max(wrapped(strip.title, strip_width(strips, width), SMALL_FONT_SIZE).count("\n") for strip in strips)
    )


def strip_width(strips: Sequence[Strip], width: float) -> float:
    return (width - RIGHT - (len(strips) - 1) * GAP) / len(strips)


def why_undefined(flags: NDArray[np.int8]) -> str:
    """How often a statistic is undefined, and why; empty if it never is."""
    counts = count_reasons(flags)
    words = ", ".join(f"{REASON_WORDS[reason]} ({count})" for reason, count in counts)
    return f"undefined in {sum(count for _, count in counts)} of {flags.size} measurements: {words}" if words else ""


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
    if few:
        axes.vlines(epochs, low, high, color=STATISTIC_COLOUR, linewidth=0.6, zorder=2.6)
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


def strips_data(strips: Mapping[tuple[str, int], Sequence[Strip]]) -> xr.Dataset:
    """What is drawn on strips, along `layer`."""
    return xr.merge([strip.data for group in strips.values() for strip in group], join="outer", compat="no_conflicts")


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
    if any(math.isfinite(strip.limit) for group in strips.values() for strip in group):
        label = "untrained, at infinite width"
        keys.append(Line2D([], [], color=CONTROL_COLOUR, linewidth=0.8, linestyle=LIMIT_LINE, label=label))
    for control, words in first.control_words.items():
        if np.isfinite(first.controls[control]).any():
            look = {"color": LIKE_COLOUR, "linewidth": 0.8, "linestyle": LIKE_LINES[control]}
            keys.append(Line2D([], [], label=words, **look))
    keys.append(Line2D([], [], color="black", linestyle="none", marker="^", markersize=2.5, label="epochs shown above"))
    return keys
