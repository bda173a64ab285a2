"""Leading spectrum of the induced metric and the effective volume element, from the singular values of J."""

from collections.abc import Callable

import torch
from torch import Tensor

from nngeom_cli.geometry.autocast import without_autocast
from nngeom_cli.geometry.frame import Frame
from nngeom_cli.geometry.jets import FeatureMap
from nngeom_cli.geometry.measure import AnyFeatureMap, over_points
from nngeom_cli.geometry.operators import leading
from nngeom_cli.geometry.points import Numbers
from nngeom_cli.geometry.torch_feature_map import TorchFeatureMap, as_feature_map

__all__ = [
    "log_effective_volume_element",
    "log_spectral_gap",
    "metric_spectrum",
    "principal_directions",
    "singular_values",
]

_LARGE = 2**20  # entries of J, from which on it is not formed ...
_FAR = 32  # ... for fewer leading values than its largest rank over this


def metric_spectrum(feature_map: AnyFeatureMap, x: Numbers, top_k: int, *, chunk_size: int | None = None) -> Tensor:
    """Leading eigenvalues of the induced metric.

    lambda_k = s_k^2, s_k the k-th singular value of J; g = J^T J, which squares the condition number, is not formed.
    Singular values of at most eps max(n, d) times the largest are nothing but rounding, and count as 0.
    Where J of a callable or module is large (n d of a million, rank far above `top_k`), J is not formed either: block
    Lanczos iteration adds products with J until each eigenvalue has a residual below 1e-6 of itself.

    Args:
        feature_map: a callable from a point `(d,)` to its features `(n,)`, or an `MLPFeatureMap`; n < d is fine.
        x: points, `(*batch, d)`.
        top_k: how many; at most the largest rank that the Jacobian can have (the smallest of d and the widths).
        chunk_size: points handled at once; bounds memory, and changes values by no more than rounding.

    Returns:
        Eigenvalues, descending, `(*replicates, *batch, top_k)`; NaN where `x` or the Jacobian is NaN or infinite.

    Raises:
        ValueError: `top_k` is less than 1 or larger than the largest rank, or the last axis of `x` is not the feature
            map's input dimension.
        TypeError: `x` does not have the feature map's dtype.

    Example:
        >>> stretch = lambda p: torch.stack([3 * p[0], 2 * p[1]])
        >>> metric_spectrum(stretch, torch.zeros(2, dtype=torch.float64), 2).round(decimals=9)
        tensor([9., 4.], dtype=torch.float64)
    """
    return _singular_values(feature_map, x, top_k, chunk_size).square()


def log_effective_volume_element(
    feature_map: AnyFeatureMap, x: Numbers, top_k: int, *, chunk_size: int | None = None
) -> Tensor:
    """Natural log of the effective volume element, the square root of the product of the metric's largest eigenvalues.

    log V_k = sum of log s_j for j <= k, s_j the singular values of J (Appendix C of the paper, k = 6).
    For k = d <= n it is the log volume element.

    Args:
        feature_map: a callable from a point `(d,)` to its features `(n,)`, or an `MLPFeatureMap`; n < d is fine.
        x: points, `(*batch, d)`.
        top_k: how many eigenvalues; at most the largest rank that the Jacobian can have.
        chunk_size: points handled at once; bounds memory, and changes values by no more than rounding.

    Returns:
        `(*replicates, *batch)`; -inf where J has a lower rank, one of the singular values being at most eps max(n, d)
        times the largest; NaN where `x` or the Jacobian is NaN or infinite.

    Raises:
        ValueError: `top_k` is less than 1 or larger than the largest rank, or the last axis of `x` is not the feature
            map's input dimension.
        TypeError: `x` does not have the feature map's dtype.

    Example:
        >>> stretch = lambda p: torch.stack([3 * p[0], 2 * p[1]])
        >>> log_effective_volume_element(stretch, torch.zeros(2, dtype=torch.float64), 1)
        tensor(1.0986, dtype=torch.float64)
    """
    return _singular_values(feature_map, x, top_k, chunk_size).log().sum(dim=-1)


def principal_directions(
    feature_map: AnyFeatureMap, x: Numbers, top_k: int, *, chunk_size: int | None = None
) -> Tensor:
    """Directions of input space that the feature map stretches most.

    The leading eigenvectors of g, orthonormal in input space: the right singular vectors of J.

    Args:
        feature_map: a callable from a point `(d,)` to its features `(n,)`, or an `MLPFeatureMap`; n < d is fine.
        x: points, `(*batch, d)`.
        top_k: how many; at most the largest rank that the Jacobian can have.
        chunk_size: points handled at once; bounds memory, and changes values by no more than rounding.

    Returns:
        `(*replicates, *batch, top_k, d)`, a unit vector in each row, its largest entry positive; NaN where `x` or the
        Jacobian is NaN or infinite. Where eigenvalues coincide the choice among their eigenvectors is arbitrary.

    Raises:
        ValueError: `top_k` is less than 1 or larger than the largest rank, or the last axis of `x` is not the feature
            map's input dimension.
        TypeError: `x` does not have the feature map's dtype.

    Example:
        >>> stretch = lambda p: torch.stack([2 * p[0], 3 * p[1]])
        >>> principal_directions(stretch, torch.zeros(2, dtype=torch.float64), 1).round(decimals=9)
        tensor([[0., 1.]], dtype=torch.float64)
    """

    def directions(frame: Frame) -> Tensor:
        jacobian, sound = _jacobian(frame)
        rows = torch.linalg.svd(jacobian, full_matrices=False).Vh[..., :top_k, :]
        return torch.where(sound.unsqueeze(-1), rows, torch.nan)

    mapped = as_feature_map(feature_map)
    found = _iterated(mapped, x, top_k)
    rows = found[1] if found else _over_points(mapped, x, top_k, directions, chunk_size)
    sign = rows.gather(-1, rows.abs().argmax(dim=-1, keepdim=True)).sign()
    return torch.mul(rows, sign)


def log_spectral_gap(feature_map: AnyFeatureMap, x: Numbers, top_k: int, *, chunk_size: int | None = None) -> Tensor:
    """Gap between the last eigenvalue that the effective volume element counts and the first that it does not.

    log lambda_k - log lambda_(k+1), k = `top_k`. Where it closes, eigenvalues cross and the directions that are counted
    change, so a peak of the effective volume element there is not a local magnification.

    Args:
        feature_map: a callable from a point `(d,)` to its features `(n,)`, or an `MLPFeatureMap`; n < d is fine.
        x: points, `(*batch, d)`.
        top_k: k; less than the largest rank that the Jacobian can have.
        chunk_size: points handled at once; bounds memory, and changes values by no more than rounding.

    Returns:
        In nats, `(*replicates, *batch)`, at least 0; inf where lambda_(k+1) is exactly zero, NaN where lambda_k is too.

    Raises:
        ValueError: `top_k` is less than 1 or not less than the largest rank.

    Example:
        >>> stretch = lambda p: torch.stack([3 * p[0], 2 * p[1]])
        >>> log_spectral_gap(stretch, torch.zeros(2, dtype=torch.float64), 1)
        tensor(0.8109, dtype=torch.float64)
    """
    mapped = as_feature_map(feature_map)
    bound = mapped.dimensions(x).rank_bound
    if not 1 <= top_k < bound:
        raise ValueError(
            f"`top_k` must be at least 1 and less than {bound}, the largest rank of the metric. Got {top_k}."
        )
    logs = 2 * _singular_values(mapped, x, top_k + 1, chunk_size)[..., -2:].log()
    return logs[..., 0] - logs[..., 1]


def _singular_values(feature_map: AnyFeatureMap, x: Numbers, top_k: int, chunk_size: int | None) -> Tensor:
    turned = as_feature_map(feature_map).along_rows()
    found = _iterated(turned, x, top_k)
    if found is not None:
        return found[0]
    return _over_points(turned, x, top_k, lambda frame: singular_values(frame)[..., :top_k], chunk_size)


@without_autocast
def _iterated(feature_map: FeatureMap, x: Numbers, top_k: int) -> tuple[Tensor, Tensor] | None:
    """Singular values (*replicates, *batch, k) and directions (..., k, d) without J; None if J is to be formed."""
    maps = feature_map.each()
    x = feature_map.as_points(x)
    d, n, bound, _ = feature_map.dimensions(x)
    if n * d < _LARGE or not 1 <= top_k <= bound // _FAR or not all(isinstance(each, TorchFeatureMap) for each in maps):
        return None
    points = x.detach().reshape(-1, d)
    values = points.new_full((len(maps), len(points), top_k), torch.nan)
    directions = points.new_full((len(maps), len(points), top_k, d), torch.nan)
    for index, each in enumerate(maps):
        assert isinstance(each, TorchFeatureMap)
        function = each.differentiable(points)
        for place, point in enumerate(points):
            if not point.isfinite().all():
                continue
            found = leading(function, point, top_k)
            if found is None:
                return None
            values[index, place], directions[index, place] = found.values, found.directions
    outer = feature_map.replicates + x.shape[:-1]
    return _without_rounding(values, max(n, d)).reshape(*outer, top_k), directions.reshape(*outer, top_k, d)


def singular_values(frame: Frame) -> Tensor:
    """Singular values of J, descending, (replicates, points, min(n, d)); NaN where J is not finite."""
    jacobian, sound = _jacobian(frame)
    values = _without_rounding(torch.linalg.svdvals(jacobian), max(jacobian.shape[-2:]))
    return torch.where(sound, values, torch.nan)


def _without_rounding(values: Tensor, size: int) -> Tensor:
    """Singular values of which those that are nothing but rounding are 0, as in `numpy.linalg.matrix_rank`."""
    return torch.where(values <= torch.finfo(values.dtype).eps * size * values[..., :1], 0.0, values)


def _over_points(
    feature_map: AnyFeatureMap, x: Numbers, top_k: int, compute: Callable[[Frame], Tensor], chunk_size: int | None
) -> Tensor:
    mapped = as_feature_map(feature_map)
    bound = mapped.dimensions(x).rank_bound
    if not 1 <= top_k <= bound:
        raise ValueError(
            f"`top_k` must be between 1 and {bound}, the largest rank that the metric can have. Got {top_k}."
        )
    return over_points(mapped, x, {"values": compute}, chunk_size, second=False)["values"]


def _jacobian(frame: Frame) -> tuple[Tensor, Tensor]:
    """J, (replicates, points, n, d), 0 where it is not finite, and a mask of where it is, (replicates, points, 1)."""
    jacobian = (frame.columns * (frame.size / frame.unit).unsqueeze(1)).movedim(-1, 1)
    if frame.moderate:
        return jacobian, torch.ones_like(jacobian[..., 0, :1], dtype=torch.bool)
    sound = jacobian.isfinite().flatten(2).all(dim=2)[..., None]
    return torch.where(sound.unsqueeze(-1), jacobian, 0.0), sound
