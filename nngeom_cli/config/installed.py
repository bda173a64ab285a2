"""The sections' kinds from other packages, and which of a config's names are theirs (`plugins.py`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from nngeom_cli.config.architecture import is_own_activation
from nngeom_cli.config.declaration import Section, declared
from nngeom_cli.config.task import TaskSection
from nngeom_cli.errors import ConfigError
from nngeom_cli.plugins import Plugin, PluginError, installed, load, plugin_names

__all__ = ["EXTENDED", "defaults_of", "kinds_of", "plugins_of", "refuse_shared_names", "schema_of"]

EXTENDED: dict[str, type[Section]] = {"task": TaskSection}  # sections that packages add kinds to
NEEDED = {"task": ("inputs", "outputs", "classes", "size", "kept", "make")}
MUST_BE = {"task": "a dataclass of TaskSection, with its name as `kind`, sizes of its data and a method `make`"}


def kinds_of(root: type[Section]) -> list[str]:
    """The kinds of a section, those of installed packages last; none is imported."""
    return list(dict.fromkeys([*root.schemas, *(plugin_names(root.section) if root.section in EXTENDED else ())]))


def schema_of(root: type[Section], kind: str) -> type[Any]:
    """The schema of one of `kinds_of`; one from another package is imported.

    Raises:
        ConfigError: a package has it and cannot be used.
    """
    section = root.section
    if kind in root.schemas and (section not in EXTENDED or _is_own(root.schemas[kind])):
        return root.schemas[kind]
    try:
        found: type[Any] = load(section, kind, MUST_BE[section], lambda schema: _fits(schema, root, kind))
    except PluginError as error:
        raise ConfigError(str(error)) from error
    return found


def _is_own(schema: type[Any]) -> bool:
    return schema.__module__.startswith("nngeom_cli.")


def _fits(schema: Any, root: type[Section], kind: str) -> bool:
    return (
        isinstance(schema, type)
        and issubclass(schema, root)
        and is_dataclass(schema)
        and root.schemas.get(kind) is schema
        and all(hasattr(schema, name) for name in NEEDED[root.section])
        and all("key" in each.metadata for each in fields(schema))
    )


def defaults_of(root: type[Section], kind: str) -> dict[str, Any]:
    """What `SECTION=KIND` sets, of a kind from another package; `???` where a value must be typed.

    Raises:
        ConfigError: the package cannot be used.
    """
    schema = schema_of(root, kind)
    defaults = {
        name: "???" if field.default is MISSING else field.default for name, (field, _) in declared(schema).items()
    }
    return defaults | {root.chooser: kind}


def _named(config: Any) -> Iterable[tuple[str, str, bool]]:
    """Kind and name of all that a package could add to a config, and whether it is nngeom's."""
    for section, root in EXTENDED.items():
        name = getattr(getattr(config, section), root.chooser)
        yield section, name, name in root.schemas and _is_own(root.schemas[name])
    if hasattr(config, "architecture"):
        yield "activation", config.architecture.activation, is_own_activation(config.architecture.activation)


def plugins_of(config: Any) -> list[Plugin]:
    """The plugins that a checked config takes something of."""
    found = (installed(kind, name) for kind, name, own in _named(config) if not own)
    return [plugin for plugin in found if plugin]


def refuse_shared_names(config: Any) -> None:
    """Raises `ConfigError` if a package has a name that nngeom has too, so that it is unclear which is meant."""
    for kind, name, own in _named(config):
        other = installed(kind, name) if own else None
        if other:
            raise ConfigError(
                f"`{name}` must be the {kind} of nngeom alone. Got another one, {other.words}. "
                "Uninstall that package, or have it renamed."
            )
