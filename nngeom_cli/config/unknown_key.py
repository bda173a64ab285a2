"""What is said of a key that a config does not have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nngeom_cli.config.sections import SECTIONS, known_keys
from nngeom_cli.errors import ConfigError, nearest, one_of, shown
from nngeom_cli.synonyms import key_named, typed

__all__ = ["key_meant", "unknown_key"]


def _known() -> list[str]:
    """Each section and key of the config as typed."""
    return [*SECTIONS, *dict.fromkeys(key.typed for key in known_keys()), "experiment"]


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
    owners = [known.kind for known in known_keys() if known.typed == key and known.kind]
    if owners:
        chooser = f"{section}.{SECTIONS[section].chooser}"
        here = f"with {chooser}={name}" if name else "here"
        return ConfigError(
            f"`{key}` must be left out {here}. Got {shown(value)}. Only {chooser}={one_of(owners)} has it. "
            f"To change it, choose a group: {section}=NAME."
        )
    if section == "hydra":
        return ConfigError(f"`{key}` must be a key of Hydra. Got {shown(value)}. `nngeom run --cfg hydra` lists them.")
    near = key_meant(key)
    names = [known.partition(".")[2] for known in _known() if known.startswith(f"{section}.")]
    otherwise = f"`{section}` has {', '.join(names)}." if names else "`nngeom run --help` lists all keys."
    suggestion = otherwise
    if near not in (None, key):
        meant = near if isinstance(value, Mapping) else typed(near, shown(value), key)  # a section is not typed whole
        suggestion = f"Did you mean `{meant}`?"
    return ConfigError(f"`{key}` must be a key of the config. Got {shown(value)}. {suggestion}")


def key_meant(word: str) -> str | None:
    """The key that is meant by `word`, or the whole that is to be typed for it; None where that is unclear.

    Example:
        >>> key_meant("optimiser.lr"), key_meant("lr"), key_meant("learning_rate"), key_meant("optimizer.hidden")
        ('optimizer.lr', 'optimizer.lr', 'optimizer.lr', 'architecture.hidden')
    """
    known = _known()
    section, _, rest = word.partition(".")
    leaf, named = word.rpartition(".")[2], key_named(word)
    training_last = sorted(known, key=lambda full: not full.startswith("figures."))  # epochs are those of training
    leaves = {full.rpartition(".")[2]: full for full in training_last if "." in full}
    siblings = {full.partition(".")[2]: full for full in known if full.startswith(f"{section}.")}
    if siblings and rest:
        own = named if named and named.startswith(f"{section}.") else None
        return own or siblings.get(nearest(rest, siblings) or "") or leaves.get(leaf) or named
    if word in known:
        return word
    own = leaves.get(leaf)
    if own and own.startswith("figures."):  # a width is rather that of a network than of a figure
        others = [full for full in known if not full.startswith("figures.")]
        return named or nearest(word, others) or own
    return own or named or nearest(word, known) or leaves.get(nearest(leaf, leaves) or "")
