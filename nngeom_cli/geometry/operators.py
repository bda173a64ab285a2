"""Leading singular values of a Jacobian that is too large to be formed, from products with it and its transpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import jvp, vjp, vmap

from nngeom_cli.geometry.routes import load_differentiation

__all__ = ["Leading", "leading"]

_ACCURACY = 1e-6  # certified relative error of each eigenvalue of the metric
_SWEEPS = 8


class Leading(NamedTuple):
    """Leading singular values of J at a point.

    Args:
        values: descending, `(k,)`.
        directions: their right singular vectors, one per row, `(k, d)`.
        bounds: on the error of each eigenvalue of the metric, relative to it, `(k,)`: there is an eigenvalue that near.
    """

    values: Tensor
    directions: Tensor
    bounds: Tensor


def leading(function: Callable[[Tensor], Tensor], point: Tensor, count: int) -> Leading | None:
    """The largest singular values of the Jacobian J of `function` at a point, by block Lanczos iteration.

    From a random block V of orthonormal vectors, blocks J^T J V, (J^T J)^2 V, ... are made orthonormal, each to all
    before it, twice. In the space that they span, J y_i = s_i p_i with orthonormal y_i and p_i. The metric g = J^T J
    has an eigenvalue within |g y_i - s_i^2 y_i| of s_i^2; blocks are added until these residuals are below 1e-6 of
    s_i^2, or until the space is all of R^d. J v comes from forward mode, J^T u from reverse mode.

    Args:
        function: from one point `(d,)` to its features `(n,)`.
        point: `(d,)`, finite.
        count: how many.

    Returns:
        The values; None if forward and reverse mode do not give a matrix and its transpose, or numbers that are not
        finite.

    Example:
        >>> stretch = torch.arange(1.0, 101.0, dtype=torch.float64)
        >>> found = leading(lambda p: stretch * p, torch.zeros(100, dtype=torch.float64), 2)
        >>> found.values.round(decimals=9)
        tensor([100.,  99.], dtype=torch.float64)
    """
    load_differentiation()
    features, pull, *_ = vjp(function, point)
    d, n = len(point), len(features)
    eps = torch.finfo(point.dtype).eps

    def products(vectors: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """J v / scale and J^T J v / scale^2, each for the rows v."""
        ahead = vmap(lambda vector: jvp(function, (point,), (vector,))[1])(vectors).detach() / scale
        return ahead, vmap(pull)(ahead)[0].detach() / scale

    generator = torch.Generator().manual_seed(0)
    block = torch.randn(min(count + 2, d), d, generator=generator, dtype=torch.float64, device="cpu").to(point)
    basis, images, returns = point.new_empty(0, d), point.new_empty(0, n), point.new_empty(0, d)
    scale = largest = point.new_ones(())
    while True:
        block = _orthonormal(block, basis)
        ahead, back = products(block, scale)
        if len(basis) == 0 and ahead.any():  # squares of J could leave the range of the dtype
            scale = torch.exp2(torch.floor(torch.log2(ahead.abs().max())))
            ahead, back = products(block, scale)
        inner = ahead @ ahead.T
        largest = torch.maximum(largest, inner.abs().max())
        if not ((block @ back.T - inner).abs() <= eps**0.5 * largest).all():
            return None
        basis, images, returns = (torch.cat(pair) for pair in ((basis, block), (images, ahead), (returns, back)))
        _, values, right = torch.linalg.svd(images.T, full_matrices=False)
        top = right[:count]
        squares = values[:count].square()
        residuals = (top @ returns - squares[:, None] * (top @ basis)).norm(dim=1)
        zero = squares.amax() * eps * max(d, n)  # what an eigenvalue below this is
        bounds = residuals / squares.clamp_min(zero.clamp_min(torch.finfo(point.dtype).tiny))
        if len(basis) == d or (len(values) >= count and bool((bounds <= _ACCURACY).all())):
            return Leading(scale * values[:count], top @ basis, bounds)
        block = back[: d - len(basis)]


def _orthonormal(block: Tensor, basis: Tensor) -> Tensor:
    """The rows of `block` made orthonormal, and orthogonal to the rows of `basis`; what vanishes becomes arbitrary."""
    size = block.norm(dim=1, keepdim=True)
    block = block / torch.where(size > 0, size, 1.0)
    for _ in range(_SWEEPS):  # twice is enough, unless only rounding errors of a row were left
        block = torch.linalg.qr((block - (block @ basis.T) @ basis).T).Q.T
        if (block @ basis.T).norm() <= 10 * torch.finfo(block.dtype).eps * len(block.T) ** 0.5:
            break
    return block
