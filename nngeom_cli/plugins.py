"""What installed packages add, found by their entry points: tasks and activations.

Names come from the metadata of the packages; a package is imported only when something of it is asked for. Only what is
installed counts: nothing in a run directory or a config can add to it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["GROUPS", "Plugin", "PluginError", "installed", "load", "plugin_names"]

GROUPS = {
    "task": "nngeom.tasks",
    "activation": "nngeom.activations",
}
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")  # it is typed, and part of folders' names


class PluginError(ValueError):
    """A plugin that cannot be used; the message is one sentence that names its package and entry point."""


class Plugin(NamedTuple):
    """Something that an installed package adds.

    Attributes:
        kind: task or activation.
        name: as typed in a config.
        place: module:attribute, as in the package's metadata.
        package: name of the package.
        version: of the package.
    """

    kind: str
    name: str
    place: str
    package: str
    version: str

    @property
    def words(self) -> str:
        """What it is and where it comes from, for messages."""
        return f"{self.place}, entry point {self.name} in {GROUPS[self.kind]} of the package {self.origin}"

    @property
    def origin(self) -> str:
        """Package and version."""
        return f"{self.package} {self.version}"


@functools.cache
def _all_entries() -> Any:
    """Those of all packages, read once in a process: 6 ms for 180 packages."""
    from importlib.metadata import entry_points  # 40 ms, which commands that name no plugin do without

    return entry_points()


@functools.cache
def _entries(kind: str) -> dict[str, list[EntryPoint]]:
    """The entry points of a kind by their names."""
    found: dict[str, list[EntryPoint]] = {}
    for entry in _all_entries().select(group=GROUPS[kind]):
        if entry not in found.setdefault(entry.name, []):  # a folder may be on sys.path twice
            found[entry.name].append(entry)
    return found


def plugin_names(kind: str) -> tuple[str, ...]:
    """What installed packages add of a kind, sorted by name; nothing is imported.

    Example:
        >>> "xor" in plugin_names("task")  # nngeom's own are not among them
        False
    """
    return tuple(sorted(name for name in _entries(kind) if NAME.fullmatch(name)))


def installed(kind: str, name: str) -> Plugin | None:
    """The plugin of a kind that has a name, if there is one; nothing is imported.

    Raises:
        PluginError: two packages have it.
    """
    entries = _entries(kind).get(name, [])
    found = sorted({_plugin(kind, entry) for entry in entries})
    if len(found) > 1:
        raise PluginError(
            f"`{name}` must be the {kind} of one package. Got {' and '.join(each.origin for each in found)}. "
            "Uninstall all but one."
        )
    return found[0] if found else None


def _plugin(kind: str, entry: EntryPoint) -> Plugin:
    about = entry.dist
    return Plugin(kind, entry.name, entry.value, about.name if about else "?", about.version if about else "?")


def load(kind: str, name: str, must_be: str, holds: Callable[[Any], bool]) -> Any:
    """The object that an entry point names.

    Args:
        kind: task or activation.
        name: of an installed plugin.
        must_be: what it must be, in words that follow "must be".
        holds: whether it is that.

    Raises:
        PluginError: it cannot be imported, or is something else.
    """
    plugin = installed(kind, name)
    assert plugin is not None
    entry = _entries(kind)[name][0]
    try:
        found = entry.load()
    except Exception as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise PluginError(
            f"`{name}` must be a {kind} that can be imported. Got {type(error).__name__}: {said} "
            f"from {plugin.words}. Mend or uninstall that package."
        ) from error
    try:
        fits = holds(found)
    except AttributeError:
        fits = False
    if not fits:
        raise PluginError(
            f"`{name}` must be {must_be}. Got {type(found).__name__} from {plugin.words}. "
            "Mend or uninstall that package."
        )
    return found
