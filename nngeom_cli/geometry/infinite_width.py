"""The exact geometry of infinitely wide layers with Gaussian weights."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from nngeom_cli.geometry.activations import Activation, get_activation
from nngeom_cli.geometry.mean_field import circle_curvature
from nngeom_cli.geometry.moments import built_in
from nngeom_cli.geometry.pair_kernels import pair_kernel
from nngeom_cli.geometry.points import Numbers, as_numbers
from nngeom_cli.geometry.radial import RadialMetric, radial_metric
from nngeom_cli.geometry.value_moments import value_moments

__all__ = ["InfiniteWidth"]


class InfiniteWidth:
    """Features of a layer of infinite width, phi(W v + b) / sqrt(n): the first one, or one after others of its kind.

    W has Gaussian entries of variance weight_std^2 / (width before), in the first layer weight_std^2, b of bias_std^2.
    One layer's metric is `g = e^Omega (1 + 2 Omega' x x^T)`, Omega a function of `|x|^2`, `e^Omega = weight_std^2
    E[phi'(z)^2]` with z ~ N(0, s), `s = weight_std^2 |x|^2 + bias_std^2`: eqs. (6) to (8). Deeper ones follow by a
    recursion over layers (docs/theory.md); across the radius their eigenvalue is e^Omega too, along it e^Omega rho.

    There are closed forms for erf (B.25) to (B.28), monomials (B.30) to (B.33), misprints corrected, sin and
    arccosine<q>. Other smooth activations use the trapezoid rule, at each point on finer and finer grids until two
    agree to 1e-12. relu has a kernel, a metric and a volume element, but no curvature. Points and radii may be tensors,
    arrays or lists; results have their dtype, float64 for integers.

    Args:
        activation: a name for `get_activation`, or an `Activation`.
        weight_std: standard deviation of the weights, sigma; or one for each layer.
        bias_std: standard deviation of the biases, zeta; or one for each layer. On a plane of input space at a distance
            h from the origin the map is that of `dimension=2` with sigma^2 h^2 more variance in the first layer's.
        dimension: dimension d of input space.
        depth: the layer whose features are taken, 1 = first.

    Raises:
        ValueError: `weight_std` is not positive, `bias_std` is negative, or there are not `depth` of them; `dimension`
            or `depth` is less than 1; or the activation is neither smooth nor relu.
        TypeError: one of them is no number.

    Example:
        >>> InfiniteWidth("erf", weight_std=1.0, bias_std=0.5, dimension=2).ricci_scalar(torch.tensor(1.7))
        tensor(-4.4866)
        >>> InfiniteWidth("erf", weight_std=1.5, bias_std=0.3, dimension=2, depth=3).ricci_scalar(torch.tensor(1.0))
        tensor(-9.3027)
    """

    def __init__(
        self,
        activation: str | Activation,
        weight_std: float | Sequence[float],
        bias_std: float | Sequence[float],
        dimension: int,
        depth: int = 1,
    ) -> None:
        self.activation = get_activation(activation) if isinstance(activation, str) else activation
        if not isinstance(self.activation, Activation):
            raise TypeError(f"`activation` must be a name or an `Activation`. Got {activation!r}.")
        if not self.activation.smooth and built_in(self.activation) != "relu":
            raise ValueError(f"`activation` must be smooth, or relu. Got {self.activation.name!r}.")
        numbers: dict[str, Any] = {"dimension": dimension, "depth": depth}
        for name, number in numbers.items():
            if not isinstance(number, Real):
                raise TypeError(f"`{name}` must be a number. Got {number!r}.")
        for name in ("dimension", "depth"):
            if not 1 <= numbers[name] < math.inf or numbers[name] != int(numbers[name]):
                raise ValueError(f"`{name}` must be an integer of at least 1. Got {numbers[name]}.")
        self.dimension, self.depth = int(dimension), int(depth)
        self.weight_stds = _of_layers("weight_std", weight_std, self.depth)
        self.bias_stds = _of_layers("bias_std", bias_std, self.depth)
        for each in self.weight_stds:
            if not 0 < each < math.inf:
                raise ValueError(f"`weight_std` must be positive and finite. Got {each}.")
        for each in self.bias_stds:
            if not 0 <= each < math.inf:
                raise ValueError(f"`bias_std` must be at least 0 and finite. Got {each}.")
        self.weight_std, self.bias_std = self.weight_stds[0], self.bias_stds[0]

    def kernel(self, x: Numbers, y: Numbers) -> Tensor:
        """Kernel k(x, y) = E[phi(w . x + b) phi(w . y + b)]: eq. (5).

        Closed forms: erf (B.24), sin, relu and arccosine<q> (Cho and Saul 2009), monomials (Isserlis); otherwise
        quadrature.

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
        a, b = first.double(), second.double()
        variances, mixed = (self._covariance(a, a), self._covariance(b, b)), self._covariance(a, b)
        sign = mixed.sign()
        apart = self.weight_std**2 * (a - sign[..., None] * b).square().sum(dim=-1)
        apart = apart + self.bias_std**2 * (1 - sign).square()
        values = pair_kernel(self.activation, variances, mixed, apart, self._determinant(a, b))
        for layer in range(1, self.depth):
            one, other = (value_moments(self.activation, variance).square for variance in variances)
            variances = self._next(one, layer), self._next(other, layer)
            mixed = self._next(values, layer)
            # both cancel where u and v are nearly equal, and matter little there
            apart = (variances[0] + variances[1] - 2 * mixed.abs()).clamp_min(0)
            determinant = (variances[0] * variances[1] - mixed.square()).clamp_min(0)
            values = pair_kernel(self.activation, variances, mixed, apart, determinant)
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
        if derivative > 0 and self.bias_std == 0 and (r == 0).any():
            raise ValueError("`radius` must be positive for derivatives of Omega if `bias_std` is 0. Got 0.")
        radial = self._radial(r)
        return (radial.log_scale, radial.slope, radial.slope_derivative)[derivative].to(r.dtype)

    def stretch(self, radius: Numbers) -> Tensor:
        """The eigenvalue of the metric along the radius over the others, rho; for one layer 1 + 2 |x|^2 Omega'.

        Args:
            radius: `|x|`, any shape.

        Returns:
            In the shape of `radius`.

        Raises:
            ValueError: the quadrature does not converge.

        Example:
            >>> InfiniteWidth("erf", 1.5, 0.3, dimension=2, depth=3).stretch(torch.tensor([0.0, 1.0]))
            tensor([1.0000, 0.1228])
        """
        r = as_numbers("radius", radius)
        return self._radial(r).stretch.to(r.dtype)

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
        radial = self._radial(radius)
        outer = (
            torch.where(radius > 0, radial.outer, 0.0)[..., None, None]
            * x.double()[..., :, None]
            * x.double()[..., None, :]
        )
        identity = torch.eye(self.dimension, dtype=torch.float64, device=x.device)
        return (radial.log_scale.exp()[..., None, None] * (identity + outer)).to(x.dtype)

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
        radial = self._radial(r)
        return (self.dimension * radial.log_scale / 2 + radial.stretch.log() / 2).to(r.dtype)

    def ricci_scalar(self, radius: Numbers) -> Tensor:
        """Ricci scalar; eqs. (9), (B.28) and (B.32) print three times this.

        For one layer `R = -(d - 1) e^-Omega |x|^2 Omega' ((d - 2) rho Omega' + 2 rho') / rho^2` with `rho = 1 + 2 |x|^2
        Omega'`. This is (9) without its factor 3, written to avoid 0 / 0 where Omega' = 0 and cancellation at large
        `|x|`. At the origin it is 0; deeper layers have any sign there.

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
        self._require_smooth()
        r, d = as_numbers("radius", radius), self.dimension
        radial = self._radial(r)
        at_origin = d * (d - 1) * radial.asymmetry * (-radial.log_scale).exp()
        at_origin = torch.where(radial.log_scale == -torch.inf, torch.nan, at_origin)
        return torch.where(r == 0, at_origin, radial.ricci_scalar(d)).to(r.dtype)

    def circle_curvature(self, radius: Numbers) -> Tensor:
        """Extrinsic curvature, in feature space, of the image of a circle around the origin: Poole et al. 2016.

        `kappa^2 = |P a|^2 / |v|^4`, v and a the first two derivatives along the circle, P the projection across v. A
        circle in input space has 1 / |x|. Over layers, with chi_1 = weight_std^2 E[phi'^2], chi_2 = weight_std^2
        E[phi''^2] and kappa that of what comes to the activations, kappa^2 -> 3 chi_2 / chi_1^2 + kappa^2 / chi_1.

        Args:
            radius: `|x|`, any shape.

        Returns:
            kappa, in the shape of `radius`.

        Raises:
            ValueError: the activation is not smooth, or the quadrature does not converge.

        Example:
            >>> InfiniteWidth("identity", 1.0, 0.5, dimension=2, depth=4).circle_curvature(torch.tensor(2.0))
            tensor(0.5000)
        """
        self._require_smooth()
        r = as_numbers("radius", radius)
        return circle_curvature(self.activation, self.weight_stds, self.bias_stds, r.double()).to(r.dtype)

    def _require_smooth(self) -> None:
        if not self.activation.smooth:
            raise ValueError(
                f"`activation` must be smooth to have a curvature. Got {self.activation.name!r}, whose curvature is "
                "concentrated at its kinks. Its kernel, metric and volume element are available."
            )

    def _next(self, mean: Tensor, layer: int = 0) -> Tensor:
        return self.weight_stds[layer] ** 2 * mean + self.bias_stds[layer] ** 2

    def _covariance(self, x: Tensor, y: Tensor) -> Tensor:
        return self._next((x * y).sum(dim=-1))

    def _determinant(self, x: Tensor, y: Tensor) -> Tensor:
        """Determinant of the covariance of w . x + b and w . y + b, without cancellation; 0 where x = y."""
        length = x.square().sum(dim=-1)
        along = torch.where(length > 0, (x * y).sum(dim=-1) / length, 0.0)
        across = (y - along[..., None] * x).square().sum(dim=-1)
        apart = (x - y).square().sum(dim=-1)
        return self.weight_std**4 * length * across + (self.weight_std * self.bias_std) ** 2 * apart

    def _radial(self, radius: Tensor) -> RadialMetric:
        t = radius.double().square()
        return radial_metric(self.activation, self.weight_stds, self.bias_stds, t)

    def _points(self, name: str, values: Numbers) -> Tensor:
        points = as_numbers(name, values)
        if points.ndim == 0 or points.shape[-1] != self.dimension:
            raise ValueError(
                f"`{name}` must have shape (*batch, {self.dimension}), `dimension` last. Got {tuple(points.shape)}."
            )
        return points


def _of_layers(name: str, values: Any, depth: int) -> tuple[float, ...]:
    """A number for each layer."""
    several = isinstance(values, Sequence) and not isinstance(values, str)
    numbers = tuple(values) if several else (values,) * depth
    for number in numbers:
        if not isinstance(number, Real):
            raise TypeError(f"`{name}` must be a number, or one for each layer. Got {values!r}.")
    if len(numbers) != depth:
        raise ValueError(f"`{name}` must be a number, or one for each of the {depth} layers. Got {len(numbers)}.")
    return tuple(map(float, numbers))
