"""Feature maps of several networks as one, with a leading axis of replicates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nngeom_cli.geometry.jets import Dimensions, FeatureMap, Jet
from nngeom_cli.geometry.points import Numbers

__all__ = ["StackedFeatureMap"]


class StackedFeatureMap(FeatureMap):
    """The feature maps of networks of one architecture.

    Args:
        maps: of each network, without replicates of its own.

    Example:
        >>> from nngeom_cli.geometry import TorchFeatureMap, log_volume_element
        >>> double, triple = (TorchFeatureMap(lambda p, by=by: by * p) for by in (2, 3))
        >>> log_volume_element(StackedFeatureMap([double, triple]), torch.zeros(2)).exp().round(decimals=5)
        tensor([4., 9.])
    """

    def __init__(self, maps: Sequence[FeatureMap]) -> None:
        self.maps = list(maps)
        self.replicates = (len(self.maps),)

    def __call__(self, x: Numbers) -> Tensor:
        return torch.stack([each(x) for each in self.maps])

    def as_points(self, x: Numbers) -> Tensor:
        return self.maps[0].as_points(x)

    def dimensions(self, x: Numbers) -> Dimensions:
        sizes = [each.dimensions(x) for each in self.maps]  # of all, since each checks `x`
        return sizes[0]

    def jet(self, points: Tensor, *, second: bool) -> Jet:
        jets = [each.jet(points, second=second) for each in self.maps]
        bends = [jet.hessian for jet in jets if jet.hessian is not None]
        return Jet(
            torch.cat([jet.jacobian for jet in jets]),
            torch.cat(bends) if bends else None,
            torch.cat([jet.unit for jet in jets]),
        )

    def restricted_to(self, origin: Numbers, directions: Numbers) -> StackedFeatureMap:
        return StackedFeatureMap([each.restricted_to(origin, directions) for each in self.maps])
