"""Feature maps and their 2-jets (J, H): a layered network, or any torch callable."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from nngeom_cli.geometry.activations import Activation, get_activation

__all__ = ["FeatureMap", "Jet", "MLPFeatureMap", "TorchFeatureMap", "as_feature_map"]


@dataclass(frozen=True)
class Jet:
    """First and second derivatives of a feature map at points, feature-major.

    The derivatives are with respect to inputs measured in units of `unit`, a power of two for each input:
    d Phi_i / d x_a = jacobian[:, i, a] / unit[:, a], so that tiny or huge weights neither underflow nor overflow when
    squared.

    Args:
        jacobian: J, (replicates, n, d, points).
        hessian: H_ab for a <= b in the order (0,0), (0,1), ..., (1,1), ..., (replicates, n, d(d+1)/2, points); None
            where it was not asked for.
        unit: (replicates, d, 1).
    """

    jacobian: Tensor
    hessian: Tensor | None
    unit: Tensor


class Dimensions(NamedTuple):
    """Sizes of a feature map: inputs d, features n, the largest rank of its Jacobian, widest layer."""

    inputs: int
    features: int
    rank_bound: int
    widest: int


class FeatureMap(Protocol):
    """What the geometry needs of a feature map R^d -> R^n."""

    replicates: tuple[int, ...]

    def __call__(self, x: Tensor) -> Tensor:
        """Features of points."""

    def dimensions(self, x: Tensor) -> Dimensions:
        """The map's sizes at inputs `x` (*batch, d). Raises where `x` cannot be its input."""

    def jet(self, points: Tensor, *, second: bool) -> Jet:
        """The derivatives at `points` (points, d)."""


class MLPFeatureMap:
    """Feature map of a layer of a fully connected network.

    Phi(x) = phi(W_L phi(... phi(W_1 x + b_1) ...) + b_L) / sqrt(n), n the width of layer L: eq. (1), whose 1/sqrt(n) is
    here and nowhere else. Derivatives are propagated layer by layer, each layer one matrix product for values, first
    and second derivatives together, from activations that keep their digits under saturation.

    Args:
        weights: one tensor a layer, (*replicates, out, in).
        biases: one tensor a layer, (*replicates, out).
        activation: a name for `get_activation`, or an `Activation`; or a sequence of them, one a layer.
        layer: features after this layer, 1 = first hidden; the last given one by default.

    Raises:
        ValueError: shapes that do not chain, or a `layer` that is not there.
        TypeError: parameters that are not floating point, or of several dtypes.

    Example:
        >>> identity = torch.eye(2, dtype=torch.float64)
        >>> feature_map = MLPFeatureMap([identity], [torch.zeros(2, dtype=torch.float64)], "identity")
        >>> feature_map(torch.ones(2, dtype=torch.float64))
        tensor([0.7071, 0.7071], dtype=torch.float64)
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        activation: str | Activation | Sequence[str | Activation],
        layer: int | None = None,
    ) -> None:
        depth = len(weights) if layer is None else layer
        _check_layers(weights, biases, depth)
        names = [activation] * depth if isinstance(activation, (str, Activation)) else list(activation)[:depth]
        if len(names) != depth:
            raise ValueError(
                f"`activation` must be one for all layers or one a layer. Got {len(names)} for {depth} layers."
            )
        self.activations = [get_activation(name) if isinstance(name, str) else name for name in names]
        self.replicates = tuple(weights[0].shape[:-2])
        count = math.prod(self.replicates)
        self.weights = [w.detach().reshape(count, *w.shape[-2:]) for w in weights[:depth]]
        self.biases = [b.detach().reshape(count, b.shape[-1], 1) for b in biases[:depth]]
        self.widths = [self.weights[0].shape[2], *(w.shape[1] for w in self.weights)]
        largest = self.weights[0].abs().amax(dim=1).clamp_min(torch.finfo(weights[0].dtype).tiny)
        self._unit = torch.exp2(-torch.floor(torch.log2(largest))).unsqueeze(-1)  # (replicates, d, 1)

    def dimensions(self, x: Tensor) -> Dimensions:
        """The map's sizes. Raises where `x` cannot be its input."""
        if x.ndim == 0 or x.shape[-1] != self.widths[0]:
            raise ValueError(
                f"`x` must have shape (*batch, {self.widths[0]}), the feature map's input dimension last. "
                f"Got {tuple(x.shape)}."
            )
        if x.dtype != self.weights[0].dtype:
            raise TypeError(
                f"`x` must have the feature map's dtype, {self.weights[0].dtype}. Got {x.dtype}. "
                "Convert one with `.to(dtype)`."
            )
        return Dimensions(self.widths[0], self.widths[-1], min(self.widths), max(self.widths[1:]))

    def __call__(self, x: Tensor) -> Tensor:
        """Features Phi(x).

        Args:
            x: points, (*batch, d).

        Returns:
            (*replicates, *batch, n).
        """
        self.dimensions(x)
        values = x.reshape(-1, self.widths[0]).T.expand(len(self.weights[0]), -1, -1)  # (replicates, d, points)
        for weight, bias, activation in zip(self.weights, self.biases, self.activations, strict=True):
            values = activation.value(torch.baddbmm(bias, weight, values))
        features = values.transpose(1, 2) / math.sqrt(self.widths[-1])
        return features.reshape(*self.replicates, *x.shape[:-1], self.widths[-1])

    def jet(self, points: Tensor, *, second: bool) -> Jet:
        """First and, if asked for, second derivatives of the features.

        z -> (W z + b, W J, W H) through an affine layer, (phi(z), phi'(z) J, phi''(z) J J + phi'(z) H) through an
        activation.

        Args:
            points: (points, d).
            second: whether to compute H too.

        Returns:
            The jet, one entry a replicate.
        """
        replicates, d, count = len(self.weights[0]), self.widths[0], len(points)
        rows, columns = _pairs(d, points.device) if second else (torch.empty(0, dtype=torch.long),) * 2
        size = 1 + d + len(rows)
        stack = points.new_empty(0)
        for index, (weight, bias, activation) in enumerate(
            zip(self.weights, self.biases, self.activations, strict=True)
        ):
            width = weight.shape[1]
            if index == 0:
                z = torch.baddbmm(bias, weight, points.T.expand(replicates, -1, -1))  # (replicates, width, points)
                jacobian = (weight * self._unit.transpose(1, 2)).unsqueeze(
                    -1
                )  # (replicates, width, d, 1): the same at each point
                hessian = None
            else:
                product = torch.bmm(weight, stack.flatten(2)).view(replicates, width, size, count)
                z = product[:, :, 0] + bias
                jacobian, hessian = product[:, :, 1 : d + 1], product[:, :, d + 1 :]
            stack = points.new_empty(replicates, width, size, count)  # values, first and second derivatives
            is_last = index == len(self.weights) - 1
            norm = 1 / math.sqrt(width) if is_last else 1.0
            first, curved = activation.derivatives(z) if second else (activation.first(z), z)
            torch.mul((norm * first).unsqueeze(2), jacobian, out=stack[:, :, 1 : d + 1])
            if second:
                squares = jacobian[:, :, rows] * jacobian[:, :, columns]
                torch.mul((norm * curved).unsqueeze(2), squares, out=stack[:, :, d + 1 :])
                if hessian is not None:
                    stack[:, :, d + 1 :].addcmul_((norm * first).unsqueeze(2), hessian)
            if not is_last:
                stack[:, :, 0] = activation.value(z)
        return Jet(stack[:, :, 1 : d + 1], stack[:, :, d + 1 :] if second else None, self._unit)


class TorchFeatureMap:
    """Feature map given as a torch callable, differentiated automatically.

    J and H come from `torch.func.jacfwd`, twice, under `torch.func.vmap`. Automatic differentiation loses digits where
    activations saturate (y (1 - y) of a sigmoid has none left at z = 38), so the geometry of a network is better taken
    from `MLPFeatureMap`.

    Args:
        function: one point `(d,)` to its features `(n,)`, twice differentiable, with no 1/sqrt(n) added to it.

    Example:
        >>> paraboloid = TorchFeatureMap(lambda p: torch.stack([p[0], p[1], p @ p]))
        >>> paraboloid(torch.ones(2))
        tensor([1., 1., 2.])
    """

    replicates: tuple[int, ...] = ()

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        if not callable(function):
            raise TypeError(
                f"`feature_map` must be a feature map or a callable of one point. Got {type(function).__name__}."
            )
        self.function = function

    def dimensions(self, x: Tensor) -> Dimensions:
        """The map's sizes, from its value at the origin. Raises where `x` cannot be its input."""
        if x.ndim == 0:
            raise ValueError("`x` must have shape (*batch, d). Got a scalar tensor.")
        if not x.is_floating_point():
            raise TypeError(f"`x` must be floating point. Got {x.dtype}. Convert it with `.to(torch.float64)`.")
        features = self.function(x.new_zeros(x.shape[-1]))
        if features.ndim != 1:
            raise ValueError(
                "`feature_map` must take one point (d,) to features (n,). "
                f"Got features of shape {tuple(features.shape)}."
            )
        d, n = x.shape[-1], len(features)
        return Dimensions(d, n, min(d, n), n)

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
        with warnings.catch_warnings():
            # torch's own, when it first loads forward differentiation
            warnings.filterwarnings("ignore", ".*torch.jit.script.*", DeprecationWarning)
            jacobian = torch.func.vmap(first)(some)[:count].detach()  # (points, n, d)
            if second:
                rows, columns = _pairs(d, points.device)
                full = torch.func.vmap(torch.func.jacfwd(first))(some)[:count].detach()  # (points, n, d, d)
                hessian = full[:, :, rows, columns].permute(1, 2, 0).unsqueeze(0).contiguous()
        return Jet(jacobian.permute(1, 2, 0).unsqueeze(0).contiguous(), hessian, points.new_ones(1, d, 1))


def as_feature_map(feature_map: Callable[[Tensor], Tensor]) -> FeatureMap:
    """The feature map itself, or a `TorchFeatureMap` of a bare callable."""
    if isinstance(feature_map, (MLPFeatureMap, TorchFeatureMap)):
        return feature_map
    return TorchFeatureMap(feature_map)


def _pairs(d: int, device: torch.device) -> tuple[Tensor, Tensor]:
    rows, columns = torch.triu_indices(d, d, device=device)
    return rows, columns


def _check_layers(weights: Sequence[Tensor], biases: Sequence[Tensor], depth: int) -> None:
    if len(weights) != len(biases) or not weights:
        raise ValueError(
            f"`weights` and `biases` must have one tensor a layer, at least one. Got {len(weights)} and {len(biases)}."
        )
    if not 1 <= depth <= len(weights):
        raise ValueError(f"`layer` must be between 1 and {len(weights)}, the number of layers. Got {depth}.")
    if weights[0].ndim < 2:
        raise ValueError(f"`weights[0]` must have shape (*replicates, out, in). Got {tuple(weights[0].shape)}.")
    replicates, dtype, inputs = weights[0].shape[:-2], weights[0].dtype, weights[0].shape[-1]
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        if weight.dtype != dtype or bias.dtype != dtype or not dtype.is_floating_point:
            raise TypeError(
                "`weights` and `biases` must share one floating dtype. "
                f"Got {weight.dtype} and {bias.dtype} in layer {index + 1}."
            )
        if weight.shape[:-2] != replicates or weight.ndim < 2 or weight.shape[-1] != inputs or 0 in weight.shape[-2:]:
            expected = (*replicates, "out", inputs)
            raise ValueError(f"`weights[{index}]` must have shape {expected}. Got {tuple(weight.shape)}.")
        if bias.shape != weight.shape[:-1]:
            raise ValueError(f"`biases[{index}]` must have shape {tuple(weight.shape[:-1])}. Got {tuple(bias.shape)}.")
        inputs = weight.shape[-2]
