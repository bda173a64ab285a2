"""The table of a run's metrics: each with its interval, its change under training and its strongest control."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from nngeom_cli.analysis.bootstrap import Estimate
from nngeom_cli.analysis.run_rows import Row
from nngeom_cli.analysis.summary import estimates, strongest_control

__all__ = ["metrics_table", "number_words"]


def metrics_table(row: Row, titles: Mapping[str, str], layers: Mapping[int, str]) -> list[dict[str, str]]:
    """A line for each score and each statistic (of each layer) over the networks; empty for an unfinished run.

    Args:
        row: of the run.
        titles: what each statistic is, by name.
        layers: what each layer is called, by number.
    """
    found, lines = estimates(row), []
    for name, estimate in found.items():
        statistic, _, rest = name.partition(".")
        layer = re.fullmatch(r"layer(\d+)", rest)
        if statistic == "band_shared" or (rest and not layer):
            continue
        change, control = found.get(f"{name}.change"), strongest_control(row.values, name)
        lines.append(
            {
                "name": statistic,
                "layer": layers.get(int(layer[1]), rest) if layer else "",
                "title": titles.get(statistic, ""),
                "value": estimate_words(estimate),
                "change": estimate_words(change) if change else "",
                "control": f"{estimate_words(control[1])} ({control[0]})" if control else "",
                "networks": str(estimate.n),
            }
        )
    return lines


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
