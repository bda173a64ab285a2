"""Points, weights and radii as tensors, made from tensors, arrays and lists of numbers."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["Numbers", "as_numbers", "as_plane", "check_dtype"]

Numbers: TypeAlias = Tensor | npt.ArrayLike
_DTYPES = (torch.float32, torch.float64)


def as_numbers(name: str, values: Numbers, *, like: Tensor | None = None) -> Tensor:
    """The values as a tensor, float32 or float64.

    Tensors and arrays of float32 or float64 keep their dtype. Integers, and Python's lists and numbers, get the dtype
    of `like`, or float64. Masked values become NaN.

    Args:
        name: of the argument, for the error message.
        values: a tensor, an array, or numbers in lists; integers or floating point.
        like: gives the dtype and device of values that have none.

    Returns:
        The tensor itself, or a new one.

    Raises:
        TypeError: the values have too few digits for derivatives, are complex, or are not numbers.

    Example:
        >>> as_numbers("x", [[1, 2.5]])
        tensor([[1.0000, 2.5000]], dtype=torch.float64)
    """
    dtype = torch.float64 if like is None else like.dtype
    device = None if like is None else like.device
    if isinstance(values, Tensor):
        if values.is_floating_point() or values.is_complex():
            check_dtype(name, values.dtype)
            return values
        return values.to(dtype)
    if isinstance(values, np.ma.MaskedArray) and values.dtype.kind in "iubf":  # a masked value is unknown
        values = np.ma.filled(values if values.dtype.kind == "f" else values.astype(np.float64), np.nan)
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError):  # lists of several lengths, or of tensors that need gradients
        array = np.array(None)
    if array.dtype.kind in "iub" or (array.dtype.kind == "f" and isinstance(values, (list, tuple, float))):
        return torch.tensor(array.astype(np.float64), dtype=dtype, device=device)
    if array.dtype.kind != "f" or array.dtype.itemsize not in (4, 8):
        got = type(values).__name__ if array.dtype.kind in "OSU" else f"an array of {array.dtype}"
        raise TypeError(
            f"`{name}` must be float32 or float64. Got {got}. Give a tensor, or an array or list of numbers."
        )
    return torch.tensor(array.astype(array.dtype.newbyteorder("=")), device=device)


def check_dtype(name: str, dtype: torch.dtype) -> None:
    """Raises TypeError unless the dtype is float32 or float64: others have too few digits for derivatives."""
    if dtype not in _DTYPES:
        raise TypeError(f"`{name}` must be float32 or float64. Got {dtype}. Convert with `.to(torch.float64)`.")


def as_plane(
    origin: Numbers, directions: Numbers, *, d: int | None = None, like: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """A point of R^d and vectors there, one per row, as tensors of one dtype: that of `like`, if given.

    Raises:
        ValueError: they have the wrong shape.
        TypeError: they have different dtypes, or not that of `like`.
    """
    point = as_numbers("origin", origin, like=like)
    vectors = as_numbers("directions", directions, like=like if like is not None else point)
    expected = f"({'d' if d is None else d},)"
    if point.ndim != 1 or (d is not None and len(point) != d):
        raise ValueError(f"`origin` must have shape {expected}, a point of input space. Got {tuple(point.shape)}.")
    if vectors.ndim != 2 or vectors.shape[1] != len(point) or len(vectors) == 0:
        raise ValueError(
            f"`directions` must have shape (m, {len(point)}), one vector per row. Got {tuple(vectors.shape)}."
        )
    dtype = point.dtype if like is None else like.dtype
    if not point.dtype == vectors.dtype == dtype:
        raise TypeError(
            f"`origin` and `directions` must have one dtype, {dtype}. Got {point.dtype} and {vectors.dtype}. "
            "Convert with `.to(dtype)`."
        )
    return point, vectors
