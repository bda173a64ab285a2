"""What a tracker is, and which there are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from nngeom_cli.errors import ConfigError, did_you_mean, one_line, one_of
from nngeom_cli.store.run import Run

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["GROUP", "OWN", "Tracker", "known", "make_tracker"]

GROUP = "nngeom.trackers"
OWN = {"tensorboard": "nngeom_cli.trackers.tensorboard:TensorBoard", "mlflow": "nngeom_cli.trackers.mlflow:MLflow"}


class Tracker(Protocol):
    """Is told of one run. An exception in any method ends the tracking, never the run.

    Each sitting of a run, the first one and those of `nngeom resume`, makes a tracker and tells it everything from the
    first epoch on; what a tracker has from an earlier sitting it replaces. So it never has a row twice.
    """

    def start(self, run: Run) -> None:
        """Begins: `run.directory`, `run.config` and `run.info` are known, `run.info["id"]` is the same in all sittings.

        A tracker with files of its own may keep them in the folder `run.directory / TRACKER`.
        """

    def scalars(self, epoch: int, values: Mapping[str, float]) -> None:
        """Finite numbers after `epoch` epochs, by names such as `loss/mean` and `loss/seed-3`.

        Losses come while the run trains, in the order of epochs; statistics at its end, again in the order of epochs.
        """

    def figures(self, paths: Sequence[Path]) -> None:
        """The figures, once they are drawn."""

    def end(self, status: str) -> None:
        """The sitting is over: complete, diverged, interrupted or failed. `start` may have failed before."""


def make_tracker(name: str) -> Tracker:
    """The tracker of that name: one of nngeom's, or one that an installed package has as an entry point.

    Raises:
        ConfigError: there is none, or what it needs is not installed.
    """
    found = known()
    if name not in found:
        suggestion = did_you_mean(name, found) or "docs/guide.md adds one of your own."
        raise ConfigError(f"`tracker` must be {one_of(sorted(found))}, or null. Got {name}. {suggestion}")
    try:
        make: Callable[[], Tracker] = found[name].load()
        return make()
    except Exception as error:  # of any kind: a stranger's package is imported
        way = f"`pip install 'nngeom[{name}]'` adds it." if name in OWN else "Repair its package."
        what = f"{name}: {one_line(error).rstrip('.')}"
        raise ConfigError(f"`tracker` must be one that can be imported. Got {what}. {way}") from error


@functools.cache
def known() -> dict[str, EntryPoint]:
    """By name; nngeom's own come first."""
    from importlib.metadata import EntryPoint, entry_points  # 40 ms, which runs without a tracker do without

    own = {name: EntryPoint(name, place, GROUP) for name, place in OWN.items()}
    return {entry.name: entry for entry in entry_points(group=GROUP)} | own
