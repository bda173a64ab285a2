"""The interface between what is measured and who measures it: all that a probe may ask of networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from nngeom_cli.geometry.jets import FeatureMap

__all__ = ["Description", "Model"]


@dataclass(frozen=True)
class Description:
    """What files and figures say of networks, and where their numbers live.

    Attributes:
        name: the activation of fully connected networks; the class of a module.
        widths: input dimension, features of each layer, outputs.
        dtype: of points and parameters.
        device: of both.
        layers: names of the layers that have names, in the order of their numbers; empty for stacks of layers, where
            each width bounds the rank of what follows.
        initial: standard deviations that the Gaussian weights of each hidden layer were drawn with, times the root of
            the width before it from the second on, and those of its biases; empty if they were not, or it is not known.
    """

    name: str
    widths: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    layers: tuple[str, ...] = ()
    initial: tuple[tuple[float, float], ...] = ()


class Model(Protocol):
    """Networks of one architecture, measured side by side: the runner's own (`training.network.Network`), or modules.

    Probes, and what stores them, use nothing else.
    """

    @property
    def replicates(self) -> int:
        """Number of networks."""

    def outputs(self, x: Tensor) -> Tensor:
        """Outputs at points `(points, d)`, as `(replicates, outputs, points)`."""

    def feature_map(self, layer: int) -> FeatureMap:
        """Features of a layer, 1 = the first, with one leading axis of replicates."""

    def output_map(self) -> FeatureMap:
        """The outputs as a feature map, divided by the root of their number."""

    def state(self) -> Mapping[str, Tensor]:
        """All that the networks have learned, by name; each tensor has a leading axis of replicates."""

    def describe(self) -> Description:
        """What they are."""
