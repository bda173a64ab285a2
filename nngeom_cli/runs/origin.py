"""The run that another one measures again: what it must have, and how run.json names it."""

from __future__ import annotations

import shlex
from typing import Any

from nngeom_cli.config.run import Config
from nngeom_cli.config.schedule import checkpoint_epochs, staged
from nngeom_cli.errors import ConfigError, require, shown
from nngeom_cli.store.checksums import ID
from nngeom_cli.store.layout import CHECKPOINTS, checkpoint_name, saved_epochs
from nngeom_cli.store.run import FINISHED, Run
from nngeom_cli.store.run_info import refuse_cleaned

__all__ = ["MEASURED", "measured_again", "origin_of"]

MEASURED = "measured"  # the name of such a run's config among Hydra's


def origin_of(run: Run) -> dict[str, Any]:
    """Which run was measured again, for run.json."""
    about = {"path": str(run.directory.resolve()), "config_hash": run.info.get("config_hash", "")}
    return about | ({ID: run.info[ID]} if ID in run.info else {})


def measured_again(run: Run, config: Config) -> dict[str, Any]:
    """The origin of a run with another probe, once it is known that it has what the probe needs.

    Raises:
        ConfigError: the run is not finished, or has no checkpoint at an epoch that the probe wants.
        DamageError: such a checkpoint is not as the run wrote it.
    """
    if run.status not in FINISHED:
        raise ConfigError(
            f"`{run.directory}` must be a run that is complete. Got one that is {run.status}. "
            f"`nngeom resume {shlex.quote(str(run.directory))}` completes it."
        )
    refuse_cleaned(run.directory, run.info)
    lasts = [*run.info.get("extended_from", []), config.optimizer.epochs]
    stopped_at = run.info.get("stopped_at")
    wanted = staged(lambda last: checkpoint_epochs(config.probe.checkpoints, last), lasts, stopped_at)
    saved = sorted(saved_epochs(run.directory, CHECKPOINTS))
    missing = [epoch for epoch in wanted if epoch not in saved]
    epochs = f"among the epochs that were saved, {', '.join(map(str, saved))}"
    require(not missing, "probe.checkpoints", epochs, shown(wanted), "Leave it out to measure at those of the run.")
    for epoch in wanted:
        run.file(checkpoint_name(epoch))
    return origin_of(run)
