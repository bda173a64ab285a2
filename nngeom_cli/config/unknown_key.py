"""The keys that a config has, and what to say about one that it has not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from nngeom_cli.config.general import OPTIMIZERS, ArchitectureConfig, FiguresConfig, NumbersConfig
from nngeom_cli.config.probe import PROBES
from nngeom_cli.config.task import TASKS
from nngeom_cli.errors import ConfigError, nearest, one_of, shown
from nngeom_cli.synonyms import key_named, typed

__all__ = ["SECTIONS", "key_meant", "takes_integers", "unknown_key"]

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


def takes_integers(key: str) -> bool:
    """Whether a key's value is one integer.

    Example:
        >>> takes_integers("optimizer.epochs"), takes_integers("optimizer.lr"), takes_integers("architecture.hidden")
        (True, False, False)
    """
    section, _, name = key.rpartition(".")
    schemas = SECTIONS[section][1].values() if section in SECTIONS else [NumbersConfig]
    types = [str(field.type) for schema in schemas for field in fields(schema) if field.name == name]
    return any(annotation.startswith("int") for annotation in types)


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
    near = key_meant(key)
    siblings = [known for known, _ in _known_keys() if known.startswith(f"{section}.")]
    names = dict.fromkeys(known.partition(".")[2] for known in siblings)
    otherwise = f"`{section}` has {', '.join(names)}." if names else "`nngeom run --help` lists all keys."
    way_out = otherwise
    if near not in (None, key):
        meant = near if isinstance(value, Mapping) else typed(near, shown(value), key)  # a section is not typed whole
        way_out = f"Did you mean `{meant}`?"
    return ConfigError(f"`{key}` must be a key of the config. Got {shown(value)}. {way_out}")


def key_meant(word: str) -> str | None:
    """The key that is meant by `word`, or the whole that is to be typed for it; None where that is unclear.

    Example:
        >>> key_meant("optimiser.lr"), key_meant("lr"), key_meant("learning_rate"), key_meant("optimizer.hidden")
        ('optimizer.lr', 'optimizer.lr', 'optimizer.lr', 'architecture.hidden')
    """
    known = list(dict.fromkeys(known for known, _ in _known_keys()))
    section, _, rest = word.partition(".")
    leaf, named = word.rpartition(".")[2], key_named(word)
    leaves = {full.rpartition(".")[2]: full for full in known if "." in full}
    siblings = {full.partition(".")[2]: full for full in known if full.startswith(f"{section}.")}
    if siblings and rest:
        own = named if named and named.startswith(f"{section}.") else None
        return own or siblings.get(nearest(rest, siblings) or "") or leaves.get(leaf) or named
    if word in known:
        return word
    return leaves.get(leaf) or named or nearest(word, known) or leaves.get(nearest(leaf, leaves) or "")
