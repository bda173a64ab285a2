"""How the geometry of a layer depends on its width: how much training changes it, how far the limit is."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nngeom_cli.analysis.bootstrap import power_law
from nngeom_cli.experiments.panels import CHANGE, draw_law, panels, rate_in_words
from nngeom_cli.experiments.table import networks_in_words, row, row_of
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.style import CLASS_COLOURS, FONT_SIZE

__all__ = ["draw", "statistics"]

FITTED = 16  # narrower networks are not yet in the regime of the power law


def statistics(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Rates at which the change of log V under training and its initial distance from infinite width fall with n."""
    rows = []
    for parametrization, part in table[table.width >= FITTED].groupby("parametrization"):
        for name in ("volume_change", "distance_to_infinite_width"):
            if name in part and part[name].notna().any():
                rate, factor = power_law(part.width.to_numpy(float), part[name].to_numpy(), rng)
                rows.append(row(f"rate of {name} in width", parametrization, rate, factor=factor))
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, statistics: pd.DataFrame) -> Sheet:
    """Change of log V under training against width; distance of the initial log V from its limit."""
    words = (
        f"{networks_in_words(table)}: geometry of the hidden layer against its width n. Dots: networks; lines: means "
        f"of logarithms; rates (95 % bootstrap intervals) of power laws fitted from n = {FITTED} on"
    )
    sheet, (left, right) = panels(words, 2)
    for name, colour, axes, title in [
        ("volume_change", None, left, "change under training"),
        ("distance_to_infinite_width", None, right, "initial network"),
    ]:
        for place, (parametrization, part) in enumerate(table.groupby("parametrization")):
            if name not in part or part[name].isna().all():
                continue
            colour = CLASS_COLOURS[(0, 9)[place]]
            law = row_of(statistics, f"rate of {name} in width", parametrization)
            label = f"{parametrization}: {rate_in_words('n', law)}"
            draw_law(axes, part.width.to_numpy(float), part[name].to_numpy(), law, FITTED, colour, label)
        axes.set_title(title, fontsize=FONT_SIZE)
        axes.set_xlabel("width $n$")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower left")
    left.set_ylabel(CHANGE)
    right.set_ylabel(r"$\|\log V_\mathrm{initial} - \log V_\infty\|\,/\,\|\log V_\infty\|$")
    return sheet
