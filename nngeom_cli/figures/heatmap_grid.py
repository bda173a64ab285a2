"""Heatmaps of several quantities and layers on the same planes: a block of panels for each, on one colour scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from nngeom_cli.analysis.boundary import boundary_of
from nngeom_cli.analysis.degeneracy import (
    bottleneck_words,
    flat_words,
    is_prediction,
    largest_rank,
    layer_words,
    volume_rank,
)
from nngeom_cli.config.quantity import Quantity
from nngeom_cli.figures import heatmap
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.heatmap import Field
from nngeom_cli.figures.statistic_strip import Strip, draw_strips, strip_keys, strips_height
from nngeom_cli.figures.style import (
    CLASS_COLOURS,
    COLUMN_WIDTH,
    FONT_SIZE,
    LINE,
    LOOKS,
    SMALL_FONT_SIZE,
    TEXT_WIDTH,
    TINY_FONT_SIZE,
    Array,
    Look,
    wrapped,
)

__all__ = ["Block", "blocks_of", "draw_bar", "heatmaps", "tick"]

LEFT, RIGHT, GAP = 0.32, 0.7, 0.07  # inches: tick labels, colour bar, between panels
TICK_LABELS, MAX_PANEL, MAX_BAR, FLAT_HEIGHT = 0.16, 2.0, 2.5, 0.25  # inches
KEY_WIDTH = 1.75  # inches: the longest legend entry, beside shorter ones


@dataclass(frozen=True)
class Block:
    """All panels of one quantity of one layer: on one colour scale, beside one colour bar.

    Attributes:
        words: what stands in a panel in place of colours; empty where there are colours.
        layer: its name; empty where the quantity belongs to no layer, or there is only one.
        number: that of the layer; 0 where the quantity belongs to none.
    """

    quantity: Quantity
    fields: list[Field]
    norm: Normalize | None
    words: list[str]
    layer: str
    number: int

    @property
    def look(self) -> Look:
        """Its colours, scale and ticks."""
        return LOOKS[self.quantity.look]

    @property
    def drawn(self) -> list[Field]:
        """The fields that are drawn in colour."""
        return [field for field, words in zip(self.fields, self.words, strict=True) if not words]

    @property
    def title(self) -> str:
        """The quantity, and how many of its points are not drawn in colour."""
        missing = sum(int(field.missing.sum()) for field in self.drawn)
        unreliable = sum(int(field.unreliable.sum()) for field in self.drawn)
        total = sum(field.values.size for field in self.fields)
        counts = [f"{count} {name}" for count, name in ((missing, "grey"), (unreliable, "hatched")) if count]
        words = f"{self.quantity.title}, {self.layer}" if self.layer else self.quantity.title
        return words + (f"   ({', '.join(counts)}, of {total} points)" if counts else "")


def heatmaps(
    words: str,
    panels: Sequence[xr.Dataset],
    headings: list[str],
    *,
    columns: int,
    head_every_row: bool,
    quantities: Sequence[Quantity],
    strips: Mapping[tuple[str, int], Sequence[Strip]] | None = None,
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
        strips: what stands under the heatmaps of a variable and layer.
        note: a line above the title.
    """
    x, y = panels[0].x.values, panels[0].y.values
    blocks = [part for quantity in quantities for part in blocks_of(quantity, panels)]
    boundaries = [boundary_of(data) for data in panels]
    across = min(MAX_PANEL, (TEXT_WIDTH - LEFT - RIGHT - (columns - 1) * GAP) / columns)
    down = across * float(np.clip(np.ptp(y) / np.ptp(x), 0.3, 2.0)) if np.ptp(x) > 0 < np.ptp(y) else across
    span = columns * across + (columns - 1) * GAP
    width = max(COLUMN_WIDTH, LEFT + span + RIGHT)
    rows = -(-len(panels) // columns)
    last_drawn = max((place for place, part in enumerate(blocks) if part.drawn), default=-1)
    title = wrapped(words, width - 0.1)
    heading_size = SMALL_FONT_SIZE if across > heatmap.SMALL_PANEL else TINY_FONT_SIZE
    keys = legend_keys(blocks, panels[0], any(boundaries)) + (strip_keys(strips) if strips else [])
    keys_across = max(2, int(width / KEY_WIDTH))
    heading = LINE * (headings[0].count("\n") + 1)
    head = [heading if head_every_row or place == 0 else 0.0 for place in range(len(blocks))]
    grid = [rows * (down + above) + (rows - 1) * GAP for above in head]
    body = [inches if part.drawn else FLAT_HEIGHT for part, inches in zip(blocks, grid, strict=True)]
    below = [(strips or {}).get((part.quantity.name, part.number), ()) if part.drawn else () for part in blocks]
    labelled = [bool(below[place]) or place == last_drawn for place in range(len(blocks))]
    for place in range(len(blocks)):
        body[place] += labelled[place] * TICK_LABELS + strips_height(below[place], width - LEFT)
    top = LINE * (title.count("\n") + 1) + 0.1
    height = top + sum(body) + len(blocks) * (LINE + 0.12) + LINE * -(-len(keys) // keys_across) + 0.06

    sheet = Sheet.blank(width, height, note)
    sheet.text(0.05, 0.05, title, fontsize=FONT_SIZE)
    for position, part in enumerate(blocks):
        sheet.text(LEFT, top, part.title, fontsize=FONT_SIZE, fontweight="bold")
        top += LINE + 0.04
        if not part.drawn:
            heatmap.say_flat(sheet.axes(LEFT, top, span, FLAT_HEIGHT), part.words[0], span, FONT_SIZE)
        else:
            for place, data in enumerate(panels):
                row, column = divmod(place, columns)
                above = top + row * (down + head[position] + GAP) + head[position]
                axes = sheet.axes(LEFT + column * (across + GAP), above, across, down)
                if head[position]:
                    axes.set_title(headings[place], fontsize=heading_size)
                if part.words[place]:
                    heatmap.say_flat(axes, part.words[place], across, TINY_FONT_SIZE)
                else:
                    draw_panel(axes, part, place, data, boundaries[place], across, with_images=position == 0)
                    tick(axes, left=column == 0, bottom=labelled[position] and place + columns >= len(panels))
            bar_height = min(grid[position] - head[position], MAX_BAR)
            draw_bar(sheet, part, LEFT + span + 0.06, top + head[position], bar_height)
            if below[position]:
                draw_strips(sheet, below[position], LEFT, top + grid[position] + TICK_LABELS, width - LEFT)
        top += body[position] + 0.08
    if keys:
        sheet.legend(keys, keys_across)
    return sheet


def blocks_of(quantity: Quantity, panels: Sequence[xr.Dataset]) -> list[Block]:
    """The panels of a quantity on one scale; a block for each layer if it has layers."""
    if quantity.name not in panels[0]:
        return []
    if "layer" not in panels[0][quantity.name].dims:
        return [block(quantity, panels, "")]
    about, layers = panels[0].attrs, panels[0].layer.values.tolist()
    names = [layer_words(about, layer) for layer in layers] if len(layers) > 1 else [""]
    return [
        block(quantity, [data.sel(layer=layer) for data in panels], name)
        for layer, name in zip(layers, names, strict=True)
    ]


def block(quantity: Quantity, panels: Sequence[xr.Dataset], layer: str) -> Block:
    """The panels of a quantity, all of one layer."""
    fields, error = [], quantity.error
    for data in panels:
        values = data[quantity.name].values
        values = values % len(CLASS_COLOURS) if quantity.look == "classes" else values
        errors = quantity.factor * data[error].values if error is not None and error in data else None
        fields.append(Field(LOOKS[quantity.look].drawn(quantity.factor * values), errors))
    number = int(panels[0].layer) if panels[0].layer.ndim == 0 else 0
    about = panels[0].attrs
    if quantity.name == "log_volume_element" and is_prediction(about, number) and largest_rank(about, number) < 2:
        quantity = replace(quantity, label="log V, nonzero part\n(natural log)")
    norm = LOOKS[quantity.look].norm(np.stack([field.shown for field in fields]))
    judged = [pooled(fields)] * len(fields) if norm is None else fields  # without colours, one sentence for all panels
    words = [words_in_place(quantity, field, data, norm) for field, data in zip(judged, panels, strict=True)]
    return Block(quantity, fields, norm, words, layer, number)


def pooled(fields: Sequence[Field]) -> Field:
    """The values and errors of several fields of one quantity, as one field."""
    errors = [field.errors for field in fields if field.errors is not None]
    return Field(np.stack([field.values for field in fields]), np.stack(errors) if errors else None)


def words_in_place(quantity: Quantity, field: Field, data: xr.Dataset, norm: Normalize | None) -> str:
    """What a panel says if its values are all 0 or all missing for a known reason; empty otherwise."""
    if quantity.name == "ricci_scalar" and field.zero:
        return flat_words(data.attrs, int(data.layer))
    if "layer" in data[quantity.name].coords and field.missing.all():
        layer = int(data.layer)
        return bottleneck_words(data.attrs, layer, volume_rank(data.attrs, quantity.name, layer))
    if norm is None and (field.shown == 0).any():
        return f"R = 0 at every point where it {'has a reliable digit' if field.unreliable.any() else 'is defined'}"
    return ""


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
    heatmap.draw_field(axes, part.fields[place], data.x.values, data.y.values, part.norm, part.look.colours)
    heatmap.draw_boundary(axes, boundary, inches)
    if "input" in data:
        heatmap.draw_points(axes, data.input.values, data.label.values, inches)
    if "corner" in data:
        heatmap.draw_corners(axes, data, with_images=with_images)


def tick(axes: Axes, *, left: bool, bottom: bool) -> None:
    """The same ticks on every panel; labels at the left and at the bottom of the sheet only."""
    for axis, labelled in ((axes.xaxis, bottom), (axes.yaxis, left)):
        low, high = axis.get_view_interval()
        step = 10.0 ** np.floor(np.log10((high - low) / 2))
        reach = step * np.floor(min(abs(low), abs(high)) / step) if low < 0 < high else 0.0
        axis.set_ticks([-reach, 0.0, reach] if reach else np.round([low, high], 2).tolist())
        axis.set_tick_params(labelleft=labelled, labelbottom=labelled)


def draw_bar(sheet: Sheet, part: Block, left: float, top: float, height: float) -> None:
    """The colour bar of a block, with arrows where values lie beyond its ends."""
    if part.norm is None or part.quantity.look == "classes":
        return
    values = np.stack([field.shown for field in part.drawn])
    low, high = part.norm(np.nanmin(values)), part.norm(np.nanmax(values))
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    axes = sheet.axes(left, top, 0.08, height)
    mappable = ScalarMappable(norm=part.norm, cmap=part.look.colours)
    bar = sheet.figure.colorbar(mappable, cax=axes, extend=extend[low < 0, high > 1], extendfrac=0.04)
    bar.set_label(part.quantity.label, fontsize=SMALL_FONT_SIZE)
    if part.look.ticks is not None:
        places, labels = part.look.ticks(part.norm)
        bar.set_ticks(places, labels=labels)
        bar.minorticks_off()


def legend_keys(blocks: Sequence[Block], data: xr.Dataset, boundary: bool) -> list[Artist]:
    """Legend entries of what is on the sheet."""
    fields = [field for part in blocks for field in part.drawn]
    keys: list[Artist] = [heatmap.boundary_key()] if boundary else []
    for part in blocks:
        keys += heatmap.class_keys(part.fields) if part.quantity.look == "classes" else []
    keys += heatmap.point_keys(data.label.values) if "input" in data else []
    keys += [heatmap.missing_key()] if any(field.missing.any() for field in fields) else []
    keys += [heatmap.unreliable_key()] if any(field.unreliable.any() for field in fields) else []
    return keys
