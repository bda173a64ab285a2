"""The keys that a config has, and what to say about one that it has not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from nngeom_cli.errors import ConfigError, nearest, one_of, shown
from nngeom_cli.probe_schemas import PROBES
from nngeom_cli.schemas import OPTIMIZERS, ArchitectureConfig, FiguresConfig, NumbersConfig
from nngeom_cli.task_schemas import TASKS

__all__ = ["SECTIONS", "unknown_key"]

# Section -> the key that chooses its schema (none: there is only one), and the schemas.
SECTIONS: dict[str, tuple[str | None, Mapping[str, type]]] = {
    "task": ("name", TASKS),
    "architecture": (None, {"": ArchitectureConfig}),
    "optimizer": ("name", OPTIMIZERS),
    "probe": ("kind", PROBES),
    "figures": (None, {"": FiguresConfig}),
}


def _known_keys() -> Iterator[tuple[str, str]]:
    """Each key of the config as typed, with the kind (sgd, grid, ...) that has it."""
    for section, (_, schemas) in SECTIONS.items():
        yield section, ""
        for name, schema in schemas.items():
            yield from ((f"{section}.{field.name}", name) for field in fields(schema))
    yield from ((field.name, "") for field in fields(NumbersConfig))
    yield "experiment", ""


def unknown_key(key: str, value: Any, name: str = "") -> ConfigError:
    """The error for a key that the config does not have: a misspelt one, or one of another task, optimizer or probe.

    Args:
        key: the key as typed, `optimizer.momentum`.
        value: what it was given.
        name: the kind that the run has, `adam`; empty where it is not known.

    Returns:
        The error, for the caller to raise.
    """
    section = key.partition(".")[0]
    owners = [owner for known, owner in _known_keys() if known == key and owner]
    if owners:
        chooser = f"{section}.{SECTIONS[section][0]}"
        here = f"with {chooser}={name}" if name else "here"
        return ConfigError(
            f"`{key}` must be left out {here}. Got {shown(value)}. Only {chooser}={one_of(owners)} has it. "
            f"To change it, choose a group: {section}=NAME."
        )
    if section == "hydra":
        return ConfigError(f"`{key}` must be a key of Hydra. Got {shown(value)}. `nngeom run --cfg hydra` lists them.")
    known = list(dict.fromkeys(known for known, _ in _known_keys()))
    leaves = {full.rpartition(".")[2]: full for full in known if "." in full}
    siblings = {full.partition(".")[2]: full for full in known if full.startswith(f"{section}.")}
    if siblings:
        near = siblings.get(nearest(key.partition(".")[2], siblings) or "")
        otherwise = f"`{section}` has {', '.join(siblings)}."
    else:
        near = nearest(key, known) or leaves.get(nearest(key, leaves) or "")
        otherwise = "`nngeom run --help` lists all keys."
    way_out = f"Did you mean `{near}`?" if near not in (None, key) else otherwise
    return ConfigError(f"`{key}` must be a key of the config. Got {shown(value)}. {way_out}")
