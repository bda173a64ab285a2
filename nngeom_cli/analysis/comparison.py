"""Runs side by side: in what their configs differ, and by how much their scores and statistics do."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nngeom_cli.analysis.bootstrap import interval, resampled_seeds
from nngeom_cli.analysis.estimate import NOTHING, Estimate, proportion_difference
from nngeom_cli.analysis.run_rows import Row, read_row
from nngeom_cli.errors import DamageError, require
from nngeom_cli.store.overview import APART
from nngeom_cli.store.run_info import FINISHED

__all__ = ["Comparison", "compared_runs", "difference"]

SHARE = "solved"  # a share of networks, whose intervals are Wilson's and Newcombe's
MOST = 6  # runs


@dataclass(frozen=True)
class Comparison:
    """Some finished runs.

    Attributes:
        rows: of the runs.
        letters: by which they are called: A, B, ...
        differing: config keys whose values differ, with the value of each run; None where it has no such key.
        differences: of each metric that all have, the difference of each later run from the first.
    """

    rows: list[Row]
    letters: list[str]
    differing: dict[str, list[Any]]
    differences: dict[str, list[Estimate]]

    @property
    def shared(self) -> list[int]:
        """How many seeds each later run shares with the first; they are paired."""
        return [len({*self.rows[0].seeds} & {*row.seeds}) for row in self.rows[1:]]


def compared_runs(directories: Sequence[Path]) -> Comparison:
    """Reads runs and compares them.

    Raises:
        ConfigError: there are not two to six of them, one is named twice, or one has not ended.
        DamageError: one is damaged.
    """
    named = {Path(os.path.realpath(directory)) for directory in directories}
    several = len(named) == len(directories) and 2 <= len(named) <= MOST
    names = ", ".join(map(str, directories)) or "nothing"
    require(several, "nngeom compare", f"followed by 2 to {MOST} different runs", names, "See `nngeom list`.")
    rows = [read_row(directory) for directory in directories]
    for directory, row in zip(directories, rows, strict=True):
        if row.status == "damaged":
            raise DamageError(row.note)
        ended = row.status in FINISHED
        require(ended, str(directory), "a run that has ended", f"one that is {row.status}", "See `nngeom resume`.")
    keys = [key for key in dict.fromkeys(key for row in rows for key in row.config) if not key.startswith(APART)]
    values = {key: [row.config.get(key) for row in rows] for key in keys}
    differing = {key: of for key, of in values.items() if any(value != of[0] for value in of)}
    first, *others = rows
    metrics = [name for name in first.values if all(name in row.values for row in others)]
    differences = {name: [_of_rows(name, first, row) for row in others] for name in metrics}
    return Comparison(rows, [chr(ord("A") + place) for place in range(len(rows))], differing, differences)


def _of_rows(name: str, first: Row, second: Row) -> Estimate:
    ours, theirs = second.estimates[name], first.estimates[name]
    if name == SHARE and ours.n and theirs.n:
        return proportion_difference(ours, theirs)
    return difference(_by_seed(second, name), _by_seed(first, name))


def _by_seed(row: Row, name: str) -> dict[int, float]:
    """The value of each network that has one; of several paths or planes their mean."""
    values = row.values[name]
    known = ~np.isnan(values).all(axis=1)
    means = np.nanmean(values[known], axis=1)
    return dict(zip(np.array(row.seeds)[known].tolist(), means.tolist(), strict=True))


def difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Estimate:
    """The mean of our networks minus the mean of theirs, with a bootstrap interval of level 95 %.

    Seeds are resampled: a seed that both have is drawn for both, so that the difference is paired by seed; where none
    is shared, each side is resampled by itself.

    Args:
        ours: a number for each seed.
        theirs: likewise.

    Returns:
        `n` is the number of seeds; no interval where there are too few.

    Example:
        >>> print(difference({0: 1.5, 1: 2.5, 2: 3.5}, {0: 1.0, 1: 2.0, 2: 3.0}))
        0.5 [0.5, 0.5] (n = 3)
    """
    if not ours or not theirs:
        return NOTHING
    seeds = np.array([*ours, *theirs])
    side = np.repeat([0, 1], [len(ours), len(theirs)])
    values = np.array([*ours.values(), *theirs.values()])
    drawn = resampled_seeds(seeds, side, np.random.default_rng(0))
    means = [_resampled_mean(drawn.counts[:, drawn.place[side == one]], values[side == one]) for one in (0, 1)]
    low, high = interval(means[0] - means[1], len(drawn.stratum), drawn.strata)
    return Estimate(float(values[side == 0].mean() - values[side == 1].mean()), low, high, len(drawn.stratum))


def _resampled_mean(counts: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    """The mean of the networks of a side in each resample; NaN where none is drawn."""
    with np.errstate(invalid="ignore"):
        means: NDArray[Any] = counts @ values / counts.sum(axis=1)
    return means
