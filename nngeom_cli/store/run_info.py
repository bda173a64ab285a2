"""Reads run.json: checks its content, and finds the epochs at which the run is measured."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from nngeom_cli.config.optimizer import MOST_EPOCHS
from nngeom_cli.config.run import config_hash
from nngeom_cli.config.schedule import checkpoint_epochs, staged
from nngeom_cli.errors import ConfigError, DamageError, one_line, shown
from nngeom_cli.store.checksums import ID, SEAL, fits_seal
from nngeom_cli.store.layout import CHECKPOINTS, GEOMETRY, HISTORY, INFO, MANIFEST
from nngeom_cli.system.atomic import read_json
from nngeom_cli.system.process import is_gone

__all__ = [
    "CLEANED",
    "FINISHED",
    "OTHERWISE",
    "described_info",
    "last_epoch",
    "probed_epochs",
    "read_info",
    "refuse_cleaned",
    "refuse_lost",
    "status_of",
]

CLEANED = "cleaned"  # key: when the checkpoints were dropped

FINISHED = ("complete", "diverged")
STATUSES = ("running", "complete", "diverged", "interrupted", "failed")
TEXT, WHOLE, FLAG = (str,), (int,), (bool,)
NUMBER, LOST, ANY = (float, int), (float, int, NoneType), (dict,)
NEVER = ()
SHAPES: dict[str, Any] = {  # types of a value; [of each item], {key: of its value}; `key?` is optional, `...` any other
    "id": TEXT,
    "process": {"host": TEXT, "pid": WHOLE, "started": (str, NoneType)},
    "command": TEXT,
    "config": ANY,
    "config_hash": TEXT,
    "extended_from": [WHOLE],
    "stopped_at": WHOLE,
    "solved_at": [{"replicate": WHOLE, "epoch": WHOLE}],
    "measured_from": {"path": TEXT, "config_hash": TEXT, "id?": TEXT, ...: NEVER},
    "resumed": [{"at": TEXT, "epoch": WHOLE}],
    "replicates": [
        {"replicate": WHOLE, "loss": LOST, "accuracy": LOST, "solved": FLAG}
        | {"test_loss?": LOST, "test_accuracy?": LOST, "volume_penalty?": LOST, ...: NEVER}
    ],
    "diverged": [{"replicate": WHOLE, "epoch": WHOLE}],
    "source": {...: TEXT},
    "versions": {...: TEXT},
    "plugins": {...: TEXT},
    "git": {"commit": TEXT, "dirty": FLAG},
    "device": TEXT,
    "started": TEXT,
    "finished": TEXT,
    "error": TEXT,
    CLEANED: TEXT,
    "wall_seconds": NUMBER,
    "cpu_seconds": NUMBER,
    "peak_memory_mib": NUMBER,
}
WORDS = {TEXT: "a string", WHOLE: "an integer", FLAG: "true or false", NUMBER: "a number", LOST: "a number or null"}
MOST_KEYS, LONGEST_KEY = 1_000, 100  # of a config, and characters of each
LARGEST = 2**63 - 1  # integer: later code computes with 64 bits
MOST_MEASURED = 1_000_000  # epochs considered when the stages of a run are joined
OTHERWISE = "It was changed or damaged: copy it from a backup, or run again."


def read_info(path: Path, *, verify: bool) -> dict[str, Any]:
    """The content of a run.json.

    Raises:
        DamageError: it is not what a run writes or, with `verify`, not what its run wrote.
    """
    try:
        info = read_json(path)
    except (OSError, ValueError) as error:
        raise DamageError(f"`{path}` must hold JSON. Got: {one_line(error)}. {OTHERWISE}") from error
    if not isinstance(info, dict) or info.get("status") not in STATUSES:
        raise DamageError(f"`{path}` must hold one of the statuses {', '.join(STATUSES)}. Got none. {OTHERWISE}")
    for key, shape in SHAPES.items():
        if key in info and not _has_shape(info[key], shape):
            raise DamageError(f"`{path}: {key}` must be {_in_words(shape)}. Got {shown(info[key])}. {OTHERWISE}")
    if ID in info and re.fullmatch(r"[\w.-]+", info[ID], re.ASCII) is None:  # it is written into SHA256SUMS
        raise DamageError(f"`{path}: {ID}` must be a word. Got {shown(info[ID])}. {OTHERWISE}")
    if verify and not _is_untouched(info):
        raise DamageError(f"`{path}` must be as the run wrote it. Got: its checksum is wrong. {OTHERWISE}")
    return info


def described_info(directory: Path, *, verify: bool) -> dict[str, Any]:
    """The content of the run.json in a run directory.

    Raises:
        FileNotFoundError: there is none.
        DamageError: as `read_info`, or it was lost.
    """
    path = directory / INFO
    if not path.is_file():
        refuse_lost(directory)
        raise FileNotFoundError(
            f"`{directory}` must be a run directory. Got one without {INFO}. `nngeom run` prints where a run is."
        )
    return read_info(path, verify=verify)


def status_of(info: Mapping[str, Any]) -> str:
    """running, complete, diverged, interrupted or failed; interrupted also where the process of a run has ended."""
    status = str(info["status"])
    return "interrupted" if status == "running" and is_gone(info.get("process", {})) else status


def _has_shape(value: Any, shape: Any) -> bool:
    """Whether a JSON value has one of the types, or is a list or mapping of such values."""
    if isinstance(shape, list):
        return isinstance(value, list) and all(_has_shape(item, shape[0]) for item in value)
    if isinstance(shape, dict):
        required = {key for key in shape if key is not ... and not key.endswith("?")}
        if not isinstance(value, dict) or not required <= set(value):
            return False
        others = shape.get(..., (object,))
        return all(_has_shape(item, shape.get(key, shape.get(f"{key}?", others))) for key, item in value.items())
    if shape == ANY:
        return isinstance(value, dict) and _is_little(value)
    if isinstance(value, float) and not math.isfinite(value):
        return False
    if isinstance(value, int) and abs(value) > LARGEST:
        return False
    return isinstance(value, shape) and (type(value) is not bool or shape in (FLAG, (object,)))


def _is_little(config: dict[str, Any]) -> bool:
    """Whether a config has few enough keys for a table, no long ones, and no number that JSON lacks."""
    found, nodes = 0, [config]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            found += len(node)
            if found > MOST_KEYS or max(map(len, node), default=0) > LONGEST_KEY:
                return False
            nodes += node.values()
        elif isinstance(node, list):
            nodes += node
        elif isinstance(node, float) and not math.isfinite(node):
            return False
    return True


def _in_words(shape: Any) -> str:
    """A shape in words, to follow "must be"."""
    if isinstance(shape, list):
        return f"a list, each item {_in_words(shape[0])}"
    if isinstance(shape, dict):
        keys = [f"{key}, {_in_words(of)}" for key, of in shape.items() if key is not ...]
        return f"a mapping with {'; '.join(keys)}" if keys else f"a mapping, each value {_in_words(shape[...])}"
    return WORDS.get(shape, "a mapping" if shape == ANY else "a string or null")


def _is_untouched(info: Mapping[str, Any]) -> bool:
    """Whether the checksum fits. In a run saved before run.json had one, only the config is checked."""
    try:
        if ID in info or SEAL in info:
            return ID in info and fits_seal(info)
        return info.get("config_hash") in (None, config_hash(info.get("config", {})))
    except (ValueError, RecursionError):  # no run writes it: infinity, or a tree deeper than Python's stack
        return False


def last_epoch(info: Mapping[str, Any]) -> int:
    """The epoch at which a run ends: the last of its config, or that at which it stopped early."""
    return int(info.get("stopped_at", info["config"]["optimizer"]["epochs"]))


def probed_epochs(path: Path, info: Mapping[str, Any]) -> list[int]:
    """The epochs at which a run is measured by its end.

    Args:
        path: of its run.json.
        info: its content.

    Raises:
        DamageError: its config does not say when the run is measured.
    """
    try:
        config = info["config"]
        lasts = [*info.get("extended_from", []), config["optimizer"]["epochs"]]
        stopped_at = info.get("stopped_at", lasts[-1])
        spec = config["probe"]["checkpoints"]
        count = spec["count"] if isinstance(spec, dict) else len(spec)
        listed = [] if isinstance(spec, dict) else spec
        if any(type(number) is not int for number in (count, *lasts, stopped_at, *listed)):
            raise TypeError("a value that is not an integer")
        sound = min([0, *listed]) == 0 < min(lasts) <= max(lasts) <= MOST_EPOCHS
        sound = sound and 0 < stopped_at <= lasts[-1]
        if not (sound and len(lasts) * count <= MOST_MEASURED):
            raise ValueError(f"{count} checkpoints of {len(lasts)} stages up to {max(lasts)}")
        return staged(lambda last: checkpoint_epochs(spec, last), lasts, stopped_at)
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        what = f"{type(error).__name__}: {one_line(error)}"
        raise DamageError(f"`{path}: config` must say when the run is measured. Got {what}. {OTHERWISE}") from error


def refuse_cleaned(directory: Path, info: Mapping[str, Any]) -> None:
    """Raises ConfigError if the checkpoints of a run, which its caller needs, were dropped by `nngeom clean`."""
    if CLEANED in info:
        again = "" if "recorded" in info.get("config", {}) else f"nngeom run --from {shlex.quote(str(directory))}"
        suggestion = f"`{again}` trains it again, in a new directory." if again else "Record it again."
        raise ConfigError(
            f"`{directory}` must have its checkpoints. Got a run from which `nngeom clean` dropped them. {suggestion}"
        )


def refuse_lost(directory: Path) -> None:
    """Raises DamageError if a directory without run.json holds files of a run."""
    if any((directory / name).exists() for name in (MANIFEST, HISTORY, GEOMETRY, CHECKPOINTS)):
        raise DamageError(
            f"`{directory}` must hold {INFO}. Got the files of a run without it. Copy it from a backup, or run again."
        )
