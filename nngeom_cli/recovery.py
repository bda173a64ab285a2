"""Where a run can go on: its newest checkpoint that is whole."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from nngeom_cli.checkpoints import read_checkpoint
from nngeom_cli.errors import DamageError
from nngeom_cli.files import fault, read_manifest
from nngeom_cli.optimizers import state_names
from nngeom_cli.runner import Laboratory, Start
from nngeom_cli.store import CHECKPOINTS, GEOMETRY, RunDirectory, checkpoint_name, epoch_of, geometry_name, saved_epochs
from nngeom_cli.training import Checkpoint

__all__ = ["recovered", "remove_rest"]

COLUMNS = ["epoch", "replicate", "loss", "accuracy"]


def recovered(store: RunDirectory, laboratory: Laboratory) -> tuple[Start, list[str]]:
    """Where a run can go on, and what was found damaged. The store takes on the manifest and the history until there.

    That is the newest whole checkpoint before which each probed epoch has a whole one, too: what was measured there and
    is damaged can be measured again. Without any checkpoint it is the beginning. Nothing is written.

    Raises:
        DamageError: there are checkpoints, and none is whole.
    """
    directory = store.directory
    store.checksums = {name: value for name, value in read_manifest(directory).items() if epoch_of(name) >= 0}
    present = {*saved_epochs(directory, CHECKPOINTS), *store.epochs(CHECKPOINTS)}
    due = {epoch for epoch in laboratory.probed if epoch <= max(present, default=-1)}
    whole: dict[int, tuple[Checkpoint, pd.DataFrame]] = {}
    faults: dict[int, str] = {}
    for epoch in sorted(present | due):
        found = examined(store, epoch, laboratory)
        if isinstance(found, str):
            faults[epoch] = found
        else:
            whole[epoch] = found
    notes = [f"Skipped {checkpoint_name(epoch)}: {what}." for epoch, what in faults.items()]
    if not whole and (store.epochs(CHECKPOINTS) or len(present) > 1):
        raise DamageError(
            f"`{directory}` must hold a whole checkpoint. Got none. {' '.join(notes)} "
            f"`nngeom run --from {directory}` begins again in a new directory."
        )
    for epoch in faults:
        store.checksums.pop(checkpoint_name(epoch), None)
    lost = min(set(faults) & set(laboratory.probed), default=laboratory.config.optimizer.epochs + 1)
    last = max((epoch for epoch in whole if epoch < lost), default=None)
    if last is None:
        return Start(), notes
    checkpoint, history = whole[last]
    store.history = [history]
    unmeasured = []
    for epoch in (epoch for epoch in laboratory.probed if epoch <= last):
        name = geometry_name(epoch)
        if what := fault(directory / name, store.checksums.get(name)):
            unmeasured.append(whole[epoch][0])
            notes.append(f"Measures {name} again: {what}.")
    return Start(checkpoint, unmeasured), notes


def examined(store: RunDirectory, epoch: int, laboratory: Laboratory) -> tuple[Checkpoint, pd.DataFrame] | str:
    """The checkpoint of an epoch with the history until then, or what is wrong with it."""
    name = checkpoint_name(epoch)
    if what := fault(store.directory / name, store.checksums.get(name)):
        return what
    try:
        checkpoint, history = read_checkpoint(store.directory / name)
    except DamageError:
        return "it holds something else"
    fits = checkpoint.epoch == epoch and fitting(checkpoint, laboratory) and list(history.columns[:4]) == COLUMNS
    return (checkpoint, history) if fits else "it is of another network or optimizer"


def fitting(checkpoint: Checkpoint, laboratory: Laboratory) -> bool:
    """Whether a checkpoint has the names, shapes and types of a run's state."""
    network, config = laboratory.network, laboratory.config
    layers = [checkpoint.weights, *checkpoint.optimizer.values()]
    numbers = [checkpoint.loss, checkpoint.accuracy, *checkpoint.test.values()]
    if set(checkpoint.optimizer) != set(state_names(config.optimizer)):
        return False
    if any([values.shape for values in layer] != network.shapes for layer in layers):
        return False
    if any(values.dtype != np.dtype(config.dtype) for layer in layers for values in layer):
        return False
    if any(values.shape != (network.replicates,) or values.dtype != np.float64 for values in numbers):
        return False
    try:
        for generator in checkpoint.generators:
            torch.Generator().set_state(torch.from_numpy(generator).clone())
    except (RuntimeError, TypeError):
        return False
    return len(checkpoint.generators) == network.replicates


def remove_rest(store: RunDirectory, start: Start) -> None:
    """Removes the files that lie ahead of `start`, or count for nothing; history.csv ends there."""
    last = start.checkpoint.epoch if start.checkpoint else -1
    names = [geometry_name(epoch) for epoch in saved_epochs(store.directory, GEOMETRY)]
    names += [checkpoint_name(epoch) for epoch in saved_epochs(store.directory, CHECKPOINTS)]
    store.forget([name for name in {*names, *store.checksums} if name not in store.checksums or epoch_of(name) > last])
    if start.checkpoint:  # it is on disk before history.csv is: the run may have ended in between
        store.write_history()
