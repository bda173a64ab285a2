"""The geometry of an infinitely wide layer with Gaussian weights, exactly."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from nngeom_cli.geometry.activations import Activation, get_activation
from nngeom_cli.geometry.quadrature import gaussian_mean, gaussian_mean_of_pairs

__all__ = ["InfiniteWidth"]


class _Moments(NamedTuple):
    """What the metric needs of z ~ N(0, s), as functions of s, written so that nothing cancels for small or large s.

    log_slope = log E[phi'^2], radial = E[phi'^2 z^2] / (s E[phi'^2]), excess = radial - 1, and d radial / ds.
    """

    log_slope: Tensor
    radial: Tensor
    excess: Tensor
    radial_derivative: Tensor


class InfiniteWidth:
    """A shallow layer of infinite width, Phi_j = phi(w_j . x + b_j) / sqrt(n) with Gaussian w_j and b_j.

    The metric is g = e^Omega (1 + 2 Omega' x x^T), Omega a function of |x|^2, e^Omega = weight_std^2 E[phi'(z)^2] with
    z ~ N(0, s), s = weight_std^2 |x|^2 + bias_std^2: eqs. (6) to (8). Closed forms for erf (B.25) to (B.28), monomials
    (B.30) to (B.33), misprints put right, and sin; for other smooth activations the trapezoid rule, on finer grids
    until two of them agree to 1e-12. relu has kernel, metric and volume element, but no curvature.

    Args:
        activation: a name for `get_activation`, or an `Activation`.
        weight_std: standard deviation of the weights, sigma.
        bias_std: standard deviation of the biases, zeta.
        dimension: dimension d of input space.

    Raises:
        ValueError: `weight_std` is not positive, `bias_std` is negative, `dimension` is less than 1, or the activation
            is neither smooth nor relu.

    Example:
        >>> InfiniteWidth("erf", weight_std=1.0, bias_std=0.5, dimension=2).ricci_scalar(torch.tensor(1.7))
        tensor(-4.4866)
    """

    def __init__(self, activation: str | Activation, weight_std: float, bias_std: float, dimension: int) -> None:
        self.activation = get_activation(activation) if isinstance(activation, str) else activation
        if not self.activation.smooth and self.activation.name != "relu":
            raise ValueError(f"`activation` must be smooth, or relu. Got {self.activation.name!r}.")
        if not 0 < weight_std < math.inf:
            raise ValueError(f"`weight_std` must be positive and finite. Got {weight_std}.")
        if not 0 <= bias_std < math.inf:
            raise ValueError(f"`bias_std` must be at least 0 and finite. Got {bias_std}.")
        if dimension < 1:
            raise ValueError(f"`dimension` must be at least 1. Got {dimension}.")
        self.weight_std, self.bias_std, self.dimension = weight_std, bias_std, dimension

    def kernel(self, x: Tensor, y: Tensor) -> Tensor:
        """Kernel k(x, y) = E[phi(w . x + b) phi(w . y + b)]: eq. (5).

        Closed forms: erf (B.24), relu (Cho and Saul 2009), monomials (Isserlis), sin; otherwise quadrature.

        Args:
            x: points, `(*batch, d)`.
            y: points, `(*batch, d)`.

        Returns:
            `(*batch)`, batches broadcast.

        Raises:
            ValueError: a last axis that is not `dimension`, or a quadrature that does not converge.

        Example:
            >>> x = torch.tensor([0.6, 0.8])
            >>> InfiniteWidth("relu", weight_std=1.0, bias_std=0.0, dimension=2).kernel(x, -x)
            tensor(0.)
        """
        self._check_points(x)
        self._check_points(y)
        x, y = torch.broadcast_tensors(x, y)

        def covariance(a: Tensor, b: Tensor) -> Tensor:
            return self.weight_std**2 * (a * b).sum(dim=-1).double() + self.bias_std**2

        variances, mixed = (covariance(x, x), covariance(y, y)), covariance(x, y)
        name, degree = self.activation.name, _degree(self.activation)
        if name == "erf":
            values = 2 / math.pi * torch.asin(mixed / ((1 + variances[0]) * (1 + variances[1])).sqrt())
        elif name == "relu":
            length = (variances[0] * variances[1]).sqrt()
            sine = ((length - mixed).clamp_min(0) * (length + mixed).clamp_min(0)).sqrt()
            values = (sine + (math.pi - torch.atan2(sine, mixed)) * mixed) / (2 * math.pi)
        elif name == "sin":  # E[cos(u - v) - cos(u + v)] / 2
            least = (
                variances[0] + variances[1]
            ) / 2 - mixed.abs()  # variance of the smaller of u - v and u + v, over 2
            values = mixed.sign() * (-least).exp() * -torch.expm1(-2 * mixed.abs()) / 2
        elif degree is not None:
            values = _monomial_kernel(degree, variances, mixed)
        else:
            values = gaussian_mean_of_pairs(self.activation.value, *variances, mixed)
        return values.to(x.dtype)

    def omega(self, radius: Tensor, derivative: int = 0) -> Tensor:
        """Omega = log(weight_std^2 E[phi'(z)^2]), eq. (8), or a derivative of it with respect to |x|^2.

        Args:
            radius: |x|, any shape.
            derivative: 0, 1 or 2.

        Returns:
            The shape of `radius`.

        Raises:
            ValueError: another `derivative`; a derivative where |x| and `bias_std` are both 0; a quadrature that does
                not converge.

        Example:
            >>> InfiniteWidth("erf", weight_std=1.0, bias_std=0.5, dimension=2).omega(torch.tensor(1.7), derivative=1)
            tensor(-0.1374)
        """
        if derivative not in (0, 1, 2):
            raise ValueError(f"`derivative` must be 0, 1 or 2. Got {derivative}.")
        variance, moments = self._moments(radius)
        if derivative > 0 and (variance == 0).any():
            raise ValueError("`radius` must not be 0 where `bias_std` is 0, for derivatives of Omega. Got 0.")
        variance_slope = self.weight_std**2  # ds / d|x|^2
        values = (
            2 * math.log(self.weight_std) + moments.log_slope,
            variance_slope * moments.excess / (2 * variance),
            variance_slope**2 * (moments.radial_derivative - moments.excess / variance) / (2 * variance),
        )
        return values[derivative].to(radius.dtype)

    def metric(self, x: Tensor) -> Tensor:
        """Metric g = e^Omega (1 + 2 Omega' x x^T): eqs. (6) and (7).

        Args:
            x: points, `(*batch, d)`.

        Returns:
            `(*batch, d, d)`.

        Raises:
            ValueError: a last axis that is not `dimension`, or a quadrature that does not converge.

        Example:
            >>> InfiniteWidth("monomial1", weight_std=2.0, bias_std=0.0, dimension=2).metric(torch.zeros(2) + 1)
            tensor([[4., 0.],
                    [0., 4.]])
        """
        self._check_points(x)
        radius = torch.linalg.vector_norm(x.double(), dim=-1)
        variance, moments = self._moments(radius)
        scale = self.weight_std**2 * moments.log_slope.exp()
        bend = torch.where(radius > 0, self.weight_std**2 * moments.excess / variance, 0.0)  # 2 Omega'
        outer = x.double().unsqueeze(-1) * x.double().unsqueeze(-2)
        identity = torch.eye(self.dimension, dtype=torch.float64, device=x.device)
        return (scale[..., None, None] * (identity + bend[..., None, None] * outer)).to(x.dtype)

    def log_volume_element(self, radius: Tensor) -> Tensor:
        """log sqrt(det g) = d Omega / 2 + log(1 + 2 |x|^2 Omega') / 2: (B.13). (B.27) should have exponent (d + 2) / 4.

        Args:
            radius: |x|, any shape.

        Returns:
            Nats, the shape of `radius`; -inf where the metric vanishes.

        Raises:
            ValueError: a quadrature that does not converge.

        Example:
            >>> InfiniteWidth("erf", weight_std=1.0, bias_std=0.5, dimension=2).log_volume_element(torch.tensor(1.7))
            tensor(-2.2340)
        """
        variance, moments = self._moments(radius)
        omega = 2 * math.log(self.weight_std) + moments.log_slope
        return (self.dimension * omega / 2 + self._stretch(variance, moments).log() / 2).to(radius.dtype)

    def ricci_scalar(self, radius: Tensor) -> Tensor:
        """Ricci scalar, a third of what eqs. (9), (B.28) and (B.32) print.

        R = -(d - 1) e^-Omega |x|^2 Omega' ((d - 2) rho Omega' + 2 rho') / rho^2 with rho = 1 + 2 |x|^2 Omega', which is
        (9) without its factor 3, with neither 0 / 0 where Omega' = 0 nor cancellation for large |x|.

        Args:
            radius: |x|, any shape.

        Returns:
            The shape of `radius`; NaN where the metric vanishes.

        Raises:
            ValueError: the activation is not smooth, or the quadrature does not converge.

        Example:
            >>> InfiniteWidth("monomial2", weight_std=1.0, bias_std=0.5, dimension=2).ricci_scalar(torch.tensor(0.8))
            tensor(-0.1287)
        """
        if not self.activation.smooth:
            raise ValueError(
                f"`activation` must be smooth to have a curvature. Got {self.activation.name!r}, whose curvature is "
                "concentrated in its kinks; kernel, metric and volume element hold."
            )
        d, sigma2 = self.dimension, self.weight_std**2
        variance, moments = self._moments(radius)
        share = self.bias_std**2 / variance
        omega_slope = sigma2 * moments.excess / (2 * variance)
        stretch = self._stretch(variance, moments)
        stretch_slope = sigma2 * (share * moments.excess / variance + (1 - share) * moments.radial_derivative)
        bracket = omega_slope * ((d - 2) * stretch * omega_slope + 2 * stretch_slope) / stretch.square()
        scalar = -(d - 1) * (-moments.log_slope).exp() / sigma2 * radius.double().square() * bracket
        at_origin = torch.where(moments.log_slope == -torch.inf, torch.nan, 0.0)
        return torch.where(radius == 0, at_origin, scalar).to(radius.dtype)

    def _stretch(self, variance: Tensor, moments: _Moments) -> Tensor:
        """rho = 1 + 2 |x|^2 Omega', the radial eigenvalue of g over the others, as a mean of positive terms."""
        share = torch.where(variance > 0, self.bias_std**2 / variance, 1.0)
        return share + (1 - share) * moments.radial

    def _moments(self, radius: Tensor) -> tuple[Tensor, _Moments]:
        s = self.weight_std**2 * radius.double().square() + self.bias_std**2
        degree = _degree(self.activation)
        if self.activation.name == "erf":
            slope = 1 / (1 + 2 * s)
            return s, _Moments(math.log(2 / math.pi) + slope.log() / 2, slope, -2 * s * slope, -2 * slope.square())
        if degree is not None:
            q, one = degree, torch.ones_like(s)
            log_slope = math.log(q**2 / (2 * q - 1)) + (torch.log(s) * (q - 1) if q > 1 else 0 * s)
            return s, _Moments(log_slope, (2 * q - 1) * one, (2 * q - 2) * one, 0 * one)
        if self.activation.name == "relu":
            one = torch.ones_like(s)
            return s, _Moments(-math.log(2) * one, one, 0 * one, 0 * one)
        if self.activation.name == "sin":  # E[cos(z)^2] = (1 + exp(-2 s)) / 2
            p = torch.sigmoid(-2 * s)
            log_slope = torch.log1p((-2 * s).exp()) - math.log(2)
            return s, _Moments(log_slope, 1 - 4 * s * p, -4 * s * p, 8 * s * p * torch.sigmoid(2 * s) - 4 * p)

        def integrands(z: Tensor, unit: Tensor) -> Tensor:  # unit = z / sqrt(s)
            first, second = self.activation.derivatives(z)
            square, slope = first.square(), 2 * first * second * z
            return torch.stack([square, square * unit.square(), slope, slope * unit.square()])

        means, sizes = gaussian_mean(integrands, s)
        mean, radial, excess, cubic = means.unbind()
        radial, excess, cubic = radial / mean, excess / mean, cubic / mean
        excess = torch.where(sizes[2] <= sizes[1], excess, radial - 1)  # an oscillating slope has the larger error
        return s, _Moments(mean.log(), radial, excess, (cubic - excess * radial) / (2 * s))

    def _check_points(self, x: Tensor) -> None:
        if x.ndim == 0 or x.shape[-1] != self.dimension:
            raise ValueError(f"`x` must have shape (*batch, {self.dimension}), `dimension` last. Got {tuple(x.shape)}.")


def _degree(activation: Activation) -> int | None:
    if activation.name == "identity":
        return 1
    return int(activation.name[8:]) if activation.name.startswith("monomial") else None


def _monomial_kernel(q: int, variances: tuple[Tensor, Tensor], mixed: Tensor) -> Tensor:
    """E[u^q v^q] / (2q - 1)!!, summed over the number j of pairings between u and v (Isserlis)."""
    total = torch.zeros_like(mixed)
    double_factorial = math.prod(range(1, 2 * q, 2))
    for j in range(q % 2, q + 1, 2):
        inside = (q - j) // 2  # pairings of u with itself, and of v
        ways = math.factorial(q) // (math.factorial(inside) * 2**inside * math.factorial(j))
        weight = ways**2 * math.factorial(j) / double_factorial
        total = total + weight * mixed**j * (variances[0] * variances[1]) ** inside
    return total
