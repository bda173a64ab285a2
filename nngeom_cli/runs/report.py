"""What a run prints and logs."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from nngeom_cli.analysis.data import data_words
from nngeom_cli.analysis.degeneracy import bottleneck_words, flat_words, layer_words, unreliable, volume_rank
from nngeom_cli.analysis.sampling import sign_flips, undersampled_words
from nngeom_cli.config.optimizer import AdamConfig
from nngeom_cli.config.probe import MOST_CURVED
from nngeom_cli.config.run import Config
from nngeom_cli.config.task import FileConfig
from nngeom_cli.errors import ConfigError, DamageError, RunError, printable
from nngeom_cli.store.run_directory import RunDirectory
from nngeom_cli.system.atomic import unshared
from nngeom_cli.system.held_folder import trouble_of
from nngeom_cli.tasks.task import Task
from nngeom_cli.training.checkpoint import Checkpoint

__all__ = [
    "divergence_words",
    "job_log",
    "laziness_words",
    "metrics",
    "refuse_divergence",
    "remarks",
    "report",
    "scores_words",
    "tell",
    "tell_remarks",
    "warn",
]

log = logging.getLogger(__name__)

MOST_NAMED = 8  # diverged replicates in a sentence


def metrics(checkpoint: Checkpoint, seeds: Sequence[int], task: Task) -> list[dict[str, Any]]:
    """Loss, accuracy and success of each replicate; NaN, and no success, where the loss is not finite."""
    diverged = ~np.isfinite(checkpoint.loss)
    scores = {name: np.where(diverged, np.nan, values) for name, values in checkpoint.scores.items()}
    return [
        {
            "replicate": seed,
            "loss": float(scores["loss"][place]),
            "accuracy": float(scores["accuracy"][place]),
            "solved": bool(scores["accuracy"][place] >= task.solved_accuracy),
        }
        | {name: float(values[place]) for name, values in scores.items() if name not in ("loss", "accuracy")}
        for place, seed in enumerate(seeds)
    ]


def scores_words(checkpoint: Checkpoint) -> str:
    """Mean loss and accuracy of the replicates whose loss is finite, and how many others there are.

    Example:
        >>> loss, accuracy = np.array([0.5, np.nan]), np.array([0.75, np.nan])
        >>> scores_words(Checkpoint(3, loss, accuracy, weights=[], optimizer={}, generators=np.zeros((2, 1))))
        'mean loss 0.5, mean accuracy 0.7500, loss of 1 of 2 replicates not finite'
    """
    finite = np.isfinite(checkpoint.loss)
    parts = []
    if finite.any():
        with np.errstate(over="ignore"):  # finite losses of a network that is about to diverge
            parts.append(f"mean loss {checkpoint.loss[finite].mean():.6g}")
        parts.append(f"mean accuracy {checkpoint.accuracy[finite].mean():.4f}")
    if not finite.all():
        parts.append(f"loss of {(~finite).sum()} of {finite.size} replicates not finite")
    return ", ".join(parts)


def divergence_words(
    diverged: Sequence[Mapping[str, int]], replicates: int, lr: float, volume_penalty: float = 0.0
) -> str:
    """Which replicates diverged, when, and what may help.

    Example:
        >>> divergence_words([{"replicate": 3, "epoch": 80}], 8, 2)
        'The loss of 1 of 8 replicates is not finite at the end (seed 3 at epoch 80). Lower `optimizer.lr`, which is 2.'
    """
    named = [f"{row['replicate']} at epoch {row['epoch']}" for row in diverged[:MOST_NAMED]]
    more = f" and {len(diverged) - MOST_NAMED} more" if len(diverged) > MOST_NAMED else ""
    penalized = (
        f" Or the penalized layer lost rank, where log V is -inf: bring `optimizer.volume_penalty`, which is "
        f"{volume_penalty:g}, nearer to 0, or take a smooth activation."
    )
    return (
        f"The loss of {len(diverged)} of {replicates} replicates is not finite at the end (seed {', '.join(named)}"
        f"{more}). Lower `optimizer.lr`, which is {lr:g}.{penalized if volume_penalty else ''}"
    )


def laziness_words(config: Config) -> str | None:
    """What keeps an output scale from making training lazy; None where nothing does."""
    scale, optimizer = config.architecture.output_scale, config.optimizer
    if scale in (None, 1.0):
        return None
    reasons = []
    if isinstance(optimizer, AdamConfig):
        reasons.append(f"{optimizer.name} divides each gradient by its size, and so cancels 1 / alpha^2")
    if optimizer.weight_decay > 0:
        reasons.append(f"optimizer.weight_decay={optimizer.weight_decay:g} moves the weights whatever alpha is")
    if not reasons:
        return None
    return (
        f"`architecture.output_scale={scale:g}` does not make training lazier or less lazy here: "
        f"{', and '.join(reasons)}. Use optimizer=sgd optimizer.weight_decay=0."
    )


def remarks(measured: xr.Dataset) -> list[str]:
    """Remarks on the final geometry: bottlenecks, flat layers, points without curvature or a reliable digit."""
    if measured.sizes["replicate"] == 0:
        return []
    notes, about, widths = [], measured.attrs, measured.attrs["widths"]
    volumes = [str(name) for name in measured if "volume_element" in str(name)]
    for layer in measured.layer.values.tolist():
        name = layer_words(about, layer)
        needed = {volume_rank(about, volume, layer) for volume in volumes}
        bottlenecks = [words for rank in sorted(needed) if (words := bottleneck_words(about, layer, rank))]
        notes += [f"{name} is {words}" for words in bottlenecks[:1]]
        if "ricci_scalar" in measured and not bottleneck_words(about, layer, volume_rank(about, "ricci_scalar")):
            R, error = measured.ricci_scalar.sel(layer=layer), measured.ricci_scalar_error.sel(layer=layer)
            if bool((R == 0).all()):
                notes.append(f"{name} is {flat_words(about, layer)}")
            if missing := int((~np.isfinite(R)).sum()):
                notes.append(f"{name}: no curvature at {missing} of {R.size} points, J is rank deficient there")
            if doubtful := int(unreliable(R, error).sum()):
                notes.append(f"{name}: no reliable digit of R at {doubtful} of {R.size} points")
            flips = sign_flips(R, error) if "x" in R.dims else 0.0
            if words := undersampled_words(flips, R.sizes.get("x", 0)):
                notes.append(f"{name} in the statistics is {words}: `nngeom measure RUN probe.resolution=N` is finer")
    if "converged" in measured and (lost := int((measured.converged == 0).sum())):
        notes.append(
            f"{lost} of {measured.converged.size} geodesics did not converge: their lengths are those of the best "
            "paths found"
        )
    if measured.attrs["kind"] == "data" and widths[0] > MOST_CURVED and max(widths[1:]) >= widths[0]:
        notes.append(
            f"R is measured at examples of at most {MOST_CURVED} dimensions; others take "
            "`ricci_scalar(run.feature_map(epoch, layer), x)`"
        )
    return notes


def tell_remarks(measured: xr.Dataset) -> None:
    """Prints the remarks on the final geometry, and what it says of examples, and logs them."""
    for note in remarks(measured):
        log.warning(note)
        print(note)
    if measured.attrs["kind"] == "data" and measured.sizes["replicate"]:
        for words in data_words(measured):
            tell(words)


def report(
    config: Config, task: Task, final: list[dict[str, Any]], figures: list[Path], reached: str, where: str
) -> None:
    """Prints the summary of a run that has ended; `reached` is what comes before the number of its epochs."""
    widths = "-".join(map(str, [task.dimension, *(layer.features for layer in config.layers)]))
    print(
        f"{task.name} {widths} {config.architecture.words}: {config.replicates} replicates, "
        f"{reached}{config.optimizer.epochs} epochs {where}"
    )
    if isinstance(config.task, FileConfig):
        names = (f"{place} = {name}" for place, name in enumerate(config.task.class_names or []))
        print(printable("class " + ", ".join(names)))
    for score in ("accuracy", "test_accuracy"):
        values = [f"{row['replicate']}: {score_words(row[score])}" for row in final if score in row]
        heading = f"{score.replace('_', ' ')} by seed  "
        for start in range(0, len(values), 8):
            print((heading if start == 0 else " " * len(heading)) + "  ".join(values[start : start + 8]))
    solved, diverged = sum(row["solved"] for row in final), sum(math.isnan(row["loss"]) for row in final)
    also = f"; {diverged} diverged" if diverged else ""
    print(f"{solved} of {len(final)} replicates solved the task (accuracy of at least {task.solved_accuracy:g}){also}")
    for figure in figures:
        print(f"figure {figure}")


def score_words(score: float) -> str:
    """A score as printed; a diverged replicate has none."""
    return "diverged" if math.isnan(score) else f"{score:.3f}"


def refuse_divergence(store: RunDirectory, config: Config) -> None:
    """Reports which replicates of a finished run diverged, if any.

    Raises:
        RunError: some diverged.
    """
    if diverged := store.info.get("diverged"):
        optimizer = config.optimizer
        raise RunError(divergence_words(diverged, config.replicates, optimizer.lr, optimizer.volume_penalty))


def warn(sentence: str | None) -> None:
    """Prints a sentence on stderr, and logs it; None is no sentence."""
    if sentence:
        print(f"warning: {printable(sentence)}", file=sys.stderr, flush=True)
        log.warning(sentence)


def tell(sentence: str) -> None:
    """Prints a sentence, and logs it."""
    print(printable(sentence), flush=True)
    log.info(sentence)


@contextlib.contextmanager
def job_log(directory: Path) -> Iterator[None]:
    """Appends what is logged inside the block to the run's job.log."""
    unshared(directory / "job.log")
    handler = logging.FileHandler(directory / "job.log", encoding="utf-8", delay=True)
    # where the run was moved, no new log is opened in its old place
    handler.addFilter(lambda _: handler.stream is not None or trouble_of(directory) is None)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    package = logging.getLogger("nngeom_cli")
    level, raising = package.level, logging.raiseExceptions
    logging.raiseExceptions = False  # on a full disk the log is cut short silently
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    try:
        yield
    except (ConfigError, DamageError):  # the run has not been touched
        raise
    except Exception:
        log.exception("The run failed.")
        raise
    finally:
        package.removeHandler(handler)
        package.setLevel(level)
        with contextlib.suppress(OSError):  # as above
            handler.close()
        logging.raiseExceptions = raising
