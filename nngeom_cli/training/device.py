"""The device that a config names."""

from __future__ import annotations

import torch

from nngeom_cli.errors import ConfigError

__all__ = ["resolve_device"]


def resolve_device(device: str) -> torch.device:
    """The device that `device` names: `auto` is the GPU if there is one.

    Raises:
        ConfigError: this machine has no such device.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return torch.device("cuda" if available["cuda"] else "cpu")
    if not available[device]:
        raise ConfigError(
            f"`device` must be a device of this machine. Got {device}, which torch {torch.__version__} does not find. "
            "Choose device=auto or device=cpu."
        )
    return torch.device(device)
