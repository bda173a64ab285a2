"""All keys that a config has: the sections and their schemas, read from the declarations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field
from typing import Any, NamedTuple

from nngeom_cli.config.convolutional import ArchitectureSection  # with all of its kinds
from nngeom_cli.config.declaration import Key, Section, declared
from nngeom_cli.config.general import FiguresConfig, NumbersConfig
from nngeom_cli.config.optimizer import OptimizerSection
from nngeom_cli.config.probe import ProbeSection
from nngeom_cli.config.task import TaskSection

__all__ = ["SECTIONS", "KnownKey", "known_keys", "takes_integers"]

SECTIONS: dict[str, type[Section]] = {
    schema.section: schema
    for schema in (TaskSection, ArchitectureSection, OptimizerSection, ProbeSection, FiguresConfig)
}


class KnownKey(NamedTuple):
    """A key as a kind of a section has it."""

    typed: str
    kind: str  # sgd, grid, ...; empty in a section that has one schema
    field: Field[Any]
    about: Key


def known_keys() -> Iterator[KnownKey]:
    """Each key of each kind, in the order of their declaration.

    Example:
        >>> next(key for key in known_keys() if key.typed == "optimizer.momentum").kind
        'sgd'
    """
    sections: list[type[Section]] = [*SECTIONS.values(), NumbersConfig]
    for section in sections:
        for kind, schema in section.schemas.items():
            for name, (field, about) in declared(schema).items():
                yield KnownKey(section.typed(name), kind, field, about)


def takes_integers(key: str) -> bool:
    """Whether a key's value is one integer.

    Example:
        >>> takes_integers("optimizer.epochs"), takes_integers("optimizer.lr"), takes_integers("architecture.hidden")
        (True, False, False)
    """
    types: tuple[Any, ...] = (int, int | None)
    return any(known.field.type in types for known in known_keys() if known.typed == key)
