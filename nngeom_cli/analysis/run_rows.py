"""The runs below some folders, each as a row: its directory, status, config and final measurements."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nngeom_cli.analysis.estimate import NOTHING, Estimate
from nngeom_cli.analysis.row_cache import recalled, state_of, stored
from nngeom_cli.config.nested import leaves
from nngeom_cli.errors import NngeomError, beginning_of
from nngeom_cli.store.layout import INFO
from nngeom_cli.store.run_info import FINISHED

if TYPE_CHECKING:
    from nngeom_cli.store.run import Run

__all__ = ["OF_SEEDS", "Row", "grouped_by_config", "read_row"]

LONGEST_NOTE = 1000  # characters
OF_SEEDS = ("seed", "replicates", "device")  # what runs of one group may differ in
SHARE = "solved"  # a share of networks, whose interval is Wilson's


@dataclass(frozen=True)
class Row:
    """A run, or a group of them.

    Attributes:
        runs: directories.
        status: of the run; of a group, the number of runs with each status.
        config: by key as typed, `optimizer.lr`.
        seeds: of the networks.
        values: metrics after the last epoch, `(networks, pairs or planes)`, or one column.
        estimates: of each metric over the networks.
        note: anything else that the reader should know.
    """

    runs: list[Path]
    status: str
    config: dict[str, Any]
    seeds: list[int] = field(default_factory=list)
    values: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    note: str = ""

    @property
    def networks(self) -> int:
        """The number of networks in the row."""
        return len(self.seeds)


def read_row(directory: Path) -> Row:
    """The row of one run; of a finished one that was read before, as it was then if no file of it has changed."""
    state = state_of(directory)
    kept = recalled(directory, state)
    if kept is not None:
        known = {name: Estimate(*numbers) for name, numbers in kept["estimates"].items()}
        values = {name: np.array(of, dtype=float) for name, of in kept["values"].items()}
        return Row([directory], kept["status"], kept["config"], kept["seeds"], values, known, kept["note"])
    row = _read(directory)
    if row.values:
        numbers = {
            name: [one.value, one.low, one.high, one.n, one.standard_deviation] for name, one in row.estimates.items()
        }
        content = {"status": row.status, "config": row.config, "seeds": row.seeds, "note": row.note}
        content |= {"estimates": numbers, "values": {name: of.tolist() for name, of in row.values.items()}}
        stored(directory, state, content)
    return row


def _read(directory: Path) -> Row:
    from nngeom_cli.analysis.run_statistics import final_metrics, statistics_of
    from nngeom_cli.store.run import described, load_run

    config: dict[str, Any] = {}
    try:
        config = dict(leaves(described(directory, verify=True).config))
        run = load_run(directory)
        if run.status not in FINISHED:
            return Row([directory], run.status, config, note=_progress(run))
        run.look_through()
        values = final_metrics(run)
        lost = np.isnan(values["loss"][:, 0])
        values |= statistics_of(run, ~lost)
        note = f"{int(lost.sum())} of {lost.size} replicates diverged" if lost.any() else ""
        seeds = [row["replicate"] for row in run.replicates]
        return Row([directory], run.status, config, seeds, values, estimates_of(values), note)
    except FileNotFoundError as error:
        missing = INFO not in {path.name for path in directory.glob(INFO)}
        return Row([directory], "not started" if missing else "damaged", config, note="" if missing else str(error))
    except Exception as error:  # one damaged run must not cost the other rows
        what = str(error) if isinstance(error, NngeomError) else f"{type(error).__name__}: {error}"
        return Row([directory], "damaged", config, note=_note(what))


def estimates_of(values: Mapping[str, NDArray[np.float64]]) -> dict[str, Estimate]:
    """Each metric over networks. All have the same resamples, so that no interval depends on which others are shown."""
    from nngeom_cli.analysis.bootstrap import estimates, proportion

    found = estimates(values)
    if SHARE in values:
        solved = values[SHARE][~np.isnan(values[SHARE])]
        found[SHARE] = proportion(int(solved.sum()), solved.size) if solved.size else NOTHING
    return found


def _progress(run: Run) -> str:
    """How far an unfinished run has come, and what stopped it."""
    epochs = run.config["optimizer"]["epochs"]
    try:
        reached = f"epoch {run.history.epoch.max()} of {epochs}"
    except FileNotFoundError:
        reached = f"epoch 0 of {epochs}"
    error = str(run.info.get("error") or "")
    return _note(f"{reached}{': ' if error else ''}{error}")


def _note(text: str) -> str:
    """Text on one line; the start of a long one."""
    return beginning_of(" ".join(text.split()), LONGEST_NOTE)


def grouped_by_config(rows: Sequence[Row]) -> Iterator[Row]:
    """One row for the finished runs of each config, whatever their seeds; then the other runs."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.values:
            same = {key: value for key, value in row.config.items() if key not in OF_SEEDS}
            groups.setdefault(json.dumps(same, sort_keys=True), []).append(row)
    for group in groups.values():
        counts = Counter(row.status for row in group)
        configs = {key: [row.config.get(key) for row in group] for key in group[0].config}
        seeds = [seed for row in group for seed in row.seeds]
        first = [seeds.index(seed) for seed in dict.fromkeys(seeds)]  # a network that two of them share counts once
        values = {name: _pooled([row.values.get(name) for row in group], group)[first] for name in group[0].values}
        yield Row(
            runs=[run for row in group for run in row.runs],
            config={key: found[0] if found.count(found[0]) == len(found) else found for key, found in configs.items()},
            status=", ".join(f"{count} {status}" if len(group) > 1 else status for status, count in counts.items()),
            seeds=[seeds[place] for place in first],
            values=values,
            estimates=estimates_of(values),
            note="; ".join(row.note for row in group if row.note),
        )
    yield from (row for row in rows if not row.values)


def _pooled(parts: Sequence[NDArray[np.float64] | None], group: Sequence[Row]) -> NDArray[np.float64]:
    """The values of a metric of all networks of a group; NaN where a run has none."""
    columns = max(part.shape[1] for part in parts if part is not None)
    whole = []
    for part, row in zip(parts, group, strict=True):
        filled = np.full((row.networks, columns), math.nan)
        if part is not None:
            filled[:, : part.shape[1]] = part
        whole.append(filled)
    return np.concatenate(whole)
