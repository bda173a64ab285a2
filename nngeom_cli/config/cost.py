"""What a run will take, before it starts: seconds of a core, memory and disk."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from nngeom_cli.config.footprint import least_memory, main_arrays, vectors_kept
from nngeom_cli.config.probe import DataConfig, GeodesicConfig, PathConfig
from nngeom_cli.config.run import Config
from nngeom_cli.config.schedule import checkpoint_epochs
from nngeom_cli.errors import require
from nngeom_cli.system.memory import in_words

__all__ = ["LONG_SECONDS", "Cost", "cost", "epoch_seconds", "require_disk", "time_in_words"]

SECONDS_PER_STEP, OPERATIONS_PER_SECOND = 5e-5, 1e10  # of a typical core, as all that follows
MODULE_STEPS, MODULE_SECONDS = 6, 0.1  # a module's calls in a step, in steps; to measure it on a line or a plane
NEWTON_STEPS = 20  # of a shortest path, about, those of coarser polygons included
SECONDS_PER_NUMBER = 2e-8  # of a unit at a point, or of one of its derivatives
START_SECONDS, FILE_SECONDS, FIGURE_SECONDS = 3.0, 0.08, 4.0  # a process; a checkpoint's files; all figures
FILE_BYTES, FIGURE_BYTES, GENERATOR_BYTES = 15_000, 2_500_000, 5_056
LONG_SECONDS = 600.0  # a run that takes longer says so when it starts


@dataclass(frozen=True)
class Cost:
    """What a run takes.

    Attributes:
        seconds: of one core, within a factor of about three; replicates share the cores of a machine.
        memory: bytes, the least that it takes at one time.
        disk: bytes of its files, within a fifth or so.
        kept: those of them that are measurements and checkpoints.
    """

    seconds: float
    memory: int
    disk: int
    kept: int


def cost(config: Config) -> Cost:
    """What the run of a config takes.

    Example:
        >>> from nngeom_cli.launch.application import composed
        >>> from nngeom_cli.config.loader import load_config
        >>> found = cost(load_config(composed(["task=xor"])))
        >>> found.kept, round(found.seconds)
        (6740720, 8)
    """
    task, probe, optimizer = config.task, config.probe, config.optimizer
    widths, parameters = sizes(config)
    checkpoints = len(checkpoint_epochs(probe.checkpoints, optimizer.epochs))

    arrays = main_arrays(config)
    size = {"path": "probe.steps", "geodesic": "probe.segments", "data": "probe.points"}.get(
        probe.kind, "probe.resolution"
    )
    measured = arrays[size][0] // 2 if size in arrays else 0  # it counts them twice: in memory, and as a file
    if isinstance(probe, PathConfig):
        points, derivatives = len(probe.pairs) * (probe.steps + 1), task.inputs
    elif isinstance(probe, GeodesicConfig):
        sought = probe.sought(task.inputs)
        points, derivatives = NEWTON_STEPS * 2 * len(probe.pairs) * probe.segments, sought * (sought + 3) // 2
    elif isinstance(probe, DataConfig):
        points, derivatives = probe.count(task.size if probe.split == "train" else task.kept), task.inputs + 5
        measured += 8 * points * task.inputs
    else:
        planes = len(getattr(probe, "triples", [None]))
        points = planes * probe.resolution**2
        derivatives = 5 if planes and probe.kind == "grid" else task.inputs + 5
    numbers = points * config.replicates * (1 + derivatives) * sum(widths[1 : max(probe.numbered(widths)) + 1])
    each_point = config.replicates * sum(layer.products for layer in config.layers)
    products = 2 * points * (1 + derivatives) * each_point
    measuring = numbers * SECONDS_PER_NUMBER + products / OPERATIONS_PER_SECOND
    if config.architecture.by_module:
        maps = len(getattr(probe, "pairs", getattr(probe, "triples", [None])))  # each is differentiated by itself
        measuring += MODULE_SECONDS * config.replicates * len(probe.layers) * maps

    kept = checkpoints * (
        measured + 8 * vectors_kept(config) * parameters + GENERATOR_BYTES * config.replicates + FILE_BYTES
    )
    drawn = config.figures.draw
    return Cost(
        START_SECONDS
        + optimizer.epochs * epoch_seconds(config)
        + checkpoints * (measuring + FILE_SECONDS)
        + FIGURE_SECONDS * drawn,
        least_memory(config),
        kept + FIGURE_BYTES * drawn,
        kept,
    )


def sizes(config: Config) -> tuple[list[int], int]:
    """The units of each layer, inputs and outputs among them, and the parameters of all replicates."""
    layers = config.layers
    widths = [config.task.inputs, *(layer.features for layer in layers)]
    return widths, config.replicates * sum(layer.parameters for layer in layers)


def epoch_seconds(config: Config) -> float:
    """Seconds of a core for one pass over the data."""
    task, optimizer = config.task, config.optimizer
    batch = min(optimizer.batch_size or task.size, task.size)
    products = config.replicates * sum(layer.products for layer in config.layers)
    operations = 6 * products * batch  # forward and backward, a multiplication and a sum
    if optimizer.volume_penalty:
        operations *= 2 + task.inputs  # derivatives along each input go through the layers too
    calls = MODULE_STEPS * config.replicates if config.architecture.by_module else 1
    return -(-task.size // batch) * (SECONDS_PER_STEP * calls + operations / OPERATIONS_PER_SECOND)


def require_disk(config: Config, directory: Path) -> None:
    """Raises `ConfigError` if the disk under a folder, which need not exist yet, has certainly too little room."""
    there = shutil.disk_usage(next(folder for folder in (directory, *directory.parents) if folder.is_dir())).free
    needed = cost(config).kept
    require(
        needed / 2 <= there,
        "probe.checkpoints",
        f"few enough for the disk of {directory}, where {in_words(there)} are free",
        config.probe.checkpoints,
        f"What is measured and saved takes about {in_words(needed)}. Lower it, the points of the probe, or "
        f"replicates={config.replicates}.",
    )


def time_in_words(seconds: float) -> str:
    """A duration as people say it, with one or two digits.

    Example:
        >>> time_in_words(8.3), time_in_words(400), time_in_words(20_000), time_in_words(1e6)
        ('8 s', '7 min', '6 h', '12 days')
    """
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 1.9 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(1, round(seconds))} s"
