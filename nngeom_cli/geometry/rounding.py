"""What the rounding of a network's own sums, z = W v + b above all, does to a number that follows from its 2-jet."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nngeom_cli.geometry.activations import Activation
from nngeom_cli.geometry.propagation import Layer, Slopes, passes, squares

__all__ = ["SumRounding"]

_STEP = 1024  # times the error of z: far above rounding ...
_LARGEST_STEP = 2.0**-10  # ... and small beside the scale on which phi changes, unless the error itself is larger


class SumRounding:
    """The effect of the rounding of sums on a function of J and H of the features, from its gradient.

    z_i = sum_j W_ij v_j + b_i is off by at most a few eps e_i, e_i = sum_j |W_ij v_j| + |b_i|, which can be far more
    than a few eps |z_i|; so it is with W J and W H. The gradient is carried back through the network, which gives the
    change of the function for each sum, and the sizes of all changes are added. Weights, biases and points count as
    exact.

    Args:
        layers: the network.
        first: as for `passes`.
        offset: in place of the first layer's |b_i|, if that was computed from larger ones, (replicates, width, 1).
        points: (points, inputs).
    """

    def __init__(self, layers: Sequence[Layer], first: Slopes, offset: Tensor, points: Tensor) -> None:
        self._layers, self._first, self._offset, self._points = layers, first, offset, points

    def largest_sum(self) -> Tensor:
        """A bound on the e_i of all units of all layers, (replicates, points)."""
        sums = self._first_sums()
        largest = sums.amax(dim=1)
        values = self._points.T.expand(len(sums), -1, -1)
        for layer, (weight, bias, _) in zip(self._layers, self._layers[1:], strict=False):
            values = layer.activation.value(torch.baddbmm(layer.bias, layer.weight, values))
            rows = weight.abs().sum(dim=2).amax(dim=1, keepdim=True)
            largest = torch.maximum(largest, rows * values.abs().amax(dim=1) + bias.abs().amax(dim=1))
        return largest

    def effect(self, by_jacobian: Tensor, by_hessian: Tensor) -> Tensor:
        """The sizes of all changes, to first order and in units of eps, added; (replicates, points).

        Args:
            by_jacobian: the function's derivatives with respect to J, (replicates, n, d, points).
            by_hessian: the same for packed H, (replicates, n, d(d+1)/2, points).
        """
        norm, d = 1 / math.sqrt(by_jacobian.shape[1]), by_jacobian.shape[2]
        by_jacobian, by_hessian = norm * by_jacobian, norm * by_hessian
        by_value = torch.zeros_like(by_jacobian[:, :, 0])
        total = torch.zeros_like(by_value[:, 0])
        passed = list(passes(self._layers, self._first, self._points, second=True))
        for place in reversed(range(len(passed))):
            layer, (z, slopes, jacobian, hessian, _) = self._layers[place], passed[place]
            if place == 0:
                sums = self._first_sums().unsqueeze(2)
            else:
                sizes = passed[place - 1].stack.abs()
                sums = torch.bmm(layer.weight.abs(), sizes.flatten(2)).view(*z.shape[:2], *sizes.shape[2:])
                sums[:, :, 0] += layer.bias.abs()
            bend, third = _next_derivatives(layer.activation, z, slopes, sums[:, :, 0])
            curve = (by_hessian * squares(jacobian)).sum(dim=2)
            along = (by_jacobian * jacobian).sum(dim=2)
            if hessian is not None:
                along = along + (by_hessian * hessian).sum(dim=2)
            by_z = slopes[0] * by_value + bend * along + third * curve
            if place == 0:
                return total + (by_z.abs() * sums[:, :, 0]).sum(dim=1)
            slope, bend = (derivative.unsqueeze(2) for derivative in slopes)
            back = torch.cat(
                [by_z.unsqueeze(2), slope * by_jacobian + bend * _contracted(by_hessian, jacobian), slope * by_hessian],
                dim=2,
            )
            total = total + (back.abs() * sums).sum(dim=(1, 2))
            back = torch.bmm(layer.weight.mT, back.flatten(2)).view(len(z), -1, *back.shape[2:])
            by_value, by_jacobian, by_hessian = back[:, :, 0], back[:, :, 1 : d + 1], back[:, :, d + 1 :]
        return total

    def _first_sums(self) -> Tensor:
        """e of the first layer, (replicates, width, points)."""
        weight = self._layers[0].weight.abs()
        return torch.baddbmm(self._offset, weight, self._points.T.abs().expand(len(weight), -1, -1))


def _next_derivatives(
    activation: Activation, z: Tensor, slopes: Sequence[Tensor], sums: Tensor
) -> tuple[Tensor, Tensor]:
    """phi'' and phi''' as difference quotients over the error of z, or over a multiple of it if it is small."""
    shift = torch.finfo(z.dtype).eps * sums
    moved = z + torch.maximum(shift, (_STEP * shift).clamp(max=_LARGEST_STEP))
    step = (moved - z).clamp_min(torch.finfo(z.dtype).tiny)
    bend, third = ((new - old) / step for new, old in zip(activation.derivatives(moved), slopes, strict=True))
    return bend, third


def _contracted(by_hessian: Tensor, jacobian: Tensor) -> Tensor:
    """Derivative of sum_ab by_hessian_ab J_a J_b over packed pairs with respect to J, as J."""
    d = jacobian.shape[2]
    columns, position = [torch.zeros_like(jacobian[:, :, 0]) for _ in range(d)], 0
    for a in range(d):
        for b in range(a, d):
            weight = by_hessian[:, :, position]
            columns[a] = columns[a] + weight * jacobian[:, :, b]
            columns[b] = columns[b] + weight * jacobian[:, :, a]
            position += 1
    return torch.stack(columns, dim=2)
