"""`nngeom list`: the runs in a folder, a line each."""

from __future__ import annotations

import csv
import datetime
import io
import json
import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nngeom_cli.errors import ConfigError, did_you_mean, one_of, require, shown

if TYPE_CHECKING:
    from nngeom_cli.store.overview import Overview

__all__ = ["list_runs"]

OUTPUTS = Path("outputs")
FORMATS = ("terminal", "csv", "json")
LEAST = 20  # characters that a terminal keeps for what differs
UNITS = (("s", 60), ("min", 60), ("h", 24), ("d", 365), ("y", 10**9))  # each with how many of it make the next


def list_runs(options: Namespace) -> int:
    """nngeom list [DIR...] [--format FORMAT]

    The runs in a folder, by default outputs, the newest first: status, task, the keys in which the runs of a task
    differ, accuracy (mean over the networks), age, size on disk. Only run.json is read, so that it is quick:
    `nngeom summarize` has statistics.
    """
    import shutil

    from nngeom_cli.store.overview import overviews

    suggestion = did_you_mean(options.format, FORMATS) or "Leave it out for a table in the terminal."
    require(options.format in FORMATS, "--format", one_of(FORMATS), options.format, suggestion)
    if not all(options.words):
        raise ConfigError("`nngeom list` must be followed by folders of runs. Got nothing. Leave it out for outputs.")
    if not options.words and not OUTPUTS.is_dir():
        raise ConfigError("`nngeom list` must be given a folder of runs. Got nothing, and there is no outputs here.")
    found = overviews([Path(word) for word in options.words] or [OUTPUTS])
    if options.format == "json":
        print(json.dumps([_record(one) for one in found], indent=2))
    elif options.format == "csv":
        print(_csv(found))
    else:
        print(_table(found, shutil.get_terminal_size().columns if sys.stdout.isatty() else None))
    return 0


def _record(one: Overview) -> dict[str, Any]:
    return {
        "run": str(one.directory),
        "status": one.status,
        "task": one.task,
        "differs": one.differs,
        "accuracy": one.accuracy,
        "started": one.started.isoformat() if one.started else None,
        "bytes": one.size,
    }


def _csv(found: list[Overview]) -> str:
    from nngeom_cli.analysis.text_table import in_csv

    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_record(found[0]))
    for record in map(_record, found):
        table.writerow(in_csv(_in_words(value) if isinstance(value, dict) else value) for value in record.values())
    return text.getvalue().rstrip("\n")


def _table(found: list[Overview], width: int | None) -> str:
    """The table for a terminal; what differs is cut where it would not fit."""
    from nngeom_cli.analysis.text_table import aligned, widths
    from nngeom_cli.errors import beginning_of
    from nngeom_cli.system.memory import in_words

    common = Path(os.path.commonpath([one.directory.absolute().parent for one in found]))
    now = datetime.datetime.now(datetime.timezone.utc)
    rows = [["run", "status", "task", "differs", "accuracy", "age", "size"]]
    for one in found:
        rows.append(
            [
                str(one.directory.absolute().relative_to(common)),
                one.status,
                one.task,
                _in_words(one.differs),
                "" if one.accuracy is None else f"{one.accuracy:.3f}",
                "" if one.started is None else age((now - one.started).total_seconds()),
                in_words(one.size),
            ]
        )
    if width is not None:
        columns = widths(rows)
        room = max(LEAST, width - sum(columns) + columns[3] - 2 - len("..."))
        rows = [[*row[:3], beginning_of(row[3], room), *row[4:]] for row in rows]
    filled = [column for column in zip(*rows, strict=True) if any(column[1:])]
    return aligned(list(zip(*filled, strict=True)), width)


def _in_words(differs: dict[str, Any]) -> str:
    return " ".join(f"{key}={shown(value)}" for key, value in differs.items())


def age(seconds: float) -> str:
    """A time in the largest unit of which it has one.

    Example:
        >>> age(42), age(130), age(90_000)
        ('42 s', '2 min', '1 d')
    """
    left = max(0.0, seconds)
    for unit, most in UNITS:
        if left < most:
            return f"{int(left)} {unit}"
        left /= most
    raise AssertionError("no time is as long as that")
