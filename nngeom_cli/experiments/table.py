"""Rows of an experiment's table of statistics, made from its table of networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from nngeom_cli.analysis.bootstrap import Estimate, estimate

__all__ = ["ABSENT", "interval_in_words", "means", "networks_in_words", "row", "row_of"]

ABSENT = {"estimate": np.nan, "low": np.nan, "high": np.nan, "factor": np.nan, "n": 0}


def row(statistic: str, of: Any, found: Estimate, **more: float) -> dict[str, Any]:
    """A statistic `of` some networks, with more numbers before their count."""
    about = {"statistic": statistic, "of": of, "estimate": found.value, "low": found.low, "high": found.high}
    return about | more | {"n": found.n}


def means(table: pd.DataFrame, setting: str, names: list[str], rng: np.random.Generator) -> pd.DataFrame:
    """Mean of each column over the networks at each setting."""
    rows = []
    for value, part in table.groupby(setting, sort=False):
        for name in names:
            values = xr.DataArray(part[name].to_numpy(float), dims="replicate")
            rows.append(row(f"mean {name}", value, estimate(values.where(np.isfinite(values)), rng)))
    return pd.DataFrame(rows)


def row_of(statistics: pd.DataFrame, statistic: str, of: Any) -> dict[str, float]:
    """The row of a statistic."""
    rows = statistics[(statistics.statistic == statistic) & (statistics.of == of)]
    return ABSENT if rows.empty else {str(key): float(rows.iloc[0][key]) for key in ABSENT if key in rows}


def interval_in_words(found: dict[str, float]) -> str:
    """[-1.02, -0.88], or that there is none."""
    return f"[{found['low']:.2f}, {found['high']:.2f}]" if np.isfinite(found["low"]) else "(no interval)"


def networks_in_words(table: pd.DataFrame, *, activation: bool = True) -> str:
    """How many networks, what they share, and how many diverged."""
    kinds = list(dict.fromkeys(table.activation))
    words = f"{len(table)} {kinds[0] + ' ' if activation and len(kinds) == 1 else ''}networks"
    diverged = int(table.loss.isna().sum())
    return words + (
        f", of which {diverged} diverged and {'are' if diverged > 1 else 'is'} left out" if diverged else ""
    )
