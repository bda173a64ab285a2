"""What one step sees: the whole training set, or a mini-batch in each replicate's own order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from nngeom_cli.networks import Network
from nngeom_cli.registers import padded
from nngeom_cli.tasks import Task

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
    """Batches of a training set, padded to whole vector registers by points of weight 0.

    Args:
        task: inputs, labels and their encoding.
        network: what is trained on them.
        size: points in a batch; None, or more than there are, takes the whole training set.

    Attributes:
        batch: its tensors stay where they are; `epoch` writes one batch after another into them.
        count: batches in an epoch.
    """

    def __init__(self, task: Task, network: Network, size: int | None) -> None:
        like, replicates, points, columns = network.parameters, network.replicates, len(task.inputs), task.dimension + 1
        size = min(size or points, points)
        self.replicates, self.points, self.size = replicates, points, size
        self.length = padded(size, like.dtype, rows=network.widths[1:-1])
        self.length = padded(self.length, like.dtype, rows=network.widths[-1:], registers=1)
        self.count = -(-points // size)
        counts = [size] * (self.count - 1) + [points - size * (self.count - 1)]
        self.weights = [pad(like.new_full((count,), 1 / count), (0, self.length - count)) for count in counts]
        targets = task.loss.encode(task.labels, task.outputs, like.dtype).to(like.device)
        if self.count == 1:
            spare = (0, self.length - points)
            inputs = pad(pad(task.inputs.mT, (0, 0, 0, 1), value=1.0), spare).to(like)
            self.batch = Batch(inputs.expand(replicates, -1, -1), pad(targets, spare), self.weights[0])
            return
        filled = (0, padded(columns, like.dtype, registers=1) - columns)
        self.inputs = pad(pad(task.inputs, (0, 1), value=1.0), filled).to(like)  # (points, d + 1 and padding)
        self.targets = targets.mT.contiguous()  # (points, outputs)
        self.gathered = [
            like.new_empty(replicates * self.length, every.shape[1]) for every in (self.inputs, self.targets)
        ]
        inputs, targets = (rows.view(replicates, self.length, -1).mT for rows in self.gathered)
        self.batch = Batch(inputs[:, :columns], targets, like.new_empty(self.length))

    def epoch(self, generators: Sequence[torch.Generator]) -> Iterator[Batch]:
        """The batches of one epoch. The whole training set draws nothing from the generators."""
        if self.count == 1:
            yield self.batch
            return
        order = torch.stack([torch.randperm(self.points, generator=generator) for generator in generators])
        order = pad(order, (0, self.count * self.size - self.points)).view(self.replicates, self.count, self.size)
        rows = pad(order, (0, self.length - self.size)).transpose(0, 1).flatten(1).to(self.inputs.device)
        for chosen, weights in zip(rows.unbind(), self.weights, strict=True):
            for every, some in zip((self.inputs, self.targets), self.gathered, strict=True):
                torch.index_select(every, 0, chosen, out=some)
            self.batch.weights.copy_(weights)
            yield self.batch
