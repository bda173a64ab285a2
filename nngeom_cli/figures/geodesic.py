"""Shortest and straight paths between two inputs: their lengths through training, and what lies on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.lines import Line2D

from nngeom_cli.analysis.geodesic import geodesic_statistics
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.image import draw_image
from nngeom_cli.figures.naming import names_of
from nngeom_cli.figures.path import class_colour, coloured_curve
from nngeom_cli.figures.path_words import pair_words
from nngeom_cli.figures.selection import counted, describe, final_scores, networks_shown, representative
from nngeom_cli.figures.statistic_strip import draw_strip, strip_keys
from nngeom_cli.figures.strips import Strip, strip_of, strips_data
from nngeom_cli.figures.style import (
    CONTROL_COLOUR,
    FONT_SIZE,
    LINE,
    SMALL_FONT_SIZE,
    TEXT_WIDTH,
    control_colours,
    wrapped,
)
from nngeom_cli.store.run import Run

__all__ = ["geodesics_of"]

LEFT, GAP, RIGHT = 0.35, 0.38, 0.08  # inches
STRIP, PICTURE, DOWN, BELOW = 1.28, 1.75, 0.95, 0.36
IMAGES = 5  # along each path
TITLES = {
    "geodesic_stretch": "log of length over distance in input space (nats)",
    "straight_excess": "excess length of the straight path (0: it is shortest)",
    "geodesic_share": "share of the length before the prediction changes",
}
WITHIN = {"within": "within the first input's class"}
STRAIGHT = {"straight": "of the straight path"}


def geodesics_of(run: Run, layer: int, note: str | None = None) -> Sheet:
    """A row for each pair: three statistics through training, and the paths, as images or in the plane of inputs."""
    shown, left_out = networks_shown(run)
    seed = representative(run)
    one = shown.sel(layer=layer)
    numbers = geodesic_statistics(shown.sel(layer=[layer]), boundaries=["final", "within"]).isel(layer=0)
    drawable = "image_shape" in shown.attrs or shown.sizes["feature"] == 2
    across = STRIP if drawable else (TEXT_WIDTH - LEFT - RIGHT - 2 * GAP) / 3
    words = (
        f"{describe(run.geometry, layer)}; {counted(shown.sizes['replicate'])}; shortest paths in the layer's metric"
    )
    words += f" beside straight ones; paths of seed {seed} ({final_scores(run)[seed]})" if drawable else ""
    if lost := int((one.converged == 0).sum()):
        words += f"; {lost} of {one.converged.size} shortest paths were not found to the end"
    title = wrapped(words + left_out, TEXT_WIDTH - 0.1)
    pairs = range(shown.sizes["pair"])
    heads = {name: wrapped(text, across, SMALL_FONT_SIZE) for name, text in TITLES.items()}
    head = LINE * (1 + max(text.count("\n") for text in heads.values()))
    strips = {pair: strips_of(numbers.isel(pair=pair)) for pair in pairs}
    stages = one.isel(epoch=sorted({0, one.sizes["epoch"] - 1}))
    pictured = stages.sel(replicate=[seed]) if "image_shape" in shown.attrs else stages.isel(epoch=[-1])
    keys = keys_of(strips[0], pictured, drawable=drawable)
    columns = 4
    top = LINE * (title.count("\n") + 1) + 0.12
    row = LINE + 0.06 + head + DOWN + BELOW
    sheet = Sheet.blank(TEXT_WIDTH, top + len(pairs) * row + LINE * -(-len(keys) // columns) + 0.06, note)
    sheet.text(0.05, 0.05, title, fontsize=FONT_SIZE)
    for pair in pairs:
        sheet.text(0.05, top, pair_words(one.isel(pair=pair), names_of(run)), fontsize=FONT_SIZE, fontweight="bold")
        below = top + LINE + 0.06
        for place, strip in enumerate(strips[pair]):
            left = LEFT + place * (across + GAP)
            sheet.text(left, below, heads[strip.name], fontsize=SMALL_FONT_SIZE)
            draw_strip(sheet.axes(left, below + head, across, DOWN), strip, across)
        if drawable:
            left = TEXT_WIDTH - RIGHT - PICTURE
            draw = draw_images if "image_shape" in shown.attrs else draw_plane
            draw(sheet, one.isel(pair=pair), seed, left, below)
        top += row
    sheet.legend(keys, columns)
    pieces = [strips_data({("", layer): each}).expand_dims(pair=[pair]) for pair, each in strips.items()]
    drawn = xr.concat(pieces, "pair").isel(layer=0, drop=True)
    return replace(sheet, data=xr.merge([shown.sel(layer=[layer]), drawn], compat="override"))


def strips_of(numbers: xr.Dataset) -> list[Strip]:
    """The statistics of one pair through training."""
    strips = [strip_of(numbers, name, TITLES[name], WITHIN, []) for name in ("geodesic_stretch", "straight_excess")]
    share = strip_of(numbers, "geodesic_share", TITLES["geodesic_share"], {}, [])
    straight = {"straight": numbers.straight_share.mean("replicate")}
    return [*strips, replace(share, controls=straight, control_words=STRAIGHT)]


def keys_of(strips: Sequence[Strip], data: xr.Dataset, *, drawable: bool) -> list[Artist]:
    """Legend entries of what is on the sheet."""
    every = dict.fromkeys(key.get_label() for strip in strips for key in strip_keys({("", 0): [strip]})[:-1])
    found = {key.get_label(): key for strip in strips for key in strip_keys({("", 0): [strip]})[:-1]}
    keys = [found[label] for label in every]
    if drawable:
        classes = np.unique(np.concatenate([data.geodesic_class.values.ravel(), data.straight_class.values.ravel()]))
        keys += [
            Line2D([], [], color=class_colour(label), linewidth=1.6, label=f"predicted class {label:g}")
            for label in classes
        ]
    return keys


def draw_images(sheet: Sheet, data: xr.Dataset, seed: int, left: float, top: float) -> None:
    """Images at equal steps of the straight path, and of the shortest before and after training."""
    network = data.sel(replicate=seed)
    steps = network.sizes["step"] - 1
    places = np.linspace(0, steps, IMAGES).round().astype(int)
    start, end = network.endpoint.values
    limits = (network.endpoint.values.min(), network.endpoint.values.max())
    straight = start + (places / steps)[:, None] * (end - start)
    last = network.isel(epoch=-1)
    rows = [("straight", straight, last.straight_class.values[places])]
    stages = {"untrained": network.isel(epoch=0), "trained": last}
    stages = stages if len(network.epoch) > 1 and network.epoch[0] == 0 else {"shortest": last}
    rows += [
        (
            f"shortest, {words}" if len(stages) > 1 else words,
            stage.geodesic_point.values[places],
            stage.geodesic_class.values[places],
        )
        for words, stage in stages.items()
    ]
    side = (PICTURE - 0.04 * (IMAGES - 1)) / IMAGES
    for words, images, classes in rows:
        sheet.text(left, top, words, fontsize=SMALL_FONT_SIZE)
        for place, (image, label) in enumerate(zip(images, classes, strict=True)):
            axes = sheet.axes(left + place * (side + 0.04), top + LINE, side, side, xticks=[], yticks=[])
            if np.isfinite(image).all():
                draw_image(axes, image, data.attrs["image_shape"], *limits)
            for spine in axes.spines.values():
                spine.set(color=class_colour(label), linewidth=1.4)
        top += side + LINE + 0.03


def draw_plane(sheet: Sheet, data: xr.Dataset, seed: int, left: float, top: float) -> None:
    """All networks' shortest paths in the plane of inputs, after and before training, and the straight one."""
    axes = sheet.axes(left + 0.22, top + LINE, PICTURE - 0.22, DOWN + 0.12)
    sheet.text(left + 0.22, top, "paths in the plane of inputs", fontsize=SMALL_FONT_SIZE)
    start, end = data.endpoint.values
    axes.plot(*np.stack([start, end], axis=1), color=CONTROL_COLOUR, linewidth=0.7, linestyle="--", zorder=1)
    last, seeds = data.isel(epoch=-1), data.replicate.values.tolist()
    if len(data.epoch) > 1 and data.epoch[0] == 0:
        for other, colour in zip(seeds, control_colours(len(seeds)), strict=True):
            axes.plot(*data.isel(epoch=0).geodesic_point.sel(replicate=other).values.T, color=colour, linewidth=0.4)
    for other in seeds:
        network = last.sel(replicate=other)
        x, y = network.geodesic_point.values.T
        curve = coloured_curve(x, y, network.geodesic_class.values, 1.6 if other == seed else 0.5)
        curve.set_zorder(3)
        axes.add_collection(curve, autolim=True)
    axes.plot(*np.stack([start, end], axis=1), color="black", linestyle="none", marker="o", markersize=2.5, zorder=4)
    axes.autoscale_view()
    axes.tick_params(labelsize=SMALL_FONT_SIZE)
