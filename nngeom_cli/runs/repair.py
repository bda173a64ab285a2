"""Finds what a run has on disk and where it resumes, and repairs what is damaged."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from nngeom_cli.errors import DamageError
from nngeom_cli.runs.context import RunContext
from nngeom_cli.store.checkpoints import read_checkpoint
from nngeom_cli.store.checksums import checksum, fault, read_manifest
from nngeom_cli.store.history import History
from nngeom_cli.store.layout import (
    CHECKPOINTS,
    HISTORY,
    MANIFEST,
    checkpoint_name,
    epoch_of,
    geometry_name,
    saved_epochs,
)
from nngeom_cli.store.run_directory import RunDirectory
from nngeom_cli.system.parallel import available_cores
from nngeom_cli.system.progress import Progress
from nngeom_cli.training.blocks import train_on_cores
from nngeom_cli.training.checkpoint import Checkpoint
from nngeom_cli.training.loop import batch_generators
from nngeom_cli.training.optimizers import state_names

__all__ = ["Inventory", "inventory_of", "repair"]

COLUMNS = ["epoch", "replicate", "loss", "accuracy"]


@dataclass
class Inventory:
    """What a run has on disk.

    Attributes:
        start: the newest whole checkpoint, from which training resumes; None starts from the initial network.
        lost: earlier epochs at which the run is measured and whose checkpoint is damaged.
        unmeasured: epochs up to the start whose geometry is damaged.
        notes: what is damaged, in sentences.
        sound: whether nothing up to the start is damaged.
    """

    start: Checkpoint | None = None
    lost: list[int] = field(default_factory=list)
    unmeasured: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sound: bool = True


def inventory_of(store: RunDirectory, context: RunContext) -> Inventory:
    """Checks all that a run has. The store takes on what is whole up to the start; nothing is written.

    If the manifest is damaged, a checkpoint counts as whole if it names the run and zip finds no damage in it.

    Raises:
        DamageError: there are checkpoints, and none is whole.
    """
    directory, found = store.directory, Inventory()
    manifest, what = read_manifest(directory, store.id)
    store.checksums = {name: value for name, value in manifest.items() if epoch_of(name) >= 0}
    present = {*saved_epochs(directory, CHECKPOINTS), *store.epochs(CHECKPOINTS)}
    faults: dict[int, str] = {}
    history = None
    for epoch in sorted(present | {epoch for epoch in context.probed if epoch <= max(present, default=-1)}):
        known = examined(store, epoch, context, alone=what is not None)
        if isinstance(known, str):
            faults[epoch] = known
        else:
            found.start, history = known
    store.history = History(history)
    last = -1 if found.start is None else found.start.epoch
    if last < 0 < max(present, default=0):
        skipped = " ".join(f"Skipped {checkpoint_name(epoch)}: {reason}." for epoch, reason in faults.items())
        raise DamageError(f"`{directory}` must hold a whole checkpoint. Got none. {skipped} {rerun_words(directory)}")
    if what is not None and present:
        found.notes.append(f"Writes {MANIFEST} again, and measures the geometry again: {what}.")
    for epoch, reason in faults.items():
        name = checkpoint_name(epoch)
        if epoch < last and epoch in context.probed:  # its checksum stays, to compare with when it is computed again
            found.lost.append(epoch)
            found.notes.append(f"Computes {name} again: {reason}.")
        else:
            store.checksums.pop(name, None)
            found.notes.append(f"Skipped {name}: {reason}.")
    for epoch in (epoch for epoch in context.probed if epoch <= last):
        name = geometry_name(epoch)
        if fresh := fault(directory / name, store.checksums.get(name)):
            found.unmeasured.append(epoch)
            if what is None:
                found.notes.append(f"Measures {name} again: {fresh}.")
    store.checksums = {name: value for name, value in store.checksums.items() if epoch_of(name) <= last}
    saved = directory / HISTORY
    if last >= 0 and fault(saved, store.history.checksum()):
        found.notes.append(f"Writes {HISTORY} again.")
    found.sound = not found.notes
    return found


def examined(
    store: RunDirectory, epoch: int, context: RunContext, *, alone: bool
) -> tuple[Checkpoint, pd.DataFrame] | str:
    """The checkpoint of an epoch with the history up to it, or what is wrong with it.

    Args:
        store: with the checksums of the manifest.
        epoch: of the checkpoint.
        context: of the run.
        alone: the manifest is damaged, so it counts without; it goes into the next one.
    """
    name = checkpoint_name(epoch)
    path = store.directory / name
    if (what := fault(path, store.checksums.get(name))) and not (alone and store.id and path.is_file()):
        return what
    try:
        checkpoint, history, run = read_checkpoint(path)
    except DamageError:
        return "it does not hold a checkpoint"
    if run != store.id:
        return "it belongs to another run"
    if checkpoint.epoch != epoch or not fitting(checkpoint, context) or list(history.columns[:4]) != COLUMNS:
        return "it belongs to another network or optimizer"
    if alone:
        store.checksums[name] = checksum(path)
    return checkpoint, history


def fitting(checkpoint: Checkpoint, context: RunContext) -> bool:
    """Whether a checkpoint has the names, shapes and types of a run's state."""
    network, config = context.network, context.config
    layers = [checkpoint.weights, *checkpoint.optimizer.values()]
    numbers = list(checkpoint.scores.values())
    if set(checkpoint.optimizer) != set(state_names(config.optimizer)):
        return False
    if (checkpoint.penalty is not None) != bool(config.optimizer.volume_penalty):
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
    except (RuntimeError, TypeError, ValueError):
        return False
    return len(checkpoint.generators) == network.replicates


def repair(store: RunDirectory, context: RunContext, found: Inventory, tell: Callable[[str], None]) -> None:
    """Computes again what is damaged before the start: checkpoints by training, geometry from checkpoints.

    Each file stays until its replacement is on disk. Files past the start are removed only from the manifest, until
    training reaches them.

    Raises:
        DamageError: an epoch has lost its checkpoint and its geometry, and training gives other bits than the run had.
    """
    if found.start is None:
        if (store.directory / MANIFEST).exists():
            store.write_manifest()
        return
    store.rewind()
    whole = [epoch for epoch in store.epochs(CHECKPOINTS) if epoch not in found.lost]
    for epoch in found.lost:
        before = max((known for known in whole if known < epoch), default=None)
        if epoch == 0 or before is not None:
            start = None if before is None else read_checkpoint(store.directory / checkpoint_name(before))[0]
            if store.write_again(trained(context, start, epoch)):
                whole.append(epoch)
                continue
        tell(f"Leaves {checkpoint_name(epoch)} as it is: training gives other bits here than the run had.")
    with Progress("checkpoint", len(found.unmeasured)) as progress:
        for place, epoch in enumerate(found.unmeasured):
            if epoch not in whole:
                raise DamageError(
                    f"`{store.directory}` must have a whole checkpoint where its geometry is damaged. Got none at "
                    f"epoch {epoch}. {rerun_words(store.directory)}"
                )
            context.network.load(read_checkpoint(store.directory / checkpoint_name(epoch))[0].weights)
            store.write_geometry(epoch, context.probe(context.network))
            store.write_manifest()
            progress.update(place + 1, "measured again")


def rerun_words(directory: Path) -> str:
    """What to do if a run cannot be resumed."""
    return f"`nngeom run --from {shlex.quote(str(directory))}` runs it again in a new directory."


def trained(context: RunContext, start: Checkpoint | None, epoch: int) -> Checkpoint:
    """The checkpoint of an epoch, trained from an earlier one; None starts from the initial network."""
    config = context.config
    generators = batch_generators(config.seed, config.replicates)
    checkpoints = train_on_cores(
        context.network, context.task, config.optimizer, generators, [epoch], start, cores=available_cores()
    )
    with contextlib.closing(checkpoints):
        return next(checkpoints)
