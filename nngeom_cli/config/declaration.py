"""How a key of a config is declared: once, with its type, its range, what is said of a wrong value, and its meaning.

Dataclasses with a field function of our own. The sections optimizer and numbers, written three ways with the same 53
outcomes, took 130 lines so, 124 with attrs and 138 with pydantic; importing them took 7, 24 and 147 ms of CPU, loading
them 0.05, 0.10 and 0.03 ms. With either library our conversions, or the translation of its errors, had to stay.

The files that declare keys do not postpone annotations: the loader reads types from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import MISSING, Field, field, fields
from typing import Any, ClassVar, NamedTuple

from nngeom_cli.errors import did_you_mean, one_of, require

__all__ = [
    "NOT_NEGATIVE",
    "POSITIVE",
    "Key",
    "Range",
    "Section",
    "at_least",
    "between",
    "choice",
    "declared",
    "key",
    "or_null",
]


class Range(NamedTuple):
    """Which values of its type a key may have, in code and in words that follow "must be"."""

    holds: Callable[[Any], bool]
    must_be: str
    choices: tuple[str, ...] = ()  # names, one of which a misspelt name may mean


POSITIVE = Range(lambda value: 0 < value < math.inf, "a positive number")
NOT_NEGATIVE = Range(lambda value: 0 <= value < math.inf, "zero or a positive number")


def at_least(least: int) -> Range:
    """Numbers from `least` on."""
    return Range(lambda value: least <= value < math.inf, f"at least {least}")


def between(least: int, most: int) -> Range:
    """Numbers from `least` to `most`, both included."""
    return Range(lambda value: least <= value <= most, f"between {least} and {most}")


def choice(*names: str) -> Range:
    """One of a few names."""
    return Range(lambda value: value in names, one_of(names), names)


def or_null(some: Range) -> Range:
    """A range, and null."""
    return Range(lambda value: value is None or some.holds(value), f"{some.must_be}, or null", some.choices)


class Key(NamedTuple):
    """What is declared of a key besides its name, type and default."""

    meaning: str
    ranges: tuple[Range, ...]
    suggestion: str
    check: Callable[[Any], None] | None
    measured: bool
    hashed_at_default: bool

    def require(self, typed: str, value: Any) -> None:
        """Raise `ConfigError` unless the value of the key, which is `typed` like this, is in its range."""
        for holds, must_be, choices in self.ranges:
            if not holds(value):
                near = did_you_mean(value, choices) if choices else ""
                require(False, typed, must_be, value, near or self.suggestion)
        if self.check:
            self.check(value)


def key(
    meaning: str,
    *ranges: Range,
    suggestion: str = "",
    check: Callable[[Any], None] | None = None,
    default: Any = MISSING,
    measured: bool = True,
    hashed_at_default: bool = True,
) -> Any:
    """The declaration of a key, for the body of a dataclass.

    Args:
        meaning: one line for users.
        ranges: the value must lie in all of them.
        suggestion: a sentence for who typed a value that does not.
        check: raises `ConfigError` where words depend on the value.
        default: only of a key that runs were saved without, and what they had then; other defaults are in conf/.
        measured: whether any number of a run depends on it.
        hashed_at_default: false for a key that came later, so that its default leaves the hash of a run as it was.
    """
    about = Key(meaning, ranges, suggestion, check, measured, hashed_at_default)
    return field(default=default, kw_only=default is not MISSING, metadata={"key": about})


class Section:
    """A section of a config: one dataclass, or a dataclass for each of its kinds, such as sgd and adam.

    Attributes:
        section: its name, with which its keys begin; empty for the keys that are in no section.
        chooser: the key that says which kind it is; empty where there is one.
        schemas: the dataclass of each kind.
    """

    section: ClassVar[str]
    chooser: ClassVar[str]
    schemas: ClassVar[dict[str, type[Any]]]

    def __init_subclass__(cls, section: str | None = None, chooser: str = "", kind: str = "") -> None:
        if section is not None:
            cls.section, cls.chooser, cls.schemas = section, chooser, {} if chooser else {"": cls}
        elif kind:
            other = cls.schemas.setdefault(kind, cls)
            if other is not cls:
                raise TypeError(f"{cls.section} {kind} is {other.__module__}.{other.__qualname__} already")

    @classmethod
    def typed(cls, name: str) -> str:
        """A key of this section as it is typed."""
        return f"{cls.section}.{name}" if cls.section else name

    def __post_init__(self) -> None:
        for name, (_, about) in declared(type(self)).items():
            about.require(self.typed(name), getattr(self, name))


def declared(schema: type[Any]) -> dict[str, tuple[Field[Any], Key]]:
    """The keys of a schema in their order, each with its dataclass field and its declaration."""
    return {each.name: (each, each.metadata["key"]) for each in fields(schema) if "key" in each.metadata}
