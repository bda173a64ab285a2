"""The training problems of the paper's Appendix C. No randomness but an explicit data seed."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from nngeom_cli.config import SinusoidConfig, TaskConfig, XorConfig
from nngeom_cli.losses import CrossEntropy, Loss, MeanSquaredError

__all__ = ["Task", "make_task"]


@dataclass(frozen=True)
class Task:
    """A training set with its loss.

    Args:
        name: the task's name in the configs.
        inputs: `(points, d)`, float64.
        labels: class of each point, `(points,)`, int64.
        outputs: number of network outputs.
        loss: what training minimises, how outputs become classes.
        solved_accuracy: training accuracy from which on a replicate counts as having solved the task.
        image_shape: rows and columns of an input that is an image, else None.
    """

    name: str
    inputs: Tensor
    labels: Tensor
    outputs: int
    loss: Loss = field(default_factory=CrossEntropy)
    solved_accuracy: float = 1.0
    image_shape: tuple[int, int] | None = None

    @property
    def dimension(self) -> int:
        return self.inputs.shape[1]


def make_task(config: TaskConfig) -> Task:
    """The task that a configuration names."""
    if isinstance(config, XorConfig):
        return _xor()
    if isinstance(config, SinusoidConfig):
        return _sinusoid(config.points, config.data_seed)
    return _digits()


def _xor() -> Task:
    """Four corners of a square, (C.1), labels 0 1 1 0; one linear output against the label, decision at 0.5."""
    inputs = torch.tensor([[-1, -1], [-1, 1], [1, -1], [1, 1]], dtype=torch.float64)
    return Task("xor", inputs, torch.tensor([0, 1, 1, 0]), outputs=1, loss=MeanSquaredError(threshold=0.5))


def _sinusoid(points: int, data_seed: int) -> Task:
    """Points uniform in [-1, 1]^2, class 1 above x_2 = 3/5 sin(7 x_1 - 1), (C.2)."""
    generator = torch.Generator().manual_seed(data_seed)
    inputs = torch.rand(points, 2, dtype=torch.float64, generator=generator) * 2 - 1
    labels = (inputs[:, 1] > 0.6 * torch.sin(7 * inputs[:, 0] - 1)).long()
    return Task("sinusoid", inputs, labels, outputs=2)


def _digits() -> Task:
    """scikit-learn's 8 x 8 digits, raw pixels 0..16, ten classes."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    inputs = torch.as_tensor(images, dtype=torch.float64)
    return Task("digits", inputs, torch.as_tensor(labels).long(), outputs=10, solved_accuracy=0.9, image_shape=(8, 8))
