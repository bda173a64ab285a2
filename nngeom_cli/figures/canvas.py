"""A figure on which axes and words are placed in inches from its upper left corner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nngeom_cli.figures.style import FONT_SIZE, LINE, NOTE_COLOUR, SMALL_FONT_SIZE, text_width, wrapped

__all__ = ["Sheet", "fitting"]


KEY_LEFT, KEY_MARK, KEY_GAP = 0.2, 0.2, 0.1  # inches: before the first entry, a mark, between entries


def fitting(keys: Sequence[Artist], inches: float, most: int = 12) -> int:
    """How many columns of a legend fit a width.

    Example:
        >>> from matplotlib.lines import Line2D
        >>> keys = [Line2D([], [], label=30 * "a") for _ in range(4)]
        >>> fitting(keys, 7.0), fitting(keys, 3.4)
        (4, 1)
    """
    widths = [KEY_MARK + KEY_GAP + text_width(str(key.get_label()), SMALL_FONT_SIZE) for key in keys]
    for columns in range(min(most, len(keys)), 1, -1):
        rows = -(-len(keys) // columns)
        places = [range(column, len(keys), columns) for column in range(columns)]
        if rows and KEY_LEFT + sum(max(widths[place] for place in column) for column in places) <= inches:
            return columns
    return 1


@dataclass(frozen=True)
class Sheet:
    """`figure` is `width` by `height` inches, of which a note takes the uppermost `head`; `data` is what is drawn
    on it, to be saved beside it."""

    figure: Figure
    width: float
    height: float
    head: float = 0.0
    data: xr.Dataset = field(default_factory=xr.Dataset)

    @classmethod
    def blank(cls, width: float, height: float, note: str | None = None) -> Sheet:
        """An empty white sheet of `width` by `height` inches below a note, if there is one."""
        words = "" if note is None else wrapped(note, width - 0.1)
        head = 0.0 if note is None else LINE * (words.count("\n") + 1) + 0.05
        sheet = cls(Figure(figsize=(width, height + head), facecolor="white"), width, height + head, head)
        if note is not None:
            sheet.text(0.05, 0.05 - head, words, fontsize=FONT_SIZE, fontweight="bold", color=NOTE_COLOUR)
        return sheet

    def axes(self, left: float, top: float, width: float, height: float, **options: Any) -> Axes:
        """Axes whose upper left corner is at (`left`, `top`)."""
        bottom = self.height - self.head - top - height
        place = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(place, **options)

    def text(self, left: float, top: float, words: str, **options: Any) -> None:
        """Words below `top`."""
        options = {"va": "top", "ha": "left"} | options
        self.figure.text(left / self.width, 1 - (self.head + top) / self.height, words, **options)

    def legend(self, keys: Sequence[Artist], columns: int, above: int = 0) -> None:
        """Entries in rows, along the lower edge or above as many rows of another legend there.

        Args:
            keys: what is named, with labels.
            columns: at most so many beside each other, and no more than fit.
            above: rows of another legend below.
        """
        columns = fitting(keys, self.width, columns)
        rows = -(-len(keys) // columns)
        by_row = [
            keys[row * columns + column]
            for column in range(columns)
            for row in range(rows)
            if row * columns + column < len(keys)
        ]
        self.figure.legend(
            handles=by_row,
            loc="lower left",
            bbox_to_anchor=(0.2 / self.width, (0.02 + LINE * above) / self.height),
            borderaxespad=0.0,
            borderpad=0.2,
            ncols=columns,
            handlelength=1.5,
            columnspacing=1.1,
            handletextpad=0.5,
            labelspacing=0.25,
        )
