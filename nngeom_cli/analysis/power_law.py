"""How a number changes with a setting: slopes between neighbouring settings, and a power law where one fits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import null_space
from scipy.stats import f

from nngeom_cli.analysis.bootstrap import LEVEL, Estimate, Seeds, interval, resampled_seeds
from nngeom_cli.analysis.statistic import Array

__all__ = ["FEWEST", "PowerLaw", "Rate", "power_law"]

FEWEST = 3  # settings of a power law; two always fit
ROUNDING = 1e-9  # of a mean logarithm


@dataclass(frozen=True)
class Rate:
    """The rate r and the factor of y ~ factor x^r, fitted from `start` to `end`.

    `p` is how often the means of networks that follow a power law lie as far from one as these do (chi^2 test); NaN for
    two settings, and where there are too few seeds to tell. More than two have an interval where p >= 0.05.
    """

    start: float
    end: float
    rate: Estimate
    factor: float
    p: float


@dataclass(frozen=True)
class PowerLaw:
    """Rates between neighbouring settings, and from each setting to the largest, the longest range first."""

    local: list[Rate]
    ranges: list[Rate]

    @property
    def fitted(self) -> Rate | None:
        """The longest range that ends at the largest setting and that chi^2 allows (p >= 0.05); None if none is."""
        return next((found for found in self.ranges if found.p >= 1 - LEVEL), None)


def power_law(x: Array, y: Array, seeds: Array, rng: np.random.Generator) -> PowerLaw:
    """The rates r of y ~ x^r, lines through mean logarithms, with bootstrap intervals over seeds.

    Whether a range of settings follows one power law is tested by chi^2 of the mean logarithms about a line, with the
    covariance that seeds give them, which one seed links across settings, in Hotelling's form for few seeds. It is not
    tested where it could hardly reject: with q settings more than two, at least 2 q - 1 degrees of freedom are needed.
    Where chi^2 allows a power law, the line is that of least chi^2; elsewhere that of least squares, with no interval.

    Args:
        x: positive, `(networks,)`; each value has several networks.
        y: measured values, `(networks,)`; those that are not positive are left out.
        seeds: of each network, `(networks,)`; networks of one seed are resampled together.
        rng: draws the resamples.

    Example:
        >>> x, y = np.array([1, 1, 2, 2, 4, 4]), np.array([3, 3, 1.5, 1.5, 0.75, 0.75])
        >>> found = power_law(x, y, np.arange(6), np.random.default_rng(0)).fitted
        >>> [round(number, 6) for number in (found.start, found.rate.value, found.rate.low, found.factor, found.p)]
        [1.0, -1.0, -1.0, 3.0, 1.0]
    """
    usable = np.isfinite(y) & (y > 0)
    x, logs, seeds = x[usable], np.log(y[usable]), seeds[usable]
    places, of = np.unique(x, return_inverse=True)
    if len(places) < 2:
        return PowerLaw([], [])
    drawn = resampled_seeds(seeds, of, rng)
    member = of[:, None] == np.arange(len(places))  # (networks, places)
    sums, counts = (np.zeros((len(drawn.stratum), len(places))) for _ in range(2))
    np.add.at(sums, drawn.place, member * logs[:, None])
    np.add.at(counts, drawn.place, member)
    means = sums.sum(axis=0) / counts.sum(axis=0)
    with np.errstate(invalid="ignore"):
        resampled = (drawn.counts @ sums) / (drawn.counts @ counts)  # NaN where no network of a place was drawn
    covariance = _covariance((sums - counts * means) / counts.sum(axis=0), drawn)

    def rate(first: int, last: int) -> Rate:
        some = slice(first, last + 1)
        present = (counts[:, some] > 0).any(axis=1)
        n, strata = int(present.sum()), len(np.unique(drawn.stratum[present]))
        fit = _Fit(np.log(places[some]), means[some], covariance[some, some], n - strata)
        low, high = math.nan, math.nan
        if fit.bends == 0 or fit.allowed:
            slopes = fit.slope + (resampled[:, some] @ fit.weights - fit.slope) * fit.widening
            low, high = interval(slopes, n, strata + fit.bends)
        found = Estimate(fit.slope, low, high, int(counts[:, some].sum()))
        with np.errstate(over="ignore"):  # between two settings that nearly agree a rate can be in the thousands
            factor = float(np.exp(fit.level))
        return Rate(float(places[first]), float(places[last]), found, factor, fit.p)

    largest = len(places) - 1
    local = [rate(first, first + 1) for first in range(largest)]
    return PowerLaw(local, [rate(first, largest) for first in range(len(places) - FEWEST + 1)])


def _covariance(influence: Array, drawn: Seeds) -> Array:
    """Covariance of means from what each seed adds to them, `(seeds, means)`; the bootstrap's, without its bias."""
    total = np.zeros((influence.shape[1],) * 2)
    for stratum in np.unique(drawn.stratum):
        part = influence[drawn.stratum == stratum]
        if len(part) > 1:
            total += len(part) / (len(part) - 1) * part.T @ part
    return total


class _Fit:
    """A line through mean logarithms `(settings,)`, and whether they lie on one.

    What no line can give, the bends, has the mean 0 where a power law holds; Hotelling's T^2 tests that. Where it is
    so, the slope of least chi^2 is that of least squares minus its regression on the bends (Rao, Biometrika 46, 1959),
    which costs a degree of freedom each and widens the interval by sqrt(1 + T^2 / freedom). Elsewhere it is that of
    least squares.
    """

    def __init__(self, logs: Array, means: Array, covariance: Array, freedom: int) -> None:
        line = np.stack([np.ones_like(logs), logs])
        self.weights = np.linalg.pinv(line)[:, 1]  # whose product with the means is the slope
        contrasts = null_space(line).T  # (settings - 2, settings)
        self.bends, self.p, self.widening = len(contrasts), math.nan, 1.0
        left, off = freedom - self.bends + 1, contrasts @ means
        if self.bends and left >= self.bends and np.abs(off).max() < ROUNDING:
            self.p = 1.0
        elif self.bends and left >= self.bends:
            try:
                solved = np.linalg.solve(contrasts @ covariance @ contrasts.T, np.column_stack([off, contrasts]))
                chi2 = max(float(off @ solved[:, 0]), 0.0)
                self.p = float(f.sf(chi2 * left / (self.bends * freedom), self.bends, left))
                if self.allowed:
                    self.weights = self.weights - self.weights @ covariance @ contrasts.T @ solved[:, 1:]
                    self.widening = math.sqrt(1 + chi2 / freedom)
            except np.linalg.LinAlgError:  # networks that do not differ
                self.p = 0.0
        self.slope = float(self.weights @ means)
        self.level = float((means - self.slope * logs).mean())

    @property
    def allowed(self) -> bool:
        return self.p >= 1 - LEVEL
