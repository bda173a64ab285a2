"""Agreement of the volume of trained networks with that of magnified kernels, against controls, and test errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from nngeom_cli.analysis.boundary import boundary_of, distance_to_boundary
from nngeom_cli.analysis.networks import networks, scores
from nngeom_cli.analysis.ranks import ranks
from nngeom_cli.experiments.machines import (
    KERNELS,
    Array,
    Machines,
    cross_validated,
    fields_measured,
    grid_of,
    in_box,
    machines_of,
    task_and_seed,
)
from nngeom_cli.store.run import Run

if TYPE_CHECKING:
    import xarray as xr

    from nngeom_cli.tasks.task import Task

__all__ = ["COLUMNS", "CONTROLS", "ERRORS", "networks_and_machines"]

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


def networks_and_machines(runs: Sequence[Run]) -> pd.DataFrame:
    """The table of `networks` with `COLUMNS`: a row for each network, the machines of its data beside it.

    Correlations are Spearman's, over the points of the grid in the box of the training set; on planes over those in the
    box of its three images, the mean of the planes, and of `networks` there are its `scores` alone. Without a test set
    there are no errors: NaN.
    """
    measured = [(run, table) for run in runs if not (table := _networks_of(run)).empty]
    made = {task_and_seed(run): machines_of(run) for run, _ in measured}
    tables = []
    for run, table in measured:
        machines, task = made[task_and_seed(run)]
        others = _others(task_and_seed(run), made)
        correlations = []
        for number, geometry in enumerate(fields_measured(run)):
            grid = grid_of(geometry)
            there = {kind: other[min(number, len(other) - 1)] if other else None for kind, other in others.items()}
            inside, fields = fields_of(grid, machines[number], there)
            correlations.append(
                pd.DataFrame(
                    _correlations(geometry.isel(replicate=place), grid, inside, fields) for place in range(len(table))
                )
            )
        means = sum(correlations[1:], correlations[0]) / len(correlations)
        errors = pd.DataFrame(_errors_on_features(run, place, task) for place in range(len(table)))
        numbers = pd.concat([means, errors], axis=1).assign(
            **_errors(machines[0], task), network_error=1 - table.get("test_accuracy", np.nan)
        )
        numbers[table.loss.isna()] = np.nan
        tables.append(
            pd.concat([table, numbers.reindex(columns=COLUMNS[1:]).assign(task=task_and_seed(run)[0])], axis=1)
        )
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _networks_of(run: Run) -> pd.DataFrame:
    return scores(run) if "plane" in run.first_and_last.dims else networks([run])


def _others(key: tuple[str, int], made: dict[tuple[str, int], Any]) -> dict[str, list[Machines] | None]:
    """The machines of the next data seed of the same task, and of the next task with the same data seed, if any."""
    found: dict[str, list[Machines] | None] = {}
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
    chosen = cross_validated(train, train_labels, kernel="linear")
    machine = SVC(kernel="linear", **chosen).fit(train, train_labels)
    return float((machine.predict(test) != test_labels).mean())
