"""The loss gradient of all replicates at once, written out, with buffers that are made once.

The networks are so small that autograd's bookkeeping would be most of a step. `torch.autograd` is the tested reference.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nngeom_cli.geometry import Activation
from nngeom_cli.losses import Loss
from nngeom_cli.networks import Network

__all__ = ["Backpropagation"]

aten = torch.ops.aten

# Activations whose value and derivative are one fused kernel each; forward(z, out) and backward(error, z, out) leave
# phi(z) in `out` and error * phi'(z) in `z`. Softplus is linear above 40, where the two agree to the last bit.
Forward = Callable[[Tensor, Tensor], object]
Backward = Callable[[Tensor, Tensor, Tensor], object]
FUSED: dict[str, tuple[Forward, Backward]] = {
    "sigmoid": (
        lambda z, out: torch.sigmoid(z, out=out),
        lambda error, z, out: aten.sigmoid_backward.grad_input(error, out, grad_input=z),
    ),
    "tanh": (
        lambda z, out: torch.tanh(z, out=out),
        lambda error, z, out: aten.tanh_backward.grad_input(error, out, grad_input=z),
    ),
    "softplus": (
        lambda z, out: aten.softplus.out(z, 1, 40, out=out),
        lambda error, z, _: aten.softplus_backward.grad_input(error, z, 1, 40, grad_input=z),
    ),
}


def elementwise(activation: Activation) -> tuple[Forward, Backward]:
    """The two passes of an activation: fused where a kernel exists, else from its value and first derivative."""
    return FUSED.get(
        activation.name,
        (
            lambda z, out: out.copy_(activation.value(z)),
            lambda error, z, _: torch.mul(activation.first(z), error, out=z),
        ),
    )


class Backpropagation:
    """Gradient of the weighted loss with respect to the parameters of every replicate.

    Args:
        network: whose current weights are used at each call.
        loss: what is differentiated.
        points: length of a batch, padding included.

    Example:
        >>> from nngeom_cli.losses import MeanSquaredError
        >>> network = Network([2, 3, 1], "tanh", replicates=1)
        >>> gradient = Backpropagation(network, MeanSquaredError(), points=1)
        >>> one = torch.ones(1, 3, 1, dtype=torch.float64)
        >>> gradient(one, one[:, :1], one[0, 0])[9:13]  # zero weights predict 0 for the target 1: only the bias moves
        tensor([ 0.,  0.,  0., -2.], dtype=torch.float64)
    """

    def __init__(self, network: Network, loss: Loss, points: int) -> None:
        replicates, like = network.replicates, network.parameters
        hidden = network.widths[1:-1]
        self.network = network
        self.effective = like if network.factors is None else torch.ones_like(like)
        self.weights = network.views(self.effective)
        self.loss = loss
        self.forward, self.backward = elementwise(network.activation)
        self.features = [like.new_ones(replicates, width + 1, points) for width in hidden]  # last row: for the bias
        self.activated = [features[:, :-1] for features in self.features]
        self.pre_activations = [like.new_empty(replicates, width, points) for width in hidden]  # then their errors
        self.errors = [like.new_empty(replicates, width, points) for width in hidden]
        self.outputs = like.new_empty(replicates, network.widths[-1], points)
        self.gradient = torch.zeros_like(like)
        self.gradients = network.views(self.gradient)
        self.backward_weights = [weights[:, :, :-1].mT for weights in self.weights]

    def __call__(self, inputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """The gradient as a flat vector in the layout of `network.parameters`; overwritten by the next call.

        Args:
            inputs: points with a last row of ones, `(replicates, d + 1, points)`.
            targets: encoded labels, `(outputs, points)` or `(replicates, outputs, points)`.
            weights: of each point in the loss, `(points,)`: 1/n, and 0 for padding.
        """
        factors, scale = self.network.factors, self.network.output_scale
        if factors is not None:
            torch.mul(self.network.parameters, factors, out=self.effective)
        values = inputs
        for layer, pre_activation in enumerate(self.pre_activations):
            torch.bmm(self.weights[layer], values, out=pre_activation)
            self.forward(pre_activation, self.activated[layer])
            values = self.features[layer]
        torch.bmm(self.weights[-1], values, out=self.outputs)
        if scale is not None:
            self.outputs.sub_(self.network.initial_outputs(inputs[:, :-1])).mul_(scale)
        error = self.loss.gradient_(self.outputs, targets, weights)
        if scale is not None:
            error.div_(scale)  # scale from the output, 1 / scale^2 from the loss
        for layer in reversed(range(len(self.weights))):
            values = self.features[layer - 1] if layer else inputs
            torch.bmm(error, values.mT, out=self.gradients[layer])
            if layer:
                torch.bmm(self.backward_weights[layer], error, out=self.errors[layer - 1])
                error = self.pre_activations[layer - 1]
                self.backward(self.errors[layer - 1], error, self.activated[layer - 1])
        return self.gradient if factors is None else self.gradient.mul_(factors)
