"""Tells a tracker of a run. The run directory is the truth: whatever a tracker does, the run goes on."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nngeom_cli.errors import ConfigError, beginning_of, one_line
from nngeom_cli.store.run import Run, load_run
from nngeom_cli.store.run_directory import RunDirectory
from nngeom_cli.trackers.tracker import Tracker, make_tracker

__all__ = ["Tracking", "scalars_of", "tracked"]


class Tracking:
    """One sitting of a run, as a tracker is told of it.

    Args:
        name: of the tracker; None tells nobody.
        store: of the run.
        earlier: the history until this sitting; None in the first one.
        warn: takes one sentence, if the tracker fails.
    """

    def __init__(
        self, name: str | None, store: RunDirectory, earlier: pd.DataFrame | None, warn: Callable[[str], None]
    ) -> None:
        self.name, self.store, self.warn = name, store, warn
        self._earlier = earlier
        self._tracker: Tracker | None = None
        if name is not None:
            self._told(self._start, name)

    def scores(self, epoch: int, scores: Mapping[str, Any], seeds: Sequence[int]) -> None:
        """Loss, accuracy and so on after `epoch` epochs, each `(replicates,)`."""
        if self._tracker is not None:
            self._told(self._tracker.scalars, epoch, scalars_of(scores, seeds))

    def measured(self, band: float) -> None:
        """The statistics of the geometry at each checkpoint, once the run has all of them.

        Args:
            band: `figures.band`.
        """
        if self._tracker is not None:
            self._told(self._measured, band)

    def figures(self, paths: Sequence[Path]) -> None:
        """What was drawn."""
        if self._tracker is not None and paths:
            self._told(self._tracker.figures, paths)

    def end(self, status: str) -> None:
        """The sitting is over."""
        if self._tracker is not None:
            self._told(self._tracker.end, status)

    def _start(self, name: str) -> None:
        tracker = make_tracker(name)
        self._tracker = tracker
        tracker.start(Run(self.store.directory, self.store.info))
        if self._earlier is not None:
            names = [column for column in self._earlier.columns if column not in ("epoch", "replicate")]
            for epoch, rows in self._earlier.groupby("epoch"):
                values = {column: rows[column].to_numpy() for column in names}
                tracker.scalars(int(epoch), scalars_of(values, rows.replicate.tolist()))

    def _measured(self, band: float) -> None:
        from nngeom_cli.trackers.statistics import statistics_by_epoch  # scipy, which no other run needs

        assert self._tracker is not None
        for epoch, statistics, seeds in statistics_by_epoch(load_run(self.store.directory), band):
            self._tracker.scalars(epoch, scalars_of(statistics, seeds))

    def _told(self, tell: Callable[..., None], *about: Any) -> None:
        """Calls the tracker; where it fails it is told once that the sitting failed, and then no more."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of its libraries
                tell(*about)
        except Exception as error:  # of any kind: a server may be gone, a disk full, a package broken
            tracker, self._tracker = self._tracker, None
            what = str(error) if isinstance(error, ConfigError) else f"{type(error).__name__}: {one_line(error)}"
            self.warn(
                f"tracker={self.name} failed, and is told no more of this run, which goes on: {beginning_of(what)}"
            )
            if tracker is not None:
                with contextlib.suppress(Exception), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    tracker.end("failed")


@contextlib.contextmanager
def tracked(
    name: str | None, store: RunDirectory, earlier: pd.DataFrame | None, warn: Callable[[str], None]
) -> Iterator[Tracking]:
    """A sitting of a run, of which a tracker is told how it ended."""
    tracking = Tracking(name, store, earlier, warn)
    try:
        yield tracking
    except BaseException as error:
        tracking.end("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
        raise
    tracking.end("diverged" if store.info.get("diverged") else "complete")


def scalars_of(values: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, float]:
    """The mean over replicates and the number of each; what is not finite is left out, of the mean too.

    Example:
        >>> scalars_of({"loss": [0.5, 0.25, float("nan")]}, [3, 4, 5])
        {'loss/mean': 0.375, 'loss/seed-3': 0.5, 'loss/seed-4': 0.25}
    """
    found: dict[str, float] = {}
    for name, of_each in values.items():
        each = {f"{name}/seed-{seed}": float(value) for seed, value in zip(seeds, of_each, strict=True)}
        finite = {tag: value for tag, value in each.items() if math.isfinite(value)}
        if finite:
            with np.errstate(over="ignore"):  # finite losses of a network that is about to diverge
                mean = float(np.mean(list(finite.values())))
            found |= ({f"{name}/mean": mean} if math.isfinite(mean) else {}) | finite
    return found
