"""Names of the files of a run, and of a sweep. A file appears whole or not at all.

run.json       status, process, command, config, versions, times, device, final metrics of each replicate
history.csv    epoch, replicate, loss, accuracy; test_loss and test_accuracy if the task keeps test examples;
               volume_penalty if there is one
geometry/      epoch-000200.nc, one labelled dataset per probed epoch
checkpoints/   epoch-000200.npz: weights, optimizer and generator states, the history until then; of a recorded run
               epoch-000200.pt: the model's state_dict, of several models a list of them
SHA256SUMS     checksums of history.csv and of the files of geometry/ and checkpoints/
display.nc     the replicate that heatmaps show, measured again on a finer grid at the epochs that they show
figures/       pictures, drawn from the files above; checkpoints/epoch-000200.png of each probed epoch
report.html    the page of `nngeom report`
tracker/       what a tracker such as TensorBoard keeps, made from the files above
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = [
    "CHECKPOINTS",
    "DISPLAY",
    "FIGURES",
    "GEOMETRY",
    "HISTORY",
    "INFO",
    "MANIFEST",
    "SWEEP",
    "TRACKER",
    "checkpoint_name",
    "epoch_of",
    "geometry_name",
    "picture_name",
    "saved_epochs",
    "state_name",
]

INFO = "run.json"
HISTORY = "history.csv"
GEOMETRY = "geometry"
CHECKPOINTS = "checkpoints"
FIGURES = "figures"
MANIFEST = "SHA256SUMS"
DISPLAY = "display.nc"
SWEEP = "sweep.json"
TRACKER = "tracker"


def geometry_name(epoch: int) -> str:
    return f"{GEOMETRY}/epoch-{epoch:06d}.nc"


def checkpoint_name(epoch: int) -> str:
    return f"{CHECKPOINTS}/epoch-{epoch:06d}.npz"


def state_name(epoch: int) -> str:
    return f"{CHECKPOINTS}/epoch-{epoch:06d}.pt"


def picture_name(epoch: int) -> str:
    """Of the picture of a checkpoint, in the folder of figures."""
    return f"{CHECKPOINTS}/epoch-{epoch:06d}.png"


def epoch_of(name: str) -> int:
    """The epoch in a name that one of the functions above gave; -1 in any other name."""
    found = re.fullmatch(
        rf"(?:{GEOMETRY}/epoch-([0-9]{{6,18}})\.nc|{CHECKPOINTS}/epoch-([0-9]{{6,18}})\.(?:npz|pt))", name
    )
    return int(found[1] or found[2]) if found else -1


def saved_epochs(directory: Path, folder: str) -> dict[int, Path]:
    """The files of `folder` in a run directory, by their epoch, in order."""
    paths = {epoch_of(f"{folder}/{path.name}"): path for path in (directory / folder).glob("epoch-*")}
    return {epoch: paths[epoch] for epoch in sorted(paths) if epoch >= 0}
