"""A picture of each checkpoint: volume and curvature on planes, or the curves along paths, on scales common to a run.

The figure is drawn once; for each checkpoint only what changes is drawn on it, which takes a hundredth of a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from PIL import Image, PngImagePlugin

from nngeom_cli.analysis.boundary import boundary_of
from nngeom_cli.errors import printable
from nngeom_cli.figures import heatmap
from nngeom_cli.figures.blocks import Block, blocks_of, field_of
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.heatmap_grid import draw_bar, tick
from nngeom_cli.figures.input_plane import stages_and_replicates
from nngeom_cli.figures.looks import GRID_HEATMAPS, in_convention
from nngeom_cli.figures.naming import Names, names_of
from nngeom_cli.figures.path import coloured_curve, value_range
from nngeom_cli.figures.selection import describe, figures_config, networks_shown, representative, shown_epochs
from nngeom_cli.figures.style import (
    BOUNDARY_COLOUR,
    FONT_SIZE,
    LINE,
    MISSING_COLOUR,
    REPLICATE_COLOUR,
    SMALL_FONT_SIZE,
    UNRELIABLE_COLOUR,
    wrapped,
)
from nngeom_cli.store.layout import picture_name
from nngeom_cli.store.run import Run
from nngeom_cli.system.atomic import written_whole
from nngeom_cli.system.held_folder import room_for

__all__ = ["DRAWN_KINDS", "Pictures", "draw_checkpoints", "write_picture"]

DRAWN_KINDS = ("grid", "plane", "path")
DPI = 120
SIDE, LEFT, BETWEEN, RIGHT, HEAD, FOOT = 1.7, 0.45, 0.85, 0.75, 0.2, 0.32  # inches
ACROSS, DOWN, GAP = 2.0, 1.4, 0.15  # inches: a panel of curves, and what lies between two
MOST_ROWS = 6  # layers and planes
Update = Callable[[xr.Dataset], list[tuple[Axes, Artist]]]


class Pictures:
    """Draws checkpoints of one replicate.

    Args:
        geometry: at one checkpoint or several, of all replicates: the scales are those of these values.
        seed: of the replicate that is shown.
        convention: `figures.curvature_convention`.
        names: of axes and classes.
        others: panels that share the scales, (stages, replicates) of each layer; None takes `geometry`.
    """

    def __init__(
        self,
        geometry: xr.Dataset,
        seed: int,
        convention: str,
        names: Names,
        others: Callable[[int], Sequence[xr.Dataset]] | None = None,
    ) -> None:
        self.seed, self.names = seed, names
        about = f"{describe(geometry)}; replicate with seed {seed}".replace("network; ", "network, ")
        self.updates: list[Update] = []
        if geometry.attrs["kind"] == "path":
            self.sheet = self._curves(geometry, about)
        else:
            self.sheet = self._planes(geometry, about, convention, others)
        self.canvas = canvas_of(self.sheet)
        self.canvas.draw()
        self.blank = self.canvas.copy_from_bbox(self.sheet.figure.bbox)

    def draw(self, geometry: xr.Dataset, state: str) -> Image.Image:
        """The picture of a checkpoint.

        Args:
            geometry: of all replicates at one epoch.
            state: what stands at its head, such as `epoch 200, mean loss 0.1`.
        """
        self.canvas.restore_region(self.blank)
        renderer = self.canvas.get_renderer()
        words = self.sheet.figure.text(0.05 / self.sheet.width, 1 - 0.05 / self.sheet.height, state, va="top")
        words.set(fontsize=FONT_SIZE, fontweight="bold")
        words.draw(renderer)
        words.remove()
        if "x" in geometry:
            geometry = geometry.sel(replicate=self.seed)
        for update in self.updates:
            for axes, artist in update(geometry):
                axes.draw_artist(artist)
        return Image.fromarray(np.asarray(self.canvas.buffer_rgba())).convert("RGB")

    def _blank(self, width: float, height: float, about: str) -> tuple[Sheet, float]:
        title = wrapped(about, width - 0.1, SMALL_FONT_SIZE)
        top = 0.08 + LINE * (title.count("\n") + 2)
        sheet = Sheet.blank(width, top + height)
        sheet.figure.set_dpi(DPI)
        sheet.text(0.05, 0.06 + LINE, title, fontsize=SMALL_FONT_SIZE)
        return sheet, top

    def _planes(
        self,
        geometry: xr.Dataset,
        about: str,
        convention: str,
        others: Callable[[int], Sequence[xr.Dataset]] | None,
    ) -> Sheet:
        """Rows of heatmaps: a layer, or a layer on a plane, each."""
        rows: list[dict[str, Any]] = [{"layer": layer} for layer in geometry.layer.values.tolist()]
        if "plane" in geometry.sizes:
            rows = [row | {"plane": plane} for plane in range(geometry.sizes["plane"]) for row in rows]
        rows = rows[:MOST_ROWS]
        quantities = in_convention(GRID_HEATMAPS, convention, geometry, magnitudes=False)
        width = LEFT + len(quantities) * SIDE + (len(quantities) - 1) * BETWEEN + RIGHT
        sheet, top = self._blank(width, len(rows) * (HEAD + SIDE + FOOT), about)
        for place, row in enumerate(rows):
            start = top + place * (HEAD + SIDE + FOOT) + HEAD
            panels = [part_of(geometry.sel(epoch=epoch, replicate=self.seed), row) for epoch in geometry.epoch.values]
            more = [data.isel(layer=0) for data in others(row["layer"])] if others and "plane" not in row else []
            scaled = more or panels
            for column, quantity in enumerate(quantities):
                (block,) = blocks_of(quantity, scaled[:1], others=scaled[1:])
                left = LEFT + column * (SIDE + BETWEEN)
                axes = sheet.axes(left, start, SIDE, SIDE)
                title = quantity.title.replace(" minus its mean (nats)", "")
                more_words = "".join(f", {key} {value + (key == 'plane')}" for key, value in row.items())
                axes.set_title(f"{title}{more_words * (len(rows) > 1)}", fontsize=FONT_SIZE)
                self._panel(sheet, axes, block, panels[-1], row, left, start, column)
        return sheet

    def _panel(
        self,
        sheet: Sheet,
        axes: Axes,
        block: Block,
        data: xr.Dataset,
        row: dict[str, Any],
        left: float,
        top: float,
        column: int,
    ) -> None:
        """A heatmap whose values are drawn later."""
        if block.norm is None:
            heatmap.say_flat(axes, block.words[0] or "no value", SIDE, SMALL_FONT_SIZE)
            return
        x, y = data.x.values, data.y.values
        heatmap.draw_field(axes, replace(block.fields[0], errors=None), x, y, block.norm, block.look.colours)
        tick(axes, self.names, left=column == 0, bottom=True)
        draw_bar(sheet, block, left + SIDE + 0.06, top, SIDE)
        if "input" in data:
            heatmap.draw_points(axes, data.input.values, data.label.values, SIDE)
        if "corner" in data:
            heatmap.draw_corners(axes, data, with_images=False)
        image, points = axes.images[0], [*axes.collections]
        for patch in [*axes.patches]:
            patch.remove()
        line = LineCollection([], colors=BOUNDARY_COLOUR, linewidths=1.0, path_effects=heatmap.casing(1.0))
        axes.add_collection(line, autolim=False)
        changing = [image, line, *points, *axes.spines.values()]
        for artist in changing:
            artist.set_animated(True)
        norm, look, quantity = block.norm, block.look, block.quantity

        def update(geometry: xr.Dataset) -> list[tuple[Axes, Artist]]:
            one = part_of(geometry, row)
            field = field_of(quantity, one)
            colours = look.colours(norm(np.nan_to_num(field.shown)))
            colours[field.missing] = to_rgba(MISSING_COLOUR)
            colours[field.unreliable] = to_rgba(UNRELIABLE_COLOUR)
            image.set_data((255 * colours).round().astype(np.uint8))
            line.set_segments(boundary_of(one))
            return [(axes, artist) for artist in changing]

        self.updates.append(update)

    def _curves(self, geometry: xr.Dataset, about: str) -> Sheet:
        """A panel for each pair: the shown replicate in the colours of its predictions, the others thin."""
        layer, pairs = int(geometry.layer[0]), min(geometry.sizes["pair"], 2 * MOST_ROWS)
        columns = min(3, pairs)
        rows = -(-pairs // columns)
        width = LEFT + 0.15 + columns * (ACROSS + GAP)
        sheet, top = self._blank(max(width, 3.4), rows * (DOWN + HEAD) + (rows - 1) * GAP + FOOT, about)
        values = geometry.log_effective_volume_element.sel(layer=layer)
        limits, steps = value_range(values.values), int(geometry.attrs["steps"])
        for pair in range(pairs):
            row, column = divmod(pair, columns)
            axes = sheet.axes(
                LEFT + 0.1 + column * (ACROSS + GAP), top + HEAD + row * (DOWN + HEAD + GAP), ACROSS, DOWN
            )
            axes.set(xlim=(0, 1), ylim=limits, xticks=[0, 0.5, 1], xticklabels=["0", "0.5", "1"])
            axes.tick_params(labelleft=column == 0, labelbottom=pair + columns >= pairs)
            first, second = (self.names.of_class(label) for label in geometry.endpoint_class.values[pair])
            axes.set_title(f"{first} to {second}", fontsize=FONT_SIZE)
            if column == 0:
                axes.set_ylabel(f"log V_eff (top {geometry.attrs['top_k']})", fontsize=SMALL_FONT_SIZE)
            if pair + columns >= pairs:
                axes.set_xlabel("fraction of the way", fontsize=SMALL_FONT_SIZE)
            self.updates.append(self._curve(axes, layer, pair, steps))
        return sheet

    def _curve(self, axes: Axes, layer: int, pair: int, steps: int) -> Update:
        """Draws the curves of a pair later."""
        thin = LineCollection([], colors=REPLICATE_COLOUR, linewidths=0.5, animated=True)
        thick = LineCollection([], linewidths=1.6, capstyle="round", animated=True)
        for lines in (thin, thick):
            axes.add_collection(lines, autolim=False)

        def update(geometry: xr.Dataset) -> list[tuple[Axes, Artist]]:
            data = geometry.sel(layer=layer).isel(pair=pair)
            t, heights = data.step.values / steps, data.log_effective_volume_element
            every = heights.transpose("replicate", "step").values
            thin.set_segments([np.stack([t, values], 1) for values in every if np.isfinite(values).all()])
            one = data.sel(replicate=self.seed)
            shown = coloured_curve(t, one.log_effective_volume_element.values, one.predicted_class.values, 1.6)
            thick.set_segments(shown.get_segments())
            thick.set_color(shown.get_colors())
            return [(axes, thin), (axes, thick)]

        return update


def canvas_of(sheet: Sheet) -> Any:
    """What pictures are drawn on; matplotlib gives no types for it."""
    return FigureCanvasAgg(sheet.figure)


def part_of(geometry: xr.Dataset, row: dict[str, Any]) -> xr.Dataset:
    """A layer, on a plane where there are some."""
    one: xr.Dataset = geometry.sel(layer=row["layer"])
    return one.isel(plane=row["plane"]) if "plane" in row else one


def draw_checkpoints(run: Run, target: Path, about: dict[str, str], every: Iterable[xr.Dataset]) -> Iterator[Path]:
    """Writes the picture of each checkpoint, all on the scales of the run's other figures.

    Args:
        run: what is drawn.
        target: the folder of its figures.
        about: for the metadata of each picture.
        every: the geometry at each checkpoint.
    """
    shown, seed = networks_shown(run)[0], representative(run)
    settings, kind = figures_config(run), run.geometry.attrs["kind"]

    def others(layer: int) -> list[xr.Dataset]:
        stages, replicates = stages_and_replicates(shown.sel(layer=[layer]), seed, shown_epochs(run))
        return [*stages, *replicates]

    pictures = Pictures(shown, seed, settings.curvature_convention, names_of(run), others if kind == "grid" else None)
    losses = run.history[run.history.replicate == seed].set_index("epoch").loss
    for geometry in every:
        epoch = int(geometry.epoch)
        state = f"epoch {epoch}" + (f", loss {float(losses[epoch]):.3g}" if epoch in losses.index else "")
        yield write_picture(pictures.draw(geometry, state), target, epoch, about)


def write_picture(picture: Image.Image, target: Path, epoch: int, about: dict[str, str]) -> Path:
    """Writes the picture of a checkpoint; the same picture gives the same bytes."""
    entries = PngImagePlugin.PngInfo()
    for key, text in about.items():
        entries.add_itxt(key, printable(text))
    path = target / picture_name(epoch)
    room_for(path.parent)
    with written_whole(path, durable=False) as temporary:
        picture.save(temporary, "PNG", compress_level=3, pnginfo=entries, dpi=(DPI, DPI))
    return path
