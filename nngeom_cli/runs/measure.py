"""Measures a finished run again, from its checkpoints, in a new run directory. Nothing is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nngeom_cli.config.footprint import require_memory
from nngeom_cli.config.run import Config
from nngeom_cli.errors import DamageError
from nngeom_cli.runs.context import prepare
from nngeom_cli.runs.origin import origin_of
from nngeom_cli.runs.provenance import provenance, recorded, timestamp
from nngeom_cli.runs.repair import inventory_of, repair
from nngeom_cli.runs.report import tell
from nngeom_cli.runs.run import conclude, drawing, train_and_draw
from nngeom_cli.store.checkpoints import read_checkpoint
from nngeom_cli.store.history import History
from nngeom_cli.store.layout import checkpoint_name
from nngeom_cli.store.run import load_run
from nngeom_cli.store.run_directory import RunDirectory
from nngeom_cli.system.parallel import available_cores
from nngeom_cli.system.process import this_process
from nngeom_cli.system.signals import stop_on_signal
from nngeom_cli.system.surroundings import one_thread
from nngeom_cli.system.writer import sole_writer
from nngeom_cli.training.device import resolve_device

__all__ = ["measure"]


def measure(config: Config, directory: Path, origin: dict[str, Any], *, command: str) -> None:
    """Copies the checkpoints of a run, measures the networks in them, saves everything and draws the figures.

    The checkpoints are copied first: from then on the new run lacks its geometry only, which `nngeom resume` measures.

    Args:
        config: that of the other run with another probe.
        directory: an existing directory for this run only.
        origin: of the other run, as in run.json.
        command: how to repeat this, for the record.

    Raises:
        ConfigError: the device does not exist, or the memory cannot hold the run.
        DamageError: the other run is not what it was when the command began, or a checkpoint is damaged.
        FolderError: the directory cannot be written, or was moved or deleted.
        RunError: a replicate had diverged; everything that was measured is on disk.
        KeyboardInterrupt: a signal stopped it; what was done is on disk.
    """
    require_memory(config)
    device = resolve_device(config.device)
    available_cores()
    if config.figures.draw:
        drawing()
    run = load_run(origin["path"])
    if {**origin, "path": ""} != {**origin_of(run), "path": ""}:
        raise DamageError(
            f"`{origin['path']}` must hold the run that is measured again. Got another one. Measure that in a new "
            "directory."
        )
    lasts = [*run.info.get("extended_from", []), config.optimizer.epochs]
    with sole_writer(directory), one_thread():
        stopped = {"stopped_at": run.info["stopped_at"]} if "stopped_at" in run.info else {}
        context = prepare(config, device, lasts, **stopped)
        about = {"command": command, **provenance(config, device), "measured_from": origin, **stopped}
        about["source"] |= {**run.info.get("source", {}), "probe": about["source"]["probe"]}
        store = RunDirectory(directory, about | ({"extended_from": lasts[:-1]} if lasts[:-1] else {}))
        store.update(status="running", process=this_process())
        for epoch in context.probed:
            checkpoint, history, _ = read_checkpoint(run.file(checkpoint_name(epoch)))
            store.history = History(history)
            store.write_checkpoint(checkpoint, context.probed)
        store.info["started"] = timestamp()
        with recorded(store):
            with stop_on_signal() as stop:
                stop.at_once()
                found = inventory_of(store, context)
                repair(store, context, found, tell)
            final, figures = train_and_draw(context, store, found.start)
    conclude(context, store, final, figures)
