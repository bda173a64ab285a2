"""The keys of the section `optimizer`: those that all optimizers have, and those of each."""

import math
from dataclasses import dataclass
from typing import TypeAlias

from nngeom_cli.config.declaration import (
    NOT_NEGATIVE,
    POSITIVE,
    Range,
    Section,
    at_least,
    between,
    choice,
    key,
    or_null,
)

__all__ = ["MOST_EPOCHS", "AdamConfig", "AdamWConfig", "OptimizerConfig", "OptimizerSection", "SgdConfig"]

MOST_EPOCHS = 10_000_000_000  # a week of the smallest network


@dataclass(frozen=True)
class OptimizerSection(Section, section="optimizer", chooser="name"):
    """What all optimizers share."""

    name: str = key("update rule, as in torch.optim")
    lr: float = key("step size", POSITIVE, suggestion="The paper's XOR uses 0.02.")
    weight_decay: float = key(
        "L2 penalty, added to the gradient; adamw shrinks the weights instead",
        NOT_NEGATIVE,
        suggestion="0 switches it off.",
    )
    epochs: int = key(
        "passes over the data", between(1, MOST_EPOCHS), suggestion="Each run measures the untrained network too."
    )
    batch_size: int | None = key(
        "examples per step; null: all of them", or_null(at_least(1)), suggestion="null takes the full batch."
    )
    stop: str | None = key(
        "solved: ends at the first recorded epoch (of about 200) at which every replicate has solved the task; "
        "run.json has the epoch of each; null: ends after the last epoch",
        or_null(choice("solved")),
        suggestion="null trains for all epochs.",
        default=None,
        hashed_at_default=False,
    )
    volume_penalty: float = key(
        "lambda: trains the loss + lambda mean w log V, log V of a hidden layer at the examples of a batch; below 0 it "
        "magnifies, above 0 it shrinks volume",
        Range(math.isfinite, "a finite number"),
        suggestion="0 switches it off; -0.01 magnifies.",
        default=0.0,
        hashed_at_default=False,
    )
    volume_penalty_where: str = key(
        "everywhere: w = 1; boundary: w = exp(-(distance / width)^2 / 2), the distance of an example from the decision "
        "boundary to first order, its margin over the length of the margin's gradient; w is not differentiated",
        choice("everywhere", "boundary"),
        suggestion="boundary penalizes the volume near the decision boundary.",
        default="everywhere",
        hashed_at_default=False,
    )
    volume_penalty_width: float = key(
        "the width in w for boundary, in units of input space",
        POSITIVE,
        suggestion="The default is 0.3.",
        default=0.3,
        hashed_at_default=False,
    )
    volume_penalty_layer: int | None = key(
        "the hidden layer whose volume it is, 1 = the first; null: the last",
        or_null(at_least(1)),
        suggestion="null takes the last.",
        default=None,
        hashed_at_default=False,
    )
    volume_penalty_top_k: int | None = key(
        "leading singular values of J whose product V is; null: all that the layer can have, so log V = log sqrt det g "
        "where it is as wide as the input",
        or_null(at_least(1)),
        suggestion="null takes the rank.",
        default=None,
        hashed_at_default=False,
    )


@dataclass(frozen=True)
class SgdConfig(OptimizerSection, kind="sgd"):
    """Stochastic gradient descent as torch.optim.SGD: momentum without dampening, weight decay as L2."""

    momentum: float = key(
        "fraction of the velocity that each step keeps",
        Range(lambda value: 0 <= value < 1, "in [0, 1)"),
        suggestion="0 switches it off.",
    )


@dataclass(frozen=True)
class AdamConfig(OptimizerSection, kind="adam"):
    """Adam as torch.optim.Adam: weight decay is L2, added to the gradient."""

    betas: list[float] = key(
        "decay rates of the running means of the gradient and of its square",
        Range(lambda betas: len(betas) == 2 and all(0 <= beta < 1 for beta in betas), "two numbers in [0, 1)"),
        suggestion="torch's default is [0.9,0.999].",
    )
    eps: float = key(
        "added to the root mean square that a step is divided by", POSITIVE, suggestion="torch's default is 1e-8."
    )


@dataclass(frozen=True)
class AdamWConfig(AdamConfig, kind="adamw"):
    """AdamW as torch.optim.AdamW: weight decay is decoupled from the gradient."""


OptimizerConfig: TypeAlias = SgdConfig | AdamConfig | AdamWConfig
