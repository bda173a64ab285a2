"""Activations: each with its first two derivatives, in forms that stay accurate where a unit saturates.

Automatic differentiation of `torch.sigmoid` computes y (1 - y), which has no correct digit left at z = 38;
`torch.tanh`'s 1 - y^2 has none at z = 19. Here every derivative is a product of tails, so its relative error stays
within a few units in the last place times 1 + |z phi''(z) / phi'(z)|, which is what the rounding of z itself costs.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from nngeom_cli.plugins import installed, load, plugin_names

__all__ = ["Activation", "check_activation", "get_activation"]

_INV_SQRT_2 = math.sqrt(0.5)
_SQRT_2_OVER_PI = math.sqrt(2 / math.pi)
_LARGEST_DEGREE = 150  # (2q - 1)!! overflows float64 beyond it


@dataclass(frozen=True)
class Activation:
    """An activation function phi with its derivatives, each elementwise on tensors of any shape.

    Args:
        name: as typed in a config or given to `get_activation`.
        value: z -> phi(z).
        first: z -> phi'(z).
        derivatives: z -> (phi'(z), phi''(z)), computed together.
        odd: whether phi(-z) = -phi(z) up to a constant, so that flipping a unit's sign changes no metric.
        smooth: whether phi has a second derivative everywhere; curvature is meaningless where it has none.

    Example:
        >>> tanh = get_activation("tanh")
        >>> tanh.first(torch.tensor(30.0, dtype=torch.float64))
        tensor(3.5026e-26, dtype=torch.float64)
    """

    name: str
    value: Callable[[Tensor], Tensor]
    first: Callable[[Tensor], Tensor]
    derivatives: Callable[[Tensor], tuple[Tensor, Tensor]]
    odd: bool
    smooth: bool = True

    def second(self, z: Tensor) -> Tensor:
        """Second derivative phi''(z).

        Args:
            z: any shape.

        Returns:
            phi''(z), in the shape of `z`; for relu 0, its value everywhere except at the kink.

        Example:
            >>> get_activation("sin").second(torch.tensor(0.0))
            tensor(-0.)
        """
        return self.derivatives(z)[1]


def _sigmoid_first(z: Tensor) -> Tensor:
    tail = torch.exp(-z.abs())
    return tail / (1 + tail).square()


def _sigmoid_derivatives(z: Tensor) -> tuple[Tensor, Tensor]:
    first = _sigmoid_first(z)
    return first, first * torch.tanh(-0.5 * z)  # sigma(-z) - sigma(z), accurate near 0


def _softplus(z: Tensor) -> Tensor:
    return torch.relu(z) + torch.log1p(torch.exp(-z.abs()))  # torch's own softplus drops the tail above 20


def _softplus_derivatives(z: Tensor) -> tuple[Tensor, Tensor]:
    return torch.sigmoid(z), _sigmoid_first(z)


def _tanh_first(z: Tensor) -> Tensor:
    return 4 * _sigmoid_first(2 * z)


def _tanh_derivatives(z: Tensor) -> tuple[Tensor, Tensor]:
    first = _tanh_first(z)
    return first, -2 * torch.tanh(z) * first


def _erf_first(z: Tensor) -> Tensor:
    return _SQRT_2_OVER_PI * torch.exp(-z.square() / 2)


def _erf_derivatives(z: Tensor) -> tuple[Tensor, Tensor]:
    first = _erf_first(z)
    return first, -z * first


def _normal_cdf(z: Tensor) -> Tensor:
    return torch.erfc(-_INV_SQRT_2 * z) / 2  # erfc, not 1 + erf: the lower tail keeps its digits


def _gelu_first(z: Tensor) -> Tensor:
    return _normal_cdf(z) + z * _erf_first(z) / 2


def _gelu_derivatives(z: Tensor) -> tuple[Tensor, Tensor]:
    density = _erf_first(z) / 2
    slope = z * density
    return _normal_cdf(z) + slope, 2 * density - z * slope  # z^2 alone could overflow where the density is 0


def _silu_first(z: Tensor) -> Tensor:
    return torch.sigmoid(z) * (1 + z * torch.sigmoid(-z))


def _silu_derivatives(z: Tensor) -> tuple[Tensor, Tensor]:
    return _silu_first(z), _sigmoid_first(z) * (2 - z * torch.tanh(z / 2))


def _step(z: Tensor) -> Tensor:
    return torch.where(z.isnan(), z, (z > 0).to(z.dtype))


_ACTIVATIONS = {
    activation.name: activation
    for activation in (
        Activation(
            "identity", lambda z: z, torch.ones_like, lambda z: (torch.ones_like(z), torch.zeros_like(z)), odd=True
        ),
        # phi'' = 0 wherever it exists: between kinks a layer is affine and R = 0, which says nothing about the kinks
        Activation("relu", torch.relu, _step, lambda z: (_step(z), torch.zeros_like(z)), odd=False, smooth=False),
        Activation("sigmoid", torch.sigmoid, _sigmoid_first, _sigmoid_derivatives, odd=True),
        Activation("softplus", _softplus, torch.sigmoid, _softplus_derivatives, odd=False),
        Activation("tanh", torch.tanh, _tanh_first, _tanh_derivatives, odd=True),
        Activation("erf", lambda z: torch.erf(_INV_SQRT_2 * z), _erf_first, _erf_derivatives, odd=True),
        Activation("gelu", lambda z: z * _normal_cdf(z), _gelu_first, _gelu_derivatives, odd=False),
        Activation("silu", lambda z: z * torch.sigmoid(z), _silu_first, _silu_derivatives, odd=False),
        Activation("sin", torch.sin, torch.cos, lambda z: (torch.cos(z), -torch.sin(z)), odd=True),
    )
}


@cache
def _monomial(degree: int) -> Activation:
    q = degree
    norm = math.sqrt(math.prod(range(1, 2 * q, 2)))  # sqrt((2q - 1)!!): E[phi(z)^2] = 1 for z ~ N(0, 1)

    def first(z: Tensor) -> Tensor:
        return q / norm * z ** (q - 1)

    def derivatives(z: Tensor) -> tuple[Tensor, Tensor]:
        return first(z), q * (q - 1) / norm * z ** max(q - 2, 0)

    return Activation(f"monomial{q}", lambda z: z**q / norm, first, derivatives, odd=q % 2 == 1)


@cache
def _arccosine(order: int) -> Activation:
    q, root = order, math.sqrt(2)

    def first(z: Tensor) -> Tensor:
        return root * q * torch.relu(z) ** (q - 1)

    def derivatives(z: Tensor) -> tuple[Tensor, Tensor]:
        return first(z), root * q * (q - 1) * _step(z) * torch.relu(z) ** (q - 2)

    return Activation(f"arccosine{q}", lambda z: root * torch.relu(z) ** q, first, derivatives, odd=False)


@cache
def _from_package(name: str) -> Activation:
    def fits(found: Activation) -> bool:
        return isinstance(found, Activation) and found.name == name

    activation: Activation = load("activation", name, "an `Activation` of that name", fits)
    return activation


def get_activation(name: str) -> Activation:
    """The activation with the given name.

    Args:
        name: identity, relu, sigmoid, softplus, tanh, erf (phi(z) = erf(z / sqrt 2)), gelu (exact, z times the normal
            distribution function), silu, sin, monomial<q> with 1 <= q <= 150 (z^q / sqrt((2q - 1)!!), (B.29)), or
            arccosine<q> with 2 <= q <= 150 (sqrt(2) max(z, 0)^q, whose kernel at infinite width is the arc-cosine
            kernel of Cho and Saul 2009), or one that an installed package adds (docs/adding.md).
            relu has no second derivative at its kink; elsewhere it is 0, so a one-layer relu network has R = 0
            between the kinks, and R says nothing about the curvature that is concentrated at them.

    Returns:
        The activation with its derivatives.

    Raises:
        ValueError: no activation has that name.
        PluginError: a package has it and cannot be used.

    Example:
        >>> get_activation("monomial2").value(torch.tensor(3.0, dtype=torch.float64))
        tensor(5.1962, dtype=torch.float64)
    """
    if name in _ACTIVATIONS:
        return _ACTIVATIONS[name]
    monomial = re.fullmatch(r"monomial([1-9][0-9]{0,2})", name)
    if monomial and int(monomial[1]) <= _LARGEST_DEGREE:
        return _monomial(int(monomial[1]))
    arccosine = re.fullmatch(r"arccosine([1-9][0-9]{0,2})", name)
    if arccosine and 2 <= int(arccosine[1]) <= _LARGEST_DEGREE:
        return _arccosine(int(arccosine[1]))
    if installed("activation", name):
        return _from_package(name)
    choices = ", ".join([*_ACTIVATIONS, *plugin_names("activation")])
    raise ValueError(
        f"`activation` must be one of {choices}, monomial<q> with 1 <= q <= {_LARGEST_DEGREE}, or arccosine<q> with "
        f"2 <= q <= {_LARGEST_DEGREE}. Got {name!r}."
    )


def check_activation(activation: Activation) -> None:
    """Compares what an activation says of itself with automatic differentiation, for the tests of a package.

    At 400 points of [-6, 6] in float64, phi' and phi'' are compared with the derivatives of `value` and `first` to
    1e-9 of the largest value there; both ways to phi' with each other; and `odd` with a constant phi(z) + phi(-z).

    Args:
        activation: of any package; 0, where most kinks are, is not among the points.

    Returns:
        None: nothing differs.

    Raises:
        ValueError: which of them differs, and where.

    Example:
        >>> check_activation(get_activation("gelu"))
        >>> check_activation(Activation("half", torch.sin, torch.cos, lambda z: (torch.cos(z), torch.sin(z)), odd=True))
        Traceback (most recent call last):
        ...
        ValueError: `half` must have the second derivative of its value. Got 1 for -1 at z = -4.707.
    """
    points = torch.linspace(-6, 6, 400, dtype=torch.float64)  # 0, the usual kink, is not among them
    z = points.clone().requires_grad_()
    value, (first, second) = activation.value(z), activation.derivatives(points)
    for name, got in (("value", value), ("first derivative", first), ("second derivative", second)):
        if got.shape != z.shape or got.dtype != z.dtype:
            raise ValueError(
                f"`{activation.name}` must have a {name} of the shape and dtype of z. Got {tuple(got.shape)}, "
                f"{got.dtype}. Write it elementwise."
            )
    slope = torch.autograd.grad(value.sum(), z, create_graph=True, materialize_grads=True)[0]
    curve = (
        torch.autograd.grad(slope.sum(), z, materialize_grads=True)[0] if slope.requires_grad else torch.zeros_like(z)
    )
    mirrored = activation.value(points) + activation.value(-points) if activation.odd else torch.zeros_like(points)
    for what, got, truth in (
        ("the first derivative of its value", first, slope),
        ("the second derivative of its value", second, curve),
        ("the same first derivative in `first` and `derivatives`", activation.first(points), first),
        ("a mirror image, since it is said to be odd", mirrored, mirrored[:1].expand_as(mirrored)),
    ):
        got, truth = got.detach(), truth.detach()
        apart = (got - truth).abs()
        if not bool((apart <= 1e-9 * (1 + truth.abs().max())).all()):
            place = int(apart.nan_to_num(nan=torch.inf).argmax())
            raise ValueError(
                f"`{activation.name}` must have {what}. Got {got[place]:.4g} for {truth[place]:.4g} at "
                f"z = {points[place]:.4g}."
            )
