"""Keeps geometry in the dtype of its points, even where the caller's training loop uses `torch.autocast`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

__all__ = ["without_autocast"]

_DEVICES = ("cpu", "cuda", "mps")
P = ParamSpec("P")
R = TypeVar("R")


def without_autocast(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, with any surrounding `torch.autocast` off while it runs.

    Autocast would silently compute float32 products in bfloat16, and R is a difference of such products.

    Example:
        >>> product = without_autocast(torch.matmul)
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     product(torch.eye(2), torch.ones(2)).dtype
        torch.float32
    """

    @wraps(function)
    def exact(*args: P.args, **kwargs: P.kwargs) -> R:
        with ExitStack() as stack:
            for device in _DEVICES:
                if torch.is_autocast_enabled(device):
                    stack.enter_context(torch.autocast(device, enabled=False))
            return function(*args, **kwargs)

    return exact
