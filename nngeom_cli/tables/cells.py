"""The cells of a user's table: which texts are numbers, which mark a missing value, and what a table is."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "COMMA",
    "FAULTS",
    "MISSING",
    "MISSING_AMONG_NUMBERS",
    "POINT",
    "Table",
    "TableFile",
    "could_be_thousands",
    "is_plain",
    "looks_like_number",
    "number_of",
]

EXPONENT = r"(?:[eE][+-]?\d+)?"
POINT = re.compile(rf"[+-]?(?:\d+(?:\.\d*)?|\.\d+){EXPONENT}", re.ASCII)
COMMA = re.compile(rf"[+-]?\d+(?:,\d+)?{EXPONENT}", re.ASCII)
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:(?:,\d{3})+|(?:\.\d{3})+)", re.ASCII)
GROUPED = re.compile(r"[+-]?\d{1,3}(?:[.,'\s]\d{3})+(?:[.,]\d+)?", re.ASCII)  # with thousands separators
FAULTS = {"#n/a", "#div/0!", "#ref!", "#value!", "#num!", "#name?", "#null!"}  # the errors of a spreadsheet's formulas
MISSING = {"", "na", "n/a", "n.a.", "#na", "<na>", "nan", "+nan", "-nan", "nat", "none", "null", "(null)", r"\n", "?",
           ".", "1.#qnan", "1.#ind", "-1.#ind"} | FAULTS  # fmt: skip
MISSING_AMONG_NUMBERS = {"-", "--", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"}


@dataclass(frozen=True)
class Table:
    """The examples of a file, with the labels as written there.

    Args:
        inputs: finite numbers, `(rows, d)`.
        texts: the distinct labels.
        codes: the index of each row's label in `texts`, `(rows,)`.
        place: where a row is in the file, "line 7".
    """

    inputs: NDArray[np.float64]
    texts: list[str]
    codes: NDArray[np.int64]
    place: Callable[[int], str]


class TableFile(Protocol):
    """A file with known columns.

    Attributes:
        names: of its columns, in order; empty for a column that holds no data, such as the index that pandas writes.
        header: whether its first line names the columns; None for a file without lines.
    """

    names: list[str]
    header: bool | None

    def last(self) -> str:
        """The column that holds the labels unless the user names another."""

    def table(self, columns: Sequence[str], label: str) -> Table:
        """The examples: inputs from `columns`, classes from `label`."""


def number_of(text: str, decimal: str = ".") -> float:
    """A finite number, written in digits with a decimal point or comma, and without thousands separators.

    Args:
        text: a cell.
        decimal: the decimal mark, `.` or `,`.

    Returns:
        The number; NaN for anything else, including infinity.

    Example:
        >>> number_of(" -1.5e3 "), number_of("1,5", ","), number_of("1,5"), number_of("1_000")
        (-1500.0, 1.5, nan, nan)
    """
    text = text.strip()
    if decimal == ",":
        value = float(text.replace(",", ".")) if COMMA.fullmatch(text) else math.nan
    else:
        value = float(text) if POINT.fullmatch(text) else math.nan
    return value if math.isfinite(value) else math.nan


def looks_like_number(text: str) -> bool:
    """Whether a cell is meant as a number, however it is written."""
    if POINT.fullmatch(text) or COMMA.fullmatch(text) or GROUPED.fullmatch(text):
        return True
    return text.lower() in ("nan", "inf", "-inf")


def could_be_thousands(text: str) -> bool:
    """Whether a number's only mark may be a thousands separator: 1,234 and 1.234, not 0.234 or 1.5."""
    return THOUSANDS.fullmatch(text.strip()) is not None


def is_plain(text: str) -> bool:
    """Whether a text can be a name in a config and on a terminal: no control characters, no interpolation."""
    return "${" not in text and not any(unicodedata.category(char) in ("Cc", "Cs") for char in text)
