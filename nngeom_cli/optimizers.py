"""Gradient steps on one flat vector of parameters; the update rules are those of `torch.optim`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nngeom_cli.schemas import AdamWConfig, OptimizerConfig, SgdConfig

__all__ = ["Adam", "Sgd", "make_optimizer"]


class Sgd:
    """v <- momentum v + (gradient + weight_decay p);  p <- p - lr v. `state` holds v, `steps` is their number."""

    def __init__(self, parameters: Tensor, *, lr: float, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        self.parameters = parameters
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.state = {"velocity": torch.zeros_like(parameters)}
        self.steps = 0

    def step(self, gradient: Tensor) -> None:
        """One step along the gradient, which is overwritten."""
        self.steps += 1
        if self.weight_decay:
            gradient.add_(self.parameters, alpha=self.weight_decay)
        if self.momentum:
            gradient = self.state["velocity"].mul_(self.momentum).add_(gradient)
        self.parameters.add_(gradient, alpha=-self.lr)


class Adam:
    """m <- lerp(m, gradient, 1 - beta1);  v <- lerp(v, gradient^2, 1 - beta2), both divided by their bias 1 - beta^t;
    p <- p - lr m / (sqrt(v) + eps).

    Weight decay is added to the gradient (Adam), or, `decoupled`, shrinks the parameters by lr weight_decay (AdamW).
    `state` holds m and v, `steps` is t.
    """

    def __init__(
        self,
        parameters: Tensor,
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled: bool = False,
    ) -> None:
        self.parameters = parameters
        self.lr, self.betas, self.eps, self.weight_decay, self.decoupled = lr, betas, eps, weight_decay, decoupled
        self.state = {"mean": torch.zeros_like(parameters), "square": torch.zeros_like(parameters)}
        self.root = torch.empty_like(parameters)
        self.steps = 0

    def step(self, gradient: Tensor) -> None:
        """One step along the gradient, which is overwritten."""
        self.steps += 1
        beta1, beta2 = self.betas
        if self.weight_decay and self.decoupled:
            self.parameters.mul_(1 - self.lr * self.weight_decay)
        elif self.weight_decay:
            gradient.add_(self.parameters, alpha=self.weight_decay)
        mean = self.state["mean"].lerp_(gradient, 1 - beta1)
        square = self.state["square"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        torch.sqrt(square, out=self.root)
        self.root.div_(math.sqrt(1 - beta2**self.steps)).add_(self.eps)
        self.parameters.addcdiv_(mean, self.root, value=-self.lr / (1 - beta1**self.steps))


def make_optimizer(config: OptimizerConfig, parameters: Tensor) -> Sgd | Adam:
    """The optimizer that a configuration names, at its first step."""
    if isinstance(config, SgdConfig):
        return Sgd(parameters, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    beta1, beta2 = config.betas
    return Adam(
        parameters,
        lr=config.lr,
        betas=(beta1, beta2),
        eps=config.eps,
        weight_decay=config.weight_decay,
        decoupled=isinstance(config, AdamWConfig),
    )
