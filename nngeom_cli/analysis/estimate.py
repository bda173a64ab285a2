"""A number over networks with its interval, without the libraries that compute it."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["NOTHING", "Estimate", "proportion_difference"]


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


NOTHING = Estimate(math.nan, math.nan, math.nan, 0)


def proportion_difference(ours: Estimate, theirs: Estimate) -> Estimate:
    """The difference of two shares with Newcombe's interval, made of Wilson's (Statistics in Medicine 17, 1998).

    Example:
        >>> from nngeom_cli.analysis.bootstrap import proportion
        >>> print(proportion_difference(proportion(56, 70), proportion(48, 80)))
        0.2 [0.0524, 0.334] (n = 70)
    """
    difference = ours.value - theirs.value
    down = math.hypot(ours.value - ours.low, theirs.high - theirs.value)
    up = math.hypot(ours.high - ours.value, theirs.value - theirs.low)
    return Estimate(difference, difference - down, difference + up, ours.n)
