"""What an earlier process has recorded into a directory, if it was the same recording."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from nngeom_cli.config.nested import leaves
from nngeom_cli.config.recorded import RECORDED, RecordedConfig
from nngeom_cli.errors import ConfigError, require, shown
from nngeom_cli.store.checksums import fault
from nngeom_cli.store.layout import HISTORY, INFO, epoch_of, geometry_name, state_name
from nngeom_cli.store.run import load_run
from nngeom_cli.store.run_info import refuse_cleaned, refuse_lost
from nngeom_cli.system.atomic import refuse_links

__all__ = ["Earlier", "earlier"]

LOCK = ".lock"  # left by a process that was killed before it wrote anything


@dataclass(frozen=True)
class Earlier:
    """A recording that has begun.

    Attributes:
        info: the content of run.json.
        checksums: of the files that are whole.
        history: rows until the last epoch that was measured.
        measured: epochs whose geometry and state are whole.
    """

    info: dict[str, Any]
    checksums: dict[str, str]
    history: pd.DataFrame
    measured: set[int]


def earlier(directory: Path, config: RecordedConfig) -> Earlier | None:
    """What a directory holds of the same recording; None if it is new or empty.

    Raises:
        ConfigError: it holds something else, or a recording of another config.
        DamageError: run.json, the history or the manifest is damaged.
    """
    if not (directory / INFO).exists():
        refuse_lost(directory)
        if directory.exists() and (not directory.is_dir() or any(path.name != LOCK for path in directory.iterdir())):
            raise ConfigError(
                f"`directory` must be a new or empty folder, or a recording. Got {directory}. Name another one."
            )
        return None
    refuse_links(directory)
    run = load_run(directory)
    refuse_cleaned(directory, run.info)
    if RECORDED not in run.config:
        raise ConfigError(f"`directory` must be a recording. Got a run of `nngeom run`, {directory}. Name another one.")
    old, new = dict(leaves(run.config)), dict(leaves(asdict(config)))
    for key in {**old, **new}:
        if key != "figures.draw":
            same = old.get(key) == new.get(key)
            wanted = f"{shown(old.get(key))}, as in the recording in {directory}"
            require(same, key, wanted, new.get(key), "Record into another directory.")
    manifest = dict(run.manifest or {})
    checksums = {name: value for name, value in manifest.items() if fault(directory / name, value) is None}
    epochs = {epoch_of(name) for name in checksums} - {-1}
    measured = {epoch for epoch in epochs if {geometry_name(epoch), state_name(epoch)} <= set(checksums)}
    history = run.history if HISTORY in manifest else pd.DataFrame(columns=["epoch", "replicate", "loss", "accuracy"])
    return Earlier(dict(run.info), checksums, history, measured)
