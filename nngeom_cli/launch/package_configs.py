"""What `task=NAME` and the like compose where NAME is a task of another package: plain values, of no file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra.core.config_store import ConfigNode, ConfigStore
from omegaconf import OmegaConf

from nngeom_cli.config.installed import EXTENDED, defaults_of, schema_of
from nngeom_cli.config.task import TaskSection
from nngeom_cli.errors import require
from nngeom_cli.groups import conf_directory, group_of
from nngeom_cli.plugins import plugin_names
from nngeom_cli.system.surroundings import replaced

__all__ = ["package_configs"]

FOLLOWING = ("architecture", "optimizer", "probe")  # groups that follow the name of the task


class PackageConfig(ConfigNode):
    """A config that is made when Hydra reads it: only then is its package imported."""

    def __init__(self, group: str, name: str) -> None:
        self.name, self.group, self.package, self.provider = f"{name}.yaml", group, None, "installed packages"

    def __getattr__(self, attribute: str) -> Any:
        if attribute != "node":
            raise AttributeError(attribute)
        return OmegaConf.create(_content(str(self.group), self.name.removesuffix(".yaml")))


def _content(group: str, name: str) -> dict[str, Any]:
    if group in EXTENDED and name in plugin_names(group):
        other = group_of(name)
        suggestion = "Uninstall the package of that one, or have it renamed."
        require(other is None, f"{group}={name}", f"a name that no {other} has", "one of a package", suggestion)
        return defaults_of(EXTENDED[group], name)
    task: Any = schema_of(TaskSection, name)
    return {"defaults": [task.like, "_self_"]}


@contextmanager
def package_configs() -> Iterator[None]:
    """Inside the block, Hydra knows the tasks of installed packages; nothing is imported yet."""
    groups: dict[str, dict[str, ConfigNode]] = {}
    for kind in EXTENDED:
        for name in plugin_names(kind):
            for group in (kind, *(FOLLOWING if kind == "task" else ())):
                if not (conf_directory() / group / f"{name}.yaml").is_file():
                    groups.setdefault(group, {})[f"{name}.yaml"] = PackageConfig(group, name)
    store = ConfigStore.instance()
    with replaced(store, "repo", store.repo | groups):
        yield
