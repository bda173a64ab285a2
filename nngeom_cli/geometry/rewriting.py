"""Runs a callable with torch's functions replaced, by name, by others whose derivatives keep their digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from nngeom_cli.geometry.composites import COMPOSITES
from nngeom_cli.geometry.distances import DISTANCES
from nngeom_cli.geometry.jet_tensors import NUMBER_BY_NUMBER, JetTensor, applied

__all__ = ["Rewriting"]

_CHECKS = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
_IN_PLACE = frozenset(
    f"{name}_" for name in ("sigmoid", "tanh", "expm1", "silu", "mish", "elu", "celu", "selu", "gelu")
)
_STEADY = {"layer_norm", "group_norm", "instance_norm", "batch_norm", "det", "linalg_det"}  # do not saturate
_LOSSY = _IN_PLACE | (COMPOSITES.keys() - _STEADY)  # lose digits where they are not replaced, as these always do:
_LOSSY |= {"lstm", "gru", "rnn_tanh", "lstm_cell", "gru_cell", "rnn_tanh_cell", "logcumsumexp", "logaddexp2"}
_LOSSY |= {"cross_entropy_loss", "binary_cross_entropy_with_logits", "special_log_ndtr"}
_LOSSY |= {"lgamma", "special_gammaln", "mvlgamma", "special_multigammaln"}  # torch's trigamma has ten digits
_LOSSY |= {"digamma", "special_digamma", "special_psi", "polygamma", "special_polygamma"}


class Rewriting(TorchFunctionMode):
    """Replaces the functions in `COMPOSITES` and `DISTANCES`, and records what it could not replace.

    Functions of `torch.nn.functional` that are written in Python are opened, so that the functions within are replaced
    too, those of attention as well. The fast paths of attention, which have no derivatives, are off within the mode.

    Args:
        dtype: of the points.
        rewrites: whether to replace them, or only to record.
    """

    def __init__(self, dtype: torch.dtype, *, rewrites: bool = True) -> None:
        super().__init__()
        self.dtype, self.rewrites = dtype, rewrites
        self.lossy: set[str] = set()  # names of saturating functions without a composite
        self.coarsest: torch.dtype | None = None  # that digits are rounded to, if coarser than the points'

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        name = getattr(func, "__name__", "").partition(".")[0]
        if isinstance(func, FunctionType) and name not in ("softsign", "tanhshrink"):
            opened = _opened(func)
            if opened is not None:
                with self:
                    return opened(*args, **named)
        result = self.run(func, name, args, named)
        self._record(result, args)
        return result

    def run(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """The result of a function, or of what replaces it."""
        result = self._composite(name, args, named) if self.rewrites else None
        if result is None:
            if name in _LOSSY:
                self.lossy.add(name.removesuffix("_"))
            return func(*args, **named)
        return result

    @staticmethod
    def _composite(name: str, args: tuple[Any, ...], named: dict[str, Any]) -> Tensor | None:
        in_place = name in _IN_PLACE
        function = COMPOSITES.get(name[:-1] if in_place else name, DISTANCES.get(name))
        if function is None or named.get("out") is not None:
            return None
        named = {"dim" if key == "axis" else key: value for key, value in named.items() if key != "out"}
        if not args:
            args = (named.pop("input", named.pop("query", None)),)
        z = args[0]
        if not isinstance(z, Tensor) or not (z.is_floating_point() or (z.is_complex() and name in DISTANCES)):
            return None
        if in_place:  # a composite may keep its argument for a backward pass
            replaced = function(z.clone(), *args[1:], **named)
            return None if replaced is None else z.copy_(replaced)
        if isinstance(z, JetTensor) and name in NUMBER_BY_NUMBER:
            jet: Tensor | None = applied(function, name, args, named)
            return jet
        return function(*args, **named)

    def _record(self, result: Any, args: tuple[Any, ...]) -> None:
        if isinstance(result, Tensor) and result.is_floating_point():
            finest = min((_eps(each) for each in args if isinstance(each, Tensor)), default=1.0)
            if _eps(result) > max(finest, torch.finfo(self.coarsest or self.dtype).eps):
                self.coarsest = result.dtype


@cache
def _opened(function: FunctionType) -> FunctionType | None:
    """A function of `torch.nn.functional` without the check that hands it over as a whole; None if it has none."""
    if function.__module__ != "torch.nn.functional" or not set(_CHECKS) & set(function.__code__.co_names):
        return None
    scope = function.__globals__ | dict.fromkeys(_CHECKS, lambda *_: False)
    opened = FunctionType(function.__code__, scope, function.__name__, function.__defaults__, function.__closure__)
    opened.__kwdefaults__ = function.__kwdefaults__
    return opened


def _eps(values: Tensor) -> float:
    return torch.finfo(values.dtype).eps if values.is_floating_point() else 1.0
