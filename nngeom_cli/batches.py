"""What one step sees: the whole training set, or a mini-batch in each replicate's own order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from nngeom_cli.networks import padded
from nngeom_cli.tasks import Task

__all__ = ["Batch", "Batches"]

Batch = tuple[Tensor, Tensor, Tensor]
"""Inputs over a row of ones `(replicates, d + 1, length)`, targets `(..., outputs, length)`, weights `(length,)`."""


class Batches:
    """Batches of a training set, padded to whole vector registers by points of weight 0.

    Args:
        task: inputs, labels and their encoding.
        replicates: number of networks.
        size: points in a batch; None, or more than there are, takes the whole training set.
        like: a tensor of the wanted dtype and device.
    """

    def __init__(self, task: Task, replicates: int, size: int | None, like: Tensor) -> None:
        self.points = len(task.inputs)
        self.size = min(size or self.points, self.points)
        self.replicates = replicates
        self.length = padded(self.size, like.dtype)
        self.inputs = pad(task.inputs, (0, 1), value=1.0).to(like)  # (points, d + 1)
        self.targets = task.loss.encode(task.labels, task.outputs, like.dtype).to(like.device).mT  # (points, outputs)
        self.count = -(-self.points // self.size)
        last = self.points % self.size or self.size
        self.weights = {
            count: pad(like.new_full((count,), 1 / count), (0, self.length - count)) for count in (self.size, last)
        }
        self.whole = self._whole() if self.size == self.points else None

    def _whole(self) -> Batch:
        padding = (0, self.length - self.points)
        inputs = pad(self.inputs.mT, padding).expand(self.replicates, -1, -1).contiguous()
        return inputs, pad(self.targets.mT, padding), self.weights[self.points]

    def epoch(self, generators: Sequence[torch.Generator]) -> Iterator[Batch]:
        """The batches of one epoch. The whole training set draws nothing from the generators."""
        if self.whole is not None:
            yield self.whole
            return
        order = torch.stack([torch.randperm(self.points, generator=generator) for generator in generators])
        for rows in order.split(self.size, dim=1):
            count = rows.shape[1]
            chosen = pad(rows, (0, self.length - count)).flatten().to(self.inputs.device)
            inputs = self.inputs.index_select(0, chosen).view(self.replicates, self.length, -1).mT
            targets = self.targets.index_select(0, chosen).view(self.replicates, self.length, -1).mT
            yield inputs, targets, self.weights[count]
