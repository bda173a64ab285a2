"""How lazy training is: how much it changes the geometry, against the output scale."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nngeom_cli.analysis.power_law import power_law
from nngeom_cli.experiments.panels import CHANGE, draw_law, draw_slopes, panels, rate_in_words
from nngeom_cli.experiments.table import ABSENT, law_rows, means, networks_in_words, ranges_in_words, row_of, rows_of
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.style import CLASS_COLOURS, FONT_SIZE, LINE, SMALL_FONT_SIZE

__all__ = ["draw", "statistics"]

RATE, OF = "rate of volume_change in output_scale", "all networks"


def statistics(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Rate at which the change of log V falls with the output scale, and what training did at each scale."""
    table = table.assign(change_over_spread=table.volume_change / table.volume_spread)
    scales = table.output_scale.to_numpy(float)
    law = power_law(scales, table.volume_change.to_numpy(float), table.seed.to_numpy(), rng)
    logarithmic = ["volume_change", "volume_spread", "change_over_spread", "loss"]
    at_each = means(table, "output_scale", ["accuracy"], rng, logarithmic=logarithmic)
    return pd.concat([pd.DataFrame(law_rows("volume_change", "output_scale", OF, law)), at_each], ignore_index=True)


def draw(table: pd.DataFrame, statistics: pd.DataFrame) -> Sheet:
    """Change of log V under training against the output scale, its slopes, and the same beside another seed."""
    words = (
        f"{networks_in_words(table)}: the network is α (h − h₀), trained on loss / α². Dots: networks; lines: "
        "geometric means. Middle: slopes between neighbouring scales, 95 % intervals (seeds resampled). Dashed: the "
        "power law over the longest range up to the largest scale that chi² allows (p ≥ 0.05, three scales at least)"
    )
    sheet, (left, middle, right) = panels(words, 3, keys=1, left=0.65, gap=0.6)
    scale = table.output_scale.to_numpy(float)
    law = row_of(statistics, RATE, OF)
    draw_law(left, scale, table.volume_change.to_numpy(float), law, CLASS_COLOURS[0], rate_in_words("α", law))
    left.set_title("change under training", fontsize=FONT_SIZE)
    left.set_ylabel(CHANGE)
    left.legend(loc="lower left")
    draw_slopes(middle, rows_of(statistics, f"local {RATE}", OF), law, CLASS_COLOURS[0], 1.0)
    middle.set_title("its local rate", fontsize=FONT_SIZE)
    middle.set_ylabel("slope")
    share = (table.volume_change / table.volume_spread).to_numpy(float)
    draw_law(right, scale, share, ABSENT, CLASS_COLOURS[0], None)
    right.axhline(1.0, color="0.6", linewidth=0.6, zorder=0)
    right.set_title("beside another seed", fontsize=FONT_SIZE)
    right.set_ylabel("change over the difference\nbetween two untrained networks")
    for axes in (left, middle, right):
        axes.set_xlabel("output scale α")
    sheet.text(0.05, sheet.height - LINE - 0.03, ranges_in_words(statistics, RATE, OF, "α"), fontsize=SMALL_FONT_SIZE)
    return sheet
