"""Fully connected networks with a leading replicate axis: parameters, outputs, feature maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from nngeom_cli.geometry import Activation, MLPFeatureMap, get_activation
from nngeom_cli.models.model import Description
from nngeom_cli.training.forward import LEAST_ROWS, ForwardPass
from nngeom_cli.training.padding import padded, padded_points

__all__ = ["LEAST_POINTS", "NUMBERS_AT_ONCE", "POINTS_AT_ONCE", "Network", "initial_network"]

POINTS_AT_ONCE = 1 << 14  # bounds the memory of outputs at many points ...
NUMBERS_AT_ONCE = 1 << 23  # ... of wide networks, and of many
LEAST_POINTS = 64  # of a product


class Network:
    """`replicates` networks of the same widths; hidden layers with an activation, a linear output layer.

    One affine layer is one product with `(replicates, out, in + 1)` weights, the bias as their last column.
    All weights are views of one flat vector, on which the optimizer works.

    A layer is z = W x + b in the parametrization `standard`, and z = W x / sqrt(in) + b in `ntk` (Jacot, Gabriel and
    Hongler, 2018), where W / sqrt(in) is the effective weight. With an output scale alpha the network computes
    alpha (h - h_0), h the output of the layers and h_0 that of their initial values, and its gradient is that of
    loss / alpha^2: lazy training where alpha is large (Chizat, Oyallon and Bach, 2019, section 2).

    Args:
        widths: input dimension, hidden widths, outputs.
        activation: of every hidden layer.
        replicates: number of networks.
        parametrization: standard or ntk.
        output_scale: alpha; None computes h.

    Attributes:
        parameters: all numbers of all replicates, `(count,)`, padded with zeros so that each layer of each replicate
            begins at a vector register.
        weights: a view per layer, `(replicates, out, in + 1)`.
        factors: what turns parameters into effective weights, `(count,)`; None where they are the same.
        initial: the parameters of h_0, `(count,)`; None without an output scale.
    """

    def __init__(
        self,
        widths: Sequence[int],
        activation: str | Activation,
        replicates: int,
        *,
        parametrization: str = "standard",
        output_scale: float | None = None,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> None:
        self.widths = tuple(widths)
        self.activation = get_activation(activation) if isinstance(activation, str) else activation
        self.replicates = replicates
        self._spaces = [  # of a replicate, in each layer
            padded(max(out, LEAST_ROWS) * columns, dtype, registers=1) for _, out, columns in self.shapes
        ]
        self.parameters = torch.zeros(replicates * sum(self._spaces), dtype=dtype, device=device)
        self.weights = self.views(self.parameters)
        self.parametrization = parametrization
        self.factors = None
        if parametrization == "ntk":
            self.factors = torch.ones_like(self.parameters)
            for factors in self.views(self.factors):
                factors[:, :, :-1] = 1 / math.sqrt(factors.shape[2] - 1)
        self.output_scale = output_scale
        self.initial = None if output_scale is None else torch.zeros_like(self.parameters)

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        """Shape of each layer's weights."""
        return [(self.replicates, out, into + 1) for into, out in pairwise(self.widths)]

    def views(self, flat: Tensor, least_rows: int = 1) -> list[Tensor]:
        """A flat vector of the parameters' length, seen as one `(replicates, out, in + 1)` tensor per layer.

        With `least_rows=LEAST_ROWS`, a layer of one unit has a second row, of zeros.
        """
        layers = flat.split([self.replicates * space for space in self._spaces])
        rows = [max(out, least_rows) for _, out, _ in self.shapes]
        return [
            layer.view(self.replicates, -1)[:, : out * columns].view(-1, out, columns)
            for layer, out, (_, _, columns) in zip(layers, rows, self.shapes, strict=True)
        ]

    def block(self, replicates: slice) -> Network:
        """A network of some of the replicates."""
        count = len(range(*replicates.indices(self.replicates)))
        block = Network(
            self.widths,
            self.activation,
            count,
            parametrization=self.parametrization,
            output_scale=self.output_scale,
            dtype=self.parameters.dtype,
            device=self.parameters.device,
        )
        for mine, other in zip(block.weights, self.weights, strict=True):
            mine.copy_(other[replicates])
        if block.initial is not None and self.initial is not None:
            for mine, other in zip(block.views(block.initial), self.views(self.initial), strict=True):
                mine.copy_(other[replicates])
        return block

    def load(self, weights: Sequence[np.ndarray]) -> None:
        """Copies in the weights of each layer."""
        for mine, other in zip(self.weights, weights, strict=True):
            mine.copy_(torch.from_numpy(other))

    def outputs(self, x: Tensor) -> Tensor:
        """Outputs at points `(points, d)`, as `(replicates, outputs, points)`."""
        units = 2 * sum(self.widths[1:])  # before and after the activation
        points = max(LEAST_POINTS, min(POINTS_AT_ONCE, NUMBERS_AT_ONCE // units))
        replicates = max(1, NUMBERS_AT_ONCE // (units * min(points, len(x))))
        if replicates < self.replicates:
            starts = range(0, self.replicates, replicates)
            return torch.cat([self.block(slice(start, start + replicates)).outputs(x) for start in starts])
        return torch.cat([self._outputs(some) for some in x.split(points)], dim=2)

    def _outputs(self, x: Tensor) -> Tensor:
        padding = padded_points(len(x), self.widths[1:-1], self.parameters.dtype) - len(x)
        rows = pad(pad(x, (0, 1), value=1.0), (0, 0, 0, padding)).to(self.parameters).mT.contiguous()
        inputs = rows.expand(self.replicates, -1, -1)
        outputs = self.forward_pass(self.effective(), inputs)()
        if self.output_scale is not None:
            outputs.sub_(self.initial_pass(inputs)()).mul_(self.output_scale)
        return outputs[:, :, : len(x)]

    def forward_pass(self, effective: Tensor, inputs: Tensor) -> ForwardPass:
        """The forward pass with effective weights, `(count,)`, at points as `ForwardPass` takes them."""
        return ForwardPass(self.views(effective, LEAST_ROWS), self.widths[1:], self.activation, inputs)

    def initial_pass(self, inputs: Tensor) -> ForwardPass:
        """The forward pass of the initial layers, which gives h_0, at points as `ForwardPass` takes them."""
        assert self.initial is not None
        return self.forward_pass(self.effective(self.initial), inputs)

    def effective(self, parameters: Tensor | None = None) -> Tensor:
        """Effective weights, `(count,)`, of these parameters; by default of the current ones."""
        parameters = self.parameters if parameters is None else parameters
        return parameters if self.factors is None else parameters * self.factors

    def feature_map(self, layer: int) -> MLPFeatureMap:
        """Features of a layer, divided by the root of its width.

        Those of hidden layer `layer` (the first is 1) after its activation; the layer past the last hidden one is the
        output, which is linear.
        """
        weights = self.views(self.effective())[:layer]
        activations: list[str | Activation] = [self.activation] * (len(self.weights) - 1) + ["identity"]
        return MLPFeatureMap([w[:, :, :-1] for w in weights], [w[:, :, -1] for w in weights], activations[:layer])

    def output_map(self) -> MLPFeatureMap:
        """The linear outputs, without an output scale, as a feature map."""
        return self.feature_map(len(self.weights))

    def state(self) -> dict[str, Tensor]:
        """The weights of each layer, by the names that they have in a checkpoint file."""
        return {f"weights.{layer}": weights for layer, weights in enumerate(self.weights)}

    def describe(self) -> Description:
        """Activation, widths, dtype and device."""
        about = self.parameters.dtype, self.parameters.device
        return Description(self.activation.name, self.widths, *about, initial=self._initial_stds())

    def _initial_stds(self) -> tuple[tuple[float, float], ...]:
        """As `initial_network` draws Gaussian hidden layers; nothing of uniform ones."""
        if self.parametrization != "ntk":
            return ()
        return ((1 / math.sqrt(self.widths[0]), 1.0), *((1.0, 1.0) for _ in self.widths[2:-1]))


def initial_network(
    widths: Sequence[int],
    activation: str | Activation,
    generators: Sequence[torch.Generator],
    *,
    parametrization: str = "standard",
    output_scale: float | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Network:
    """Networks with random parameters, one generator per replicate.

    standard: as `torch.nn.Linear` draws them, weights and biases uniform in +-1/sqrt(in). ntk: all standard normal, so
    that the first layer's effective weights have variance 1/d and its biases 1.
    The numbers are drawn on the CPU, so that a seed means the same network on every device.

    Example:
        >>> network = initial_network([2, 8, 1], "sigmoid", [torch.Generator().manual_seed(s) for s in (0, 1)])
        >>> network.outputs(torch.zeros(5, 2, dtype=torch.float64)).shape
        torch.Size([2, 1, 5])
    """
    network = Network(
        widths,
        activation,
        len(generators),
        parametrization=parametrization,
        output_scale=output_scale,
        dtype=dtype,
        device=device,
    )
    for replicate, generator in enumerate(generators):
        for weights in network.weights:
            _, out, columns = weights.shape
            if parametrization == "ntk":
                weights[replicate] = torch.empty(out, columns, dtype=dtype).normal_(generator=generator)
                continue
            bound = 1 / math.sqrt(columns - 1)
            weight = torch.empty(out, columns - 1, dtype=dtype).uniform_(-bound, bound, generator=generator)
            bias = torch.empty(out, 1, dtype=dtype).uniform_(-bound, bound, generator=generator)
            weights[replicate] = torch.cat([weight, bias], dim=1)
    if network.initial is not None:
        network.initial.copy_(network.parameters)
    return network
