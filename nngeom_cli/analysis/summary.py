"""One table over runs: a row for each, or for each group of runs that differ in their seeds only."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nngeom_cli.analysis.columns import BEST, MEANINGS, MINUS, PAGE, default_columns, matching
from nngeom_cli.analysis.controls import SAME_LINE
from nngeom_cli.analysis.estimate import NOTHING, Estimate
from nngeom_cli.analysis.run_rows import OF_SEEDS, Row, grouped_by_config, read_row
from nngeom_cli.analysis.text_table import aligned, in_csv, markdown, widths
from nngeom_cli.config.nested import leaves
from nngeom_cli.errors import ConfigError, did_you_mean, shown
from nngeom_cli.store.discovery import find_runs
from nngeom_cli.system.progress import Progress

__all__ = ["FORMATS", "Summary", "strongest_control", "summarize_runs"]

FORMATS = ("terminal", "csv", "markdown", "json")
DATA_HASH = "recorded.data"  # tells no reader anything, and fills a table
RISES = "geodesic_stretch"  # the log of a ratio of lengths in two spaces: its sign says nothing
BEST_IS_0 = "peak_distance"  # of the others, what lies farther from 0 says more
MARK = " *"


@dataclass(frozen=True)
class Summary:
    """The table.

    Attributes:
        rows: in the order of their directories, groups first, or sorted.
        config: config keys that are shown.
        metrics: scores and statistics that are shown; empty: all in files, and elsewhere few.
    """

    rows: list[Row]
    config: list[str]
    metrics: list[str]

    def text(self, form: str, width: int | None = None) -> str:
        """The table as text.

        Args:
            form: one of `FORMATS`.
            width: of a terminal in characters. Columns that nobody asked for are left out where they do not fit, and a
                table that is still wider is broken into pieces.
        """
        if form == "json":
            return json.dumps(list(map(self._record, self.rows)), indent=2)
        if form == "csv":
            return self._csv()
        cells = self._table(self._shown(width), hide=form == "terminal")
        if form == "markdown":
            of = {name: name.split(".")[0] for name in cells[0]}
            return markdown(cells, {name: f"{PAGE}#{kind}" for name, kind in of.items() if kind in MEANINGS})
        return aligned(cells, width)

    def about(self, width: int | None = None) -> str:
        """What the reader of a table in the terminal should know."""
        table, said = self._shown(width), ["mean [95 % interval]"]
        if any(cell.endswith(MARK) for row in self._table(table, hide=True) for cell in row):
            said.append(f"{MARK.strip()} best of its column")
        left = [name for name in (self._shown(None) if not self.metrics else ()) if name not in table]
        if left:
            said.append(f"no room for {', '.join(left)}")
        more = "`--columns all` shows every column, `--columns help` says what each is"
        return ". ".join([", ".join(said), more]) + "."

    def _known(self) -> list[str]:
        return list(dict.fromkeys(name for row in self.rows for name in row.estimates))

    def _shown(self, width: int | None) -> list[str]:
        """The scores and statistics of a table that is read by people."""
        if self.metrics:
            return self.metrics
        names = [name for name in default_columns(self._known()) if any(_of(row, name)[0].n for row in self.rows)]
        if width is not None:
            cells = self._table(names, hide=True)
            room = dict(zip(cells[0], widths(cells), strict=True))
            while names and sum(room.values()) > width:
                room.pop(names.pop())
        return names

    def _record(self, row: Row) -> dict[str, Any]:
        metrics = {}
        for name in self.metrics or self._known():
            found, control = _of(row, name)
            metrics[name] = _json_numbers(found) | ({"control": control} if name.endswith(MINUS) else {})
        return {
            "runs": [str(run) for run in row.runs],
            "status": row.status,
            "networks": row.networks,
            "config": {key: row.config.get(key) for key in self.config},
            "metrics": metrics,
            "note": row.note,
        }

    def _csv(self) -> str:
        lines = [
            dict(leaves({key.removeprefix("config.").removeprefix("metrics."): value for key, value in leaves(record)}))
            for record in ({**one, "runs": " ".join(one["runs"])} for one in map(self._record, self.rows))
        ]
        head = list(dict.fromkeys(key for line in lines for key in line))
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(map(in_csv, head))
        table.writerows([in_csv(line.get(key)) for key in head] for line in lines)
        return text.getvalue().rstrip("\n")

    def _table(self, metrics: Sequence[str], *, hide: bool) -> list[list[str]]:
        """Cells, the head first, without empty columns; without the status, too, if all are complete, to `hide` it."""
        names = _short([row.runs[0] for row in self.rows])
        plain = hide and {row.status for row in self.rows} == {"complete"}
        table = [["run", *([] if plain else ["status"]), "networks", *self.config, *metrics, "note"]]
        best = {name: self._best(name) for name in metrics}
        for row, name in zip(self.rows, names, strict=True):
            more = f" and {len(row.runs) - 1} more" if len(row.runs) > 1 else ""
            table.append(
                [
                    name + more,
                    *([] if plain else [row.status]),
                    str(row.networks or ""),
                    *(shown(row.config[key]) if key in row.config else "" for key in self.config),
                    *(
                        _cell(row, metric) + (MARK if _of(row, metric)[0].value == best[metric] else "")
                        for metric in metrics
                    ),
                    row.note,
                ]
            )
        filled = [column for column in zip(*table, strict=True) if any(column[1:])]
        return [list(cells) for cells in zip(*filled, strict=True)]

    def _best(self, name: str) -> float | None:
        """The best mean of a score; None where all are equal, and of a statistic, of which no value is better."""
        found = [row.estimates[name].value for row in self.rows if name in row.estimates and row.estimates[name].n]
        return BEST[name](found) if name in BEST and len(set(found)) > 1 else None


def summarize_runs(
    directories: Sequence[Path],
    *,
    grouped: bool = False,
    columns: Sequence[str] = (),
    sort: str = "",
    reverse: bool = False,
) -> Summary:
    """Reads runs and sets them side by side. Damaged and unfinished ones are rows with a note, whatever is wrong.

    Args:
        directories: of runs, of sweeps, or folders with runs anywhere below.
        grouped: runs that differ only in seed, replicates and device become one row; a network that two of them share
            counts once.
        columns: scores, statistics and config keys to show, or sections, or patterns; or `all` statistics. Without a
            config key, those that vary; without any other, the most important ones, or in files all.
        sort: a column; scores begin with the best, all else with the smallest; runs without a value come last.
        reverse: turns that order round.

    Raises:
        FileNotFoundError: a directory is missing, or has no run below it.
        ConfigError: a column is neither a metric nor a key of the configs.
    """
    runs, rows = find_runs(directories), []
    with Progress("run", len(runs)) as progress:
        for run in runs:
            rows.append(read_row(run))
            progress.update(len(rows))
    if grouped:
        rows = list(grouped_by_config(rows))
    keys = list(dict.fromkeys(key for row in rows for key in row.config))
    metrics = list(dict.fromkeys(name for row in rows for name in row.estimates))
    asked = [matching(column, metrics, keys) for column in columns]
    named = list(dict.fromkeys(name for found, _ in asked for name in found))
    config = list(dict.fromkeys(key for _, found in asked for key in found))
    if not config:
        known = [row.config for row in rows if row.config]
        varying = [key for key in keys if len({shown(of.get(key)) for of in known}) > 1]
        hidden = {DATA_HASH, *(OF_SEEDS if grouped else ())}
        config = [key for key in varying if key not in hidden]
    if sort:
        rows = _sorted(rows, sort, [*metrics, *keys], reverse)
    elif reverse:
        rows.reverse()
    return Summary(rows, config, named)


def _sorted(rows: Sequence[Row], column: str, known: Sequence[str], reverse: bool) -> list[Row]:
    """The rows by a column; those that have no value stay last, in their order."""
    kind = column.removesuffix(MINUS)
    if kind not in known:
        suggestion = did_you_mean(column, known) or "`nngeom summarize --columns help` lists them."
        raise ConfigError(f"`--sort` must be one column of the table. Got {column}. {suggestion}")

    def of_config(row: Row) -> tuple[int, Any] | None:
        value = row.config.get(column)
        if value is None:
            return None
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return (0, value) if number else (1, shown(value))

    def of_metric(row: Row) -> float | None:
        found = _of(row, column)[0]
        return found.value if found.n else None

    is_metric = any(kind in row.estimates for row in rows)
    key: Callable[[Row], Any] = of_metric if is_metric else of_config
    valued = [row for row in rows if key(row) is not None]
    largest_first = BEST.get(column) is max
    return [*sorted(valued, key=key, reverse=largest_first != reverse), *(row for row in rows if key(row) is None)]


def strongest_control(estimates: Mapping[str, Estimate], name: str) -> tuple[str, Estimate] | None:
    """The control that a statistic beats least clearly, and the paired difference from it; None without any control.

    Of all differences it is the one whose interval reaches least far in the direction of the statistic's mean (towards
    0 for the distance of a peak, up for a stretch), so that a statistic that beats it beats them all. The untrained
    networks are one of the controls; one that is nearly the network's own boundary (`SAME_LINE`) is none.
    """
    minus = f"{name}.minus_"
    controls = [other.removeprefix(minus) for other in estimates if other.startswith(minus)]
    same = {control for control in controls if estimates.get(f"band_shared.{control}", NOTHING).value > SAME_LINE}
    found = {control: estimates[minus + control] for control in controls if control not in same}
    if f"{name}.change" in estimates:
        found["untrained"] = estimates[f"{name}.change"]
    statistic = name.split(".")[0]
    falls = statistic != RISES and (statistic == BEST_IS_0 or estimates[name].value < 0)
    near = {control: -_end(one, "high") if falls else _end(one, "low") for control, one in found.items() if one.n}
    if not near:
        return None
    control = min(near, key=lambda who: near[who])
    return control, found[control]


def _end(found: Estimate, side: Literal["low", "high"]) -> float:
    """An end of the interval; the value itself where there is none."""
    end = found.low if side == "low" else found.high
    return found.value if math.isnan(end) else end


def _of(row: Row, column: str) -> tuple[Estimate, str]:
    """A metric, or what is left of a statistic beyond its strongest control, and that control's name."""
    if not column.endswith(MINUS):
        return row.estimates.get(column, NOTHING), ""
    name = column.removesuffix(MINUS)
    control = strongest_control(row.estimates, name) if name in row.estimates else None
    return (NOTHING, "") if control is None else (control[1], control[0])


def _cell(row: Row, column: str) -> str:
    """For example `0.94 [0.91, 0.96]`; with n where some networks have no value, and with the name of the control."""
    found, control = _of(row, column)
    if found.n == 0:
        return "-"
    value, low, high = (f"{number:.3g}" for number in (found.value, found.low, found.high))
    interval = "" if math.isnan(found.low) or value == low == high else f" [{low}, {high}]"
    count = "" if found.n == row.networks else f" n={found.n}"
    return f"{value}{interval}{count}{f' ({control})' if control else ''}"


def _json_numbers(found: Estimate) -> dict[str, Any]:
    """JSON has no NaN."""
    numbers = {"mean": found.value, "standard_deviation": found.standard_deviation}
    numbers |= {"low": found.low, "high": found.high, "n": found.n}
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}


def _short(paths: Sequence[Path]) -> list[str]:
    """Paths without what all of them have in common."""
    common = os.path.commonpath([path.absolute().parent for path in paths])
    return [str(path.absolute().relative_to(common)) for path in paths]
