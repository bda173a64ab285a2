"""Shortest paths between inputs in the metric of a feature map, and their lengths."""

from __future__ import annotations

import math
import warnings
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from nngeom_cli.geometry.autocast import without_autocast
from nngeom_cli.geometry.jets import FeatureMap, packed_pairs
from nngeom_cli.geometry.measure import AnyFeatureMap
from nngeom_cli.geometry.points import Numbers
from nngeom_cli.geometry.torch_feature_map import as_feature_map, depth_of_the_caller
from nngeom_cli.geometry.tridiagonal import solve_tridiagonal

__all__ = ["Geodesic", "distance", "geodesic"]

_MOST_STEPS = 1000
_TOLERANCE = 1e-12  # of the energy that a further step would gain, relative
_FIRST_DAMPING = 1e-6
_LEAST_DAMPING, _MOST_DAMPING = 1e-14, 1e12  # below the first it is 0, beyond the second no step helps
_SMALL_DAMPING = 1e-5  # with more of it, a step that gains little says nothing
_STRAIGHT_SEGMENTS = 512
_NUMBERS_AT_ONCE = 1 << 24  # of second derivatives


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
def geodesic(feature_map: AnyFeatureMap, start: Numbers, end: Numbers, *, segments: int = 64) -> Geodesic:
    """Shortest paths between pairs of inputs in the metric that a feature map induces.

    Minimises the discrete energy N sum |Phi(x_(i+1)) - Phi(x_i)|^2 over the N - 1 interior points by Newton's method,
    from the straight path, for N = `segments` / 4, / 2 and / 1, each from the one before. A minimum has segments of
    equal length, and its length, that of a polygon in feature space, is below the true one by O(1/N^2): the last two
    are extrapolated. Newton, because the curvature of the image is of the same order in the energy's Hessian as the
    rest, so that Gauss-Newton converges slowly; the Hessian is block tridiagonal, so a step costs O(N d^3). Steps are
    damped where the energy is not convex or the metric degenerate.

    The path found is a local minimum near the straight path. Where several geodesics join the points it need not be the
    shortest. Where the rank of J is below d, the metric is degenerate and the minimum not unique; its length is.

    Args:
        feature_map: a callable from a point `(d,)` to its features `(n,)`, twice differentiable, or a feature map.
        start: first points, `(*batch, d)`.
        end: last points, of the same shape or one that broadcasts with it.
        segments: N of the finest path, a multiple of 8.

    Returns:
        Paths, lengths with errors and bounds, and which converged. A warning says how many did not.

    Raises:
        ValueError: `segments` is no multiple of 8, or `start` and `end` do not fit together or to the feature map.
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
    found = [_of_one(one, ends[0][known], ends[1][known], segments) for one in mapped.each()]
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


def _of_one(feature_map: FeatureMap, start: Tensor, end: Tensor, segments: int) -> Geodesic:
    """Geodesics of a map without replicates between points (pairs, d)."""
    path, lengths = _straight(start, end, segments // 4), []
    converged = torch.zeros_like(start[:, 0], dtype=torch.bool)
    for doubling in range(3):
        if doubling:
            path = _halved(path)
        path, settled = _shortened(feature_map, path)
        converged = settled & converged if doubling == 2 else settled  # the last two are extrapolated
        lengths.append(_length(_features(feature_map, path)))
    straight = [
        _length(_features(feature_map, _straight(start, end, count)))
        for count in (_STRAIGHT_SEGMENTS, 2 * _STRAIGHT_SEGMENTS)
    ]
    ends = _features(feature_map, torch.stack([start, end], dim=1))
    before, change = (later - earlier for earlier, later in pairwise(lengths))
    resolved = change.abs() <= before.abs() / 2  # it is a quarter where the polygons follow the path closely
    error = torch.where(resolved, change.abs() / 3, before.abs() + change.abs())
    return Geodesic(
        path, lengths[-1] + change / 3, error, (4 * straight[1] - straight[0]) / 3, _length(ends), converged
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


def _features(feature_map: FeatureMap, path: Tensor) -> Tensor:
    """Features along paths, (pairs, points, n)."""
    with torch.no_grad():
        return feature_map(path)


def _length(features: Tensor) -> Tensor:
    """Length of polygons, (pairs,)."""
    lengths: Tensor = features.diff(dim=1).norm(dim=2)
    return lengths.sum(dim=1)


def _energy(features: Tensor) -> Tensor:
    return (features.shape[1] - 1) * features.diff(dim=1).square().sum(dim=(1, 2))


def _shortened(feature_map: FeatureMap, path: Tensor) -> tuple[Tensor, Tensor]:
    """Paths (pairs, N + 1, d) of least energy near given ones, and whether each is: Newton's method, damped."""
    path = path.clone()
    damping = path.new_full((len(path),), _FIRST_DAMPING)
    converged = torch.zeros_like(damping, dtype=torch.bool)
    active = torch.arange(len(path), device=path.device)
    expansion: _Expansion | None = None
    for _ in range(_MOST_STEPS):
        if not len(active):
            break
        if expansion is None:
            expansion = _expand(feature_map, path[active])
        step, solved = solve_tridiagonal(*expansion.damped(damping[active]), -expansion.gradient)
        gain = -(step * expansion.gradient).sum(dim=(1, 2)) / 2
        trial = path[active]
        trial[:, 1:-1] += torch.where(solved[:, None, None], step, 0.0)
        energy = _energy(_features(feature_map, trial))
        better = solved & (energy < expansion.energy)
        little = _TOLERANCE * expansion.energy + expansion.rounding
        settled = solved & (damping[active] <= _SMALL_DAMPING) & (gain <= little)
        settled |= expansion.energy - expansion.least <= little
        path[active[better]] = trial[better]
        raised = (10 * damping[active]).clamp_min(_FIRST_DAMPING)
        lowered = damping[active] / 10
        damping[active] = torch.where(better, torch.where(lowered < _LEAST_DAMPING, 0.0, lowered), raised)
        converged[active[settled]] = True
        going = ~settled & (damping[active] < _MOST_DAMPING)
        expansion = None if better.any() or not going.all() else expansion
        active = active[going]
    return path, converged


class _Expansion(NamedTuple):
    """The energy of paths (pairs, N + 1, d) to second order in their interior points.

    Args:
        energy: (pairs,).
        least: what no path between the same points is below, (pairs,).
        rounding: of the energy, (pairs,).
        gradient: (pairs, N - 1, d).
        diagonal: blocks of the Hessian, (pairs, N - 1, d, d).
        beside: blocks right of them, (pairs, N - 2, d, d).
        unit: size of the diagonal without the curvature of the image, (pairs, 1).
    """

    energy: Tensor
    least: Tensor
    rounding: Tensor
    gradient: Tensor
    diagonal: Tensor
    beside: Tensor
    unit: Tensor

    def damped(self, damping: Tensor) -> tuple[Tensor, Tensor]:
        """The Hessian's blocks with `damping` units added to its diagonal."""
        identity = torch.eye(self.diagonal.shape[-1], dtype=self.unit.dtype, device=self.unit.device)
        return self.diagonal + (damping[:, None] * self.unit)[..., None, None] * identity, self.beside


def _expand(feature_map: FeatureMap, path: Tensor) -> _Expansion:
    pairs, count, d = path.shape
    features = _features(feature_map, path)
    segments, interior = count - 1, count - 2
    pull = 2 * features[:, 1:-1] - features[:, :-2] - features[:, 2:]  # (pairs, N - 1, n)
    points, weights = path[:, 1:-1].reshape(-1, d), pull.flatten(0, 1)
    jacobians, bends = [], []
    at_once = max(1, _NUMBERS_AT_ONCE // (features.shape[2] * d * d))
    square = _square(d, path.device)
    for some, pulled in zip(points.split(at_once), weights.split(at_once), strict=True):
        jet = feature_map.jet(some, second=True)
        assert jet.hessian is not None
        unit = jet.unit[0, :, 0]
        jacobians.append(jet.jacobian[0].movedim(-1, 0) / unit)  # (points, n, d)
        bent = torch.einsum("pn,nkp->pk", pulled, jet.hessian[0])[:, square]
        bends.append(bent / unit / unit[:, None])
    jacobian = torch.cat(jacobians).unflatten(0, (pairs, interior))
    metric = jacobian.mT @ jacobian
    energy, length = _energy(features), _length(features)
    return _Expansion(
        energy,
        (features[:, -1] - features[:, 0]).square().sum(dim=1),
        8 * torch.finfo(path.dtype).eps * segments * features.abs().amax(dim=(1, 2)) * length,
        2 * segments * (jacobian.mT @ pull.unsqueeze(-1)).squeeze(-1),
        2 * segments * (2 * metric + torch.cat(bends).reshape(metric.shape)),
        -2 * segments * (jacobian[:, :-1].mT @ jacobian[:, 1:]),
        4 * segments * metric.diagonal(dim1=-2, dim2=-1).sum(dim=-1).amax(dim=1, keepdim=True) / d,
    )


def _square(d: int, device: torch.device) -> Tensor:
    """Position of the pair (a, b) among packed pairs, (d, d)."""
    rows, columns = packed_pairs(d, device)
    square = torch.zeros(d, d, dtype=torch.long, device=device)
    square[rows, columns] = square[columns, rows] = torch.arange(len(rows), device=device)
    return square


def _placed(values: list[Tensor], known: Tensor, replicates: tuple[int, ...], batch: tuple[int, ...]) -> Tensor:
    """Values (known pairs, ...) of each replicate as (*replicates, *batch, ...); NaN or False of unknown points."""
    stacked = torch.stack(values)
    empty = stacked.new_full((len(values), math.prod(batch), *stacked.shape[2:]), False)
    whole = empty if stacked.dtype == torch.bool else empty + math.nan
    whole[:, known] = stacked
    return whole.reshape(replicates + batch + stacked.shape[2:])
