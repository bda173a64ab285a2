"""Curvature tensors that a feature map induces on input space, in input coordinates."""

from typing import NamedTuple

import torch
from torch import Tensor

from nngeom_cli.geometry.frame import Frame
from nngeom_cli.geometry.measure import AnyFeatureMap, measure, over_points
from nngeom_cli.geometry.points import Numbers, as_numbers
from nngeom_cli.geometry.quantities import frame_riemann
from nngeom_cli.geometry.torch_feature_map import as_feature_map

__all__ = [
    "PrincipalRicci",
    "principal_ricci_curvatures",
    "ricci_tensor",
    "riemann_tensor",
    "second_fundamental_form",
    "sectional_curvature",
]


class PrincipalRicci(NamedTuple):
    """Principal Ricci curvatures and their directions, as `principal_ricci_curvatures` returns them.

    Ric v = rho g v for each curvature rho and its direction v.

    Args:
        curvatures: rho, descending, `(..., d)`.
        directions: v, `(..., d, d)`; `directions[..., k, :]` belongs to `curvatures[..., k]`.

    Example:
        >>> PrincipalRicci(torch.ones(2), torch.eye(2)).directions[0]
        tensor([1., 0.])
    """

    curvatures: Tensor
    directions: Tensor


def second_fundamental_form(feature_map: AnyFeatureMap, x: Numbers, *, chunk_size: int | None = None) -> Tensor:
    """Second fundamental form of the image of input space in feature space.

    A_i,ab = (1 - Q Q^T)_ij d_a d_b Phi_j, Q an orthonormal basis of the tangent space: the Hessian's normal part.

    Args:
        feature_map: a callable from a point `(d,)` to its features `(n,)`, twice differentiable, or an `MLPFeatureMap`.
        x: points, `(*batch, d)`.
        chunk_size: points handled at once; bounds memory, and changes values by no more than rounding.

    Returns:
        A in input coordinates, `(*replicates, *batch, n, d, d)`; NaN where the Jacobian is rank deficient, else exactly
        0 where n = d.

    Raises:
        ValueError: the last axis of `x` is not the feature map's input dimension.

    Example:
        >>> paraboloid = lambda p: torch.stack([p[0], p[1], p @ p])
        >>> second_fundamental_form(paraboloid, torch.zeros(2, dtype=torch.float64))[2]
        tensor([[2., 0.],
                [0., 2.]], dtype=torch.float64)
    """
    return measure(feature_map, x, ("second_fundamental_form",), chunk_size=chunk_size)["second_fundamental_form"]


def riemann_tensor(feature_map: AnyFeatureMap, x: Numbers, *, chunk_size: int | None = None) -> Tensor:
    """Riemann tensor of the induced metric, all indices lowered.

    R_abcd = A_ac . A_bd - A_ad . A_bc, A the second fundamental form (Gauss equation); R_abab > 0 on a sphere.
    This is eq. (A.10) with the sign of (A.5) corrected; the paper's eq. (4) prints 3 R_abcd.

    Args:
        feature_map: a callable from a point `(d,)` to its features `(n,)`, twice differentiable, or an `MLPFeatureMap`.
        x: points, `(*batch, d)`.
        chunk_size: points handled at once; bounds memory, and changes values by no more than rounding.

    Returns:
        In input coordinates, `(*replicates, *batch, d, d, d, d)`; NaN where the Jacobian is rank deficient, else
        exactly 0 where n = d or d = 1.

    Raises:
        ValueError: the last axis of `x` is not the feature map's input dimension.

    Example:
        >>> paraboloid = lambda p: torch.stack([p[0], p[1], p @ p])
        >>> riemann_tensor(paraboloid, torch.zeros(2, dtype=torch.float64))[0, 1]
        tensor([[ 0.,  4.],
                [-4.,  0.]], dtype=torch.float64)
    """
    return measure(feature_map, x, ("riemann_tensor",), chunk_size=chunk_size)["riemann_tensor"]


def ricci_tensor(feature_map: AnyFeatureMap, x: Numbers, *, chunk_size: int | None = None) -> Tensor:
    """Ricci tensor of the induced metric.

    Ric_ab = R^c_acb = tr(A) . A_ab - sum_c A_ac . A_cb in an orthonormal frame; positive on a sphere.

    Args:
        feature_map: a callable from a point `(d,)` to its features `(n,)`, twice differentiable, or an `MLPFeatureMap`.
        x: points, `(*batch, d)`.
        chunk_size: points handled at once; bounds memory, and changes values by no more than rounding.

    Returns:
        In input coordinates, `(*replicates, *batch, d, d)`; NaN where the Jacobian is rank deficient, else exactly 0
        where n = d or d = 1.

    Raises:
        ValueError: the last axis of `x` is not the feature map's input dimension.

    Example:
        >>> paraboloid = lambda p: torch.stack([p[0], p[1], p @ p])
        >>> ricci_tensor(paraboloid, torch.zeros(2, dtype=torch.float64))
        tensor([[4., 0.],
                [0., 4.]], dtype=torch.float64)
    """
    return measure(feature_map, x, ("ricci_tensor",), chunk_size=chunk_size)["ricci_tensor"]


def principal_ricci_curvatures(
    feature_map: AnyFeatureMap, x: Numbers, *, chunk_size: int | None = None
) -> PrincipalRicci:
    """Principal Ricci curvatures of the induced metric, and their directions in input space.

    Ric v = rho g v: the eigenvalues rho of the Ricci tensor with respect to the metric; they add up to R. The
    directions are orthonormal with respect to g.

    Args:
        feature_map: a callable from a point `(d,)` to its features `(n,)`, twice differentiable, or an `MLPFeatureMap`.
        x: points, `(*batch, d)`.
        chunk_size: points handled at once; bounds memory, and changes values by no more than rounding.

    Returns:
        `.curvatures`, descending, `(*replicates, *batch, d)`, and `.directions`, `(*replicates, *batch, d, d)`, one per
        row; NaN where the Jacobian is rank deficient.

    Raises:
        ValueError: the last axis of `x` is not the feature map's input dimension.

    Example:
        >>> paraboloid = lambda p: torch.stack([p[0], p[1], p @ p])
        >>> principal_ricci_curvatures(paraboloid, torch.zeros(2, dtype=torch.float64)).curvatures
        tensor([4., 4.], dtype=torch.float64)
    """
    names = ("principal_ricci_curvatures", "principal_ricci_directions")
    return PrincipalRicci(*measure(feature_map, x, names, chunk_size=chunk_size).values())


def sectional_curvature(
    feature_map: AnyFeatureMap, x: Numbers, plane: Numbers | None = None, *, chunk_size: int | None = None
) -> Tensor:
    """Sectional curvature of the induced metric: the Gauss curvature of the geodesic surface tangent to a plane.

    K(u, v) = R_abcd u^a v^b u^c v^d / (g(u, u) g(v, v) - g(u, v)^2). For d = 2 it is R / 2.

    Args:
        feature_map: a callable from a point `(d,)` to its features `(n,)`, twice differentiable, or an `MLPFeatureMap`.
        x: points, `(*batch, d)`.
        plane: two vectors of input space that span it, `(2, d)`; optional for d = 2, where there is only one plane.
        chunk_size: points handled at once; bounds memory, and changes values by no more than rounding.

    Returns:
        `(*replicates, *batch)`; NaN where the Jacobian is rank deficient.

    Raises:
        ValueError: d = 1, d > 2 without a `plane`, or `plane` is not two independent vectors of d numbers.

    Example:
        >>> paraboloid = lambda p: torch.stack([p[0], p[1], p @ p])
        >>> sectional_curvature(paraboloid, torch.zeros(2, dtype=torch.float64))
        tensor(4., dtype=torch.float64)
    """
    mapped = as_feature_map(feature_map)
    x = mapped.as_points(x)
    d = mapped.dimensions(x).inputs
    if plane is None and d == 2:
        plane = torch.eye(2, dtype=x.dtype, device=x.device)
    vectors = x.new_empty(0) if plane is None else as_numbers("plane", plane, like=x)
    if vectors.shape != (2, d) or not vectors.isfinite().all() or torch.linalg.matrix_rank(vectors) < 2:
        got = "none" if plane is None else f"shape {tuple(vectors.shape)}, or dependent vectors"
        raise ValueError(f"`plane` must be two independent vectors of input space, shape (2, {d}). Got {got}.")
    vectors = vectors.to(x)

    def compute(frame: Frame) -> Tensor:
        if frame.unbent:
            return frame.where_full_rank(torch.zeros_like(frame.columns[:, 0, 0]), torch.nan)
        spanned = torch.einsum("rabp,kb->rkap", frame.to_frame, vectors)
        first = spanned[:, 0] / torch.linalg.vector_norm(spanned[:, 0], dim=1, keepdim=True)
        second = spanned[:, 1]
        for _ in range(2):
            second = second - first * (first * second).sum(dim=1, keepdim=True)
        second = second / torch.linalg.vector_norm(second, dim=1, keepdim=True)
        curvature = torch.einsum("rabcep,rap,rbp,rcp,rep->rp", frame_riemann(frame), first, second, first, second)
        return frame.where_full_rank(curvature, torch.nan)

    return over_points(mapped, x, {"sectional_curvature": compute}, chunk_size, second=True)["sectional_curvature"]
