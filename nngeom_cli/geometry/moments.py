"""Gaussian means of an activation's slope, from which the metric of an infinitely wide layer follows."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.polynomial import Chebyshev
from torch import Tensor

from nngeom_cli.geometry.activations import Activation, get_activation
from nngeom_cli.geometry.quadrature import gaussian_mean

__all__ = ["Moments", "built_in", "chebyshev_near_zero", "degree", "order", "power", "slope_moments"]

_DEGREES = (8, 12)  # of two polynomials whose derivatives must agree
_AGREEMENT = 1e-10
_SMALLEST = 4.0**-14


class Moments(NamedTuple):
    """Means over z ~ N(0, s), as functions of s, written so that nothing cancels for small or large s.

    Args:
        log_slope: log m(s), m = E[phi'(z)^2].
        radial: E[phi'^2 z^2] / (s m).
        excess: radial - 1 = 2 s (log m)'.
        radial_derivative: d radial / ds.
        bend: excess / s = 2 (log m)'.
        bend_derivative: d bend / ds.
    """

    log_slope: Tensor
    radial: Tensor
    excess: Tensor
    radial_derivative: Tensor
    bend: Tensor
    bend_derivative: Tensor


def slope_moments(activation: Activation, s: Tensor) -> Moments:
    """The moments at variances s (any shape, float64): closed forms for erf, sin, relu and monomials, else quadrature.

    Raises:
        ValueError: the quadrature does not converge.

    Example:
        >>> from nngeom_cli.geometry import get_activation
        >>> slope_moments(get_activation("sin"), torch.tensor(0.0, dtype=torch.float64)).bend
        tensor(-2., dtype=torch.float64)
    """
    one, monomial, name = torch.ones_like(s), power(activation), built_in(activation)
    if name == "erf":
        slope = 1 / (1 + 2 * s)
        log_slope = math.log(2 / math.pi) + slope.log() / 2
        return Moments(log_slope, slope, -2 * s * slope, -2 * slope.square(), -2 * slope, 4 * slope.square())
    if name == "sin":  # m = (1 + exp(-2 s)) / 2
        tail, rest = torch.sigmoid(-2 * s), torch.sigmoid(2 * s)
        bend, bend_derivative = -4 * tail, 8 * tail * rest
        return _of_bend(torch.log1p(torch.exp(-2 * s)) - math.log(2), s, bend, bend_derivative)
    if monomial is not None:
        q, factor = monomial
        log_slope = math.log(factor * q**2 / (2 * q - 1)) + (torch.log(s) * (q - 1) if q > 1 else 0 * s)
        bend = (2 * q - 2) / s if q > 1 else 0 * s
        return Moments(log_slope, (2 * q - 1) * one, (2 * q - 2) * one, 0 * one, bend, -bend / s if q > 1 else 0 * s)
    if name == "relu":
        return Moments(-math.log(2) * one, one, 0 * one, 0 * one, 0 * one, 0 * one)
    found = _by_quadrature(activation, s)
    if not (s < 1).any():
        return found
    polynomial, until = _near_zero(activation)
    few = torch.where(s < until, s, 0.0).cpu().numpy()
    values, slopes = (torch.from_numpy(np.asarray(f(few))).to(s) for f in (polynomial, polynomial.deriv()))
    near = _of_bend(found.log_slope, s, values, slopes)
    return Moments(*(torch.where(s < until, mine, other) for mine, other in zip(near, found, strict=True)))


def built_in(activation: Activation) -> str | None:
    """The name of a built-in activation; None for any other, whatever its name."""
    try:
        return activation.name if get_activation(activation.name) is activation else None
    except ValueError:
        return None


def degree(activation: Activation) -> int | None:
    """q for a monomial z^q, 1 for the identity, None for others."""
    name = built_in(activation) or ""
    return 1 if name == "identity" else int(name[8:]) if name.startswith("monomial") else None


def order(activation: Activation) -> int | None:
    """q for sqrt(2) max(z, 0)^q, None for others."""
    name = built_in(activation) or ""
    return int(name[9:]) if name.startswith("arccosine") else None


def power(activation: Activation) -> tuple[int, float] | None:
    """q and c where E[phi(z)^2] = c s^q: of monomials, whose square is even, and rectified ones, twice its half."""
    q = order(activation)
    if q is not None:
        return q, float(math.prod(range(1, 2 * q, 2)))
    q = degree(activation)
    return None if q is None else (q, 1.0)


def _of_bend(log_slope: Tensor, s: Tensor, bend: Tensor, bend_derivative: Tensor) -> Moments:
    return Moments(log_slope, 1 + s * bend, s * bend, bend + s * bend_derivative, bend, bend_derivative)


def _by_quadrature(activation: Activation, s: Tensor) -> Moments:
    """The moments as means of phi'^2 and of its slope 2 phi' phi'', whichever loses fewer digits.

    Grids must agree on the mean of u phi(z) too, which shows a step of phi even if its slope lies between all nodes.
    """

    def integrands(z: Tensor, unit: Tensor) -> Tensor:  # unit = z / sqrt(s)
        first, second = activation.derivatives(z)
        square, slope, radial = first.square(), 2 * first * second * z, unit.square()
        step = unit * activation.value(z)
        return torch.stack([square, square * radial, square * radial.square(), slope, slope * radial, step])

    means, magnitudes = gaussian_mean(integrands, s)
    mean = means[0]
    radial, fourth, excess, cubic = means[1:5] / mean
    # by parts, E[slope] = E[square (u^2 - 1)] and E[slope u^2] = E[square (u^4 - 3 u^2)]: the right side where phi'
    # oscillates, the left side where it is nearly constant
    oscillates = magnitudes[3] > mean
    excess = torch.where(oscillates, radial - 1, excess)
    cubic = torch.where(oscillates, fourth - 3 * radial, cubic)
    radial_derivative = (cubic - excess * radial) / (2 * s)
    bend = excess / s
    return Moments(mean.log(), radial, excess, radial_derivative, bend, (radial_derivative - bend) / s)


@cache
def _near_zero(activation: Activation) -> tuple[Chebyshev, float]:
    def bend(s: np.ndarray) -> np.ndarray:
        values: np.ndarray = _by_quadrature(activation, torch.from_numpy(s)).bend.numpy()
        return values

    return chebyshev_near_zero(bend)


def chebyshev_near_zero(function: Callable[[np.ndarray], np.ndarray]) -> tuple[Chebyshev, float]:
    """A polynomial for a function of the variance, found by quadrature, whose derivative would lose digits near 0.

    Returns:
        The polynomial, and the variance below which to use it: 0 if none fits, as for the bend of z^2, which has no
        limit at 0 and loses nothing.
    """
    until = 1.0
    places = np.linspace(0, 1, 9)
    while until >= _SMALLEST:
        try:
            low, high = (Chebyshev.interpolate(function, count, domain=[0, until]) for count in _DEGREES)
        except ValueError:  # from the quadrature: the activation oscillates too fast here
            until /= 4
            continue
        expected = high.deriv()(until * places)
        if np.abs(low.deriv()(until * places) - expected).max() <= _AGREEMENT * np.abs(expected).max():
            return high, until
        until /= 4
    return Chebyshev([0.0]), 0.0
