"""A submodule of a user's model as a function of one point, on a copy that leaves the model alone."""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

__all__ = ["Submodule"]

_MOST_NAMES = 30
_ONE_AT_A_TIME = "Its features must be those of one input, whatever else is in the batch."


class Submodule:
    """The output of one submodule of a model, flattened, as a function of one point.

    The model is copied in evaluation mode, without `torch.compile` and `DataParallel`, so that neither its modes, its
    buffers and parameters nor its hooks are touched. A call stops where the submodule has its output.

    Args:
        model: what is called with a batch of one input, `(1, *shape)`.
        layer: a name of `model.named_modules()`; the empty one is that of the model.
        shape: of one input; None for a vector of any length.
        normalize: whether features are divided by the square root of their number.
        dtype: of the copy's parameters and buffers; None leaves them as they are.

    Raises:
        TypeError: `model` is no module, is scripted, cannot be copied, or its parameters hold no numbers.
        ValueError: there is no such layer.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        layer: str,
        shape: tuple[int, ...] | None,
        *,
        normalize: bool,
        dtype: torch.dtype | None,
    ) -> None:
        self.layer, self.shape, self.normalize = layer, shape, normalize
        self._model, parts = _copied(model, dtype)
        if layer not in parts:
            raise ValueError(_unknown(layer, [name for name in parts if name]))
        self._calls: list[Any] = []
        self._stops = False
        parts[layer].register_forward_hook(self._keep)
        tensors = [*self._model.parameters(), *self._model.buffers()]
        self.device = tensors[0].device if tensors else torch.device("cpu")

    def __call__(self, point: Tensor) -> Tensor:
        """The features of one point: (d,) to (n,)."""
        self._calls, self._stops = [], True
        with suppress(_ReachedError):
            self._model(self._batch(point[None]))
        features: Tensor = self._calls[0].flatten()
        return features / math.sqrt(len(features)) if self.normalize and features.is_floating_point() else features

    def outputs(self, point: Tensor) -> Tensor:
        """What the whole model gives at one point, flattened: (d,) to (outputs,)."""
        self._stops = False
        with self._same_generators():
            output = self._model(self._batch(point[None].clone()))
        if not isinstance(output, Tensor):
            raise TypeError(f"`model` must return a tensor. Got {_kind(output)}. Name a `layer` that does.")
        return output.flatten()

    def check(self, points: Tensor) -> int:
        """How many numbers the widest submodule gives for one input.

        Args:
            points: (points, d), at least one.

        Raises:
            ValueError: this submodule does not give one tensor for each input, whatever else is in a batch.
        """
        shape, sizes = (1, *(self.shape or points.shape[1:])), [1]

        def count(_module: torch.nn.Module, _arguments: Any, output: Any) -> None:
            sizes.append(output.numel() if isinstance(output, Tensor) else 1)

        try:
            with ExitStack() as hooks:
                for part in self._model.modules():
                    hooks.callback(part.register_forward_hook(count).remove)
                output = self._captured(points[:1])
        except Exception as error:
            raise ValueError(
                f"`model` must take inputs of shape {shape} and {points.dtype}. Got {_reason(error)}. "
                "`shape` is that of one input; `dtype=None` keeps the dtype of the model. Tokens have no derivatives: "
                "give their embeddings, and the part of the model after them."
            ) from error
        name = f"`layer` must be called once when the model is, and return a tensor. Got {self.layer!r},"
        if len(output) != 1:
            raise ValueError(f"{name} which is called {len(output)} times.")
        if not isinstance(output[0], Tensor):
            raise ValueError(f"{name} which returns {_kind(output[0])}.")
        if self._draws(points[0]):
            raise ValueError(
                f"`model` must have no random numbers in evaluation mode. Got some before {self.layer!r}. "
                "Fix them, or turn them off."
            )
        pair = torch.cat([points[:1], points[-1:] if len(points) > 1 else points[:1] + 1])
        try:
            together = self._captured(pair)[0]
            alone = [self._captured(point[None])[0] for point in pair]
        except Exception:
            return max(sizes)  # a model that takes one input only depends on no other
        if not _independent(together, alone):
            raise ValueError(
                f"`model` must compute each input by itself. Got other features at {self.layer!r} where another input "
                f"is in the batch, as from BatchNorm without running statistics. {_ONE_AT_A_TIME}"
            )
        return max(sizes)

    def _captured(self, points: Tensor) -> list[Any]:
        self._calls, self._stops = [], False
        with self._same_generators(), torch.no_grad():
            self._model(self._batch(points.clone()))
        return self._calls

    def _draws(self, point: Tensor) -> bool:
        with self._same_generators(), torch.no_grad():
            before = torch.get_rng_state()
            self(point.clone())
            return not torch.equal(before, torch.get_rng_state())

    def _same_generators(self) -> AbstractContextManager[None]:
        """Gives torch's generators back as they were."""
        return torch.random.fork_rng([self.device] if self.device.type == "cuda" else [])

    def _batch(self, points: Tensor) -> Tensor:
        return points if self.shape is None else points.reshape(len(points), *self.shape)

    def _keep(self, _module: torch.nn.Module, _arguments: Any, output: Any) -> None:
        if self._stops:
            self._calls.append(output)
            raise _ReachedError
        self._calls.append(output.clone() if isinstance(output, Tensor) else output)  # later layers may change it


class _ReachedError(BaseException):
    """Leaves a model's forward, past any `except Exception` in it."""


def _copied(model: torch.nn.Module, dtype: torch.dtype | None) -> tuple[torch.nn.Module, dict[str, torch.nn.Module]]:
    """A copy of the model in evaluation mode, and its parts under the names that they have in the model."""
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"`model` must be a torch.nn.Module. Got {type(model).__name__}.")
    parts = list(model.modules())
    if any(isinstance(part, torch.jit.ScriptModule) for part in parts):
        raise TypeError(
            "`model` must be a torch.nn.Module in Python. Got a scripted one. Give the module it came from."
        )
    if any(is_lazy(each) or each.is_meta for each in (*model.parameters(), *model.buffers())):
        raise TypeError(
            "`model` must have parameters that hold numbers. Got some that have none yet. Call it once, or load them."
        )
    memo: dict[int, Any] = {}
    try:
        for part in parts:  # deepcopy refuses what has been computed from parameters, as weight_norm's weight
            for value in (*vars(part).values(), *part._buffers.values()):
                if isinstance(value, Tensor) and not value.is_leaf:
                    memo[id(value)] = value.detach().clone()
        for part in reversed(parts):
            inner = _wrapped(part)
            if inner is not None:
                memo[id(part)] = copy.deepcopy(inner, memo)
        copied: torch.nn.Module = copy.deepcopy(model, memo)
    except Exception as error:
        raise TypeError(f"`model` must be a module that `copy.deepcopy` can copy. Got {_reason(error)}.") from error
    names = {name: memo[id(part)] for name, part in model.named_modules(remove_duplicate=False)}
    for part in copied.modules():
        part.training = False
    if dtype is not None:
        copied._apply(_to(dtype))
    return copied.requires_grad_(False), {**dict(copied.named_modules(remove_duplicate=False)), **names}


def _wrapped(part: torch.nn.Module) -> torch.nn.Module | None:
    """The module that another one only runs in a different way."""
    name = {"DataParallel": "module", "DistributedDataParallel": "module", "OptimizedModule": "_orig_mod"}
    return part._modules.get(name.get(type(part).__name__, ""))


def _to(dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    def convert(values: Tensor) -> Tensor:
        if values.is_complex():
            return values.to(dtype.to_complex())
        return values.to(dtype) if values.is_floating_point() else values

    return convert


def _independent(together: Any, alone: list[Any]) -> bool:
    """Whether the features of two inputs in one batch are those of each by itself."""
    if together.numel() != 2 * alone[0].numel():
        return False
    axis = 0
    if together.ndim == alone[0].ndim:
        longer = [axis for axis, size in enumerate(alone[0].shape) if together.shape[axis] == 2 * size]
        axis = longer[0] if longer else 0
    for ours, theirs in zip(together.chunk(2, axis), alone, strict=True):
        if not theirs.is_floating_point():
            continue
        ours = ours.reshape(theirs.shape)
        allowed = torch.finfo(theirs.dtype).eps ** 0.5 * theirs.abs().nan_to_num(0, 0, 0).amax().item()
        if not torch.allclose(ours, theirs, 0, allowed, equal_nan=True):
            return False
    return True


def _unknown(layer: Any, names: list[str]) -> str:
    near = difflib.get_close_matches(str(layer), names, n=1)
    more = f", and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    meant = f" Did you mean {near[0]!r}?" if near else ""
    known = ", ".join(names[:_MOST_NAMES]) or "none but the model's own, ''"
    return f"`layer` must be a name of `model.named_modules()`: {known}{more}. Got {layer!r}.{meant}"


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
