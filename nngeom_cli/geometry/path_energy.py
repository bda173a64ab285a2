"""The discrete energy of paths in the metric of a feature map, and paths that have less of it: Newton's method."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nngeom_cli.geometry.jets import FeatureMap, packed_pairs
from nngeom_cli.geometry.tridiagonal import solve_tridiagonal

__all__ = ["features_along", "polygon_length", "shortened"]

_MOST_STEPS = 1000
_TOLERANCE = 1e-12  # of the energy that a further step would gain, relative
_FIRST_DAMPING = 1e-6
_LEAST_DAMPING, _MOST_DAMPING = 1e-14, 1e12  # below the first it is 0, beyond the second no step helps
_SMALL_DAMPING = 1e-5  # with more of it, a step that gains little says nothing
_NUMBERS_AT_ONCE = 1 << 24  # of second derivatives


def features_along(feature_map: FeatureMap, path: Tensor) -> Tensor:
    """Features along paths, (pairs, points, n)."""
    with torch.no_grad():
        return feature_map(path)


def polygon_length(features: Tensor) -> Tensor:
    """Length of polygons, (pairs,)."""
    lengths: Tensor = features.diff(dim=1).norm(dim=2)
    return lengths.sum(dim=1)


def _energy(features: Tensor) -> Tensor:
    return (features.shape[1] - 1) * features.diff(dim=1).square().sum(dim=(1, 2))


def shortened(feature_map: FeatureMap, path: Tensor) -> tuple[Tensor, Tensor]:
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
        energy = _energy(features_along(feature_map, trial))
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
    features = features_along(feature_map, path)
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
    energy, length = _energy(features), polygon_length(features)
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
