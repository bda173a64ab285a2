"""A table as text: its columns by name, and their numbers; or an error that says what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nngeom_cli.errors import ConfigError, require, shown
from nngeom_cli.quoting import pasted
from nngeom_cli.tables.cells import COMMA, Table, could_be_thousands, looks_like_number, number_of
from nngeom_cli.tables.records import Record, RecordError, Records, fault, has_names, is_numeric, parted
from nngeom_cli.tables.unpacking import text_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["TextFile"]

CELLS = 1 << 13  # converted at a time
TRUTH = {"true": 1.0, "false": 0.0}


class DecimalCommaError(Exception):
    """A number has a comma where a point was expected."""


class TextFile:
    """A text file with known columns.

    Columns are separated by tabs, semicolons, bars, commas or white space, whichever leaves fewest columns of words.
    Commas that do not separate columns may be decimal. A line that begins with # or % is a comment. The first line
    names the columns if `records.has_names` says so; if it is an example, the last comment before it may name them.

    Args:
        content: of the file.
        path: of the file.
        header: whether the first line names the columns; None to infer it from the lines.
        old: whether the run was saved before `header` existed: then a first line of numbers only is an example.

    Raises:
        ConfigError: it is not a table, or it is unclear what separates or names its columns.
    """

    def __init__(self, content: bytes, path: Path, header: bool | None, old: bool) -> None:
        self.path = path
        self.content = text_of(content, path)
        self.separator, records = self._parted()
        first, rest = [cell.strip() for cell in records[0]], records[1:] or records
        self.width = len(rest[0])
        if len(first) < self.width:
            self._refuse_row_names([record[0].strip() for record in rest])
        self.numeric = [place for place in range(self.width) if is_numeric(rest, place)]
        top = Records(self.content, self.separator)
        next(iter(top))
        comment = top.comment
        self.guessed = header is None and not old
        if header is None:
            inferred = len(first) < self.width or has_names(records)
            header = not comment and not all(map(_is_float, first)) if old else inferred
        require(
            header is not None,
            "task.header",
            f"true or false where the first line of {path.name} can be names or an example",
            header,
            f"It is {shown(self.separator.join(first))}. true takes it for names.",
        )
        self.header = header
        self.names = [str(place) for place in range(self.width)]
        if header:
            self.names = ["" for _ in range(self.width - len(first))] + first  # R does not name its column of row names
        elif len(set(comment) - {""}) == self.width == len(comment) and not any(map(looks_like_number, comment)):
            self.names = comment
        different = len(set(self.names)) == self.width
        require(different, "task.path", "a table whose columns have different names", self.names, "Rename them.")

    def last(self) -> str:
        return self.names[-1]

    def table(self, columns: Sequence[str], label: str) -> Table:
        """The examples: inputs from `columns`, classes from `label`."""
        try:
            table = self._table(columns, label, ".")
        except DecimalCommaError:
            table = self._table(columns, label, ",")
        self._refuse_lonely(table)
        if self.guessed and self.header and label in map(str.strip, table.texts):
            raise ConfigError(
                f"`task.header` must be true or false where the first line of {self.path.name} can be names or an "
                f"example. Got null for a line with {shown(label)}, which is also a label. true takes it for names."
            )
        return table

    def _refuse_lonely(self, table: Table) -> None:
        """Refuses a first line of numbers taken for an example that is alone in its class: `2010,2011,2012`."""
        import numpy as np

        counts = np.bincount(table.codes)
        lonely = counts[table.codes[0]] == 1 and (counts == 1).sum() == 1 and self.names[0] == "0" and not self.header
        if self.guessed and lonely and looks_like_number(table.texts[0].strip()):
            raise ConfigError(
                f"`task.header` must be true or false where the first line of {self.path.name} can be names or an "
                f"example. Got null for a line whose {shown(table.texts[0])} is not a label below. true takes it for "
                "names."
            )

    def _table(self, columns: Sequence[str], label: str, decimal: str) -> Table:
        import numpy as np

        where = {name: place for place, name in enumerate(self.names)}
        places, target = [where[name] for name in columns], where[label]
        inputs, codes = [np.empty((0, len(columns)))], []
        texts: dict[str, int] = {}
        doubt: str | None = None  # the first number whose mark may separate thousands; empty once a mark cannot
        rows = 0
        records = self._rows()
        while chunk := list(islice(records, max(1, CELLS // self.width))):
            cells = np.array(chunk, dtype=object)
            chosen = cells[:, places]
            if doubt != "" and (decimal == "," or self.separator == ";"):
                marked = [cell for cell in chosen.ravel() if decimal in cell]
                doubt = doubt or next(iter(marked), None) if all(map(could_be_thousands, marked)) else ""
            inputs.append(self._numbers(chosen, columns, rows, decimal))
            codes.append([texts.setdefault(text, len(texts)) for text in cells[:, target]])
            rows += len(chunk)
        require(rows > 0, "task.path", "a table with at least one row of numbers", str(self.path), "Add rows.")
        require(
            not doubt,
            "task.path",
            f"a table in which a decimal {'comma' if decimal == ',' else 'point'} cannot be a thousands separator",
            f"{doubt}, and no number that decides, in {self.path}",
            "Write decimal points, and separate the columns by commas.",
        )
        return Table(np.concatenate(inputs), list(texts), np.concatenate(codes), self._place)

    def _numbers(self, cells: Any, columns: Sequence[str], start: int, decimal: str) -> NDArray[np.float64]:
        import numpy as np

        if decimal == ".":
            joined = "".join(cells.ravel())
            try:
                numbers: NDArray[np.float64] = cells.astype(np.float64)
                if joined.isascii() and "_" not in joined and np.isfinite(numbers).all():
                    return numbers
            except ValueError:
                pass
        return np.stack(
            [self._column(cells[:, place], name, start, decimal) for place, name in enumerate(columns)], axis=1
        )

    def _column(self, cells: Any, name: str, start: int, decimal: str) -> NDArray[np.float64]:
        """Numbers of a column, read cell by cell; true and false are 1 and 0."""
        import numpy as np

        texts = [cell.strip() for cell in cells]
        if all(text.lower() in TRUTH for text in texts):
            return np.array([TRUTH[text.lower()] for text in texts])
        numbers = np.array([number_of(text, decimal) for text in texts])
        unusable = np.isnan(numbers)
        if not unusable.any():
            return numbers
        row = int(unusable.argmax())
        if decimal == "." and "," in texts[row] and COMMA.fullmatch(texts[row]):
            raise DecimalCommaError
        suggestion = "Remove the row, or name other columns."
        if self.names.index(name) not in self.numeric:
            suggestion = f"Name other columns, or, if it holds the classes: {pasted('task.label', name)}"
        if looks_like_number(texts[row]) and ("," in texts[row] or decimal == ","):
            suggestion = "Write all numbers with one decimal mark, and no thousands separators."
        raise ConfigError(
            f"`task.columns` must be columns of finite numbers. Got {shown(texts[row])} in column {name}, "
            f"{self._place(start + row)}. {suggestion}"
        )

    def _rows(self) -> Iterator[Record]:
        """The examples, each with one cell per column."""
        records = Records(self.content, self.separator, self._refuse_doubtful)
        try:
            for number, record in enumerate(records):
                if number == 0 and self.header:
                    continue
                while len(record) > self.width and not record[-1].strip():
                    record.pop()
                if len(record) != self.width:
                    raise RecordError(f"line {records.line} has {len(record)} cells, not {self.width}")
                yield record
        except RecordError as error:
            raise self._malformed(str(error)) from error

    def _place(self, row: int) -> str:
        records = Records(self.content, self.separator)
        next(islice(records, row + bool(self.header), None))
        return f"line {records.line}"

    def _refuse_row_names(self, cells: list[str]) -> None:
        """Refuses a first line with one cell fewer, unless the first column holds names of rows, as R writes them."""
        integers = all(cell.isdecimal() for cell in cells)
        if len(set(cells)) < len(cells) or not (integers or not any(map(looks_like_number, cells))):
            raise self._malformed(f"the first line has {self.width - 1} cells, the others have {self.width}")

    def _parted(self) -> tuple[str, list[Record]]:
        """The separator, and the first records, split by it."""
        found = parted(self.content)
        if not found:
            raise self._malformed(fault(self.content))
        separator, records = found[0]
        require(
            [separator for separator, _ in found] != [",", " "],
            "task.path",
            f"a table that can be split in only one way ({self.path})",
            f"{','.join(records[0])}, which can be split at commas and at spaces",
            "Separate the columns by semicolons.",
        )
        return separator, records

    def _malformed(self, what: str) -> ConfigError:
        return ConfigError(
            "`task.path` must be text with at least two columns, the same number in each row. "
            f"Got {self.path}: {what}. Correct it, or put # before a line that is not an example."
        )

    def _refuse_doubtful(self, cells: Record, line: int) -> None:
        """Refuses a line that begins with # if it could be an example, because the first column has words."""
        if len(cells) == self.width and self.numeric and 0 not in self.numeric:
            require(
                not all(looks_like_number(cells[place].strip()) for place in self.numeric),
                "task.path",
                f"a table whose comments are not examples ({self.path})",
                f"#{self.separator.join(cells)} in line {line}",
                "Delete the line, or put its first cell in quotation marks.",
            )


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
