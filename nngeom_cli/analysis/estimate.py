"""A number over networks with its interval, without the libraries that compute it."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["NOTHING", "Estimate"]


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
