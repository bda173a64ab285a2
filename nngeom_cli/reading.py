"""How a measured Ricci scalar is to be read: where it has no reliable digit, and why it is 0 all over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["RELIABLE", "flat_words", "unreliable"]

RELIABLE = 0.1  # a curvature whose error is a larger part of it has no reliable digit


def unreliable(R: Any, error: Any) -> Any:
    """Where R is a number without one reliable digit: its absolute error exceeds |R| / 10, or is not known.

    Args:
        R: Ricci scalars, an array of any shape, labelled or not.
        error: their absolute errors.

    Returns:
        A mask like R; False where R itself is not finite.

    Example:
        >>> unreliable(np.array([2.0, 2.0, np.nan]), np.array([0.1, 0.3, 0.3]))
        array([False,  True, False])
    """
    return np.isfinite(R) & ~(error <= RELIABLE * abs(R))


def flat_words(widths: Sequence[int], layer: int) -> str:
    """Why R = 0 all over: as many features as inputs, or pieces on which the features are linear.

    Args:
        widths: input dimension, hidden widths, outputs.
        layer: the measured layer, 1 = first hidden.

    Example:
        >>> flat_words([2, 2, 1], 1)
        'flat: the feature map is a local diffeomorphism of R^2 (R = 0)'
        >>> flat_words([2, 8, 1], 1)
        'flat: R = 0 at every point'
    """
    if min(widths[1 : layer + 1]) == widths[0] == widths[layer]:
        return f"flat: the feature map is a local diffeomorphism of R^{widths[0]} (R = 0)"
    return "flat: R = 0 at every point"
