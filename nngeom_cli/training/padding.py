"""Lengths at which arrays fill whole vector registers, so that a number's bits do not depend on its neighbours.

Kernels work on whole registers, and BLAS on matrices that begin at one. What is left over, or begins elsewhere, is
handled by other code, which may round differently: the bits of a replicate would depend on those computed beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

__all__ = ["padded", "padded_points"]


def padded(length: int, dtype: torch.dtype, *, rows: Sequence[int] = (1,), registers: int = 2) -> int:
    """The next length of a row at which arrays of so many rows fill whole vector registers of 512 bits.

    Args:
        length: of a row.
        dtype: of its numbers.
        rows: of each array.
        registers: how many are filled together: two by elementwise kernels; BLAS needs to begin at one.

    Example:
        >>> padded(400, torch.float64), padded(12, torch.float64), padded(12, torch.float64, rows=[8, 20])
        (400, 16, 12)
    """
    lanes = registers * 64 // dtype.itemsize
    lanes //= math.gcd(lanes, *rows)
    return -(-length // lanes) * lanes


def padded_points(points: int, hidden: Sequence[int], dtype: torch.dtype) -> int:
    """The number of points at which every array of a forward pass fills registers: those of units, and of outputs.

    Args:
        points: the number needed; the others are zeros.
        hidden: widths of the hidden layers.
        dtype: of the numbers.

    Example:
        >>> padded_points(12, [8, 20], torch.float64), padded_points(12, [7], torch.float32)
        (16, 32)
    """
    return padded(padded(points, dtype, registers=1), dtype, rows=hidden)
