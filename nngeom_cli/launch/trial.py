"""Uses what other packages add once before a run has a folder, so that what is wrong with it leaves nothing on disk."""

from __future__ import annotations

from nngeom_cli.config.installed import plugins_of
from nngeom_cli.config.run import Config
from nngeom_cli.errors import ConfigError
from nngeom_cli.geometry import get_activation
from nngeom_cli.plugins import PluginError
from nngeom_cli.tasks.make import make_task

__all__ = ["try_plugins"]


def try_plugins(config: Config) -> None:
    """Imports the activation and makes the task of a config, if a package adds them.

    Raises:
        ConfigError: one of them cannot be used.
    """
    kinds = {plugin.kind for plugin in plugins_of(config)}
    try:
        if "activation" in kinds:
            get_activation(config.architecture.activation)
        if "task" in kinds:
            make_task(config.task)
    except PluginError as error:
        raise ConfigError(str(error)) from error
