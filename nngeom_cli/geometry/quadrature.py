"""Expectations over Gaussians by the trapezoid rule, on ever finer pairs of grids until the two of a pair agree.

For smooth integrands the rule converges geometrically. It is wrong at frequencies near the multiples of 2 pi / spacing,
which it takes for slow ones. Two grids, one with twice the spacing of the other, share half of those multiples, so they
can agree on a wrong number; here the ratio of the spacings is irrational.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["gaussian_mean", "gaussian_mean_of_pairs"]

_TOLERANCE = 1e-12  # between two grids, relative to the mean of the absolute integrand
_RANGE = 13.0  # standard deviations: exp(-13^2 / 2) = 2e-37
_WIDER = math.sqrt(7 / 5)  # range of the other grid of a pair, which has as many nodes
_FEWEST_NODES = 64
_NODES_PER_UNIT = 32  # of the standard deviation of z, to see what an activation does between z and z + 1
_MOST_NODES = 2**18
_MOST_NODES_OF_PAIRS = 2**11
_ELEMENTS = 2**22  # evaluated at once
Rule = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def gaussian_mean(integrands: Callable[[Tensor, Tensor], Tensor], variance: Tensor) -> tuple[Tensor, Tensor]:
    """E[f(z)] and E[|f(z)|] for z ~ N(0, s) and several f at once; the result for one s does not depend on the others.

    Args:
        integrands: z and z / sqrt(s), both (points, nodes), to the values of m functions, (m, points, nodes), float64.
        variance: s, any shape.

    Returns:
        Both (m, *shape); NaN where s is NaN or infinite.

    Raises:
        ValueError: two grids still differ at 2^18 nodes, or the standard deviation needs more.

    Example:
        >>> mean, _ = gaussian_mean(lambda z, _: (z**4).unsqueeze(0), torch.tensor(2.0, dtype=torch.float64))
        >>> mean.round(decimals=9)
        tensor([12.], dtype=torch.float64)
    """

    def rule(scales: Tensor, unit: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        values = integrands(scales * unit, unit.expand(len(scales), -1))
        return (values * weights).sum(dim=-1), (values.abs() * weights).sum(dim=-1)

    scales = variance.sqrt().reshape(-1, 1)
    means, sizes = _converged(rule, scales, _NODES_PER_UNIT * scales[:, 0], _MOST_NODES, axes=1)
    return means.reshape(len(means), *variance.shape), sizes.reshape(len(sizes), *variance.shape)


def gaussian_mean_of_pairs(
    function: Callable[[Tensor], Tensor], first: Tensor, second: Tensor, mixed: Tensor, determinant: Tensor
) -> Tensor:
    """E[f(u) f(v)] for u, v Gaussian with variances `first` and `second` and covariance `mixed`.

    Args:
        function: f, elementwise, float64.
        first: any shape.
        second: the same shape.
        mixed: the same shape.
        determinant: first second - mixed^2, given because it cancels where u and v are nearly equal; the same shape.

    Returns:
        Values of the same shape; NaN where an argument is NaN or infinite.

    Raises:
        ValueError: two grids still differ at 2^11 nodes per axis.

    Example:
        >>> one = torch.tensor(1.0, dtype=torch.float64)
        >>> gaussian_mean_of_pairs(lambda z: z, one, one, one / 4, one * 15 / 16).round(decimals=12)
        tensor(0.2500, dtype=torch.float64)
    """
    large = torch.maximum(first, second)
    slope, rest = (torch.where(large == 0, 0.0, part / large.sqrt()) for part in (mixed, determinant.sqrt()))
    factors = torch.stack([large.sqrt(), slope, rest], dim=-1)  # u = sqrt(large) a, v = slope a + rest b

    def rule(pair: Tensor, unit: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        scale, slope, rest = (factor.reshape(-1, 1, 1) for factor in pair.unbind(dim=-1))
        left = function(scale * unit.unsqueeze(-1)) * weights.unsqueeze(-1)
        right = function(slope * unit.unsqueeze(-1) + rest * unit) * weights
        return (left * right).sum(dim=(-2, -1))[None], (left * right).abs().sum(dim=(-2, -1))[None]

    means, _ = _converged(rule, factors.reshape(-1, 3), factors.new_zeros(mixed.numel()), _MOST_NODES_OF_PAIRS, axes=2)
    return means.reshape(mixed.shape)


def _converged(rule: Rule, points: Tensor, fewest: Tensor, most: int, axes: int) -> tuple[Tensor, Tensor]:
    """Values and absolute values at each point, from the first pair of grids of `fewest` or more nodes that agree."""
    found: list[Tensor] = []
    left = points.isfinite().all(dim=1).nonzero().squeeze(1)
    count = _FEWEST_NODES
    while count <= most:
        begun = left[fewest.to(left.device)[left] <= count]
        for part in begun.split(max(1, _ELEMENTS // count**axes)):
            values, sizes = rule(points[part], *_nodes(count, _RANGE, points))
            others, _ = rule(points[part], *_nodes(count, _RANGE * _WIDER, points))
            if not found:
                found = [values.new_full((len(values), len(points)), math.nan) for _ in range(2)]
            agree = ((values - others).abs() <= _TOLERANCE * sizes).all(dim=0)
            for whole, new in zip(found, (values, sizes), strict=True):
                whole[:, part[agree]] = new[:, agree]
            left = left[~torch.isin(left, part[agree])]
        if not len(left) and found:
            return found[0], found[1]
        count *= 2
    raise ValueError(
        f"`radius` and the standard deviations must be small enough for {most} quadrature nodes to agree to "
        f"{_TOLERANCE}. Got arguments of standard deviation up to {points[left].max():.3g}. Choose smaller ones."
    )


def _nodes(count: int, end: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """`count` nodes from -`end` to `end`, and their weights for the standard normal density."""
    spacing = 2 * end / count
    unit = (torch.arange(count, dtype=torch.float64, device=like.device) - count // 2) * spacing
    return unit, torch.exp(-unit.square() / 2) * (spacing / math.sqrt(2 * math.pi))
