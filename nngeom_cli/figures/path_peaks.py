"""How far the maximum of the effective volume lies from a change of prediction, trained against untrained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from nngeom_cli.analysis.bootstrap import over_replicates
from nngeom_cli.analysis.path import path_statistics
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.selection import describe, networks_shown
from nngeom_cli.figures.style import (
    COLUMN_WIDTH,
    CONTROL_COLOUR,
    FONT_SIZE,
    LIKE_COLOUR,
    LIKE_LINES,
    LINE,
    MISSING_COLOUR,
    REPLICATE_COLOUR,
    STATISTIC_COLOUR,
    TEXT_WIDTH,
    wrapped,
)
from nngeom_cli.store.run import Run

__all__ = ["draw_column", "keys", "peak_distances"]

LEFT, RIGHT, HEIGHT, TICKS = 0.42, 0.08, 1.5, 0.3  # inches
MOST_IN_COLUMN = 5  # pairs of classes in a figure one column wide
APART = 0.2  # of a pair's width: the untrained networks to the left of its middle, the trained ones to the right
CONTROL_WORDS = {"other": "changes on other paths", "middle": "middle of the path"}  # of the trained networks
STATES = {"untrained (epoch 0)": (MISSING_COLOUR, CONTROL_COLOUR), "trained": (REPLICATE_COLOUR, STATISTIC_COLOUR)}


def peak_distances(run: Run, layer: int, note: str | None = None) -> Sheet:
    """A dot for each network and pair, their median and its bootstrap interval; at the right, all pairs.

    The changes of prediction are those of the last checkpoint, for the untrained networks too (they are paired). Beside
    the trained networks, the medians with controls in place of these changes.
    """
    geometry, left_out = networks_shown(run)
    numbers = path_statistics(geometry.sel(layer=[layer]), boundaries=["final", *CONTROL_WORDS])
    everything = numbers.peak_distance.sel(layer=layer)
    distances = everything.sel(boundary="final")
    trained = [int(geometry.epoch[-1])]
    shown = distances.sel(epoch=[0, *trained] if 0 in distances.epoch and trained != [0] else trained)
    pairs = [f"{first:g}–{second:g}" for first, second in run.geometry.endpoint_class.values]
    undefined = int(np.isnan(shown.values).sum())
    words = f"{describe(run.geometry, layer)}: steps (of {run.geometry.attrs['steps']}) from the maximum of the "
    words += (
        f"effective volume to the nearest change of prediction at epoch {trained[0]} (dots: networks; bars: median "
    )
    words += "and bootstrap interval)"
    if undefined:
        words += f"; {undefined} of {shown.size} undefined (the prediction never changes, or no volume)"
    width = COLUMN_WIDTH if len(pairs) <= MOST_IN_COLUMN else TEXT_WIDTH
    title = wrapped(words + left_out, width - 0.1)
    top = LINE * (title.count("\n") + 1) + 0.12
    sheet = Sheet.blank(width, top + HEIGHT + TICKS + 3 * LINE, note)
    sheet.text(0.05, 0.05, title, fontsize=FONT_SIZE)
    axes = sheet.axes(LEFT, top, width - LEFT - RIGHT, HEIGHT)
    columns = [shown.isel(pair=pair) for pair in range(len(pairs))] + ([shown] if len(pairs) > 1 else [])
    summaries = []
    for place, column in enumerate(columns):
        summary = over_replicates(column, np.random.default_rng(0), "median")
        summaries.append(summary)
        for epoch in shown.epoch.values.tolist():
            draw_column(
                axes,
                place,
                column.sel(epoch=epoch),
                summary.sel(epoch=epoch),
                "trained" if epoch else "untrained",
            )
    medians = {control: control_medians(everything, control, len(columns)) for control in CONTROL_WORDS}
    for control, heights in medians.items():
        for place, height in enumerate(heights):
            ends = [place + APART - 0.18, place + APART + 0.18]
            axes.plot(ends, [height] * 2, color=LIKE_COLOUR, linestyle=LIKE_LINES[control], linewidth=1.1, zorder=2.5)
    axes.set_xticks(range(len(columns)), [*pairs, "all pairs"][: len(columns)])
    axes.set_xlim(-0.5, len(columns) - 0.5)
    if len(columns) > len(pairs):
        axes.axvline(len(pairs) - 0.5, color=MISSING_COLOUR, linewidth=0.4)
    axes.set_ylim(bottom=-0.5)
    axes.set_ylabel("steps to the nearest change")
    axes.set_xlabel("pair of classes")
    known = [control for control, heights in medians.items() if np.isfinite(heights).any()]
    sheet.legend(keys(shown, known), 2)
    over = xr.concat(summaries, "column").assign_coords(column=[*pairs, "all pairs"][: len(columns)])
    data = over.rename({name: f"median_{name}" for name in over.data_vars}).assign(peak_distance=shown)
    return replace(sheet, data=data.assign({f"median_{name}": ("column", values) for name, values in medians.items()}))


def control_medians(distances: xr.DataArray, control: str, columns: int) -> list[float]:
    """Of the trained networks with a control in place of the change: for each pair, and for all in a last column."""
    values = distances.sel(boundary=control).isel(epoch=-1)
    parts = [values.isel(pair=pair) for pair in range(values.sizes["pair"])] + [values]
    known = [part.values[np.isfinite(part.values)] for part in parts[:columns]]
    return [float(np.median(part)) if part.size else np.nan for part in known]


def draw_column(axes: Axes, place: int, values: xr.DataArray, summary: xr.Dataset, state: str) -> None:
    """The networks of a pair in one state, and their median."""
    side = APART if state == "trained" else -APART
    dots, line = next(look for name, look in STATES.items() if name.startswith(state))
    heights = values.values.ravel()
    spread = 0.1 * np.linspace(-1, 1, len(heights)) if len(heights) > 1 else np.zeros(1)
    axes.plot(place + side + spread, heights, linestyle="none", marker=".", markersize=2.5, color=dots, zorder=1)
    median, low, high = (float(summary[name]) for name in ("estimate", "low", "high"))
    if np.isfinite(median):
        axes.plot([place + side - 0.14, place + side + 0.14], [median, median], color=line, linewidth=1.4, zorder=3)
    if np.isfinite(low):
        axes.plot([place + side, place + side], [low, high], color=line, linewidth=0.8, zorder=2)


def keys(shown: xr.DataArray, controls: Sequence[str] = ()) -> list[Line2D]:
    """Legend entries: the states and the controls that are drawn."""
    drawn = ["untrained" if epoch == 0 else "trained" for epoch in shown.epoch.values]
    states = [(name, look) for name, look in STATES.items() if name.split()[0] in drawn]
    entries = []
    for name, (dots, line) in states:
        entry = Line2D([], [], color=line, linewidth=1.4, marker=".", markersize=4, label=name)
        entry.set(markerfacecolor=dots, markeredgecolor=dots)
        entries.append(entry)
    for control in controls:
        look = {"color": LIKE_COLOUR, "linestyle": LIKE_LINES[control], "linewidth": 1.1}
        entries.append(Line2D([], [], label=CONTROL_WORDS[control], **look))
    return entries
