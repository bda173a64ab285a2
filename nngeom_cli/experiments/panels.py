"""Sheets of an experiment: panels in rows, a dot for each network, a power law on logarithmic axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nngeom_cli.experiments.table import decimals, interval_in_words
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.style import FONT_SIZE, LINE, TEXT_WIDTH, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CHANGE", "DOT", "draw_law", "draw_slopes", "panels", "rate_in_words"]

LEFT, RIGHT, BOTTOM, HEIGHT = 0.55, 0.12, 0.42, 2.1  # inches
DOT: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 2.2, "alpha": 0.55, "markeredgewidth": 0.0}
CHANGE = "root mean square change\nof log volume (nats)"


def panels(
    words: str,
    count: int,
    *,
    rows: int = 1,
    lines: int = 1,
    keys: int = 0,
    left: float = LEFT,
    gap: float | None = None,
) -> tuple[Sheet, list[Axes]]:
    """A sheet with a title and panels in rows, each with lines of words above it, and room for lines of keys below."""
    columns = -(-count // rows)
    title = wrapped(words, TEXT_WIDTH - 0.1)
    above = LINE * lines
    top = LINE * (title.count("\n") + 1) + 0.12
    if gap is None:
        gap = 0.5 if rows > 1 else 0.18
    across = (TEXT_WIDTH - left - RIGHT - (columns - 1) * gap) / columns
    down = HEIGHT if rows == 1 else 1.35
    step = above + down + (BOTTOM if rows == 1 else 0.3)
    sheet = Sheet.blank(TEXT_WIDTH, top + rows * step + keys * (LINE + 0.05) + 0.02)
    sheet.text(0.05, 0.05, title, fontsize=FONT_SIZE)
    places = [divmod(place, columns) for place in range(count)]
    return sheet, [
        sheet.axes(left + column * (across + gap), top + row * step + above, across, down) for row, column in places
    ]


def draw_law(
    axes: Axes,
    x: NDArray[Any],
    y: NDArray[Any],
    law: dict[str, float],
    colour: str,
    label: str | None,
    name: str | None = None,
) -> None:
    """Networks, their geometric means at each x, and the power law where it fits, on logarithmic axes.

    Legend entries: `label` of the power law, `name` of the means; where none fits, `label` of the means.
    """
    usable = np.isfinite(y) & (y > 0)
    x, y = x[usable], y[usable]
    places = np.unique(x)
    means = [np.exp(np.log(y[x == place]).mean()) for place in places]
    axes.plot(x, y, **DOT | {"color": colour})
    fits = bool(np.isfinite(law["estimate"]))
    axes.plot(places, means, color=colour, linewidth=1.0, label=name if fits else label)
    if fits:
        fitted = np.array([law["start"], law["end"]])
        look: dict[str, Any] = {"color": "black", "linewidth": 0.9, "linestyle": "--", "label": label}
        axes.plot(fitted, law["factor"] * fitted ** law["estimate"], **look)
    axes.set_yscale("log")
    _setting_axis(axes, places)


def draw_slopes(axes: Axes, local: list[dict[str, float]], law: dict[str, float], colour: str, shift: float) -> None:
    """Rates between neighbouring settings with their intervals, and the rate of the power law over its range."""
    for rate in local:
        middle = np.sqrt(rate["start"] * rate["end"]) * shift
        axes.plot(middle, rate["estimate"], **DOT | {"color": colour, "alpha": 1.0, "markersize": 3.0})
        axes.plot([middle, middle], [rate["low"], rate["high"]], color=colour, linewidth=0.8)
    if np.isfinite(law["estimate"]):
        axes.plot([law["start"], law["end"]], [law["estimate"]] * 2, color="black", linewidth=0.9, linestyle="--")
    if local:
        _setting_axis(axes, np.array([local[0]["start"], *(rate["end"] for rate in local)]))


def _setting_axis(axes: Axes, places: NDArray[Any]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(places[::2], [f"{value:g}" for value in places[::2]])
    axes.minorticks_off()


def rate_in_words(letter: str, law: dict[str, float]) -> str:
    """~ n^-0.95 [-1.02, -0.88] from n = 16 on, or that no power law fits."""
    if not np.isfinite(law["estimate"]):
        return "no power law fits"
    rate = f"$\\sim {letter}^{{{law['estimate']:.{decimals(law)}f}}}$  {interval_in_words(law)}"
    return f"{rate}\nfrom {letter} = {law['start']:g} on"
