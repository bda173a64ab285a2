"""Norms, absolute values and their like with the second derivatives that squares of them have where they are 0.

Torch gives a norm the derivatives 0 where it is 0, so that the second derivative of |x|^2 comes out as 0 there, and a
radial basis function has no curvature at its own centre. A root of the square, of a tiny number where that is 0, has
the derivatives of |x|^2 right, and infinite ones of |x| itself where x moves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["DISTANCES"]

Dims = int | Sequence[int] | None


def _root(square: Tensor) -> Tensor:
    least = torch.finfo(square.dtype).tiny ** (2 / 3)  # its root to the power -3 is still finite
    return torch.where(square == 0, square + least, square).sqrt()


def _square(z: Tensor) -> Tensor:
    return z.real * z.real + z.imag * z.imag if z.is_complex() else z * z


def _length(z: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    dims = tuple(range(z.ndim)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    return _root(_square(z).sum(dims, keepdim=keepdim) if dims else _square(z))


def absolute(z: Tensor) -> Tensor:
    """Of slope 1 at 0, where torch's has 0: its square has the second derivative 2."""
    return _root(_square(z)) if z.is_complex() else torch.where(z >= 0, z, -z)


def vector_norm(
    z: Tensor, ord: float = 2, dim: Dims = None, keepdim: bool = False, dtype: torch.dtype | None = None
) -> Tensor | None:
    return _length(z, dim, keepdim) if ord == 2 and dtype is None else None


def norm(
    z: Tensor, p: Any = "fro", dim: Dims = None, keepdim: bool = False, dtype: torch.dtype | None = None
) -> Tensor | None:
    return _length(z, dim, keepdim) if p in ("fro", 2, None) and dtype is None else None


def linalg_norm(
    z: Tensor, ord: Any = None, dim: Dims = None, keepdim: bool = False, dtype: torch.dtype | None = None
) -> Tensor | None:
    of_vector = isinstance(dim, int) or z.ndim == 1
    frobenius = ord in (None, "fro") or (ord == 2 and of_vector)
    return _length(z, dim, keepdim) if frobenius and dtype is None else None


def matrix_norm(
    z: Tensor,
    ord: Any = "fro",
    dim: Sequence[int] = (-2, -1),
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor | None:
    return _length(z, dim, keepdim) if ord == "fro" and dtype is None else None


def dist(one: Tensor, other: Tensor, p: float = 2) -> Tensor | None:
    return _length(one - other, None, False) if p == 2 else None


def pairwise_distance(one: Tensor, x2: Tensor, p: float = 2, eps: float = 1e-6, keepdim: bool = False) -> Tensor | None:
    return _length(one - x2 + eps, -1, keepdim) if p == 2 else None


def cdist(one: Tensor, x2: Tensor, p: float = 2, compute_mode: str | None = None) -> Tensor | None:  # noqa: ARG001
    return _length(one.unsqueeze(-2) - x2.unsqueeze(-3), -1, False) if p == 2 else None


def std(z: Tensor, *args: Any, **named: Any) -> Tensor:
    return _root(z.var(*args, **named))


def sinc(z: Tensor) -> Tensor:
    """sin(pi z) / (pi z); by its series near 0, where the quotient's derivatives cancel and torch's second is 0."""
    near = (z <= 0.5) & (z >= -0.5)
    small, far = math.pi * torch.where(near, z, 0.0), math.pi * torch.where(near, 1.0, z)
    square, total = small * small, torch.ones_like(z)
    for k in range(13, 0, -1):
        total = 1 - square * total / (2 * k * (2 * k + 1))
    return torch.where(near, total, torch.sin(far) / far)


def maximum(one: Tensor, other: Tensor) -> Tensor:
    """Of the first one's slope where both are equal, where torch's has the mean: max(p, -p) is |p|."""
    return torch.where((one >= other) | one.isnan(), one, other)


def minimum(one: Tensor, other: Tensor) -> Tensor:
    return torch.where((one <= other) | one.isnan(), one, other)


def larger(z: Tensor, other: Any = None, *args: Any, **named: Any) -> Tensor | None:
    return maximum(z, other) if isinstance(other, Tensor) and not (args or named) else None


def smaller(z: Tensor, other: Any = None, *args: Any, **named: Any) -> Tensor | None:
    return minimum(z, other) if isinstance(other, Tensor) and not (args or named) else None


def _at(place: Callable[..., Tensor], z: Tensor, dim: Dims, keepdim: bool) -> Tensor | None:
    dims = (dim,) if isinstance(dim, int) else tuple(dim or ())
    if len(dims) != 1 or z.ndim == 0:
        return None
    found = z.gather(dims[0], place(z, dims[0], keepdim=True))
    return found if keepdim else found.squeeze(dims[0])


def amax(z: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor | None:
    return _at(torch.argmax, z, dim, keepdim)


def amin(z: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor | None:
    return _at(torch.argmin, z, dim, keepdim)


DISTANCES: dict[str, Callable[..., Tensor | None]] = {  # by the names that torch's functions and methods have
    "abs": absolute,
    "absolute": absolute,
    "linalg_vector_norm": vector_norm,
    "norm": norm,
    "linalg_norm": linalg_norm,
    "linalg_matrix_norm": matrix_norm,
    "dist": dist,
    "pairwise_distance": pairwise_distance,
    "cdist": cdist,
    "std": std,
    "maximum": maximum,
    "minimum": minimum,
    "max": larger,
    "min": smaller,
    "amax": amax,
    "amin": amin,
    "sinc": sinc,
    "special_sinc": sinc,
}
