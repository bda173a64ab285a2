"""What training does to the geometry, for each activation."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nngeom_cli.experiments.panels import DOT, panels
from nngeom_cli.experiments.table import means, networks_in_words
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.style import CLASS_COLOURS

__all__ = ["draw", "statistics"]


def statistics(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """What training does to volume and curvature, for each activation: means over networks."""
    with np.errstate(divide="ignore", invalid="ignore"):
        table = table.assign(
            log_volume_gain=table.log_volume - table.initial_log_volume,
            contrast_gain=table.volume_band_contrast - table.initial_volume_band_contrast,
            log_curvature_gain=np.log(table.curvature / table.initial_curvature),
        )
    names = ["accuracy", "log_volume_gain", "volume_band_contrast", "contrast_gain", "log_curvature_gain"]
    return means(table, "activation", names, rng)


def draw(table: pd.DataFrame, _: pd.DataFrame) -> Sheet:
    """Volume, its contrast at the boundary, and curvature, before and after training, for each activation."""
    words = (
        f"{networks_in_words(table, activation=False)}: the hidden layer before (grey) and after training (colour), a "
        "dot for each network; bars: means. Curvature is the median of |R| over the grid (unit 2-sphere: R = +2)"
    )
    sheet, grid = panels(words, 3, left=0.75)
    kinds = list(dict.fromkeys(table.activation))
    for axes, (name, label) in zip(
        grid,
        [
            ("log_volume", r"mean $\log\,\sqrt{\det g}$ (nats)"),
            ("volume_band_contrast", "log volume at the boundary\nminus elsewhere (nats)"),
            ("curvature", "median $|R|$"),
        ],
        strict=True,
    ):
        for place, kind in enumerate(kinds):
            part = table[table.activation == kind]
            for column, shift, colour in ((f"initial_{name}", 0.18, "0.55"), (name, -0.18, CLASS_COLOURS[0])):
                values = part[column].dropna().to_numpy(float)
                if name == "curvature" and len(values) and (values == 0).all():
                    axes.text(0.03, place + shift, "R = 0", transform=axes.get_yaxis_transform(), va="center")
                    continue
                values = values[np.isfinite(values) & ((values > 0) | (name != "curvature"))]
                axes.plot(values, np.full(len(values), place + shift), **DOT | {"color": colour})
                if len(values):
                    mean = np.exp(np.log(values).mean()) if name == "curvature" else values.mean()
                    axes.plot([mean, mean], [place + shift - 0.15, place + shift + 0.15], color=colour, linewidth=1.4)
        axes.set_ylim(len(kinds) - 0.5, -0.5)
        axes.set_yticks(range(len(kinds)), kinds if axes is grid[0] else [""] * len(kinds))
        axes.set_xlabel(label)
        if name == "volume_band_contrast":
            axes.axvline(0.0, color="0.8", linewidth=0.6, zorder=0)
        if name == "curvature":
            axes.set_xscale("log")
    return sheet
