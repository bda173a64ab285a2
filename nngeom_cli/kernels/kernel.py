"""Kernels on input space, their metric, and their magnification by a conformal factor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from nngeom_cli.geometry.points import Numbers, as_numbers, as_plane

__all__ = [
    "Factor",
    "GaussianKernel",
    "Kernel",
    "MagnifiedKernel",
    "gram",
    "kernel_log_volume_element",
    "kernel_metric",
    "require_points",
    "require_positive",
]

_NUMBERS_AT_ONCE = 1 << 24
Kernel = Callable[[Tensor, Tensor], Tensor]  # of points (*batch, d) that broadcast, differentiable


class Factor(Protocol):
    """A conformal factor c > 0 on input space."""

    def log(self, x: Tensor) -> Tensor:
        """Natural logarithm of c at points `(*batch, d)`: `(*batch,)`, differentiable."""


@dataclass(frozen=True)
class GaussianKernel:
    """K(x, y) = exp(-|x - y|^2 / (2 s^2)); its metric is the identity over s^2.

    Args:
        scale: s, in units of input space.

    Raises:
        ValueError: `scale` is not positive.

    Example:
        >>> GaussianKernel(2.0)(torch.tensor([0.0, 0.0]), torch.tensor([0.0, 2.0]))
        tensor(0.6065)
    """

    scale: float

    def __post_init__(self) -> None:
        require_positive("scale", self.scale)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Values at points that broadcast, `(*batch, d)`: `(*batch,)`."""
        return torch.exp(-(x - y).square().sum(dim=-1) / (2 * self.scale**2))


@dataclass(frozen=True)
class MagnifiedKernel:
    """K'(x, y) = c(x) K(x, y) c(y), K Gaussian of scale s: what Amari and Wu do to magnify where c is large.

    Its metric is c^2 (1 / s^2 + grad log c grad log c^T), its volume element

        sqrt(det g') = (c / s)^d sqrt(1 + s^2 |grad log c|^2).

    Args:
        kernel: K.
        factor: c, such as `SupportVectorFactor` or `BoundaryFactor`.

    Example:
        >>> class Bump:
        ...     def log(self, x):
        ...         return -x.square().sum(dim=-1) / 2
        >>> kernel = MagnifiedKernel(GaussianKernel(1.0), Bump())
        >>> kernel.log_volume_element(torch.tensor([[0.0, 0.0], [1.0, 0.0]]))  # 0 and -1 + log(2) / 2
        tensor([ 0.0000, -0.6534])
    """

    kernel: GaussianKernel
    factor: Factor

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Values at points that broadcast, `(*batch, d)`: `(*batch,)`."""
        return (self.factor.log(x) + self.factor.log(y)).exp() * self.kernel(x, y)

    def restricted_to(self, origin: Numbers, directions: Numbers) -> MagnifiedKernel:
        """The same kernel on a plane of input space, or on a flat subspace of any dimension m.

        (u, v) -> K'(origin + sum_k u_k directions_k, origin + sum_k v_k directions_k); its metric is D g' D^T, D the
        directions. Since these are orthonormal it is a magnified Gaussian kernel of the same s, so that its volume
        element is (c / s)^m sqrt(1 + s^2 |D grad log c|^2).

        Args:
            origin: the point where u = 0, `(d,)`.
            directions: orthonormal, one per row, `(m, d)`.

        Returns:
            A kernel of points with m coordinates.

        Raises:
            ValueError: `origin` or `directions` has the wrong shape, or these are not orthonormal.
            TypeError: they have different dtypes.

        Example:
            >>> from nngeom_cli.kernels import SupportVectorFactor
            >>> kernel = MagnifiedKernel(GaussianKernel(1.0), SupportVectorFactor(torch.zeros(1, 3), torch.ones(1)))
            >>> on_line = kernel.restricted_to(torch.tensor([0.0, 3.0, 0.0]), torch.tensor([[1.0, 0.0, 0.0]]))
            >>> on_line.log_volume_element(torch.tensor([0.0]))  # log c = -9 / 2, which has no slope along the line
            tensor(-4.5000)
        """
        point, vectors = as_plane(origin, directions)
        products = vectors @ vectors.T
        unit = torch.eye(len(vectors), dtype=vectors.dtype, device=vectors.device)
        error = float((products - unit).abs().max())
        if not error <= (1e-5 if vectors.dtype == torch.float32 else 1e-9):
            raise ValueError(f"`directions` must be orthonormal. Got dot products that are wrong by {error:.2g}.")
        return MagnifiedKernel(self.kernel, _Restricted(self.factor, point, vectors))

    def log_volume_element(self, x: Numbers) -> Tensor:
        """Natural logarithm of the volume element, in closed form; it has its digits where c itself underflows.

        Args:
            x: points, `(*batch, d)`.

        Returns:
            In nats, `(*batch,)`.

        Raises:
            ValueError: `x` has no last axis.

        Example:
            >>> class Everywhere:
            ...     def log(self, x):
            ...         return 0 * x.sum(dim=-1)
            >>> MagnifiedKernel(GaussianKernel(2.0), Everywhere()).log_volume_element(torch.zeros(2))
            tensor(-1.3863)
        """
        points = _points(x)
        flat = points.reshape(-1, points.shape[-1])
        slopes, logs = torch.func.vmap(torch.func.grad_and_value(self.factor.log))(flat)
        scale = torch.as_tensor(self.kernel.scale, dtype=flat.dtype)
        volume: Tensor = flat.shape[1] * (logs - scale.log()) + (scale * slopes).square().sum(dim=1).log1p() / 2
        return volume.detach().reshape(points.shape[:-1])


@dataclass(frozen=True)
class _Restricted:
    """A factor on a flat subspace, of coordinates `(*batch, m)`."""

    factor: Factor
    origin: Tensor
    directions: Tensor

    def log(self, x: Tensor) -> Tensor:
        require_points(x, len(self.directions), "a coordinate for each direction")
        return self.factor.log(self.origin + x @ self.directions)


def kernel_metric(kernel: Kernel, x: Numbers) -> Tensor:
    """Metric that a kernel induces on input space, g_ab = d K(x, y) / dx_a dy_b at y = x, by automatic differentiation.

    Args:
        kernel: a function of two points that broadcast, `(*batch, d)`, twice differentiable.
        x: points, `(*batch, d)`.

    Returns:
        `(*batch, d, d)`.

    Raises:
        ValueError: `x` has no last axis.

    Example:
        >>> kernel_metric(GaussianKernel(2.0), torch.zeros(1))
        tensor([[0.2500]])
    """
    points = _points(x)

    def metric(point: Tensor) -> Tensor:
        inner = torch.func.jacrev(kernel, argnums=0)
        mixed: Tensor = torch.func.jacrev(inner, argnums=1)(point, point)
        return mixed

    flat = torch.func.vmap(metric)(points.reshape(-1, points.shape[-1])).detach()
    return flat.reshape(*points.shape, points.shape[-1])


def kernel_log_volume_element(kernel: Kernel, x: Numbers) -> Tensor:
    """Natural logarithm of the volume element of a kernel's metric, from the Cholesky factor of the metric.

    Args:
        kernel: a function of two points that broadcast, `(*batch, d)`, twice differentiable.
        x: points, `(*batch, d)`.

    Returns:
        In nats, `(*batch,)`; NaN where the metric is not positive definite to working precision.

    Raises:
        ValueError: `x` has no last axis.

    Example:
        >>> kernel_log_volume_element(GaussianKernel(2.0), torch.zeros(2))
        tensor(-1.3863)
    """
    factors, failed = torch.linalg.cholesky_ex(kernel_metric(kernel, x))
    volume = factors.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
    return torch.where(failed == 0, volume, torch.nan)


def gram(kernel: Kernel, x: Tensor, y: Tensor) -> Tensor:
    """K(x_i, y_j) for points (m, d) and (n, d): (m, n).

    Example:
        >>> gram(GaussianKernel(1.0), torch.zeros(2, 3), torch.zeros(4, 3)).shape
        torch.Size([2, 4])
    """
    rows = max(1, _NUMBERS_AT_ONCE // max(1, y.numel()))
    return torch.cat([kernel(some.unsqueeze(1), y) for some in x.split(rows)])


def require_points(x: Tensor, d: int, why: str = "as the training inputs have") -> None:
    """Raises ValueError unless the last axis of `x` has d entries, since one entry would broadcast."""
    if x.ndim == 0 or x.shape[-1] != d:
        raise ValueError(f"`x` must have shape (*batch, {d}), {why}. Got {tuple(x.shape)}.")


def require_positive(name: str, value: float) -> None:
    """Raises ValueError unless the argument `name` is positive and finite."""
    if not 0 < value < float("inf"):
        raise ValueError(f"`{name}` must be positive and finite. Got {value}.")


def _points(x: Numbers) -> Tensor:
    points = as_numbers("x", x).detach()
    if points.ndim == 0 or points.shape[-1] == 0:
        raise ValueError(f"`x` must have shape (*batch, d), d >= 1. Got {tuple(points.shape)}.")
    return points
