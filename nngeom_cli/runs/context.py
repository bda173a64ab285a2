"""All that a run works with, made from its config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from nngeom_cli.config.cost import epoch_seconds
from nngeom_cli.config.run import Config
from nngeom_cli.config.schedule import checkpoint_epochs, history_epochs, staged
from nngeom_cli.probes.labelled import Probe
from nngeom_cli.probes.make import make_probe
from nngeom_cli.tasks.make import make_task
from nngeom_cli.tasks.task import Task
from nngeom_cli.training.loop import initial_generators
from nngeom_cli.training.make import Networks, untrained

__all__ = ["RunContext", "pause_epochs", "prepare"]

PAUSE_SECONDS = 0.5  # between two chances to save training or stop it


@dataclass(frozen=True)
class RunContext:
    """All that a run works with.

    Attributes:
        probed: epochs at which it is measured.
        recorded: epochs at which loss and accuracy are recorded; they include all of `probed`.
    """

    config: Config
    device: torch.device
    task: Task
    network: Networks
    probe: Probe
    probed: list[int]
    recorded: list[int]

    def until(self, epoch: int) -> RunContext:
        """The same for a run that ends early: what would follow is neither measured nor recorded."""
        probed, recorded = ([early for early in epochs if early < epoch] for epochs in (self.probed, self.recorded))
        return replace(self, probed=[*probed, epoch], recorded=[*recorded, epoch])

    @property
    def last(self) -> int:
        """The epoch at which the run ends."""
        return self.probed[-1]

    @property
    def seeds(self) -> list[int]:
        """The seed of each replicate."""
        return [self.config.seed + replicate for replicate in range(self.config.replicates)]


def prepare(config: Config, device: torch.device, lasts: Sequence[int], stopped_at: int | None = None) -> RunContext:
    """Task, untrained network, probe and schedule of a config.

    Args:
        config: what to run.
        device: where.
        lasts: the last epoch, after those that the run had before it was extended.
        stopped_at: the epoch at which it ended early.
    """
    task = make_task(config.task)
    network = untrained(config, initial_generators(config.seed, config.replicates), device)
    probed = staged(lambda last: checkpoint_epochs(config.probe.checkpoints, last), lasts)
    context = RunContext(
        config,
        device,
        task,
        network,
        make_probe(config.probe, task, config.seed),
        probed,
        sorted({*probed, *staged(history_epochs, lasts)}),
    )
    return context if stopped_at is None else context.until(stopped_at)


def pause_epochs(context: RunContext) -> range:
    """Epochs about `PAUSE_SECONDS` of work apart, at which training can be saved or stopped."""
    config = context.config
    return range(0, context.last + 1, max(1, int(PAUSE_SECONDS / epoch_seconds(config))))
