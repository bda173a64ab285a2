"""Symmetric block tridiagonal systems of equations."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["solve_tridiagonal"]


def solve_tridiagonal(diagonal: Tensor, beside: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Solves symmetric positive definite block tridiagonal systems by Cholesky factorisation, block by block.

    Args:
        diagonal: the m blocks on the diagonal, (systems, m, d, d).
        beside: the block right of each of them but the last, (systems, m - 1, d, d).
        right: the right-hand side, (systems, m, d).

    Returns:
        The solution, (systems, m, d), and whether the matrix is positive definite, (systems,); where it is not, the
        solution means nothing.

    Example:
        >>> two = torch.tensor([[[[2.0]], [[2.0]]]])
        >>> solution, definite = solve_tridiagonal(two, torch.tensor([[[[-1.0]]]]), torch.ones(1, 2, 1))
        >>> solution.flatten().round(decimals=5), definite
        (tensor([1., 1.]), tensor([True]))
    """
    definite = torch.ones_like(diagonal[:, 0, 0, 0], dtype=torch.bool)
    identity = torch.eye(diagonal.shape[-1], dtype=diagonal.dtype, device=diagonal.device)
    factors: list[Tensor] = []
    links: list[Tensor] = []  # L_i^-1 B_i
    reduced: list[Tensor] = []  # L_i^-1 of the right-hand side, after the blocks before
    for index in range(diagonal.shape[1]):
        block, value = diagonal[:, index], right[:, index].unsqueeze(-1)
        if index:
            block = block - links[-1].mT @ links[-1]
            value = value - links[-1].mT @ reduced[-1]
        factor, failed = torch.linalg.cholesky_ex(block)
        sound = (failed == 0) & factor.isfinite().all(dim=(1, 2))
        definite &= sound
        factors.append(torch.where(sound[:, None, None], factor, identity))
        reduced.append(torch.linalg.solve_triangular(factors[-1], value, upper=False))
        if index < beside.shape[1]:
            links.append(torch.linalg.solve_triangular(factors[-1], beside[:, index], upper=False))
    solution = [torch.linalg.solve_triangular(factors[-1].mT, reduced[-1], upper=True)]
    for factor, link, value in zip(factors[-2::-1], links[::-1], reduced[-2::-1], strict=True):
        solution.append(torch.linalg.solve_triangular(factor.mT, value - link @ solution[-1], upper=True))
    return torch.stack(solution[::-1], dim=1).squeeze(-1), definite
