"""A penalty on the volume element of a hidden layer, and its gradient, written out.

The penalty of a network is lambda sum_p c_p w_p log V(x_p), c_p the weight of example p in the loss. V is the product
of the leading singular values of the Jacobian of the layer's features, sqrt(det g) where there are as many as inputs.
The weights w_p are constants for the gradient: were they differentiated, then adding a constant to log V, as another
unit of length does, would change training.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from nngeom_cli.config.optimizer import OptimizerConfig
from nngeom_cli.tasks.losses import Loss
from nngeom_cli.tasks.task import Task
from nngeom_cli.training.batches import Batch
from nngeom_cli.training.forward import LEAST_ROWS
from nngeom_cli.training.network import POINTS_AT_ONCE, Network
from nngeom_cli.training.padding import padded_points

__all__ = ["VolumePenalty", "log_volume_and_dual", "penalty_of"]

LEAST_SINE = 8  # times d eps: what is smaller beside the largest has no correct digit, and the rank is lower


class VolumePenalty:
    """The penalty at a batch, and its gradient with respect to effective weights.

    Values and derivatives along the inputs go through each layer side by side, in one product with its weights: for
    z = W v + b and a = phi(z) the derivatives are T = W A and phi'(z) T. Back go the derivatives of log V with respect
    to them, J g^-1 at first.

    Args:
        network: whose layer it is.
        loss: whose margin says where the decision boundary is.
        config: strength, place, layer and number of singular values.
        batch: whose current examples are used at each call.
        effective: the network's effective weights, `(count,)`, used as they are at each call.

    Attributes:
        gradient: in the layout of `network.parameters`; overwritten by each call.
        log_volumes: `(replicates, length)`; -inf where the layer has a lower rank.
        shares: lambda c_p w_p, `(replicates, length)`.

    Example:
        >>> from nngeom_cli.config.optimizer import SgdConfig
        >>> from nngeom_cli.tasks.losses import MeanSquaredError
        >>> network = Network([1, 1, 1], "identity", replicates=1)
        >>> network.weights[0][0, 0, 0] = 2.0  # V = |w|, d log V / dw = 1 / w
        >>> one = torch.ones(1, 2, 16, dtype=torch.float64)
        >>> config = SgdConfig("sgd", 0.1, 0.0, 1, None, momentum=0.0, volume_penalty=3.0)
        >>> batch = Batch(one, one[:, 0], one[0, 0] / 16)
        >>> penalty = VolumePenalty(network, MeanSquaredError(), config, batch, network.parameters)
        >>> network.views(penalty())[0]
        tensor([[[1.5000, 0.0000]]], dtype=torch.float64)
    """

    def __init__(self, network: Network, loss: Loss, config: OptimizerConfig, batch: Batch, effective: Tensor) -> None:
        widths, self.loss, self.config, self.batch = network.widths, loss, config, batch
        self.activation, self.widths = network.activation, widths
        self.layer = config.volume_penalty_layer or len(widths) - 2
        self.top_k = config.volume_penalty_top_k or min(widths[: self.layer + 1])
        self.near = config.volume_penalty_where == "boundary"
        depth = len(widths) - 1 if self.near else self.layer
        replicates, d, length = len(batch.inputs), widths[0], batch.inputs.shape[2]
        self.weights = network.views(effective, LEAST_ROWS)[:depth]
        self.gradient = torch.zeros_like(network.parameters)
        self._gradients = network.views(self.gradient, LEAST_ROWS)

        def rows(count: int) -> Tensor:
            return effective.new_zeros(replicates, count, 1 + d, length)

        self._stacks = [rows(widths[layer] + 1) for layer in range(max(depth, self.layer + 1))]  # before each layer
        for stack in self._stacks:
            stack[:, -1, 0] = 1.0
        for place in range(d):
            self._stacks[0][:, place, 1 + place] = 1.0
        self._products = [rows(layer.shape[1]) for layer in self.weights]
        self._errors = [rows(layer.shape[1]) for layer in self.weights[: self.layer]]
        self.log_volumes = self.shares = effective.new_zeros(replicates, length)

    def __call__(self) -> Tensor:
        """Computes the gradient."""
        slopes = self._forward()
        dual = self._measure()
        shares = self.shares[:, None, None]
        by_slope = shares * dual
        if not self._whole:  # 0 times what does not exist
            by_slope = torch.where(shares == 0, 0.0, by_slope)
        by_value: Tensor | None = None
        for layer in reversed(range(self.layer)):
            error, (first, second), width = self._errors[layer], slopes[layer], self.widths[layer + 1]
            along = second * (self._products[layer][:, :width, 1:] * by_slope).sum(dim=2)
            error[:, :width, 0] = along if by_value is None else along + first * by_value
            torch.mul(first.unsqueeze(2), by_slope, out=error[:, :width, 1:])
            torch.bmm(error.flatten(2), self._stacks[layer].flatten(2).mT, out=self._gradients[layer])
            if layer:
                before = self.widths[layer]
                columns = self.weights[layer][:, :width, : max(before, LEAST_ROWS)]
                passed = torch.bmm(columns.mT, error[:, :width].flatten(2)).view(len(error), -1, *error.shape[2:])
                by_value, by_slope = passed[:, :before, 0], passed[:, :before, 1:]
        return self.gradient

    def value(self) -> Tensor:
        """The penalty of each replicate, `(replicates,)`; computes no gradient."""
        self._forward()
        self._measure()
        return torch.where(self.shares == 0, 0.0, self.shares * self.log_volumes).sum(dim=1)

    def _forward(self) -> list[tuple[Tensor, Tensor]]:
        """Fills stacks and products; phi' and phi'' of each layer up to the penalized one."""
        self._stacks[0][:, :-1, 0] = self.batch.inputs[:, :-1]
        slopes = []
        for layer, product in enumerate(self._products):
            torch.bmm(self.weights[layer], self._stacks[layer].flatten(2), out=product.flatten(2))
            if layer + 1 < len(self._stacks):
                after, part = self._stacks[layer + 1], product[:, : self.widths[layer + 1]]
                z = part[:, :, 0].contiguous()
                first, second = self.activation.derivatives(z)
                after[:, :-1, 0] = self.activation.value(z)
                torch.mul(first.unsqueeze(2), part[:, :, 1:], out=after[:, :-1, 1:])
                slopes.append((first, second))
        return slopes

    def _measure(self) -> Tensor:
        """Sets log volumes and shares; the derivative of log V with respect to the slopes of the layer's units."""
        log_volumes, dual, self._whole = log_volume_and_dual(self._stacks[self.layer][:, :-1, 1:], self.top_k)
        self.log_volumes = log_volumes - self.top_k * math.log(self.widths[self.layer]) / 2  # features / sqrt(n)
        shares = self.config.volume_penalty * self.batch.weights
        self.shares = shares * self._nearness() if self.near else shares.expand_as(log_volumes)
        return dual

    def _nearness(self) -> Tensor:
        """exp(-(distance / width)^2 / 2), the distance to the boundary being |m| / |dm/dx|, `(replicates, length)`."""
        last = self._products[-1][:, : self.widths[-1]]
        outputs, slopes = last[:, :, 0].contiguous(), last[:, :, 1:]
        margin = self.loss.margin(outputs).abs()
        if outputs.shape[1] == 1:
            steepness = slopes[:, 0]
        else:
            top = outputs.topk(2, dim=1).indices[:, :, None].expand(-1, -1, slopes.shape[2], -1)
            first, second = slopes.gather(1, top).unbind(dim=1)
            steepness = first - second
        steep = steepness.square().sum(dim=1).sqrt()
        distance = torch.where(margin == 0, 0.0, margin / steep)
        return torch.exp(-(distance / self.config.volume_penalty_width).square() / 2)


def log_volume_and_dual(jacobian: Tensor, top_k: int) -> tuple[Tensor, Tensor, bool]:
    """log V, the sum of the logs of the leading singular values s of J = U s V^T, and its derivative U s^-1 V^T.

    With as many singular values as inputs the derivative is J g^-1, whose columns are the dual basis of those of J:
    column a less its part along the others, over the square of its length. One and two inputs need no decomposition.

    Args:
        jacobian: `(replicates, n, d, points)`.
        top_k: how many.

    Returns:
        log V, `(replicates, points)`, -inf where the rank is lower than `top_k`; the derivative, like `jacobian`, NaN
        there; both are NaN where J is not finite. Whether neither happens.

    Example:
        >>> J = torch.tensor([[2.0, 0.0], [0.0, 0.5], [0.0, 0.0]])
        >>> log_volume, dual, _ = log_volume_and_dual(J[None, ..., None], 2)
        >>> log_volume.item(), dual[0, :, :, 0].tolist()
        (0.0, [[0.5, 0.0], [0.0, 2.0], [0.0, 0.0]])
    """
    d = jacobian.shape[2]
    least = LEAST_SINE * d * torch.finfo(jacobian.dtype).eps
    if top_k == d <= 2:
        squares = jacobian.square().sum(dim=1)  # (replicates, d, points)
        if d == 1:
            log_volume, dual, whole = squares[:, 0].log() / 2, jacobian / squares[:, None], squares[:, 0] > 0
        else:
            log_volume, dual, sine = _log_area_and_dual(jacobian, squares)
            whole = sine > least**2
    else:
        finite = jacobian.isfinite().all(dim=1, keepdim=True).all(dim=2, keepdim=True)
        matrices = torch.where(finite, jacobian, 0.0).permute(0, 3, 1, 2).contiguous()
        left, lengths, right = torch.linalg.svd(matrices, full_matrices=False)
        lengths = torch.where(finite[:, 0, 0, :, None], lengths, torch.nan)
        leading = lengths[..., :top_k]
        log_volume = leading.log().sum(dim=-1)
        dual = ((left[..., :top_k] / leading[..., None, :]) @ right[..., :top_k, :]).permute(0, 2, 3, 1)
        whole = leading[..., -1] > least * lengths[..., 0]
    if all_whole := bool(whole.all()):
        return log_volume, dual, all_whole
    lower = ~whole & jacobian.isfinite().all(dim=1).all(dim=1)
    log_volume = torch.where(lower, -torch.inf, torch.where(whole, log_volume, torch.nan))
    return log_volume, torch.where(whole[:, None, None], dual, torch.nan), all_whole


def _log_area_and_dual(jacobian: Tensor, squares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log V and J g^-1 for two inputs, and the squared sine of the angle between the columns of J.

    In a frame whose first axis is the longest row of J, the second column is 0 at that row. So a row of J g^-1 has the
    digits that belong to its own size, where one unit is active and all others are saturated.
    """
    longest = jacobian.square().sum(dim=2).argmax(dim=1)[:, None, None].expand(-1, 1, 2, -1)
    axis = jacobian.gather(1, longest)  # (replicates, 1, 2, points)
    (first, second), (x, y) = jacobian.unbind(dim=2), axis.unbind(dim=2)
    size = axis.square().sum(dim=2).sqrt()
    along, across = (first * x + second * y) / size, (second * x - first * y) / size  # (replicates, n, points)
    overlap = (along * across).sum(dim=1, keepdim=True)
    along_square, across_square = (part.square().sum(dim=1, keepdim=True) for part in (along, across))
    along, across = along - across * (overlap / across_square), across - along * (overlap / along_square)  # apart now
    height = across.square().sum(dim=1, keepdim=True)
    along, across = along / along.square().sum(dim=1, keepdim=True), across / height
    dual = torch.stack([along * x - across * y, along * y + across * x], dim=2) / size[:, :, None]
    along_square, height = along_square[:, 0], height[:, 0]
    sine = (along_square / squares[:, 0]) * (height / squares[:, 1])
    return (along_square.log() + height.log()) / 2, dual, sine


def penalty_of(network: Network, task: Task, config: OptimizerConfig) -> np.ndarray:
    """The penalty of each replicate over the whole training set, `(replicates,)`, a part of it at a time."""
    like, total = network.parameters, np.zeros(network.replicates)
    for x in task.inputs.split(max(1, POINTS_AT_ONCE // (1 + task.dimension))):
        length = padded_points(len(x), network.widths[1:-1], like.dtype)
        inputs = pad(pad(x, (0, 1), value=1.0), (0, 0, 0, length - len(x))).to(like).mT.contiguous()
        weights = pad(like.new_full((len(x),), 1 / len(task.inputs)), (0, length - len(x)))
        batch = Batch(inputs.expand(network.replicates, -1, -1), inputs, weights)
        total += VolumePenalty(network, task.loss, config, batch, network.effective()).value().double().cpu().numpy()
    return total
