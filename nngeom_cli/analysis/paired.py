"""Paired differences: whether their mean is more than chance, and how large it would have had to be."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import stdtrit

from nngeom_cli.analysis.bootstrap import LEVEL, RESAMPLES
from nngeom_cli.analysis.statistic import Array

__all__ = ["detectable_difference", "sign_flip_p"]

POWER = 0.8
MOST_EXACT = 16  # pairs whose signs are tried in all combinations


def sign_flip_p(differences: Array, rng: np.random.Generator) -> float:
    """Two-sided p of a mean of paired differences, if the sign of each were chance.

    All combinations of signs for up to 16 pairs, 5000 random ones for more. NaN is left out; NaN for no pair.

    Args:
        differences: `(pairs,)`.
        rng: draws signs where there are too many combinations.

    Example:
        >>> sign_flip_p(np.array([1.0, 2.0, 3.0]), np.random.default_rng(0))  # 2 of 8 combinations reach |sum| = 6
        0.25
    """
    usable = differences[np.isfinite(differences)]
    pairs = len(usable)
    if not pairs:
        return math.nan
    exact = pairs <= MOST_EXACT
    if exact:
        signs = 1.0 - 2.0 * (np.arange(2**pairs)[:, None] >> np.arange(pairs) & 1)
    else:
        signs = rng.choice([-1.0, 1.0], size=(RESAMPLES, pairs))
    found = abs(usable.sum()) * (1 - 1e-12)
    as_large = int((abs(signs @ usable) >= found).sum())
    return as_large / len(signs) if exact else (1 + as_large) / (1 + RESAMPLES)


def detectable_difference(differences: Array, *, tests: int) -> float:
    """The mean difference that these pairs would have shown with 80 % probability, among `tests` tests.

    (t_(1 - a/2) + t_(0.8)) s / sqrt(n), a = 0.05 / tests, s the standard deviation of the differences, t quantiles of
    Student's t with n - 1 degrees of freedom. NaN for fewer than two pairs.

    Example:
        >>> round(detectable_difference(np.array([-1.0, 0.0, 1.0, 0.0]), tests=1), 2)
        1.7
    """
    usable = differences[np.isfinite(differences)]
    n = len(usable)
    if n < 2:
        return math.nan
    quantiles = stdtrit(n - 1, 1 - (1 - LEVEL) / tests / 2) + stdtrit(n - 1, POWER)
    return float(quantiles * usable.std(ddof=1) / math.sqrt(n))
