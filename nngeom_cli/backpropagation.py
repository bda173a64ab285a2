"""The loss gradient of all replicates at once, written out, with buffers that are made once.

The networks are so small that autograd's bookkeeping would be most of a step. `torch.autograd` is the tested reference.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from nngeom_cli.batches import Batch
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

    It is a fixed sequence of kernels on fixed memory, each bound to its buffers once: no more than their calls is left.

    Args:
        network: whose current weights are used at each call.
        loss: what is differentiated.
        batch: whose current examples are used at each call.

    Attributes:
        gradient: in the layout of `network.parameters`; overwritten by each call.

    Example:
        >>> from nngeom_cli.losses import MeanSquaredError
        >>> network = Network([2, 3, 1], "tanh", replicates=1)
        >>> one = torch.ones(1, 3, 1, dtype=torch.float64)
        >>> gradient = Backpropagation(network, MeanSquaredError(), Batch(one, one[:, :1], one[0, 0]))
        >>> network.views(gradient())[1]  # zero weights predict 0 for the target 1: only the bias moves
        tensor([[[ 0.,  0.,  0., -2.]]], dtype=torch.float64)
    """

    def __init__(self, network: Network, loss: Loss, batch: Batch) -> None:
        like, factors, scale = network.parameters, network.factors, network.output_scale
        forward, backward = elementwise(network.activation)
        effective = like if factors is None else torch.empty_like(like)
        weights = network.views(effective)
        self.gradient = torch.zeros_like(like)
        gradients = network.views(self.gradient)

        def rows(width: int) -> Tensor:
            return like.new_ones(network.replicates, width, batch.inputs.shape[2])

        pre_activations = [rows(width) for width in network.widths[1:-1]]  # then their errors
        features = [batch.inputs, *(rows(width + 1) for width in network.widths[1:-1])]  # the last row for the bias
        outputs = rows(network.widths[-1])

        def output_error() -> None:
            if scale is not None:
                outputs.sub_(network.initial_outputs(batch.inputs[:, :-1])).mul_(scale)
            loss.gradient_(outputs, batch.targets, batch.weights)
            if scale is not None:
                outputs.div_(scale)  # scale from the output, 1 / scale^2 from the loss

        calls: list[Callable[[], object]] = []
        if factors is not None:
            calls.append(partial(torch.mul, like, factors, out=effective))
        for layer, z in enumerate(pre_activations):
            calls.append(partial(torch.bmm, weights[layer], features[layer], out=z))
            calls.append(partial(forward, z, features[layer + 1][:, :-1]))
        calls.append(partial(torch.bmm, weights[-1], features[-1], out=outputs))
        calls.append(output_error)
        error = outputs
        for layer in reversed(range(len(weights))):
            calls.append(partial(torch.bmm, error, features[layer].mT, out=gradients[layer]))
            if layer:
                z, passed = pre_activations[layer - 1], rows(network.widths[layer])
                calls.append(partial(torch.bmm, weights[layer][:, :, :-1].mT, error, out=passed))
                calls.append(partial(backward, passed, z, features[layer][:, :-1]))
                error = z
        if factors is not None:
            calls.append(partial(self.gradient.mul_, factors))
        self.calls = calls

    def __call__(self) -> Tensor:
        """The gradient, anew."""
        for call in self.calls:
            call()
        return self.gradient
