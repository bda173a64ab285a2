"""E[phi(u) phi(v)] for jointly Gaussian u and v: what an infinitely wide layer makes of two points."""

import math
from functools import cache

import torch
from torch import Tensor

from nngeom_cli.geometry.activations import Activation
from nngeom_cli.geometry.moments import built_in, degree, order
from nngeom_cli.geometry.quadrature import gaussian_mean_of_pairs

__all__ = ["pair_kernel"]


def pair_kernel(
    activation: Activation, variances: tuple[Tensor, Tensor], mixed: Tensor, apart: Tensor, determinant: Tensor
) -> Tensor:
    """E[phi(u) phi(v)]: closed forms for erf (B.24), sin, relu, its powers (Cho and Saul 2009), monomials (Isserlis).

    Args:
        activation: phi.
        variances: of u and of v, any shape.
        mixed: their covariance.
        apart: the variance of u - v where `mixed` is positive, of u + v where it is negative; given, as the next,
            because it cancels where u and v are nearly equal.
        determinant: of the covariance matrix.

    Raises:
        ValueError: the quadrature does not converge.

    Example:
        >>> from nngeom_cli.geometry import get_activation
        >>> one = torch.tensor(1.0, dtype=torch.float64)
        >>> pair_kernel(get_activation("identity"), (one, one), one / 4, one * 3 / 2, one * 15 / 16)
        tensor(0.2500, dtype=torch.float64)
    """
    name, q = built_in(activation), degree(activation)
    if name == "erf":
        return 2 / math.pi * torch.asin(mixed / ((1 + variances[0]) * (1 + variances[1])).sqrt())
    if name == "sin":  # exp(-E[u^2 + v^2] / 2) sinh E[u v]
        return -mixed.sign() * (-apart / 2).exp() * torch.expm1(-2 * mixed.abs()) / 2
    if name == "relu":
        length = (variances[0] * variances[1]).sqrt()
        sine = ((length - mixed).clamp_min(0) * (length + mixed).clamp_min(0)).sqrt()
        return (sine + (math.pi - torch.atan2(sine, mixed)) * mixed) / (2 * math.pi)
    if q is not None:
        return _monomial_kernel(q, variances, mixed)
    q = order(activation)
    if q is not None:
        return _arccosine_kernel(q, variances, mixed, determinant)
    return gaussian_mean_of_pairs(activation.value, *variances, mixed, determinant)


def _monomial_kernel(q: int, variances: tuple[Tensor, Tensor], mixed: Tensor) -> Tensor:
    """E[u^q v^q] / (2q - 1)!!, summed over the number j of pairings between u and v (Isserlis)."""
    total = torch.zeros_like(mixed)
    double_factorial = math.prod(range(1, 2 * q, 2))
    for j in range(q % 2, q + 1, 2):
        inside = (q - j) // 2  # pairings of u with itself, and of v with itself
        ways = math.factorial(q) // (math.factorial(inside) * 2**inside * math.factorial(j))
        weight = ways**2 * math.factorial(j) / double_factorial
        total = total + weight * mixed**j * (variances[0] * variances[1]) ** inside
    return total


def _arccosine_kernel(q: int, variances: tuple[Tensor, Tensor], mixed: Tensor, determinant: Tensor) -> Tensor:
    """2 E[max(u, 0)^q max(v, 0)^q] by parts: E[u f(u, v)] = E[u^2] E[df/du] + E[u v] E[df/dv]."""
    tiny = torch.finfo(mixed.dtype).tiny

    def edge(variance: Tensor, n: int) -> Tensor:
        """E[delta(u) max(v, 0)^n] for a u of that variance: v given u = 0 has variance determinant / E[u^2]."""
        half = 2 ** (n / 2) * math.gamma((n + 1) / 2) / (2 * math.sqrt(math.pi))  # E[max(z, 0)^n]
        positive = variance.clamp_min(tiny)
        return half * (determinant / positive) ** (n / 2) / (2 * math.pi * positive).sqrt()

    @cache
    def moment(m: int, n: int) -> Tensor:
        if m == 0 and n == 0:
            return (math.pi - torch.atan2(determinant.sqrt(), mixed)) / (2 * math.pi)
        if m == 0:
            inner = (n - 1) * moment(0, n - 2) if n > 1 else edge(variances[1], 0)
            return variances[1] * inner + mixed * edge(variances[0], n - 1)
        inner = (m - 1) * moment(m - 2, n) if m > 1 else edge(variances[0], n)
        across = n * moment(m - 1, n - 1) if n > 0 else edge(variances[1], m - 1)
        return variances[0] * inner + mixed * across

    return 2 * moment(q, q)
