"""The keys of the section `optimizer`: those that all optimizers have, and those of each."""

from dataclasses import dataclass
from typing import TypeAlias

from nngeom_cli.config.declaration import NOT_NEGATIVE, POSITIVE, Range, Section, at_least, between, key, or_null

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
