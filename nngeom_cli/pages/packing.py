"""The numbers of a page: one block of float32, compressed, as text."""

from __future__ import annotations

import base64
import gzip
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Numbers", "Place"]

Place: TypeAlias = dict[str, Any]  # where an array lies in the block: `offset` and `shape`
LARGEST = float(np.finfo(np.float32).max)


class Numbers:
    """Arrays, one behind the other.

    A browser has no float64 arrays to spare, and seven digits are more than a screen shows. Bytes of equal weight
    stand together, so that they compress: exponents repeat.

    Example:
        >>> numbers = Numbers()
        >>> numbers.add([1.0, 2.0]), numbers.add([[3.0]])
        ({'offset': 0, 'shape': [2]}, {'offset': 2, 'shape': [1, 1]})
    """

    def __init__(self) -> None:
        self._parts: list[np.ndarray[Any, np.dtype[np.float32]]] = []
        self.size = 0

    def add(self, values: ArrayLike) -> Place:
        """Takes an array; numbers beyond the range of float32 become its ends, NaN and infinity stay."""
        array = np.asarray(values, dtype=np.float64)
        clipped = np.where(np.isfinite(array), np.clip(array, -LARGEST, LARGEST), array)
        place: Place = {"offset": self.size, "shape": list(array.shape)}
        self._parts.append(clipped.astype("<f4").ravel())
        self.size += array.size
        return place

    def text(self) -> str:
        """All arrays as base64 of gzip: first the first byte of each number, then the second, and so on."""
        block = np.concatenate([np.zeros(0, "<f4"), *self._parts])
        shuffled = block.view(np.uint8).reshape(-1, 4).T.tobytes()
        return base64.b64encode(gzip.compress(shuffled, mtime=0)).decode("ascii")
