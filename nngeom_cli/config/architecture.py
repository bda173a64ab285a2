"""The keys of the section `architecture`."""

import re
from dataclasses import dataclass

from nngeom_cli.config.declaration import POSITIVE, Range, Section, choice, key, or_null

__all__ = ["ACTIVATIONS", "LARGEST_DEGREE", "PARAMETRIZATIONS", "ArchitectureConfig"]

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


def _is_activation(name: str) -> bool:
    monomial = re.fullmatch(r"monomial([1-9][0-9]{0,2})", name)
    return name in ACTIVATIONS or (monomial is not None and int(monomial[1]) <= LARGEST_DEGREE)


@dataclass(frozen=True)
class ArchitectureConfig(Section, section="architecture"):
    """A fully connected network. What `parametrization` and `output_scale` mean is in `training/network.py`."""

    hidden: list[int] = key(
        "widths of the hidden layers, first to last",
        Range(lambda widths: len(widths) > 0, "a list of at least one width"),
        Range(lambda widths: min(widths) >= 1, "a list of widths of at least 1"),
        suggestion="One layer of 8: architecture.hidden=[8].",
    )
    activation: str = key(
        "activation after each hidden layer",
        Range(_is_activation, f"one of {', '.join(ACTIVATIONS)}, monomial1 ... monomial{LARGEST_DEGREE}", ACTIVATIONS),
        suggestion="The paper uses sigmoid.",
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
