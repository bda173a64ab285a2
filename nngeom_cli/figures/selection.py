"""What of a run is shown where not everything fits: which checkpoints, which replicate, and how well each did."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from nngeom_cli.reading import layer_words
from nngeom_cli.store import Run

__all__ = ["Outcome", "describe", "evenly", "outcomes", "representative", "training_state"]

NOT_GIVEN = float("nan")


@dataclass(frozen=True)
class Outcome:
    """How a replicate ended: `solved` is None where the run does not say (it was interrupted)."""

    accuracy: float
    solved: bool | None

    def __str__(self) -> str:
        words = "accuracy unknown" if math.isnan(self.accuracy) else f"{percent(self.accuracy)} accuracy"
        return words if self.solved is None else f"{words}, {'solved' if self.solved else 'not solved'}"


def percent(fraction: float) -> str:
    """A fraction in percent that says 100 only of all."""
    tenths = math.floor(1000 * fraction) / 10 if fraction > 0.99 else round(100 * fraction, 1)
    return f"{tenths:.3g}%"


def evenly(values: Sequence[int], count: int) -> list[int]:
    """At most `count` of `values` at even places; the first and the last are always among them."""
    places = np.linspace(0, len(values) - 1, min(count, len(values)))
    return [int(values[place]) for place in places.round().astype(int)]


def outcomes(run: Run) -> dict[int, Outcome]:
    """Final accuracy of each replicate, by its seed."""
    history = run.history
    last = history[history.epoch == history.epoch.max()]
    accuracies = dict(zip(last.replicate.astype(int), last.accuracy.astype(float), strict=True))
    solved = {int(row["replicate"]): bool(row["solved"]) for row in run.info.get("replicates", [])}
    seeds = [int(seed) for seed in run.geometry.replicate.values]
    return {seed: Outcome(accuracies.get(seed, NOT_GIVEN), solved.get(seed)) for seed in seeds}


def representative(run: Run) -> int:
    """Seed of the replicate that stands for the run: the first that solved the task, else the most accurate."""
    results = outcomes(run)
    for seed, outcome in results.items():
        if outcome.solved:
            return seed
    return max(results, key=lambda seed: np.nan_to_num(results[seed].accuracy, nan=-1.0))


def training_state(run: Run, epoch: int, seed: int) -> str:
    """Epoch, and the loss there where the history has it, in two lines."""
    history = run.history
    rows = history[(history.epoch == epoch) & (history.replicate == seed)]
    return f"epoch {epoch}" if rows.empty else f"epoch {epoch}\nloss {float(rows.loss.iloc[0]):.3g}"


def describe(geometry: xr.Dataset, *layers: int) -> str:
    """Task, network and layer in words; of several layers each row has its own."""
    widths = np.atleast_1d(geometry.attrs["widths"]).tolist()
    words = f"{geometry.attrs['task']}, {geometry.attrs['activation']} network {'-'.join(map(str, widths))}"
    return f"{words}, {layer_words(widths, layers[0])}" if len(layers) == 1 else words
