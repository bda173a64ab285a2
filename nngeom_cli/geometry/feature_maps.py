"""Feature maps of fully connected networks, with derivatives that keep their digits."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from nngeom_cli.geometry.activations import Activation, get_activation
from nngeom_cli.geometry.jets import Dimensions, FeatureMap, Jet, check_dtype, check_plane

__all__ = ["MLPFeatureMap"]

_ACTIVATION_OF_MODULE: dict[type[torch.nn.Module], str] = {
    torch.nn.Sigmoid: "sigmoid",
    torch.nn.Tanh: "tanh",
    torch.nn.Softplus: "softplus",
    torch.nn.GELU: "gelu",
    torch.nn.SiLU: "silu",
    torch.nn.ReLU: "relu",
}
_ANY_CALLABLE = "For any other model pass a callable of one point."


class MLPFeatureMap(FeatureMap):
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
        self._slope = self.weights[0]  # of the first layer before its activation, along the directions of derivatives

    @cached_property
    def _unit(self) -> Tensor:
        largest = self._slope.abs().amax(dim=1).clamp_min(torch.finfo(self._slope.dtype).tiny)
        return torch.exp2(-torch.floor(torch.log2(largest))).unsqueeze(-1)  # (replicates, d, 1)

    @cached_property
    def _first_jacobian(self) -> Tensor:
        """The first layer's, (replicates, width, d, 1): before its activation it is the same at each point."""
        return (self._slope * self._unit.transpose(1, 2)).unsqueeze(-1)

    @cached_property
    def _first_squares(self) -> Tensor:
        return _squares(self._first_jacobian)

    @classmethod
    def from_module(cls, module: torch.nn.Sequential, layer: int) -> MLPFeatureMap:
        """Feature map of a layer of a user's own model, a stack of `Linear` layers and activations.

        The features are the activation after the `layer`-th `Linear`, or its output where none follows, / sqrt(width).
        The parameters are read now; call again after training. `Dropout` is left out, as in evaluation.

        Args:
            module: `Linear`, `Sigmoid`, `Tanh`, `Softplus`, `GELU`, `SiLU`, `ReLU`, `Identity` and `Dropout` modules.
            layer: 1 = the first `Linear`.

        Returns:
            A feature map of the model's dtype; float64 (`module.double()`) keeps the digits that curvature needs.

        Raises:
            TypeError: `module` is no `Sequential`, or holds something else.
            ValueError: a `layer` that is not there.

        Example:
            >>> model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
            >>> MLPFeatureMap.from_module(model, layer=1)(torch.zeros(5, 2, dtype=torch.float64)).shape
            torch.Size([5, 8])
        """
        if not isinstance(module, torch.nn.Sequential):
            raise TypeError(f"`module` must be a torch.nn.Sequential. Got {type(module).__name__}. {_ANY_CALLABLE}")
        weights: list[Tensor] = []
        biases: list[Tensor] = []
        activations: list[str] = []
        for index, part in enumerate(module):
            if isinstance(part, torch.nn.Linear):
                weights.append(part.weight)
                biases.append(part.weight.new_zeros(part.out_features) if part.bias is None else part.bias)
                activations.append("identity")
            elif (name := _activation_of(part)) is not None and activations and activations[-1] == "identity":
                activations[-1] = name
            elif not isinstance(part, (torch.nn.Identity, torch.nn.Dropout)):
                raise TypeError(
                    "`module` must hold Linear layers, each with at most one of the activations that the documentation "
                    f"lists. Got {part} at {index}. {_ANY_CALLABLE}"
                )
        return cls(weights, biases, activations, layer)

    def dimensions(self, x: Tensor, layer: int | None = None) -> Dimensions:
        """The sizes of the map, or of its features after an earlier `layer`. Raises where `x` cannot be its input."""
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
        widths = self.widths if layer is None else self.widths[: layer + 1]
        return Dimensions(widths[0], widths[-1], min(widths), max(widths[1:]))

    def restricted_to(self, origin: Tensor, directions: Tensor) -> MLPFeatureMap:
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
            >>> images = MLPFeatureMap([torch.eye(4)], [torch.zeros(4)], "tanh")
            >>> images.restricted_to(torch.zeros(4), torch.eye(4)[:2])(torch.zeros(2)).shape
            torch.Size([4])
        """
        check_plane(origin, directions, self.widths[0])
        (weight, *weights), (bias, *biases) = self.weights, self.biases
        return self._with([weight @ directions.T, *weights], [bias + (weight @ origin).unsqueeze(-1), *biases])

    def _with(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> MLPFeatureMap:
        """A map of the same activations and replicates."""
        return MLPFeatureMap(
            [w.reshape(self.replicates + w.shape[1:]) for w in weights],
            [b.reshape((*self.replicates, b.shape[1])) for b in biases],
            self.activations,
        )

    def along_rows(self) -> MLPFeatureMap:
        """The same map, differentiated along the space that the first layer's weights span, where it has fewer units.

        W_1 = L Q^T, L lower triangular, Q of orthonormal columns: J Q has the singular values of J, and a column for
        each unit of the first layer instead of one for each input. Each row of L is right to a few eps of its own size.
        Where a row is zero or not finite, or its square would leave the range of the dtype, the map stays as it is.

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
        """First and, if asked for, second derivatives of the features at `points` (points, d)."""
        ((_, jet),) = self.jets(points, second=second, layers=[len(self.weights)])
        return jet

    def jets(self, points: Tensor, *, second: bool, layers: Collection[int]) -> Iterator[tuple[int, Jet]]:
        """Derivatives of the features after each of several layers, from one pass through the network.

        z -> (W z + b, W J, W H) through an affine layer, (phi(z), phi'(z) J, phi''(z) J J + phi'(z) H) through an
        activation.

        Args:
            points: (points, d).
            second: whether to compute H too.
            layers: which; 1 = first.

        Yields:
            Layer and jet, one entry a replicate, in the order of the layers; each as soon as it is known, so that not
            all of them need be in memory at once.
        """
        replicates, d, count = len(self.weights[0]), self._slope.shape[2], len(points)
        size = 1 + d + d * (d + 1) // 2 if second else 1 + d
        stack = points.new_empty(0)
        for index, (weight, bias, activation) in enumerate(
            zip(self.weights, self.biases, self.activations, strict=True)
        ):
            width = weight.shape[1]
            if index == 0:
                z = torch.baddbmm(bias, weight, points.T.expand(replicates, -1, -1))  # (replicates, width, points)
                jacobian, hessian = self._first_jacobian, None
            else:
                product = torch.bmm(weight, stack.flatten(2)).view(replicates, width, size, count)
                z = product[:, :, 0] + bias
                jacobian, hessian = product[:, :, 1 : d + 1], product[:, :, d + 1 :]
            stack = points.new_empty(replicates, width, size, count)  # values, first and second derivatives
            is_last = index == len(self.weights) - 1
            norm = 1 / math.sqrt(width)
            within = norm if is_last else 1.0  # the layers above take these features undivided
            slope, *bend = activation.derivatives(z) if second else (activation.first(z),)
            slope = (within * slope).unsqueeze(2)
            torch.mul(slope, jacobian, out=stack[:, :, 1 : d + 1])
            if second:
                squares = _squares(jacobian) if index else self._first_squares
                torch.mul((within * bend[0]).unsqueeze(2), squares, out=stack[:, :, d + 1 :])
                if hessian is not None:
                    stack[:, :, d + 1 :].addcmul_(slope, hessian)
            if not is_last:
                stack[:, :, 0] = activation.value(z)
            if index + 1 in layers:
                jacobian, hessian = stack[:, :, 1 : d + 1], stack[:, :, d + 1 :]
                if not is_last:
                    jacobian, hessian = norm * jacobian, norm * hessian
                yield index + 1, Jet(jacobian, hessian if second else None, self._unit)


def _squares(jacobian: Tensor) -> Tensor:
    """J_a J_b for a <= b, packed, (replicates, width, d(d+1)/2, points)."""
    return torch.cat([jacobian[:, :, a : a + 1] * jacobian[:, :, a:] for a in range(jacobian.shape[2])], dim=2)


def _check_layers(weights: Sequence[Tensor], biases: Sequence[Tensor], depth: int) -> None:
    if len(weights) != len(biases) or not weights:
        raise ValueError(
            f"`weights` and `biases` must have one tensor a layer, at least one. Got {len(weights)} and {len(biases)}."
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
            expected = (*replicates, "out", inputs)
            raise ValueError(f"`weights[{index}]` must have shape {expected}. Got {tuple(weight.shape)}.")
        if bias.shape != weight.shape[:-1]:
            raise ValueError(f"`biases[{index}]` must have shape {tuple(weight.shape[:-1])}. Got {tuple(bias.shape)}.")
        inputs = weight.shape[-2]


def _activation_of(module: torch.nn.Module) -> str | None:
    if isinstance(module, torch.nn.Softplus) and module.beta != 1:
        return None
    if isinstance(module, torch.nn.GELU) and module.approximate != "none":
        return None
    return _ACTIVATION_OF_MODULE.get(type(module))
