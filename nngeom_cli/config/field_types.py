"""How a value of a config becomes the type that its schema's field is annotated with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["TYPES"]


def _integer(value: Any) -> int:
    if type(value) is not int:  # True is an int to Python
        raise TypeError
    if not -(2**63) <= value < 2**63:
        raise OverflowError
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError
    return float(value)


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _word(value: Any) -> str:
    """A name in a user's file, which may look like a number: column 0, class 1."""
    if type(value) not in (str, int, float, bool):
        raise TypeError
    return str(value)


def _or_null(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else convert(value)


def _window(value: Any) -> Any:
    """A range, or a range for each axis."""
    pairs = isinstance(value, list) and any(isinstance(item, list) for item in value)
    return _list_of(_list_of(_number) if pairs else _number)(value)


def _list_of(convert: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    def convert_list(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise TypeError
        return [convert(item) for item in value]

    return convert_list


# Annotation of a schema's field -> how a value becomes it, what follows "must be", and a way out.
TYPES: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "int": (_integer, "an integer", "Whole numbers have no point and no exponent: 1000."),
    "int | None": (
        _or_null(_integer),
        "an integer, or null",
        "Whole numbers have no point and no exponent: 12.",
    ),
    "float": (_number, "a number", "For example 0.02 or 1e-4."),
    "float | None": (_or_null(_number), "a number, or null", "For example 0.02 or 1e-4."),
    "str": (_name, "a name", "`nngeom run --help` lists the choices."),
    "list[int]": (_list_of(_integer), "a list of integers", "Lists have brackets and no spaces: [8,8]."),
    "list[float]": (_list_of(_number), "a list of numbers", "Lists have brackets and no spaces: [-1.5,1.5]."),
    "Layers": (_list_of(_integer), "all, or a list of layers", "The first two: probe.layers=[1,2]."),
    "list[list[int]]": (_list_of(_list_of(_integer)), "a list of pairs of integers", "Two pairs: [[0,1],[2,3]]."),
    "Triples": (_list_of(_list_of(_integer)), "a list of triples of integers", "Two planes: [[0,1,2],[3,8,9]]."),
    "bool": (_flag, "true or false", "Both are written small."),
    "bool | None": (_or_null(_flag), "true, false or null", "null leaves the choice to nngeom."),
    "str | None": (_or_null(_word), "a name, or null", "null takes the default."),
    "list[str] | None": (_or_null(_list_of(_word)), "a list of names, or null", "Two names: [x,y]."),
    "Window": (_or_null(_window), "a list of numbers, or of two such lists", "One range for both axes: [-1.5,1.5]."),
    "Any": (lambda value: value, "", ""),
}
