"""One run from config to figures: the only module that joins training, probes, disk and figures."""

from __future__ import annotations

import contextlib
import logging
import math
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nngeom_cli.config.footprint import least_memory, require_memory
from nngeom_cli.config.probe import GridConfig, PlaneConfig
from nngeom_cli.config.run import Config
from nngeom_cli.errors import ConfigError
from nngeom_cli.runs.context import RunContext, pause_epochs, prepare
from nngeom_cli.runs.live import live_pictures
from nngeom_cli.runs.provenance import provenance, recorded, timestamp
from nngeom_cli.runs.report import (
    divergence_words,
    laziness_words,
    metrics,
    refuse_divergence,
    report,
    scores_words,
    tell,
    tell_remarks,
    warn,
)
from nngeom_cli.store.layout import INFO
from nngeom_cli.store.run import described, load_run
from nngeom_cli.store.run_directory import RunDirectory
from nngeom_cli.store.run_info import last_epoch
from nngeom_cli.system.held_folder import require_held
from nngeom_cli.system.memory import losses_explained
from nngeom_cli.system.parallel import available_cores
from nngeom_cli.system.progress import Progress
from nngeom_cli.system.signals import Stop, stop_on_signal
from nngeom_cli.system.surroundings import one_thread
from nngeom_cli.system.writer import sole_writer
from nngeom_cli.trackers.tracker import make_tracker
from nngeom_cli.trackers.tracking import Tracking, tracked
from nngeom_cli.training.blocks import train_on_cores
from nngeom_cli.training.checkpoint import Checkpoint
from nngeom_cli.training.device import resolve_device
from nngeom_cli.training.loop import batch_generators

__all__ = ["conclude", "drawing", "run", "train_and_draw"]

log = logging.getLogger(__name__)


def run(config: Config, directory: Path, *, command: str) -> None:
    """Trains, probes at the scheduled epochs, saves everything and draws the figures.

    Args:
        config: what to run.
        directory: an existing directory for this run only.
        command: how to repeat this run, for the record.

    Raises:
        ConfigError: the device or the tracker does not exist, the memory cannot hold the run, or the directory holds
            one already.
        FolderError: the directory cannot be written, or was moved or deleted during the run.
        RunError: a replicate diverged; everything that was measured is on disk.
        LostProcessError: a process that trained or drew was killed; what was saved is on disk.
        KeyboardInterrupt: a signal stopped it; what was done is on disk.
    """
    require_memory(config)
    device = resolve_device(config.device)
    available_cores()  # a wrong NNGEOM_CORES is refused before anything is written
    if config.figures.draw:
        drawing()
    if config.tracker is not None:
        make_tracker(config.tracker)
    with sole_writer(directory), one_thread():
        if (directory / INFO).exists() and "started" in described(directory, verify=True).info:
            raise ConfigError(
                f"`{directory}` must be a folder without a run. Got one with {INFO}. `nngeom resume` continues it."
            )
        store = RunDirectory(directory, {"command": command, **provenance(config, device), "started": timestamp()})
        with recorded(store):
            warn(laziness_words(config))
            context = prepare(config, device, [config.optimizer.epochs])
            final, figures = train_and_draw(context, store, None)
    conclude(context, store, final, figures)


def train_and_draw(
    context: RunContext, store: RunDirectory, start: Checkpoint | None
) -> tuple[list[dict[str, Any]], list[Path]]:
    """Trains to the last epoch and draws; returns the final metrics of each replicate and the figures, if any.

    Training resumes from `start`; None starts from the initial network.
    A signal ends it with a KeyboardInterrupt, once the current step is saved.
    """
    config, seeds = context.config, context.seeds
    resume = f"`nngeom resume {shlex.quote(str(store.directory))}` continues it."
    with (
        losses_explained(least_memory(config), resume),
        stop_on_signal() as stop,
        tracked(config.tracker, store, store.history.table() if start else None, warn) as tracking,
    ):
        last = train_and_probe(context, store, start, stop, tracking)
        stop.at_once()
        final = metrics(last, seeds, context.task)
        finite = [{key: value if math.isfinite(value) else None for key, value in row.items()} for row in final]
        diverged = store.divergence(last.epoch)
        solved_at = store.first_reached(context.task.solved_accuracy) if config.optimizer.stop == "solved" else None
        store.update(replicates=finite, diverged=diverged, solved_at=solved_at)
        if diverged:
            optimizer = config.optimizer
            log.warning(divergence_words(diverged, len(seeds), optimizer.lr, optimizer.volume_penalty))
        whole = sorted({*seeds} - {row["replicate"] for row in diverged or []})
        tell_remarks(store.read_geometry(last.epoch).sel(replicate=whole))
        tracking.measured(config.figures.band)
        if not config.figures.draw:
            return final, []
        measure_display(context, store)
        figures = drawing()(load_run(store.directory), cores=available_cores())
        tracking.figures(figures)
        return final, figures


def measure_display(context: RunContext, store: RunDirectory) -> None:
    """Measures what heatmaps show on a finer grid, and writes it, where that is asked for and there are heatmaps."""
    if isinstance(context.config.probe, GridConfig | PlaneConfig):
        from nngeom_cli.runs.display import display_of  # it imports matplotlib

        finer = display_of(load_run(store.directory), context, tell)
        if finer is not None:
            store.write_display(finer)


def drawing() -> Callable[..., list[Path]]:
    """The function that draws, imported only for a run with figures: that takes a second.

    Raises:
        ConfigError: matplotlib does not start.
    """
    from nngeom_cli.figures import draw_figures

    return draw_figures


def train_and_probe(
    context: RunContext, store: RunDirectory, start: Checkpoint | None, stop: Stop, tracking: Tracking
) -> Checkpoint:
    """Trains to the last epoch, or until all is solved, writing measurements and checkpoints; returns the last one."""
    network, optimizer = context.network, context.config.optimizer
    last, goal = start, context.task.solved_accuracy
    measured, recorded_at = set(context.probed), set(context.recorded)
    record = sorted({*measured, *recorded_at, *pause_epochs(context)})
    generators = batch_generators(context.config.seed, network.replicates)
    saved = time.monotonic()
    with (
        Progress("epoch", context.last, last.epoch if last else 0) as progress,
        contextlib.closing(
            train_on_cores(
                network,
                context.task,
                optimizer,
                generators,
                record,
                start,
                cores=available_cores(),
                asked=lambda: stop.requested,
            )
        ) as checkpoints,
        live_pictures(context.config) as pictures,
    ):
        for last in checkpoints:
            require_held(store.directory)
            stops = False
            if last.epoch in recorded_at:
                store.add_history(last, context.seeds)
                tracking.scores(last.epoch, last.scores, context.seeds)
                stops = optimizer.stop == "solved" and last.epoch > 0 and bool((last.accuracy >= goal).all())
            if stops and last.epoch < context.last:
                measured.add(last.epoch)
                store.update(stopped_at=last.epoch)
            words = scores_words(last)
            progress.update(last.epoch, words)
            probed = last.epoch in measured
            if probed:
                store.write_geometry(last.epoch, context.probe(network))
                log.info("epoch %d: %s", last.epoch, words)
                pictures.add(store.directory, last.epoch, float(last.loss[pictures.place]))
            stopping = stop.requested
            if probed or stopping or time.monotonic() - saved > context.config.checkpoint_seconds:
                store.write_checkpoint(last, measured)
                saved = time.monotonic()
            if stopping:
                raise KeyboardInterrupt
            if stops:
                break
    assert last is not None  # epoch 0 is in every record
    return last


def conclude(context: RunContext, store: RunDirectory, final: list[dict[str, Any]], figures: list[Path]) -> None:
    """Tells the user how the run ended.

    Raises:
        RunError: a replicate diverged.
    """
    before = "trained before, measured " if "measured_from" in store.info else ""
    epochs = f"{last_epoch(store.info)} of " if "stopped_at" in store.info else ""
    where = f"{before}in {store.info['wall_seconds']:.1f} s on {context.device.type}"
    report(context.config, context.task, final, figures, epochs, where)
    refuse_divergence(store, context.config)
