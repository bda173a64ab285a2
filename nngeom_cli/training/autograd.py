"""The loss gradient of networks that are modules, by torch's autograd, one replicate after another."""

from __future__ import annotations

import torch
from torch import Tensor

from nngeom_cli.tasks.losses import Loss
from nngeom_cli.training.batches import Batch
from nngeom_cli.training.module_network import ModuleNetwork

__all__ = ["AutogradGradient"]


class AutogradGradient:
    """Gradient of the weighted loss with respect to the parameters of every replicate.

    The derivative with respect to the outputs is the loss's own, in closed form; autograd does the rest.

    Args:
        network: whose current parameters are used at each call.
        loss: what is differentiated.
        batch: whose current examples are used at each call.

    Attributes:
        gradient: in the layout of `network.parameters`; overwritten by each call.
    """

    def __init__(self, network: ModuleNetwork, loss: Loss, batch: Batch) -> None:
        self.network, self.loss, self.batch = network, loss, batch
        self.gradient = torch.zeros_like(network.parameters)
        views = network.views(self.gradient)
        for replicate, module in enumerate(network.modules):
            for parameter, gradient in zip(module.parameters(), views, strict=True):
                parameter.grad = gradient[replicate]  # autograd adds to it in place

    def __call__(self) -> Tensor:
        """Computes the gradient."""
        inputs, targets, weights = self.batch
        self.gradient.zero_()
        for replicate, module in enumerate(self.network.modules):
            with torch.enable_grad():
                outputs = module(inputs[replicate, :-1].mT)  # without the row of ones
            error = outputs.detach().mT.contiguous()[None]
            self.loss.gradient_(error, targets[replicate : replicate + 1] if targets.ndim > 2 else targets, weights)
            outputs.backward(error[0].mT)
        return self.gradient
