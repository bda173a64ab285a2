"""Fixed points of infinitely wide layers, and what they do to circles, as in Poole et al. 2016 (arXiv:1606.05340)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nngeom_cli.geometry.activations import Activation, get_activation
from nngeom_cli.geometry.moments import built_in, power, slope_moments
from nngeom_cli.geometry.quadrature import gaussian_mean
from nngeom_cli.geometry.value_moments import value_moments

__all__ = ["FixedPoint", "circle_curvature", "fixed_point"]

_STEPS = 2000
_PRECISION = 1e-13


@dataclass(frozen=True)
class FixedPoint:
    """Where the variance of what comes to the activations stays from layer to layer.

    Args:
        variance: q* = weight_std^2 E[phi(z)^2] + bias_std^2, z ~ N(0, q*).
        chi_1: weight_std^2 E[phi'(z)^2], by which squared lengths grow in each layer; chaos above 1, order below.
        chi_2: weight_std^2 E[phi''(z)^2].
        circle_curvature: kappa of the image of a circle after many layers, kappa^2 = 3 chi_2 / (chi_1 (chi_1 - 1));
            infinite where chi_1 <= 1, since it grows without end.

    Example:
        >>> round(fixed_point("erf", weight_std=1.0, bias_std=0.0).variance, 6)  # signals die out
        0.0
    """

    variance: float
    chi_1: float
    chi_2: float
    circle_curvature: float


def fixed_point(activation: str | Activation, weight_std: float, bias_std: float) -> FixedPoint:
    """The fixed point that is reached from variance 1.

    Args:
        activation: a name for `get_activation`, or an `Activation`; smooth.
        weight_std: standard deviation of the weights, times the root of the width before.
        bias_std: standard deviation of the biases.

    Returns:
        q*, chi_1, chi_2 and the curvature of a circle's image, as numbers.

    Raises:
        ValueError: the activation is not smooth, or the variance grows without end or does not settle.

    Example:
        >>> round(fixed_point("tanh", weight_std=2.5, bias_std=0.3).chi_1, 6)
        1.585225
    """
    phi = get_activation(activation) if isinstance(activation, str) else activation
    if not phi.smooth:
        raise ValueError(f"`activation` must be smooth. Got {phi.name!r}.")
    gain, q = weight_std**2, torch.ones((), dtype=torch.float64)
    for step in range(_STEPS):
        values = value_moments(phi, q)
        onward = gain * values.square + bias_std**2
        change = onward - q
        if not onward < 1e12:
            break
        if abs(change) <= _PRECISION * onward or onward < 1e-15:
            chi_1 = (gain * slope_moments(phi, onward).log_slope.exp()).item()
            chi_2 = (gain * bend_square(phi, onward)).item()
            curvature = math.sqrt(3 * chi_2 / (chi_1 * (chi_1 - 1))) if chi_1 > 1 else math.inf
            return FixedPoint(onward.item(), chi_1, chi_2, curvature)
        growth = gain * slope_moments(phi, q).log_slope.exp() * (1 + values.ratio)  # of a small change of q
        # Newton's step once the variance settles: a plain one is slow where growth is near 1
        q = q + change / (1 - growth) if step > 20 and growth < 1 and abs(change) < 0.01 * q else onward
    raise ValueError(
        f"`weight_std` and `bias_std` must let the variance settle. Got {weight_std} and {bias_std} with {phi.name}, "
        f"where it is {onward.item():.3g} after {step + 1} layers."
    )


def circle_curvature(
    activation: Activation, weight_stds: Sequence[float], bias_stds: Sequence[float], radius: Tensor
) -> Tensor:
    """kappa of the image of a circle around the origin in the features of the last of some layers; any shape."""
    gain = weight_stds[0] ** 2
    q = gain * radius.square() + bias_stds[0] ** 2
    square = 1 / (gain * radius.square())  # kappa^2 of what comes to the activations
    for layer in range(len(weight_stds)):
        slope = slope_moments(activation, q).log_slope.exp()
        square = 3 * bend_square(activation, q) / slope.square() + square / slope
        if layer < len(weight_stds) - 1:
            gain, bias = weight_stds[layer + 1] ** 2, bias_stds[layer + 1] ** 2
            q, square = gain * value_moments(activation, q).square + bias, square / gain
    return square.sqrt()


def bend_square(activation: Activation, s: Tensor) -> Tensor:
    """E[phi''(z)^2], z ~ N(0, s)."""
    name, monomial = built_in(activation), power(activation)
    if name == "erf":
        return 2 / math.pi * s / (1 + 2 * s) ** 1.5
    if name == "sin":
        return -torch.expm1(-2 * s) / 2
    if monomial is not None:
        q, factor = monomial
        return factor * (q * (q - 1)) ** 2 / ((2 * q - 1) * abs(2 * q - 3)) * s ** max(q - 2, 0)
    return gaussian_mean(lambda z, _: activation.second(z).square().unsqueeze(0), s)[0][0]
