"""What training does to the geometry, for each activation."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nngeom_cli.analysis.statistic import CONTROLS
from nngeom_cli.experiments.panels import DOT, panels
from nngeom_cli.experiments.table import means, networks_in_words, row_of
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.style import CLASS_COLOURS

__all__ = ["draw", "statistics"]

DRAWN = {
    "log_volume": r"mean $\log\,\sqrt{\det g}$ (nats)",
    "volume_band_contrast": "log volume at the boundary\nminus elsewhere (nats)",
    "log_curvature": r"median $|R|$",
}
BANDS = ["volume_band_mean", "volume_band_contrast", "curvature_band_mean", "curvature_band_contrast"]


def statistics(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Volume and curvature of each activation, trained, untrained, and what training adds: means over networks.

    All but the accuracy are logarithms (nats). Those of the band at the boundary are also of its controls.
    """
    table = _with_logarithms(table)
    banded = [f"{name}{end}" for name in BANDS for end in ("", *(f"_{control}" for control in CONTROLS["grid"]))]
    names = [*DRAWN, *(name for name in banded if name in table and name not in DRAWN)]
    gains = {f"{name}_gain": table[name] - table[f"initial_{name}"] for name in names}
    shown = [column for name in names for column in (f"initial_{name}", name, f"{name}_gain")]
    return means(table.assign(**gains), "activation", ["accuracy", *shown], rng)


def _with_logarithms(table: pd.DataFrame) -> pd.DataFrame:
    """With log of the median |R|; NaN where it is 0."""
    curved = {f"{end}log_curvature": table[f"{end}curvature"] for end in ("initial_", "")}
    return table.assign(**{name: np.log(values.where(values > 0)) for name, values in curved.items()})


def draw(table: pd.DataFrame, statistics: pd.DataFrame) -> Sheet:
    """Volume, its contrast at the boundary, and curvature, before and after training, for each activation."""
    words = (
        f"{networks_in_words(table, activation=False)}: the hidden layer before (grey) and after training (colour), a "
        "dot for each network; bars: means, of |R| the geometric one, and 95 % intervals. |R|: median over the grid "
        "(unit 2-sphere: R = +2). Brown: the contrast after training at the mirrored boundary, a control"
    )
    sheet, grid = panels(words, 3, left=0.75)
    kinds = list(dict.fromkeys(table.activation))
    table = _with_logarithms(table)
    for axes, (name, label) in zip(grid, DRAWN.items(), strict=True):
        columns = [(f"initial_{name}", 0.25, "0.55"), (name, -0.25, CLASS_COLOURS[0])]
        if f"{name}_mirrored" in table:
            columns.append((f"{name}_mirrored", 0.0, CLASS_COLOURS[9]))
        logarithmic = name == "log_curvature"
        for place, kind in enumerate(kinds):
            part = table[table.activation == kind]
            for column, shift, colour in columns:
                flat = part[column.replace("log_", "")].dropna() if logarithmic else None
                if flat is not None and len(flat) and (flat == 0).all():
                    axes.text(0.03, place + shift, "R = 0", transform=axes.get_yaxis_transform(), va="center")
                    continue
                values = part[column].dropna().to_numpy(float)
                found = row_of(statistics, f"mean {column}", kind)
                mean, ends = found["estimate"], [found["low"], found["high"]]
                if logarithmic:
                    values, mean, ends = np.exp(values), np.exp(mean), np.exp(ends).tolist()
                axes.plot(values, np.full(len(values), place + shift), **DOT | {"color": colour})
                axes.plot([mean, mean], [place + shift - 0.11, place + shift + 0.11], color=colour, linewidth=1.4)
                axes.plot(ends, [place + shift] * 2, color=colour, linewidth=1.0)
        axes.set_ylim(len(kinds) - 0.5, -0.5)
        axes.set_yticks(range(len(kinds)), kinds if axes is grid[0] else [""] * len(kinds))
        axes.set_xlabel(label)
        if name == "volume_band_contrast":
            axes.axvline(0.0, color="0.8", linewidth=0.6, zorder=0)
        if logarithmic:
            axes.set_xscale("log")
    return sheet
