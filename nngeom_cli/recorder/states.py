"""The state of a user's models as a file, and whether two of them are the same."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["differing", "state_bytes"]

State = dict[str, Tensor]


def states_of(models: Sequence[torch.nn.Module]) -> list[State]:
    """The tensors of each state_dict, in main memory."""
    return [
        {name: values.detach().cpu() for name, values in model.state_dict().items() if isinstance(values, Tensor)}
        for model in models
    ]


def state_bytes(models: Sequence[torch.nn.Module]) -> bytes:
    """The state_dict of a model, or a list of them, as torch saves it."""
    states, buffer = states_of(models), io.BytesIO()
    torch.save(states[0] if len(states) == 1 else states, buffer)
    return buffer.getvalue()


def differing(models: Sequence[torch.nn.Module], path: Path) -> str | None:
    """The first parameter or buffer that has other bits than in a file of `state_bytes`; None if there is none."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    before = [saved] if isinstance(saved, Mapping) else saved
    for then, now in zip(before, states_of(models), strict=True):
        for name in now:
            if name not in then or not _same(then[name], now[name]):
                return name
    return None


def _same(left: Tensor, right: Tensor) -> bool:
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    as_bytes = [values.contiguous().reshape(-1).view(torch.uint8) for values in (left, right)]  # NaN equals itself
    return torch.equal(*as_bytes)
