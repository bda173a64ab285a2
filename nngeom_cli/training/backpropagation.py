"""The loss gradient of all replicates at once, written out, with buffers that are allocated once.

The networks are so small that autograd's bookkeeping would be most of a step. `torch.autograd` is the tested reference.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from nngeom_cli.config.optimizer import OptimizerConfig
from nngeom_cli.tasks.losses import Loss
from nngeom_cli.training.batches import Batch
from nngeom_cli.training.forward import LEAST_ROWS, elementwise
from nngeom_cli.training.network import Network
from nngeom_cli.training.volume_penalty import VolumePenalty

__all__ = ["LossGradient"]


class LossGradient:
    """Gradient of the weighted loss with respect to the parameters of every replicate.

    It is a fixed sequence of kernels on fixed memory, each bound to its buffers once, so that only their calls remain.

    Args:
        network: whose current weights are used at each call.
        loss: what is differentiated.
        batch: whose current examples are used at each call.
        config: whose volume penalty is added to the loss; None adds nothing.

    Attributes:
        gradient: in the layout of `network.parameters`; overwritten by each call.

    Example:
        >>> from nngeom_cli.tasks.losses import MeanSquaredError
        >>> network = Network([2, 3, 1], "tanh", replicates=1)
        >>> one = torch.ones(1, 3, 1, dtype=torch.float64)
        >>> gradient = LossGradient(network, MeanSquaredError(), Batch(one, one[:, :1], one[0, 0]))
        >>> network.views(gradient())[1]  # zero weights predict 0 for the target 1: only the bias moves
        tensor([[[ 0.,  0.,  0., -2.]]], dtype=torch.float64)
    """

    def __init__(self, network: Network, loss: Loss, batch: Batch, config: OptimizerConfig | None = None) -> None:
        like, factors, scale = network.parameters, network.factors, network.output_scale
        effective = like if factors is None else torch.empty_like(like)
        weights = network.views(effective)
        self.gradient = torch.zeros_like(like)
        gradients = network.views(self.gradient, LEAST_ROWS)
        forward = network.forward_pass(effective, batch.inputs)
        initial = None if scale is None else network.initial_pass(batch.inputs)
        outputs, features = forward.outputs, forward.features
        _, backward = elementwise(network.activation)

        def output_error() -> None:
            if initial is not None and scale is not None:
                outputs.sub_(initial()).mul_(scale)
            loss.gradient_(outputs, batch.targets, batch.weights)
            if scale is not None:
                outputs.div_(scale)  # scale from the output, 1 / scale^2 from the loss

        calls: list[Callable[[], object]] = []
        if factors is not None:
            calls.append(partial(torch.mul, like, factors, out=effective))
        calls += [*forward.calls, output_error]
        for layer in reversed(range(len(weights))):
            error = forward.products[layer]  # gradient of the product, in its place; 0 in a row without a unit
            calls.append(partial(torch.bmm, error, features[layer].mT, out=gradients[layer]))
            if layer:
                z, width = forward.pre_activations[layer - 1], network.widths[layer]
                columns = weights[layer][:, :, : max(width, LEAST_ROWS)]
                passed = like.new_empty(network.replicates, columns.shape[2], batch.inputs.shape[2])
                calls.append(partial(torch.bmm, columns.mT, error[:, : network.widths[layer + 1]], out=passed))
                calls.append(partial(backward, passed[:, :width], z, features[layer][:, :-1]))
        if config is not None and config.volume_penalty:
            penalty = VolumePenalty(network, loss, config, batch, effective)
            calls += [penalty, partial(self.gradient.add_, penalty.gradient)]
        if factors is not None:
            calls.append(partial(self.gradient.mul_, factors))
        self.calls = calls

    def __call__(self) -> Tensor:
        """Computes the gradient."""
        for call in self.calls:
            call()
        return self.gradient
