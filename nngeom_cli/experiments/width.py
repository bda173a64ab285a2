"""How the geometry of a layer depends on its width: how much training changes it, how far the limit is."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nngeom_cli.analysis.power_law import power_law
from nngeom_cli.experiments.panels import CHANGE, draw_law, draw_slopes, panels, rate_in_words
from nngeom_cli.experiments.table import law_rows, means, networks_in_words, ranges_in_words, row_of, rows_of
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.style import CLASS_COLOURS, FONT_SIZE, LINE, SMALL_FONT_SIZE, TEXT_WIDTH, wrapped

__all__ = ["draw", "statistics"]

MEASURES = {"volume_change": "change under training", "distance_to_infinite_width": "initial network"}
ABSOLUTE_AND_RELATIVE = ("volume_change", "volume_spread", "change_over_spread")


def statistics(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Rates at which the change of log V under training and its initial distance from infinite width fall with n."""
    rows = []
    for parametrization, name, part in _measured(table):
        law = power_law(part.width.to_numpy(float), part[name].to_numpy(float), part.seed.to_numpy(), rng)
        rows += law_rows(name, "width", parametrization, law)
    settings = table.parametrization + ", n = " + table.width.map("{:g}".format)
    table = table.assign(setting=settings, change_over_spread=table.volume_change / table.volume_spread)
    at_each = means(table, "setting", ["accuracy"], rng, logarithmic=ABSOLUTE_AND_RELATIVE)
    return pd.concat([pd.DataFrame(rows), at_each], ignore_index=True)


def _measured(table: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """Parametrizations and what was measured of them."""
    return [
        (str(parametrization), name, part)
        for parametrization, part in table.groupby("parametrization")
        for name in MEASURES
        if name in part and part[name].notna().any()
    ]


def draw(table: pd.DataFrame, statistics: pd.DataFrame) -> Sheet:
    """Change of log V under training against width; distance of the initial log V from its limit; their slopes."""
    words = (
        f"{networks_in_words(table)}: geometry of the hidden layer against its width n. Dots: networks; lines: "
        "geometric means. Below: slopes between neighbouring widths, 95 % intervals (seeds resampled). Dashed: the "
        "power law over the longest range up to the largest width that chi² allows (p ≥ 0.05, three widths at least)"
    )
    found = _measured(table)
    lines = [
        f"{MEASURES[name]}, {ranges_in_words(statistics, f'rate of {name} in width', parametrization, 'n')}"
        for parametrization, name, _ in found
    ]
    notes = "\n".join(wrapped(line, TEXT_WIDTH - 0.1, SMALL_FONT_SIZE) for line in lines)
    sheet, grid = panels(words, 4, rows=2, keys=notes.count("\n") + 2, left=0.65, gap=0.75)
    kinds = list(dict.fromkeys(parametrization for parametrization, _, _ in found))
    for parametrization, name, part in found:
        place, column = kinds.index(parametrization), list(MEASURES).index(name)
        colour = CLASS_COLOURS[(0, 9)[place]]
        statistic = f"rate of {name} in width"
        law = row_of(statistics, statistic, parametrization)
        label = f"{parametrization}: {rate_in_words('n', law)}"
        means = f"{parametrization}: means"
        draw_law(grid[column], part.width.to_numpy(float), part[name].to_numpy(float), law, colour, label, means)
        local = rows_of(statistics, f"local {statistic}", parametrization)
        draw_slopes(grid[2 + column], local, law, colour, (0.95, 1.05)[place])
    for axes, title in zip(grid, MEASURES.values(), strict=False):
        axes.set_title(title, fontsize=FONT_SIZE)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower left")
    for axes, label in zip(
        grid, [CHANGE, "initial distance from\ninfinite width (nats)", "slope", "slope"], strict=True
    ):
        axes.set_ylabel(label)
    for axes in grid[2:]:
        axes.set_xlabel("width $n$")
    sheet.text(0.05, sheet.height - (notes.count("\n") + 1) * LINE - 0.03, notes, fontsize=SMALL_FONT_SIZE)
    return sheet
