"""Packages that add to nngeom, installed in this process alone: files and metadata in a folder on sys.path."""

import contextlib
import importlib
import sys

from nngeom_cli import plugins
from nngeom_cli.config.probe import ProbeSection
from nngeom_cli.config.task import TaskSection
from nngeom_cli.geometry import activations


def forget():
    """As in a new process."""
    importlib.invalidate_caches()
    plugins._all_entries.cache_clear()
    plugins._entries.cache_clear()
    activations._from_package.cache_clear()


def written(folder, name, entry_points, files):
    """A package as an installer leaves it.

    Args:
        folder: where.
        name: of the package; its version is 1.0.
        entry_points: {"task": {"checkerboard": "module:attribute"}}.
        files: {"module.py": text}.
    """
    for file, text in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text, encoding="utf-8")
    about = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    lines = []
    for kind, entries in entry_points.items():
        lines += [f"[{plugins.GROUPS[kind]}]", *(f"{entry} = {place}" for entry, place in entries.items())]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


@contextlib.contextmanager
def visible(*folders):
    """Inside the block the packages in these folders are installed; afterwards nothing of them is left."""
    modules, path = set(sys.modules), list(sys.path)
    schemas = {section: dict(section.schemas) for section in (TaskSection, ProbeSection)}
    sys.path[:0] = map(str, folders)
    forget()
    try:
        yield
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            if any(str(getattr(sys.modules[name], "__file__", None)).startswith(str(folder)) for folder in folders):
                del sys.modules[name]
        for section, kinds in schemas.items():
            section.schemas.clear()
            section.schemas.update(kinds)
        forget()
