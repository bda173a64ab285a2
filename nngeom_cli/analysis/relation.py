"""Whether two numbers of networks are related: rank correlations between settings and within them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy.special import ndtri
from scipy.stats import rankdata

from nngeom_cli.analysis.bootstrap import LEVEL, RESAMPLES, Estimate, interval, resampled_seeds
from nngeom_cli.analysis.statistic import Array

__all__ = ["detectable_correlation", "grouped_rank_correlation", "holm", "permutation_p"]

POWER, SIMULATED, STRENGTHS = 0.8, 400, np.linspace(0.05, 0.95, 19)


class _Design:
    """Ranks of two numbers in units that are exchangeable, and the correlation of the ranks.

    Within settings the units are seeds, each with its networks in all settings, and ranks are taken in each setting;
    between settings they are the settings, with the mean over their networks of the rank among all networks.

    Attributes:
        x: centred ranks, `(units, columns, members)`, 0 where a network is missing.
        y: the same of the other number.
        present: which are not missing.
        stratum: of each unit; only units of one stratum are exchangeable.
    """

    def __init__(self, x: Array, y: Array, settings: Array, seeds: Array, *, within: bool) -> None:
        usable = np.isfinite(x) & np.isfinite(y)
        table = pd.DataFrame({"x": x, "y": y, "setting": settings, "seed": seeds})[usable]
        self.table, self.networks = table, len(table)
        if within:
            table["member"] = table.groupby(["setting", "seed"]).cumcount()
            places = [np.unique(table[name], return_inverse=True) for name in ("seed", "setting", "member")]
            shape, index = tuple(len(known) for known, _ in places), tuple(place for _, place in places)
            values = np.full((2, *shape), np.nan)
            values[0][index], values[1][index] = table.x, table.y
            self.stratum = resampled_seeds(table.seed, table.setting, np.random.default_rng(0), 1).stratum
        else:
            ranks = table.assign(x=rankdata(table.x), y=rankdata(table.y))
            values = ranks.groupby("setting")[["x", "y"]].mean().to_numpy().T[:, :, None, None]
            self.stratum = np.zeros(values.shape[1], dtype=int)
        self.present = np.isfinite(values[0])
        self.x, self.y = (_centred_ranks(each) for each in values)

    def correlation(self, x: Array, y: Array) -> Array:
        """Of ranks `(..., units, columns, members)`."""
        axes = (-3, -2, -1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((x * y).sum(axes) / np.sqrt((x * x).sum(axes) * (y * y).sum(axes)))

    def permuted(self, rng: np.random.Generator, count: int) -> Array:
        """Units in a random order within each stratum, `(count, units)`."""
        order = np.argsort(self.stratum + rng.random((count, len(self.stratum))), axis=1)
        where = np.argsort(self.stratum, kind="stable")
        result = np.empty_like(order)
        result[:, where] = order
        return result

    def under_chance(self, rng: np.random.Generator) -> Array:
        """Correlations where units are paired at random."""
        units = len(self.stratum)
        products = self.x.reshape(units, -1) @ self.y.reshape(units, -1).T
        orders = self.permuted(rng, RESAMPLES)
        with np.errstate(invalid="ignore", divide="ignore"):
            chance: Array = products[np.arange(units), orders].sum(axis=1) / np.sqrt(
                (self.x**2).sum() * (self.y**2).sum()
            )
        return chance


def grouped_rank_correlation(
    x: Array, y: Array, settings: Array, seeds: Array, *, within: bool, rng: np.random.Generator
) -> Estimate:
    """Spearman's correlation between settings or within them, with a bootstrap interval.

    Within settings: ranks are taken in each setting, so that differences between settings do not count; seeds are
    resampled, each with its networks in all settings. Between settings: of the settings' mean ranks among all networks;
    settings and seeds are both resampled.

    Args:
        x: `(networks,)`; networks without a value are left out.
        y: `(networks,)`.
        settings: of each network.
        seeds: of each network.
        within: which of the two.
        rng: draws the resamples.

    Example:
        >>> x, settings = np.array([1.0, 2, 3, 11, 12, 13]), np.array([0, 0, 0, 1, 1, 1])
        >>> y, seeds = np.array([3.0, 2, 1, 13, 12, 11]), np.array([0, 1, 2, 0, 1, 2])
        >>> for within in (False, True):
        ...     rng = np.random.default_rng(0)
        ...     print(round(grouped_rank_correlation(x, y, settings, seeds, within=within, rng=rng).value, 3))
        1.0
        -1.0
    """
    design = _Design(x, y, settings, seeds, within=within)
    if not design.networks:
        return Estimate(math.nan, math.nan, math.nan, 0)
    value = float(design.correlation(design.x, design.y))
    resample = _resampled_within if within else _resampled_between
    return Estimate(value, *interval(*resample(design, rng)), design.networks)


def permutation_p(
    x: Array, y: Array, settings: Array, seeds: Array, *, within: bool, rng: np.random.Generator
) -> float:
    """Two-sided p of `grouped_rank_correlation` if y belonged to x by chance: seeds, or settings, are permuted."""
    design = _Design(x, y, settings, seeds, within=within)
    found = abs(float(design.correlation(design.x, design.y))) if design.networks else math.nan
    if math.isnan(found):
        return math.nan
    return float((1 + (np.abs(design.under_chance(rng)) >= found - 1e-12).sum()) / (1 + RESAMPLES))


def detectable_correlation(
    x: Array, y: Array, settings: Array, seeds: Array, *, within: bool, tests: int, rng: np.random.Generator
) -> float:
    """The rank correlation that these networks would have shown with 80 % probability, among `tests` tests.

    By simulation: y is permuted and mixed with x, both as normal scores, at strengths from 0.05 to 0.95; shown means
    beyond what chance gives with probability 0.05 / `tests`.

    Returns:
        The mean correlation at the least strength that is found often enough; NaN where none is.
    """
    design = _Design(x, y, settings, seeds, within=within)
    if not design.networks or not (design.x.any() and design.y.any()):
        return math.nan
    critical = np.quantile(np.abs(design.under_chance(rng)), 1 - (1 - LEVEL) / tests)
    a, b = (_normal_scores(each, design.present) for each in (design.x, design.y))
    b = b[design.permuted(rng, SIMULATED)]  # (simulated, units, columns, members)
    for strength in STRENGTHS:
        mixed = np.where(design.present, strength * a + math.sqrt(1 - strength**2) * b, np.nan)
        found = design.correlation(design.x, _centred_ranks(mixed))
        if (np.abs(found) > critical).mean() >= POWER:
            return float(found.mean())
    return math.nan


def holm(p: Array) -> Array:
    """p-values corrected for their number (Holm, Scandinavian Journal of Statistics 6, 1979); NaN stays, uncounted.

    Example:
        >>> holm(np.array([0.01, 0.04, np.nan, 0.03])).tolist()
        [0.03, 0.06, nan, 0.06]
    """
    order = np.argsort(p)[: int(np.isfinite(p).sum())]
    corrected = np.full(len(p), np.nan)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * (len(order) - np.arange(len(order)))))
    return corrected


def _resampled_within(design: _Design, rng: np.random.Generator) -> tuple[Array, int, int]:
    """Correlations where seeds are resampled, the number of seeds and that of their strata."""
    table = design.table
    drawn = resampled_seeds(table.seed.to_numpy(), table.setting.to_numpy(), rng)
    x, y, ones = design.x, design.y, design.present.astype(float)
    n, sx, sy, sxx, syy, sxy = (
        drawn.counts @ values.sum(axis=2) for values in (ones, x, y, x * x, y * y, x * y)
    )  # (resamples, settings)
    with np.errstate(invalid="ignore", divide="ignore"):
        xy, xx, yy = (
            (products - np.nan_to_num(first * second / n)).sum(axis=1)
            for products, first, second in ((sxy, sx, sy), (sxx, sx, sx), (syy, sy, sy))
        )
        return xy / np.sqrt(xx * yy), len(drawn.stratum), drawn.strata


def _resampled_between(design: _Design, rng: np.random.Generator) -> tuple[Array, int, int]:
    """Correlations where settings and seeds are resampled, and the number of settings."""
    table = design.table
    drawn = resampled_seeds(table.seed.to_numpy(), table.setting.to_numpy(), rng)
    settings, of = np.unique(table.setting, return_inverse=True)
    weights = rng.multinomial(len(settings), np.full(len(settings), 1 / len(settings)), size=RESAMPLES)
    sums = np.zeros((3, len(drawn.stratum), len(settings)))
    for total, values in zip(sums, (np.ones(len(table)), rankdata(table.x), rankdata(table.y)), strict=True):
        np.add.at(total, (drawn.place, of), values)
    with np.errstate(invalid="ignore", divide="ignore"):
        n, x, y = (drawn.counts @ total for total in sums)
        x, y = (rankdata(values / n, axis=1) for values in (x, y))
        total = weights.sum(axis=1, keepdims=True)
        x, y = (values - (weights * values).sum(axis=1, keepdims=True) / total for values in (x, y))
        correlations = (weights * x * y).sum(axis=1) / np.sqrt(
            (weights * x * x).sum(axis=1) * (weights * y * y).sum(axis=1)
        )
    return correlations, len(settings), 1


def _centred_ranks(values: Array) -> Array:
    """Ranks in each column of `(..., units, columns, members)`, with mean 0; 0 for NaN."""
    if not values.size:
        return values
    moved = np.moveaxis(values, -2, -3)
    flat = moved.reshape(*moved.shape[:-2], -1)  # (..., columns, units * members)
    present = np.isfinite(flat)
    ranks = rankdata(np.where(present, flat, np.inf), axis=-1)
    count = present.sum(axis=-1, keepdims=True)
    centred = np.where(present, ranks - (count + 1) / 2, 0.0)
    return np.moveaxis(centred.reshape(moved.shape), -3, -2)


def _normal_scores(ranks: Array, present: Array) -> Array:
    """Normal quantiles of centred ranks."""
    count = present.sum(axis=(0, 2))[None, :, None]
    return np.asarray(ndtri(np.clip(ranks / (count + 1) + 0.5, 1e-9, 1 - 1e-9)))
