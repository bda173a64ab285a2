"""Feature map of any torch module: the output of one of its submodules."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nngeom_cli.geometry.autocast import without_autocast
from nngeom_cli.geometry.jets import Dimensions, FeatureMap, Jet
from nngeom_cli.geometry.perturbing import JoinedRounding
from nngeom_cli.geometry.points import Numbers, as_numbers, as_plane, check_dtype
from nngeom_cli.geometry.routes import batched
from nngeom_cli.geometry.submodules import Submodule
from nngeom_cli.geometry.torch_feature_map import TorchFeatureMap

__all__ = ["ModuleFeatureMap"]

Plane = tuple[Tensor, Tensor]


class ModuleFeatureMap(FeatureMap):
    """Feature map of a submodule of any torch model.

    Phi(x) = the submodule's output for the batch of one input x, flattened, divided by sqrt(n), n the number of its
    entries. The model is copied now, in evaluation mode: make another feature map after training. It is differentiated
    as `TorchFeatureMap` is; for a stack of `Linear` layers and activations `MLPFeatureMap.from_module` costs less.

    Args:
        model: a module, called with `(1, *shape)`; or several, one for each replicate.
        layer: a name of `model.named_modules()`; "" is the model's own output.
        shape: of one input, such as `(3, 32, 32)`; by default inputs are vectors. Points may have this shape or be
            flattened.
        normalize: whether to divide by sqrt(n).
        dtype: in which the geometry is computed: the copy's parameters, buffers and points are converted to it. None
            keeps the dtype of the model's parameters, which must be float32 or float64.

    Raises:
        TypeError: `model` is no module, is scripted or cannot be copied.
        ValueError: there is no such `layer`. Later, when points are given: the layer is not called once, returns
            something else than a tensor, or depends on the other inputs in a batch.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 1))
        >>> feature_map = ModuleFeatureMap(model, "1")
        >>> round(feature_map(torch.zeros(2)).norm().item(), 3)  # sqrt(n) after layer_norm, over sqrt(n)
        1.0
    """

    def __init__(
        self,
        model: torch.nn.Module | Sequence[torch.nn.Module],
        layer: str,
        shape: Sequence[int] | None = None,
        *,
        normalize: bool = True,
        dtype: torch.dtype | None = torch.float64,
    ) -> None:
        models = [model] if isinstance(model, torch.nn.Module) or not isinstance(model, Sequence) else list(model)
        if not models:
            raise ValueError("`model` must be a module, or at least one in a list. Got an empty list.")
        if dtype is not None:
            check_dtype("dtype", dtype)
        self.shape = None if shape is None else tuple(shape)
        self.replicates = () if models[0] is model else (len(models),)
        self.normalized = normalize
        self.dtype = _dtype(models) if dtype is None else dtype
        self._parts = [Submodule(each, layer, self.shape, normalize=normalize, dtype=dtype) for each in models]
        self._widest: dict[int, list[int]] = {}  # of each model, for inputs of this length
        self._place(None)

    def _place(self, plane: Plane | None) -> None:
        self._plane = plane
        self._maps = [TorchFeatureMap(self._on_plane(part)) for part in self._parts]
        for each in self._maps:
            each.normalized = self.normalized

    def _on_plane(self, function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda u: function(self._inputs(u))

    def _inputs(self, u: Tensor) -> Tensor:
        """The model's inputs at points (*batch, d) of the map's domain."""
        return u if self._plane is None else self._plane[0] + u @ self._plane[1]

    def as_points(self, x: Numbers) -> Tensor:
        """The points `x` as a tensor `(*batch, d)` in the map's dtype; float32 becomes float64 where that is it."""
        return self._flat(self._numbers("x", x), None if self._plane else self.shape)

    def _numbers(self, name: str, values: Numbers) -> Tensor:
        numbers = as_numbers(name, values, like=torch.empty((), dtype=self.dtype, device=self._parts[0].device))
        return numbers.to(self.dtype) if numbers.dtype == torch.float32 else numbers

    @staticmethod
    def _flat(x: Tensor, shape: tuple[int, ...] | None) -> Tensor:
        if shape is not None and len(shape) != 1 and x.shape[x.ndim - len(shape) :] == shape:
            return x.reshape(*x.shape[: x.ndim - len(shape)], math.prod(shape))
        return x

    @without_autocast
    def dimensions(self, x: Numbers) -> Dimensions:
        """The map's sizes. Raises if `x` cannot be its input, or the layer has no features."""
        x = self.as_points(x)
        self._check_points(x)
        length = x.shape[-1] if self._plane is None else len(self._plane[0])
        if length not in self._widest:
            points = x.reshape(-1, x.shape[-1])
            points = points[points.isfinite().all(dim=1)]
            inputs = self._inputs(points if len(points) else x.new_zeros(1, x.shape[-1]))
            self._widest[length] = [part.check(inputs) for part in self._parts]
        for each, widest in zip(self._maps, self._widest[length], strict=True):
            each.widest = widest
        sizes = [each.dimensions(x) for each in self._maps]
        if len({size.features for size in sizes}) > 1:
            counts = ", ".join(str(size.features) for size in sizes)
            raise ValueError(f"`model` must be modules with the same number of features at the layer. Got {counts}.")
        return sizes[0]

    def _check_points(self, x: Tensor) -> None:
        d = len(self._plane[1]) if self._plane else None if self.shape is None else math.prod(self.shape)
        if x.ndim == 0 or x.shape[-1] == 0 or d not in (None, x.shape[-1]):
            shaped = f" or (*batch, {', '.join(map(str, self.shape))})" if self.shape and not self._plane else ""
            raise ValueError(f"`x` must have shape (*batch, {d or 'd'}){shaped}. Got {tuple(x.shape)}.")
        if x.dtype != self.dtype:
            raise TypeError(f"`x` must have the feature map's dtype, {self.dtype}. Got {x.dtype}. Convert one.")
        if x.device != self._parts[0].device:
            raise ValueError(f"`x` must be on the model's device, {self._parts[0].device}. Got {x.device}.")

    def restricted_to(self, origin: Numbers, directions: Numbers) -> ModuleFeatureMap:
        """The same map on a plane of input space, or on a flat subspace of any dimension.

        u -> Phi(origin + sum_k u_k directions_k): with two directions it can have curvature even where d > n.

        Args:
            origin: the point where u = 0, `(d,)`, or in the shape of an input.
            directions: one vector per row, `(m, d)`, or m of them in the shape of an input.

        Returns:
            A feature map with m inputs.

        Raises:
            ValueError: `origin` or `directions` has the wrong shape.
            TypeError: they have more digits than the feature map.

        Example:
            >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.GELU())
            >>> images = ModuleFeatureMap(model, "1", shape=(1, 5, 5))
            >>> images.restricted_to(torch.zeros(1, 5, 5), torch.ones(2, 1, 5, 5))(torch.zeros(2)).shape
            torch.Size([18])
        """
        d = len(self._plane[1]) if self._plane else None if self.shape is None else math.prod(self.shape)
        shape = None if self._plane else self.shape
        like = torch.empty((), dtype=self.dtype, device=self._parts[0].device)
        flat = [self._flat(self._numbers(*each), shape) for each in (("origin", origin), ("directions", directions))]
        point, vectors = as_plane(*flat, d=d, like=like)
        restricted = object.__new__(ModuleFeatureMap)
        restricted.__dict__.update(self.__dict__)
        restricted._place((self._inputs(point), vectors if self._plane is None else vectors @ self._plane[1]))
        for mine, other in zip(restricted._maps, self._maps, strict=True):
            mine.share_trial(other)
        return restricted

    def each(self) -> list[FeatureMap]:
        """The map of each replicate, without an axis of replicates."""
        return list(self._maps)

    @without_autocast
    def __call__(self, x: Numbers) -> Tensor:
        """Features of the points `x` (*batch, d): (*replicates, *batch, n)."""
        x = self.as_points(x)
        self.dimensions(x)
        features = torch.stack([each(x) for each in self._maps])
        return features.reshape(*self.replicates, *features.shape[1:])

    @without_autocast
    def outputs(self, x: Numbers, *, chunk_size: int | None = None) -> Tensor:
        """What the whole model gives at points, its output flattened.

        Args:
            x: points, `(*batch, d)` or in the shape of an input.
            chunk_size: points handled at once; bounds memory.

        Returns:
            `(*replicates, *batch, outputs)`, detached.

        Raises:
            ValueError: the model cannot take the points.
            TypeError: its output is not a tensor.

        Example:
            >>> model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
            >>> ModuleFeatureMap(model, "1").outputs(torch.zeros(5, 2)).shape
            torch.Size([5, 1])
        """
        x = self.as_points(x)
        widest = self.dimensions(x).widest
        points = x.reshape(-1, x.shape[-1])
        values = []
        with torch.no_grad():
            for part in self._parts:
                compute = self._on_plane(part.outputs)
                one = compute(points[0] if len(points) else x.new_zeros(x.shape[-1]))
                chunks = [
                    batched(compute, each, widest) for each in points.split(chunk_size or 1 + len(points)) if len(each)
                ]
                values.append(torch.cat([one.new_empty(0, len(one)), *chunks]))
        outputs = torch.stack(values)
        return outputs.reshape(*self.replicates, *x.shape[:-1], outputs.shape[-1])

    def jet(self, points: Tensor, *, second: bool) -> Jet:
        """First and, if asked for, second derivatives at `points` (points, d)."""
        jets = [each.jet(points, second=second) for each in self._maps]
        hessians = [each.hessian for each in jets if each.hessian is not None]
        roundings = [each.rounding for each in jets if each.rounding is not None]
        return Jet(
            torch.cat([each.jacobian for each in jets]),
            torch.cat(hessians) if hessians else None,
            jets[0].unit,
            JoinedRounding(roundings) if roundings else None,
        )


def _dtype(models: Sequence[torch.nn.Module]) -> torch.dtype:
    """The dtype of the models' parameters. Raises if it is not one, float32 or float64."""
    dtypes = {each.dtype for model in models for each in model.parameters() if each.is_floating_point()}
    if len(dtypes) > 1:
        raise TypeError(f"`model` must have parameters of one dtype, or `dtype` be given. Got {len(dtypes)} dtypes.")
    dtype = dtypes.pop() if dtypes else torch.get_default_dtype()
    check_dtype("model", dtype)
    return dtype
