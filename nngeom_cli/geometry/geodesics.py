"""Shortest paths between inputs in the metric of a feature map, and their lengths."""

from __future__ import annotations

import math
import warnings
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from nngeom_cli.geometry.autocast import without_autocast
from nngeom_cli.geometry.jets import FeatureMap
from nngeom_cli.geometry.measure import AnyFeatureMap
from nngeom_cli.geometry.path_energy import features_along, polygon_length, shortened
from nngeom_cli.geometry.path_subspace import path_subspace
from nngeom_cli.geometry.points import Numbers
from nngeom_cli.geometry.torch_feature_map import as_feature_map, depth_of_the_caller

__all__ = ["Geodesic", "distance", "geodesic"]

_STRAIGHT_SEGMENTS = 512


class Geodesic(NamedTuple):
    """Shortest paths that were found between pairs of points.

    Args:
        points: on each path, from start to end, `(*replicates, *batch, segments + 1, d)`.
        length: of each path in feature space, extrapolated to infinitely many segments, `(*replicates, *batch)`.
        error: how far the extrapolation moved it, or, where the lengths of the polygons do not settle yet, by how much
            they differ: an estimate of its absolute error, not a bound.
        straight: length of the image of the straight path, an upper bound.
        chord: distance of the features of start and end, a lower bound.
        converged: whether the minimisation came to its end. Where it did not, the length is that of the best path
            found: too large.

    Example:
        >>> found = geodesic(lambda p: 2 * p, [0.0, 0.0], [3.0, 4.0], segments=8)
        >>> found.points.shape, found.converged
        (torch.Size([9, 2]), tensor(True))
    """

    points: Tensor
    length: Tensor
    error: Tensor
    straight: Tensor
    chord: Tensor
    converged: Tensor


@without_autocast
def geodesic(
    feature_map: AnyFeatureMap, start: Numbers, end: Numbers, *, segments: int = 64, directions: int | None = None
) -> Geodesic:
    """Shortest paths between pairs of inputs in the metric that a feature map induces.

    Minimises the discrete energy N sum |Phi(x_(i+1)) - Phi(x_i)|^2 over the N - 1 interior points by Newton's method,
    from the straight path, for N = `segments` / 4, / 2 and / 1, each from the one before. A minimum has segments of
    equal length, and its length, that of a polygon in feature space, is below the true one by O(1/N^2): the last two
    are extrapolated. Newton, because the curvature of the image is of the same order in the energy's Hessian as the
    rest, so that Gauss-Newton converges slowly; the Hessian is block tridiagonal, so a step costs O(N d^3). Steps are
    damped where the energy is not convex or the metric degenerate.

    The path found is a local minimum near the straight path. Where several geodesics join the points it need not be the
    shortest. Where the rank of J is below d, the metric is degenerate and the minimum not unique; its length is.

    Where d is large, `directions` bounds the cost: paths are sought in the subspace through both points that has so
    many dimensions, those which the map stretches most at five places of the straight path, and at least a thousandth
    of the most. Their length is an upper bound then, and exact where all rows of J lie in that subspace, as those of a
    network do whose first layer has fewer units. It also keeps paths near: where a direction is hardly stretched, as
    that of a pixel whose weights have decayed, a shortest path may run far along it for a tiny gain.

    Args:
        feature_map: a callable from a point `(d,)` to its features `(n,)`, twice differentiable, or a feature map.
        start: first points, `(*batch, d)`.
        end: last points, of the same shape or one that broadcasts with it.
        segments: N of the finest path, a multiple of 8.
        directions: dimensions of the subspace of input space for each path; None: all of them.

    Returns:
        Paths, lengths with errors and bounds, and which converged. A warning says how many did not.

    Raises:
        ValueError: `segments` is no multiple of 8, `directions` is less than 1, or `start` and `end` do not fit
            together or to the feature map.
        TypeError: they do not have the feature map's dtype.

    Example:
        >>> sphere = lambda p: torch.stack([p[0].sin() * p[1].cos(), p[0].sin() * p[1].sin(), p[0].cos()])
        >>> found = geodesic(sphere, [1.0, 0.0], [1.0, 2.0])  # along a circle of latitude it is 2 sin(1) = 1.683
        >>> found.length, found.straight
        (tensor(1.5735, dtype=torch.float64), tensor(1.6829, dtype=torch.float64))
    """
    mapped = as_feature_map(feature_map)
    if segments < 8 or segments % 8:
        raise ValueError(f"`segments` must be a multiple of 8. Got {segments}.")
    if directions is not None and directions < 1:
        raise ValueError(f"`directions` must be at least 1, or None for all of them. Got {directions}.")
    first, last = mapped.as_points(start).detach(), mapped.as_points(end).detach()
    for points in (first, last):
        mapped.dimensions(points)
    if first.dtype != last.dtype:
        raise TypeError(f"`start` and `end` must have one dtype. Got {first.dtype} and {last.dtype}.")
    try:
        first, last = torch.broadcast_tensors(first, last)
    except RuntimeError:
        shapes = f"{tuple(first.shape)} and {tuple(last.shape)}"
        raise ValueError(f"`start` and `end` must have shapes that broadcast together. Got {shapes}.") from None
    d, batch = first.shape[-1], first.shape[:-1]
    ends = first.reshape(-1, d), last.reshape(-1, d)
    known = (ends[0] + ends[1]).isfinite().all(dim=1)
    solve = _of_one if directions is None else partial(_in_subspaces, directions=directions)
    found = [solve(one, ends[0][known], ends[1][known], segments) for one in mapped.each()]
    if unsolved := sum(int((~each.converged).sum()) for each in found):
        warnings.warn(
            f"{unsolved} of {len(found) * len(found[0].length)} geodesics did not converge: their lengths are those of "
            "the best paths found. More `segments`, or points nearer to each other, may help.",
            stacklevel=depth_of_the_caller(),
        )
    return Geodesic(*(_placed(list(each), known, mapped.replicates, batch) for each in zip(*found, strict=True)))


def distance(feature_map: AnyFeatureMap, start: Numbers, end: Numbers, *, segments: int = 64) -> Tensor:
    """Riemannian distance between pairs of inputs: the length of the shortest path that `geodesic` finds.

    Args:
        feature_map: a callable from a point `(d,)` to its features `(n,)`, twice differentiable, or a feature map.
        start: first points, `(*batch, d)`.
        end: last points, of the same shape or one that broadcasts with it.
        segments: of the finest path, a multiple of 8.

    Returns:
        `(*replicates, *batch)`; NaN where the minimisation did not converge. `geodesic` gives the error.

    Raises:
        ValueError: as `geodesic`.
        TypeError: as `geodesic`.

    Example:
        >>> distance(lambda p: 2 * p, [0.0, 0.0], [3.0, 4.0])
        tensor(10., dtype=torch.float64)
    """
    found = geodesic(feature_map, start, end, segments=segments)
    return torch.where(found.converged, found.length, torch.nan)


def _in_subspaces(feature_map: FeatureMap, start: Tensor, end: Tensor, segments: int, directions: int) -> Geodesic:
    """Geodesics of a map without replicates between points (pairs, d), each in a subspace of its own."""
    found = []
    for first, last in zip(start, end, strict=True):
        same = bool((first == last).all())
        basis = first[None] * 0 if same else path_subspace(feature_map, first, last, directions)
        goal = (basis @ (last - first))[None]
        one = _of_one(feature_map.restricted_to(first, basis), torch.zeros_like(goal), goal, segments)
        found.append(one._replace(points=first + one.points @ basis))
    if not found:
        return _of_one(feature_map, start, end, segments)
    return Geodesic(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def _of_one(feature_map: FeatureMap, start: Tensor, end: Tensor, segments: int) -> Geodesic:
    """Geodesics of a map without replicates between points (pairs, d)."""
    path, lengths = _straight(start, end, segments // 4), []
    converged = torch.zeros_like(start[:, 0], dtype=torch.bool)
    for doubling in range(3):
        if doubling:
            path = _halved(path)
        path, settled = shortened(feature_map, path)
        converged = settled & converged if doubling == 2 else settled  # the last two are extrapolated
        lengths.append(polygon_length(features_along(feature_map, path)))
    straight = [
        polygon_length(features_along(feature_map, _straight(start, end, count)))
        for count in (_STRAIGHT_SEGMENTS, 2 * _STRAIGHT_SEGMENTS)
    ]
    ends = features_along(feature_map, torch.stack([start, end], dim=1))
    before, change = (later - earlier for earlier, later in pairwise(lengths))
    resolved = change.abs() <= before.abs() / 2  # it is a quarter where the polygons follow the path closely
    error = torch.where(resolved, change.abs() / 3, before.abs() + change.abs())
    return Geodesic(
        path, lengths[-1] + change / 3, error, (4 * straight[1] - straight[0]) / 3, polygon_length(ends), converged
    )


def _straight(start: Tensor, end: Tensor, segments: int) -> Tensor:
    """Straight paths, (pairs, segments + 1, d)."""
    fractions = torch.arange(segments + 1, dtype=start.dtype, device=start.device)[:, None] / segments
    return torch.lerp(start[:, None], end[:, None], fractions)


def _halved(path: Tensor) -> Tensor:
    """The same paths with each segment cut in two."""
    middles = (path[:, 1:] + path[:, :-1]) / 2
    between = torch.stack([path[:, :-1], middles], dim=2).flatten(1, 2)
    return torch.cat([between, path[:, -1:]], dim=1)


def _placed(values: list[Tensor], known: Tensor, replicates: tuple[int, ...], batch: tuple[int, ...]) -> Tensor:
    """Values (known pairs, ...) of each replicate as (*replicates, *batch, ...); NaN or False of unknown points."""
    stacked = torch.stack(values)
    empty = stacked.new_full((len(values), math.prod(batch), *stacked.shape[2:]), False)
    whole = empty if stacked.dtype == torch.bool else empty + math.nan
    whole[:, known] = stacked
    return whole.reshape(replicates + batch + stacked.shape[2:])
