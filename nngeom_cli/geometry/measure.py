"""Several quantities at many points, from one evaluation of the feature map's derivatives."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nngeom_cli.geometry.frame import Frame
from nngeom_cli.geometry.jets import FeatureMap
from nngeom_cli.geometry.quantities import FIRST_ORDER, QUANTITIES
from nngeom_cli.geometry.torch_feature_map import as_feature_map

__all__ = ["AnyFeatureMap", "measure", "over_points"]

_ELEMENTS_IN_CACHE = 30_000  # units x points handled at once, d = 2
AnyFeatureMap = Callable[[Tensor], Tensor]  # one point to its features, or a FeatureMap


def measure(
    feature_map: AnyFeatureMap,
    x: Tensor,
    quantities: Sequence[str] = ("log_volume_element", "ricci_scalar", "ricci_scalar_error", "condition_number"),
    *,
    chunk_size: int | None = None,
) -> dict[str, Tensor]:
    """Several quantities of the induced geometry from one evaluation of the feature map's derivatives.

    Nothing is regularised. Where the Jacobian is rank deficient, log_volume_element is -inf, condition_number inf, and
    curvatures are NaN; where x or the Jacobian is NaN or infinite, all is NaN. A curvature beyond the range of the
    dtype is infinite or NaN.

    Args:
        feature_map: one point `(d,)` to its features `(n,)`, twice differentiable, or an `MLPFeatureMap`.
        x: points, `(*batch, d)`.
        quantities: names of functions of `nngeom_cli.geometry`: "pullback_metric", "log_volume_element",
            "condition_number", "ricci_scalar", "ricci_scalar_error", "second_fundamental_form", "riemann_tensor",
            "ricci_tensor", "principal_ricci_curvatures"; and "principal_ricci_directions".
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
        if name not in QUANTITIES:
            raise ValueError(f"`quantities` must be among {', '.join(QUANTITIES)}. Got {name!r}.")

    second = not FIRST_ORDER.issuperset(quantities)
    chosen = {name: QUANTITIES[name] for name in quantities}
    return over_points(as_feature_map(feature_map), x, chosen, chunk_size, second=second)


def over_points(
    feature_map: FeatureMap,
    x: Tensor,
    quantities: dict[str, Callable[[Frame], Tensor]],
    chunk_size: int | None,
    *,
    second: bool,
) -> dict[str, Tensor]:
    """Evaluates functions of the frame, each giving (replicates, points, ...), on all of `x` in chunks.

    Args:
        feature_map: where to take derivatives from.
        x: points, `(*batch, d)`.
        quantities: what to evaluate, by name.
        chunk_size: points handled at once; by default what fits the cache.
        second: whether second derivatives are needed. They are left out where they cannot matter: n = d, n < d.

    Returns:
        `(*replicates, *batch, ...)` by name; NaN where `x` or J is not finite.

    Raises:
        ValueError: `chunk_size` is less than 1.
    """
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"`chunk_size` must be at least 1. Got {chunk_size}.")
    d, n, rank_bound, widest = feature_map.dimensions(x)
    second = second and rank_bound >= d and n > d
    derivatives = d + d * (d + 1) // 2 if second else d
    in_cache = max(1, 6 * _ELEMENTS_IN_CACHE // (widest * (1 + derivatives)))
    points = x.detach().reshape(-1, d)
    parts: dict[str, list[Tensor]] = {name: [] for name in quantities}
    for chunk in torch.split(points, chunk_size or in_cache):
        frame = Frame(feature_map.jet(chunk, second=second), rank_bound)
        finite = frame.finite & chunk.isfinite().all(dim=1)
        for name, compute in quantities.items():
            values = compute(frame)  # (replicates, points, ...)
            mask = finite.reshape(*finite.shape, *[1] * (values.ndim - 2))
            parts[name].append(torch.where(mask, values, torch.nan))
    joined = {name: torch.cat(chunks, dim=1) for name, chunks in parts.items()}
    outer = feature_map.replicates + x.shape[:-1]
    return {name: values.reshape(outer + values.shape[2:]) for name, values in joined.items()}
