"""Leading spectrum of the induced metric and the effective volume element, from the singular values of J."""

import torch
from torch import Tensor

from nngeom_cli.geometry.curvature import AnyFeatureMap, over_points
from nngeom_cli.geometry.feature_maps import FeatureMap, as_feature_map

__all__ = ["log_effective_volume_element", "metric_spectrum"]


def metric_spectrum(feature_map: AnyFeatureMap, x: Tensor, top_k: int, *, chunk_size: int | None = None) -> Tensor:
    """Leading eigenvalues of the induced metric.

    lambda_k = s_k^2, s_k the k-th singular value of J; g = J^T J, which squares the condition number, is not formed.

    Args:
        feature_map: one point `(d,)` to its features `(n,)`, or an `MLPFeatureMap`; n < d is fine.
        x: points, `(*batch, d)`.
        top_k: how many; at most the largest rank that the Jacobian can have (the least of d and the widths).
        chunk_size: points handled at once; bounds memory, never changes values beyond rounding.

    Returns:
        Eigenvalues, descending, `(*replicates, *batch, top_k)`; NaN where `x` or the Jacobian is NaN or infinite.

    Raises:
        ValueError: `top_k` is less than 1 or larger than the largest rank, or the last axis of `x` is not the feature
            map's input dimension.
        TypeError: `x` has not the feature map's dtype.

    Example:
        >>> stretch = lambda p: torch.stack([3 * p[0], 2 * p[1]])
        >>> metric_spectrum(stretch, torch.zeros(2, dtype=torch.float64), 2).round(decimals=9)
        tensor([9., 4.], dtype=torch.float64)
    """
    return _singular_values(feature_map, x, top_k, chunk_size).square()


def log_effective_volume_element(
    feature_map: AnyFeatureMap, x: Tensor, top_k: int, *, chunk_size: int | None = None
) -> Tensor:
    """Natural logarithm of the effective volume element, the root of the product of the metric's largest eigenvalues.

    log V_k = sum of log s_j for j <= k, s_j the singular values of J (Appendix C of the paper, k = 6).
    For k = d <= n it is the log volume element.

    Args:
        feature_map: one point `(d,)` to its features `(n,)`, or an `MLPFeatureMap`; n < d is fine.
        x: points, `(*batch, d)`.
        top_k: how many eigenvalues; at most the largest rank that the Jacobian can have.
        chunk_size: points handled at once; bounds memory, never changes values beyond rounding.

    Returns:
        `(*replicates, *batch)`; -inf where one of the singular values is exactly zero, NaN where `x` or the Jacobian is
        NaN or infinite.

    Raises:
        ValueError: `top_k` is less than 1 or larger than the largest rank, or the last axis of `x` is not the feature
            map's input dimension.
        TypeError: `x` has not the feature map's dtype.

    Example:
        >>> stretch = lambda p: torch.stack([3 * p[0], 2 * p[1]])
        >>> log_effective_volume_element(stretch, torch.zeros(2, dtype=torch.float64), 1)
        tensor(1.0986, dtype=torch.float64)
    """
    return _singular_values(feature_map, x, top_k, chunk_size).log().sum(dim=-1)


def _singular_values(feature_map: AnyFeatureMap, x: Tensor, top_k: int, chunk_size: int | None) -> Tensor:
    mapped = as_feature_map(feature_map)
    bound = mapped.dimensions(x).rank_bound
    if not 1 <= top_k <= bound:
        raise ValueError(
            f"`top_k` must be between 1 and {bound}, the largest rank that the metric can have. Got {top_k}."
        )
    return over_points(mapped, x, lambda points: {"values": _leading(mapped, points, top_k)}, chunk_size)["values"]


def _leading(feature_map: FeatureMap, points: Tensor, top_k: int) -> Tensor:
    jet = feature_map.jet(points, second=False)
    jacobian = (jet.jacobian / jet.unit.unsqueeze(1)).movedim(-1, 1)  # (replicates, points, n, d)
    sound = jacobian.isfinite().flatten(2).all(dim=2)[..., None]
    values = torch.linalg.svdvals(torch.where(sound.unsqueeze(-1), jacobian, 0.0))[..., :top_k]
    return torch.where(sound, values, torch.nan)
