"""Several quantities at many points, from one evaluation of the feature map's derivatives."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from nngeom_cli.geometry.autocast import without_autocast
from nngeom_cli.geometry.frame import Frame
from nngeom_cli.geometry.jets import Dimensions, FeatureMap, Jet
from nngeom_cli.geometry.points import Numbers
from nngeom_cli.geometry.quantities import FIRST_ORDER, QUANTITIES
from nngeom_cli.geometry.torch_feature_map import as_feature_map

__all__ = ["AnyFeatureMap", "in_chunks", "measure", "named", "over_points", "replicates_at_once"]

_ELEMENTS_IN_CACHE = 30_000  # replicates x units x points handled at once, d = 2
_FEWEST_POINTS = 64  # with fewer, the calls for a chunk cost more than its arithmetic
_MOST_ELEMENTS = 1 << 23  # of the derivatives at once; bounds the replicates, and the points of large maps
AnyFeatureMap = Callable[..., Tensor]  # from one point to its features, or a FeatureMap


def measure(
    feature_map: AnyFeatureMap,
    x: Numbers,
    quantities: Sequence[str] = ("log_volume_element", "ricci_scalar", "ricci_scalar_error", "condition_number"),
    *,
    chunk_size: int | None = None,
) -> dict[str, Tensor]:
    """Several quantities of the induced geometry from one evaluation of the feature map's derivatives.

    Nothing is regularised. Where the Jacobian is rank deficient, log_volume_element is -inf, condition_number inf, and
    curvatures are NaN; where x or the Jacobian is NaN or infinite, all quantities are NaN. A curvature beyond the range
    of the dtype is infinite or NaN. Everything is computed in the dtype of x, with any surrounding `torch.autocast`
    off. The results are detached: they have no gradient, and `torch.func.grad` takes their derivative as 0.

    Args:
        feature_map: a callable from a point `(d,)` to its features `(n,)`, twice differentiable, or an `MLPFeatureMap`.
        x: points, `(*batch, d)`.
        quantities: names of functions of `nngeom_cli.geometry`: "pullback_metric", "log_volume_element",
            "condition_number", "ricci_scalar", "ricci_scalar_error", "second_fundamental_form", "riemann_tensor",
            "ricci_tensor", "principal_ricci_curvatures"; and "principal_ricci_directions". "path_curvature" is that of
            maps with one input.
        chunk_size: points handled at once; bounds memory, and changes values by no more than rounding.

    Returns:
        Each quantity by its name, `(*replicates, *batch, ...)`.

    Raises:
        ValueError: a quantity is unknown, or the last axis of `x` is not the feature map's input dimension.
        TypeError: `x` does not have the feature map's dtype, or is neither float32, float64 nor integers.

    Example:
        >>> paraboloid = lambda p: torch.stack([p[0], p[1], p @ p])
        >>> measure(paraboloid, torch.zeros(2, dtype=torch.float64), ("ricci_scalar",))
        {'ricci_scalar': tensor(8., dtype=torch.float64)}
    """
    second = not FIRST_ORDER.issuperset(quantities)
    return over_points(as_feature_map(feature_map), x, named(quantities), chunk_size, second=second)


def named(quantities: Sequence[str]) -> dict[str, Callable[[Frame], Tensor]]:
    """The functions of the frame with these names. Raises if a name is unknown."""
    for name in quantities:
        if name not in QUANTITIES:
            raise ValueError(f"`quantities` must be among {', '.join(QUANTITIES)}. Got {name!r}.")
    return {name: QUANTITIES[name] for name in quantities}


@without_autocast
def over_points(
    feature_map: FeatureMap,
    x: Numbers,
    quantities: dict[str, Callable[[Frame], Tensor]],
    chunk_size: int | None,
    *,
    second: bool,
) -> dict[str, Tensor]:
    """Evaluates functions of the frame, each giving (replicates, points, ...), on all of `x` in chunks.

    Args:
        feature_map: the map to differentiate.
        x: points, `(*batch, d)`.
        quantities: what to evaluate, by name.
        chunk_size: points handled at once; by default as many as fit the cache.
        second: whether second derivatives are needed. They are skipped where they cannot matter: n = d, n < d.

    Returns:
        `(*replicates, *batch, ...)` by name; NaN where `x` or J is not finite.

    Raises:
        ValueError: `chunk_size` is less than 1.
    """

    def jets(points: Tensor, second: bool) -> list[tuple[int, Jet]]:
        return [(0, feature_map.jet(points, second=second))]

    x = feature_map.as_points(x)
    sizes = {0: feature_map.dimensions(x)}
    return in_chunks(jets, sizes, feature_map.replicates, x, quantities, chunk_size, second=second)[0]


def in_chunks(
    jets: Callable[[Tensor, bool], Iterable[tuple[int, Jet]]],
    sizes: Mapping[int, Dimensions],
    replicates: tuple[int, ...],
    x: Tensor,
    quantities: dict[str, Callable[[Frame], Tensor]],
    chunk_size: int | None,
    *,
    second: bool,
) -> dict[int, dict[str, Tensor]]:
    """`over_points` for several maps that are differentiated together.

    Args:
        jets: gives each map's number and jet at points, with second derivatives if asked for.
        sizes: dimensions of the maps, by number.
        replicates: shape of the maps' replicates.
    """
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"`chunk_size` must be at least 1. Got {chunk_size}.")
    d = x.shape[-1]
    bends = {key: second and rank_bound >= d and n > d for key, (_, n, rank_bound, _) in sizes.items()}
    second = any(bends.values())
    derivatives = d + d * (d + 1) // 2 if second else d
    units = math.prod(replicates) * max(size.widest for size in sizes.values())
    fewest = min(_FEWEST_POINTS, 1 + _MOST_ELEMENTS // (units * (1 + derivatives)))
    in_cache = max(fewest, 6 * _ELEMENTS_IN_CACHE // (units * (1 + derivatives)))
    points = x.detach().reshape(-1, d)
    parts: dict[int, dict[str, list[Tensor]]] = {key: {name: [] for name in quantities} for key in sizes}
    known = points.isfinite().all(dim=1)
    all_known = bool(known.all())
    if not all_known:  # some callables raise there; any point will do, as its values are masked
        points = torch.where(known[:, None], points, points[known][0] if known.any() else 0.0)
    chunk_size = chunk_size or in_cache
    for chunk, known_here in zip(points.split(chunk_size), known.split(chunk_size), strict=True):
        for key, jet in jets(chunk, second):
            frame = Frame(jet if bends[key] else replace(jet, hessian=None), sizes[key].rank_bound)
            for name, compute in quantities.items():
                values = compute(frame)  # (replicates, points, ...)
                if not (all_known and frame.moderate):
                    mask = (frame.finite & known_here).reshape(values.shape[:2] + (1,) * (values.ndim - 2))
                    values = torch.where(mask, values, torch.nan)
                parts[key][name].append(values)
    outer = replicates + x.shape[:-1]
    return {key: {name: joined(chunks, outer) for name, chunks in found.items()} for key, found in parts.items()}


def replicates_at_once(derivatives: int, widest: int) -> int:
    """How many replicates may be handled at once, given the derivatives of their widest layer; at least one."""
    return max(1, _MOST_ELEMENTS // (_FEWEST_POINTS * widest * (1 + derivatives)))


def joined(chunks: list[Tensor], outer: tuple[int, ...]) -> Tensor:
    """Values (replicates, points, ...) of all chunks, as (*outer, ...)."""
    values = torch.cat(chunks, dim=1)
    return values.reshape(outer + values.shape[2:])
