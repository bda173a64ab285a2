"""The state of a run as plain arrays: what a checkpoint file holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from nngeom_cli.config.nested import leaves
from nngeom_cli.errors import DamageError
from nngeom_cli.store.arrays import read_arrays
from nngeom_cli.store.history import WHOLE_COLUMNS

if TYPE_CHECKING:
    from nngeom_cli.training.checkpoint import Checkpoint

__all__ = ["WHOLE_COLUMNS", "arrays_of", "read_checkpoint", "read_weights"]

ALONE = ("loss", "accuracy", "generators")  # single arrays of a checkpoint; the others are lists or mappings of arrays


def arrays_of(checkpoint: Checkpoint, history: pd.DataFrame, run: str | None) -> dict[str, np.ndarray]:
    """All that is needed to resume from `checkpoint`, by name: `weights.0`, `optimizer.mean.0`, `generators`, ...

    Args:
        checkpoint: the state.
        history: rows up to its epoch.
        run: id of its run, if that has one.
    """
    state = {name: value for name, value in vars(checkpoint).items() if value is not None}
    table = {"history": history.to_numpy(dtype=np.float64), "history_columns": np.array(list(history.columns))}
    arrays = {name: np.asarray(value) for name, value in leaves(state, lists="numbered")}
    return arrays | table | ({} if run is None else {"run": np.array(run)})


def read_checkpoint(path: Path) -> tuple[Checkpoint, pd.DataFrame, str | None]:
    """The checkpoint in a file, the history up to its epoch, and the id of its run, if that has one.

    Raises:
        DamageError: the file does not hold a checkpoint.
    """
    from nngeom_cli.training.checkpoint import Checkpoint

    arrays = read_arrays(path)
    try:
        run = str(arrays.pop("run")) if "run" in arrays else None
        table = pd.DataFrame(arrays.pop("history"), columns=arrays.pop("history_columns").tolist())
        history = table.astype(dict.fromkeys(WHOLE_COLUMNS, int))
        state: dict[str, Any] = {"weights": _layers(arrays, "weights"), "optimizer": {}}
        for name in {key.split(".")[1] for key in arrays if key.startswith("optimizer.")}:
            state["optimizer"][name] = _layers(arrays, f"optimizer.{name}")
        state["test"] = {key.partition(".")[2]: arrays[key] for key in arrays if key.startswith("test.")}
        state |= {name: arrays[name] for name in ALONE} | {"penalty": arrays.get("penalty")}
        return Checkpoint(epoch=int(arrays["epoch"]), **state), history, run
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise _other_arrays(path) from error


def read_weights(path: Path) -> list[np.ndarray]:
    """The weights of each layer in a checkpoint file.

    Raises:
        DamageError: the file does not hold them.
    """
    arrays = read_arrays(path)
    try:
        weights = _layers(arrays, "weights")
    except KeyError as error:
        raise _other_arrays(path) from error
    if not weights or any(layer.ndim < 2 for layer in weights):  # (replicates, ...)
        raise _other_arrays(path)
    return weights


def _layers(arrays: dict[str, np.ndarray], name: str) -> list[np.ndarray]:
    count = sum(key.startswith(f"{name}.") for key in arrays)
    return [arrays[f"{name}.{layer}"] for layer in range(count)]


def _other_arrays(path: Path) -> DamageError:
    return DamageError(f"`{path}` must hold a checkpoint. Got other arrays. `nngeom resume` repairs a run.")
