"""The records of a table as text, what separates their cells, and whether the first one names the columns."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from nngeom_cli.tables.cells import FAULTS, MISSING, looks_like_number

__all__ = ["Record", "RecordError", "Records", "fault", "has_names", "is_numeric", "parted"]

SEPARATORS = "\t;|, "  # the first one if several fit
MARKS = ("#", "%")  # that begin a comment
EXCEL = re.compile(r'"?sep=([^\r\n"])"?\s*', re.IGNORECASE)  # a first line that names the separator
SAMPLE = 200  # records from which separator and header are decided
LONGEST_LINE = 8_000_000  # characters; some 300,000 columns

Record = list[str]


class RecordError(ValueError):
    """A line that cannot be split into cells. `str(error)` says which, and why."""


class Records:
    """The records of a text, without comments and empty lines.

    Args:
        content: text in UTF-8.
        separator: of the cells; a space stands for any white space.
        look_at: called with the cells of each comment, and its line.

    Attributes:
        line: the line in which the last record ends.
        comment: the cells of the last comment before the first record.
        begun: whether the first record was read.

    Example:
        >>> list(Records(b"# points\\n1;'a'\\n\\n2;\\"b;c\\"\\n", ";"))
        [['1', "'a'"], ['2', 'b;c']]
    """

    def __init__(self, content: bytes, separator: str, look_at: Callable[[Record, int], None] | None = None) -> None:
        self.content = content
        self.separator = separator
        self.look_at = look_at
        self.line = 0
        self.comment: Record = []
        self.begun = False

    def __iter__(self) -> Iterator[Record]:
        """The cells of each record.

        Raises:
            RecordError: quotation marks that are not closed, or a line that is too long.
        """
        try:
            for cells in self._parted(self._lines()):
                if any(map(str.strip, cells)):
                    self.begun = True
                    yield cells
        except csv.Error as error:
            raise RecordError(
                f"line {self.line} ends in a cell that is too long, or has misplaced quotation marks"
            ) from error

    def _lines(self) -> Iterator[str]:
        quoted = False
        for line in io.TextIOWrapper(io.BytesIO(self.content), encoding="utf-8"):
            self.line += 1
            if len(line) > LONGEST_LINE:
                raise RecordError(f"line {self.line} has more than {LONGEST_LINE} characters")
            if not quoted and line.lstrip().startswith(MARKS) and not self._has_fault(line):
                cells = next(self._parted([line.lstrip().lstrip("".join(MARKS))]), [])
                if self.look_at is not None:
                    self.look_at(cells, self.line)
                if not self.begun:
                    self.comment = [cell.strip() for cell in cells]
            elif self.line > 1 or not EXCEL.fullmatch(line):
                quoted ^= line.count('"') % 2 == 1
                yield line

    def _has_fault(self, line: str) -> bool:
        """Whether the first cell is what a spreadsheet writes for a formula without a value, such as #N/A."""
        return self.separator != " " and line.partition(self.separator)[0].strip().lower() in FAULTS

    def _parted(self, lines: Iterable[str]) -> Iterator[Record]:
        if self.separator == " ":
            lines = (" ".join(line.split()) for line in lines)
        return csv.reader(lines, delimiter=self.separator, skipinitialspace=True, strict=True)


def parted(content: bytes) -> list[tuple[str, list[Record]]]:
    """The separators that split a text into the same number of cells in each record, with fewest columns of words.

    The first record may have one cell fewer, as R writes it. A last cell that is empty in all records is left out.

    Args:
        content: text in UTF-8.

    Returns:
        Each with the text's first records; several if they leave equally few columns of words.

    Example:
        >>> parted(b"1,5;2,5;a\\n0,5;1,5;b\\n")
        [(';', [['1,5', '2,5', 'a'], ['0,5', '1,5', 'b']])]
    """
    found: list[tuple[int, str, list[Record]]] = []
    for separator in _separators(content):
        try:
            records = _trimmed(list(islice(Records(content, separator), SAMPLE)))
        except RecordError:
            continue
        rest = records[1:] or records
        width = len(rest[0]) if rest else 0
        if width > 1 and all(len(record) == width for record in rest) and len(records[0]) in (width, width - 1):
            words = sum(not is_numeric(rest, place) for place in range(width))
            found.append((words, separator, records))
    fewest = min((words for words, _, _ in found), default=0)
    return [(separator, records) for words, separator, records in found if words == fewest]


def fault(content: bytes) -> str:
    """Why no separator splits a text into a table.

    Example:
        >>> fault(b"My table\\n1,2,a\\n1,2,b\\n")
        'line 1 has 1 cell, most have 3'
    """
    found: list[tuple[int, int, str]] = []
    for separator in _separators(content):
        records = Records(content, separator)
        try:
            widths = [(len(record), records.line) for record in islice(records, SAMPLE)]
        except RecordError as error:
            return str(error)
        counts = Counter(width for width, _ in widths if width > 1)
        for usual, count in counts.most_common(1):
            width, line = next(((width, line) for width, line in widths if width != usual), (0, 0))
            if not line:
                return "it has one column"
            what = f"line {line} has {width} cell{'s' if width > 1 else ''}, most have {usual}"
            found.append((count, usual * (separator != " "), what))
    if found:
        return max(found)[2]
    return "no separator splits its lines" if widths else "it has no line of data"


def _separators(content: bytes) -> str:
    first_line, _, _ = content.partition(b"\n")
    named = EXCEL.fullmatch(first_line.decode())
    return named[1] if named else SEPARATORS


def _trimmed(records: list[Record]) -> list[Record]:
    """The records without last cells that are empty in all of them; the first one may lack them."""
    first, rest = records[:1], records[1:]
    while rest and len({len(record) for record in rest}) == 1 and not any(record[-1].strip() for record in rest):
        width = len(rest[0])
        if width == 1 or (len(first[0]) == width and first[0][-1].strip()):
            break  # the last column has a name
        first, rest = [first[0][: width - 1]], [record[:-1] for record in rest]
    return first + rest


def is_numeric(records: Sequence[Record], place: int) -> bool:
    """Whether most cells of a column, leaving out missing values, are meant as numbers."""
    present = [cell for record in records if (cell := record[place].strip()).lower() not in MISSING]
    return sum(map(looks_like_number, present)) * 2 > len(present)


def has_names(records: Sequence[Record]) -> bool | None:
    """Whether the first of the records names the columns; None if that is unclear.

    It does if it has a word above each column of numbers, or counts from 0 there beside a word that does not occur
    below. It is an example if it has a number above each column of numbers, these do not just count from 0 or 1, and
    its word, if any, occurs below.

    Example:
        >>> has_names([["x", "y"], ["1", "2"]]), has_names([["0", "1", "label"], ["1.5", "2", "cat"]])
        (True, True)
        >>> has_names([["1.5", "cat"], ["1", "cat"]]), has_names([["1.5", "2"], ["1", "2"]])
        (False, False)
        >>> has_names([["1.5", "cat"], ["1", "dog"]]), has_names([["x", "2"], ["1", "2"]])
        (None, None)
    """
    first, rest = [cell.strip() for cell in records[0]], records[1:]
    if not rest:
        return not any(map(looks_like_number, first))
    numeric = [place for place in range(len(first)) if is_numeric(rest, place)]
    words = sorted(set(range(len(first))) - set(numeric))
    words = [place for place in words if first[place].lower() not in MISSING]
    above = [first[place] for place in numeric if first[place].lower() not in MISSING]
    numbers = [cell for cell in above if looks_like_number(cell)]
    counted = numbers == [str(number) for number in range(len(numbers))]
    if not numbers and records[0] in rest:
        return True  # it occurs again where two files were joined
    if any(first[place] in {record[place].strip() for record in rest} for place in words):
        return False if numbers == above else None
    if len(numbers) < len(above) or not numeric:
        return True if counted else None
    if counted and numbers:
        return True if words else None
    return None if words or numbers == [str(number) for number in range(1, len(first) + 1)] else False
