"""One figure and one table over the runs of a sweep, for the experiments that are sweeps."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from nngeom_cli.analysis.networks import COMPARISONS, FITTED_SCALES, FITTED_WIDTHS, PREDICTORS, networks
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.output import convention_words, save
from nngeom_cli.figures.style import (
    CLASS_COLOURS,
    FONT_SIZE,
    LINE,
    SMALL_FONT_SIZE,
    TEXT_WIDTH,
    style,
    wrapped,
)
from nngeom_cli.store.run import Run
from nngeom_cli.system.atomic import remove_leftovers, written_whole

__all__ = ["draw_comparison", "experiment"]

LEFT, RIGHT, GAP, BOTTOM, HEIGHT = 0.55, 0.12, 0.62, 0.42, 2.1  # inches
DOT: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 2.2, "alpha": 0.55, "markeredgewidth": 0.0}
ABSENT = {"estimate": np.nan, "low": np.nan, "high": np.nan, "factor": np.nan, "n": 0}


def draw_comparison(runs: Sequence[Run], directory: Path) -> list[Path]:
    """Draws and tabulates a sweep whose experiment has a comparison; does nothing for any other.

    Args:
        runs: the runs of the sweep; those without a last checkpoint are left out.
        directory: where `NAME.png`, `NAME.pdf`, `NAME.csv` (a row a statistic: estimate, low, high, n) and
            `NAME-networks.csv` (a row a network) go, NAME the experiment.

    Returns:
        The PNG and the two tables; nothing where the runs are of no such experiment, or none has finished.
    """
    name = experiment(runs)
    table = networks(runs) if name in COMPARISONS else pd.DataFrame()
    if name is None or table.empty:
        return []
    statistics = COMPARISONS[name](table, np.random.default_rng(0))
    info = runs[0].info
    about = {
        "Run": f"experiment {name}, {len(runs)} runs",
        "Command": str(info.get("command")),
        "Version": f"nngeom {info.get('versions', {}).get('nngeom', 'of unknown version')}",
        "Convention": convention_words("geometric"),
    }
    remove_leftovers(directory)
    with style():
        drawn = [save(SHEETS[name](table, statistics), directory, name, about)]
    for stem, rows in ((name, statistics), (f"{name}-networks", table)):
        with written_whole(directory / f"{stem}.csv") as path:
            path.write_text(rows.to_csv(index=False), encoding="utf-8")
        drawn.append(directory / f"{stem}.csv")
    return drawn


def experiment(runs: Sequence[Run]) -> str | None:
    """The experiment that all of the runs were started as, None if there is no such."""
    found = [re.search(r"(?<!\S)experiment=(\w+)(?!\S)", run.info.get("command", "")) for run in runs]
    names = {word[1] if word else None for word in found}
    return names.pop() if len(names) == 1 else None


def draw_width(table: pd.DataFrame, statistics: pd.DataFrame) -> Sheet:
    """Change of log V under training against width; distance of the initial log V from its limit."""
    words = (
        f"{networks_in_words(table)}: geometry of the hidden layer against its width n. Dots: networks; lines: means "
        f"of logarithms; rates (95 % bootstrap intervals) of power laws fitted from n = {FITTED_WIDTHS} on"
    )
    sheet, (left, right) = panels(words, 2)
    for name, colour, axes, title in [
        ("volume_change", None, left, "change under training"),
        ("distance_to_infinite_width", None, right, "initial network"),
    ]:
        for place, (parametrization, part) in enumerate(table.groupby("parametrization")):
            if name not in part or part[name].isna().all():
                continue
            colour = CLASS_COLOURS[(0, 9)[place]]
            law = law_of(statistics, f"rate of {name} in width", parametrization)
            label = f"{parametrization}: {rate_in_words('n', law)}"
            draw_law(axes, part.width.to_numpy(float), part[name].to_numpy(), law, FITTED_WIDTHS, colour, label)
        axes.set_title(title, fontsize=FONT_SIZE)
        axes.set_xlabel("width $n$")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower left")
    left.set_ylabel(r"$\|\log V_\mathrm{trained} - \log V_\mathrm{initial}\|\,/\,\|\log V_\mathrm{initial}\|$")
    right.set_ylabel(r"$\|\log V_\mathrm{initial} - \log V_\infty\|\,/\,\|\log V_\infty\|$")
    return sheet


def draw_lazy(table: pd.DataFrame, statistics: pd.DataFrame) -> Sheet:
    """Change of log V under training against the output scale; final loss."""
    words = (
        f"{networks_in_words(table)}: the network is α (h − h₀), trained on loss / α². Dots: networks; lines: means of "
        f"logarithms; rate (95 % bootstrap interval) of a power law fitted from α = {FITTED_SCALES:g} on"
    )
    sheet, (left, right) = panels(words, 2)
    scale = table.output_scale.to_numpy()
    law = law_of(statistics, "rate of volume_change in output scale", f">= {FITTED_SCALES:g}")
    draw_law(left, scale, table.volume_change.to_numpy(), law, FITTED_SCALES, CLASS_COLOURS[0], rate_in_words("α", law))
    left.set_title("change under training", fontsize=FONT_SIZE)
    left.set_ylabel(r"$\|\log V_\mathrm{trained} - \log V_\mathrm{initial}\|\,/\,\|\log V_\mathrm{initial}\|$")
    left.legend(loc="lower left")
    draw_law(right, scale, table.loss.to_numpy(), ABSENT, FITTED_SCALES, CLASS_COLOURS[0], None)
    right.set_title("how far training came", fontsize=FONT_SIZE)
    right.set_ylabel("training loss at the end")
    for axes in (left, right):
        axes.set_xlabel("output scale α")
    return sheet


def draw_generalization(table: pd.DataFrame, statistics: pd.DataFrame) -> Sheet:
    """Test accuracy against each statistic of the geometry."""
    words = (
        f"{networks_in_words(table)}: test accuracy against the geometry of the hidden layer. ρ: Spearman's, over all "
        "networks (interval: settings resampled) and within settings, where only the seed differs (networks resampled)"
    )
    sheet, grid = panels(words, len(PREDICTORS), rows=2, keys=1)
    kinds = list(table.groupby("activation"))
    for axes, (name, title) in zip(grid, PREDICTORS.items(), strict=True):
        for place, (kind, part) in enumerate(kinds):
            for size, some in part.groupby("width"):
                look = DOT | {"color": CLASS_COLOURS[place], "markersize": 0.8 + 0.35 * np.log2(float(size))}
                axes.plot(some[name], some.test_accuracy, label=kind if size == part.width.max() else None, **look)
        lines = [f"{title}"]
        for of, short in (("all networks", "all"), ("seeds of one setting", "within")):
            row = law_of(statistics, f"rank correlation of {name} with test_accuracy", of)
            lines.append(f"ρ {short} {row['estimate']:.2f} [{row['low']:.2f}, {row['high']:.2f}]")
        axes.set_title("\n".join(lines), fontsize=SMALL_FONT_SIZE)
        axes.set_ylabel("test accuracy")
    handles, labels = grid[0].get_legend_handles_labels()
    widths = ", ".join(f"{width:g}" for width in sorted(table.width.unique()))
    for handle, label in zip(handles, labels, strict=True):
        handle.set_label(label)
    handles[0].set_label(f"{labels[0]}  (larger dots: wider; n = {widths})")
    sheet.legend(handles, len(handles))
    return sheet


def draw_activations(table: pd.DataFrame, _: pd.DataFrame) -> Sheet:
    """Volume, its contrast at the boundary, and curvature, before and after training, for each activation."""
    words = (
        f"{networks_in_words(table, activation=False)}: the hidden layer before (grey) and after training (colour), a "
        "dot a network; bars: means. Curvature is the median of |R| over the grid, the unit 2-sphere has R = +2"
    )
    sheet, grid = panels(words, 3, left=0.75)
    kinds = list(dict.fromkeys(table.activation))
    for axes, (name, label) in zip(
        grid,
        [
            ("log_volume", r"mean $\log\,\sqrt{\det g}$ (nats)"),
            ("volume_band_contrast", "log volume at the boundary\nminus elsewhere (nats)"),
            ("curvature", "median $|R|$"),
        ],
        strict=True,
    ):
        for place, kind in enumerate(kinds):
            part = table[table.activation == kind]
            for column, shift, colour in ((f"initial_{name}", 0.18, "0.55"), (name, -0.18, CLASS_COLOURS[0])):
                values = part[column].to_numpy(float)
                if name == "curvature" and (values == 0).all():
                    axes.text(0.03, place + shift, "R = 0", transform=axes.get_yaxis_transform(), va="center")
                    continue
                values = values[np.isfinite(values) & ((values > 0) | (name != "curvature"))]
                axes.plot(values, np.full(len(values), place + shift), **DOT | {"color": colour})
                if len(values):
                    mean = np.exp(np.log(values).mean()) if name == "curvature" else values.mean()
                    axes.plot([mean, mean], [place + shift - 0.15, place + shift + 0.15], color=colour, linewidth=1.4)
        axes.set_ylim(len(kinds) - 0.5, -0.5)
        axes.set_yticks(range(len(kinds)), kinds if axes is grid[0] else [""] * len(kinds))
        axes.set_xlabel(label)
        if name == "volume_band_contrast":
            axes.axvline(0.0, color="0.8", linewidth=0.6, zorder=0)
        if name == "curvature":
            axes.set_xscale("log")
    return sheet


def panels(words: str, count: int, *, rows: int = 1, keys: int = 0, left: float = LEFT) -> tuple[Sheet, list[Axes]]:
    """A sheet with a title and panels in rows, with room for lines of keys below."""
    columns = -(-count // rows)
    title = wrapped(words, TEXT_WIDTH - 0.1)
    above = LINE * 3 if rows > 1 else LINE
    top = LINE * (title.count("\n") + 1) + 0.12
    gap = GAP if rows == 1 and count == 2 else 0.5 if rows > 1 else 0.18
    across = (TEXT_WIDTH - left - RIGHT - (columns - 1) * gap) / columns
    down = HEIGHT if rows == 1 else 1.35
    step = above + down + (BOTTOM if rows == 1 else 0.22)
    sheet = Sheet.blank(TEXT_WIDTH, top + rows * step + keys * (LINE + 0.05) + 0.02)
    sheet.text(0.05, 0.05, title, fontsize=FONT_SIZE)
    places = [divmod(place, columns) for place in range(count)]
    return sheet, [
        sheet.axes(left + column * (across + gap), top + row * step + above, across, down) for row, column in places
    ]


def draw_law(
    axes: Axes, x: NDArray[Any], y: NDArray[Any], law: dict[str, float], start: float, colour: str, label: str | None
) -> None:
    """Networks, their means at each x, and the power law where it was fitted, on logarithmic axes."""
    usable = np.isfinite(y) & (y > 0)
    x, y = x[usable], y[usable]
    places = np.unique(x)
    means = [np.exp(np.log(y[x == place]).mean()) for place in places]
    axes.plot(x, y, **DOT | {"color": colour})
    axes.plot(places, means, color=colour, linewidth=1.0, label=label)
    if np.isfinite(law["estimate"]):
        fitted = places[places >= start]
        axes.plot(fitted, law["factor"] * fitted ** law["estimate"], color=colour, linewidth=0.8, linestyle="--")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(places[::2], [f"{value:g}" for value in places[::2]])
    axes.minorticks_off()


def law_of(statistics: pd.DataFrame, statistic: str, of: Any) -> dict[str, float]:
    """The row of a statistic."""
    rows = statistics[(statistics.statistic == statistic) & (statistics.of == of)]
    return ABSENT if rows.empty else {str(key): float(rows.iloc[0][key]) for key in ABSENT if key in rows}


def rate_in_words(letter: str, law: dict[str, float]) -> str:
    """~ n^-0.95 [-1.02, -0.88]."""
    return f"$\\sim {letter}^{{{law['estimate']:.2f}}}$  [{law['low']:.2f}, {law['high']:.2f}]"


def networks_in_words(table: pd.DataFrame, *, activation: bool = True) -> str:
    """How many networks, what they share, and how many diverged."""
    kinds = list(dict.fromkeys(table.activation))
    words = f"{len(table)} {kinds[0] + ' ' if activation and len(kinds) == 1 else ''}networks"
    diverged = int(table.loss.isna().sum())
    return words + (
        f", of which {diverged} diverged and {'are' if diverged > 1 else 'is'} left out" if diverged else ""
    )


SHEETS: dict[str, Callable[[pd.DataFrame, pd.DataFrame], Sheet]] = {
    "width": draw_width,
    "lazy": draw_lazy,
    "generalization": draw_generalization,
    "activations": draw_activations,
}
