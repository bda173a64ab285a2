"""Gradient steps on one flat vector of parameters, by the kernels of `torch.optim`.

They are those that `torch.optim` calls with `fused=True`, one per step. Its own classes cost several times as much as
the kernel that they call.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from nngeom_cli.config.optimizer import AdamWConfig, OptimizerConfig, SgdConfig

__all__ = ["Optimizer", "state_names"]


def state_names(config: OptimizerConfig) -> tuple[str, ...]:
    """Names of what the next step of a rule depends on, besides the number of steps.

    Example:
        >>> state_names(SgdConfig("sgd", lr=0.1, weight_decay=0.0, epochs=1, batch_size=None, momentum=0.9))
        ('velocity',)
    """
    return ("velocity",) if isinstance(config, SgdConfig) else ("mean", "square")


class Optimizer:
    """The update rule that a configuration names; the equations are those of `torch.optim`.

    sgd: v <- momentum v + (gradient + weight_decay p);  p <- p - lr v.
    adam: m <- lerp(m, gradient, 1 - beta1);  v <- lerp(v, gradient^2, 1 - beta2), each divided by its bias 1 - beta^t;
    p <- p - lr m / (sqrt(v) + eps). Weight decay is added to the gradient; in adamw it shrinks the parameters by
    lr weight_decay.

    Args:
        config: the rule and its numbers.
        parameters: changed in place.
        gradient: read at each step.

    Attributes:
        state: by the names of `state_names`, each in the layout of `parameters`.
        steps: number of steps done, t; only Adam's rules count them.
    """

    def __init__(self, config: OptimizerConfig, parameters: Tensor, gradient: Tensor) -> None:
        self.steps = torch.zeros((), dtype=torch.float32, device=parameters.device)  # as the kernels need it
        self.state = {name: torch.zeros_like(parameters) for name in state_names(config)}
        self.counts = not isinstance(config, SgdConfig)
        if isinstance(config, SgdConfig):
            self.update = partial(
                torch._fused_sgd_,
                [parameters],
                [gradient],
                [self.state["velocity"]] if config.momentum else [],
                lr=config.lr,
                momentum=config.momentum,
                weight_decay=config.weight_decay,
                dampening=0.0,
                nesterov=False,
                maximize=False,
                is_first_step=False,  # the first velocity is zero
            )
        else:
            beta1, beta2 = config.betas
            self.update = partial(
                torch._fused_adamw_ if isinstance(config, AdamWConfig) else torch._fused_adam_,
                [parameters],
                [gradient],
                [self.state["mean"]],
                [self.state["square"]],
                [],
                [self.steps],
                lr=config.lr,
                beta1=beta1,
                beta2=beta2,
                weight_decay=config.weight_decay,
                eps=config.eps,
                amsgrad=False,
                maximize=False,
            )

    def skip(self, steps: int) -> None:
        """Counts `steps` steps as done, at most 2^24, where counting by ones stops: float32 has no 2^24 + 1."""
        self.steps.fill_(min(steps, 1 << 24))

    def step(self) -> None:
        """One step along the gradient."""
        if self.counts:
            self.steps.add_(1)
        self.update()
