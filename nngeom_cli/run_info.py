"""run.json as it is read back: what it must hold, and the epochs at which its run is measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nngeom_cli.checksums import ID, SEAL, fits_seal
from nngeom_cli.config import checkpoint_epochs, config_hash, staged
from nngeom_cli.errors import DamageError, one_line, shown

__all__ = ["OTHERWISE", "probed_epochs", "read_info"]

STATUSES = ("running", "complete", "diverged", "interrupted", "failed")
TYPES: dict[str, tuple[type, ...]] = {
    "id": (str,),
    "process": (dict,),
    "command": (str,),
    "config": (dict,),
    "config_hash": (str,),
    "extended_from": (list,),
    "resumed": (list,),
    "replicates": (list,),
    "diverged": (list,),
    "source": (dict,),
    "versions": (dict,),
    "wall_seconds": (float, int),
    "cpu_seconds": (float, int),
    "peak_memory_mib": (float, int),
}
OTHERWISE = "It was changed or damaged: copy it from a backup, or run again."


def read_info(path: Path, *, verify: bool) -> dict[str, Any]:
    """What a run.json holds.

    Raises:
        DamageError: it is not what a run writes; or `verify`, and it is not what its run wrote.
    """
    try:
        info = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DamageError(f"`{path}` must hold JSON. Got: {one_line(error)}. {OTHERWISE}") from error
    if not isinstance(info, dict) or info.get("status") not in STATUSES:
        raise DamageError(f"`{path}` must hold one of the statuses {', '.join(STATUSES)}. Got none. {OTHERWISE}")
    for key, kinds in TYPES.items():
        if key in info and (isinstance(info[key], bool) or not isinstance(info[key], kinds)):
            raise DamageError(f"`{path}: {key}` must be {kinds[0].__name__}. Got {shown(info[key])}. {OTHERWISE}")
    if verify and not _is_untouched(info):
        raise DamageError(f"`{path}` must be as the run wrote it. Got: its checksum is wrong. {OTHERWISE}")
    return info


def _is_untouched(info: Mapping[str, Any]) -> bool:
    """Of a run from before run.json had a checksum, only the config can be told."""
    try:
        if ID in info or SEAL in info:
            return ID in info and fits_seal(info)
        return info.get("config_hash") in (None, config_hash(info.get("config", {})))
    except (ValueError, RecursionError):  # what no run writes: infinity, a tree that is deeper than Python's stack
        return False


def probed_epochs(path: Path, info: Mapping[str, Any]) -> list[int]:
    """The epochs at which a run is measured, if it comes to its end.

    Args:
        path: of its run.json.
        info: what that holds.

    Raises:
        DamageError: it has no such config.
    """
    try:
        config = info["config"]
        lasts = [*info.get("extended_from", []), config["optimizer"]["epochs"]]
        return staged(lambda last: checkpoint_epochs(config["probe"]["checkpoints"], last), lasts)
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        what = f"{type(error).__name__}: {one_line(error)}"
        raise DamageError(f"`{path}: config` must say when the run is measured. Got {what}. {OTHERWISE}") from error
