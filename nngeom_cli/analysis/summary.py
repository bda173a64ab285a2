"""One table over runs: a row for each, or for each group of runs that differ in their seeds only."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nngeom_cli.analysis.bootstrap import Estimate, estimate
from nngeom_cli.analysis.run_rows import OF_SEEDS, Row, grouped_by_config, read_row
from nngeom_cli.analysis.text_table import aligned, in_csv, markdown
from nngeom_cli.config.nested import leaves
from nngeom_cli.errors import ConfigError, did_you_mean, shown
from nngeom_cli.store.discovery import find_runs
from nngeom_cli.system.progress import Progress

__all__ = ["FORMATS", "Summary", "summarize_runs"]

FORMATS = ("terminal", "csv", "markdown", "json")


@dataclass(frozen=True)
class Summary:
    """The table.

    Attributes:
        rows: in the order of their directories, groups first.
        columns: config keys that are shown.
    """

    rows: list[Row]
    columns: list[str]

    def text(self, form: str, width: int | None = None) -> str:
        """The table as text.

        Args:
            form: one of `FORMATS`.
            width: columns of characters into which a terminal's table is broken; None does not break it.
        """
        measured = []
        with Progress("row", len(self.rows)) as progress:
            for row in self.rows:
                measured.append(estimates(row))
                progress.update(len(measured))
        records = [self._record(row, found) for row, found in zip(self.rows, measured, strict=True)]
        if form == "json":
            return json.dumps(records, indent=2)
        if form == "csv":
            table = pd.DataFrame([dict(leaves({**record, "runs": " ".join(record["runs"])})) for record in records])
            table.columns = table.columns.str.replace(r"^(config|metrics)\.", "", regex=True).map(in_csv)
            return str(table.map(in_csv).to_csv(index=False)).rstrip("\n")
        rows = self._cells(measured)
        return markdown(rows) if form == "markdown" else aligned(rows, width)

    def _record(self, row: Row, found: dict[str, Estimate]) -> dict[str, Any]:
        metrics = {name: _json_numbers(number) for name, number in found.items()}
        return {
            "runs": [str(run) for run in row.runs],
            "status": row.status,
            "networks": row.networks,
            "config": {key: row.config.get(key) for key in self.columns},
            "metrics": {name: metrics.get(name, _json_numbers(NOTHING)) for name in self._metrics()},
            "note": row.note,
        }

    def _metrics(self) -> list[str]:
        return list(dict.fromkeys(name for row in self.rows for name in row.values))

    def _cells(self, measured: Sequence[dict[str, Estimate]]) -> list[list[str]]:
        metrics = self._metrics()
        names = _short([row.runs[0] for row in self.rows])
        head = ["run", "status", "networks", *self.columns, *metrics, "note"]
        table = [head]
        for row, name, found in zip(self.rows, names, measured, strict=True):
            more = f" and {len(row.runs) - 1} more" if len(row.runs) > 1 else ""
            table.append(
                [
                    name + more,
                    row.status,
                    str(row.networks or ""),
                    *(shown(row.config[key]) if key in row.config else "" for key in self.columns),
                    *(_cell(found.get(metric, NOTHING), row.networks) for metric in metrics),
                    row.note,
                ]
            )
        filled = [column for column in zip(*table, strict=True) if any(column[1:])]
        return [list(cells) for cells in zip(*filled, strict=True)]


NOTHING = Estimate(math.nan, math.nan, math.nan, 0)


def summarize_runs(directories: Sequence[Path], *, grouped: bool = False, columns: Sequence[str] = ()) -> Summary:
    """Reads runs and sets them side by side. Damaged and unfinished ones are rows with a note, whatever is wrong.

    Args:
        directories: of runs, of sweeps, or folders with runs anywhere below.
        grouped: runs that differ only in seed, replicates and device become one row; a network that two of them share
            counts once.
        columns: config keys to show, or sections; empty: those that vary.

    Raises:
        FileNotFoundError: a directory is missing, or has no run below it.
        ConfigError: a column is not a key of the configs.
    """
    runs, rows = find_runs(directories), []
    with Progress("run", len(runs)) as progress:
        for run in runs:
            rows.append(read_row(run))
            progress.update(len(rows))
    if grouped:
        rows = list(grouped_by_config(rows))
    keys = list(dict.fromkeys(key for row in rows for key in row.config))
    if columns:
        return Summary(rows, [key for column in columns for key in _keys_of(column, keys)])
    known = [row.config for row in rows if row.config]
    varying = [key for key in keys if len({shown(config.get(key)) for config in known}) > 1]
    return Summary(rows, [key for key in varying if not (grouped and key in OF_SEEDS)])


def estimates(row: Row) -> dict[str, Estimate]:
    """Each metric of a row over its networks."""
    rng = np.random.default_rng(0)
    some = {name: bool(np.isfinite(values).any()) for name, values in row.values.items()}
    return {name: estimate(values, rng) if some[name] else NOTHING for name, values in row.values.items()}


def _cell(found: Estimate, networks: int) -> str:
    """For example `0.94 ± 0.02 [0.91, 0.96]`; with n where some networks have no value."""
    if found.n == 0:
        return "-"
    count = "" if found.n == networks else f" n={found.n}"
    if math.isnan(found.standard_deviation):
        return f"{found.value:.3g}{count}"
    interval = f"[{found.low:.3g}, {found.high:.3g}]"
    return f"{found.value:.3g} ± {found.standard_deviation:.2g} {interval}{count}"


def _json_numbers(found: Estimate) -> dict[str, Any]:
    """JSON has no NaN."""
    numbers = {"mean": found.value, "standard_deviation": found.standard_deviation}
    numbers |= {"low": found.low, "high": found.high, "n": found.n}
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}


def _keys_of(column: str, keys: Sequence[str]) -> list[str]:
    """The key itself, or all keys of a section."""
    found = [key for key in keys if key == column or key.startswith(f"{column}.")]
    if not found:
        suggestion = did_you_mean(column, keys) or "For example optimizer.lr."
        raise ConfigError(f"`--columns` must be keys of the runs' configs. Got {column}. {suggestion}")
    return found


def _short(paths: Sequence[Path]) -> list[str]:
    """Paths without what all of them have in common."""
    common = os.path.commonpath([path.absolute().parent for path in paths])
    return [str(path.absolute().relative_to(common)) for path in paths]
