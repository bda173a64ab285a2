"""The classes of a label column: the same class however it is written, and none for a missing label."""

from __future__ import annotations

import math
import re
import shlex
import unicodedata
from collections.abc import Collection
from typing import TYPE_CHECKING

from nngeom_cli.errors import ConfigError, require, shown
from nngeom_cli.tables.cells import (
    MISSING,
    MISSING_AMONG_NUMBERS,
    POINT,
    Table,
    could_be_thousands,
    is_plain,
    number_of,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["classes"]

INTEGER = re.compile(r"[+-]?\d{1,300}", re.ASCII)
LEADING_ZERO = re.compile(r"[+-]?0\d", re.ASCII)
LONGEST = 200  # characters; a longer suggestion is not worth printing
TRUTH = {"true": "True", "false": "False"}


def classes(label: str, table: Table, named: Collection[str]) -> tuple[list[str], NDArray[np.int64]]:
    """The classes of a table.

    Equal numbers are one class (1 and 1.0), and so are true and TRUE; white space around a label does not count. Marks
    of a missing label (nothing, NA, nan, ?) are refused, and so are labels that differ only in how they are written
    (cat and Cat), unless `named` has them.

    Args:
        label: the column's name.
        table: of the file.
        named: the classes that the user named.

    Returns:
        Their names, sorted, numbers by value; and the index of each row's class among them, `(rows,)`.

    Raises:
        ConfigError: a label is missing or cannot be told from another, or there are too few or too many classes.
    """
    import numpy as np

    texts = [text.strip() for text in table.texts]
    _refuse_missing(label, table, texts, named)
    if all(text.lower() in TRUTH for text in texts):
        names = [TRUTH[text.lower()] for text in texts]
        order = sorted(set(names))
    elif values := _numbers(texts):
        names = _written_alike(label, texts, values)
        order = sorted(set(names), key=dict(zip(names, values, strict=True)).__getitem__)
    else:
        names = texts
        order = sorted(set(names))
    rows = len(table.codes)
    require(
        2 <= len(order) <= max(2, rows // 2),
        "task.label",
        "a column of two classes or more, each of several rows",
        f"{f'{len(order)} different values' if len(order) > 1 else 'one value'} in the {rows} rows of column {label}",
        "Name another column with task.label=COLUMN.",
    )
    if names is texts:
        _refuse_alike(label, order, named)
    places = {name: place for place, name in enumerate(order)}
    return order, np.array([places[name] for name in names], dtype=np.int64)[table.codes]


def _refuse_missing(label: str, table: Table, texts: list[str], named: Collection[str]) -> None:
    infinite = {text.lower() for text in texts if POINT.fullmatch(text) and math.isnan(number_of(text))}  # 1e400
    others = MISSING_AMONG_NUMBERS | infinite
    present = {text for text in texts if text.lower() not in MISSING | others}
    missing = MISSING | others if present and _numbers([*present]) else MISSING
    for code, text in enumerate(texts):
        absent = text.lower() in missing and (text == "" or text not in named)
        if not absent and is_plain(text):
            continue
        where = f"{shown(text)} in column {label}, {table.place(int((table.codes == code).argmax()))}"
        if absent:
            constraint, suggestion = "a column with a class in each row", "Remove the row"
            suggestion += f", or name it as a class: {_naming({*present, text})}." if text else "."
        else:
            constraint, suggestion = "a column of plain text, without control characters or ${", "Write another word."
        raise ConfigError(f"`task.label` must be {constraint}. Got {where}. {suggestion}")


def _naming(names: Collection[str]) -> str:
    """What to type to make these the classes."""
    quoted = ",".join('"' + name.replace('"', '\\"') + '"' for name in sorted(names))
    typed = shlex.quote(f"task.class_names=[{quoted}]")
    return typed if len(typed) <= LONGEST else "list all classes in task.class_names"


def _numbers(texts: list[str]) -> list[float] | None:
    """The values of the labels, if all are numbers; an integer keeps all its digits."""
    decimal = "," if any("," in text and not could_be_thousands(text) for text in texts) else "."
    values = [int(text) if INTEGER.fullmatch(text) else number_of(text, decimal) for text in texts]
    return None if any(math.isnan(value) for value in values) else values


def _written_alike(label: str, texts: list[str], values: list[float]) -> list[str]:
    """Numbers as Python writes them, 1 for 1.0 and +1, 0.5 for .5 and 0,5; without a point if all are integers."""
    whole = all(value == int(value) for value in values)
    names = [str(int(value) if whole else float(value)) for value in values]
    first: dict[str, str] = {}
    for text, name in zip(texts, names, strict=True):
        other = first.setdefault(name, text)
        if other != text and (LEADING_ZERO.match(text) or LEADING_ZERO.match(other)):
            raise _alike(label, other, text)
    return names


def _refuse_alike(label: str, names: list[str], named: Collection[str]) -> None:
    seen: dict[object, str] = {}
    for name in names:
        value = number_of(name)
        letters = (char for char in unicodedata.normalize("NFKC", name) if unicodedata.category(char) != "Cf")
        key = " ".join("".join(letters).casefold().split()) if math.isnan(value) else value
        other = seen.setdefault(key, name)
        if other != name and (isinstance(key, float) or not {other, name} <= set(named)):
            raise _alike(label, other, name)


def _alike(label: str, one: str, other: str) -> ConfigError:
    return ConfigError(
        f"`task.label` must be a column whose classes differ in more than how they are written. Got {shown(one)} and "
        f"{shown(other)} in column {label}. Write them the same way, or name all classes with task.class_names."
    )
