"""The metric that each of a row of infinitely wide layers induces, as functions of the radius."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nngeom_cli.geometry.activations import Activation
from nngeom_cli.geometry.moments import slope_moments
from nngeom_cli.geometry.value_moments import value_moments

__all__ = ["RadialMetric", "radial_metric"]


@dataclass(frozen=True)
class RadialMetric:
    """A rotationally symmetric metric g = a (1 + (rho - 1) x x^T / t), t = |x|^2, rho the radial eigenvalue over a.

    All that is differentiated is differentiated with respect to t, and written so that nothing cancels where a metric
    of one layer, for which the asymmetry is 0, has a small curvature.

    Args:
        log_scale: log a = Omega.
        slope: Omega'.
        slope_derivative: Omega''.
        moved_slope: (t Omega')'.
        stretch: rho = 1 + 2 t Omega' + t asymmetry.
        asymmetry: (rho - 1) / t - 2 Omega'.
        asymmetry_derivative: t times the derivative of the asymmetry.
        t: |x|^2.
    """

    log_scale: Tensor
    slope: Tensor
    slope_derivative: Tensor
    moved_slope: Tensor
    stretch: Tensor
    asymmetry: Tensor
    asymmetry_derivative: Tensor
    t: Tensor

    @property
    def outer(self) -> Tensor:
        """(rho - 1) / t."""
        return 2 * self.slope + self.asymmetry

    def ricci_scalar(self, d: int) -> Tensor:
        """R in d dimensions.

        With f = |x| sqrt(a) and primes along the arc length, R = -(d-1) [2 f''/f + (d-2) (f'^2-1)/f^2]. In A = Omega',
        e = asymmetry, m = (t A)' and n = e (1 + t A) + t e', primes d/dt:

            R = -(d-1) / (a rho) { 2 [2 t A m + t e (A + t A^2 + 2 m) - (1 + t A) n] / rho + (d-2) (t A^2 - e) }.
        """
        t, slope, odd, moved = self.t, self.slope, self.asymmetry, self.moved_slope
        turn = 1 + t * slope
        lean = odd * turn + self.asymmetry_derivative
        along = 2 * t * slope * moved + t * odd * (slope * turn + 2 * moved) - turn * lean
        across = (d - 2) * (t * slope.square() - odd)
        return -(d - 1) * (-self.log_scale).exp() * (2 * along / self.stretch + across) / self.stretch


def radial_metric(
    activation: Activation, weight_stds: Sequence[float], bias_stds: Sequence[float], t: Tensor
) -> RadialMetric:
    """The metric of the features of the last of some layers.

    With q the variance, u = q' / a, E = E[phi'^2], K = E[phi^2], bend = 2 (log E)', primes d/dt or d/dq, a layer makes

        log a -> log a + log E,  asymmetry -> asymmetry + bend q' (u - 1),
        rho -> rho + (E[phi'^2 z^2] / (q E) - 1) (q')^2 t / (q a)

    and hands on q -> weight_std^2 K + bias_std^2, u -> u K' / E, a -> weight_std^2 a. Before the first layer
    q = weight_std^2 t + bias_std^2, a = weight_std^2, and u = 1. The rest is these lines differentiated.

    Args:
        activation: phi.
        weight_stds: of each layer, standard deviation of the weights times the root of the width before.
        bias_stds: of each layer, standard deviation of the biases.
        t: |x|^2, any shape, float64.

    Raises:
        ValueError: a quadrature does not converge.
    """
    zero, gain, bias = torch.zeros_like(t), weight_stds[0] ** 2, bias_stds[0] ** 2
    q = gain * t + bias
    log_scale, u, u_slope = zero + math.log(gain), zero + 1, zero
    apart = torch.where(q > 0, bias / q, 1.0)  # rho - y u, the part of rho that is not growth of q
    y, y_moved = 1 - apart, gain * apart  # t q' / q, and q times its derivative
    slope = slope_derivative = moved_slope = asymmetry = asymmetry_derivative = zero
    for layer in range(len(weight_stds)):
        moments = slope_moments(activation, q)
        scale = log_scale.exp()
        rate, rate_slope = u * scale, scale * (slope * u + u_slope)  # q', q''
        bend = moments.bend
        bend_slope = moments.bend_derivative * rate.square() + bend * rate_slope  # (bend q')'
        stretch = apart + moments.radial * y * u
        asymmetry_derivative = asymmetry_derivative + t * (bend_slope * (u - 1) + bend * rate * u_slope)
        asymmetry = asymmetry + bend * rate * (u - 1)
        moved_slope = moved_slope + (bend * y_moved + y * rate * moments.radial_derivative) / 2
        slope_derivative = slope_derivative + bend_slope / 2
        slope = slope + bend * rate / 2
        log_scale = log_scale + moments.log_slope
        if layer == len(weight_stds) - 1:
            break
        gain, bias = weight_stds[layer + 1] ** 2, bias_stds[layer + 1] ** 2
        values = value_moments(activation, q)
        u, u_slope = u * (1 + values.ratio), u_slope * (1 + values.ratio) + u * values.ratio_derivative * rate
        q = gain * values.square + bias
        log_scale = log_scale + math.log(gain)
        scale = log_scale.exp()
        y = torch.where(t > 0, t * u * scale / q, 0.0)
        y_moved = u * scale * (1 - y) + t * scale * (slope * u + u_slope)
        apart = stretch - y * u
    return RadialMetric(log_scale, slope, slope_derivative, moved_slope, stretch, asymmetry, asymmetry_derivative, t)
