"""A number over networks with its interval: one bootstrap for means, medians, power laws and rank correlations."""

from __future__ import annotations

import collections
import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import ndtr, stdtrit
from scipy.stats import rankdata

from nngeom_cli.analysis.statistic import Array, Flag, count_reasons

__all__ = [
    "LEVEL",
    "Centre",
    "Estimate",
    "estimate",
    "grouped_rank_correlation",
    "over_replicates",
    "power_law",
    "stage_table",
]

Centre: TypeAlias = Literal["mean", "median"]

LEVEL, RESAMPLES = 0.95, 5000
MOST_RESAMPLED = 2**23  # numbers that are resampled at once
REPLICATION = ("replicate", "pair", "plane")


@dataclass(frozen=True)
class Estimate:
    """A number over `n` networks with its 95 % interval, and how far they spread; NaN where there is none."""

    value: float
    low: float
    high: float
    n: int
    standard_deviation: float = math.nan  # between networks

    def __str__(self) -> str:
        if self.low == self.high:
            return f"{self.value:.3g} (n = {self.n})"
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}] (n = {self.n})"


def interval(resampled: Array, n: int, groups: int = 1) -> tuple[float, float]:
    """The ends of an expanded percentile interval of level 95 %: Hesterberg, The American Statistician 69, 2015.

    Plain percentiles of n resampled values are too narrow (they cover 89 % at n = 8): they are taken at
    Phi(-sqrt(n / (n - groups)) q), q the quantile of Student's t with n - groups degrees of freedom.

    Args:
        resampled: the statistic of each resample; NaN is left out.
        n: how many values were resampled.
        groups: the number of groups, each resampled separately.

    Returns:
        Both NaN where no group has two values.
    """
    resampled = resampled[~np.isnan(resampled)]
    if n <= groups or not resampled.size:
        return math.nan, math.nan
    tail = float(ndtr(-math.sqrt(n / (n - groups)) * stdtrit(n - groups, (1 + LEVEL) / 2)))
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(low), float(high)


def over_replicates(values: xr.DataArray, rng: np.random.Generator, centre: Centre = "mean") -> xr.Dataset:
    """Mean or median over replicates (and pairs or planes), with a bootstrap interval of level 95 %.

    Replicates are resampled, each with all its pairs or planes; NaN is left out. No resample leaves the range of the
    values, so fewer than 6 replicates cannot give 95 % (3 give 75 %).

    Args:
        values: dims replicate, perhaps pair or plane, and any others, which stay.
        rng: draws the resamples, which all cells share.
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
    at_once = max(1, min(RESAMPLES, MOST_RESAMPLED // max(1, across)))
    again = copy.deepcopy(rng)  # where not all draws fit into memory, each cell draws them again
    kept = list(_draws(rng, replicates, at_once)) if at_once == RESAMPLES else []
    if not kept:
        collections.deque(_draws(rng, replicates, at_once), maxlen=0)  # leaves `rng` in the same state either way

    def of_cell(cells: Array) -> tuple[float, float, float, int]:
        cells = cells.reshape(len(cells), -1)  # (replicates, pairs)
        cells = cells[~np.isnan(cells).all(axis=1)]
        n = len(cells)
        if n < 2:
            return (float(reduce(cells)) if n else math.nan), math.nan, math.nan, n
        resampled = [
            reduce(cells[(uniform[:, :n] * n).astype(int)].reshape(len(uniform), -1), axis=1)
            for uniform in kept or _draws(copy.deepcopy(again), replicates, at_once)
        ]
        return float(reduce(cells)), *interval(np.concatenate(resampled), n), n

    pooled = [[dim for dim in REPLICATION if dim in values.dims]]
    results = xr.apply_ufunc(of_cell, values, input_core_dims=pooled, output_core_dims=[[]] * 4, vectorize=True)
    return xr.Dataset(dict(zip(("estimate", "low", "high", "n"), results, strict=True)))


def _draws(rng: np.random.Generator, replicates: int, at_once: int) -> Iterator[Array]:
    """`RESAMPLES` rows of uniform numbers, in blocks; the same numbers whatever the size of a block."""
    for first in range(0, RESAMPLES, at_once):
        yield rng.random((min(at_once, RESAMPLES - first), replicates))


def estimate(values: xr.DataArray, rng: np.random.Generator, centre: Centre = "mean") -> Estimate:
    """`over_replicates` of values with no other dims, and the standard deviation of replicates."""
    over = over_replicates(values, rng, centre)
    of_network = values.mean([dim for dim in values.dims if dim != "replicate"]).dropna("replicate")
    spread = float(of_network.std(ddof=1)) if of_network.size > 1 else math.nan
    return Estimate(float(over.estimate), float(over.low), float(over.high), int(over.n), spread)


def stage_table(statistics: xr.Dataset, rng: np.random.Generator, centre: Centre = "mean") -> pd.DataFrame:
    """Each statistic over replicates (`over_replicates`): before training, after it, and their paired difference.

    Args:
        statistics: what `grid_statistics`, `path_statistics` or `plane_statistics` returns.
        rng: for the bootstrap.
        centre: what is estimated, also for the differences.

    Returns:
        A row for each statistic, boundary, layer and stage (initial, trained, difference; initial alone if there is one
        epoch): epoch, estimate, low, high, n (replicates with a value), undefined (networks, or paths of networks,
        without one), reasons (how many of them for each) and units. After the boundaries of a statistic come `final -
        other` and so on, the paired differences from each of its controls. `boundary` is empty where a statistic asks
        about none.

    Example:
        >>> stage_table(grid_statistics(run.geometry), np.random.default_rng(0))    # doctest: +SKIP
    """
    rows = [row for name in statistics if f"{name}_undefined" in statistics for row in _rows_of(statistics, str(name))]
    names, boundaries, values, flags = zip(*rows, strict=True)
    values, flags = (xr.concat(arrays, "row", coords="minimal", compat="override") for arrays in (values, flags))
    stage = pd.Index(["initial", "trained", "difference"][: 3 if statistics.sizes["epoch"] > 1 else 1], name="stage")
    (first, last), (flag, last_flag) = ([array.isel(epoch=i, drop=True) for i in (0, -1)] for array in (values, flags))
    staged = xr.concat([first, last, last - first][: len(stage)], stage)
    flags = xr.concat([flag, last_flag, flag.where(flag != Flag.DEFINED, last_flag)][: len(stage)], stage)
    pooled = [dim for dim in REPLICATION if dim in values.dims]
    words = xr.apply_ufunc(_in_words, flags, input_core_dims=[pooled], vectorize=True, output_dtypes=[object])
    result = over_replicates(staged, rng, centre).assign(undefined=(flags != Flag.DEFINED).sum(pooled), reasons=words)
    table = pd.DataFrame(result.to_dataframe(dim_order=["row", "layer", "stage"]).reset_index())
    row = table.pop("row")
    table.insert(0, "statistic", np.array(names)[row])
    table.insert(1, "boundary", np.array(boundaries)[row])
    table.insert(4, "epoch", statistics.epoch.values[np.where(table.stage == "initial", 0, -1)])
    return table.assign(units=[statistics[name].attrs["units"] for name in table.statistic])


def _rows_of(statistics: xr.Dataset, name: str) -> Iterator[tuple[str, str, xr.DataArray, xr.DataArray]]:
    """A statistic's name, each of its boundaries and its differences from controls, values and flags."""
    values, flags = (statistics[one].reset_coords(drop=True) for one in (name, f"{name}_undefined"))
    if "boundary" not in values.dims:
        yield name, "", values, flags
        return
    known = values.boundary.values.tolist()
    of = {known: (values.sel(boundary=known, drop=True), flags.sel(boundary=known, drop=True)) for known in known}
    for boundary, (value, flag) in of.items():
        yield name, boundary, value, flag
    for control in known:
        if control not in ("final", "own") and "final" in of:
            (value, flag), (theirs, their_flag) = of["final"], of[control]
            yield name, f"final - {control}", value - theirs, flag.where(flag != Flag.DEFINED, their_flag)


def _in_words(flags: Array) -> str:
    """How many for each reason, the most frequent first."""
    return ", ".join(f"{count} {reason}" for reason, count in count_reasons(flags))


def power_law(x: Array, y: Array, rng: np.random.Generator) -> tuple[Estimate, float]:
    """The rate r of y ~ x^r by least squares on logarithms, and a bootstrap interval over the networks at each x.

    Args:
        x: positive, `(networks,)`; each value has several networks.
        y: measured values, `(networks,)`; those that are not positive are left out.
        rng: draws the resamples.

    Returns:
        r, and the factor in y = factor x^r.

    Example:
        >>> x, y = np.array([1, 1, 2, 2, 4, 4]), np.array([3, 3, 1.5, 1.5, 0.75, 0.75])
        >>> rate, factor = power_law(x, y, np.random.default_rng(0))
        >>> [round(number, 6) for number in (rate.value, rate.low, rate.high, factor)]
        [-1.0, -1.0, -1.0, 3.0]
    """
    usable = np.isfinite(y) & (y > 0)
    x, y = x[usable], y[usable]
    places = np.unique(x)
    if len(places) < 2:
        return Estimate(math.nan, math.nan, math.nan, len(x)), math.nan
    groups = [np.log(y[x == place]) for place in places]
    centred = np.log(places) - np.log(places).mean()
    weights = centred / (centred**2).sum()
    means = np.array([group.mean() for group in groups])
    resampled = np.stack([rng.choice(group, (RESAMPLES, len(group))).mean(axis=1) for group in groups])
    slope = float(weights @ means)
    factor = math.exp(means.mean() - slope * np.log(places).mean())
    return Estimate(slope, *interval(weights @ resampled, len(x), len(places)), len(x)), factor


def grouped_rank_correlation(x: Array, y: Array, groups: Array, *, within: bool, rng: np.random.Generator) -> Estimate:
    """Spearman's correlation over networks, with a bootstrap interval that respects their groups.

    Args:
        x: `(networks,)`; networks without a value are left out.
        y: `(networks,)`.
        groups: the setting of each network.
        within: whether ranks are taken within each group, so that differences between settings do not count.
        rng: draws the resamples of groups; within groups, of networks.

    Example:
        >>> x, groups = np.array([1.0, 2, 3, 11, 12, 13]), np.array([0, 0, 0, 1, 1, 1])
        >>> y = np.array([3.0, 2, 1, 13, 12, 11])
        >>> for within in (False, True):
        ...     found = grouped_rank_correlation(x, y, groups, within=within, rng=np.random.default_rng(0))
        ...     print(round(found.value, 3))
        0.543
        -1.0
    """
    usable = np.isfinite(x) & np.isfinite(y)
    members = [np.flatnonzero(usable & (groups == group)) for group in np.unique(groups)]
    members = [member for member in members if len(member) > (1 if within else 0)]
    if not members:
        return Estimate(math.nan, math.nan, math.nan, 0)

    def correlation(parts: list[Array]) -> Array:
        """Of each resample, from the networks `(resamples, some)` that are ranked together."""
        a, b = (
            np.concatenate([rankdata(values[part], axis=1) - (part.shape[1] + 1) / 2 for part in parts], axis=1)
            for values in (x, y)
        )
        with np.errstate(invalid="ignore"):
            return np.asarray((a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1)))

    if within:
        estimate = correlation([member[None] for member in members])
        resampled = correlation(
            [member[rng.integers(len(member), size=(RESAMPLES, len(member)))] for member in members]
        )
    else:
        estimate = correlation([np.concatenate(members)[None]])
        drawn = rng.integers(len(members), size=(RESAMPLES // 5, len(members)))
        resampled = np.concatenate([correlation([np.concatenate([members[p] for p in row])[None]]) for row in drawn])
    n = sum(map(len, members))
    drawn_from = (n, len(members)) if within else (len(members), 1)
    return Estimate(float(estimate[0]), *interval(resampled, *drawn_from), n)
