"""Tables of words, as text."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["aligned", "markdown"]


def aligned(rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Columns under each other, two spaces apart.

    Args:
        rows: the first one is the head.
        width: characters; a wider table comes in pieces, each with the first column again. None: any width.

    Example:
        >>> print(aligned([("job", "status"), ("0", "complete")]))
        job  status
        0    complete
    """
    columns = [[cell.ljust(max(map(len, column))) for cell in column] for column in zip(*rows, strict=True)]
    first, *others = columns
    pieces = [[first]]
    for column in others:
        used = sum(len(cells[0]) + 2 for cells in pieces[-1])
        if width is not None and len(pieces[-1]) > 1 and used + len(column[0]) > width:
            pieces.append([first])
        pieces[-1].append(column)
    return "\n\n".join("\n".join("  ".join(row).rstrip() for row in zip(*piece, strict=True)) for piece in pieces)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """The same as a Markdown table; the first row is its head.

    Example:
        >>> print(markdown([("run", "a|b"), ("0", "1")]))
        | run | a\\\\|b |
        |---|---|
        | 0 | 1 |
    """
    lines = ["| " + " | ".join(cell.replace("|", "\\\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
