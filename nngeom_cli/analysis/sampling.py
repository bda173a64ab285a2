"""Whether a grid is fine enough to show a field: neighbouring points of a well-sampled one rarely differ in sign."""

from __future__ import annotations

from typing import Any

import numpy as np

from nngeom_cli.analysis.degeneracy import unreliable

__all__ = ["MOST_FLIPS", "sign_flips", "undersampled_words"]

MOST_FLIPS = 0.1  # share of neighbours with different signs; half of them differ in noise


def sign_flips(R: Any, error: Any = None) -> float:
    """The share of neighbouring points of a grid between which a field changes its sign.

    A region whose outline crosses a grid of n x n points k times each way gives about k / n. Noise gives 1/2.

    Args:
        R: the field, `(*batch, y, x)`. Points count where it is finite and not 0.
        error: its absolute errors; points without a reliable digit do not count.

    Returns:
        The share, over all neighbours above and beside each other; 0 where there are none.

    Example:
        >>> sign_flips(np.array([[1.0, 1.0, -1.0], [1.0, 1.0, -1.0]]))  # 2 of 7 pairs
        0.2857142857142857
    """
    R = np.asarray(R, dtype=np.float64)
    sign = np.where(np.isfinite(R), np.sign(R), 0.0)
    if error is not None:
        sign = np.where(unreliable(R, np.asarray(error)), 0.0, sign)
    products = [sign[..., 1:, :] * sign[..., :-1, :], sign[..., :, 1:] * sign[..., :, :-1]]
    flips = sum(int((product < 0).sum()) for product in products)
    pairs = sum(int((product != 0).sum()) for product in products)
    return flips / pairs if pairs else 0.0


def undersampled_words(share: float, points: int) -> str:
    """What to say of a field with such a share of flips on a grid of so many points a side; empty if it is resolved.

    Example:
        >>> undersampled_words(0.28, 36)
        'under-sampled: R differs in sign between 28% of neighbours at 36 x 36 points, more than 10%'
    """
    if share <= MOST_FLIPS:
        return ""
    return (
        f"under-sampled: R differs in sign between {share:.0%} of neighbours at {points} x {points} points, more than "
        f"{MOST_FLIPS:.0%}"
    )
