"""Amari and Wu's support vector machines on the data of runs, and how their volume goes with that of the networks.

A machine's numbers are chosen on the training set only, by rules that were written before any result was seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nngeom_cli.analysis.boundary import boundary_of, distance_to_boundary
from nngeom_cli.analysis.networks import networks
from nngeom_cli.analysis.ranks import ranks
from nngeom_cli.store.run import Run

if TYPE_CHECKING:
    import xarray as xr

    from nngeom_cli.kernels import SupportVectorMachine
    from nngeom_cli.tasks.task import Task

__all__ = [
    "COLUMNS",
    "CONTROLS",
    "ERRORS",
    "KERNELS",
    "Machines",
    "grid_of",
    "in_box",
    "machines_of",
    "networks_and_machines",
]

Array = NDArray[np.float64]

KERNELS = {"1999": "Amari and Wu 1999", "2002": "Wu and Amari 2002", "2007": "Williams et al. 2007"}
CONTROLS = ("mirrored", "task", "other")  # whose kernel: mirrored left to right, of another task, of another data seed
ERRORS = {
    "machine_error": "Gaussian kernel",
    **{f"machine_error_{year}": f"magnified, {year}" for year in KERNELS},
    "initial_features_error": "untrained features",
    "features_error": "trained features",
    "network_error": "network",
}
COLUMNS = (
    "task",
    "closeness",
    *(
        name
        for year in KERNELS
        for name in (
            f"kernel_{year}",
            f"initial_kernel_{year}",
            f"kernel_{year}_partial",
            *(f"kernel_{year}_{control}" for control in CONTROLS),
        )
    ),
    *ERRORS,
)

SCALES = (1.0, 0.5, 0.25, 0.125)  # of s, in median distances between training points
PENALTIES = (1.0, 10.0, 100.0, 1000.0)  # of C


@dataclass(frozen=True)
class Machines:
    """The machine with a Gaussian kernel, its successors by year, and the box of the data that they are for."""

    first: SupportVectorMachine
    magnified: dict[str, SupportVectorMachine]
    box: tuple[float, ...]

    def log_volume(self, year: str, points: Array) -> Array:
        """log sqrt(det g) of a magnified kernel at points `(n, 2)`, in nats."""
        import torch

        kernel: Any = self.magnified[year].kernel
        volume: Array = kernel.log_volume_element(torch.from_numpy(points)).numpy()
        return volume


def machines_of(run: Run) -> tuple[Machines, Task]:
    """The machines that are trained on a run's training set, and its task, which is built again from its config."""
    from nngeom_cli.config.loader import load_config
    from nngeom_cli.tasks.make import make_task

    task = make_task(load_config(run.config).task)
    return trained_machines(task, run.first_and_last.attrs["box"]), task


def trained_machines(task: Task, box: Sequence[float]) -> Machines:
    """The machines that are trained on a task's training set; `box`: of the data.

    s and C of the first are those of the least error in five-fold cross-validation on the training set, the smoothest
    of several: the smallest C, then the largest s. 1999: tau = s / sqrt(2); 2002: three nearest support vectors; 2007:
    kappa = 1 / mean f^2. A magnified kernel has C / mean c^2, as if its mean K(x, x) were 1, so that it differs by its
    magnification and not by its size. Means are over the training set.
    """
    import torch

    from nngeom_cli.kernels import (
        BoundaryFactor,
        GaussianKernel,
        MagnifiedKernel,
        SupportVectorFactor,
        SupportVectorMachine,
    )

    median = float(torch.pdist(task.inputs).median())
    gammas = [1 / (2 * (scale * median) ** 2) for scale in SCALES]
    chosen = _cross_validated(task.inputs.numpy(), task.labels.numpy(), kernel="rbf", gamma=gammas)
    scale = median * SCALES[gammas.index(chosen["gamma"])]
    penalty = chosen["C"]
    first = SupportVectorMachine.trained(GaussianKernel(scale), task.inputs, task.labels, penalty=penalty)
    factors: dict[str, SupportVectorFactor | BoundaryFactor] = {
        "1999": SupportVectorFactor.amari_wu_1999(first),
        "2002": SupportVectorFactor.wu_amari_2002(first),
        "2007": BoundaryFactor(first, 1 / float(first.decision(task.inputs).square().mean())),
    }
    magnified = {}
    for year, factor in factors.items():
        kernel = MagnifiedKernel(GaussianKernel(scale), factor)
        of_mean_1 = penalty / float((2 * factor.log(task.inputs)).exp().mean())
        magnified[year] = SupportVectorMachine.trained(kernel, task.inputs, task.labels, penalty=of_mean_1)
    return Machines(first, magnified, tuple(box))


def networks_and_machines(runs: Sequence[Run]) -> pd.DataFrame:
    """The table of `networks` with `COLUMNS`: a row for each network, the machines of its data beside it.

    Correlations are Spearman's, over the points of the grid in the box of the training set. Without a test set there
    are no errors: NaN.
    """
    measured = [(run, table) for run in runs if not (table := networks([run])).empty]
    made = {_key(run): machines_of(run) for run, _ in measured}
    tables = []
    for run, table in measured:
        machines, task = made[_key(run)]
        grid = grid_of(run)
        inside, fields = fields_of(grid, machines, _others(_key(run), made))
        geometry = run.first_and_last.isel(layer=0)
        rows = [
            _correlations(geometry.isel(replicate=place), grid, inside, fields) | _errors_on_features(run, place, task)
            for place in range(len(table))
        ]
        numbers = pd.DataFrame(rows).assign(
            **_errors(machines, task), network_error=1 - table.get("test_accuracy", np.nan)
        )
        numbers[table.loss.isna()] = np.nan
        tables.append(pd.concat([table, numbers.reindex(columns=COLUMNS[1:]).assign(task=_key(run)[0])], axis=1))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def grid_of(run: Run) -> Array:
    """The points of a run's grid `(y, x, 2)`."""
    geometry = run.first_and_last
    return np.stack(np.meshgrid(geometry.x.values, geometry.y.values), axis=-1)


def in_box(grid: Array, box: Sequence[float]) -> Any:
    """Which points `(y, x, 2)` are in a box (left, right, bottom, top): `(y, x)`."""
    left, right, bottom, top = box
    return (left <= grid[..., 0]) & (grid[..., 0] <= right) & (bottom <= grid[..., 1]) & (grid[..., 1] <= top)


def _key(run: Run) -> tuple[str, int]:
    task = run.config["task"]
    return task["name"], task.get("data_seed", 0)  # xor has one data set


def _others(key: tuple[str, int], made: dict[tuple[str, int], Any]) -> dict[str, Machines | None]:
    """The machines of the next data seed of the same task, and of the next task with the same data seed, if any."""
    found: dict[str, Machines | None] = {}
    for kind, shared in (("task", 1), ("other", 0)):
        ring = [other for other in made if other[shared] == key[shared]]
        following = ring[(ring.index(key) + 1) % len(ring)]
        found[kind] = made[following][0] if following != key else None
    return found


def fields_of(grid: Array, machines: Machines, others: dict[str, Machines | None]) -> tuple[Any, dict[str, Array]]:
    """Which points `(y, x, 2)` are in the data's box, and there log V of each kernel and of its controls, by name."""
    inside = in_box(grid, machines.box)
    points = grid[inside]
    mirrored = np.stack([machines.box[0] + machines.box[1] - points[:, 0], points[:, 1]], axis=1)
    fields = {}
    for year in KERNELS:
        fields[year] = machines.log_volume(year, points)
        fields[f"{year}_mirrored"] = machines.log_volume(year, mirrored)
        for kind, other in others.items():
            fields[f"{year}_{kind}"] = (
                np.full(len(points), np.nan)
                if other is None
                else other.log_volume(year, _into(machines, other, points))
            )
    return inside, fields


def _correlations(geometry: xr.Dataset, grid: Array, inside: Any, fields: dict[str, Array]) -> dict[str, float]:
    """How the volume of one network goes with that of each kernel, with those of the controls, and with closeness."""
    before, after = geometry.log_volume_element.transpose("epoch", "y", "x").values[[0, -1]][:, inside]
    near = -distance_to_boundary(grid[inside], boundary_of(geometry.isel(epoch=-1)))
    numbers = {"closeness": correlation(after, near)}
    for name, field in fields.items():
        numbers[f"kernel_{name}"] = correlation(after, field)
    for year in KERNELS:
        numbers[f"initial_kernel_{year}"] = correlation(before, fields[year])
        numbers[f"kernel_{year}_partial"] = partial_correlation(after, fields[year], near)
    return numbers


def _into(machines: Machines, other: Machines, points: Array) -> Array:
    """The points at the same place in another box."""
    own, theirs = (np.reshape(each.box, (2, 2)) for each in (machines, other))
    moved: Array = theirs[:, 0] + (points - own[:, 0]) * np.ptp(theirs, axis=1) / np.ptp(own, axis=1)
    return moved


def correlation(a: Array, b: Array) -> float:
    """Spearman's; NaN where one of them is constant or has no number somewhere.

    Example:
        >>> correlation(np.array([1.0, 2.0, 4.0]), np.array([3.0, 5.0, 9.0]))
        1.0
    """
    ranked = ranks(np.stack([a, b]))
    centred = ranked - ranked.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return float((centred[0] @ centred[1]) / np.sqrt((centred[0] @ centred[0]) * (centred[1] @ centred[1])))


def partial_correlation(a: Array, b: Array, given: Array) -> float:
    """Spearman's correlation of a and b, given a third: (r_ab - r_ac r_bc) / sqrt((1 - r_ac^2) (1 - r_bc^2)).

    Example:
        >>> given = np.array([1.0, 2.0, 3.0, 4.0])
        >>> round(partial_correlation(np.array([1.0, 3.0, 2.0, 4.0]), np.array([2.0, 1.0, 3.0, 4.0]), given), 3)
        -0.667
    """
    direct, first, second = correlation(a, b), correlation(a, given), correlation(b, given)
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.divide(direct - first * second, np.sqrt((1 - first**2) * (1 - second**2))))


def _errors(machines: Machines, task: Task) -> dict[str, float]:
    """Test errors of the machines."""
    if task.test is None:
        return {}
    inputs, labels = task.test
    found = {"": machines.first} | {f"_{year}": machine for year, machine in machines.magnified.items()}
    return {
        f"machine_error{end}": float((machine.predict(inputs) != labels).double().mean())
        for end, machine in found.items()
    }


def _errors_on_features(run: Run, place: int, task: Task) -> dict[str, float]:
    """Test errors of linear machines on the features of one network, before and after training."""
    if task.test is None:
        return {}
    errors = {}
    epochs = run.first_and_last.epoch.values
    for name, epoch in (("initial_features_error", epochs[0]), ("features_error", epochs[-1])):
        feature_map = run.feature_map(int(epoch), 1)
        train, test = (feature_map(points)[place].double().numpy() for points in (task.inputs, task.test[0]))
        errors[name] = features_error(train, task.labels.numpy(), test, task.test[1].numpy())
    return errors


def features_error(train: Array, train_labels: Any, test: Array, test_labels: Any) -> float:
    """Test error of a linear machine on features: centred, of mean squared norm 1, C by cross-validation."""
    from sklearn.svm import SVC

    if not np.isfinite(train).all():
        return np.nan
    centre = train.mean(axis=0)
    size = np.sqrt(((train - centre) ** 2).sum(axis=1).mean())
    train, test = (train - centre) / size, (test - centre) / size
    chosen = _cross_validated(train, train_labels, kernel="linear")
    machine = SVC(kernel="linear", **chosen).fit(train, train_labels)
    return float((machine.predict(test) != test_labels).mean())


def _cross_validated(inputs: Array, labels: Any, *, kernel: str, **grid: Any) -> dict[str, float]:
    """The values of the least error in five folds (fewer if a class is smaller), the first of several in the grid."""
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.svm import SVC

    smallest = int(np.unique(labels, return_counts=True)[1].min())
    if smallest < 2:
        return {name: values[0] for name, values in {"C": PENALTIES, **grid}.items()}
    folds = StratifiedKFold(min(5, smallest), shuffle=True, random_state=0)
    found = GridSearchCV(SVC(kernel=kernel), {"C": PENALTIES, **grid}, cv=folds).fit(inputs, labels)
    values: dict[str, float] = found.best_params_
    return values
