"""The training problems: the paper's (Appendix C), others in the plane, a user's own table; a part kept for testing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

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
from nngeom_cli.tasks.losses import CrossEntropy, Loss, MeanSquaredError

__all__ = ["Task", "make_task"]


@dataclass(frozen=True)
class Task:
    """A training set with its loss, and perhaps a test set.

    Args:
        name: the task's name in the configs.
        inputs: `(points, d)`, float64.
        labels: class of each point, `(points,)`, int64.
        outputs: number of network outputs.
        loss: what training minimises, how outputs become classes.
        solved_accuracy: training accuracy from which on a replicate counts as having solved the task.
        image_shape: rows and columns of an input that is an image, else None.
        test: inputs and labels of examples that are not trained on, else None.
    """

    name: str
    inputs: Tensor
    labels: Tensor
    outputs: int
    loss: Loss = field(default_factory=CrossEntropy)
    solved_accuracy: float = 1.0
    image_shape: tuple[int, int] | None = None
    test: tuple[Tensor, Tensor] | None = None

    @property
    def dimension(self) -> int:
        return self.inputs.shape[1]


def make_task(config: TaskConfig) -> Task:
    """The task that a configuration names."""
    task = BUILDERS[type(config)](config)
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
    """The task with each input coordinate at mean 0 and standard deviation 1 over the training set; a constant at 0."""
    mean, std = task.inputs.mean(dim=0), task.inputs.std(dim=0, correction=0)
    scale = torch.where(std > 0, std, 1.0)
    test = task.test and ((task.test[0] - mean) / scale, task.test[1])
    return replace(task, inputs=(task.inputs - mean) / scale, test=test)


def generator(data_seed: int, stream: int) -> torch.Generator:
    """Random numbers that are independent of those that drew the data."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence([data_seed, stream]).generate_state(1)[0]))


def _xor(_: XorConfig) -> Task:
    """Four corners of a square, (C.1), labels 0 1 1 0; one linear output against the label, decision at 0.5."""
    inputs = torch.tensor([[-1, -1], [-1, 1], [1, -1], [1, 1]], dtype=torch.float64)
    return Task("xor", inputs, torch.tensor([0, 1, 1, 0]), outputs=1, loss=MeanSquaredError(threshold=0.5))


def _sinusoid(config: SinusoidConfig) -> Task:
    """Points uniform in [-1, 1]^2, class 1 above x_2 = 3/5 sin(7 x_1 - 1), (C.2)."""
    random = torch.Generator().manual_seed(config.data_seed)
    inputs = torch.rand(config.points, 2, dtype=torch.float64, generator=random) * 2 - 1
    labels = (inputs[:, 1] > 0.6 * torch.sin(7 * inputs[:, 0] - 1)).long()
    return Task("sinusoid", inputs, labels, outputs=2)


def _digits(_: DigitsConfig) -> Task:
    """scikit-learn's 8 x 8 digits, raw pixels 0..16, ten classes."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    inputs = torch.as_tensor(images, dtype=torch.float64)
    return Task("digits", inputs, torch.as_tensor(labels).long(), outputs=10, solved_accuracy=0.9, image_shape=(8, 8))


def _moons(config: MoonsConfig) -> Task:
    """Half circles of radius 1 around (0, 0), upper, and (1, 1/2), lower."""
    from sklearn.datasets import make_moons

    points, labels = make_moons(config.points, noise=config.noise, random_state=config.data_seed)
    return Task("moons", torch.as_tensor(points), torch.as_tensor(labels), outputs=2, solved_accuracy=0.95)


def _circles(config: CirclesConfig) -> Task:
    """Circles around the origin; class 1 is the inner one."""
    from sklearn.datasets import make_circles

    points, labels = make_circles(
        config.points, noise=config.noise, factor=config.factor, random_state=config.data_seed
    )
    return Task("circles", torch.as_tensor(points), torch.as_tensor(labels), outputs=2, solved_accuracy=0.95)


def _spirals(config: SpiralsConfig) -> Task:
    """Radius sqrt(u), angle 2 pi turns sqrt(u) + pi label, u uniform in [0, 1]: evenly dense along the arms."""
    random = torch.Generator().manual_seed(config.data_seed)
    radius = torch.rand(config.points, dtype=torch.float64, generator=random).sqrt()
    labels = torch.arange(config.points) % 2
    angle = math.pi * (2 * config.turns * radius + labels)
    noise = config.noise * torch.randn(config.points, 2, dtype=torch.float64, generator=random)
    inputs = radius[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1) + noise
    return Task("spirals", inputs, labels, outputs=2, solved_accuracy=0.95)


def _table(config: FileConfig) -> Task:
    """A user's own examples, one logit a class."""
    inputs, labels = read_table(config)
    return Task(
        config.name, torch.from_numpy(inputs), torch.from_numpy(labels), outputs=config.outputs, solved_accuracy=0.95
    )


BUILDERS: dict[type[TaskConfig], Callable[[Any], Task]] = {
    XorConfig: _xor,
    SinusoidConfig: _sinusoid,
    DigitsConfig: _digits,
    MoonsConfig: _moons,
    CirclesConfig: _circles,
    SpiralsConfig: _spirals,
    CsvConfig: _table,
    NpzConfig: _table,
}
