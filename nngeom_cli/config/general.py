"""The schemas of a config's sections, with the range of each key; those of tasks and of probes have files of their own.

Each kind has a schema of its own, so that a key of another kind is refused. Defaults are in conf/; a
schema has one only for a key that runs were saved without, and it is the same.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TypeAlias

from nngeom_cli.errors import LARGEST_SEED, did_you_mean, one_of, require, require_seed

__all__ = [
    "ACTIVATIONS",
    "MOST_EPOCHS",
    "OPTIMIZERS",
    "AdamConfig",
    "AdamWConfig",
    "ArchitectureConfig",
    "FiguresConfig",
    "NumbersConfig",
    "OptimizerConfig",
    "SgdConfig",
]

ACTIVATIONS = (
    "identity",
    "relu",
    "sigmoid",
    "softplus",
    "tanh",
    "erf",
    "gelu",
    "silu",
    "sin",
)
MOST_EPOCHS = 10_000_000_000  # a week of the smallest network
LARGEST_DEGREE = 150  # of a monomial
PARAMETRIZATIONS = ("standard", "ntk")
DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = ("float64", "float32")
CURVATURE_CONVENTIONS = ("geometric", "paper")


@dataclass(frozen=True)
class ArchitectureConfig:
    """A fully connected network: `hidden` widths, first layer first, and the activation after each of them.

    What `parametrization` and `output_scale` mean is in networks.py. The defaults are those of runs that were saved
    before the keys were there.
    """

    hidden: list[int]
    activation: str
    parametrization: str = "standard"
    output_scale: float | None = None

    def __post_init__(self) -> None:
        key = "architecture.hidden"
        require(len(self.hidden) > 0, key, "a list of at least one width", self.hidden, f"One layer of 8: {key}=[8].")
        require(
            min(self.hidden) >= 1, key, "a list of widths of at least 1", self.hidden, f"One layer of 8: {key}=[8]."
        )
        monomial = re.fullmatch(r"monomial([1-9][0-9]{0,2})", self.activation)
        require(
            self.activation in ACTIVATIONS or (monomial is not None and int(monomial[1]) <= LARGEST_DEGREE),
            "architecture.activation",
            f"one of {', '.join(ACTIVATIONS)}, monomial1 ... monomial{LARGEST_DEGREE}",
            self.activation,
            did_you_mean(self.activation, ACTIVATIONS) or "The paper uses sigmoid.",
        )
        require(
            self.parametrization in PARAMETRIZATIONS,
            "architecture.parametrization",
            one_of(PARAMETRIZATIONS),
            self.parametrization,
            did_you_mean(self.parametrization, PARAMETRIZATIONS) or "standard is torch's.",
        )
        require(
            self.output_scale is None or 0 < self.output_scale < math.inf,
            "architecture.output_scale",
            "a positive number, or null",
            self.output_scale,
            "null is the plain network.",
        )


@dataclass(frozen=True)
class _StepConfig:
    """What all optimizers share. `batch_size` None is the full batch; `epochs` are passes over the data."""

    name: str
    lr: float
    weight_decay: float
    epochs: int
    batch_size: int | None

    def __post_init__(self) -> None:
        key = "optimizer."
        require(0 < self.lr < math.inf, key + "lr", "a positive number", self.lr, "The paper's XOR uses 0.02.")
        require(
            0 <= self.weight_decay < math.inf,
            key + "weight_decay",
            "zero or a positive number",
            self.weight_decay,
            "0 switches it off.",
        )
        require(
            1 <= self.epochs <= MOST_EPOCHS,
            key + "epochs",
            f"between 1 and {MOST_EPOCHS}",
            self.epochs,
            "Each run measures the untrained network too.",
        )
        require(
            self.batch_size is None or self.batch_size >= 1,
            key + "batch_size",
            "at least 1, or null",
            self.batch_size,
            "null takes the full batch.",
        )


@dataclass(frozen=True)
class SgdConfig(_StepConfig):
    """Stochastic gradient descent as torch.optim.SGD: momentum without dampening, weight decay as L2."""

    momentum: float

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.momentum < 1, "optimizer.momentum", "in [0, 1)", self.momentum, "0 switches it off.")


@dataclass(frozen=True)
class AdamConfig(_StepConfig):
    """Adam as torch.optim.Adam: weight decay is L2, added to the gradient."""

    betas: list[float]
    eps: float

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas),
            "optimizer.betas",
            "two numbers in [0, 1)",
            self.betas,
            "torch's default is [0.9,0.999].",
        )
        require(0 < self.eps < math.inf, "optimizer.eps", "a positive number", self.eps, "torch's default is 1e-8.")


@dataclass(frozen=True)
class AdamWConfig(AdamConfig):
    """AdamW as torch.optim.AdamW: weight decay is decoupled from the gradient."""


@dataclass(frozen=True)
class FiguresConfig:
    """How a run is drawn; nothing that is measured depends on it."""

    draw: bool = True
    curvature_convention: str = "geometric"
    band: float = 0.15

    def __post_init__(self) -> None:
        require(
            self.curvature_convention in CURVATURE_CONVENTIONS,
            "figures.curvature_convention",
            one_of(CURVATURE_CONVENTIONS),
            self.curvature_convention,
            "geometric draws R (unit 2-sphere: +2), paper draws the 3 R that the paper prints.",
        )
        require(
            0 < self.band < math.inf,
            "figures.band",
            "a positive number",
            self.band,
            "It is a distance in input space, 0.15 by default.",
        )


@dataclass(frozen=True)
class NumbersConfig:
    """What is in no section. Replicate r is the network that `seed` + r gives alone."""

    seed: int
    replicates: int
    device: str
    dtype: str
    checkpoint_seconds: float = field(default=60.0, kw_only=True)  # runs from before the key was there load, too

    def __post_init__(self) -> None:
        require_seed("seed", self.seed)
        require(self.replicates >= 1, "replicates", "at least 1", self.replicates, "It is the number of networks.")
        require(
            self.seed + self.replicates - 1 <= LARGEST_SEED,
            "seed",
            f"at most {LARGEST_SEED} for the last of the replicates, too",
            self.seed,
            f"That of replicate r is seed + r; there are {self.replicates}.",
        )
        for key, name, choices, otherwise in (
            ("device", self.device, DEVICES, "auto takes the GPU, if there is one."),
            ("dtype", self.dtype, DTYPES, "Curvature needs float64."),
        ):
            require(name in choices, key, one_of(choices), name, did_you_mean(name, choices) or otherwise)
        require(
            (self.device, self.dtype) != ("mps", "float64"),
            "dtype",
            "float32 for device=mps, which has no float64",
            self.dtype,
            "Curvature needs float64: device=cpu.",
        )
        require(
            0 <= self.checkpoint_seconds < math.inf,
            "checkpoint_seconds",
            "zero or a positive number",
            self.checkpoint_seconds,
            "60 loses a minute of training at most.",
        )


OptimizerConfig: TypeAlias = SgdConfig | AdamConfig | AdamWConfig

OPTIMIZERS: dict[str, type[OptimizerConfig]] = {"sgd": SgdConfig, "adam": AdamConfig, "adamw": AdamWConfig}
