"""Feature maps given as torch callables, differentiated automatically."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nngeom_cli.geometry.autocast import without_autocast
from nngeom_cli.geometry.jets import Dimensions, FeatureMap, Jet, packed_pairs
from nngeom_cli.geometry.perturbing import DrawnRounding, Perturbing
from nngeom_cli.geometry.points import Numbers, as_plane
from nngeom_cli.geometry.rewriting import Rewriting
from nngeom_cli.geometry.routes import (
    FORWARD_OVER_REVERSE,
    Function,
    Route,
    batched,
    confirmed,
    load_differentiation,
    sound_route,
)

__all__ = ["TorchFeatureMap", "as_feature_map", "depth_of_the_caller"]

_Kind = tuple[int, torch.dtype, bool]  # of derivatives: inputs, dtype, whether second ones
_LIBRARY = __name__.rpartition(".")[0]
_LOSES = (
    "The feature map uses {}, whose automatic derivatives lose digits where it saturates, or everywhere, and no other "
    "form of it is known here. Write it with functions that have one (docs/conventions.md, derivatives of callables)."
)
_COARSENS = (
    "The feature map computes in {} internally, so its geometry has no more digits than that; `ricci_scalar_error` "
    "says how many. Compute in the dtype of the points, {}, for example after `module.double()`."
)


class TorchFeatureMap(FeatureMap):
    """Feature map given as a torch callable, differentiated automatically.

    J and H come from `torch.func`, under `torch.func.vmap`: forward over reverse mode; another order of the two where
    this one lacks a rule, or where differences of the values contradict it at a few points near the first ones asked
    for; forward mode alone where it gives the same at less cost. Torch's own derivatives lose digits where activations
    saturate (y (1 - y) of a sigmoid has none left at z = 38), so functions of torch that saturate are replaced, while
    the callable runs, by composites that keep them; a warning names those for which there is none.

    Args:
        function: a callable from a point `(d,)` to its features `(n,)`, twice differentiable; no 1/sqrt(n) is added.
            It gets a copy of the point, which it may change.

    Raises:
        TypeError: `function` cannot be called.

    Example:
        >>> paraboloid = TorchFeatureMap(lambda p: torch.stack([p[0], p[1], p @ p]))
        >>> paraboloid(torch.ones(2))
        tensor([1., 1., 2.])
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        if not callable(function):
            raise TypeError(
                f"`feature_map` must be a feature map or a callable of one point. Got {type(function).__name__}."
            )
        self.function = function
        self._dtype: torch.dtype | None = None  # of the points; None where it may be any
        self._precision: torch.dtype | None = None  # the coarsest that it computes in
        self._routes: dict[_Kind, Route] = {}
        self._routes_elsewhere: dict[_Kind, Route] = {}  # found last on this map or a plane of it
        self.widest = 1  # numbers at once between input and features, if known
        self._warned: set[str] = set()
        self._rewrites = True  # functions that lose digits
        load_differentiation()

    @without_autocast
    def dimensions(self, x: Numbers) -> Dimensions:
        """The map's sizes, from its value at the first finite point. Raises if `x` cannot be its input."""
        x = self.as_points(x)
        if x.ndim == 0 or x.shape[-1] == 0:
            raise ValueError(f"`x` must have shape (*batch, d), d >= 1. Got {tuple(x.shape)}.")
        if self._dtype not in (None, x.dtype):
            raise TypeError(f"`x` must have the dtype of the plane, {self._dtype}. Got {x.dtype}.")
        points = x.reshape(-1, x.shape[-1])
        finite = points[points.isfinite().all(dim=1)]
        with torch.no_grad():
            calls, features = self._first_call(finite[0] if len(finite) else x.new_zeros(x.shape[-1]))
        if not isinstance(features, Tensor) or features.ndim != 1 or len(features) == 0:
            shape = f"features of shape {tuple(features.shape)}" if isinstance(features, Tensor) else type(features)
            raise ValueError(f"`feature_map` must take one point (d,) to features (n,). Got {shape}.")
        if features.dtype != x.dtype:
            raise TypeError(
                f"`feature_map` must return features in the dtype of its points, {x.dtype}. Got {features.dtype}. "
                "Convert a module with `.to(dtype)`, or the points."
            )
        self._precision = calls.coarsest
        if calls.lossy:
            self._warn(_LOSES.format(", ".join(sorted(calls.lossy))))
        if calls.coarsest is not None:
            self._warn(_COARSENS.format(calls.coarsest, x.dtype))
        d, n = x.shape[-1], len(features)
        return Dimensions(d, n, min(d, n), max(n, self.widest))

    def restricted_to(self, origin: Numbers, directions: Numbers) -> TorchFeatureMap:
        """The same map on a plane of input space, or on a flat subspace of any dimension.

        u -> Phi(origin + sum_k u_k directions_k): with two directions it can have curvature even where d > n.

        Args:
            origin: the point where u = 0, `(d,)`.
            directions: one vector per row, `(m, d)`.

        Returns:
            A feature map with m inputs.

        Raises:
            ValueError: `origin` or `directions` has the wrong shape.
            TypeError: they have different dtypes.

        Example:
            >>> paraboloid = TorchFeatureMap(lambda p: torch.stack([p[0], p[1], p @ p]))
            >>> paraboloid.restricted_to(torch.zeros(2), torch.ones(1, 2))(torch.ones(1))
            tensor([1., 1., 2.])
        """
        point, vectors = as_plane(origin, directions)
        plane = TorchFeatureMap(lambda u: self.function(point + u @ vectors))
        plane._dtype = point.dtype
        plane.share_trial(self)
        return plane

    def share_trial(self, other: TorchFeatureMap) -> None:
        """Lets this map and another one, of the same function on another plane, use the route that either found.

        Restricting a function is linear, so a route that is right for it is right on every plane. Since a wrong rule
        may show at some points only, differences near the first points of each plane can still reject it there.
        """
        self._routes_elsewhere = other._routes_elsewhere

    @without_autocast
    def __call__(self, x: Numbers) -> Tensor:
        """Features of the points `x` (*batch, d): (*batch, n)."""
        x = self.as_points(x)
        _, n, _, widest = self.dimensions(x)
        points = x.reshape(-1, x.shape[-1])
        features = batched(self._at, points, widest) if len(points) else x.new_empty(0, n)
        return features.reshape(*x.shape[:-1], n)

    def differentiable(self, points: Tensor) -> Function:
        """The map of one point, once its first derivatives near `points` (points, d) have been found to be right."""
        self._route(points, second=False)
        return self._at

    def jet(self, points: Tensor, *, second: bool) -> Jet:
        """First and, if asked for, second derivatives at `points` (points, d)."""
        count, d = points.shape
        some = points if count else points.new_zeros(1, d)  # vmap takes no empty batch
        widest = self.dimensions(some).widest
        route = self._route(some, second=second)

        def packed(draw: int | None) -> tuple[Tensor, Tensor | None]:
            jacobian, hessian = route(partial(self._at, draw=draw), some, widest, second=second)
            if hessian is not None:
                hessian = hessian.flatten(2)[:count, :, rows * d + columns].permute(1, 2, 0).unsqueeze(0).contiguous()
            return jacobian[:count].permute(1, 2, 0).unsqueeze(0).contiguous(), hessian

        rows, columns = packed_pairs(d, points.device)
        jacobian, hessian = packed(None)
        rounding = None if hessian is None else DrawnRounding(jacobian, hessian, packed)
        return Jet(jacobian, hessian, points.new_ones(1, d, 1), rounding)

    def _at(self, point: Tensor, draw: int | None = None) -> Tensor:
        """The features; with a number, those where all operations are perturbed by the draw of this number."""
        mode = Rewriting(point.dtype, rewrites=self._rewrites)
        if draw is not None:
            mode = Perturbing(point.dtype, rewrites=self._rewrites, draw=draw)
        with mode:
            return self.function(point.clone())

    def _first_call(self, point: Tensor) -> tuple[Rewriting, Tensor]:
        """The features, and what was recorded; functions are replaced only if that leaves the features as they are."""
        if self._rewrites:
            calls, plain = Rewriting(point.dtype), self.function(point.clone())
            with suppress(Exception), calls:
                features = self.function(point.clone())
                if _equal(plain, features):
                    return calls, features
            self._rewrites = False
        with Rewriting(point.dtype, rewrites=False) as calls:
            return calls, self.function(point.clone())

    def _route(self, points: Tensor, *, second: bool) -> Route:
        """How to differentiate, decided at the first points."""
        kind = (points.shape[1], points.dtype, second)
        if kind not in self._routes:
            if not points.isfinite().all(dim=1).any():
                return FORWARD_OVER_REVERSE
            _, n, _, widest = self.dimensions(points)
            about = (self._at, points, n, widest, self._precision or points.dtype)
            known = self._routes_elsewhere.get(kind)
            if known is None or not confirmed(known, *about, second=second):
                known = sound_route(*about, second=second)
            self._routes[kind] = self._routes_elsewhere[kind] = known
        return self._routes[kind]

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            warnings.warn(message, stacklevel=depth_of_the_caller())


def as_feature_map(feature_map: Callable[..., Tensor]) -> FeatureMap:
    """The feature map itself, or a bare callable as a `TorchFeatureMap`."""
    if isinstance(feature_map, FeatureMap):
        return feature_map
    return TorchFeatureMap(feature_map)


def _equal(one: Any, other: Any) -> bool:
    """Whether two tensors are equal to half their digits; anything else is for others to judge."""
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return type(one) is type(other)
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not one.is_floating_point() or not one.numel():
        return True
    allowed = torch.finfo(one.dtype).eps ** 0.5 * max(1.0, one.abs().nan_to_num(0, 0, 0).amax().item())
    return torch.allclose(one, other, 0, allowed, equal_nan=True)


def depth_of_the_caller() -> int:
    """Number of frames up to the caller's line outside the library, so that each such line is warned once."""
    frame, depth = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_LIBRARY):
        frame, depth = frame.f_back, depth + 1
    return depth
