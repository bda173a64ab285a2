"""One run from config to pictures: the only file that sees training, probes, disk and figures."""

from __future__ import annotations

import contextlib
import logging
import math
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nngeom_cli.config.footprint import least_memory, require_memory
from nngeom_cli.config.run import Config, checkpoint_epochs, staged
from nngeom_cli.errors import ConfigError, disk_trouble, unwritable
from nngeom_cli.figures import draw_figures
from nngeom_cli.probes.make import Probe, make_probe
from nngeom_cli.runs.provenance import Meter, provenance, timestamp
from nngeom_cli.runs.report import divergence_words, metrics, report, scores_words, tell_remarks
from nngeom_cli.store.run import CHECKPOINTS, FIGURES, GEOMETRY, INFO, described, load_run
from nngeom_cli.store.run_directory import RunDirectory
from nngeom_cli.system.atomic import remove_leftovers
from nngeom_cli.system.held_folder import require_held, trouble_of
from nngeom_cli.system.memory import losses_explained
from nngeom_cli.system.parallel import available_cores
from nngeom_cli.system.progress import Progress
from nngeom_cli.system.surroundings import one_thread
from nngeom_cli.system.writer import Stop, sole_writer, stop_on_signal, this_process
from nngeom_cli.tasks.make import Task, make_task
from nngeom_cli.training.loop import Checkpoint, batch_generators, history_epochs, initial_generators, train_on_cores
from nngeom_cli.training.network import Network, initial_network

__all__ = [
    "Laboratory",
    "RunError",
    "prepare",
    "recorded",
    "refuse_divergence",
    "resolve_device",
    "run",
    "train_and_draw",
]

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.5  # how long training goes on without a word
SECONDS_PER_STEP, OPERATIONS_PER_SECOND = 5e-5, 5e9  # of a common core, roughly


class RunError(RuntimeError):
    """A run that did not come to a good end, said in one sentence."""


@dataclass(frozen=True)
class Laboratory:
    """All that a run works with.

    Attributes:
        probed: epochs at which it is measured.
        recorded: epochs at which loss and accuracy are written down.
    """

    config: Config
    device: torch.device
    task: Task
    network: Network
    probe: Probe
    probed: list[int]
    recorded: list[int]

    @property
    def seeds(self) -> list[int]:
        """Of the replicates."""
        return [self.config.seed + replicate for replicate in range(self.config.replicates)]


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
        ConfigError: the device does not exist, the memory cannot hold the run, or the directory holds one already.
        FolderError: the directory cannot be written, or was moved or deleted meanwhile.
        RunError: a replicate diverged; everything that was measured is on disk.
        LostProcessError: a process that trained or drew was killed; what was saved is on disk.
        KeyboardInterrupt: a signal asked for an end; what was done is on disk.
    """
    require_memory(config)
    device = resolve_device(config.device)
    available_cores()  # a wrong NNGEOM_CORES is refused before anything is written
    with sole_writer(directory), one_thread():
        if (directory / INFO).exists() and "started" in described(directory, verify=True).info:
            raise ConfigError(
                f"`{directory}` must be a folder without a run. Got one with {INFO}. `nngeom resume` goes on."
            )
        store = RunDirectory(directory, {"command": command, **provenance(config, device), "started": timestamp()})
        with recorded(store):
            laboratory = prepare(config, device, [config.optimizer.epochs])
            final, figures = train_and_draw(laboratory, store, None)
    conclude(laboratory, store, final, figures)


@contextlib.contextmanager
def recorded(store: RunDirectory) -> Iterator[None]:
    """run.json tells that a run is at work, then how it ended and what it cost."""
    meter = Meter(store.info)
    try:
        own = (store.directory, store.directory / GEOMETRY, store.directory / CHECKPOINTS)
        remove_leftovers(*own, alone=True)
        remove_leftovers(store.directory / FIGURES)
        store.update(status="running", process=this_process(), error=None, finished=None)
        yield
        store.require_files()
        status = "diverged" if "diverged" in store.info else "complete"
        store.update(status=status, finished=timestamp(), **meter.reading())
    except BaseException as error:
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        with contextlib.suppress(OSError):  # then the process is gone, which reads as interrupted
            cause = trouble_of(store.directory) or error
            what = f"{type(cause).__name__}: {cause}".rstrip(": ")
            store.follow()
            store.update(status=status, error=what, finished=timestamp(), **meter.reading())
        if trouble := disk_trouble(error):
            raise unwritable(store.directory, trouble) from error
        raise


def prepare(config: Config, device: torch.device, lasts: Sequence[int]) -> Laboratory:
    """Task, untrained network, probe and schedule of a config.

    Args:
        config: what to run.
        device: where.
        lasts: the last epoch, after those that it had before the run was extended.
    """
    task = make_task(config.task)
    network = initial_network(
        [task.dimension, *config.architecture.hidden, task.outputs],
        config.architecture.activation,
        initial_generators(config.seed, config.replicates),
        parametrization=config.architecture.parametrization,
        output_scale=config.architecture.output_scale,
        dtype=getattr(torch, config.dtype),
        device=device,
    )
    return Laboratory(
        config,
        device,
        task,
        network,
        make_probe(config.probe, task, config.seed),
        staged(lambda last: checkpoint_epochs(config.probe.checkpoints, last), lasts),
        staged(history_epochs, lasts),
    )


def train_and_draw(
    laboratory: Laboratory, store: RunDirectory, start: Checkpoint | None
) -> tuple[list[dict[str, Any]], list[Path]]:
    """Trains to the last epoch and draws; returns the final metrics of each replicate and the figures, if wanted.

    Training goes on from `start`; None begins with the initial network.
    A signal ends it with a KeyboardInterrupt, once the step that is at work is saved.
    """
    config, seeds = laboratory.config, laboratory.seeds
    resume = f"`nngeom resume {shlex.quote(str(store.directory))}` goes on."
    with losses_explained(least_memory(config), resume), stop_on_signal() as stop:
        last = train_and_probe(laboratory, store, start, stop)
        stop.at_once()
        final = metrics(last, seeds, laboratory.task)
        finite = [{key: value if math.isfinite(value) else None for key, value in row.items()} for row in final]
        diverged = store.divergence(config.optimizer.epochs)
        store.update(replicates=finite, diverged=diverged)
        if diverged:
            log.warning(divergence_words(diverged, len(seeds), config.optimizer.lr))
        whole = sorted({*seeds} - {row["replicate"] for row in diverged or []})
        tell_remarks(store.read_geometry(config.optimizer.epochs).sel(replicate=whole))
        if not config.figures.draw:
            return final, []
        return final, draw_figures(load_run(store.directory), cores=available_cores())


def train_and_probe(laboratory: Laboratory, store: RunDirectory, start: Checkpoint | None, stop: Stop) -> Checkpoint:
    """Trains to the last epoch, writes what is measured and checkpoints; returns the last one."""
    network, optimizer = laboratory.network, laboratory.config.optimizer
    last = start
    measured, recorded_at = set(laboratory.probed), set(laboratory.recorded)
    record = sorted({*measured, *recorded_at, *pause_epochs(laboratory)})
    generators = batch_generators(laboratory.config.seed, network.replicates)
    saved = time.monotonic()
    with (
        Progress("epoch", optimizer.epochs, last.epoch if last else 0) as progress,
        contextlib.closing(
            train_on_cores(
                network,
                laboratory.task,
                optimizer,
                generators,
                record,
                start,
                cores=available_cores(),
                asked=lambda: stop.requested,
            )
        ) as checkpoints,
    ):
        for last in checkpoints:
            require_held(store.directory)
            if last.epoch in recorded_at:
                store.add_history(last, laboratory.seeds)
            words = scores_words(last)
            progress.update(last.epoch, words)
            probed = last.epoch in measured
            if probed:
                store.write_geometry(last.epoch, laboratory.probe(network))
                log.info("epoch %d: %s", last.epoch, words)
            stopping = stop.requested
            if probed or stopping or time.monotonic() - saved > laboratory.config.checkpoint_seconds:
                store.write_checkpoint(last, measured)
                saved = time.monotonic()
            if stopping:
                raise KeyboardInterrupt
    assert last is not None  # epoch 0 is in every record
    return last


def pause_epochs(laboratory: Laboratory) -> range:
    """Epochs about `PAUSE_SECONDS` of work apart, at which training can be saved, or stopped."""
    config = laboratory.config
    batch = config.optimizer.batch_size or len(laboratory.task.inputs)
    operations = 6 * laboratory.network.parameters.numel() * batch  # forward and backward, a multiplication and a sum
    step = SECONDS_PER_STEP + operations / OPERATIONS_PER_SECOND
    epoch = step * -(-len(laboratory.task.inputs) // batch)
    return range(0, config.optimizer.epochs + 1, max(1, int(PAUSE_SECONDS / epoch)))


def conclude(laboratory: Laboratory, store: RunDirectory, final: list[dict[str, Any]], figures: list[Path]) -> None:
    """Tells the user how the run ended.

    Raises:
        RunError: a replicate diverged.
    """
    where = f"in {store.info['wall_seconds']:.1f} s on {laboratory.device.type}"
    report(laboratory.config, laboratory.task, final, figures, where)
    refuse_divergence(store, laboratory.config)


def refuse_divergence(store: RunDirectory, config: Config) -> None:
    """Says which replicates of a run that is over diverged.

    Raises:
        RunError: one did.
    """
    if diverged := store.info.get("diverged"):
        raise RunError(divergence_words(diverged, config.replicates, config.optimizer.lr))
