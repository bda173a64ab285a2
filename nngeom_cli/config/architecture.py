"""The keys of the section `architecture`: those of all networks, those of fully connected ones; sizes of layers."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nngeom_cli.config.declaration import POSITIVE, Range, Section, choice, key, or_null
from nngeom_cli.errors import did_you_mean, require
from nngeom_cli.plugins import plugin_names

__all__ = [
    "ACTIVATIONS",
    "LARGEST_DEGREE",
    "PARAMETRIZATIONS",
    "SIZES",
    "ArchitectureSection",
    "FullyConnectedConfig",
    "LayerSize",
    "is_own_activation",
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
LARGEST_DEGREE = 150  # of a monomial
PARAMETRIZATIONS = ("standard", "ntk")

WIDTHS = Range(lambda widths: all(width >= 1 for width in widths), "a list of widths of at least 1")
SIZES = Range(lambda sizes: len(sizes) > 0 and min(sizes) >= 1, "a list of at least one positive integer")


def is_own_activation(name: str) -> bool:
    """Whether an activation is one of nngeom's."""
    monomial = re.fullmatch(r"monomial([1-9][0-9]{0,2})", name)
    return name in ACTIVATIONS or (monomial is not None and int(monomial[1]) <= LARGEST_DEGREE)


def _check_activation(name: str) -> None:
    if is_own_activation(name):
        return
    others = plugin_names("activation")  # looked up only where nngeom has none of that name
    must_be = f"one of {', '.join([*ACTIVATIONS, *others])}, monomial1 ... monomial{LARGEST_DEGREE}"
    suggestion = did_you_mean(name, [*ACTIVATIONS, *others]) or "The paper uses sigmoid."
    require(name in others, "architecture.activation", must_be, name, suggestion)


class LayerSize(NamedTuple):
    """A layer at one input, of one network.

    Attributes:
        shape: of its features: (units,), or (channels, rows, columns).
        parameters: number of them.
        keeps_shape: whether that is the shape of its input.
        patches: numbers that a convolution gathers before its product; 0 elsewhere.
    """

    shape: tuple[int, ...]
    parameters: int
    keeps_shape: bool = False
    patches: int = 0

    @property
    def features(self) -> int:
        """Number of features."""
        return math.prod(self.shape)

    @property
    def products(self) -> int:
        """Multiplications of its affine map."""
        return self.shape[0] * self.patches if self.patches else self.parameters


@dataclass(frozen=True)
class ArchitectureSection(Section, section="architecture", chooser="kind"):
    """What all networks share."""

    kind: str = key("what the hidden layers are", default="fully_connected", hashed_at_default=False)
    hidden: list[int] = key(
        "widths of the fully connected hidden layers, first to last",
        WIDTHS,
        suggestion="One layer of 8: architecture.hidden=[8].",
    )
    activation: str = key(
        "activation after each hidden layer",
        Range(lambda _: True, f"one of {', '.join(ACTIVATIONS)}, monomial1 ... monomial{LARGEST_DEGREE}"),
        check=_check_activation,
    )
    residual: bool = key(
        "adds to the output of each hidden layer its input, where the two have the same shape",
        default=False,
        hashed_at_default=False,
    )

    @property
    def depth(self) -> int:
        """Number of hidden layers."""
        return len(self.hidden)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the hidden layers."""
        return tuple(f"dense{place + 1}" for place in range(len(self.hidden)))

    @property
    def words(self) -> str:
        """What the network is, in words before "network"."""
        return f"residual {self.activation}" if self.residual else self.activation

    @property
    def by_module(self) -> bool:
        """Whether it is a module that autograd trains, rather than a stack whose gradient is written out."""
        return self.residual

    def layers(self, shape: Sequence[int], outputs: int) -> list[LayerSize]:
        """Sizes of the hidden layers and of the output, which is linear.

        Args:
            shape: of one input: (d,), or an image's, with or without channels.
            outputs: number of outputs.
        """
        return self._dense(math.prod(shape), outputs)

    def _dense(self, inputs: int, outputs: int, parameters_of_a_unit: int = 0) -> list[LayerSize]:
        sizes = []
        for width in self.hidden:
            parameters = width * (inputs + 1 + parameters_of_a_unit)
            sizes.append(LayerSize((width,), parameters, width == inputs))
            inputs = width
        return [*sizes, LayerSize((outputs,), outputs * (inputs + 1))]

    def check(self, task: str, shape: Sequence[int]) -> None:
        """Raises `ConfigError` if no such network takes the inputs of a task, of this shape."""
        skipped = any(layer.keeps_shape for layer in self.layers(shape, 1)[:-1])
        require(
            skipped or not self.residual,
            "architecture.residual",
            f"false where no hidden layer has an output of the shape of its input, as here with task={task}",
            True,
            "Two layers of 8 have: architecture.hidden=[8,8].",
        )


@dataclass(frozen=True)
class FullyConnectedConfig(ArchitectureSection, kind="fully_connected"):
    """A fully connected network. What `parametrization` and `output_scale` mean is in `training/network.py`."""

    layer_norm: bool = key(
        "normalizes each hidden layer before its activation: the units' mean is 0 and their variance 1 at every input, "
        "then each has a gain and a bias",
        default=False,
        hashed_at_default=False,
    )
    parametrization: str = key(
        "standard: as in torch; ntk: Gaussian weights, divided by the square root of a layer's inputs",
        choice(*PARAMETRIZATIONS),
        suggestion="standard is torch's.",
        default="standard",
    )
    output_scale: float | None = key(
        "alpha: trains alpha (h - h_0) on loss / alpha^2, lazily if it is large; null: h itself. Not lazy with adam, "
        "which cancels 1 / alpha^2, nor with weight decay, which moves the weights whatever alpha is",
        or_null(POSITIVE),
        suggestion="null is the plain network.",
        default=None,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.hidden) > 0, "architecture.hidden", "a list of at least one width", [], "For example [8].")
        if not self.by_module:
            return
        which = " and ".join(name for name in ("residual", "layer_norm") if getattr(self, name))
        plain = f"Or leave out architecture.{which.split()[0]}."
        require(
            self.parametrization == "standard",
            "architecture.parametrization",
            f"standard with {which}",
            self.parametrization,
            plain,
        )
        require(self.output_scale is None, "architecture.output_scale", f"null with {which}", self.output_scale, plain)
        require(
            not self.layer_norm or min(self.hidden) > 1,
            "architecture.hidden",
            "a list of widths of at least 2 with layer_norm, which makes 0 of a single unit",
            self.hidden,
            "For example [8].",
        )

    @property
    def words(self) -> str:
        return f"layer_norm {super().words}" if self.layer_norm else super().words

    @property
    def by_module(self) -> bool:
        return self.residual or self.layer_norm

    def layers(self, shape: Sequence[int], outputs: int) -> list[LayerSize]:
        return self._dense(math.prod(shape), outputs, 2 if self.layer_norm else 0)
