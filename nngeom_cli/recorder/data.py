"""A user's own examples as a task."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor

from nngeom_cli.errors import require, shown
from nngeom_cli.tasks.losses import CrossEntropy, Logistic, Loss, MeanSquaredError
from nngeom_cli.tasks.task import Task

__all__ = ["Examples"]

IMAGE_AXES = 3  # channels, rows, columns
NUMBERED = "Number the classes from 0: labels = numpy.unique(labels, return_inverse=True)[1]."


class Examples:
    """Inputs and labels, checked.

    Args:
        inputs: `(examples, *shape)`, numbers.
        labels: class of each, `(examples,)`, integers from 0.

    Attributes:
        shape: of one input.
        flat: the inputs, `(examples, d)`, float64 on the CPU.
        labels: int64 on the CPU.

    Raises:
        ConfigError: they are not of that form.
    """

    def __init__(self, inputs: Any, labels: Any) -> None:
        points = _numbers("inputs", inputs)
        given = _numbers("labels", labels)
        self.labels = given.long()
        form = "examples with at least one number each, (examples, ...)"
        require(points.ndim > 1 and points.numel() > 0, "inputs", form, tuple(points.shape), "Stack them.")
        require(bool(points.isfinite().all()), "inputs", "finite numbers", "inf or nan", "Leave those examples out.")
        one_each = f"one class for each of the {len(points)} inputs, ({len(points)},)"
        require(
            self.labels.shape == (len(points),),
            "labels",
            one_each,
            tuple(self.labels.shape),
            _flat_labels(self.labels, len(points)),
        )
        whole = bool((self.labels == given).all() and (self.labels >= 0).all())
        require(whole, "labels", "classes, integers from 0", shown(sorted(set(given.tolist()))[:5]), NUMBERED)
        self.shape = tuple(points.shape[1:])
        self.flat = points.flatten(1)

    @property
    def classes(self) -> int:
        """One more than the largest label."""
        return int(self.labels.max()) + 1

    @property
    def example(self) -> Tensor:
        """The first input in its shape."""
        return self.flat[0].reshape(self.shape)

    def digest(self) -> str:
        """A hash of all inputs and labels, 64 hexadecimal digits."""
        text = f"{self.shape}".encode() + self.flat.numpy().tobytes() + self.labels.numpy().tobytes()
        return hashlib.sha256(text).hexdigest()

    def task(self, name: str, outputs: int, threshold: float) -> Task:
        """The examples as a task: cross-entropy for several outputs; one is a logit if the threshold is 0.

        Raises:
            ConfigError: a label is none of the model's classes.
        """
        classes = max(2, outputs)
        require(
            self.classes <= classes,
            "labels",
            f"at most {classes - 1}, as the model has {outputs} {'output' if outputs == 1 else 'outputs'}",
            self.classes - 1,
            f"An output is a class; one output tells two apart. {NUMBERED}",
        )
        image = self.shape if len(self.shape) == IMAGE_AXES else None
        one: Loss = Logistic() if threshold == 0 else MeanSquaredError(threshold)
        loss = one if outputs == 1 else CrossEntropy()
        return Task(name, self.flat, self.labels, outputs, loss, solved_accuracy=0.95, image_shape=image)


def _flat_labels(labels: Tensor, points: int) -> str:
    """What to do with labels of another shape."""
    if labels.ndim == 2 and labels.shape[1] > 1:
        return "Of a column for each class take labels.argmax(1)."
    return "Flatten them." if labels.numel() == points else "Give as many labels as inputs."


def _numbers(name: str, values: Any) -> Tensor:
    try:
        return torch.as_tensor(values).detach().to("cpu", torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        words = f"{type(values).__name__}: {error}"
        loader = isinstance(values, torch.utils.data.DataLoader | torch.utils.data.Dataset)
        other = NUMBERED if name == "labels" else "Convert it with torch.as_tensor."
        batch = "Take a batch of it: inputs, labels = next(iter(DataLoader(dataset, batch_size=500)))."
        require(False, name, "a tensor or an array of numbers", words, batch if loader else other)
        raise
