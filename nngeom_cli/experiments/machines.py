"""Amari and Wu's support vector machines on the data of runs, and the places where their volume is compared.

A machine's numbers are chosen on the training set only, by rules that were written before any result was seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nngeom_cli.store.run import Run

if TYPE_CHECKING:
    import xarray as xr
    from torch import Tensor

    from nngeom_cli.kernels import SupportVectorMachine
    from nngeom_cli.tasks.task import Task

__all__ = [
    "KERNELS",
    "Array",
    "Machines",
    "cross_validated",
    "fields_measured",
    "grid_of",
    "in_box",
    "machines_of",
    "task_and_seed",
]

Array = NDArray[np.float64]

KERNELS = {"1999": "Amari and Wu 1999", "2002": "Wu and Amari 2002", "2007": "Williams et al. 2007"}

SCALES = (1.0, 0.5, 0.25, 0.125)  # of s, in median distances between training points
PENALTIES = (1.0, 10.0, 100.0, 1000.0)  # of C


@dataclass(frozen=True)
class Machines:
    """The machine with a Gaussian kernel, its successors by year, and the box of the data that they are for.

    `plane` is the origin `(d,)` and the directions `(2, d)` of the plane in which points are, if it is not input space.
    """

    first: SupportVectorMachine
    magnified: dict[str, SupportVectorMachine]
    box: tuple[float, ...]
    plane: tuple[Tensor, Tensor] | None = None

    def log_volume(self, year: str, points: Array) -> Array:
        """log sqrt(det g) of a magnified kernel, or of its restriction to the plane, at points `(n, 2)`, in nats."""
        import torch

        kernel: Any = self.magnified[year].kernel
        if self.plane is not None:
            kernel = kernel.restricted_to(*self.plane)
        volume: Array = kernel.log_volume_element(torch.from_numpy(points)).numpy()
        return volume

    def decision(self, machine: SupportVectorMachine, points: Array) -> Array:
        """Decision function of one of the machines at points `(*batch, 2)`."""
        import torch

        x = torch.from_numpy(points)
        if self.plane is not None:
            origin, directions = self.plane
            x = origin + x @ directions
        with torch.no_grad():
            values: Array = machine.decision(x).numpy()
        return values


def fields_measured(run: Run) -> list[xr.Dataset]:
    """The first layer's fields on the grid of a run, or on each of its planes: (epoch, replicate, y, x).

    Beside them `input` and `label`, the training set or the three images of the plane, and in `attrs` their `box`.
    """
    geometry = run.first_and_last.isel(layer=0)
    if "plane" not in geometry.dims:
        return [geometry]
    planes = []
    for place in range(geometry.sizes["plane"]):
        one = geometry.isel(plane=place)
        corners = one.corner_place.transpose("end", "axis")
        box = [edge for axis in corners.values.T for edge in (axis.min(), axis.max())]
        planes.append(one.assign(input=corners, label=one.corner_class).assign_attrs(box=box))
    return planes


def machines_of(run: Run) -> tuple[list[Machines], Task]:
    """The machines of a run's training set, for its grid or each of its planes, and its task, built from its config."""
    import torch

    from nngeom_cli.config.loader import load_config
    from nngeom_cli.probes.plane import plane_through
    from nngeom_cli.tasks.make import make_task

    task = make_task(load_config(run.config).task)
    fields = fields_measured(run)
    machines = trained_machines(task, fields[0].attrs["box"])
    if "corner" not in fields[0]:
        return [machines], task
    placed = []
    for one in fields:
        corners = torch.from_numpy(one.corner.transpose("end", "feature").values)
        origin, directions, _ = plane_through(corners, one.corner_index.values.tolist())
        placed.append(replace(machines, box=tuple(one.attrs["box"]), plane=(origin, directions)))
    return placed, task


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
    chosen = cross_validated(task.inputs.numpy(), task.labels.numpy(), kernel="rbf", gamma=gammas)
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


def grid_of(geometry: xr.Dataset) -> Array:
    """The points of a grid `(y, x, 2)`."""
    return np.stack(np.meshgrid(geometry.x.values, geometry.y.values), axis=-1)


def in_box(grid: Array, box: Sequence[float]) -> Any:
    """Which points `(y, x, 2)` are in a box (left, right, bottom, top): `(y, x)`."""
    left, right, bottom, top = box
    return (left <= grid[..., 0]) & (grid[..., 0] <= right) & (bottom <= grid[..., 1]) & (grid[..., 1] <= top)


def task_and_seed(run: Run) -> tuple[str, int]:
    task = run.config["task"]
    digits = task.get("digits")
    name = f"digits {'/'.join(map(str, digits))}" if digits else task["name"]
    return name, task.get("data_seed", 0)  # xor has one data set


def cross_validated(inputs: Array, labels: Any, *, kernel: str, **grid: Any) -> dict[str, float]:
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
