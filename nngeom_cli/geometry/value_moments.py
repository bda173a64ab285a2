"""Gaussian means of an activation's value, by which an infinitely wide layer passes variances on to the next."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.polynomial import Chebyshev
from torch import Tensor

from nngeom_cli.geometry.activations import Activation
from nngeom_cli.geometry.moments import built_in, chebyshev_near_zero, power
from nngeom_cli.geometry.quadrature import gaussian_mean

__all__ = ["ValueMoments", "value_moments"]


class ValueMoments(NamedTuple):
    """Means over z ~ N(0, s), as functions of s.

    Args:
        square: E[phi^2].
        ratio: (d E[phi^2] / ds) / E[phi'^2] - 1 = E[phi phi''] / E[phi'^2].
        ratio_derivative: d ratio / ds.
    """

    square: Tensor
    ratio: Tensor
    ratio_derivative: Tensor


def value_moments(activation: Activation, s: Tensor) -> ValueMoments:
    """The moments at variances s (any shape, float64): closed forms for erf, sin, relu and monomials, else quadrature.

    Raises:
        ValueError: the quadrature does not converge.

    Example:
        >>> from nngeom_cli.geometry import get_activation
        >>> value_moments(get_activation("erf"), torch.tensor(1.0, dtype=torch.float64)).ratio
        tensor(-0.5000, dtype=torch.float64)
    """
    one, monomial, name = torch.ones_like(s), power(activation), built_in(activation)
    if name == "erf":
        return ValueMoments(2 / math.pi * torch.asin(s / (1 + s)), -s / (1 + s), -1 / (1 + s).square())
    if name == "sin":
        return ValueMoments(-torch.expm1(-2 * s) / 2, -torch.tanh(s), -1 / torch.cosh(s).square())
    if name == "relu":
        return ValueMoments(s / 2, 0 * one, 0 * one)
    if monomial is not None:
        q, factor = monomial
        return ValueMoments(factor * s**q, (q - 1) / q * one, 0 * one)
    found = _by_quadrature(activation, s)
    if not (s < 1).any():
        return found
    polynomial, until = _near_zero(activation)
    few = torch.where(s < until, s, 0.0).cpu().numpy()
    slope = torch.from_numpy(np.asarray(polynomial.deriv()(few))).to(s)
    return found._replace(ratio_derivative=torch.where(s < until, slope, found.ratio_derivative))


def _by_quadrature(activation: Activation, s: Tensor) -> ValueMoments:
    def integrands(z: Tensor, unit: Tensor) -> Tensor:  # unit = z / sqrt(s)
        value, (first, second) = activation.value(z), activation.derivatives(z)
        square, bent, spread = first.square(), value * second, unit.square() - 1
        return torch.stack([value.square(), square, bent, square * spread, bent * spread])

    (square, slope, bent, slope_moved, bent_moved), _ = gaussian_mean(integrands, s)
    ratio = bent / slope
    return ValueMoments(square, ratio, (bent_moved - ratio * slope_moved) / slope / (2 * s))


@cache
def _near_zero(activation: Activation) -> tuple[Chebyshev, float]:
    def ratio(s: np.ndarray) -> np.ndarray:
        values: np.ndarray = _by_quadrature(activation, torch.from_numpy(s)).ratio.numpy()
        return values

    return chebyshev_near_zero(ratio)
