"""The training loop: a generator of checkpoints that knows no disk and no probe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nngeom_cli.backpropagation import Backpropagation
from nngeom_cli.config import AdamConfig, AdamWConfig, SgdConfig
from nngeom_cli.networks import Network, padded
from nngeom_cli.optimizers import make_optimizer
from nngeom_cli.tasks import Task

__all__ = ["Checkpoint", "batch_generators", "history_epochs", "initial_generators", "train"]

HISTORY_ROWS = 200


@dataclass(frozen=True)
class Checkpoint:
    """The state of training after `epoch` epochs; a snapshot, untouched by what follows.

    Attributes:
        epoch: number of epochs done; 0 is the initial network.
        loss: mean over the training set, `(replicates,)`, float64 on the CPU.
        accuracy: fraction of the training set, `(replicates,)`.
        weights: per layer, `(replicates, out, in + 1)`, the bias as last column.
        optimizer: what the next step depends on.
        generators: states of the replicates' batch generators, `(replicates, bytes)`.
    """

    epoch: int
    loss: np.ndarray
    accuracy: np.ndarray
    weights: list[Tensor]
    optimizer: dict[str, Tensor]
    generators: Tensor


def initial_generators(seed: int, replicates: int) -> list[torch.Generator]:
    """Generators of the initial parameters: replicate r starts as `torch.manual_seed(seed + r)` would."""
    return [torch.Generator().manual_seed(seed + replicate) for replicate in range(replicates)]


def batch_generators(seed: int, replicates: int) -> list[torch.Generator]:
    """Generators of the order of mini-batches, independent of the initial parameters'."""
    seeds = [np.random.SeedSequence([seed + replicate, 1]) for replicate in range(replicates)]
    return [torch.Generator().manual_seed(int(seed.generate_state(1)[0])) for seed in seeds]


def history_epochs(epochs: int) -> list[int]:
    """The epochs at which loss and accuracy are recorded: all, or about 200 evenly spaced, first and last included.

    Example:
        >>> history_epochs(3), len(history_epochs(150_000))
        ([0, 1, 2, 3], 201)
    """
    rows = min(epochs, HISTORY_ROWS)
    return [round(epochs * row / rows) for row in range(rows + 1)]


@torch.no_grad()
def train(
    network: Network,
    task: Task,
    optimizer: SgdConfig | AdamConfig | AdamWConfig,
    generators: Sequence[torch.Generator],
    record: Sequence[int],
) -> Iterator[Checkpoint]:
    """Trains every replicate side by side and yields a checkpoint at each epoch of `record`.

    Args:
        network: trained in place.
        task: training set and loss.
        optimizer: update rule, number of epochs, batch size (None: the whole training set).
        generators: order of the batches, one a replicate.
        record: epochs, sorted; 0 is before the first step.

    Returns:
        Checkpoints in order of their epochs.
    """
    like = network.parameters
    inputs = torch.cat([task.inputs, torch.ones(len(task.inputs), 1)], dim=1).to(like)  # (points, d + 1)
    targets = task.loss.encode(task.labels, task.outputs, like.dtype).to(like.device)  # (outputs, points)
    size = optimizer.batch_size or len(inputs)
    batches = Batches(inputs, targets, network.replicates, size)
    backpropagation = Backpropagation(network, task.loss, batches.length)
    stepper = make_optimizer(optimizer, network.parameters)
    evaluation = Batches(inputs, targets, 1, len(inputs)).whole()
    due = set(record)
    for epoch in range(max(record) + 1):
        if epoch in due:
            loss, accuracy = evaluate(network, task, evaluation[0][0, :-1].mT, targets)
            yield Checkpoint(
                epoch,
                loss,
                accuracy,
                [weights.clone() for weights in network.weights],
                {name: value.clone() for name, value in stepper.state().items()},
                torch.stack([generator.get_state() for generator in generators]),
            )
        if epoch < max(record):
            for batch in batches.epoch(generators):
                stepper.step(backpropagation(*batch))


def evaluate(network: Network, task: Task, x: Tensor, targets: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean loss and accuracy of each replicate on the training set; `x` may carry padding behind its points."""
    outputs = network.outputs(x)[:, :, : len(task.inputs)]
    accuracy = (task.loss.predict(outputs) == task.labels.to(outputs.device)).double().mean(dim=1)
    return task.loss.value(outputs, targets).double().cpu().numpy(), accuracy.cpu().numpy()


class Batches:
    """Batches of the training set for each replicate, padded to whole vector registers by points of weight 0.

    A batch is (inputs `(replicates, d + 1, length)`, targets `(..., outputs, length)`, weights `(length,)`).
    """

    def __init__(self, inputs: Tensor, targets: Tensor, replicates: int, size: int) -> None:
        self.inputs, self.targets, self.replicates, self.size = inputs, targets.mT.contiguous(), replicates, size
        self.points = len(inputs)
        self.length = padded(size, inputs.dtype)
        self.full = self.whole() if size == self.points else None

    def weights(self, count: int) -> Tensor:
        """1/count for the first `count` points of a batch, 0 for its padding."""
        weights = self.inputs.new_zeros(self.length)
        weights[:count] = 1 / count
        return weights

    def whole(self) -> tuple[Tensor, Tensor, Tensor]:
        """The whole training set as one batch."""
        padding = self.length - self.points
        inputs = torch.nn.functional.pad(self.inputs.mT, (0, padding)).expand(self.replicates, -1, -1).contiguous()
        return inputs, torch.nn.functional.pad(self.targets.mT, (0, padding)), self.weights(self.points)

    def epoch(self, generators: Sequence[torch.Generator]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The batches of one epoch; mini-batches in each replicate's own random order."""
        if self.full is not None:
            yield self.full
            return
        order = torch.stack([torch.randperm(self.points, generator=generator) for generator in generators])
        for start in range(0, self.points, self.size):
            rows = order[:, start : start + self.size]
            count = rows.shape[1]
            rows = torch.nn.functional.pad(rows, (0, self.length - count)).flatten().to(self.inputs.device)
            shape = (self.replicates, self.length)
            inputs = self.inputs.index_select(0, rows).unflatten(0, shape).mT
            targets = self.targets.index_select(0, rows).unflatten(0, shape).mT
            yield inputs, targets, self.weights(count)
