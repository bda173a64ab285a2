"""Metric, volume and scalar curvature that a feature map induces on input space."""

import torch

from nngeom_cli.geometry.measure import AnyFeatureMap, measure
from nngeom_cli.geometry.points import Numbers

__all__ = [
    "PAPER_CURVATURE_FACTOR",
    "condition_number",
    "log_volume_element",
    "path_curvature",
    "pullback_metric",
    "ricci_scalar",
    "ricci_scalar_error",
]

# Eqs. (4), (9), (A.8), (A.11), (A.12), (A.18), (A.19), (B.16), (B.20), (B.23), (B.28), (B.32), (B.33) of the paper
# print this times the true curvature: a wrong sign in (A.5) turns 1/4 into 3/4 for metrics with symmetric derivatives.
PAPER_CURVATURE_FACTOR = 3


def pullback_metric(feature_map: AnyFeatureMap, x: Numbers, *, chunk_size: int | None = None) -> torch.Tensor:
    """Riemannian metric that a feature map induces on input space.

    g = J^T J, J_ia = d Phi_i / d x_a: eq. (2).

    Args:
        feature_map: a callable from a point `(d,)` to its features `(n,)`, or an `MLPFeatureMap`.
        x: points, `(*batch, d)`.
        chunk_size: points handled at once; bounds memory, and changes values by no more than rounding.

    Returns:
        g at each point, `(*replicates, *batch, d, d)`.

    Raises:
        ValueError: the last axis of `x` is not the feature map's input dimension.

    Example:
        >>> stretch = lambda p: torch.stack([3 * p[0], 2 * p[1]])
        >>> pullback_metric(stretch, torch.zeros(2, dtype=torch.float64))
        tensor([[9., 0.],
                [0., 4.]], dtype=torch.float64)
    """
    return measure(feature_map, x, ("pullback_metric",), chunk_size=chunk_size)["pullback_metric"]


def log_volume_element(feature_map: AnyFeatureMap, x: Numbers, *, chunk_size: int | None = None) -> torch.Tensor:
    """Natural logarithm of the volume element sqrt(det g): eq. (3).

    log sqrt(det g) = sum_a log T_aa, J = Q T.

    Args:
        feature_map: a callable from a point `(d,)` to its features `(n,)`, or an `MLPFeatureMap`.
        x: points, `(*batch, d)`.
        chunk_size: points handled at once; bounds memory, and changes values by no more than rounding.

    Returns:
        `(*replicates, *batch)`; -inf where the Jacobian is rank deficient to working precision (n < d: everywhere).

    Raises:
        ValueError: the last axis of `x` is not the feature map's input dimension.

    Example:
        >>> stretch = lambda p: torch.stack([3 * p[0], 2 * p[1]])
        >>> log_volume_element(stretch, torch.zeros(2, dtype=torch.float64))
        tensor(1.7918, dtype=torch.float64)
    """
    return measure(feature_map, x, ("log_volume_element",), chunk_size=chunk_size)["log_volume_element"]


def condition_number(feature_map: AnyFeatureMap, x: Numbers, *, chunk_size: int | None = None) -> torch.Tensor:
    """Condition number of the metric, the square of that of the Jacobian.

    cond(g) = (s_1 / s_d)^2, s the singular values of J.

    Args:
        feature_map: a callable from a point `(d,)` to its features `(n,)`, or an `MLPFeatureMap`.
        x: points, `(*batch, d)`.
        chunk_size: points handled at once; bounds memory, and changes values by no more than rounding.

    Returns:
        `(*replicates, *batch)`; inf where the Jacobian is rank deficient to working precision.

    Raises:
        ValueError: the last axis of `x` is not the feature map's input dimension.

    Example:
        >>> stretch = lambda p: torch.stack([3 * p[0], 2 * p[1]])
        >>> condition_number(stretch, torch.zeros(2, dtype=torch.float64))
        tensor(2.2500, dtype=torch.float64)
    """
    return measure(feature_map, x, ("condition_number",), chunk_size=chunk_size)["condition_number"]


def ricci_scalar(feature_map: AnyFeatureMap, x: Numbers, *, chunk_size: int | None = None) -> torch.Tensor:
    """Ricci scalar of the metric that a feature map induces on input space.

    `R = |tr A|^2 - |A|^2`, A the second fundamental form in an orthonormal frame (Gauss equation).
    The unit 2-sphere has R = +2; the paper's eq. (4) prints 3 R (docs/conventions.md).

    Args:
        feature_map: a callable from a point `(d,)` to its features `(n,)`, twice differentiable, or an `MLPFeatureMap`.
        x: points, `(*batch, d)`.
        chunk_size: points handled at once; bounds memory, and changes values by no more than rounding.

    Returns:
        `(*replicates, *batch)`; NaN where the Jacobian is rank deficient, else exactly 0 where n = d or d = 1.

    Raises:
        ValueError: the last axis of `x` is not the feature map's input dimension.

    Example:
        >>> paraboloid = lambda p: torch.stack([p[0], p[1], p @ p])
        >>> ricci_scalar(paraboloid, torch.zeros(2, dtype=torch.float64))
        tensor(8., dtype=torch.float64)
    """
    return measure(feature_map, x, ("ricci_scalar",), chunk_size=chunk_size)["ricci_scalar"]


def ricci_scalar_error(feature_map: AnyFeatureMap, x: Numbers, *, chunk_size: int | None = None) -> torch.Tensor:
    """Estimated rounding error of `ricci_scalar`, in the unit of R.

    Four times the first-order effect on R of changing each unit's row of J and of H by eps of its own size (the bound
    is `row_error` in `nngeom_cli.geometry.sensitivity`). Rows are counted separately because a saturated unit has a
    small but accurate row, so the condition number of g says little. For an `MLPFeatureMap`, the effect of the rounding
    of z = W v + b is added, again four times, at points where sum |W_ij v_j| + |b_i| exceeds 64 in some unit, as it
    does far from the origin. For a callable or a module, the effect of perturbing all its operations by eps of the
    dtype in which each is computed is added, four times, at all points. R has no reliable digit where the estimate
    exceeds `|R| / 10`.

    Args:
        feature_map: a callable from a point `(d,)` to its features `(n,)`, twice differentiable, or an `MLPFeatureMap`.
        x: points, `(*batch, d)`.
        chunk_size: points handled at once; bounds memory, and changes values by no more than rounding.

    Returns:
        `(*replicates, *batch)`; NaN where the Jacobian is rank deficient, else exactly 0 where n = d or d = 1.

    Raises:
        ValueError: the last axis of `x` is not the feature map's input dimension.

    Example:
        >>> paraboloid = lambda p: torch.stack([p[0], p[1], p @ p])
        >>> bool(ricci_scalar_error(paraboloid, torch.zeros(2, dtype=torch.float64)) < 1e-12)
        True
    """
    return measure(feature_map, x, ("ricci_scalar_error",), chunk_size=chunk_size)["ricci_scalar_error"]


def path_curvature(feature_map: AnyFeatureMap, t: Numbers, *, chunk_size: int | None = None) -> torch.Tensor:
    """Extrinsic curvature of the image of a path in feature space, 1 / the radius of the circle that fits it best.

    kappa^2 = (|a|^2 |v|^2 - (v . a)^2) / |v|^6, v and a the first and second derivatives of the features on the path;
    computed as |a_perp| / |v|^2, a_perp the part of a normal to v, which does not cancel. It does not depend on how the
    path is parametrised. The metric of input space does not determine it: a path may bend with the image of the input
    space, or in it.

    Args:
        feature_map: from a place on the path `(1,)` to features `(n,)`. For a straight path it is
            `feature_map.restricted_to(start, (end - start)[None])`, for any other a callable of one number.
        t: places, `(*batch, 1)`.
        chunk_size: places handled at once; bounds memory, and changes values by no more than rounding.

    Returns:
        `(*replicates, *batch)`, in 1 / feature length; NaN where the features stand still.

    Raises:
        ValueError: the feature map has more than one input.

    Example:
        >>> helix = lambda t: torch.cat([t.cos(), t.sin(), t])
        >>> path_curvature(helix, torch.zeros(1, dtype=torch.float64))  # 1 / (1 + 1)
        tensor(0.5000, dtype=torch.float64)
    """
    return measure(feature_map, t, ("path_curvature",), chunk_size=chunk_size)["path_curvature"]
