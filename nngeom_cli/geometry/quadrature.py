"""Expectations over Gaussians by the trapezoid rule, doubled until it agrees with itself."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["gaussian_mean", "gaussian_mean_of_pairs"]

_TOLERANCE = 1e-12  # of two successive rules, relative to the mean of the absolute integrand
_RANGE = 13.0  # standard deviations: exp(-13^2 / 2) = 2e-37
_MOST_NODES = 2**18
_MOST_NODES_OF_PAIRS = 2**11
_ELEMENTS = 2**22  # evaluated at once


def gaussian_mean(integrands: Callable[[Tensor, Tensor], Tensor], variance: Tensor) -> Tensor:
    """E[f(z)] for z ~ N(0, s) and several f at once.

    Args:
        integrands: z and z / sqrt(s), both (points, nodes), to the values of m functions, (m, points, nodes), float64.
        variance: s, any shape.

    Returns:
        (m, *shape).

    Raises:
        ValueError: two successive rules still differ at 2^18 nodes.

    Example:
        >>> gaussian_mean(lambda z, _: (z**4).unsqueeze(0), torch.tensor(2.0, dtype=torch.float64)).round(decimals=9)
        tensor([12.], dtype=torch.float64)
    """

    def rule(scales: Tensor, count: int) -> tuple[Tensor, Tensor]:
        unit, weights = _nodes(count, scales)
        values = integrands(scales * unit, unit.expand(len(scales), -1))
        return (values * weights).sum(dim=-1), (values.abs() * weights).sum(dim=-1)

    scales = variance.sqrt().reshape(-1, 1)
    means = [_converged(rule, part, _MOST_NODES) for part in scales.split(max(1, _ELEMENTS // 2**12))]
    return torch.cat(means, dim=1).reshape(len(means[0]), *variance.shape)


def gaussian_mean_of_pairs(
    function: Callable[[Tensor], Tensor], first: Tensor, second: Tensor, mixed: Tensor
) -> Tensor:
    """E[f(u) f(v)] for u, v Gaussian with variances `first` and `second` and covariance `mixed`.

    Args:
        function: f, elementwise, float64.
        first: any shape.
        second: the same shape.
        mixed: the same shape.

    Returns:
        The same shape.

    Raises:
        ValueError: two successive rules still differ at 2^11 nodes an axis.

    Example:
        >>> one = torch.tensor(1.0, dtype=torch.float64)
        >>> gaussian_mean_of_pairs(lambda z: z, one, one, one / 4).round(decimals=12)
        tensor(0.2500, dtype=torch.float64)
    """
    large, small = torch.maximum(first, second), torch.minimum(first, second)
    slope = torch.where(large > 0, mixed / large.sqrt(), 0.0)  # v = slope * a + rest * b for u = sqrt(large) * a
    factors = torch.stack([large.sqrt(), slope, (small - slope.square()).clamp_min(0).sqrt()], dim=-1)

    def rule(pair: Tensor, count: int) -> tuple[Tensor, Tensor]:
        unit, weights = _nodes(count, pair)
        scale, slope, rest = (factor.reshape(-1, 1, 1) for factor in pair.unbind(dim=-1))
        left = function(scale * unit.unsqueeze(-1)) * weights.unsqueeze(-1)
        right = function(slope * unit.unsqueeze(-1) + rest * unit) * weights
        return (left * right).sum(dim=(-2, -1))[None], (left * right).abs().sum(dim=(-2, -1))[None]

    pairs = factors.reshape(-1, 3)
    means = [_converged(rule, part, _MOST_NODES_OF_PAIRS) for part in pairs.split(16)]
    return torch.cat(means, dim=1).reshape(mixed.shape) if len(pairs) else torch.zeros_like(mixed)


def _nodes(count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    unit = torch.linspace(-_RANGE, _RANGE, count + 1, dtype=torch.float64, device=like.device)
    return unit, torch.exp(-unit.square() / 2) * (2 * _RANGE / count / math.sqrt(2 * math.pi))


def _converged(rule: Callable[[Tensor, int], tuple[Tensor, Tensor]], points: Tensor, most: int) -> Tensor:
    count = 64
    coarse, _ = rule(points, count)
    while count < most:
        count *= 2
        fine, absolute = rule(points, count)
        if bool(((fine - coarse).abs() <= _TOLERANCE * absolute).all()):
            return fine
        coarse = fine
    raise ValueError(
        f"`radius` and the standard deviations must give arguments of the activation on which {most} quadrature nodes "
        f"agree to {_TOLERANCE}. Got a standard deviation of up to {points.max():.3g}. Take smaller ones."
    )
