"""A training problem: its points, labels and loss, and the random numbers that are drawn for it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from nngeom_cli.tasks.losses import CrossEntropy, Loss

__all__ = ["Task", "generator"]


@dataclass(frozen=True)
class Task:
    """A training set with its loss, and perhaps a test set.

    Args:
        name: the task's name in the configs.
        inputs: `(points, d)`, float64.
        labels: class of each point, `(points,)`, int64.
        outputs: number of network outputs.
        loss: what training minimises, and how outputs become classes.
        solved_accuracy: lowest training accuracy at which a replicate counts as having solved the task.
        image_shape: (channels, rows, columns) of an input that is an image, else None.
        test: inputs and labels of examples that are not trained on, else None.
    """

    name: str
    inputs: Tensor
    labels: Tensor
    outputs: int
    loss: Loss = field(default_factory=CrossEntropy)
    solved_accuracy: float = 1.0
    image_shape: tuple[int, ...] | None = None
    test: tuple[Tensor, Tensor] | None = None

    @property
    def dimension(self) -> int:
        return self.inputs.shape[1]


def generator(data_seed: int, stream: int) -> torch.Generator:
    """A generator of random numbers that are independent of those that drew the data."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence([data_seed, stream]).generate_state(1)[0]))
