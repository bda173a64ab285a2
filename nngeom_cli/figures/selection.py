"""What is shown of a run if not everything fits: which checkpoints, which replicate, and how well each did."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nngeom_cli.analysis.degeneracy import layer_words
from nngeom_cli.config.general import FiguresConfig
from nngeom_cli.errors import one_of, require, shown
from nngeom_cli.store.run import Run

__all__ = [
    "FinalScore",
    "counted",
    "describe",
    "figures_config",
    "final_scores",
    "networks_shown",
    "representative",
    "shown_epochs",
    "stages",
    "training_state",
]

NOT_GIVEN = float("nan")
MOST_NAMED = 6  # diverged replicates in a title
FEWEST_STAGES, MOST_STAGES = 4, 6  # checkpoints shown
MOST_IMAGE_STAGES = 4  # panels must be large enough for three images
INCHES_A_STAGE = (1.1, 1.6)  # of a sheet's width, at least, for each checkpoint: of grids, and of planes
ALIKE = 0.1  # part of an equal share of the change; a stage that changes less than this shows nothing new


@dataclass(frozen=True)
class FinalScore:
    """How a replicate ended: `solved` is None where the run does not say (it was interrupted)."""

    accuracy: float
    solved: bool | None
    diverged: bool = False

    def __str__(self) -> str:
        if self.diverged:
            return "diverged"
        words = "accuracy unknown" if math.isnan(self.accuracy) else f"{percent(self.accuracy)} accuracy"
        return words if self.solved is None else f"{words}, {'solved' if self.solved else 'not solved'}"

    @property
    def brief(self) -> str:
        """The accuracy, or why there is none."""
        return "diverged" if self.diverged else "unknown" if math.isnan(self.accuracy) else percent(self.accuracy)


def figures_config(run: Run) -> FiguresConfig:
    """How to draw a run; the defaults if it was saved by a version without the choice."""
    return FiguresConfig(**run.config.get("figures", {}))


def percent(fraction: float) -> str:
    """A fraction in percent; 100 only if it is 1."""
    tenths = math.floor(1000 * fraction) / 10 if fraction > 0.99 else round(100 * fraction, 1)
    return f"{tenths:.3g}%"


def stages(fields: Sequence[NDArray[np.float64]], fewest: int, most: int) -> list[int]:
    """Places of at most `most` fields, the first and the last among them, with about equal change between neighbours.

    The change from one checkpoint to the next is the root mean square over the points that are finite at both; places
    are chosen at equal steps of its sum; beyond `fewest`, those that hardly differ from the one before are dropped.
    Where nothing changes, or nothing is finite, they are chosen evenly.

    Example:
        >>> stages([np.array([level]) for level in (0.0, 0.1, 0.1, 5.0, 10.0, 10.1)], 2, 4)
        [0, 3, 5]
    """
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        steps = [np.square(after - before) for before, after in pairwise(fields)]
    change = [np.sqrt(np.mean(step[np.isfinite(step)])) if np.isfinite(step).any() else 0.0 for step in steps]
    travelled = np.cumsum([0.0, *change])
    if travelled[-1] == 0:
        travelled = np.arange(len(fields), dtype=np.float64)
    last, most = len(fields) - 1, min(most, len(fields))
    chosen = [0]
    for remaining, target in zip(range(most - 2, 0, -1), np.linspace(0, travelled[-1], most)[1:-1], strict=True):
        free = np.arange(chosen[-1] + 1, last + 1 - remaining)
        chosen.append(int(free[np.abs(travelled[free] - target).argmin()]))
    chosen = list(dict.fromkeys([*chosen, last]))
    hardly = ALIKE * travelled[-1] / most
    while len(chosen) > fewest:
        apart = np.diff(travelled[chosen])
        place = int(apart.argmin())
        if apart[place] > hardly:
            break
        del chosen[place + 1 if place + 1 < len(chosen) - 1 else place]
    return chosen


def diverged(run: Run) -> list[int]:
    """Seeds of the replicates whose loss was not finite at the end, or that had no number left when last measured."""
    named = {int(row["replicate"]) for row in run.info.get("diverged", [])}
    gone = without_numbers(run.geometry).isel(epoch=-1)
    return [seed for seed in run.geometry.replicate.values.tolist() if seed in named or gone.sel(replicate=seed)]


def without_numbers(geometry: xr.Dataset) -> xr.DataArray:
    """Where a network has weights that are NaN, (epoch, replicate): no log volume anywhere, not even -infinity."""
    name = {"path": "log_effective_volume_element", "data": "log_effective_volume_element", "geodesic": "chord"}
    volume = geometry[name.get(geometry.attrs["kind"], "log_volume_element")]
    missing: xr.DataArray = volume.isnull().all([dim for dim in volume.dims if dim not in ("epoch", "replicate")])
    return missing


def networks_shown(run: Run) -> tuple[xr.Dataset, str]:
    """The geometry of the replicates that did not diverge, and what a title says of the others, and of checkpoints.

    If all of them diverged, the geometry is of those that lasted longest, up to the last checkpoint with numbers.
    """
    geometry, lost = run.geometry, diverged(run)
    some = f"; {geometry.sizes['epoch']} of {run.thinned} checkpoints" if run.thinned else ""
    seeds = geometry.replicate.values.tolist()
    if not lost:
        return geometry, some
    if len(lost) < len(seeds):
        plural = len(lost) > 1
        named = f" (seed{'s' * plural} {', '.join(map(str, lost))})" if len(lost) <= MOST_NAMED else ""
        words = (
            f"; {len(lost)} of {len(seeds)} replicates diverged{named} and {'are' if plural else 'is'} left out{some}"
        )
        return geometry.sel(replicate=[seed for seed in seeds if seed not in lost]), words
    who = "the replicate diverged" if len(seeds) == 1 else f"all {len(seeds)} replicates diverged"
    alive = ~without_numbers(geometry)
    finite = np.flatnonzero(alive.any("replicate").values)
    if finite.size == 0:
        return geometry, f"; {who}{some}"
    shown = geometry.isel(epoch=slice(finite[-1] + 1), replicate=alive.isel(epoch=finite[-1]).values)
    left = f" ({counted(shown.sizes['replicate'])})" if shown.sizes["replicate"] < len(seeds) else ""
    return shown, f"; {who}: drawn up to epoch {int(shown.epoch[-1])}, the last with finite weights{left}{some}"


def counted(replicates: int) -> str:
    """`1 replicate`, `8 replicates`."""
    return f"{replicates} replicate{'s' * (replicates > 1)}"


def final_scores(run: Run) -> dict[int, FinalScore]:
    """Final accuracy of each replicate, by its seed."""
    history = run.history
    last = history[(history.epoch == history.epoch.max()) & np.isfinite(history.loss)]
    accuracies = dict(zip(last.replicate.astype(int), last.accuracy.astype(float), strict=True))
    solved = {int(row["replicate"]): bool(row["solved"]) for row in run.info.get("replicates", [])}
    seeds, lost = run.geometry.replicate.values.tolist(), diverged(run)
    return {seed: FinalScore(accuracies.get(seed, NOT_GIVEN), solved.get(seed), seed in lost) for seed in seeds}


def representative(run: Run) -> int:
    """Seed of the replicate that stands for the run: of those shown the first that solved the task, or the best."""
    every, asked = final_scores(run), figures_config(run).replicate
    if asked is not None:
        known = networks_shown(run)[0].replicate.values.tolist()
        require(
            asked in known,
            "figures.replicate",
            f"the seed of a replicate that is drawn: {one_of(map(str, known))}",
            asked,
            "null takes the first that solved the task.",
        )
        return asked
    results = {int(seed): every[int(seed)] for seed in networks_shown(run)[0].replicate.values}
    for seed, score in results.items():
        if score.solved:
            return seed
    return max(results, key=lambda seed: np.nan_to_num(results[seed].accuracy, nan=-1.0))


def shown_epochs(run: Run) -> list[int]:
    """The checkpoints of heatmaps: those asked for, or those between which log volume changes about equally.

    The replicate that stands for the run is looked at, in all layers and on all planes together.

    Raises:
        ConfigError: the run was not measured at an epoch that is asked for.
    """
    settings, geometry = figures_config(run), networks_shown(run)[0]
    known = geometry.epoch.values.tolist()
    if settings.epochs is not None:
        missing = [epoch for epoch in settings.epochs if epoch not in known]
        require(
            not missing,
            "figures.epochs",
            f"epochs that were measured: {shown(known)}",
            settings.epochs,
            "`nngeom measure` measures others that were saved.",
        )
        return list(settings.epochs)
    on_planes = geometry.attrs["kind"] == "plane"
    most = max(2, int(settings.width / INCHES_A_STAGE[on_planes]))
    fewest, most = min(FEWEST_STAGES, most), min(MOST_IMAGE_STAGES if on_planes else MOST_STAGES, most)
    volumes = geometry.log_volume_element.sel(replicate=representative(run)).transpose("epoch", ...).values
    chosen: list[int] = geometry.epoch.values[stages(volumes, fewest, most)].tolist()
    return chosen


def training_state(run: Run, epoch: int, seed: int) -> str:
    """The epoch and, if the history has it, the loss."""
    history = run.history
    rows = history[(history.epoch == epoch) & (history.replicate == seed)]
    return f"epoch {epoch}" if rows.empty else f"epoch {epoch}, loss {float(rows.loss.iloc[0]):.3g}"


def describe(geometry: xr.Dataset, *layers: int) -> str:
    """Task, network and layer in words; of several layers, each block names its own."""
    about = geometry.attrs
    words = f"{about['task']}, {about['activation']}"
    if "layer_names" not in about:
        words = f"{words} network {'-'.join(map(str, np.atleast_1d(about['widths'])))}"
    words = words.replace("$", r"\$")  # so that Matplotlib does not read it as mathematics
    return f"{words}, {layer_words(about, layers[0])}" if len(layers) == 1 else words
