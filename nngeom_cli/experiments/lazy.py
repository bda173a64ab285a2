"""How lazy training is: how much it changes the geometry, against the output scale."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nngeom_cli.analysis.bootstrap import power_law
from nngeom_cli.experiments.panels import CHANGE, draw_law, panels, rate_in_words
from nngeom_cli.experiments.table import ABSENT, means, networks_in_words, row, row_of
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.style import CLASS_COLOURS, FONT_SIZE

__all__ = ["draw", "statistics"]

FITTED = 3.0  # smaller output scales are not yet in the regime of the power law


def statistics(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Rate at which the change of log V falls with the output scale, and the accuracy at each scale."""
    part = table[table.output_scale >= FITTED]
    rate, factor = power_law(part.output_scale.to_numpy(), part.volume_change.to_numpy(), rng)
    rates = [row("rate of volume_change in output scale", f">= {FITTED:g}", rate, factor=factor)]
    scales = means(table, "output_scale", ["accuracy", "volume_change"], rng)
    return pd.concat([pd.DataFrame(rates), scales], ignore_index=True)


def draw(table: pd.DataFrame, statistics: pd.DataFrame) -> Sheet:
    """Change of log V under training against the output scale; final loss."""
    words = (
        f"{networks_in_words(table)}: the network is α (h − h₀), trained on loss / α². Dots: networks; lines: means of "
        f"logarithms; rate (95 % bootstrap interval) of a power law fitted from α = {FITTED:g} on"
    )
    sheet, (left, right) = panels(words, 2)
    scale = table.output_scale.to_numpy()
    law = row_of(statistics, "rate of volume_change in output scale", f">= {FITTED:g}")
    draw_law(left, scale, table.volume_change.to_numpy(), law, FITTED, CLASS_COLOURS[0], rate_in_words("α", law))
    left.set_title("change under training", fontsize=FONT_SIZE)
    left.set_ylabel(CHANGE)
    left.legend(loc="lower left")
    draw_law(right, scale, table.loss.to_numpy(), ABSENT, FITTED, CLASS_COLOURS[0], None)
    right.set_title("how far training got", fontsize=FONT_SIZE)
    right.set_ylabel("training loss at the end")
    for axes in (left, right):
        axes.set_xlabel("output scale α")
    return sheet
