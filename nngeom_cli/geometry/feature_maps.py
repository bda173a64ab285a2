"""Feature maps of fully connected networks, with derivatives that stay accurate where units saturate."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from nngeom_cli.geometry.activations import Activation, get_activation
from nngeom_cli.geometry.autocast import without_autocast
from nngeom_cli.geometry.jets import Dimensions, FeatureMap, Jet
from nngeom_cli.geometry.modules import ANY_CALLABLE, read_module
from nngeom_cli.geometry.points import Numbers, as_numbers, as_plane, check_dtype
from nngeom_cli.geometry.propagation import Layer, Slopes, passes
from nngeom_cli.geometry.rounding import SumRounding

__all__ = ["MLPFeatureMap"]


class MLPFeatureMap(FeatureMap):
    """Feature map of a layer of a fully connected network.

    Phi(x) = phi(W_L phi(... phi(W_1 x + b_1) ...) + b_L) / sqrt(n), n the width of layer L: eq. (1), whose 1/sqrt(n) is
    applied here and nowhere else. Derivatives are propagated layer by layer, with one matrix product per layer for
    values, first and second derivatives together, and with activations that stay accurate where they saturate.

    Args:
        weights: one tensor per layer, `(*replicates, out, in)`; copied.
        biases: one tensor per layer, `(*replicates, out)`; copied.
        activation: a name for `get_activation`, or an `Activation`; or a sequence of them, one per layer.
        layer: the layer whose features are taken, 1 = first hidden; by default the last one given.

    Raises:
        ValueError: shapes that do not fit together, or a `layer` that does not exist.
        TypeError: parameters of a dtype other than float32 and float64, or of several dtypes.

    Example:
        >>> identity = torch.eye(2, dtype=torch.float64)
        >>> feature_map = MLPFeatureMap([identity], [torch.zeros(2, dtype=torch.float64)], "identity")
        >>> feature_map(torch.ones(2, dtype=torch.float64))
        tensor([0.7071, 0.7071], dtype=torch.float64)
    """

    normalized = True

    def __init__(
        self,
        weights: Sequence[Numbers],
        biases: Sequence[Numbers],
        activation: str | Activation | Sequence[str | Activation],
        layer: int | None = None,
    ) -> None:
        matrices = [as_numbers("weights", weight) for weight in weights]
        offsets = [as_numbers("biases", bias, like=matrices[0] if matrices else None) for bias in biases]
        depth = len(matrices) if layer is None else layer
        _check_layers(matrices, offsets, depth)
        names = [activation] * depth if isinstance(activation, (str, Activation)) else list(activation)[:depth]
        if len(names) != depth:
            raise ValueError(
                f"`activation` must be one for all layers or one per layer. Got {len(names)} for {depth} layers."
            )
        self.activations = [get_activation(name) if isinstance(name, str) else name for name in names]
        self.replicates = tuple(matrices[0].shape[:-2])
        count = math.prod(self.replicates)
        self.weights = [w.detach().clone().reshape(count, *w.shape[-2:]) for w in matrices[:depth]]
        self.biases = [b.detach().clone().reshape(count, b.shape[-1], 1) for b in offsets[:depth]]
        self.widths = [self.weights[0].shape[2], *(w.shape[1] for w in self.weights)]
        self._slope = self.weights[0]  # of the first layer before its activation, along the directions of derivatives
        self._offset = self.biases[0].abs()  # size of the numbers that the first layer's biases were computed from

    @cached_property
    def _unit(self) -> Tensor:
        largest = self._slope.abs().amax(dim=1).clamp_min(torch.finfo(self._slope.dtype).tiny)
        return torch.exp2(-torch.floor(torch.log2(largest))).unsqueeze(-1)  # (replicates, d, 1)

    @cached_property
    def _first(self) -> Slopes:
        """Derivatives of the first layer before its activation, along the directions of all derivatives."""
        return Slopes((self._slope * self._unit.transpose(1, 2)).unsqueeze(-1))

    @property
    def _layers(self) -> list[Layer]:
        return [Layer(*layer) for layer in zip(self.weights, self.biases, self.activations, strict=True)]

    @classmethod
    @without_autocast
    def from_module(cls, module: torch.nn.Sequential, layer: int) -> MLPFeatureMap:
        """Feature map of a layer of a user's model, a stack of `Linear` layers and activations.

        The features are the output of the `layer`-th `Linear`, after the activation that follows it, if any, divided by
        sqrt(width). The parameters are copied now; call again after training. `Dropout` is off, as in evaluation.

        Args:
            module: `Linear`, `Sigmoid`, `Tanh`, `Softplus`, `GELU`, `SiLU`, `ReLU`, `Identity` and `Dropout` modules.
                It is called once, at a few points, to check that it computes what its layers say.
            layer: 1 = the first `Linear`.

        Returns:
            A feature map in the model's dtype; for curvature use float64 (`module.double()`).

        Raises:
            TypeError: `module` is not a `Sequential`, holds other modules, or computes something else than its layers
                say, because of its own forward, a hook or a subclass of `Linear`.
            ValueError: a `layer` that does not exist.

        Example:
            >>> model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
            >>> MLPFeatureMap.from_module(model, layer=1)(torch.zeros(5, 2, dtype=torch.float64)).shape
            torch.Size([5, 8])
        """
        reading = read_module(module, layer)
        feature_map = cls(reading.weights, reading.biases, reading.activations, layer)
        if reading.features is None or not _agree(feature_map, reading.points, reading.features):
            raise TypeError(
                f"`module` must compute what its layers say. Got other features after layer {layer}, as from its "
                f"own forward, a hook, or a subclass of a layer. {ANY_CALLABLE}"
            )
        return feature_map

    def as_points(self, x: Numbers) -> Tensor:
        """The points `x` as a tensor, in the network's dtype where they have none."""
        return as_numbers("x", x, like=self.weights[0])

    def dimensions(self, x: Numbers, layer: int | None = None) -> Dimensions:
        """The sizes of the map, or of its features after an earlier `layer`. Raises if `x` cannot be its input."""
        x = self.as_points(x)
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
        if x.device != self.weights[0].device:
            raise ValueError(
                f"`x` must be on the feature map's device, {self.weights[0].device}. Got {x.device}. "
                "Move one with `.to(device)`."
            )
        widths = self.widths if layer is None else self.widths[: layer + 1]
        return Dimensions(widths[0], widths[-1], min(widths), max(widths[1:]))

    @without_autocast
    def restricted_to(self, origin: Numbers, directions: Numbers) -> MLPFeatureMap:
        """The same map on a plane of input space, or on a flat subspace of any dimension.

        u -> Phi(origin + sum_k u_k directions_k): with two directions it can have curvature even where d > n.

        Args:
            origin: the point where u = 0, `(d,)`.
            directions: one vector per row, `(m, d)`.

        Returns:
            A feature map with m inputs.

        Raises:
            ValueError: `origin` or `directions` has the wrong shape.
            TypeError: they do not have the feature map's dtype.

        Example:
            >>> images = MLPFeatureMap([torch.eye(4)], [torch.zeros(4)], "tanh")
            >>> images.restricted_to(torch.zeros(4), torch.eye(4)[:2])(torch.zeros(2)).shape
            torch.Size([4])
        """
        point, vectors = as_plane(origin, directions, d=self.widths[0], like=self.weights[0])
        (weight, *weights), (bias, *biases) = self.weights, self.biases
        plane = self._with([weight @ vectors.T, *weights], [bias + (weight @ point).unsqueeze(-1), *biases])
        plane._offset = self._offset + (weight.abs() @ point.abs()).unsqueeze(-1)
        return plane

    def _with(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> MLPFeatureMap:
        """A map with the same activations and replicates."""
        return MLPFeatureMap(
            [w.reshape(self.replicates + w.shape[1:]) for w in weights],
            [b.reshape((*self.replicates, b.shape[1])) for b in biases],
            self.activations,
        )

    def block(self, replicates: slice) -> MLPFeatureMap:
        """The feature map of some of the replicates, counted along one axis.

        Example:
            >>> three = MLPFeatureMap([torch.ones(3, 4, 2)], [torch.zeros(3, 4)], "tanh")
            >>> three.block(slice(1, 3))(torch.zeros(2)).shape
            torch.Size([2, 4])
        """
        block = MLPFeatureMap(
            [w[replicates] for w in self.weights], [b[replicates, :, 0] for b in self.biases], self.activations
        )
        block._slope, block._offset = self._slope[replicates], self._offset[replicates]
        return block

    def each(self) -> list[FeatureMap]:
        """The map of each replicate, without an axis of replicates."""
        maps = [self.block(slice(index, index + 1)) for index in range(len(self.weights[0]))]
        for one in maps:
            one.replicates = ()
        return list(maps)

    def along_rows(self) -> MLPFeatureMap:
        """The same map, differentiated along the row space of the first layer's weights if that is narrower than d.

        W_1 = L Q^T, L lower triangular, Q of orthonormal columns: J Q has the singular values of J, and a column for
        each unit of the first layer instead of each input. Each row of L is accurate to a few eps of its own size. If a
        row is zero or not finite, or its square would leave the range of the dtype, the map is returned unchanged.

        Example:
            >>> sum_of_two = MLPFeatureMap([torch.ones(1, 2)], [torch.zeros(1)], "identity")
            >>> jet = sum_of_two.along_rows().jet(torch.zeros(1, 2), second=False)
            >>> round((jet.jacobian / jet.unit).abs().item(), 6)  # sqrt(2)
            1.414214
        """
        if self.widths[0] <= self.widths[1]:
            return self
        weight = self.weights[0]
        rows, least = weight.norm(dim=2), torch.finfo(weight.dtype).tiny ** 0.5
        if not ((rows > least) & (rows < 1 / least)).all():
            return self
        turned = self._with(self.weights, self.biases)
        turned._slope = torch.linalg.qr(weight.mT, mode="r").R.mT
        return turned

    @without_autocast
    def __call__(self, x: Numbers) -> Tensor:
        """Features Phi(x).

        Args:
            x: points, (*batch, d).

        Returns:
            (*replicates, *batch, n).
        """
        x = self.as_points(x)
        self.dimensions(x)
        values = x.reshape(-1, self.widths[0]).T.expand(len(self.weights[0]), -1, -1)  # (replicates, d, points)
        for weight, bias, activation in zip(self.weights, self.biases, self.activations, strict=True):
            values = activation.value(torch.baddbmm(bias, weight, values))
        features = values.transpose(1, 2) / math.sqrt(self.widths[-1])
        return features.reshape(*self.replicates, *x.shape[:-1], self.widths[-1])

    def jet(self, points: Tensor, *, second: bool) -> Jet:
        """First and, if asked for, second derivatives of the features at `points` (points, d)."""
        ((_, jet),) = self.jets(points, second=second, layers=[len(self.weights)])
        return jet

    def jets(self, points: Tensor, *, second: bool, layers: Collection[int]) -> Iterator[tuple[int, Jet]]:
        """Derivatives of the features after each of several layers, from one pass through the network.

        Args:
            points: (points, d).
            second: whether to compute H too.
            layers: which layers; 1 = first.

        Yields:
            Layer and jet, one entry per replicate, in the order of the layers; each as soon as it is known, so that
            they need not all be in memory at once.
        """
        d = self._slope.shape[2]
        for index, passed in enumerate(passes(self._layers, self._first, points, second=second)):
            if index + 1 in layers:
                jacobian, hessian = passed.stack[:, :, 1 : d + 1], passed.stack[:, :, d + 1 :]
                if index + 1 < len(self.weights):
                    norm = 1 / math.sqrt(self.widths[index + 1])
                    jacobian, hessian = norm * jacobian, norm * hessian
                rounding = SumRounding(self._layers[: index + 1], self._first, self._offset, points)
                yield index + 1, Jet(jacobian, hessian if second else None, self._unit, rounding)


def _check_layers(weights: Sequence[Tensor], biases: Sequence[Tensor], depth: int) -> None:
    if len(weights) != len(biases) or not weights:
        raise ValueError(
            "`weights` and `biases` must have one tensor per layer, at least one. "
            f"Got {len(weights)} and {len(biases)}."
        )
    if not 1 <= depth <= len(weights):
        raise ValueError(f"`layer` must be between 1 and {len(weights)}, the number of layers. Got {depth}.")
    if weights[0].ndim < 2:
        raise ValueError(f"`weights[0]` must have shape (*replicates, out, in). Got {tuple(weights[0].shape)}.")
    check_dtype("weights", weights[0].dtype)
    replicates, dtype, inputs = weights[0].shape[:-2], weights[0].dtype, weights[0].shape[-1]
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        if weight.dtype != dtype or bias.dtype != dtype:
            raise TypeError(
                "`weights` and `biases` must share one dtype. "
                f"Got {weight.dtype} and {bias.dtype} in layer {index + 1}."
            )
        if weight.shape[:-2] != replicates or weight.ndim < 2 or weight.shape[-1] != inputs or 0 in weight.shape[-2:]:
            expected = f"({', '.join(map(str, (*replicates, 'out', inputs)))})"
            raise ValueError(f"`weights[{index}]` must have shape {expected}. Got {tuple(weight.shape)}.")
        if bias.shape != weight.shape[:-1]:
            raise ValueError(f"`biases[{index}]` must have shape {tuple(weight.shape[:-1])}. Got {tuple(bias.shape)}.")
        inputs = weight.shape[-2]


def _agree(feature_map: MLPFeatureMap, points: Tensor, features: Tensor) -> bool:
    """Whether features that are not divided by sqrt(width) agree with the map's to half their digits."""
    ours = feature_map(points) * math.sqrt(feature_map.widths[-1])
    allowed = torch.finfo(ours.dtype).eps ** 0.5 * ours.abs().nan_to_num(0, 0, 0).amax().item()
    return ours.shape == features.shape and torch.allclose(ours, features.to(ours), 0, allowed, equal_nan=True)
