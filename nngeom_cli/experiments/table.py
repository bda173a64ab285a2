"""Rows of an experiment's table of statistics, made from its table of networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from nngeom_cli.analysis.bootstrap import Estimate, estimate
from nngeom_cli.analysis.power_law import PowerLaw, Rate

__all__ = [
    "ABSENT",
    "decimals",
    "interval_in_words",
    "law_rows",
    "means",
    "networks_in_words",
    "p_in_words",
    "ranges_in_words",
    "row",
    "row_of",
    "rows_of",
]

ABSENT = dict.fromkeys(("estimate", "low", "high", "p", "start", "end", "factor"), np.nan) | {"n": 0.0}


def row(statistic: str, of: Any, found: Estimate, **more: float) -> dict[str, Any]:
    """A statistic `of` some networks, with more numbers before their count."""
    about = {"statistic": statistic, "of": of, "estimate": found.value, "low": found.low, "high": found.high}
    return about | more | {"n": found.n}


def law_rows(name: str, setting: str, of: str, law: PowerLaw) -> list[dict[str, Any]]:
    """The rate of a column in a setting, where a power law fits; how it depends on the range; the local rates."""
    nothing = Rate(np.nan, np.nan, Estimate(np.nan, np.nan, np.nan, 0), np.nan, np.nan)
    return [
        row(
            f"{kind} of {name} in {setting}",
            of,
            each.rate,
            p=each.p,
            start=each.start,
            end=each.end,
            factor=each.factor,
        )
        for kind, rates in (("rate", [law.fitted or nothing]), ("rate by range", law.ranges), ("local rate", law.local))
        for each in rates
    ]


def means(
    table: pd.DataFrame,
    setting: str,
    names: Sequence[str],
    rng: np.random.Generator,
    *,
    logarithmic: Sequence[str] = (),
) -> pd.DataFrame:
    """Mean of each column over the networks at each setting; of those in `logarithmic`, which vary widely and are
    positive, the geometric mean."""
    rows = []
    for value, part in table.groupby(setting, sort=False):
        for name in (*names, *logarithmic):
            values = part[name].to_numpy(float)
            kept = np.isfinite(values) & ((values > 0) | (name not in logarithmic))
            with np.errstate(divide="ignore", invalid="ignore"):
                shown = xr.DataArray(np.log(values) if name in logarithmic else values, dims="replicate").where(kept)
            found = estimate(shown, rng)
            if name in logarithmic:
                middle, low, high = np.exp([found.value, found.low, found.high]).tolist()
                found = Estimate(middle, low, high, found.n)
            rows.append(row(f"{'geometric ' if name in logarithmic else ''}mean {name}", value, found))
    return pd.DataFrame(rows)


def row_of(statistics: pd.DataFrame, statistic: str, of: Any) -> dict[str, float]:
    """The row of a statistic."""
    found = rows_of(statistics, statistic, of)
    return found[0] if found else ABSENT


def rows_of(statistics: pd.DataFrame, statistic: str, of: Any) -> list[dict[str, float]]:
    """All rows of a statistic."""
    rows = statistics[(statistics.statistic == statistic) & (statistics.of == of)]
    return [{key: float(line[key]) for key in ABSENT if key in rows} for _, line in rows.iterrows()]


def interval_in_words(found: dict[str, float]) -> str:
    """[-1.02, -0.88], or that there is none."""
    digits = decimals(found)
    return f"[{found['low']:.{digits}f}, {found['high']:.{digits}f}]" if np.isfinite(found["low"]) else "(no interval)"


def decimals(found: dict[str, float]) -> int:
    """Decimals of an estimate and its interval: two, or as many as tell its ends apart.

    Example:
        >>> decimals({"low": -1.02, "high": -0.88}), decimals({"low": -1.0001, "high": -0.9999})
        (2, 4)
    """
    width = found["high"] - found["low"]
    return max(2, -math.floor(math.log10(width))) if width > 0 else 2


def ranges_in_words(statistics: pd.DataFrame, statistic: str, of: str, letter: str) -> str:
    """The exponent from each setting to the largest, with p of chi^2: from n = 4: -1.62 (p < 0.001), from 8: ..."""
    parts = [
        f"{found['start']:g}: {found['estimate']:.2f} ({p_in_words(found['p'])})"
        for found in rows_of(statistics, statistic.replace("rate", "rate by range", 1), of)
    ]
    return f"{of}, exponent from {letter} = {',  '.join(parts)}" if parts else f"{of}: no range of three settings"


def p_in_words(p: float) -> str:
    """p = 0.023, p < 0.001, or that the seeds are too few to tell."""
    if not np.isfinite(p):
        return "too few seeds"
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def networks_in_words(table: pd.DataFrame, *, activation: bool = True) -> str:
    """How many networks, what they share, and how many diverged."""
    last = table[table.epoch == table.epoch.max()] if "epoch" in table else table
    kinds = list(dict.fromkeys(last.activation))
    words = f"{len(last)} {kinds[0] + ' ' if activation and len(kinds) == 1 else ''}networks"
    diverged = int(last.loss.isna().sum())
    return words + (
        f", of which {diverged} diverged and {'are' if diverged > 1 else 'is'} left out" if diverged else ""
    )
