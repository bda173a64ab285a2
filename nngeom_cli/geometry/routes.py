"""Ways to differentiate a torch callable twice, and the choice of one that gives the right derivatives.

Some of torch's rules are wrong once they are differentiated again: forward mode twice through layer_norm, batch_norm,
det, solve or a custom `autograd.Function`; forward over reverse through det and solve in a batch. Others lack a rule
for one of the modes. Which ones depends on torch's version, so the routes are tried at a few points.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import torch
from torch import Tensor
from torch.func import jacfwd, jacrev, vmap

from nngeom_cli.geometry.differences import Differences, Verdict
from nngeom_cli.geometry.jet_tensors import JetTensor
from nngeom_cli.geometry.jets import packed_pairs

__all__ = [
    "FORWARD",
    "FORWARD_OVER_REVERSE",
    "REVERSE",
    "Function",
    "Route",
    "batched",
    "confirmed",
    "load_differentiation",
    "propagated",
    "sound_route",
]

Function = Callable[[Tensor], Tensor]
Derivatives = tuple[Tensor, Tensor | None]
_ELEMENTS = 2**22  # of the derivatives computed at once in reverse mode ...
_ELEMENTS_OF_JETS = 2**21  # ... and in jets, whose arrays should not outgrow the blocks that memory is reused in
_GROUPS = 32  # of features in the trial of the routes, where there are more than that ...
_FEWEST_GROUPS, _ELEMENTS_OF_TRIAL = 4, 2**18  # ... fewer for a large model
_MANY = 4  # features per input; above it, jets or forward mode alone cost less


class Route(Protocol):
    """A way to compute first and second derivatives."""

    def __call__(self, function: Function, points: Tensor, widest: int, *, second: bool) -> Derivatives:
        """J (points, n, d) and, if asked for, H (points, n, d, d) at `points` (points, d).

        Args:
            function: from one point to its features.
            points: (points, d).
            widest: how many numbers at once between a point and its features; bounds what is computed at once.
            second: whether H is needed.
        """


@dataclass(frozen=True)
class Nested:
    """First and second derivatives by one composition of torch's two modes.

    Args:
        inner: jacfwd or jacrev, applied to the function.
        outer: jacfwd or jacrev, applied to its Jacobian.
    """

    inner: Callable[..., Function]
    outer: Callable[..., Callable[[Tensor], tuple[Tensor, Tensor]]]

    def __call__(self, function: Function, points: Tensor, widest: int, *, second: bool) -> Derivatives:
        """As `Route` says."""
        count, d = points.shape
        first = self.inner(function)
        if self.inner is jacrev:  # a pass for each feature, no more at once than memory allows
            first = jacrev(function, chunk_size=1 + _ELEMENTS // (count * widest * (1 + d if second else 1)))
        if not second:
            return vmap(first)(points).detach(), None

        def twice(point: Tensor) -> tuple[Tensor, Tensor]:
            jacobian = first(point)
            return jacobian, jacobian

        hessian, jacobian = vmap(self.outer(twice, has_aux=True))(points)
        return jacobian.detach(), hessian.detach()


FORWARD = Nested(jacfwd, jacfwd)
FORWARD_OVER_REVERSE = Nested(jacrev, jacfwd)
REVERSE = Nested(jacrev, jacrev)


def propagated(function: Function, points: Tensor, widest: int, *, second: bool) -> Derivatives:
    """As `Route` says, by a JetTensor: 1 + d + d(d+1)/2 evaluations, where forward mode, nested, takes (1 + d)^2."""
    d = points.shape[1]
    rows, columns = packed_pairs(d, points.device)
    start = torch.eye(d, dtype=points.dtype, device=points.device)
    if second:
        start = torch.cat([start, start.new_zeros(len(rows), d)])

    def parts(point: Tensor) -> Tensor:
        features = function(JetTensor(torch.cat([point[None], start]), d))
        if isinstance(features, JetTensor):
            features.check()
            return features.parts[1:]
        return features.new_zeros(len(start), len(features))  # a constant

    derivatives = vmap(parts, chunk_size=1 + _ELEMENTS_OF_JETS // (widest * (1 + len(start))))(points).detach()
    jacobian = derivatives[:, :d].mT
    if not second:
        return jacobian, None
    square = torch.empty(d, d, dtype=torch.long, device=points.device)
    square[rows, columns] = square[columns, rows] = torch.arange(d, d + len(rows), device=points.device)
    return jacobian, derivatives[:, square].movedim(3, 1)


@cache
def load_differentiation() -> None:
    """Loads `torch.func`, only once: ignoring torch's warning makes Python forget which others it has shown."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*torch.jit.script.*", DeprecationWarning)
        torch.func.jacfwd(torch.sin)(torch.zeros(()))


def batched(function: Function, points: Tensor, widest: int = 1) -> Tensor:
    """The values of `function` at `points` (points, d): (points, n). Raises if it cannot run on a batch."""
    try:
        return vmap(function, chunk_size=1 + _ELEMENTS // widest)(points)
    except Exception as error:
        raise _refused(error, "run in batches, under `torch.func.vmap`") from error


def sound_route(
    function: Function, points: Tensor, n: int, widest: int, precision: torch.dtype, *, second: bool
) -> Route:
    """The first of forward over reverse, reverse over reverse and forward over forward that gives right derivatives.

    Derivatives are right if differences of the values at a few points near `points` do not contradict them, and if H is
    symmetric and does not depend on the order of the points (for det in a batch it does). For many features jets cost
    less, then forward over forward; the first of them that agrees with the route found is used there. Many features are
    tried in groups, added with random signs.

    Args:
        function: from one point `(d,)` to its features `(n,)`; it must not change the point.
        points: (points, d), at least one finite.
        n: how many features.
        widest: how many numbers at once between a point and its features.
        precision: the coarsest dtype that the function computes in.
        second: whether second derivatives are needed.

    Raises:
        ValueError: no route runs under `torch.func.vmap`, or differences contradict all that do, or features are others
            there.
    """
    function = _grouped(function, n, widest, points)
    try:
        differences = Differences(function, points, precision, widest)
    except Exception as error:
        raise _refused(error, "run in batches, under `torch.func.vmap`") from error
    points = differences.points
    if not any(_same(function(points[place].clone()), differences.values[0, place]) for place in (0, -1)):
        raise ValueError(
            "`feature_map` must give a point the same features by itself and in a batch, under `torch.func.vmap`. Got "
            "others, as where a tensor is changed in place that `contiguous` or `reshape` copies in only one of them. "
            "Write it without the change in place."
        )
    found: dict[Route, Derivatives] = {}
    verdicts: dict[Route, Verdict] = {}
    failed: Exception | None = None
    trusted: tuple[Route, ...] = (FORWARD_OVER_REVERSE, REVERSE, FORWARD)
    for route in trusted:
        try:
            found[route] = route(function, points, widest, second=second)
            verdict = differences.judge(*found[route])
            if verdict == Verdict.SOUND and not _consistent(route, function, found[route], differences, widest):
                verdict = Verdict.DOUBTFUL
        except Exception as error:
            failed = failed or error
            continue
        verdicts[route] = verdict
        if verdict == Verdict.SOUND:
            break
    if not verdicts:
        assert failed is not None
        raise _refused(failed, f"be differentiable{' twice' if second else ''} by `torch.func`") from failed
    best = min(verdicts, key=lambda route: verdicts[route])
    if verdicts[best] == Verdict.WRONG:
        raise ValueError(
            "`feature_map` must have automatic derivatives that agree with differences of its values. Got others, as "
            "from `detach`, a custom autograd.Function or a torch function with a wrong rule. Write it with other "
            "functions."
        )
    if n <= _MANY * points.shape[1]:
        return best
    cheaper: tuple[Route, ...] = (propagated, FORWARD)
    for route in cheaper:
        with suppress(Exception):
            forward = found[route] if route in found else route(function, points, widest, second=second)
            if _close(found[best], forward, differences):
                return route
    return best


def confirmed(
    route: Route, function: Function, points: Tensor, n: int, widest: int, precision: torch.dtype, *, second: bool
) -> bool:
    """Whether differences near `points` leave a route standing that a trial chose for the same map elsewhere.

    Args:
        route: what the trial chose.
        function: as for `sound_route`, and so are the others.
    """
    with suppress(Exception):
        function = _grouped(function, n, widest, points)
        differences = Differences(function, points, precision, widest)
        found = route(function, differences.points, widest, second=second)
        return differences.judge(*found) == Verdict.SOUND and _close(found, _turned(found), differences)
    return False


def _turned(found: Derivatives) -> Derivatives:
    """J, and H with its directions exchanged."""
    return found[0], None if found[1] is None else found[1].mT


def _grouped(function: Function, n: int, widest: int, points: Tensor) -> Function:
    """Sums of many features with random signs, in groups of about the same size; a few features as they are."""
    count = max(_FEWEST_GROUPS, min(_GROUPS, _ELEMENTS_OF_TRIAL // widest))
    if n <= count:
        return function
    signs = torch.rand(n, generator=torch.Generator().manual_seed(0), device="cpu").round().to(points) * 2 - 1
    place = torch.arange(n, device=points.device) % count
    groups = signs * (place == torch.arange(count, device=points.device)[:, None])
    return lambda point: groups @ function(point)


def _consistent(route: Route, function: Function, found: Derivatives, differences: Differences, widest: int) -> bool:
    """Whether H is symmetric, and derivatives do not depend on the order of the points."""
    if not _close(found, _turned(found), differences):
        return False
    first, bends = route(function, differences.points.flip(0), widest, second=found[1] is not None)
    return _close(found, (first.flip(0), None if bends is None else bends.flip(0)), differences)


def _close(ours: Derivatives, theirs: Derivatives, differences: Differences) -> bool:
    """Whether derivatives agree to half their digits, each feature's relative to its largest at the point."""
    lengths = differences.direction.abs()[:, None]
    for mine, other, weights in zip(
        ours, theirs, (lengths, lengths.unsqueeze(-1) * lengths.unsqueeze(-2)), strict=True
    ):
        if mine is None or other is None:
            continue
        scaled = mine * weights
        largest = scaled.abs().flatten(2).amax(dim=2).reshape(mine.shape[:2] + (1,) * (mine.ndim - 2))
        near = (scaled - other * weights).abs() <= differences.eps**0.5 * largest
        if not (near | ~scaled.isfinite() & ~other.isfinite()).all():
            return False
    return True


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether features agree to half their digits."""
    allowed = torch.finfo(one.dtype).eps ** 0.5 * max(1.0, one.abs().nan_to_num(0, 0, 0).amax().item())
    return torch.allclose(one, other, 0, allowed, equal_nan=True)


def _refused(error: Exception, constraint: str) -> ValueError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0].rstrip(".")
    return ValueError(
        f"`feature_map` must {constraint}. Got {reason}. "
        "Write it with differentiable functions of torch, without branches on values and without random numbers."
    )
