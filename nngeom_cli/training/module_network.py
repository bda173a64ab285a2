"""Networks that are modules of torch, convolutional or residual ones, with a leading replicate axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from nngeom_cli.config.convolutional import ArchitectureConfig, ConvolutionalConfig
from nngeom_cli.geometry import ModuleFeatureMap
from nngeom_cli.models.model import Description
from nngeom_cli.training.layered import layer_names, layered
from nngeom_cli.training.network import LEAST_POINTS, NUMBERS_AT_ONCE, POINTS_AT_ONCE
from nngeom_cli.training.padding import padded

__all__ = ["ModuleNetwork"]


class ModuleNetwork:
    """`replicates` networks of one architecture, each a module whose parameters are views of one flat vector.

    The optimizer works on that vector; autograd computes the gradient of one replicate after another. On a CPU that is
    as fast as `torch.func.vmap` for convolutions, and a replicate's bits cannot depend on those beside it
    (docs/performance.md).

    Args:
        architecture: the config.
        shape: of one input, (d,) or an image's; points are `(points, d)` all the same.
        outputs: number of outputs.
        replicates: number of networks.

    Attributes:
        modules: one for each replicate.
        widths: input dimension, features of each hidden layer, outputs.
        shapes: of the parameters of each layer in the order of the module's, with the axis of replicates.
        parameters: all numbers of all replicates, `(count,)`, padded with zeros so that each parameter of each
            replicate begins at a vector register.
        weights: a view per parameter, `(replicates, *shape)`.
    """

    def __init__(
        self,
        architecture: ArchitectureConfig,
        shape: Sequence[int],
        outputs: int,
        replicates: int,
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> None:
        self.architecture, self.replicates = architecture, replicates
        self._shape, self._outputs = tuple(shape), outputs
        sizes = architecture.layers(shape, outputs)
        self.widths = (math.prod(shape), *(size.features for size in sizes))
        self._numbers = 2 * sum(self.widths[1:]) + max(size.patches for size in sizes)  # at one point
        self.modules = [layered(architecture, self._shape, outputs, dtype) for _ in range(replicates)]
        self.shapes = [(replicates, *each.shape) for each in layered(architecture, self._shape, outputs).parameters()]
        self._spaces = [padded(math.prod(each[1:]), dtype, registers=1) for each in self.shapes]
        self.parameters = torch.zeros(replicates * sum(self._spaces), dtype=dtype, device=device)
        self.weights = self.views(self.parameters)
        self._maps: dict[int, ModuleFeatureMap] = {}
        self._mapped: Tensor | None = None  # the parameters that they have
        for replicate, module in enumerate(self.modules):
            for (path, _), values in zip(list(module.named_parameters()), self.weights, strict=True):
                owner, _, name = path.rpartition(".")
                setattr(module.get_submodule(owner), name, nn.Parameter(values[replicate]))

    def views(self, flat: Tensor) -> list[Tensor]:
        """A flat vector of the parameters' length, seen as one `(replicates, *shape)` tensor per parameter."""
        parts = flat.split([self.replicates * space for space in self._spaces])
        return [
            part.view(self.replicates, -1)[:, : math.prod(shape[1:])].view(shape)
            for part, shape in zip(parts, self.shapes, strict=True)
        ]

    def draw(self, generators: Sequence[torch.Generator]) -> None:
        """Draws initial parameters, a generator for each replicate, as torch's layers have them.

        Weights and biases are uniform in +-1/sqrt(in), gains of `layer_norm` are 1 and its biases 0. The numbers are
        drawn on the CPU, so that a seed means the same network on every device.
        """
        for module, generator in zip(self.modules, generators, strict=True):
            for part in module.modules():
                if isinstance(part, (nn.Linear, nn.Conv2d)):
                    bound = 1 / math.sqrt(part.weight[0].numel())
                    for values in part.parameters():
                        drawn = torch.empty(values.shape, dtype=values.dtype)
                        values.data.copy_(drawn.uniform_(-bound, bound, generator=generator))
                elif isinstance(part, nn.LayerNorm):
                    part.weight.data.fill_(1.0)
                    part.bias.data.fill_(0.0)

    def block(self, replicates: slice) -> ModuleNetwork:
        """A network of some of the replicates."""
        count = len(range(*replicates.indices(self.replicates)))
        about = self.describe()
        block = ModuleNetwork(
            self.architecture, self._shape, self._outputs, count, dtype=about.dtype, device=about.device
        )
        for mine, other in zip(block.weights, self.weights, strict=True):
            mine.copy_(other[replicates])
        return block

    def load(self, weights: Sequence[np.ndarray]) -> None:
        """Copies in the parameters, each with its axis of replicates."""
        for mine, other in zip(self.weights, weights, strict=True):
            mine.copy_(torch.from_numpy(other))

    @torch.no_grad()
    def outputs(self, x: Tensor) -> Tensor:
        """Outputs at points `(points, d)`, as `(replicates, outputs, points)`."""
        at_once = max(LEAST_POINTS, min(POINTS_AT_ONCE, NUMBERS_AT_ONCE // self._numbers))
        parts = x.to(self.parameters).split(at_once)
        return torch.stack([torch.cat([module(some) for some in parts]).mT.contiguous() for module in self.modules])

    def feature_map(self, layer: int) -> ModuleFeatureMap:
        """Features of a layer, divided by the root of their number: a hidden one, or the one past the last, the output.

        Those of a hidden layer are what it hands on, after activation, pooling and skip. It is a copy as of now; while
        no parameter changes it is the same one, so that its derivatives are tried once.
        """
        if self._mapped is None or not torch.equal(self._mapped, self.parameters):
            self._maps, self._mapped = {}, self.parameters.clone()
        if layer not in self._maps:
            self._maps[layer] = ModuleFeatureMap(self.modules, layer_names(self.architecture)[layer - 1], dtype=None)
        return self._maps[layer]

    def output_map(self) -> ModuleFeatureMap:
        """The linear outputs as a feature map."""
        return self.feature_map(len(self.widths) - 1)

    def state(self) -> dict[str, Tensor]:
        """The parameters by the names that they have in a checkpoint file, `(replicates, *shape)`."""
        return {f"weights.{place}": values for place, values in enumerate(self.weights)}

    def describe(self) -> Description:
        """Kind and activation, sizes of layers and their names, dtype and device."""
        named = isinstance(self.architecture, ConvolutionalConfig)
        names = self.architecture.layer_names if named else ()
        values = self.parameters
        return Description(self.architecture.words, self.widths, values.dtype, values.device, names)
