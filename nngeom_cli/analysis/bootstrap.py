"""A statistic over replicates: its mean or median with a bootstrap interval, and what training changed, paired."""

from __future__ import annotations

import collections
import copy
import math
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from nngeom_cli.analysis.statistic import Flag, count_reasons

__all__ = ["Centre", "over_replicates", "summarize"]

Array: TypeAlias = NDArray[Any]
Centre: TypeAlias = Literal["mean", "median"]

LEVEL, RESAMPLES = 0.95, 5000
MOST_DRAWN = 2**23  # numbers that are resampled at once
REPLICATION = ("replicate", "pair", "plane")


def over_replicates(values: xr.DataArray, rng: np.random.Generator, centre: Centre = "mean") -> xr.Dataset:
    """Mean or median over replicates (and pairs or planes), with a bootstrap interval of level 95 %.

    Replicates are resampled, each with all its pairs or planes; NaN is left out. Plain percentiles of n resampled
    values are too narrow (they cover 89 % at n = 8): they are taken at Phi(-sqrt(n/(n - 1)) q), q the quantile of
    Student's t (the expanded percentile interval: Hesterberg, The American Statistician 69, 2015). No resample leaves
    the range of the values, so that fewer than 6 replicates cannot give 95 % (3 give 75 %).

    Args:
        values: dims replicate, perhaps pair or plane, and any others, which stay.
        rng: drawn from once: all cells share their resamples.
        centre: what is estimated.

    Returns:
        `estimate`, `low`, `high` (NaN for fewer than two replicates) and `n`, the number of replicates with a value.

    Example:
        >>> values = xr.DataArray([1.0, 2.0, 3.0, 4.0, float("nan")], dims="replicate")
        >>> summary = over_replicates(values, np.random.default_rng(0))
        >>> [round(summary[name].item(), 1) for name in ("estimate", "low", "high", "n")]
        [2.5, 1.0, 4.0, 4]
    """
    reduce: Any = {"mean": np.nanmean, "median": np.nanmedian}[centre]
    replicates = values.sizes["replicate"]
    across = math.prod(values.sizes[dim] for dim in REPLICATION if dim in values.dims)
    at_once = max(1, min(RESAMPLES, MOST_DRAWN // max(1, across)))
    again = copy.deepcopy(rng)  # where not all draws fit into memory they are drawn anew for each cell
    kept = list(_draws(rng, replicates, at_once)) if at_once == RESAMPLES else []
    if not kept:
        collections.deque(_draws(rng, replicates, at_once), maxlen=0)  # the next to draw finds it where it was left

    def estimate(cells: Array) -> tuple[float, float, float, int]:
        cells = cells.reshape(len(cells), -1)  # (replicates, pairs)
        cells = cells[~np.isnan(cells).all(axis=1)]
        n = len(cells)
        if n < 2:
            return (float(reduce(cells)) if n else math.nan), math.nan, math.nan, n
        resampled = [
            reduce(cells[(uniform[:, :n] * n).astype(int)].reshape(len(uniform), -1), axis=1)
            for uniform in kept or _draws(copy.deepcopy(again), replicates, at_once)
        ]
        tail = float(ndtr(-math.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 + LEVEL) / 2)))
        low, high = np.quantile(np.concatenate(resampled), [tail, 1 - tail])
        return float(reduce(cells)), float(low), float(high), n

    pooled = [[dim for dim in REPLICATION if dim in values.dims]]
    results = xr.apply_ufunc(estimate, values, input_core_dims=pooled, output_core_dims=[[]] * 4, vectorize=True)
    return xr.Dataset(dict(zip(("estimate", "low", "high", "n"), results, strict=True)))


def _draws(rng: np.random.Generator, replicates: int, at_once: int) -> Iterator[Array]:
    """`RESAMPLES` rows of uniform numbers, in blocks; the same numbers whatever the size of a block."""
    for first in range(0, RESAMPLES, at_once):
        yield rng.random((min(at_once, RESAMPLES - first), replicates))


def summarize(statistics: xr.Dataset, rng: np.random.Generator, centre: Centre = "mean") -> pd.DataFrame:
    """Each statistic over replicates (`over_replicates`): before training, after it, and their paired difference.

    Args:
        statistics: what `grid_statistics`, `path_statistics` or `plane_statistics` returns.
        rng: for the bootstrap.
        centre: what is estimated; of the differences too.

    Returns:
        A row for each statistic, boundary, layer and stage (initial, trained, difference; initial alone if there is one
        epoch): epoch, estimate, low, high, n (replicates with a value), undefined (networks, or paths of networks,
        without one), reasons (how many of them for each) and units.

    Example:
        >>> summarize(grid_statistics(run.geometry), np.random.default_rng(0))    # doctest: +SKIP
    """
    names = [str(name) for name in statistics if f"{name}_undefined" in statistics]
    values = statistics[names].to_array("statistic")
    flags = statistics[[f"{name}_undefined" for name in names]].to_array("statistic").assign_coords(statistic=names)
    stage = pd.Index(["initial", "trained", "difference"][: 3 if statistics.sizes["epoch"] > 1 else 1], name="stage")
    (first, last), (flag, last_flag) = ([array.isel(epoch=i, drop=True) for i in (0, -1)] for array in (values, flags))
    staged = xr.concat([first, last, last - first][: len(stage)], stage)
    flags = xr.concat([flag, last_flag, flag.where(flag != Flag.DEFINED, last_flag)][: len(stage)], stage)
    pooled = [dim for dim in REPLICATION if dim in values.dims]
    words = xr.apply_ufunc(_in_words, flags, input_core_dims=[pooled], vectorize=True, output_dtypes=[object])
    result = over_replicates(staged, rng, centre).assign(undefined=(flags != Flag.DEFINED).sum(pooled), reasons=words)
    table = pd.DataFrame(result.to_dataframe(dim_order=["statistic", "boundary", "layer", "stage"]).reset_index())
    table.insert(4, "epoch", statistics.epoch.values[np.where(table.stage == "initial", 0, -1)])
    return table.assign(units=[statistics[name].attrs["units"] for name in table.statistic])


def _in_words(flags: Array) -> str:
    """How many for each reason, the most frequent first."""
    return ", ".join(f"{count} {reason}" for reason, count in count_reasons(flags))
