"""Volume at examples against the certainty of the prediction there: one network, its correlations over replicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from nngeom_cli.analysis.bootstrap import over_replicates
from nngeom_cli.analysis.data import data_statistics, examples_words, volume_words
from nngeom_cli.analysis.degeneracy import bottleneck_words, volume_rank
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.path import class_colour, value_range
from nngeom_cli.figures.scales import power_words
from nngeom_cli.figures.selection import counted, describe, final_scores, networks_shown, representative
from nngeom_cli.figures.statistic_strip import draw_strips, strip_keys, strips_height
from nngeom_cli.figures.strips import Strip, strip_of, strips_data
from nngeom_cli.figures.style import CONTROL_COLOUR, FONT_SIZE, LINE, SMALL_FONT_SIZE, TEXT_WIDTH, Array, wrapped
from nngeom_cli.store.run import Run

__all__ = ["at_examples"]

LEFT, RIGHT, GAP_X, DOWN, BELOW = 0.62, 0.14, 0.14, 1.75, 0.34  # inches
MOST_KEYS = 20  # classes in the legend
DOT_KEYS, LINE_KEYS = 6, 4  # legend entries beside each other, of dots and, longer, of lines
TINY = 0.03  # of the largest entropy
LEAST_PART = 1e-6  # of the largest entropy; points with less lie at the left edge
AXES = {  # variable: what is asked about it in the names of statistics, and words
    "margin": ("margin", "size of the margin of the trained network"),
    "entropy": ("entropy", "entropy of the trained network (nats)"),
    "adversarial_distance": ("robustness", "adversarial distance of the trained network (input units)"),
}


def at_examples(run: Run, layer: int, note: str | None = None) -> Sheet:
    """A panel for margin, entropy and, if measured, adversarial distance each, and strips through training.

    Untrained networks are beside trained ones on the same axes.

    Dots are the examples for one replicate, in the colours of their classes. Margin, entropy and errors are those of
    the last checkpoint, for the untrained network too, so that only the volumes differ between the two.
    """
    shown, left_out = networks_shown(run)
    geometry, seed = shown.sel(layer=[layer]), representative(run)
    places = [0, -1] if len(geometry.epoch) > 1 and geometry.epoch[0] == 0 else [-1]
    dots = geometry.sel(layer=layer, replicate=seed).isel(epoch=places)
    strips = {("", layer): data_strips(geometry, layer, dots.epoch.values.tolist())}
    numbers = data_statistics(geometry.isel(epoch=places), boundaries=["final", "other"]).sel(layer=layer)
    volume = dots.log_effective_volume_element
    words = (
        f"{describe(run.geometry, layer)}; {examples_words(geometry)}, epoch {int(dots.epoch[-1])}; dots: seed {seed} "
    )
    words += f"({final_scores(run)[seed]}); rank correlations: mean of {counted(geometry.sizes['replicate'])} and "
    words += "bootstrap interval"
    if lost := int((~np.isfinite(volume)).sum()):
        words += f"; the volume is 0 or unknown at {lost} of {volume.size} dots"
    title = wrapped(words + left_out, TEXT_WIDTH - 0.1)
    across = (TEXT_WIDTH - LEFT - RIGHT - (len(places) - 1) * GAP_X) / len(places)
    head = 3 * LINE + 0.04
    classes = np.unique(geometry.true_class.values)
    wrong = dots.isel(epoch=-1).predicted_class != dots.true_class
    dot_keys, line_keys = class_keys(classes, bool(wrong.any())), strip_keys(strips)
    lines = -(-len(line_keys) // LINE_KEYS)
    top = LINE * (title.count("\n") + 1) + 0.1
    below = strips_height(strips["", layer], TEXT_WIDTH - LEFT)
    shown_axes = {name: about for name, about in AXES.items() if name in geometry}
    rows = len(shown_axes) * (head + DOWN + BELOW) + 0.06
    sheet = Sheet.blank(TEXT_WIDTH, top + rows + below + LINE * (lines - (-len(dot_keys) // DOT_KEYS)) + 0.12, note)
    sheet.text(0.05, 0.05, title, fontsize=FONT_SIZE)
    low, high = value_range(volume.values)
    for row, (name, (asked, label)) in enumerate(shown_axes.items()):
        x = abs(dots[name].isel(epoch=-1)).values
        start = top + row * (head + DOWN + BELOW)
        for column in range(len(places)):
            left = LEFT + column * (across + GAP_X)
            first, *others = correlation_words(numbers.isel(epoch=column), asked, int(dots.epoch[column]))
            sheet.text(left, start, first, fontsize=FONT_SIZE, fontweight="bold")
            sheet.text(left, start + LINE, "\n".join(others), fontsize=SMALL_FONT_SIZE)
            axes = sheet.axes(left, start + head, across, DOWN)
            drawn = volume.isel(epoch=column).values
            scale(axes, name, x)
            axes.set_ylim(low, high)
            if np.isfinite(drawn).any():
                draw_dots(axes, np.maximum(x, axes.get_xlim()[0]), drawn, geometry.true_class.values, wrong.values)
            else:
                why = bottleneck_words(
                    geometry.attrs, layer, volume_rank(geometry.attrs, "log_effective_volume_element", layer)
                )
                axes.text(0.5, 0.5, wrapped(why or "no volume", across), transform=axes.transAxes, ha="center")
            axes.tick_params(labelleft=column == 0)
            axes.set_xlabel(label)
            if column == 0:
                axes.set_ylabel(wrapped(f"{volume_words(geometry.attrs, layer)} (natural log)", DOWN))
    draw_strips(sheet, strips["", layer], LEFT, top + rows, TEXT_WIDTH - LEFT)
    sheet.legend(line_keys, LINE_KEYS)
    sheet.legend(dot_keys, DOT_KEYS, above=lines)
    fields = dots[["log_effective_volume_element", *shown_axes, "predicted_class"]].rename(epoch="shown_epoch")
    constant = geometry[["true_class", "example"]]
    data = xr.merge(
        [fields.drop_vars("replicate").assign_attrs(shown_replicate=seed), constant, strips_data(strips)], join="outer"
    )
    return replace(sheet, data=data)


def data_strips(geometry: xr.Dataset, layer: int, stages: Sequence[int]) -> list[Strip]:
    """The strips under the examples of a layer, which are drawn at the epochs `stages`."""
    controls = {"other": "predictions of others"}
    numbers = data_statistics(geometry, boundaries=["final", *controls]).sel(layer=layer)
    titles = {
        "effective_volume_margin": "rank correlation of log volume with the size of the final margin",
        "effective_volume_entropy": "with the entropy of the final prediction",
        "effective_volume_wrong_contrast": "mean log volume where it is wrong minus where it is right (nats)",
        "effective_volume_mean": "mean log volume (nats)",
        "effective_volume_robustness": "rank correlation of log volume with the final adversarial distance",
    }
    return [strip_of(numbers, name, title, controls, stages) for name, title in titles.items() if name in numbers]


def correlation_words(numbers: xr.Dataset, name: str, epoch: int) -> list[str]:
    """A correlation with its interval, and its controls: ranks within classes, and other networks' predictions."""
    words_of = {"robustness": "distance"}.get(name, name)

    def mean(values: xr.DataArray) -> str:
        over = over_replicates(values, np.random.default_rng(0))
        if not np.isfinite(over.estimate):
            return "undefined"
        interval = f" [{float(over.low):.2f}, {float(over.high):.2f}]" if np.isfinite(over.low) else ""
        return f"{float(over.estimate):.2f}{interval}".replace("-", "\N{MINUS SIGN}")

    final, other = (numbers[f"effective_volume_{name}"].sel(boundary=whose) for whose in ("final", "other"))
    within = numbers[f"effective_volume_{name}_within"].sel(boundary="final")
    state = "trained" if epoch else "untrained"
    words = [f"{state}: {mean(final)}", f"within classes: {mean(within)}"]
    if other.notnull().any():
        words.append(f"control, {words_of} of other networks: {mean(other)}")
    return words


def scale(axes: Axes, name: str, x: Array) -> None:
    """A linear axis, for margins and distances from 0; a logarithmic one for entropies of which a tenth are tiny."""
    finite = x[np.isfinite(x)]
    largest = float(finite.max(initial=0.0)) or 1.0
    least = max(float(finite[finite > 0].min(initial=largest)), LEAST_PART * largest)
    from_zero = name != "entropy"
    if from_zero or not finite.size or np.quantile(finite, 0.1) > TINY * largest or least == largest:
        start = 0.0 if from_zero else float(finite.min(initial=largest))
        room = 0.03 * (largest - start) or 0.1 * largest
        axes.set_xlim(start - room, largest + room)
        return
    axes.set_xscale("log")
    axes.set_xlim(0.7 * least, 1.4 * largest)
    powers = np.arange(np.ceil(np.log10(0.7 * least)), np.log10(1.4 * largest))
    ticks = 10.0 ** powers[:: max(1, len(powers) // 4)]
    axes.set_xticks(ticks, [power_words(tick) for tick in ticks])
    axes.minorticks_off()


def draw_dots(axes: Axes, x: Array, y: Array, classes: Array, wrong: NDArray[np.bool_]) -> None:
    """The examples, those that are predicted wrong above the others and ringed."""
    size = float(np.clip(2500 / len(x), 1.5, 9))
    colours = np.array([class_colour(label) for label in classes])
    axes.scatter(x[~wrong], y[~wrong], s=size, c=colours[~wrong], linewidths=0, alpha=0.7, rasterized=True, zorder=2)
    axes.scatter(
        x[wrong],
        y[wrong],
        s=1.6 * size,
        c=colours[wrong],
        edgecolors=CONTROL_COLOUR,
        linewidths=0.6,
        rasterized=True,
        zorder=3,
        label="wrong",
    )


def class_keys(classes: Sequence[int] | Array, wrong: bool) -> list[Artist]:
    """Legend entries of the classes, and of wrong predictions if there are any."""
    dot: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 3.0, "markeredgewidth": 0.0}
    shown = list(classes)[:MOST_KEYS]
    keys: list[Artist] = [Line2D([], [], color=class_colour(label), label=f"class {label:g}", **dot) for label in shown]
    if more := len(classes) - len(shown):
        keys.append(Line2D([], [], linestyle="none", label=f"and {more} other classes"))
    if wrong:
        ring: dict[str, Any] = {"markerfacecolor": "white", "markeredgecolor": CONTROL_COLOUR, "markeredgewidth": 0.7}
        keys.append(Line2D([], [], linestyle="none", marker="o", markersize=3.5, label="predicted wrong", **ring))
    return keys
