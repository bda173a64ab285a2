"""The networks that a config names: stacks of layers whose gradient is written out, or modules that autograd trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch

from nngeom_cli.config.run import Config
from nngeom_cli.training.module_network import ModuleNetwork
from nngeom_cli.training.network import Network, initial_network

__all__ = ["Networks", "make_network", "untrained"]

Networks: TypeAlias = Network | ModuleNetwork


def make_network(config: Config, replicates: int) -> Networks:
    """Networks of a config, all of whose parameters are 0, on the CPU and without an output scale.

    Args:
        config: architecture, task and dtype count.
        replicates: how many.
    """
    architecture, dtype = config.architecture, getattr(torch, config.dtype)
    if architecture.by_module:
        return ModuleNetwork(architecture, config.shape, config.task.outputs, replicates, dtype=dtype)
    widths = [config.task.inputs, *architecture.hidden, config.task.outputs]
    return Network(
        widths, architecture.activation, replicates, parametrization=architecture.parametrization, dtype=dtype
    )


def untrained(config: Config, generators: Sequence[torch.Generator], device: torch.device) -> Networks:
    """Networks of a config with random parameters, one generator per replicate."""
    architecture, task, dtype = config.architecture, config.task, getattr(torch, config.dtype)
    if architecture.by_module:
        network = ModuleNetwork(architecture, config.shape, task.outputs, len(generators), dtype=dtype, device=device)
        network.draw(generators)
        return network
    return initial_network(
        [task.inputs, *architecture.hidden, task.outputs],
        architecture.activation,
        generators,
        parametrization=architecture.parametrization,
        output_scale=architecture.output_scale,
        dtype=dtype,
        device=device,
    )
