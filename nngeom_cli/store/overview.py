"""What run.json says of many runs, for a list of them: no other file is read."""

from __future__ import annotations

import contextlib
import datetime
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nngeom_cli.config.nested import leaves
from nngeom_cli.errors import DamageError, shown
from nngeom_cli.store.discovery import find_runs
from nngeom_cli.store.run_info import described_info, status_of
from nngeom_cli.system.atomic import paths_below

__all__ = ["APART", "Overview", "overviews"]

NOT_STARTED, DAMAGED = "not started", "damaged"
OF_RECORDINGS = "recorded"  # a section of config that a run of nngeom itself has not
APART = ("figures.", f"{OF_RECORDINGS}.data", "device", "checkpoint_seconds", "tracker")  # keys that make no other run


@dataclass(frozen=True)
class Overview:
    """A run in a list.

    Attributes:
        directory: of the run.
        status: as of a run; `not started` without a run.json, `damaged` if it is not what the run wrote.
        task: its name; empty if unknown.
        differs: config keys, as typed, in which the listed runs of the task differ, with this run's values.
        accuracy: mean over networks after the last epoch; None of a run that did not get there.
        started: None if unknown.
        size: bytes of all its files.
    """

    directory: Path
    status: str
    task: str = ""
    differs: dict[str, Any] = field(default_factory=dict)
    accuracy: float | None = None
    started: datetime.datetime | None = None
    size: int = 0


def overviews(directories: Sequence[Path]) -> list[Overview]:
    """The runs in some folders, the newest first; those whose start is unknown come last.

    Raises:
        FileNotFoundError: a directory is missing, or has no run below it.
    """
    found = [_of_run(directory) for directory in find_runs(directories)]
    configs: dict[str, list[dict[str, Any]]] = {}
    for one in found:
        if one.differs:
            configs.setdefault(one.task, []).append(one.differs)
    varying = {task: _varying(of_task) for task, of_task in configs.items()}
    listed = [
        replace(one, differs={key: one.differs[key] for key in varying.get(one.task, ()) if key in one.differs})
        for one in found
    ]
    dated = [one for one in listed if one.started is not None]
    dated.sort(key=lambda one: one.started.timestamp() if one.started else 0.0, reverse=True)
    return [*dated, *(one for one in listed if one.started is None)]


def _of_run(directory: Path) -> Overview:
    """A run with its whole config in place of what differs."""
    size = _size(directory)
    try:
        info = described_info(directory, verify=True)
    except FileNotFoundError:
        return Overview(directory, NOT_STARTED, size=size)
    except (DamageError, OSError):
        return Overview(directory, DAMAGED, size=size)
    config = dict(leaves(info.get("config", {})))
    accuracies = [row["accuracy"] for row in info.get("replicates", []) if row["accuracy"] is not None]
    return Overview(
        directory,
        status_of(info),
        str(config.get("task.name", "")),
        {key: value for key, value in config.items() if not key.startswith(APART)},
        sum(accuracies) / len(accuracies) if accuracies else None,
        _moment(info.get("started")),
        size,
    )


def _varying(configs: Sequence[dict[str, Any]]) -> list[str]:
    """The keys of some configs whose values differ; those with the fewest values first, the seed last."""
    keys = list(dict.fromkeys(key for config in configs for key in config))
    counts = Counter({key: len({shown(config.get(key)) for config in configs}) for key in keys})
    return sorted((key for key in keys if counts[key] > 1), key=lambda key: (key == "seed", counts[key]))


def _moment(text: Any) -> datetime.datetime | None:
    """A time of run.json; None if it is none."""
    with contextlib.suppress(TypeError, ValueError):
        moment = datetime.datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.astimezone()
    return None


def _size(directory: Path) -> int:
    """Bytes of the files in a folder, links not followed."""
    total = 0
    for path in paths_below(directory):
        with contextlib.suppress(OSError):
            found = path.lstat()
            total += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return total
