"""The task that a config names: a toy problem or a user's table, with a test set and wrong labels if asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from nngeom_cli.config.task import (
    CirclesConfig,
    CsvConfig,
    DigitsConfig,
    FileConfig,
    MoonsConfig,
    NpzConfig,
    SinusoidConfig,
    SpiralsConfig,
    SplitConfig,
    TaskConfig,
    XorConfig,
)
from nngeom_cli.tables.table_file import read_table
from nngeom_cli.tasks import toy
from nngeom_cli.tasks.from_package import from_package
from nngeom_cli.tasks.task import Task, generator

__all__ = ["make_task"]


def make_task(config: TaskConfig) -> Task:
    """The task that a config names."""
    builder = BUILDERS.get(type(config))
    task = builder(config) if builder else from_package(config)
    if isinstance(config, SplitConfig):
        task = with_noise(with_test(task, config), config)
    return standardized(task) if isinstance(config, FileConfig) and config.standardize else task


def with_test(task: Task, config: SplitConfig) -> Task:
    """The task with round(test_fraction * points) of its points kept for testing, drawn by `data_seed`."""
    points = len(task.inputs)
    kept = points - config.size
    if kept == 0:
        return task
    order = torch.randperm(points, generator=generator(config.data_seed, 1))
    train, test = order[kept:].sort().values, order[:kept].sort().values
    return replace(
        task, inputs=task.inputs[train], labels=task.labels[train], test=(task.inputs[test], task.labels[test])
    )


def with_noise(task: Task, config: SplitConfig) -> Task:
    """The task with round(label_noise * points) training labels replaced by another class, uniform among the others."""
    wrong = round(config.label_noise * len(task.labels))
    if wrong == 0:
        return task
    random = generator(config.data_seed, 2)
    rows = torch.randperm(len(task.labels), generator=random)[:wrong]
    labels = task.labels.clone()
    labels[rows] = (labels[rows] + torch.randint(1, task.outputs, (wrong,), generator=random)) % task.outputs
    return replace(task, labels=labels)


def standardized(task: Task) -> Task:
    """The task with each input coordinate at mean 0 and standard deviation 1 over the training set; constants at 0."""
    mean, std = task.inputs.mean(dim=0), task.inputs.std(dim=0, correction=0)
    scale = torch.where(std > 0, std, 1.0)
    test = task.test and ((task.test[0] - mean) / scale, task.test[1])
    return replace(task, inputs=(task.inputs - mean) / scale, test=test)


def _table(config: FileConfig) -> Task:
    """A user's examples, with one logit per class."""
    inputs, labels = read_table(config)
    return Task(
        config.name,
        torch.from_numpy(inputs),
        torch.from_numpy(labels),
        outputs=config.outputs,
        solved_accuracy=0.95,
        image_shape=tuple(config.image_shape) if config.image_shape else None,
    )


BUILDERS: dict[type[TaskConfig], Callable[[Any], Task]] = {
    XorConfig: toy.xor,
    SinusoidConfig: toy.sinusoid,
    DigitsConfig: toy.digits,
    MoonsConfig: toy.moons,
    CirclesConfig: toy.circles,
    SpiralsConfig: toy.spirals,
    CsvConfig: _table,
    NpzConfig: _table,
}
