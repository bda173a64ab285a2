"""The 2-jet of a fully connected network, carried through it layer by layer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from nngeom_cli.geometry.activations import Activation

__all__ = ["Layer", "Passed", "Slopes", "passes", "squares"]


class Layer(NamedTuple):
    """An affine map and the activation after it.

    Args:
        weight: (replicates, width, width before).
        bias: (replicates, width, 1).
        activation: phi.
    """

    weight: Tensor
    bias: Tensor
    activation: Activation


class Slopes:
    """The Jacobian of the first layer before its activation, the same at every point.

    Args:
        jacobian: (replicates, width, d, 1).
    """

    def __init__(self, jacobian: Tensor) -> None:
        self.jacobian = jacobian

    @cached_property
    def squares(self) -> Tensor:
        """Its `squares`. First derivatives need none, and where inputs are images they would take gigabytes."""
        return squares(self.jacobian)


class Passed(NamedTuple):
    """What a layer made of the derivatives that came to it.

    Args:
        z: W v + b, (replicates, width, points).
        slopes: phi'(z), and phi''(z) if second derivatives are carried.
        jacobian: W J, (replicates, width, d, points), or (replicates, width, d, 1) in the first layer.
        hessian: W H, packed, (replicates, width, d(d+1)/2, points); None where it is 0, in the first layer.
        stack: value (unset after the last layer), J and H of phi(z), along the third axis; after the last layer, of
            phi(z) / sqrt(width).
    """

    z: Tensor
    slopes: Sequence[Tensor]
    jacobian: Tensor
    hessian: Tensor | None
    stack: Tensor


def passes(layers: Sequence[Layer], first: Slopes, points: Tensor, *, second: bool) -> Iterator[Passed]:
    """Takes points through a network, with first and, if asked for, second derivatives.

    z -> (W z + b, W J, W H) through an affine layer, (phi(z), phi'(z) J, phi''(z) J J + phi'(z) H) through an
    activation. One matrix product per layer takes values and all derivatives.

    Args:
        layers: the network, first layer first.
        first: derivatives of the first layer before its activation.
        points: (points, inputs).
        second: whether to carry H too.
    """
    replicates, d, count = len(layers[0].weight), first.jacobian.shape[2], len(points)
    size = 1 + d + d * (d + 1) // 2 if second else 1 + d
    stack = points.new_empty(0)
    for index, (weight, bias, activation) in enumerate(layers):
        width = weight.shape[1]
        if index == 0:
            z = torch.baddbmm(bias, weight, points.T.expand(replicates, -1, -1))  # (replicates, width, points)
            jacobian, hessian = first.jacobian, None
        else:
            product = torch.bmm(weight, stack.flatten(2)).view(replicates, width, size, count)
            z = product[:, :, 0] + bias
            jacobian, hessian = product[:, :, 1 : d + 1], product[:, :, d + 1 :] if second else None
        stack = points.new_empty(replicates, width, size, count)  # values, first and second derivatives
        is_last = index == len(layers) - 1
        within = 1 / math.sqrt(width) if is_last else 1.0  # the next layer takes these features undivided
        slopes = activation.derivatives(z) if second else (activation.first(z),)
        slope, *bend = ((within * derivative).unsqueeze(2) for derivative in slopes)
        torch.mul(slope, jacobian, out=stack[:, :, 1 : d + 1])
        if second:
            torch.mul(bend[0], squares(jacobian) if index else first.squares, out=stack[:, :, d + 1 :])
            if hessian is not None:
                stack[:, :, d + 1 :].addcmul_(slope, hessian)
        if not is_last:
            stack[:, :, 0] = activation.value(z)
        yield Passed(z, slopes, jacobian, hessian, stack)


def squares(jacobian: Tensor) -> Tensor:
    """J_a J_b for a <= b, packed, (replicates, width, d(d+1)/2, points)."""
    return torch.cat([jacobian[:, :, a : a + 1] * jacobian[:, :, a:] for a in range(jacobian.shape[2])], dim=2)
