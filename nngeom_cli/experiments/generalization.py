"""Whether the geometry of a trained network is related to its test accuracy."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nngeom_cli.analysis.bootstrap import grouped_rank_correlation
from nngeom_cli.experiments.panels import DOT, panels
from nngeom_cli.experiments.table import interval_in_words, networks_in_words, row, row_of
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.style import CLASS_COLOURS, SMALL_FONT_SIZE

__all__ = ["draw", "statistics"]

# Geometry of a trained network that may be related to its test accuracy.
PREDICTORS = {
    "log_volume": "mean log volume",
    "volume_change": "relative change of log volume",
    "volume_band_contrast": "log volume at the boundary minus elsewhere",
    "volume_rank_correlation": "log volume and closeness to the boundary, ranks",
    "curvature_band_contrast": "log |R| at the boundary minus elsewhere",
}


def statistics(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Rank correlations of geometry with test accuracy: over all networks, and within each setting."""
    groups = table.groupby(["width", "activation", "weight_decay"]).ngroup().to_numpy()
    rows = []
    for name in PREDICTORS:
        for within in (False, True):
            found = grouped_rank_correlation(
                table[name].to_numpy(), table.test_accuracy.to_numpy(), groups, within=within, rng=rng
            )
            of = "seeds of one setting" if within else "all networks"
            rows.append(row(f"rank correlation of {name} with test_accuracy", of, found))
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, statistics: pd.DataFrame) -> Sheet:
    """Test accuracy against each statistic of the geometry."""
    words = (
        f"{networks_in_words(table)}: test accuracy against the geometry of the hidden layer. ρ: Spearman's rank "
        "correlation over all networks (interval: settings resampled) and within settings, where only the seed differs "
        "(networks resampled)"
    )
    sheet, grid = panels(words, len(PREDICTORS), rows=2, keys=1)
    kinds = list(table.groupby("activation"))
    for axes, (name, title) in zip(grid, PREDICTORS.items(), strict=True):
        for place, (kind, part) in enumerate(kinds):
            for size, some in part.groupby("width"):
                look = DOT | {"color": CLASS_COLOURS[place], "markersize": 0.8 + 0.35 * np.log2(float(size))}
                axes.plot(some[name], some.test_accuracy, label=kind if size == part.width.max() else None, **look)
        lines = [f"{title}"]
        for of, short in (("all networks", "all"), ("seeds of one setting", "within")):
            found = row_of(statistics, f"rank correlation of {name} with test_accuracy", of)
            lines.append(f"ρ {short} {found['estimate']:.2f} {interval_in_words(found)}")
        axes.set_title("\n".join(lines), fontsize=SMALL_FONT_SIZE)
        axes.set_ylabel("test accuracy")
    handles, labels = grid[0].get_legend_handles_labels()
    widths = ", ".join(f"{width:g}" for width in sorted(table.width.unique()))
    for handle, label in zip(handles, labels, strict=True):
        handle.set_label(label)
    handles[0].set_label(f"{labels[0]}  (larger dots: wider; n = {widths})")
    sheet.legend(handles, len(handles))
    return sheet
