"""What a notebook shows of a run or a sweep: a table, and a picture if one was drawn. Text stays text."""

from __future__ import annotations

import base64
import contextlib
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nngeom_cli.errors import printable
from nngeom_cli.store.layout import FIGURES
from nngeom_cli.system.atomic import read_whole

__all__ = ["picture", "shown_in_notebook", "table"]

PNG = b"\x89PNG\r\n\x1a\n"
LARGEST = 2**22  # bytes of a picture; a notebook keeps what it shows
MOST_ROWS = 100


def shown_in_notebook(title: str, rows: Sequence[Sequence[Any]], directory: Path) -> str:
    """A title, a table whose first row is its head, and the first picture in the folder of figures."""
    return f"<div><p><b>{_text(title)}</b> {_text(directory)}</p>{table(rows)}{picture(directory)}</div>"


def table(rows: Sequence[Sequence[Any]]) -> str:
    """Rows as a table of HTML, the first one as its head; of very many the first ones, and how many are left."""
    head, *others = rows
    lines = [
        "<tr>" + "".join(f"<{tag}>{_text(cell)}</{tag}>" for cell in row) + "</tr>"
        for tag, row in [("th", head), *(("td", row) for row in others[:MOST_ROWS])]
    ]
    left = len(others) - MOST_ROWS
    more = f"<p>and {left} more</p>" if left > 0 else ""
    return f"<table>{''.join(lines)}</table>{more}"


def picture(directory: Path) -> str:
    """The first picture in the figures of a run or sweep, in the page itself; empty if there is none.

    No link is followed, and only the content of PNG files is shown.
    """
    folder = directory / FIGURES
    with contextlib.suppress(OSError, ValueError):
        if folder.is_symlink():
            return ""
        for path in sorted(folder.glob("*.png"), key=lambda path: (len(path.name), path.name)):
            content = b"" if path.is_symlink() else read_whole(path, LARGEST)
            if content.startswith(PNG):
                data = base64.b64encode(content).decode()
                return f'<img src="data:image/png;base64,{data}" alt="{_text(path.name)}" style="max-width:100%">'
    return ""


def _text(value: Any) -> str:
    return html.escape(printable(str(value)))
