"""How arrays lie in memory, so that the bits of a replicate do not depend on those computed beside it.

Kernels work on whole vector registers, and BLAS on matrices that begin at one. What is left over, or begins elsewhere,
takes other code, which may round differently.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

__all__ = ["padded"]


def padded(length: int, dtype: torch.dtype, *, rows: Sequence[int] = (1,), registers: int = 2) -> int:
    """The next length of a row at which arrays of so many rows fill whole registers of 512 bits.

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
