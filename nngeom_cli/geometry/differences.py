"""Central differences of a map's values, with which its automatic derivatives are compared."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

import torch
from torch import Tensor
from torch.func import vmap

__all__ = ["Differences", "Verdict"]

_POINTS = 5
_ELEMENTS = 2**20  # between points and features at once
_DISPLACED = 0.1  # shift from the caller's points, in units of the size of x: away from kinks at 0 and from edges
_STEPS = 12
_LONGEST_STEP = 0.25  # in units of the size of x; the shortest is sqrt(eps)
_SETTLED = 0.005  # largest relative difference between steps that agree
_ROUNDING = 2.0  # error allowed to a difference, in eps of the values subtracted
_WRONG = 0.04  # relative error beyond which differences contradict a derivative


class Verdict(IntEnum):
    """How well automatic derivatives agree with differences, best first."""

    SOUND = 0
    DOUBTFUL = 1  # H is not symmetric, or depends on the rest of the batch
    NOT_FINITE = 2
    WRONG = 3


class Differences:
    """Differences of a map at a few points near the caller's, each along its own direction w, with many steps.

    (f(x + h w) - f(x - h w)) / 2h is J w, and (f(x + h w) - 2 f(x) + f(x - h w)) / h^2 is w H w, up to O(h^2) and to
    rounding of the order of eps / h and eps / h^2. No step suits every map, so steps h from 1/4 of the size of x down
    to sqrt(eps) are tried. Derivatives count as wrong where, at two or more points, three steps in a row agree to
    0.5 %, so that the differences are known, and no step agrees with the derivatives to 4 %. Where rounding hides the
    differences, as for a saturated unit, or no step is short enough, there is no verdict. Torch's wrong rules are off
    by tens of percent.

    Args:
        function: one point `(d,)` to its features `(n,)`.
        points: the caller's points, (points, d), at least one finite.
        precision: the coarsest dtype that the function computes in.
        widest: how many numbers at once between a point and its features.
    """

    def __init__(
        self, function: Callable[[Tensor], Tensor], points: Tensor, precision: torch.dtype, widest: int
    ) -> None:
        points = points[points.isfinite().all(dim=1)]
        size = points.abs().amax(dim=0)
        size = torch.where(size > 0, size, size.amax() if size.any() else 1.0)
        chosen = torch.linspace(0, len(points) - 1, _POINTS, device="cpu").long()
        generator = torch.Generator().manual_seed(0)
        moved, length, sign = torch.rand(3, _POINTS, points.shape[1], generator=generator, device="cpu").to(points)
        self.points = points[chosen.to(points.device)] + _DISPLACED * size * (2 * moved - 1)
        self.direction = size * (1 + length) / 2 * (sign - 0.5).sign()
        self.eps = torch.finfo(precision).eps
        shortest = self.eps**0.5
        steps = [_LONGEST_STEP * (shortest / _LONGEST_STEP) ** (k / (_STEPS - 1)) for k in range(_STEPS)]
        offsets = points.new_tensor([0.0, *steps, *(-step for step in steps)])[:, None, None]
        at_once = 1 + _ELEMENTS // widest
        values = vmap(function, chunk_size=at_once)((self.points + offsets * self.direction).flatten(0, 1)).detach()
        self.values = values.unflatten(0, (len(offsets), _POINTS))  # (offsets, points, n)
        centre, ahead, behind = self.values.split([1, _STEPS, _STEPS])
        self._step = offsets[1 : _STEPS + 1]  # (steps, 1, 1)
        self._first = (ahead - behind) / (2 * self._step)  # (steps, points, n)
        self._second = (ahead - 2 * centre + behind) / self._step.square()
        # intermediate values round too: assume them at least of order 1 and as large as the largest feature
        self._size = self.values.abs().nan_to_num(0, 0, 0).amax(dim=(0, 2)).clamp_min(1.0)[:, None]  # (points, 1)

    def judge(self, jacobian: Tensor, hessian: Tensor | None) -> Verdict:
        """The verdict on J (points, n, d) and H (points, n, d, d), of which only the upper triangle is used."""
        w = self.direction[:, None]
        slope = jacobian * w
        total = slope.abs().sum(dim=2)
        rounding = _ROUNDING * self.eps * (self._size + total) / self._step
        one_sided = self._second.abs() * self._step  # slope ahead minus slope behind: large at a kink
        smooth = one_sided <= 2 * _WRONG * self._first.abs()
        least = _ROUNDING * self.eps * self._size / self._step
        silent = (self._first.abs() <= least) & (one_sided <= least)
        constant = (silent & (rounding <= _SETTLED * total))[-3:].all(dim=0)  # such as `round` or `sign`
        verdict = self._judge(slope, self._first, rounding, self._settled(self._first, rounding, smooth) | constant)
        if hessian is None:
            return verdict
        upper = hessian.triu() + hessian.triu(1).mT
        bend = (upper * w.unsqueeze(-1) * w.unsqueeze(-2)).flatten(2)
        rounding = rounding / self._step
        settled = self._settled(self._second, rounding, torch.ones_like(smooth))
        return max(verdict, self._judge(bend, self._second, rounding, settled))

    @staticmethod
    def _settled(differences: Tensor, rounding: Tensor, smooth: Tensor) -> Tensor:
        """Where three steps in a row agree, (points, n)."""
        allowed = _SETTLED * differences.abs()
        near = (differences.diff(dim=0).abs() <= allowed[1:]) & (smooth & (rounding <= allowed))[1:]
        return (near[1:] & near[:-1]).any(dim=0)

    @staticmethod
    def _judge(terms: Tensor, differences: Tensor, rounding: Tensor, settled: Tensor) -> Verdict:
        """The verdict on derivatives that are sums of `terms` (points, n, terms); differences (steps, points, n)."""
        derivative = terms.sum(dim=2)
        size = torch.maximum(differences.abs(), terms.abs().sum(dim=2))
        near = (differences - derivative).abs() <= _WRONG * size + rounding
        wrong = settled & ~(near & (rounding <= _SETTLED * size)).any(dim=0)
        if (wrong & derivative.isfinite()).any(dim=1).sum() > 1:
            return Verdict.WRONG
        return Verdict.NOT_FINITE if (wrong & ~derivative.isfinite()).any() else Verdict.SOUND
