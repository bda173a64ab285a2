"""The training loop: a generator of checkpoints that uses no disk and no probe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from nngeom_cli.config.optimizer import OptimizerConfig
from nngeom_cli.models.model import Model
from nngeom_cli.tasks.task import Task
from nngeom_cli.training.autograd import AutogradGradient
from nngeom_cli.training.backpropagation import LossGradient
from nngeom_cli.training.batches import Batches
from nngeom_cli.training.checkpoint import Checkpoint
from nngeom_cli.training.cuda_graph import GraphedStep
from nngeom_cli.training.make import Networks
from nngeom_cli.training.network import POINTS_AT_ONCE, Network
from nngeom_cli.training.optimizers import Optimizer
from nngeom_cli.training.volume_penalty import penalty_of

__all__ = ["batch_generators", "evaluate", "initial_generators", "train"]

TEST_SCORES = ("test_loss", "test_accuracy")


def initial_generators(seed: int, replicates: int) -> list[torch.Generator]:
    """Generators of the initial parameters: replicate r starts as `torch.manual_seed(seed + r)` would."""
    return [torch.Generator().manual_seed(seed + replicate) for replicate in range(replicates)]


def batch_generators(seed: int, replicates: int) -> list[torch.Generator]:
    """Generators of the order of mini-batches, independent of the initial parameters'."""
    seeds = [np.random.SeedSequence([seed + replicate, 1]) for replicate in range(replicates)]
    return [torch.Generator().manual_seed(int(seed.generate_state(1)[0])) for seed in seeds]


@torch.no_grad()
def train(
    network: Networks,
    task: Task,
    optimizer: OptimizerConfig,
    generators: Sequence[torch.Generator],
    record: Sequence[int],
    start: Checkpoint | None = None,
) -> Iterator[Checkpoint]:
    """Trains all replicates side by side and yields a checkpoint at each epoch of `record`.

    Args:
        network: trained in place.
        task: training set and loss.
        optimizer: update rule and batch size (None: the whole training set).
        generators: for the order of the batches, one per replicate.
        record: epochs, sorted; 0 is before the first step.
        start: resumes from there, with the same bits as if training had never stopped; `network` and `generators` take
            on its state.

    Returns:
        Checkpoints in order of epoch, only those after `start`. Where a volume penalty is not finite, loss and accuracy
        are NaN. Once no replicate can change any more, steps are
        skipped, which gives the same checkpoints.
    """
    batches = Batches(task, network, optimizer.batch_size)
    gradient = (
        LossGradient(network, task.loss, batches.batch, optimizer)
        if isinstance(network, Network)
        else AutogradGradient(network, task.loss, batches.batch)
    )
    stepper = Optimizer(optimizer, network.parameters, gradient.gradient)

    def kernels() -> None:
        gradient()
        stepper.step()

    graphed = network.parameters.is_cuda and not optimizer.volume_penalty  # singular values cannot be recorded
    step = GraphedStep(kernels) if graphed else kernels
    state = {name: network.views(flat) for name, flat in stepper.state.items()}
    first = 0
    if start is not None:
        first = start.epoch + 1
        stepper.skip(start.epoch * batches.count)
        network.load(start.weights)
        for name, layers in start.optimizer.items():
            for mine, saved in zip(state[name], layers, strict=True):
                mine.copy_(torch.from_numpy(saved))
        for generator, value in zip(generators, start.generators, strict=True):
            generator.set_state(torch.from_numpy(value).clone())  # from a view, it would read another row
    due = {epoch for epoch in record if epoch >= first}
    lost = False
    for epoch in range(first, max(due, default=-1) + 1):
        if epoch:
            for _ in batches.epoch(generators):  # draws an order even if lost: a checkpoint has the generators' states
                if not lost:
                    step()
        if epoch in due:
            loss, accuracy = scores(network, task, task.inputs, task.labels)
            penalty = None
            if optimizer.volume_penalty and isinstance(network, Network):
                penalty = penalty_of(network, task, optimizer)
            if penalty is not None:  # what is trained is the sum
                lost_rank = ~np.isfinite(penalty)
                loss, accuracy = (np.where(lost_rank, np.nan, values) for values in (loss, accuracy))
            test = {} if task.test is None else dict(zip(TEST_SCORES, scores(network, task, *task.test), strict=True))
            yield Checkpoint(
                epoch,
                loss,
                accuracy,
                [snapshot(weights) for weights in network.weights],
                {name: [snapshot(values) for values in layers] for name, layers in state.items()},
                np.stack([generator.get_state().numpy() for generator in generators]),
                test,
                penalty,
            )
            lost = lost or (bool(np.isnan(loss).all()) and is_lost(network, gradient.gradient))


def is_lost(network: Networks, gradient: Tensor) -> bool:
    """Whether no further step can change any replicate: all weights and all of the last gradient are NaN.

    NaN plus anything is NaN, so the optimizer's state is NaN as well. NaN in the loss alone is not enough: a loss
    that overflows may become finite again.
    """
    return all(bool(values.isnan().all()) for flat in (network.parameters, gradient) for values in network.views(flat))


def snapshot(tensor: Tensor) -> np.ndarray:
    """A copy in main memory."""
    values: np.ndarray = tensor.cpu().clone().numpy()
    return values


def scores(network: Networks, task: Task, inputs: Tensor, labels: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The result of `evaluate`; a network whose loss is NaN predicts nothing, so its accuracy is NaN."""
    loss, accuracy = evaluate(network, task, inputs, labels)
    return loss, np.where(np.isnan(loss), np.nan, accuracy)


def evaluate(model: Model, task: Task, inputs: Tensor, labels: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean loss and accuracy of each replicate on some examples, a part of them at a time to bound memory."""
    about, loss, accuracy = model.describe(), np.zeros(model.replicates), np.zeros(model.replicates)
    for x, classes in zip(inputs.split(POINTS_AT_ONCE), labels.split(POINTS_AT_ONCE), strict=True):
        share = len(x) / len(inputs)
        outputs = model.outputs(x.to(about.device, about.dtype))
        targets = task.loss.encode(classes, task.outputs, about.dtype).to(about.device)
        loss += share * task.loss.value(outputs, targets).double().cpu().numpy()
        accuracy += share * (task.loss.predict(outputs) == classes.to(about.device)).double().mean(dim=1).cpu().numpy()
    return loss, accuracy
