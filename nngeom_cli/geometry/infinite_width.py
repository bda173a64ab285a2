"""The exact geometry of an infinitely wide layer with Gaussian weights."""

import math

import torch
from torch import Tensor

from nngeom_cli.geometry.activations import Activation, get_activation
from nngeom_cli.geometry.moments import Moments, built_in, degree, slope_moments
from nngeom_cli.geometry.points import Numbers, as_numbers
from nngeom_cli.geometry.quadrature import gaussian_mean_of_pairs

__all__ = ["InfiniteWidth"]


class InfiniteWidth:
    """A single layer of infinite width, Phi_j = phi(w_j . x + b_j) / sqrt(n) with Gaussian w_j and b_j.

    The metric is `g = e^Omega (1 + 2 Omega' x x^T)`, Omega a function of `|x|^2`, `e^Omega = weight_std^2 E[phi'(z)^2]`
    with z ~ N(0, s), `s = weight_std^2 |x|^2 + bias_std^2`: eqs. (6) to (8). There are closed forms for erf (B.25) to
    (B.28), monomials (B.30) to (B.33), misprints corrected, and sin. Other smooth activations use the trapezoid rule,
    at each point on finer and finer grids until two agree to 1e-12. relu has a kernel, a metric and a volume element,
    but no curvature. Points and radii may be tensors, arrays or lists; results have their dtype, float64 for integers.

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
        if not self.activation.smooth and built_in(self.activation) != "relu":
            raise ValueError(f"`activation` must be smooth, or relu. Got {self.activation.name!r}.")
        if not 0 < weight_std < math.inf:
            raise ValueError(f"`weight_std` must be positive and finite. Got {weight_std}.")
        if not 0 <= bias_std < math.inf:
            raise ValueError(f"`bias_std` must be at least 0 and finite. Got {bias_std}.")
        if dimension < 1 or dimension != int(dimension):
            raise ValueError(f"`dimension` must be an integer of at least 1. Got {dimension}.")
        self.weight_std, self.bias_std, self.dimension = weight_std, bias_std, dimension

    def kernel(self, x: Numbers, y: Numbers) -> Tensor:
        """Kernel k(x, y) = E[phi(w . x + b) phi(w . y + b)]: eq. (5).

        Closed forms: erf (B.24), sin, relu (Cho and Saul 2009), monomials (Isserlis); otherwise quadrature.

        Args:
            x: points, `(*batch, d)`.
            y: points, `(*batch, d)`.

        Returns:
            `(*batch)`, batches broadcast.

        Raises:
            ValueError: the last axis is not `dimension`, or the quadrature does not converge.

        Example:
            >>> x = torch.tensor([0.6, 0.8])
            >>> InfiniteWidth("relu", weight_std=1.0, bias_std=0.0, dimension=2).kernel(x, -x)
            tensor(0.)
        """
        first, second = torch.broadcast_tensors(self._points("x", x), self._points("y", y))

        def covariance(a: Tensor, b: Tensor) -> Tensor:
            return self.weight_std**2 * (a.double() * b.double()).sum(dim=-1) + self.bias_std**2

        variances, mixed = (covariance(first, first), covariance(second, second)), covariance(first, second)
        name, q = built_in(self.activation), degree(self.activation)
        if name == "erf":
            values = 2 / math.pi * torch.asin(mixed / ((1 + variances[0]) * (1 + variances[1])).sqrt())
        elif name == "sin":  # exp(-E[u^2 + v^2] / 2) sinh E[u v], by the variance of u - v or u + v: nothing cancels
            sign = mixed.sign()
            apart = (first.double() - sign[..., None] * second.double()).square().sum(dim=-1)
            spread = self.weight_std**2 * apart + self.bias_std**2 * (1 - sign).square()
            values = -sign * (-spread / 2).exp() * torch.expm1(-2 * mixed.abs()) / 2
        elif name == "relu":
            length = (variances[0] * variances[1]).sqrt()
            sine = ((length - mixed).clamp_min(0) * (length + mixed).clamp_min(0)).sqrt()
            values = (sine + (math.pi - torch.atan2(sine, mixed)) * mixed) / (2 * math.pi)
        elif q is not None:
            values = _monomial_kernel(q, variances, mixed)
        else:
            determinant = self._determinant(first.double(), second.double())
            values = gaussian_mean_of_pairs(self.activation.value, *variances, mixed, determinant)
        return values.to(torch.promote_types(first.dtype, second.dtype))

    def omega(self, radius: Numbers, derivative: int = 0) -> Tensor:
        """`Omega = log(weight_std^2 E[phi'(z)^2])`, eq. (8), or a derivative of it with respect to `|x|^2`.

        Args:
            radius: `|x|`, any shape.
            derivative: 0, 1 or 2.

        Returns:
            Values in the shape of `radius`.

        Raises:
            ValueError: `derivative` is not 0, 1 or 2; or it is 1 or 2 where `|x|` and `bias_std` are both 0; or the
                quadrature does not converge.

        Example:
            >>> InfiniteWidth("erf", weight_std=1.0, bias_std=0.5, dimension=2).omega(torch.tensor(1.7), derivative=1)
            tensor(-0.1374)
        """
        if derivative not in (0, 1, 2):
            raise ValueError(f"`derivative` must be 0, 1 or 2. Got {derivative}.")
        r = as_numbers("radius", radius)
        variance, moments = self._moments(r)
        if derivative > 0 and (variance == 0).any():
            raise ValueError("`radius` must be positive for derivatives of Omega if `bias_std` is 0. Got 0.")
        variance_slope = self.weight_std**2  # ds / d|x|^2
        values = (
            2 * math.log(self.weight_std) + moments.log_slope,
            variance_slope * moments.bend / 2,
            variance_slope**2 * moments.bend_derivative / 2,
        )
        return values[derivative].to(r.dtype)

    def metric(self, x: Numbers) -> Tensor:
        """Metric g = e^Omega (1 + 2 Omega' x x^T): eqs. (6) and (7).

        Args:
            x: points, `(*batch, d)`.

        Returns:
            `(*batch, d, d)`.

        Raises:
            ValueError: the last axis is not `dimension`, or the quadrature does not converge.

        Example:
            >>> InfiniteWidth("monomial1", weight_std=2.0, bias_std=0.0, dimension=2).metric(torch.zeros(2) + 1)
            tensor([[4., 0.],
                    [0., 4.]])
        """
        x = self._points("x", x)
        radius = torch.linalg.vector_norm(x.double(), dim=-1)
        _, moments = self._moments(radius)
        scale = self.weight_std**2 * moments.log_slope.exp()
        bend = torch.where(radius > 0, self.weight_std**2 * moments.bend, 0.0)  # 2 Omega'
        outer = x.double().unsqueeze(-1) * x.double().unsqueeze(-2)
        identity = torch.eye(self.dimension, dtype=torch.float64, device=x.device)
        return (scale[..., None, None] * (identity + bend[..., None, None] * outer)).to(x.dtype)

    def log_volume_element(self, radius: Numbers) -> Tensor:
        """Natural logarithm of the volume element sqrt(det g): (B.13).

        `log sqrt(det g) = d Omega / 2 + log(1 + 2 |x|^2 Omega') / 2`. (B.27) should have the exponent (d + 2) / 4.

        Args:
            radius: `|x|`, any shape.

        Returns:
            In nats, in the shape of `radius`; -inf where the metric vanishes.

        Raises:
            ValueError: the quadrature does not converge.

        Example:
            >>> InfiniteWidth("erf", weight_std=1.0, bias_std=0.5, dimension=2).log_volume_element(torch.tensor(1.7))
            tensor(-2.2340)
        """
        r = as_numbers("radius", radius)
        variance, moments = self._moments(r)
        omega = 2 * math.log(self.weight_std) + moments.log_slope
        return (self.dimension * omega / 2 + self._stretch(variance, moments).log() / 2).to(r.dtype)

    def ricci_scalar(self, radius: Numbers) -> Tensor:
        """Ricci scalar; eqs. (9), (B.28) and (B.32) print three times this.

        `R = -(d - 1) e^-Omega |x|^2 Omega' ((d - 2) rho Omega' + 2 rho') / rho^2` with `rho = 1 + 2 |x|^2 Omega'`. This
        is (9) without its factor 3, written to avoid 0 / 0 where Omega' = 0 and cancellation at large `|x|`.

        Args:
            radius: `|x|`, any shape.

        Returns:
            Values in the shape of `radius`; NaN where the metric vanishes.

        Raises:
            ValueError: the activation is not smooth, or the quadrature does not converge.

        Example:
            >>> InfiniteWidth("monomial2", weight_std=1.0, bias_std=0.5, dimension=2).ricci_scalar(torch.tensor(0.8))
            tensor(-0.1287)
        """
        if not self.activation.smooth:
            raise ValueError(
                f"`activation` must be smooth to have a curvature. Got {self.activation.name!r}, whose curvature is "
                "concentrated at its kinks. Its kernel, metric and volume element are available."
            )
        r = as_numbers("radius", radius)
        d, sigma2 = self.dimension, self.weight_std**2
        variance, moments = self._moments(r)
        share = self.bias_std**2 / variance
        omega_slope = sigma2 * moments.bend / 2
        stretch = self._stretch(variance, moments)
        stretch_slope = sigma2 * (share * moments.bend + (1 - share) * moments.radial_derivative)
        bracket = omega_slope * ((d - 2) * stretch * omega_slope + 2 * stretch_slope) / stretch.square()
        scalar = -(d - 1) * (-moments.log_slope).exp() / sigma2 * r.double().square() * bracket
        at_origin = torch.where(moments.log_slope == -torch.inf, torch.nan, 0.0)
        return torch.where(r == 0, at_origin, scalar).to(r.dtype)

    def _determinant(self, x: Tensor, y: Tensor) -> Tensor:
        """Determinant of the covariance of w . x + b and w . y + b, without cancellation; 0 where x = y."""
        length = x.square().sum(dim=-1)
        along = torch.where(length > 0, (x * y).sum(dim=-1) / length, 0.0)
        across = (y - along[..., None] * x).square().sum(dim=-1)
        apart = (x - y).square().sum(dim=-1)
        return self.weight_std**4 * length * across + (self.weight_std * self.bias_std) ** 2 * apart

    def _stretch(self, variance: Tensor, moments: Moments) -> Tensor:
        """rho = 1 + 2 |x|^2 Omega', the radial eigenvalue of g over the others, as a mean of positive terms."""
        share = torch.where(variance > 0, self.bias_std**2 / variance, 1.0)
        return share + (1 - share) * moments.radial

    def _moments(self, radius: Tensor) -> tuple[Tensor, Moments]:
        variance = self.weight_std**2 * radius.double().square() + self.bias_std**2
        return variance, slope_moments(self.activation, variance)

    def _points(self, name: str, values: Numbers) -> Tensor:
        points = as_numbers(name, values)
        if points.ndim == 0 or points.shape[-1] != self.dimension:
            raise ValueError(
                f"`{name}` must have shape (*batch, {self.dimension}), `dimension` last. Got {tuple(points.shape)}."
            )
        return points


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
