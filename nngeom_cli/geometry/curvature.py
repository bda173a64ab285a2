"""Metric, volume and curvature that a feature map induces on input space, from its 2-jet by the Gauss equation."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nngeom_cli.geometry.feature_maps import FeatureMap, as_feature_map
from nngeom_cli.geometry.frame import Frame

__all__ = ["condition_number", "log_volume_element", "measure", "pullback_metric", "ricci_scalar", "ricci_scalar_error"]

AnyFeatureMap = Callable[[Tensor], Tensor]  # one point to its features, or a FeatureMap
_ERROR_FACTOR = 4.0  # of the first-order bound; calibrated on the golden files (tests/test_golden.py)


def _pullback_metric(frame: Frame) -> Tensor:
    columns = frame.columns * (frame.size / frame.unit).unsqueeze(1)
    return torch.einsum("rnap,rnbp->rpab", columns, columns)


def _log_volume_element(frame: Frame) -> Tensor:
    logs = frame.size.log() - frame.unit.log()
    if frame.full_rank:
        logs = logs + frame.triangle.diagonal(dim1=1, dim2=2).movedim(-1, 1).log()
    return torch.where(frame.deficient, -torch.inf, logs.sum(dim=1))


def _condition_number(frame: Frame) -> Tensor:
    if not frame.full_rank:
        return torch.full_like(frame.size[:, 0], torch.inf)
    logs = frame.size.log2() - frame.unit.log2()
    triangle = frame.triangle * torch.exp2(logs - logs.amax(dim=1, keepdim=True)).unsqueeze(1)
    if frame.d == 2:
        a, b, c = triangle[:, 0, 0], triangle[:, 0, 1], triangle[:, 1, 1]
        # singular values from their sum and difference: (s1 +- s2)^2 = (a +- c)^2 + b^2, no cancellation for a, c > 0
        total, difference = torch.hypot(a + c, b), torch.hypot(a - c, b)
        ratio = (total + difference).square() / (4 * a * c)
    else:
        safe = torch.where(frame.deficient.unsqueeze(1).unsqueeze(1), 1.0, triangle)
        values = torch.linalg.svdvals(safe.movedim(-1, 1))
        ratio = values[..., 0] / values[..., -1]
    return torch.where(frame.deficient, torch.inf, ratio.square())


def _ricci_scalar(frame: Frame) -> Tensor:
    scalar = torch.zeros_like(frame.size[:, 0])
    if frame.hessian is not None:
        for a in range(frame.d):
            for b in range(a + 1, frame.d):
                scalar = scalar + 2 * (frame.form(a, a) * frame.form(b, b) - frame.form(a, b).square()).sum(dim=1)
    return torch.where(frame.deficient, torch.nan, scalar)


def _ricci_scalar_error(frame: Frame) -> Tensor:
    error = torch.zeros_like(frame.size[:, 0])
    if frame.hessian is not None:
        form_error = _ERROR_FACTOR * frame.eps * frame.amplification * frame.hessian_square.sqrt()
        error = form_error * (2 * frame.form_square.sqrt() + form_error)
    return torch.where(frame.deficient, torch.nan, error)


_QUANTITIES: dict[str, Callable[[Frame], Tensor]] = {
    "pullback_metric": _pullback_metric,
    "log_volume_element": _log_volume_element,
    "condition_number": _condition_number,
    "ricci_scalar": _ricci_scalar,
    "ricci_scalar_error": _ricci_scalar_error,
}
_FIRST_ORDER = {"pullback_metric", "log_volume_element", "condition_number"}


def measure(
    feature_map: AnyFeatureMap,
    x: Tensor,
    quantities: Sequence[str] = ("log_volume_element", "ricci_scalar", "ricci_scalar_error", "condition_number"),
    *,
    chunk_size: int | None = None,
) -> dict[str, Tensor]:
    """Several quantities of the induced geometry from one evaluation of the feature map's derivatives.

    Nothing is regularised. Where the Jacobian is rank deficient, log_volume_element is -inf, condition_number inf, and
    curvatures are NaN; where x is NaN or infinite, all is NaN.

    Args:
        feature_map: one point `(d,)` to its features `(n,)`, twice differentiable, or an `MLPFeatureMap`.
        x: points, `(*batch, d)`.
        quantities: names of functions of this module: "pullback_metric", "log_volume_element", "condition_number",
            "ricci_scalar", "ricci_scalar_error".
        chunk_size: points handled at once; bounds memory, never changes values beyond rounding.

    Returns:
        Each quantity by its name, `(*replicates, *batch, ...)`.

    Raises:
        ValueError: an unknown quantity, or the last axis of `x` is not the feature map's input dimension.
        TypeError: `x` has not the feature map's dtype.

    Example:
        >>> paraboloid = lambda p: torch.stack([p[0], p[1], p @ p])
        >>> measure(paraboloid, torch.zeros(2, dtype=torch.float64), ("ricci_scalar",))
        {'ricci_scalar': tensor(8., dtype=torch.float64)}
    """
    for name in quantities:
        if name not in _QUANTITIES:
            raise ValueError(f"`quantities` must be among {', '.join(_QUANTITIES)}. Got {name!r}.")

    mapped = as_feature_map(feature_map)
    d, n, rank_bound, _ = mapped.dimensions(x)
    second = not _FIRST_ORDER.issuperset(quantities) and rank_bound >= d and n > d >= 2  # elsewhere R is NaN, or 0

    def at_points(points: Tensor) -> dict[str, Tensor]:
        frame = Frame(mapped.jet(points, second=second), rank_bound)
        return {name: _QUANTITIES[name](frame) for name in quantities}

    return over_points(mapped, x, at_points, chunk_size)


def over_points(
    feature_map: FeatureMap, x: Tensor, compute: Callable[[Tensor], dict[str, Tensor]], chunk_size: int | None
) -> dict[str, Tensor]:
    """Evaluates `compute` on `x` in chunks: from points (points, d) to arrays (replicates, points, ...).

    NaN where `x` is not finite.
    """
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"`chunk_size` must be at least 1. Got {chunk_size}.")
    points = x.detach().reshape(-1, x.shape[-1])
    chunks = [compute(chunk) for chunk in torch.split(points, chunk_size or feature_map.dimensions(x).points_in_cache)]
    finite = points.isfinite().all(dim=1)
    results = {}
    for name in chunks[0]:
        values = torch.cat([chunk[name] for chunk in chunks], dim=1)  # (replicates, points, ...)
        values = torch.where(finite.reshape(1, -1, *[1] * (values.ndim - 2)), values, torch.nan)
        results[name] = values.reshape(feature_map.replicates + x.shape[:-1] + values.shape[2:])
    return results


def pullback_metric(feature_map: AnyFeatureMap, x: Tensor, *, chunk_size: int | None = None) -> Tensor:
    """Riemannian metric that a feature map induces on input space.

    g = J^T J, J_ia = d Phi_i / d x_a: eq. (2).

    Args:
        feature_map: one point `(d,)` to its features `(n,)`, or an `MLPFeatureMap`.
        x: points, `(*batch, d)`.
        chunk_size: points handled at once; bounds memory, never changes values beyond rounding.

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


def log_volume_element(feature_map: AnyFeatureMap, x: Tensor, *, chunk_size: int | None = None) -> Tensor:
    """Natural logarithm of the volume element sqrt(det g): eq. (3).

    log sqrt(det g) = sum_a log T_aa, J = Q T.

    Args:
        feature_map: one point `(d,)` to its features `(n,)`, or an `MLPFeatureMap`.
        x: points, `(*batch, d)`.
        chunk_size: points handled at once; bounds memory, never changes values beyond rounding.

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


def condition_number(feature_map: AnyFeatureMap, x: Tensor, *, chunk_size: int | None = None) -> Tensor:
    """Condition number of the metric, the square of that of the Jacobian.

    cond(g) = (s_1 / s_d)^2, s the singular values of J.

    Args:
        feature_map: one point `(d,)` to its features `(n,)`, or an `MLPFeatureMap`.
        x: points, `(*batch, d)`.
        chunk_size: points handled at once; bounds memory, never changes values beyond rounding.

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


def ricci_scalar(feature_map: AnyFeatureMap, x: Tensor, *, chunk_size: int | None = None) -> Tensor:
    """Ricci scalar of the metric that a feature map induces on input space.

    R = |tr A|^2 - |A|^2, A the second fundamental form in an orthonormal frame (Gauss equation).
    The unit 2-sphere has R = +2; the paper's eq. (4) prints 3 R (docs/conventions.md).

    Args:
        feature_map: one point `(d,)` to its features `(n,)`, twice differentiable, or an `MLPFeatureMap`.
        x: points, `(*batch, d)`.
        chunk_size: points handled at once; bounds memory, never changes values beyond rounding.

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


def ricci_scalar_error(feature_map: AnyFeatureMap, x: Tensor, *, chunk_size: int | None = None) -> Tensor:
    """Estimated rounding error of `ricci_scalar`, in the unit of R.

    2 |A| e + e^2, where e = 4 eps cond(J) |Hw| estimates the error of A: cond(J) the condition number of the Jacobian
    with unit columns (Frobenius norms), Hw the Hessian in the orthonormal frame before its tangential part is projected
    out. R has no reliable digit where the estimate exceeds |R| / 10.

    Args:
        feature_map: one point `(d,)` to its features `(n,)`, twice differentiable, or an `MLPFeatureMap`.
        x: points, `(*batch, d)`.
        chunk_size: points handled at once; bounds memory, never changes values beyond rounding.

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
