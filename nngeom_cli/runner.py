"""One run from config to pictures: the only file that sees training, probes, disk and figures."""

from __future__ import annotations

import datetime
import logging
import math
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from tqdm import tqdm

from nngeom_cli.config import Config, ConfigError, FileConfig, checkpoint_epochs, config_hash
from nngeom_cli.cores import available_cores, train_on_cores
from nngeom_cli.figures import draw_figures
from nngeom_cli.networks import initial_network
from nngeom_cli.probes import make_probe
from nngeom_cli.reading import bottleneck_words, flat_words, layer_words, unreliable, volume_rank
from nngeom_cli.source import run_source
from nngeom_cli.store import RunDirectory, load_run
from nngeom_cli.tasks import Task, make_task
from nngeom_cli.training import Checkpoint, batch_generators, history_epochs, initial_generators

__all__ = ["RunError", "resolve_device", "run"]

log = logging.getLogger(__name__)


class RunError(RuntimeError):
    """A run that did not come to a good end, said in one sentence."""


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


def run(config: Config, directory: Path, *, command: str) -> None:
    """Trains, probes at the scheduled epochs, saves everything and draws the figures.

    Args:
        config: what to run.
        directory: an existing directory that is the run's alone.
        command: how to get this run again, for the record.

    Raises:
        ConfigError: the device does not exist.
        RunError: a replicate diverged; everything that was measured is on disk.
    """
    device = resolve_device(config.device)
    torch.set_num_threads(1)  # networks this small gain nothing from more, and one thread has the same bits anywhere
    store = RunDirectory(directory)
    started = time.time()
    store.update(status="running", command=command, **provenance(config, device), started=timestamp(started))
    try:
        task = make_task(config.task)
        final = train_and_probe(config, task, device, store)
        store.update(replicates=[{key: finite_or_none(value) for key, value in row.items()} for row in final])
        figures = draw_figures(load_run(directory))
    except BaseException as error:
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        store.update(status=status, error=f"{type(error).__name__}: {error}", finished=timestamp())
        raise
    diverged = [row["replicate"] for row in final if not math.isfinite(row["loss"])]
    store.update(
        status="diverged" if diverged else "complete",
        finished=timestamp(),
        wall_seconds=round(time.time() - started, 3),
    )
    report(config, task, final, figures, device, time.time() - started)
    if diverged:
        raise RunError(
            f"The loss of {len(diverged)} of {config.replicates} replicates is not finite at the end (seeds "
            f"{', '.join(map(str, diverged))}). Lower `optimizer.lr`, which is {config.optimizer.lr:g}."
        )


def train_and_probe(config: Config, task: Task, device: torch.device, store: RunDirectory) -> list[dict[str, Any]]:
    """Trains to the last epoch, writes each checkpoint; returns the final metrics of each replicate."""
    network = initial_network(
        [task.dimension, *config.architecture.hidden, task.outputs],
        config.architecture.activation,
        initial_generators(config.seed, config.replicates),
        dtype=getattr(torch, config.dtype),
        device=device,
    )
    probe = make_probe(config.probe, task, config.seed)
    epochs = config.optimizer.epochs
    probed = checkpoint_epochs(config.probe.checkpoints, epochs)
    record = sorted({*probed, *history_epochs(epochs)})
    seeds = [config.seed + replicate for replicate in range(config.replicates)]
    generators = batch_generators(config.seed, config.replicates)
    final: list[dict[str, Any]] = []
    with tqdm(total=epochs, unit="epoch", disable=not sys.stderr.isatty(), dynamic_ncols=True) as bar:
        checkpoints = train_on_cores(network, task, config.optimizer, generators, record, cores=available_cores())
        for checkpoint in checkpoints:
            store.add_history(checkpoint, seeds)
            bar.update(checkpoint.epoch - bar.n)
            bar.set_postfix(loss=f"{np.mean(checkpoint.loss):.4g}", accuracy=f"{np.mean(checkpoint.accuracy):.3f}")
            if checkpoint.epoch in probed:
                measured = probe(network)
                store.write_geometry(checkpoint.epoch, measured)
                store.write_checkpoint(checkpoint)
                store.write_history()
                log.info(
                    "epoch %d: mean loss %.6g, mean accuracy %.4f",
                    checkpoint.epoch,
                    np.mean(checkpoint.loss),
                    np.mean(checkpoint.accuracy),
                )
                if checkpoint.epoch == epochs:
                    final = metrics(checkpoint, seeds, task)
                    for note in remarks(measured):
                        log.warning(note)
                        bar.write(note)
    return final


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


def finite_or_none(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None


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
            if missing := int(np.isnan(R).sum()):
                notes.append(f"{name}: no curvature at {missing} of {R.size} points, J is rank deficient there")
            if doubtful := int(unreliable(R, error).sum()):
                notes.append(f"{name}: no reliable digit of R at {doubtful} of {R.size} points")
    return notes


def report(
    config: Config, task: Task, final: list[dict[str, Any]], figures: list[Path], device: torch.device, seconds: float
) -> None:
    """What the user reads when the run is over."""
    widths = "-".join(map(str, [task.dimension, *config.architecture.hidden, task.outputs]))
    print(
        f"{task.name} {widths} {config.architecture.activation}: {config.replicates} replicates, "
        f"{config.optimizer.epochs} epochs in {seconds:.1f} s on {device.type}"
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


def provenance(config: Config, device: torch.device) -> dict[str, Any]:
    """Where and with what a run was made."""
    packages = ("nngeom", "torch", "numpy", "hydra-core")
    return {
        "config": asdict(config),
        "config_hash": config_hash(config),
        "source": run_source(config.probe.kind),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        "git": git_commit(),
        "host": socket.gethostname(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }


def git_commit() -> dict[str, Any] | None:
    """Commit of the checkout that this code runs from, and whether it was changed since; None outside a checkout."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        commit, changes = (
            subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "dirty": bool(changes)}


def timestamp(seconds: float | None = None) -> str:
    """An instant (now, if none is given) in ISO format, UTC."""
    moment = time.time() if seconds is None else seconds
    return datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).isoformat()
