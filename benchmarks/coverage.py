"""How often 95 % intervals hold the truth, by simulation: the table of docs/statistics.md (make coverage-tables).

python benchmarks/coverage.py [trials]
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import binom, binomtest, rankdata, spearmanr

from nngeom_cli.analysis.bootstrap import LEVEL, Centre, estimate
from nngeom_cli.analysis.power_law import power_law
from nngeom_cli.analysis.relation import grouped_rank_correlation

Array = NDArray[np.float64]
Ends = tuple[float, float, float]  # of an interval, and the truth

TRIALS = 500
SIZES = {"replicates": (3, 8, 16, 50), "paths": (3, 8, 16), "seeds": (8, 16, 24), "proportion": (8, 16, 50)}
DATA = ("normal", "lognormal", "tied")
PAIRS, SETTINGS = 10, 18
WIDTHS = np.array([8.0, 16, 32, 64, 128, 256])
RATE = -0.75


def draw(data: str, rng: np.random.Generator, *shape: int) -> Array:
    """Normal, lognormal (sigma 1), or counts from 0 to 4."""
    if data == "tied":
        return rng.binomial(4, 0.5, size=shape).astype(float)
    values = rng.normal(size=shape)
    return np.exp(values) if data == "lognormal" else values


MEAN = {"normal": 0.0, "lognormal": math.exp(0.5), "tied": 2.0}
MEDIAN = {"normal": 0.0, "lognormal": 1.0, "tied": 2.0}


def of_values(values: Array, truth: float, rng: np.random.Generator, centre: Centre = "mean") -> Ends:
    found = estimate(xr.DataArray(values, dims=("replicate", "pair")[: values.ndim]), rng, centre)
    return found.low, found.high, truth


def mean(data: str, n: int, rng: np.random.Generator) -> Ends:
    return of_values(draw(data, rng, n), MEAN[data], rng)


def median(data: str, n: int, rng: np.random.Generator) -> Ends:
    return of_values(draw(data, rng, n), MEDIAN[data], rng, "median")


def mean_of_pairs(data: str, n: int, rng: np.random.Generator) -> Ends:
    """Ten pairs of each replicate, half of whose variance is the replicate's."""
    values = draw(data, rng, n, 1) + draw(data, rng, n, PAIRS)
    return of_values(values, 2 * MEAN[data], rng)


@cache
def median_of_sum(data: str) -> float:
    """The median of two draws added; by simulation where they are skewed."""
    if data != "lognormal":
        return 2 * MEDIAN[data]
    return float(np.median(draw(data, np.random.default_rng(0), 2, 4_000_000).sum(axis=0)))


def median_of_pairs(data: str, n: int, rng: np.random.Generator) -> Ends:
    """Of all pairs of all replicates, as the distances and volumes of paths have it."""
    return of_values(draw(data, rng, n, 1) + draw(data, rng, n, PAIRS), median_of_sum(data), rng, "median")


def paired_difference(data: str, n: int, rng: np.random.Generator) -> Ends:
    """Trained minus initial, which share something of each replicate."""
    shared, before, after = (draw(data, rng, n) for _ in range(3))
    return of_values((shared + 2 * after) - (shared + before), MEAN[data], rng)


def noisy_law(data: str, n: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Widths, values and seeds: each seed is at each width, with a deviation of the seed's and one of its own."""
    seed, own = (draw(data, rng, n, size) - MEAN[data] for size in (1, len(WIDTHS)))
    logs = RATE * np.log(WIDTHS) + (0.2 * seed + 0.3 * own) * (WIDTHS / WIDTHS[0]) ** -0.3
    return np.tile(WIDTHS, n), np.exp(logs).ravel(), np.repeat(np.arange(n), len(WIDTHS))


def local_rate(data: str, n: int, rng: np.random.Generator) -> Ends:
    found = power_law(*noisy_law(data, n, rng), rng).local[2].rate
    return found.low, found.high, RATE


def fitted_rate(data: str, n: int, rng: np.random.Generator) -> Ends | None:
    """Over the range that the rule chooses, where chi^2 allows one."""
    found = power_law(*noisy_law(data, n, rng), rng).fitted
    return (found.rate.low, found.rate.high, RATE) if found else None


def related(data: str, n: int, settings: int, rng: np.random.Generator) -> tuple[Array, Array, Array, Array]:
    """x, y, settings and seeds: both numbers have parts of the seed, of the setting and of their own; rho = 0.5."""
    x, y = (sum(draw("normal", rng, *shape) for shape in ((1, n), (settings, 1), (settings, n))) for _ in range(2))
    y = 0.5 * x + math.sqrt(0.75) * y
    if data == "tied":
        x, y = np.round(x), np.round(y)
    setting, seed = np.indices((settings, n))
    return np.asarray(x).ravel(), np.asarray(y).ravel(), setting.ravel(), seed.ravel()


@cache
def true_correlation(data: str, n: int, within: bool) -> float:
    """Of many seeds within settings, or between many settings of n seeds."""
    rng, found = np.random.default_rng(0), []
    for _ in range(20):
        seeds, settings = (1000, SETTINGS) if within else (n, 1000)
        x, y, _, _ = related(data, seeds, settings, rng)
        if within:
            x, y = (rankdata(values.reshape(settings, seeds), axis=1).ravel() for values in (x, y))
            found.append(np.corrcoef(x, y)[0, 1])
        else:
            x, y = (rankdata(values).reshape(settings, seeds).mean(axis=1) for values in (x, y))
            found.append(spearmanr(x, y).statistic)
    return float(np.mean(found))


def correlation_within(data: str, n: int, rng: np.random.Generator) -> Ends:
    found = grouped_rank_correlation(*related(data, n, SETTINGS, rng), within=True, rng=rng)
    return found.low, found.high, true_correlation(data, n, True)


def correlation_between(data: str, n: int, rng: np.random.Generator) -> Ends:
    found = grouped_rank_correlation(*related(data, n, SETTINGS, rng), within=False, rng=rng)
    return found.low, found.high, true_correlation(data, n, False)


Kind = Callable[[str, int, np.random.Generator], Any]
KINDS: dict[str, tuple[Kind, str, tuple[str, ...]]] = {
    "mean of replicates": (mean, "replicates", DATA),
    "median of replicates": (median, "replicates", DATA),
    f"mean of replicates with {PAIRS} pairs each": (mean_of_pairs, "replicates", DATA),
    "mean paired difference": (paired_difference, "replicates", DATA),
    "local rate between two settings": (local_rate, "seeds", DATA),
    "rate of a power law over the range of the rule": (fitted_rate, "seeds", DATA),
    f"rank correlation within {SETTINGS} settings": (correlation_within, "seeds", ("normal", "tied")),
    f"rank correlation between {SETTINGS} settings": (correlation_between, "seeds", ("normal", "tied")),
    f"median of replicates with {PAIRS} pairs each": (median_of_pairs, "paths", DATA),
}
PROPORTIONS = (0.5, 0.8, 0.95)


def simulated(kind: str, data: str, n: int, trials: int, rng: np.random.Generator) -> tuple[int, int]:
    """How many intervals hold the truth, and of how many."""
    make = KINDS[kind][0]
    found = [ends for _ in range(trials) if (ends := make(data, n, rng)) is not None]
    return sum(low - 1e-12 <= truth <= high + 1e-12 for low, high, truth in found), len(found)


def of_proportion(p: float, n: int) -> float:
    """Coverage of Wilson's interval, exactly."""
    intervals = [binomtest(count, n).proportion_ci(LEVEL, method="wilson") for count in range(n + 1)]
    held = [found.low <= p <= found.high for found in intervals]
    return float(binom.pmf(np.arange(n + 1), n, p) @ held)


def rows(trials: int) -> Iterator[list[str]]:
    """The table: a row for each kind of interval and of data."""
    for place, (kind, (_, sizes, kinds_of_data)) in enumerate(KINDS.items()):
        for data in kinds_of_data:
            rng = np.random.default_rng([place, DATA.index(data)])  # a row is the same whichever others are asked for
            held = {n: simulated(kind, data, n, trials, rng) for n in SIZES[sizes]}
            yield [kind, data, *(f"{n}: {count / of:.3f}" for n, (count, of) in held.items())]
    for p in PROPORTIONS:
        yield ["proportion (Wilson)", f"p = {p:g}", *(f"{n}: {of_proportion(p, n):.3f}" for n in SIZES["proportion"])]


def main(trials: int) -> None:
    print("| interval | data | n: coverage | | | |\n|---|---|---|---|---|---|", flush=True)
    for row in rows(trials):
        print("| " + " | ".join([*row, *[""] * (6 - len(row))]) + " |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else TRIALS)
