"""What a run tells its user at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from nngeom_cli.config import Config
from nngeom_cli.reading import bottleneck_words, flat_words, layer_words, unreliable, volume_rank
from nngeom_cli.task_schemas import FileConfig
from nngeom_cli.tasks import Task
from nngeom_cli.training import Checkpoint

__all__ = ["metrics", "remarks", "report"]


def metrics(checkpoint: Checkpoint, seeds: Sequence[int], task: Task) -> list[dict[str, Any]]:
    """Loss, accuracy and success of each replicate."""
    return [
        {
            "replicate": seed,
            "loss": float(loss),
            "accuracy": float(accuracy),
            "solved": bool(accuracy >= task.solved_accuracy and math.isfinite(loss)),
        }
        | {name: float(values[place]) for name, values in checkpoint.test.items()}
        for place, (seed, loss, accuracy) in enumerate(zip(seeds, checkpoint.loss, checkpoint.accuracy, strict=True))
    ]


def remarks(measured: xr.Dataset) -> list[str]:
    """What a reader of the final geometry must know: bottlenecks, flat layers, points without a metric or a digit."""
    notes, widths = [], measured.attrs["widths"]
    needed = {volume_rank(measured.attrs, str(name)) for name in measured if "volume_element" in str(name)}
    for layer in measured.layer.values.tolist():
        name = layer_words(widths, layer)
        bottlenecks = [words for rank in sorted(needed) if (words := bottleneck_words(widths, layer, rank))]
        notes += [f"{name} is {words}" for words in bottlenecks[:1]]
        if "ricci_scalar" in measured and not bottleneck_words(widths, layer, 2):
            R, error = measured.ricci_scalar.sel(layer=layer), measured.ricci_scalar_error.sel(layer=layer)
            if bool((R == 0).all()):
                notes.append(f"{name} is {flat_words(widths, layer)}")
            if missing := int((~np.isfinite(R)).sum()):
                notes.append(f"{name}: no curvature at {missing} of {R.size} points, J is rank deficient there")
            if doubtful := int(unreliable(R, error).sum()):
                notes.append(f"{name}: no reliable digit of R at {doubtful} of {R.size} points")
    return notes


def report(config: Config, task: Task, final: list[dict[str, Any]], figures: list[Path], where: str) -> None:
    """What the user reads when the run is over."""
    widths = "-".join(map(str, [task.dimension, *config.architecture.hidden, task.outputs]))
    print(
        f"{task.name} {widths} {config.architecture.activation}: {config.replicates} replicates, "
        f"{config.optimizer.epochs} epochs {where}"
    )
    if isinstance(config.task, FileConfig):
        print("class " + ", ".join(f"{place} = {name}" for place, name in enumerate(config.task.class_names or [])))
    for score in ("accuracy", "test_accuracy"):
        values = [f"{row['replicate']}: {row[score]:.3f}" for row in final if score in row]
        heading = f"{score.replace('_', ' ')} by seed  "
        for start in range(0, len(values), 8):
            print((heading if start == 0 else " " * len(heading)) + "  ".join(values[start : start + 8]))
    solved = sum(row["solved"] for row in final)
    print(f"{solved} of {len(final)} replicates solved the task (accuracy of at least {task.solved_accuracy:g})")
    for figure in figures:
        print(f"figure {figure}")
