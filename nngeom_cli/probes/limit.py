"""The limit of infinite width of untrained layers, at the points where networks are measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nngeom_cli.geometry import InfiniteWidth, get_activation
from nngeom_cli.models.model import Description
from nngeom_cli.probes.labelled import array

__all__ = ["LIMITS", "limit_on_plane"]

LIMITS = {
    "limit_log_volume_element": {"long_name": "log volume element at infinite width, untrained", "units": "nats"},
    "limit_ricci_scalar": {"long_name": "Ricci scalar at infinite width, untrained", "units": ""},
}


def limit_on_plane(points: Tensor, origin: Tensor, directions: Tensor) -> Callable[[Description, Sequence[int]], Any]:
    """What gives the limits of layers on a plane of input space, by name, each (layer, points); empty without any.

    There is one for hidden layers of smooth activations whose weights were Gaussian: otherwise what comes to a unit of
    the first layer, a sum over the few inputs, is not Gaussian at any width. The output and the prediction have NaN.
    On the plane the metric depends on the distance r from the foot of the perpendicular from 0 alone, at |x|^2 = r^2 +
    h^2: h adds to the variance of the first layer's biases.

    Args:
        points: coordinates on the plane, `(points, 2)`, float64.
        origin: of the coordinates, `(d,)`.
        directions: orthonormal, `(2, d)`.
    """
    foot = directions @ origin
    radius = (points + foot).norm(dim=1)
    height = (origin - foot @ directions).norm().item()
    distinct, places = torch.unique((radius / 1e-12).round() * 1e-12, return_inverse=True)

    @cache
    def of_layer(name: str, stds: tuple[tuple[float, float], ...]) -> list[np.ndarray]:
        weights, biases = map(list, zip(*stds, strict=True))
        biases[0] = math.hypot(biases[0], weights[0] * height)
        layer = InfiniteWidth(get_activation(name), weights, biases, dimension=2, depth=len(stds))
        values = layer.log_volume_element(distinct), layer.ricci_scalar(distinct)
        return [array(each[places]) for each in values]

    def limits(about: Description, layers: Sequence[int]) -> dict[str, np.ndarray]:
        if not about.initial or not get_activation(about.name).smooth:
            return {}
        nothing = [np.full(len(points), np.nan)] * 2
        found = [
            of_layer(about.name, about.initial[:layer]) if layer <= len(about.initial) else nothing for layer in layers
        ]
        return {name: np.stack([each[place] for each in found]) for place, name in enumerate(LIMITS)}

    return limits
