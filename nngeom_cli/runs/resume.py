"""Resumes a run that was interrupted, or extends a complete one, in its own directory."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from nngeom_cli.config.footprint import require_memory
from nngeom_cli.config.installed import plugins_of
from nngeom_cli.config.loader import load_config, overridden
from nngeom_cli.config.nested import leaves
from nngeom_cli.config.recorded import require_plugins
from nngeom_cli.config.run import Config, config_hash
from nngeom_cli.errors import ConfigError, DamageError, FolderError, disk_trouble, require, shown, unwritable
from nngeom_cli.runs.code_fingerprint import run_source
from nngeom_cli.runs.context import prepare
from nngeom_cli.runs.measure import measure
from nngeom_cli.runs.provenance import recorded, timestamp
from nngeom_cli.runs.repair import inventory_of, repair
from nngeom_cli.runs.report import job_log, refuse_divergence, tell
from nngeom_cli.runs.run import conclude, drawing, train_and_draw
from nngeom_cli.runs.run import run as begin
from nngeom_cli.runs.unstarted import is_unstarted, opened
from nngeom_cli.store.layout import INFO
from nngeom_cli.store.run import FINISHED, Run, described
from nngeom_cli.store.run_directory import RunDirectory
from nngeom_cli.store.run_info import refuse_cleaned
from nngeom_cli.system.atomic import refuse_links
from nngeom_cli.system.held_folder import RESUME, held
from nngeom_cli.system.parallel import available_cores
from nngeom_cli.system.signals import stop_on_signal
from nngeom_cli.system.surroundings import one_thread
from nngeom_cli.system.writer import sole_writer
from nngeom_cli.training.device import resolve_device

__all__ = ["changed_config", "resume"]

log = logging.getLogger(__name__)


def resume(directory: Path, overrides: Sequence[str] = ()) -> None:
    """Resumes a run from its newest whole checkpoint, with the same bits as if it had never been interrupted.

    Earlier files are checked and, if damaged, computed again. None is removed before its replacement is on disk.

    Args:
        directory: of the run.
        overrides: `optimizer.epochs=N` extends a complete run; no other key can change.

    Raises:
        FileNotFoundError: the directory holds no run.
        ConfigError: it is running in another process, or `overrides` change another key.
        DamageError: no checkpoint is whole, or run.json is not what the run wrote.
        FolderError: the directory cannot be written, or was moved or deleted during the run.
        RunError: a replicate diverged.
        KeyboardInterrupt: a signal stopped it; what was done is on disk.
    """
    try:
        _resume(directory, overrides)
    except FolderError as error:
        trouble = disk_trouble(error)
        if not overrides or trouble is None:
            raise
        command = shlex.join(["nngeom", "resume", str(directory), *overrides])  # with them, or it would not be extended
        raise unwritable(directory, trouble, f"`{command}` continues it") from error


def _resume(directory: Path, overrides: Sequence[str]) -> None:
    refuse_links(directory)  # before a lock or a log that is a link is read or written
    run = opened(directory)  # before a lock is written into a folder that is not a run
    refuse_cleaned(directory, run.info)
    if is_unstarted(run):
        config = changed_config(run, overrides)
        with held(directory, RESUME), job_log(directory):
            tell("Starts from the beginning: the run ended before it had done anything.")
            command = run.info.get("command", "")
            if origin := run.info.get("measured_from"):
                measure(config, directory, origin, command=command)
            else:
                begin(config, directory, command=command)
        return
    available_cores()  # this and a wrong key are refused before anything is written
    changed_config(run, overrides)
    with sole_writer(directory), job_log(directory), one_thread():
        run = described(directory, verify=True)
        config = changed_config(run, overrides)
        require_memory(config)
        if config.figures.draw:
            drawing()
        old = run.config["optimizer"]["epochs"]
        before = run.info.get("extended_from", [])
        rising = all(type(last) is int for last in before) and sorted({*before, old}) == [*before, old]
        if not rising:
            key = f"{directory / INFO}: extended_from"
            raise DamageError(f"`{key}` must be increasing epochs below {old}. Got {shown(before)}. Repair it.")
        lasts = [*before, *([old] if config.optimizer.epochs > old else []), config.optimizer.epochs]
        context = prepare(config, resolve_device(config.device), lasts, run.info.get("stopped_at"))
        store = RunDirectory(directory, run.info)
        found = inventory_of(store, context)
        for note in found.notes:
            tell(note)
        reached = found.start.epoch if found.start else 0
        if run.status in FINISHED and reached == context.last and found.sound:
            tell(f"The run is {run.status}: nothing is left to do.")
            refuse_divergence(store, config)
            return
        source = run_source(plugins_of(config))
        same = {part: code for part, code in run.info.get("source", {}).items() if source.get(part) == code}
        if same != source:
            parts = " and ".join(part for part in source if part not in same)
            tell(f"The code of {parts} has changed since the run began: what follows may differ in the last bits.")
        tell(f"Resumes from epoch {reached} of {context.last}.")
        sittings = [*run.info.get("resumed", []), {"at": timestamp(), "epoch": reached}]
        store.info |= {
            "config": asdict(config),
            "config_hash": config_hash(config),
            "source": same,  # a part that two versions of the code computed is credited to neither
            "resumed": sittings,
        }
        if lasts[:-1]:
            store.info["extended_from"] = lasts[:-1]
        with recorded(store):
            with stop_on_signal() as stop:
                stop.at_once()
                repair(store, context, found, tell)
            final, figures = train_and_draw(context, store, found.start)
            store.remove_rest()
    conclude(context, store, final, figures)


def changed_config(run: Run, overrides: Sequence[str]) -> Config:
    """The config of a run, with more epochs if `overrides` ask for them.

    Raises:
        ConfigError: `overrides` would change anything else.
        DamageError: it is not the config that the run began with.
    """
    require_plugins(run.info)
    frozen = load_config(run.config)
    if config_hash(frozen) != run.info.get("config_hash"):
        raise DamageError(
            f"`{run.directory / INFO}: config` must be as it was when the run began. Got another one. "
            f"`nngeom run --from {run.directory}` runs it in a new directory."
        )
    asked = load_config(overridden(run.config, overrides))
    old, new = dict(leaves(asdict(frozen))), dict(leaves(asdict(asked)))
    for key in new:
        suggestion = f"`nngeom run --from {run.directory} {key}={shown(new[key])}` runs it in a new directory."
        if key == "optimizer.epochs" and new[key] != old[key]:
            if stopped_at := run.info.get("stopped_at"):
                raise ConfigError(
                    f"`{key}` must be left out: with optimizer.stop=solved the run ended at epoch {stopped_at}, all "
                    f"solved. Got {new[key]}. `nngeom run --from {run.directory} optimizer.stop=null {key}={new[key]}` "
                    "trains on in a new directory."
                )
            require(new[key] > old[key], key, f"at least {old[key]}, the epochs already trained", new[key], suggestion)
            finished = run.status in FINISHED
            require(finished, key, f"{old[key]} until the run is complete", new[key], "First resume it unchanged.")
        else:
            require(old.get(key) == new[key], key, f"{shown(old.get(key))}, as in the run", new[key], suggestion)
    return asked
