"""The table of a run's metrics: each with its interval, its change under training and its strongest control."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from nngeom_cli.analysis.columns import FEW, MEANINGS
from nngeom_cli.analysis.estimate import Estimate
from nngeom_cli.analysis.run_rows import Row
from nngeom_cli.analysis.summary import strongest_control

__all__ = ["few_metrics", "metrics_table"]

LAYER = re.compile(r"layer(\d+)|prediction|")
MOST_FEW = 12


def metrics_table(row: Row, titles: Mapping[str, str], layers: Mapping[int, str]) -> list[dict[str, str]]:
    """A line for each score and each statistic (of each layer) over the networks; empty for an unfinished run.

    Args:
        row: of the run.
        titles: what each statistic is, by name.
        layers: what each layer is called, by number.
    """
    names = {f"layer{number}": words for number, words in layers.items()}
    lines = []
    for name, found in row.estimates.items():
        statistic, _, layer = name.partition(".")
        if statistic == "band_shared" or not LAYER.fullmatch(layer):
            continue
        change, control = row.estimates.get(f"{name}.change"), strongest_control(row.estimates, name)
        lines.append(
            {
                "name": statistic,
                "layer": names.get(layer, list(layers.values())[-1] if layer == "prediction" else layer),
                "title": titles.get(statistic) or MEANINGS.get(statistic, ("", ""))[1],
                "value": estimate_words(found),
                "change": estimate_words(change) if change else "",
                "control": f"{estimate_words(control[1])} ({control[0]})" if control else "",
                "networks": str(found.n),
            }
        )
    return lines


def few_metrics(row: Row) -> dict[str, str]:
    """The metrics that `nngeom summarize` shows first."""
    known = {name: name.partition(".") for name in row.estimates}
    names = [name for name, (statistic, _, rest) in known.items() if statistic in FEW and LAYER.fullmatch(rest)]
    return {name: estimate_words(row.estimates[name]) for name in names[:MOST_FEW] if row.estimates[name].n}


def estimate_words(found: Estimate) -> str:
    """For example `0.94 ± 0.02 [0.91, 0.96]`."""
    if found.n == 0:
        return "none"
    if math.isnan(found.standard_deviation):
        return number_words(found.value)
    ends = ", ".join(map(number_words, (found.low, found.high)))
    return f"{number_words(found.value)} ± {number_words(found.standard_deviation, 2)} [{ends}]"


def number_words(value: float, digits: int = 3) -> str:
    """A few digits, with a minus sign.

    Example:
        >>> number_words(-0.01234), number_words(1e-06)
        ('−0.0123', '1e−06')
    """
    return f"{value:.{digits}g}".replace("-", "−")
