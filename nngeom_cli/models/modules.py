"""Modules of torch as networks that can be measured."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from nngeom_cli.geometry import ModuleFeatureMap
from nngeom_cli.models.model import Description

__all__ = ["Modules"]


class Modules:
    """Modules of one architecture, each a replicate, as a `Model`.

    They are copied at the first question about each layer, in evaluation mode: what training does to them later does
    not count, and they are left as they are.

    Args:
        modules: the networks.
        layers: names of submodules, as in `named_modules()`; layer 1 is the first of them.
        example: one input, `(*shape)`.
        dtype: in which they are measured; None keeps that of the parameters.

    Raises:
        TypeError: a module cannot be copied.
        ValueError: a layer does not exist.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 3))
        >>> model = Modules([net], ["1"], torch.zeros(2))
        >>> model.outputs(torch.zeros(5, 2)).shape, model.describe().widths
        (torch.Size([1, 3, 5]), (2, 8, 3))
    """

    def __init__(
        self,
        modules: Sequence[torch.nn.Module],
        layers: Sequence[str],
        example: Tensor,
        dtype: torch.dtype | None = torch.float64,
    ) -> None:
        self.modules = list(modules)
        self.layers = tuple(layers)
        self.dtype = dtype
        self.replicates = len(self.modules)
        self._example = example
        self._maps: dict[str, ModuleFeatureMap] = {}

    def feature_map(self, layer: int) -> ModuleFeatureMap:
        """Features of the layer of that number, divided by the root of how many they are."""
        return self._named(self.layers[layer - 1])

    def output_map(self) -> ModuleFeatureMap:
        """The output of the whole modules, divided by the root of how many numbers it has."""
        return self._named("")

    def _named(self, name: str) -> ModuleFeatureMap:
        if name not in self._maps:
            self._maps[name] = ModuleFeatureMap(self.modules, name, tuple(self._example.shape), dtype=self.dtype)
        return self._maps[name]

    def outputs(self, x: Tensor) -> Tensor:
        """Outputs at points `(points, d)`, as `(replicates, outputs, points)`."""
        return self._named((*self.layers, "")[0]).outputs(x).mT.contiguous()

    def state(self) -> dict[str, Tensor]:
        """Parameters and buffers by name, with a leading axis of replicates, in the modules' own dtype."""
        states = [module.state_dict() for module in self.modules]
        return {name: torch.stack([state[name] for state in states]) for name in states[0]}

    def describe(self) -> Description:
        """The class of the modules, the sizes of inputs, layers and outputs, dtype and device."""
        return self._description

    @functools.cached_property
    def _description(self) -> Description:
        maps = [self.feature_map(layer) for layer in range(1, len(self.layers) + 1)]
        device = next((values.device for values in self.modules[0].state_dict().values()), torch.device("cpu"))
        dtype = self._named((*self.layers, "")[0]).dtype
        point = self._example.flatten().to(device, dtype)
        features = [each.dimensions(point).features for each in maps]
        widths = (point.numel(), *features, self.outputs(point[None]).shape[1])
        return Description(type(self.modules[0]).__name__, widths, dtype, device, self.layers)
