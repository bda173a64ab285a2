"""Heatmaps of several quantities and layers on the same planes: a block of panels for each, on one colour scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable

from nngeom_cli.analysis.boundary import boundary_of
from nngeom_cli.config.quantity import Quantity
from nngeom_cli.figures import heatmap
from nngeom_cli.figures.blocks import Block, blocks_of
from nngeom_cli.figures.canvas import Sheet, fitting
from nngeom_cli.figures.naming import Names
from nngeom_cli.figures.scales import minor_ticks
from nngeom_cli.figures.statistic_strip import draw_strips, strip_keys, strips_height
from nngeom_cli.figures.strips import Strip
from nngeom_cli.figures.style import (
    COLUMN_WIDTH,
    FONT_SIZE,
    LINE,
    NOTE_COLOUR,
    SMALL_FONT_SIZE,
    TEXT_WIDTH,
    TINY_FONT_SIZE,
    Array,
    text_width,
    wrapped,
)

__all__ = ["draw_bar", "heatmaps", "tick"]

LEFT, RIGHT, GAP = 0.42, 0.7, 0.07  # inches: tick labels, colour bar, between panels
TICK_LABELS, AXIS_LABEL, MAX_PANEL, MAX_BAR, FLAT_HEIGHT = 0.16, 0.11, 2.0, 2.5, 0.25  # inches
PAGE, BESIDES, STRIPS, LEAST_PANEL = 10.5, 0.7, 1.5, 0.8  # inches: of a sheet, a block's words, strips, a panel


def heatmaps(
    words: str,
    panels: Sequence[xr.Dataset],
    headings: list[str],
    *,
    columns: int,
    head_every_row: bool,
    quantities: Sequence[Quantity],
    names: Names,
    finer: Sequence[xr.Dataset | None] | None = None,
    others: Sequence[xr.Dataset] = (),
    strips: Mapping[tuple[str, int], Sequence[Strip]] | None = None,
    width: float = TEXT_WIDTH,
    note: str | None = None,
) -> Sheet:
    """A block of heatmaps for each quantity and layer, the same panels in each.

    Args:
        words: the title.
        panels: datasets with dimensions `y` and `x`, and `layer` where a quantity has one; constants of
            the run may have others.
        headings: what is written above each panel.
        columns: panels side by side.
        head_every_row: whether the headings stand above every panel, or above those of the first block only.
        quantities: what to draw, where it was measured.
        names: of axes and classes.
        finer: what was measured for display of each panel, or None.
        others: panels of another figure that has the same scales.
        strips: what stands under the last heatmaps of a variable and layer.
        width: of the sheet, in inches; it is narrower where there are few panels.
        note: a line above the title.
    """
    x, y = panels[0].x.values, panels[0].y.values
    blocks = [part for quantity in quantities for part in blocks_of(quantity, panels, finer, others)]
    blocks = [part for part in blocks if part.drawn or not part.look.contour]  # a sentence is said once
    best = (
        panels if finer is None else [data if fine is None else fine for data, fine in zip(panels, finer, strict=True)]
    )
    boundaries = [boundary_of(data) for data in best]
    across = min(MAX_PANEL, (width - LEFT - RIGHT - (columns - 1) * GAP) / columns)
    shape = float(np.clip(np.ptp(y) / np.ptp(x), 0.3, 2.0)) if np.ptp(x) > 0 < np.ptp(y) else 1.0
    rows = -(-len(panels) // columns)
    height = PAGE - BESIDES * len(blocks) - STRIPS * len(strips or {})
    across = min(across, max(LEAST_PANEL, height / (rows * len(blocks) * shape)))
    down = across * shape
    span = columns * across + (columns - 1) * GAP
    width = max(min(width, COLUMN_WIDTH), LEFT + span + RIGHT)
    last_drawn = max((place for place, part in enumerate(blocks) if part.drawn), default=-1)
    title = wrapped(words, width - 0.1)
    heading_size = SMALL_FONT_SIZE if across > heatmap.SMALL_PANEL else TINY_FONT_SIZE
    keys = legend_keys(blocks, panels[0], names, any(boundaries)) + (strip_keys(strips) if strips else [])
    keys_across = fitting(keys, width)
    headings = [in_lines(text, across, heading_size) for text in headings]
    above = [headings if head_every_row or place == 0 else [""] * len(panels) for place in range(len(blocks))]
    above = [
        ["\n".join(filter(None, pair)) for pair in zip(heads, part.notes, strict=True)] if part.notes else heads
        for heads, part in zip(above, blocks, strict=True)
    ]
    head = [LINE * max(text.count("\n") + bool(text) for text in heads) for heads in above]
    grid = [rows * (down + room) + (rows - 1) * GAP for room in head]
    body = [inches if part.drawn else FLAT_HEIGHT for part, inches in zip(blocks, grid, strict=True)]
    below = [beneath(place, blocks, strips or {}) for place in range(len(blocks))]
    labelled = [bool(below[place]) or place == last_drawn for place in range(len(blocks))]
    warnings = [wrapped(part.warning, width - LEFT, SMALL_FONT_SIZE) if part.warning else "" for part in blocks]
    for place in range(len(blocks)):
        body[place] += labelled[place] * (TICK_LABELS + AXIS_LABEL) + strips_height(below[place], width - LEFT)
        body[place] += LINE * (warnings[place].count("\n") + 1) if warnings[place] else 0.0
    top = LINE * (title.count("\n") + 1) + 0.1
    height = top + sum(body) + len(blocks) * (LINE + 0.12) + LINE * -(-len(keys) // max(1, keys_across)) + 0.06

    sheet = Sheet.blank(width, height, note)
    sheet.text(0.05, 0.05, title, fontsize=FONT_SIZE)
    for position, part in enumerate(blocks):
        sheet.text(LEFT, top, part.title, fontsize=FONT_SIZE, fontweight="bold")
        end = top + body[position] + LINE + 0.12
        top += LINE + 0.04
        if warnings[position]:
            sheet.text(LEFT, top - 0.02, warnings[position], fontsize=SMALL_FONT_SIZE, color=NOTE_COLOUR)
            top += LINE * (warnings[position].count("\n") + 1)
        if not part.drawn:
            heatmap.say_flat(sheet.axes(LEFT, top, span, FLAT_HEIGHT), part.words[0], span, FONT_SIZE)
            top = end
            continue
        for place, data in enumerate(panels):
            row, column = divmod(place, columns)
            start = top + row * (down + head[position] + GAP) + head[position]
            axes = sheet.axes(LEFT + column * (across + GAP), start, across, down)
            if head[position]:
                axes.set_title(above[position][place], fontsize=heading_size)
            if part.words[place]:
                heatmap.say_flat(axes, part.words[place], across, TINY_FONT_SIZE)
                continue
            draw_panel(axes, part, place, data, boundaries[place], across, with_images=position == 0)
            lowest = labelled[position] and place + columns >= len(panels)
            tick(axes, names, left=column == 0, bottom=lowest)
        draw_bar(sheet, part, LEFT + span + 0.06, top + head[position], min(grid[position] - head[position], MAX_BAR))
        if below[position]:
            start = top + grid[position] + TICK_LABELS + AXIS_LABEL
            draw_strips(sheet, below[position], LEFT, start, width - LEFT)
        top = end
    if keys:
        sheet.legend(keys, keys_across)
    return sheet


def in_lines(heading: str, inches: float, font_size: float) -> str:
    """A heading in the width of a panel: its parts one below another where they do not fit beside each other."""
    lines = [heading] if text_width(heading, font_size) <= inches else heading.split(", ")
    return "\n".join(wrapped(line, inches, font_size) for line in lines)


def beneath(place: int, blocks: Sequence[Block], strips: Mapping[tuple[str, int], Sequence[Strip]]) -> Sequence[Strip]:
    """The strips under a block: those of its variable and layer, if no later block has them."""
    key = (blocks[place].quantity.name, blocks[place].number)
    later = any((part.quantity.name, part.number) == key and part.drawn for part in blocks[place + 1 :])
    return strips.get(key, ()) if blocks[place].drawn and not later else ()


def draw_panel(
    axes: Axes,
    part: Block,
    place: int,
    data: xr.Dataset,
    boundary: Sequence[Array],
    inches: float,
    *,
    with_images: bool,
) -> None:
    """One heatmap and all that is drawn on it."""
    source = part.sources[place]
    heatmap.draw_field(axes, part.fields[place], source.x.values, source.y.values, part.norm, part.look.colours)
    heatmap.draw_zero(axes, part.contours[place])
    heatmap.draw_boundary(axes, boundary, inches)
    if not boundary:
        heatmap.say_no_boundary(axes)
    if "input" in data:
        heatmap.draw_points(axes, data.input.values, data.label.values, inches)
    if "corner" in data:
        heatmap.draw_corners(axes, data, with_images=with_images)


def tick(axes: Axes, names: Names, *, left: bool, bottom: bool) -> None:
    """The same ticks on every panel; labels at the left and at the bottom of the sheet only."""
    for axis, labelled, name in ((axes.xaxis, bottom, names.axes[0]), (axes.yaxis, left, names.axes[1])):
        low, high = axis.get_view_interval()
        step = 10.0 ** np.floor(np.log10((high - low) / 2))
        reach = step * np.floor(0.95 * min(abs(low), abs(high)) / step) if low < 0 < high else 0.0
        axis.set_ticks([-reach, 0.0, reach] if reach else np.round([low, high], 2).tolist())
        axis.set_tick_params(labelleft=labelled, labelbottom=labelled)
        if labelled:
            axis.set_label_text(name, fontsize=SMALL_FONT_SIZE)
            axis.labelpad = 0.5


def draw_bar(sheet: Sheet, part: Block, left: float, top: float, height: float) -> None:
    """The colour bar of a block, with arrows where values lie beyond its ends."""
    if part.norm is None or part.quantity.look == "classes":
        return
    values = np.concatenate([field.shown.ravel() for field in part.drawn])
    low, high = part.norm(np.nanmin(values)), part.norm(np.nanmax(values))
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    axes = sheet.axes(left, top, 0.08, height)
    mappable = ScalarMappable(norm=part.norm, cmap=part.look.colours)
    bar = sheet.figure.colorbar(mappable, cax=axes, extend=extend[low < 0, high > 1], extendfrac=0.04)
    if max(text_width(line, SMALL_FONT_SIZE) for line in part.quantity.label.split("\n")) < 1.15 * height:
        bar.set_label(part.quantity.label, fontsize=SMALL_FONT_SIZE)
    if part.look.ticks is not None:
        places, labels = part.look.ticks(part.norm)
        bar.set_ticks(places, labels=labels)
        bar.set_ticks(minor_ticks(part.norm), minor=True)
        axes.tick_params(which="minor", length=1.2, width=0.4)


def legend_keys(blocks: Sequence[Block], data: xr.Dataset, names: Names, boundary: bool) -> list[Artist]:
    """Legend entries of what is on the sheet."""
    fields = [field for part in blocks for field in part.drawn]
    keys: list[Artist] = [heatmap.boundary_key()] if boundary else []
    for part in blocks:
        keys += heatmap.class_keys(part.fields, names) if part.quantity.look == "classes" else []
    keys += heatmap.point_keys(data.label.values, names) if "input" in data else []
    keys += [heatmap.missing_key()] if any(field.missing.any() for field in fields) else []
    keys += [heatmap.unreliable_key()] if any(field.unreliable.any() for field in fields) else []
    return keys
