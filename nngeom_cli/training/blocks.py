"""Training on several cores: the replicates in blocks, each in its own process."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

import torch

from nngeom_cli.config.optimizer import OptimizerConfig
from nngeom_cli.system.parallel import in_processes, never, split
from nngeom_cli.tasks.task import Task
from nngeom_cli.training.checkpoint import Checkpoint
from nngeom_cli.training.loop import train
from nngeom_cli.training.make import Networks
from nngeom_cli.training.network import Network

__all__ = ["train_on_cores"]

NUMBERS_IN_CACHE = 200_000  # parameters, and units times points, that are trained side by side


def train_on_cores(
    network: Networks,
    task: Task,
    optimizer: OptimizerConfig,
    generators: Sequence[torch.Generator],
    record: Sequence[int],
    start: Checkpoint | None = None,
    *,
    cores: int = 1,
    asked: Callable[[], bool] = never,
) -> Generator[Checkpoint, None, None]:
    """Like `train`, with the replicates in blocks on up to `cores` cores, and the same bits if torch uses one thread.

    Each core trains in its own process, ahead of the reader of the checkpoints. That needs Linux and the CPU;
    elsewhere the blocks are trained in turns, as are modules where torch has found a GPU: autograd's threads for it do
    not survive a fork.
    `network` has the weights of the checkpoint at each yield. `generators` stay as they are.
    `asked` says whether a stop was requested: see `in_processes`.
    """
    workers = rounds = 1
    if network.parameters.device.type == "cpu":
        forks = isinstance(network, Network) or not torch.cuda.is_available()
        workers = min(cores, network.replicates) if forks else 1
        points = min(optimizer.batch_size or len(task.inputs), len(task.inputs))
        numbers = network.parameters.numel() + network.replicates * sum(network.widths[1:-1]) * points
        rounds = -(-numbers // (workers * NUMBERS_IN_CACHE))
    blocks = split(network.replicates, min(workers * rounds, network.replicates))
    trainings = [
        train(network.block(b), task, optimizer, generators[b], record, start and start.block(b)) for b in blocks
    ]
    shares = [zip(*trainings[share], strict=True) for share in split(len(blocks), workers)]
    with in_processes(shares, asked) as sources:
        for parts in zip(*sources, strict=True):
            checkpoint = Checkpoint.join([block for part in parts for block in part])
            network.load(checkpoint.weights)
            yield checkpoint
