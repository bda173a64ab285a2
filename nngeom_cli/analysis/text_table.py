"""Tables as text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from nngeom_cli.errors import printable

__all__ = ["aligned", "in_csv", "literal", "markdown", "widths"]

FORMULAS = tuple(
    "=+-@\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}"
)
AFTER_SEMICOLON = re.compile(rf"(?<=;)(?=[{re.escape(''.join(FORMULAS))}])")
NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?|-inf")

# What Markdown reads as more than text. Underscores within words are text already, so are most brackets.
MARKUP = re.compile(r"[\\`*<|~&$]|(?<![^\W_])_|_(?![^\W_])|\[(?=\^)|\](?=\()|:(?=//)|(?<=www)\.", re.IGNORECASE)


def aligned(rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Columns under each other, two spaces apart.

    Args:
        rows: the first one is the head.
        width: characters; a wider table is split into pieces, each with the first column. None: any width.

    Example:
        >>> print(aligned([("job", "status"), ("0", "complete")]))
        job  status
        0    complete
    """
    plain = [[printable(cell) for cell in row] for row in rows]
    columns = [[cell.ljust(max(map(len, column))) for cell in column] for column in zip(*plain, strict=True)]
    first, *others = columns
    pieces = [[first]]
    for column in others:
        used = sum(len(cells[0]) + 2 for cells in pieces[-1])
        if width is not None and len(pieces[-1]) > 1 and used + len(column[0]) > width:
            pieces.append([first])
        pieces[-1].append(column)
    return "\n\n".join("\n".join("  ".join(row).rstrip() for row in zip(*piece, strict=True)) for piece in pieces)


def widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """Of the columns of `aligned`, with the space between them; their sum is the width of the table.

    Example:
        >>> widths([("job", "status"), ("0", "complete")])
        [5, 8]
    """
    *others, last = (max(len(printable(cell)) for cell in column) for column in zip(*rows, strict=True))
    return [*(width + 2 for width in others), last]


def markdown(rows: Sequence[Sequence[str]], links: Mapping[str, str] | None = None) -> str:
    r"""The same as a Markdown table whose cells show their text letter for letter; the first row is its head.

    Args:
        rows: the first one is the head.
        links: where names of columns lead.

    Example:
        >>> print(markdown([("run", "a|b"), ("0", "*")]))
        | run | a\|b |
        |---|---|
        | 0 | \* |
    """
    head, *others = [list(map(literal, row)) for row in rows]
    goals = [(links or {}).get(name) for name in rows[0]]
    head = [f"[{name}]({goal})" if goal else name for name, goal in zip(head, goals, strict=True)]
    lines = ["| " + " | ".join(row) + " |" for row in (head, *others)]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def in_csv(value: Any) -> Any:
    """A value as a cell of a CSV file; an apostrophe marks text that a spreadsheet would take for a formula, as `=1+1`.

    Example:
        >>> in_csv("=1+1"), in_csv("-1.5"), in_csv(-1.5), in_csv("xor"), in_csv("a;=1")
        ("'=1+1", '-1.5', -1.5, 'xor', "a;'=1")
    """
    if not isinstance(value, str):
        return value
    text = printable(value)
    text = AFTER_SEMICOLON.sub("'", text)  # semicolons separate cells where commas are decimal
    return f"'{text}" if text.startswith(FORMULAS) and not NUMBER.fullmatch(text) else text


def literal(text: str) -> str:
    r"""Markdown, within a line, that shows `text` as it is; unprintable characters as in a Python string: `\n`.

    Example:
        >>> print(literal("log_volume_element _0_ <b>"))
        log_volume_element \_0\_ \<b>
    """
    return MARKUP.sub(r"\\\g<0>", printable(text))
