"""A torch module as a stack of Linear layers and activations, with what it computes when it is called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from nngeom_cli.geometry.points import check_dtype

__all__ = ["ANY_CALLABLE", "Reading", "read_module"]

ANY_CALLABLE = "For any other model, pass a callable of one point."
_ACTIVATION_OF_MODULE: dict[type[torch.nn.Module], str] = {
    torch.nn.Sigmoid: "sigmoid",
    torch.nn.Tanh: "tanh",
    torch.nn.Softplus: "softplus",
    torch.nn.GELU: "gelu",
    torch.nn.SiLU: "silu",
    torch.nn.ReLU: "relu",
}
_LEAST_THRESHOLD = 20.0  # above it torch's softplus is z, off by 2e-9
_POINTS = 16


class Reading(NamedTuple):
    """What a module says about its layers, and what it computes.

    Args:
        weights: of each Linear layer.
        biases: of each, zeros where it has none.
        activations: names, one per layer.
        points: what the module was called with, `(points, d)`.
        features: what it computed after the layer asked for, `(points, n)`; for the last layer, the module's output.
            None if there is no such layer, or if the module does not call that part as often as it lists it.
    """

    weights: list[Tensor]
    biases: list[Tensor]
    activations: list[str]
    points: Tensor
    features: Tensor | None


def read_module(module: torch.nn.Sequential, layer: int) -> Reading:
    """The layers of a module, and what it computes after one of them.

    The module is called once. Its mode, its buffers and torch's generators are left unchanged.

    Raises:
        TypeError: it is not a `Sequential` of Linear layers, each with at most one activation, with parameters in
            float32 or float64; or it cannot be called.
    """
    if not isinstance(module, torch.nn.Sequential):
        raise TypeError(f"`module` must be a torch.nn.Sequential. Got {type(module).__name__}. {ANY_CALLABLE}")
    with _evaluation(module):
        linears, activations, places = _stack(module)
        points, features = torch.empty(0), None
        if 1 <= layer <= len(linears):
            points = _points(linears[0])
            features = _features(module, places[layer - 1], points)
        weights: list[Tensor] = [linear.weight for linear in linears]  # after the call, which may have computed them
        biases: list[Tensor] = [
            weight.new_zeros(len(weight)) if linear.bias is None else linear.bias
            for linear, weight in zip(linears, weights, strict=True)
        ]
    return Reading(weights, biases, activations, points, features)


@contextmanager
def _evaluation(module: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode, without gradients, inside the block; modes, buffers and generators are restored after it."""
    modes = [(part, part.training) for part in module.modules()]
    buffers = [
        (part._buffers, name, buffer, buffer.clone())
        for part, _ in modes
        for name, buffer in part._buffers.items()
        if buffer is not None and not is_lazy(buffer)
    ]
    devices = {parameter.device for parameter in module.parameters() if parameter.device.type == "cuda"}
    for part, _ in modes:
        part.training = False
    with torch.random.fork_rng(list(devices)), torch.no_grad():
        try:
            yield
        finally:
            for part, mode in modes:
                part.training = mode
            for holder, name, buffer, copy in buffers:
                holder[name] = buffer
                if not torch.equal(buffer, copy):  # else leave it: a graph may need it for a backward pass
                    buffer.copy_(copy)


def _stack(module: torch.nn.Sequential) -> tuple[list[torch.nn.Linear], list[str], list[int]]:
    """Linear layers, their activations, and the index of the part whose output is the layer's features."""
    linears: list[torch.nn.Linear] = []
    activations: list[str] = []
    places: list[int] = []
    for index, part in enumerate(module):
        name = _activation_of(part)
        if isinstance(part, torch.nn.Linear):
            if is_lazy(part.weight) or part.weight.is_meta:
                raise TypeError(f"`module` must have parameters that hold numbers. Got {part} at {index}.")
            check_dtype("module", part.weight.dtype)
            linears.append(part)
            activations.append("identity")
            places.append(index)
        elif name is not None and activations and activations[-1] == "identity":
            activations[-1], places[-1] = name, index
        elif not isinstance(part, (torch.nn.Identity, torch.nn.Dropout)):
            raise TypeError(
                "`module` must hold Linear layers, each with at most one of the activations that the documentation "
                f"lists. Got {part} at {index}. {ANY_CALLABLE}"
            )
    return linears, activations, places


def _points(first: torch.nn.Linear) -> Tensor:
    """Points at each of which one unit of the first layer does not saturate, even where the others do."""
    rows = first.weight
    units = torch.arange(_POINTS, device=rows.device) % len(rows)
    generator = torch.Generator().manual_seed(0)
    arguments = 2 * torch.randn(_POINTS, generator=generator, dtype=torch.float64, device="cpu").to(rows)
    if first.bias is not None:
        arguments = arguments - first.bias[units]
    squares = rows.square().sum(dim=1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)
    return arguments[:, None] * (rows / squares)[units]


def _features(module: torch.nn.Sequential, place: int, points: Tensor) -> Tensor | None:
    """The output of the part at `place` when the module is called."""
    parts = list(module)
    found: list[Tensor] = []
    handle = parts[place].register_forward_hook(lambda _module, _arguments, output: found.append(output.clone()))
    try:
        output = module(points.clone())
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise TypeError(f"`module` must take points (*batch, {points.shape[1]}). Got {reason}.") from error
    finally:
        handle.remove()
    calls = [index for index, part in enumerate(parts) if part is parts[place]]
    if len(found) != len(calls):
        return None
    if all(isinstance(part, (torch.nn.Identity, torch.nn.Dropout)) for part in parts[place + 1 :]):
        return output if isinstance(output, Tensor) else None
    return found[calls.index(place)]


def _activation_of(module: torch.nn.Module) -> str | None:
    if isinstance(module, torch.nn.Softplus) and (module.beta != 1 or module.threshold < _LEAST_THRESHOLD):
        return None
    if isinstance(module, torch.nn.GELU) and module.approximate != "none":
        return None
    return _ACTIVATION_OF_MODULE.get(type(module))
