"""One table over runs: a row for each, or for each group of runs that differ in their seeds only."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from nngeom_cli.analysis.bootstrap import Estimate, estimate, proportion
from nngeom_cli.analysis.grid import SAME_LINE
from nngeom_cli.analysis.run_rows import OF_SEEDS, Row, grouped_by_config, read_row
from nngeom_cli.analysis.statistic import CONTROLS
from nngeom_cli.analysis.text_table import aligned, in_csv, markdown
from nngeom_cli.config.nested import leaves
from nngeom_cli.errors import ConfigError, did_you_mean, shown
from nngeom_cli.store.discovery import find_runs
from nngeom_cli.system.progress import Progress

__all__ = ["FORMATS", "Summary", "strongest_control", "summarize_runs"]

FORMATS = ("terminal", "csv", "markdown", "json")
PAGE = "docs/statistics.md"
REST = f"{PAGE} defines the columns. `--format json` and `--format csv` have every statistic with all its controls."
BRIEF = {  # what a terminal and Markdown show of a statistic; of any other itself and what is left beyond its controls
    "volume_band_mean": (".change",),
    "curvature_band_mean": (".change",),
    "volume_at_change": (".change",),
    "effective_volume_mean": (".change",),
    "volume_mean": (),
    "curvature_mean": (),
    "length": ("", ".change"),
    "length_near_change": (),
    "local_rank_wrong_contrast": (),
    "participation_ratio_wrong_contrast": (),
}
IN_FILES = ("_within", "_right_mean", "_wrong_mean")  # names that end so are left to csv and json
MINUS = ".minus_control"
SHARE = "solved"  # a share of networks, whose interval is Wilson's
NO_BAND = xr.DataArray(0.0)
BEST_IS_0 = "peak_distance"  # of the others, what lies farther from 0 says more


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
        brief = in_brief(self._metrics())
        write = self._record if form in ("json", "csv") else self._brief
        lines = []
        with Progress("row", len(self.rows)) as progress:
            for row in self.rows:
                lines.append(write(row, brief))
                progress.update(len(lines))
        if form == "json":
            return json.dumps(lines, indent=2)
        if form == "csv":
            table = pd.DataFrame([dict(leaves({**record, "runs": " ".join(record["runs"])})) for record in lines])
            table.columns = table.columns.str.replace(r"^(config|metrics)\.", "", regex=True).map(in_csv)
            return str(table.map(in_csv).to_csv(index=False)).rstrip("\n")
        cells = self._table(lines, brief)
        if form == "markdown":
            return markdown(cells, {name: f"{PAGE}#{name.split('.')[0]}" for name in brief})
        return aligned(cells, width)

    @property
    def rest(self) -> str:
        """Where the columns are defined, and what a terminal's table leaves out; empty if nothing."""
        return REST if set(self._metrics()) - set(in_brief(self._metrics())) else ""

    def _record(self, row: Row, _: Sequence[str]) -> dict[str, Any]:
        found = estimates(row)
        metrics = {name: _json_numbers(number) for name, number in found.items()}
        return {
            "runs": [str(run) for run in row.runs],
            "status": row.status,
            "networks": row.networks,
            "config": {key: row.config.get(key) for key in self.columns},
            "metrics": {name: metrics.get(name, _json_numbers(NOTHING)) for name in self._metrics()},
            "note": row.note,
        }

    def _brief(self, row: Row, columns: Sequence[str]) -> dict[str, Any]:
        return {column: _brief_cell(row, column) for column in columns}

    def _metrics(self) -> list[str]:
        return list(dict.fromkeys(name for row in self.rows for name in row.values))

    def _table(self, lines: Sequence[dict[str, Any]], metrics: Sequence[str]) -> list[list[str]]:
        names = _short([row.runs[0] for row in self.rows])
        head = ["run", "status", "networks", *self.columns, *metrics, "note"]
        table = [head]
        for row, name, line in zip(self.rows, names, lines, strict=True):
            more = f" and {len(row.runs) - 1} more" if len(row.runs) > 1 else ""
            table.append(
                [
                    name + more,
                    row.status,
                    str(row.networks or ""),
                    *(shown(row.config[key]) if key in row.config else "" for key in self.columns),
                    *(line[metric] for metric in metrics),
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
    return {name: _estimate(values, name) for name, values in row.values.items()}


def _estimate(values: xr.DataArray | None, name: str = "") -> Estimate:
    """Each metric has the same resamples, so that its interval does not depend on which others are shown."""
    if values is None or not np.isfinite(values).any():
        return NOTHING
    if name == SHARE:
        return proportion(int(values.sum()), int(values.notnull().sum()))
    return estimate(values, np.random.default_rng(0))


def in_brief(metrics: Sequence[str]) -> list[str]:
    """The columns of a terminal's table: each score, and of each statistic what `BRIEF` says.

    Example:
        >>> names = ["loss", "peak_distance", "peak_distance.change", "peak_distance.other", "length", "length.change"]
        >>> in_brief([*names, "peak_distance.minus_other"])
        ['loss', 'peak_distance', 'peak_distance.minus_control', 'length', 'length.change']
    """
    columns = []
    for name in metrics:
        statistic, _, rest = name.partition(".")
        if (rest and not re.fullmatch(r"layer\d+", rest)) or statistic.endswith(IN_FILES):
            continue
        compared = any(f"{name}.minus_{control}" in metrics for controls in CONTROLS.values() for control in controls)
        for suffix in BRIEF.get(statistic, ("", MINUS) if compared else ("",)):
            if suffix in ("", MINUS) or name + suffix in metrics:
                columns.append(name + suffix)
    return columns


def strongest_control(values: Mapping[str, xr.DataArray], name: str) -> tuple[str, Estimate] | None:
    """The control that a statistic beats least clearly, and the paired difference from it; None without any control.

    Of all differences it is the one whose interval reaches least far in the direction of the statistic's mean (towards
    0 for the distance of a peak), so that a statistic that beats it beats them all. The untrained networks are one of
    the controls; one that is nearly the network's own boundary (`SAME_LINE`) is none.
    """
    minus = f"{name}.minus_"
    controls = [other.removeprefix(minus) for other in values if other.startswith(minus)]
    same = {control for control in controls if values.get(f"band_shared.{control}", NO_BAND).mean() > SAME_LINE}
    differences = {control: values[minus + control] for control in controls if control not in same}
    if f"{name}.change" in values:
        differences["untrained"] = values[f"{name}.change"]
    falls = name.split(".")[0] == BEST_IS_0 or bool(values[name].mean() < 0)
    found = {control: _estimate(of_network) for control, of_network in differences.items()}
    near = {control: -_end(one, "high") if falls else _end(one, "low") for control, one in found.items() if one.n}
    if not near:
        return None
    control = min(near, key=lambda who: near[who])
    return control, found[control]


def _end(found: Estimate, side: Literal["low", "high"]) -> float:
    """An end of the interval; the value itself where there is none."""
    end = found.low if side == "low" else found.high
    return found.value if math.isnan(end) else end


def _brief_cell(row: Row, column: str) -> str:
    """A metric, or what is left of a statistic beyond its strongest control, which is named."""
    if not column.endswith(MINUS):
        return _cell(_estimate(row.values.get(column), column), row.networks)
    name = column.removesuffix(MINUS)
    control = strongest_control(row.values, name) if name in row.values else None
    return "-" if control is None else f"{_cell(control[1], row.networks)} ({control[0]})"


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
