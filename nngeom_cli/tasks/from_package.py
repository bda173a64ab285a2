"""The task that another package makes, checked: what it promises in its config is what its data are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from nngeom_cli.config.task import SplitConfig
from nngeom_cli.errors import ConfigError, one_line
from nngeom_cli.plugins import installed
from nngeom_cli.tasks.task import Task

__all__ = ["from_package"]


def from_package(config: Any) -> Task:
    """The task of a config whose schema is another package's.

    Raises:
        ConfigError: it cannot be made, or has other sizes than its config says.
    """
    plugin = installed("task", config.name)
    where = plugin.words if plugin else type(config).__module__

    def refused(must_be: str, got: str) -> ConfigError:
        return ConfigError(f"`task={config.name}` must {must_be}. Got {got} from {where}. Mend or uninstall it.")

    try:
        task = config.make()
    except Exception as error:
        raise refused("make a task", f"{type(error).__name__}: {one_line(error)}") from error
    if not isinstance(task, Task):
        raise refused("make a `Task`", type(task).__name__)
    count = config.examples if isinstance(config, SplitConfig) else config.size
    shapes = ((count, config.inputs), (count,), config.outputs)
    found = (tuple(task.inputs.shape), tuple(task.labels.shape), task.outputs)
    if found != shapes:
        names = "inputs, labels and number of outputs"
        raise refused(f"have {names} of {shapes[0]}, {shapes[1]}, {shapes[2]}", f"{found[0]}, {found[1]}, {found[2]}")
    tested = 0 if task.test is None else len(task.test[0])
    if not isinstance(config, SplitConfig) and tested != config.kept:
        raise refused(f"have {config.kept} test examples", str(tested))
    if task.inputs.dtype != torch.float64 or not task.inputs.isfinite().all():
        raise refused("have finite inputs in float64", str(task.inputs.dtype).removeprefix("torch."))
    classes = task.labels.dtype == torch.int64 and bool(((task.labels >= 0) & (task.labels < config.classes)).all())
    if not classes:
        raise refused(f"have labels 0 to {config.classes - 1} in int64", str(task.labels.dtype).removeprefix("torch."))
    return replace(task, name=config.name)
