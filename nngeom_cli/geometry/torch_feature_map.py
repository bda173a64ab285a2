"""Feature maps given as torch callables, differentiated automatically."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from nngeom_cli.geometry.jets import Dimensions, FeatureMap, Jet, check_dtype, check_plane, packed_pairs

__all__ = ["TorchFeatureMap", "as_feature_map"]

_LIBRARY = __name__.rpartition(".")[0]
_SATURATING = frozenset({"sigmoid", "tanh", "softplus", "gelu", "silu", "logsigmoid", "softmax"})
_SATURATES = (
    "The feature map uses {}, whose automatic derivatives lose their digits where it saturates. "
    "`MLPFeatureMap.from_module` keeps them for stacks of Linear layers and activations."
)


class TorchFeatureMap(FeatureMap):
    """Feature map given as a torch callable, differentiated automatically.

    J and H come from `torch.func.jacfwd`, twice, under `torch.func.vmap`. Automatic differentiation loses digits where
    activations saturate (y (1 - y) of a sigmoid has none left at z = 38); a warning says so where the callable uses
    such an activation. The geometry of a network is better taken from `MLPFeatureMap.from_module`.

    Args:
        function: one point `(d,)` to its features `(n,)`, twice differentiable, with no 1/sqrt(n) added to it.

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
        self._warned = False
        _load_forward_differentiation()

    def dimensions(self, x: Tensor) -> Dimensions:
        """The map's sizes, from its value at the first point. Raises where `x` cannot be its input."""
        if x.ndim == 0 or x.shape[-1] == 0:
            raise ValueError(f"`x` must have shape (*batch, d), d >= 1. Got {tuple(x.shape)}.")
        check_dtype("x", x.dtype)
        points = x.reshape(-1, x.shape[-1])
        with _SaturatingCalls() as calls, torch.no_grad():
            features = self.function(points[0] if len(points) else x.new_zeros(x.shape[-1]))
        if calls.names and not self._warned:
            self._warned = True
            warnings.warn(_SATURATES.format(", ".join(sorted(calls.names))), stacklevel=_depth_of_the_caller())
        if features.ndim != 1 or len(features) == 0:
            raise ValueError(
                "`feature_map` must take one point (d,) to features (n,). "
                f"Got features of shape {tuple(features.shape)}."
            )
        d, n = x.shape[-1], len(features)
        return Dimensions(d, n, min(d, n), n)

    def restricted_to(self, origin: Tensor, directions: Tensor) -> TorchFeatureMap:
        """The same map on a plane of input space, or on a flat subspace of any dimension.

        u -> Phi(origin + sum_k u_k directions_k): with two directions it has curvature even where d > n.

        Args:
            origin: the point where u = 0, `(d,)`.
            directions: one vector a row, `(m, d)`.

        Returns:
            A feature map of m inputs.

        Raises:
            ValueError: `origin` or `directions` has another shape.

        Example:
            >>> paraboloid = TorchFeatureMap(lambda p: torch.stack([p[0], p[1], p @ p]))
            >>> paraboloid.restricted_to(torch.zeros(2), torch.ones(1, 2))(torch.ones(1))
            tensor([1., 1., 2.])
        """
        check_plane(origin, directions, len(origin))
        return TorchFeatureMap(lambda u: self.function(origin + u @ directions))

    def __call__(self, x: Tensor) -> Tensor:
        """Features of the points `x` (*batch, d): (*batch, n)."""
        _, n, *_ = self.dimensions(x)
        points = x.reshape(-1, x.shape[-1])
        features = torch.func.vmap(self.function)(points) if len(points) else x.new_empty(0, n)
        return features.reshape(*x.shape[:-1], n)

    def jet(self, points: Tensor, *, second: bool) -> Jet:
        """First and, if asked for, second derivatives at `points` (points, d)."""
        count, d = points.shape
        some = points if count else points.new_zeros(1, d)  # vmap takes no empty batch
        first = torch.func.jacfwd(self.function)
        hessian = None
        jacobian = torch.func.vmap(first)(some)[:count].detach()  # (points, n, d)
        if second:
            rows, columns = packed_pairs(d, points.device)
            full = torch.func.vmap(torch.func.jacfwd(first))(some)[:count].detach()  # (points, n, d, d)
            hessian = full[:, :, rows, columns].permute(1, 2, 0).unsqueeze(0).contiguous()
        return Jet(jacobian.permute(1, 2, 0).unsqueeze(0).contiguous(), hessian, points.new_ones(1, d, 1))


def as_feature_map(feature_map: Callable[[Tensor], Tensor]) -> FeatureMap:
    """The feature map itself, or a `TorchFeatureMap` of a bare callable."""
    if isinstance(feature_map, FeatureMap):
        return feature_map
    return TorchFeatureMap(feature_map)


@cache
def _load_forward_differentiation() -> None:
    """Once, because ignoring torch's own warning makes Python forget which others it has shown."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*torch.jit.script.*", DeprecationWarning)
        torch.func.jacfwd(torch.sin)(torch.zeros(()))


def _depth_of_the_caller() -> int:
    """Frames from here up to the line outside of the library that asked, so that it is warned once."""
    frame, depth = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_LIBRARY):
        frame, depth = frame.f_back, depth + 1
    return depth


class _SaturatingCalls(TorchFunctionMode):
    """Notes which saturating functions of torch are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in _SATURATING:
            self.names.add(name)
        return func(*args, **(kwargs or {}))
