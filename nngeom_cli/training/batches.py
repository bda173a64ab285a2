"""What one step sees: the whole training set, or a mini-batch in each replicate's own order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from nngeom_cli.tasks.task import Task
from nngeom_cli.training.make import Networks
from nngeom_cli.training.padding import padded_points

__all__ = ["Batch", "Batches"]


class Batch(NamedTuple):
    """Some examples for each replicate.

    Attributes:
        inputs: over a row of ones, `(replicates, d + 1, length)`.
        targets: encoded labels, `(outputs, length)` or `(replicates, outputs, length)`.
        weights: of each example in the loss, `(length,)`: 1/n, and 0 for padding.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor


class Batches:
    """Batches of a training set, padded to whole vector registers with points of weight 0.

    Args:
        task: inputs, labels and their encoding.
        network: what is trained on them.
        size: points in a batch; None, or more than there are, takes the whole training set.

    Attributes:
        batch: its tensors stay in place; `epoch` writes one batch after another into them.
        count: batches in an epoch.
    """

    def __init__(self, task: Task, network: Networks, size: int | None) -> None:
        like, replicates, points = network.parameters, network.replicates, len(task.inputs)
        self.points, self.size = points, min(size or points, points)
        self.count = -(-points // self.size)
        self.length = length = padded_points(self.size, network.widths[1:-1], like.dtype)
        last = points - self.size * (self.count - 1)
        self.weights = {
            count: pad(like.new_full((count,), 1 / count), (0, length - count)) for count in (self.size, last)
        }
        inputs = pad(task.inputs, (0, 1), value=1.0).to(like)  # (points, d + 1)
        targets = task.loss.encode(task.labels, task.outputs, like.dtype).to(like.device).mT  # (points, outputs)
        if self.count == 1:
            inputs, targets = (pad(every.mT, (0, length - points)).contiguous() for every in (inputs, targets))
            self.batch = Batch(inputs.expand(replicates, -1, -1), targets, self.weights[points])
            return
        self.examples = (inputs, targets.contiguous())
        self.chosen = [like.new_empty(replicates * length, every.shape[1]) for every in self.examples]
        inputs, targets = (rows.view(replicates, length, -1).mT for rows in self.chosen)
        self.batch = Batch(inputs, targets, like.new_empty(length))

    def epoch(self, generators: Sequence[torch.Generator]) -> Iterator[Batch]:
        """The batches of one epoch. A batch of the whole training set needs nothing from the generators."""
        if self.count == 1:
            yield self.batch
            return
        order = torch.stack([torch.randperm(self.points, generator=generator) for generator in generators])
        for rows in order.to(self.batch.inputs.device).split(self.size, dim=1):
            count = rows.shape[1]
            rows = pad(rows, (0, self.length - count)).flatten()
            for every, chosen in zip(self.examples, self.chosen, strict=True):
                torch.index_select(every, 0, rows, out=chosen)
            self.batch.weights.copy_(self.weights[count])
            yield self.batch
