"""Volume at examples by class and by error, trained beside untrained, and the images that have least and most of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

from nngeom_cli.analysis.bootstrap import over_replicates
from nngeom_cli.analysis.data import data_statistics, examples_words, volume_words
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.image import draw_image
from nngeom_cli.figures.path import class_colour, value_range
from nngeom_cli.figures.path_peaks import draw_column, keys
from nngeom_cli.figures.selection import counted, describe, final_scores, networks_shown, representative
from nngeom_cli.figures.style import (
    BOUNDARY_COLOUR,
    FONT_SIZE,
    LINE,
    MISSING_COLOUR,
    SMALL_FONT_SIZE,
    TEXT_WIDTH,
    TINY_FONT_SIZE,
    wrapped,
)
from nngeom_cli.store.run import Run

__all__ = ["by_class"]

LEFT, RIGHT, HEIGHT, TICKS = 0.68, 0.08, 1.6, 0.3  # inches
IMAGE, APART, BETWEEN = 0.36, 0.05, 0.3  # inches: side of an image, gap between two, gap between least and most
MOST_IMAGES = 7  # with the least volume, and with the most
MOST_CLASSES = 20
COLUMNS = {
    "all": "effective_volume_mean",
    "right": "effective_volume_right_mean",
    "wrong": "effective_volume_wrong_mean",
}


def by_class(run: Run, layer: int, note: str | None = None) -> Sheet:
    """A dot for each network and class, and for all examples, those predicted right and those predicted wrong.

    Right and wrong are those of the last checkpoint, for the untrained networks too (they are paired).
    """
    shown, left_out = networks_shown(run)
    geometry = shown.sel(layer=[layer])
    places = [0, -1] if len(geometry.epoch) > 1 and geometry.epoch[0] == 0 else [-1]
    numbers = data_statistics(geometry.isel(epoch=places), boundaries=["final"]).sel(layer=layer)
    classes = numbers["class"].values[:MOST_CLASSES]
    columns = [numbers.effective_volume_by_class.sel({"class": label}, drop=True) for label in classes]
    for name in COLUMNS.values():
        values = numbers[name]
        columns.append(values.sel(boundary="final", drop=True) if "boundary" in values.dims else values)
    names = [f"{label:g}" for label in classes] + list(COLUMNS)
    epoch, seed = int(geometry.epoch[-1]), representative(run)
    images = rows_of_images(geometry, seed, places)
    words = f"{describe(run.geometry, layer)}; {examples_words(geometry)}: "
    words += f"mean {volume_words(geometry.attrs, layer)} by class, "
    words += f"and where the prediction of epoch {epoch} is right or wrong (dots: networks; bars: mean of "
    words += f"{counted(geometry.sizes['replicate'])} and bootstrap interval)"
    if len(numbers["class"]) > len(classes):
        words += f"; the first {len(classes)} of {len(numbers['class'])} classes"
    title = wrapped(words + left_out, TEXT_WIDTH - 0.1)
    top = LINE * (title.count("\n") + 1) + 0.12
    row = IMAGE + 2 * LINE + 0.06
    below = (LINE * 2 + len(images) * row) if images else 0.0
    sheet = Sheet.blank(TEXT_WIDTH, top + HEIGHT + TICKS + 2.2 * LINE + below, note)
    sheet.text(0.05, 0.05, title, fontsize=FONT_SIZE)
    axes = sheet.axes(LEFT, top, TEXT_WIDTH - LEFT - RIGHT, HEIGHT)
    summaries = [over_replicates(column, np.random.default_rng(0)) for column in columns]
    for place, (column, summary) in enumerate(zip(columns, summaries, strict=True)):
        for state in column.epoch.values.tolist():
            draw_column(
                axes, place, column.sel(epoch=state), summary.sel(epoch=state), "trained" if state else "untrained"
            )
    axes.set_xticks(range(len(columns)), names)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.axvline(len(classes) - 0.5, color=MISSING_COLOUR, linewidth=0.4)
    axes.set_ylim(*value_range(np.stack([column.values for column in columns])))
    axes.set_ylabel(wrapped(f"{volume_words(geometry.attrs, layer)} (natural log)", HEIGHT))
    axes.set_xlabel("class of the example; right of the line: all examples, and those predicted right or wrong")
    start = top + HEIGHT + TICKS + LINE
    if images:
        scores = final_scores(run)[seed]
        words = f"Least volume (left) and most (right) for seed {seed} ({scores}). Frame: predicted class; red: wrong."
        sheet.text(LEFT, start, words, fontsize=FONT_SIZE)
        start += LINE + 0.04
    for number, (state, data) in enumerate(images):
        draw_images(sheet, data, state, start + number * row)
    sheet.legend(keys(columns[0]), 4)
    over = xr.concat(summaries, "column").assign_coords(column=names)
    over = over.rename({name: f"mean_{name}" for name in over.data_vars})
    return replace(sheet, data=over.assign(effective_volume=xr.concat(columns, "column", coords="minimal")))


def rows_of_images(geometry: xr.Dataset, seed: int, places: list[int]) -> list[tuple[str, xr.Dataset]]:
    """The examples with least and most volume for one network, untrained and trained; none where they are no images."""
    if "input" not in geometry or "image_shape" not in geometry.attrs:
        return []
    rows = []
    for place in places:
        data = geometry.isel(layer=0, epoch=place).sel(replicate=seed)
        volume = data.log_effective_volume_element.values
        order = np.argsort(volume, kind="stable")
        order = order[np.isfinite(volume[order])]
        most = min(MOST_IMAGES, len(order) // 2)
        if most:
            ends = np.concatenate([order[:most], order[-most:]])
            rows.append(("trained" if int(data.epoch) else "untrained", data.isel(point=ends)))
    return rows


def draw_images(sheet: Sheet, data: xr.Dataset, state: str, top: float) -> None:
    """A row of images, half of them with the least volume and half with the most, their volumes beneath."""
    sheet.text(LEFT - 0.06, top + IMAGE / 2, state, ha="right", va="center", fontsize=SMALL_FONT_SIZE)
    count = data.sizes["point"]
    limits = (data.input.values.min(), data.input.values.max())
    for place in range(count):
        one = data.isel(point=place)
        left = LEFT + place * (IMAGE + APART) + (BETWEEN if place >= count // 2 else 0.0)
        axes = sheet.axes(left, top, IMAGE, IMAGE, xticks=[], yticks=[], label="image")
        draw_image(axes, one.input.values, data.attrs["image_shape"], *limits)
        predicted, true = int(one.predicted_class), int(one.true_class)
        for spine in axes.spines.values():
            spine.set(color=class_colour(predicted), linewidth=1.2)
        words = f"{true}" if predicted == true else f"{true}, not {predicted}"
        colour = "black" if predicted == true else BOUNDARY_COLOUR
        options = {"ha": "center", "fontsize": TINY_FONT_SIZE}
        sheet.text(left + IMAGE / 2, top + IMAGE + 0.03, words, color=colour, **options)
        height = f"{float(one.log_effective_volume_element):.1f}".replace("-", "\N{MINUS SIGN}")
        sheet.text(left + IMAGE / 2, top + IMAGE + 0.03 + 0.75 * LINE, height, **options)
