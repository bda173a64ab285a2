"""A number over networks with its interval: the one bootstrap, which draws seeds, means and medians by it; shares."""

from __future__ import annotations

import collections
import copy
import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import ndtr, ndtri, stdtrit

from nngeom_cli.analysis.estimate import NOTHING, Estimate
from nngeom_cli.analysis.statistic import Array, Flag, count_reasons

__all__ = [
    "LEVEL",
    "RESAMPLES",
    "Centre",
    "Estimate",
    "Seeds",
    "estimate",
    "estimates",
    "interval",
    "over_replicates",
    "proportion",
    "resampled_seeds",
    "stage_table",
]

Centre: TypeAlias = Literal["mean", "median"]

LEVEL, RESAMPLES = 0.95, 5000
MOST_RESAMPLED = 2**23  # numbers that are resampled at once
REPLICATION = ("replicate", "pair", "plane")


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
    tail = _tail(n, groups)
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(low), float(high)


@functools.cache
def _tail(n: int, groups: int = 1) -> float:
    """The share of resamples that lie beyond each end of the interval."""
    return float(ndtr(-math.sqrt(n / (n - groups)) * stdtrit(n - groups, (1 + LEVEL) / 2)))


@dataclass(frozen=True)
class Seeds:
    """The seeds of some networks, and how often each is in each resample.

    Attributes:
        place: of each network, the place of its seed below, `(networks,)`.
        stratum: of each seed, `(seeds,)`; seeds are drawn within their stratum.
        counts: `(resamples, seeds)`.
    """

    place: Array
    stratum: Array
    counts: Array

    @property
    def strata(self) -> int:
        return len(np.unique(self.stratum))


def resampled_seeds(seeds: Array, settings: Array, rng: np.random.Generator, resamples: int = RESAMPLES) -> Seeds:
    """Draws seeds, each with all its networks: one seed has the same initial network or data in several settings.

    Seeds that appear in the same settings, or in settings linked by other seeds, are drawn among each other; where each
    setting has seeds of its own, they are drawn within it.

    Args:
        seeds: of each network, `(networks,)`.
        settings: of each network, `(networks,)`.
        rng: draws them.
        resamples: how many.

    Example:
        >>> drawn = resampled_seeds(np.array([0, 1, 0, 1, 7]), np.array([4, 4, 8, 8, 16]), np.random.default_rng(0))
        >>> drawn.place.tolist(), drawn.stratum.tolist(), drawn.counts[:, 2].tolist() == [1] * 5000
        ([0, 1, 0, 1, 2], [0, 0, 1], True)
    """
    known, place = np.unique(seeds, return_inverse=True)
    known_settings, setting = np.unique(settings, return_inverse=True)
    nodes = len(known) + len(known_settings)
    links = coo_array((np.ones(len(place)), (place, len(known) + setting)), shape=(nodes, nodes))
    stratum = connected_components(links, directed=False)[1][: len(known)]
    counts = np.zeros((resamples, len(known)))
    for one in np.unique(stratum):
        members = np.flatnonzero(stratum == one)
        counts[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=resamples)
    return Seeds(place, stratum, counts)


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
    spread = float(standard_deviation(of_network)) if of_network.size > 1 else math.nan
    return Estimate(float(over.estimate), float(over.low), float(over.high), int(over.n), spread)


def standard_deviation(values: Array) -> Array:
    """Along the first axis, infinite where squares are too large for a number: a loss may be 1e189.

    Example:
        >>> standard_deviation(np.array([[1.0, 1e189], [3.0, 3e189]]))
        array([1.41421356,        inf])
    """
    with np.errstate(over="ignore"):
        spread: Array = values.std(axis=0, ddof=1)
    return spread


def estimates(values: Mapping[str, Array]) -> dict[str, Estimate]:
    """`estimate` of many statistics at once, each with the resamples of `np.random.default_rng(0)`.

    Args:
        values: by name, `(replicates, repetitions)`: over pairs or planes, one column where there are none; NaN is
            left out.

    Example:
        >>> found = estimates({"loss": np.array([[1.0], [2.0], [3.0], [4.0], [math.nan]])})
        >>> print(found["loss"])
        2.5 [1, 4] (n = 4)
    """
    counts = {name: (~np.isnan(of)).sum(axis=1) for name, of in values.items()}
    sums = {name: np.nansum(of, axis=1) for name, of in values.items()}
    found = dict.fromkeys(values, NOTHING)
    alike: dict[tuple[int, bytes], list[str]] = {}  # statistics of which the same networks have the same weight
    for name, count in counts.items():
        alike.setdefault((len(count), count.tobytes()), []).append(name)
    for (replicates, _), names in alike.items():
        weights = counts[names[0]]
        known = weights > 0
        n, total = int(known.sum()), np.stack([sums[name][known] for name in names], axis=1)
        if n == 0:
            continue
        means = total.sum(axis=0) / weights[known].sum()
        of_network = total / weights[known][:, None]
        if n == 1:
            found |= {
                name: Estimate(float(mean), math.nan, math.nan, 1) for name, mean in zip(names, means, strict=True)
            }
            continue
        drawn = _times_drawn(replicates, n)
        tail = _tail(n)
        ends = np.quantile(drawn @ total / (drawn @ weights[known])[:, None], [tail, 1 - tail], axis=0)
        spreads = standard_deviation(of_network)
        for name, *numbers in zip(names, means, *ends, spreads, strict=True):
            value, low, high, spread = map(float, numbers)
            found[name] = Estimate(value, low, high, n, spread)
    return found


@functools.lru_cache(maxsize=8)
def _times_drawn(replicates: int, n: int) -> Array:
    """How often each of `n` networks of `replicates` is in each resample, `(RESAMPLES, n)`."""
    uniform = np.random.default_rng(0).random((RESAMPLES, replicates))[:, :n]
    times = np.zeros((RESAMPLES, n))
    np.add.at(times, (np.arange(RESAMPLES)[:, None], (uniform * n).astype(int)), 1.0)
    return times


def proportion(count: int, of: int) -> Estimate:
    """A share of networks with Wilson's interval; NaN of none.

    Example:
        >>> print(proportion(8, 8))
        1 [0.676, 1] (n = 8)
    """
    if not of:
        return NOTHING
    share, z = count / of, float(ndtri((1 + LEVEL) / 2))
    middle, half = share + z**2 / (2 * of), z * math.sqrt(share * (1 - share) / of + (z / (2 * of)) ** 2)
    low, high = ((middle + side * half) / (1 + z**2 / of) for side in (-1, 1))
    spread = math.sqrt(of / (of - 1) * share * (1 - share)) if of > 1 else math.nan
    return Estimate(share, low if count else 0.0, high if count < of else 1.0, of, spread)


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
