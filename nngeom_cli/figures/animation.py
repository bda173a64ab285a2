"""The geometry of one replicate through training, one frame per checkpoint, with the loss beside it."""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from subprocess import CalledProcessError

import numpy as np
import xarray as xr
from matplotlib.animation import FFMpegWriter
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.lines import Line2D
from PIL import Image

from nngeom_cli.analysis.boundary import boundary_of
from nngeom_cli.errors import ConfigError, FolderError, printable, shown
from nngeom_cli.figures import heatmap
from nngeom_cli.figures.blocks import Block, blocks_of
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.heatmap_grid import draw_bar, tick
from nngeom_cli.figures.looks import GRID_HEATMAPS, in_convention
from nngeom_cli.figures.naming import names_of
from nngeom_cli.figures.selection import describe, figures_config, final_scores, networks_shown, representative
from nngeom_cli.figures.style import (
    BOUNDARY_COLOUR,
    CLASS_COLOURS,
    FONT_SIZE,
    LINE,
    SMALL_FONT_SIZE,
    TEXT_WIDTH,
    style,
    wrapped,
)
from nngeom_cli.store.layout import FIGURES
from nngeom_cli.store.measured import check_measured
from nngeom_cli.store.run import Run
from nngeom_cli.system.atomic import refuse_link, remove_leftovers, written_whole
from nngeom_cli.system.held_folder import held
from nngeom_cli.system.programs import clean_environment, program
from nngeom_cli.system.progress import Progress

__all__ = ["FEW", "animate"]

FEW = 20  # checkpoints; fewer make a jerky film
MOST_FRAMES = 200  # a minute
DPI = 220
SECONDS, LAST = 0.25, 3.0  # how long a frame stays, and the last one
ROOM = 0.05  # margin below and above the losses, in units of their range
LEFT, GAP, SIDE, RIGHT = 0.34, 0.78, 1.6, 0.25  # inches


def animate(run: Run, layer: int | None = None) -> list[Path]:
    """Writes animation.gif, and animation.mp4 where ffmpeg is installed, into the run's figures.

    Args:
        run: of a grid probe, with at least two checkpoints.
        layer: the first measured one if None.

    Returns:
        The files.

    Raises:
        ConfigError: the run is of another kind, has only one checkpoint, or only one before it diverged; or its
            `figures` is a link.
        FolderError: the run was moved or deleted while it was drawn.
    """
    with held(run.directory, "nngeom animate"):
        return _animated(run, layer)


def _animated(run: Run, layer: int | None) -> list[Path]:
    run = run.drawable(MOST_FRAMES)
    kind = str(run.geometry.attrs.get("kind"))
    if kind != "grid":
        raise ConfigError(
            f"`nngeom animate` must be given a run with probe.kind=grid. Got {kind}. `nngeom figures` draws that."
        )
    check_measured(run.geometry, run.directory)
    shown, left_out = networks_shown(run)
    count = shown.sizes["epoch"]
    if count < 2:
        raise ConfigError(
            f"`nngeom animate` must be given a run with at least 2 checkpoints. Got {count}{left_out}. "
            "Run it again with 'probe.checkpoints=log 60'."
        )
    target = run.directory / FIGURES / "animation.gif"
    refuse_link(target.parent)
    with style():
        film = Film(run, int(run.geometry.layer[0]) if layer is None else layer)
        pictures = []
        with Progress("frame", count) as progress:
            for picture in film.frames():
                pictures.append(picture.convert("RGB"))
                progress.update(len(pictures))
    # a palette for each frame, with dithering: 256 colours for all would make contours that are not there
    dither = Image.Dither.FLOYDSTEINBERG
    frames = [picture.quantize(256, Image.Quantize.MEDIANCUT, dither=dither) for picture in pictures]
    stay = [round(1000 * SECONDS)] * (count - 1) + [round(1000 * LAST)]
    content = io.BytesIO()
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:], duration=stay, loop=0, optimize=False)
    remove_leftovers(target.parent)
    with written_whole(target) as path:
        path.write_bytes(content.getbuffer())
    ffmpeg = program("ffmpeg")
    if ffmpeg is None:
        return [target]
    with written_whole(target.with_suffix(".mp4")) as path:
        film.write_mp4(path, ffmpeg)
    return [target, target.with_suffix(".mp4")]


class Film:
    """One figure, whose heatmaps are drawn again for each checkpoint."""

    def __init__(self, run: Run, layer: int) -> None:
        self.seed, self.names = representative(run), names_of(run)
        shown, left_out = networks_shown(run)
        self.data = shown.sel(layer=layer, replicate=self.seed)
        self.epochs = self.data.epoch.values.tolist()
        panels = [self.data.sel(epoch=epoch) for epoch in self.epochs]
        quantities = in_convention(
            GRID_HEATMAPS, figures_config(run).curvature_convention, run.geometry, magnitudes=False
        )
        self.blocks: list[Block] = [part for quantity in quantities for part in blocks_of(quantity, panels)]
        words = f"{describe(run.geometry, layer)}; replicate with seed {self.seed} ({final_scores(run)[self.seed]})"
        title = wrapped(words + left_out, TEXT_WIDTH - 0.1)
        top = LINE * (title.count("\n") + 1) + 0.1 + LINE
        self.sheet = Sheet.blank(TEXT_WIDTH, top + SIDE + 0.3)
        self.canvas = FigureCanvasAgg(self.sheet.figure)
        self.sheet.text(0.05, 0.05, title, fontsize=FONT_SIZE)
        self.panels: list[Axes] = []
        for place, part in enumerate(self.blocks):
            left = LEFT + place * (SIDE + GAP)
            self.panels.append(self.sheet.axes(left, top, SIDE, SIDE))
            if part.drawn:
                draw_bar(self.sheet, part, left + SIDE + 0.06, top, SIDE)
        left = LEFT + len(self.blocks) * (SIDE + GAP) + 0.3
        self.curve = self.sheet.axes(left, top, TEXT_WIDTH - left - RIGHT, SIDE)
        self.now = draw_losses(self.curve, run, shown, self.seed)

    def show(self, place: int) -> None:
        """Draws a checkpoint."""
        data = self.data.isel(epoch=place)
        boundary = boundary_of(data)
        for part, axes in zip(self.blocks, self.panels, strict=True):
            axes.clear()
            axes.set_title(part.quantity.title, fontsize=FONT_SIZE, fontweight="bold")
            if part.words[place]:
                heatmap.say_flat(axes, part.words[place], SIDE, SMALL_FONT_SIZE)
                continue
            heatmap.draw_field(axes, part.fields[place], data.x.values, data.y.values, part.norm, part.look.colours)
            heatmap.draw_boundary(axes, boundary, SIDE)
            if "input" in data:
                heatmap.draw_points(axes, data.input.values, data.label.values, SIDE)
            tick(axes, self.names, left=part is self.blocks[0], bottom=True)
        epoch = self.epochs[place]
        self.now.set_xdata([epoch, epoch])
        self.curve.set_title(f"epoch {epoch:,}", fontsize=FONT_SIZE, fontweight="bold")

    def frames(self) -> Iterator[Image.Image]:
        """A picture of each checkpoint."""
        for place in range(len(self.epochs)):
            self.show(place)
            picture = io.BytesIO()
            self.sheet.figure.savefig(picture, format="png", dpi=DPI)
            yield Image.open(picture)

    def write_mp4(self, path: Path, ffmpeg: str) -> None:
        """Writes the same frames with the program `ffmpeg`.

        Raises:
            OSError: it failed.
        """
        writer = FFMpegWriter(fps=round(1 / SECONDS))
        places = [*range(len(self.epochs)), *[len(self.epochs) - 1] * round(LAST / SECONDS)]
        log = logging.getLogger("matplotlib.animation")
        level = log.level
        log.setLevel(logging.ERROR)  # it would print all that ffmpeg says when it fails
        try:
            with (
                style(ffmpeg),
                clean_environment(),
                writer.saving(self.sheet.figure, str(path), DPI),
                Progress("frame", len(places)) as progress,
            ):
                for count, place in enumerate(places):
                    self.show(place)
                    writer.grab_frame()
                    progress.update(count + 1)
        except (CalledProcessError, BrokenPipeError) as error:
            raise failure_of(error) from error
        finally:
            log.setLevel(level)


def failure_of(error: CalledProcessError | BrokenPipeError) -> OSError:
    """Why ffmpeg failed; an error of the operating system where ffmpeg names one."""
    said, code = ("", 0) if isinstance(error, OSError) else (str(error.stderr), error.returncode)
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        if os.strerror(number) in said or (number == errno.EFBIG and code == -signal.SIGXFSZ):
            return OSError(number, os.strerror(number))
    got = shown(printable((said.strip().splitlines() or [f"exit status {code}"])[-1])).rstrip(".")
    return FolderError(f"`ffmpeg` must be able to make a film. Got: {got}. animation.gif was written without it.")


def draw_losses(axes: Axes, run: Run, shown: xr.Dataset, seed: int) -> Line2D:
    """The loss of all replicates until the film ends, on a scale for those that did not diverge.

    The loss of the replicate in the film is black. Returns the line that marks the epoch.
    """
    last = int(shown.epoch[-1])
    history = run.history[(run.history.epoch <= last) & run.history.replicate.isin(run.geometry.replicate.values)]
    for replicate, rows in history.groupby("replicate"):
        mine = int(replicate) == seed
        colour, width = ("black", 1.2) if mine else (CLASS_COLOURS[3], 0.6)
        axes.plot(rows.epoch, rows.loss, color=colour, linewidth=width, zorder=2 + mine)
    losses = np.asarray(history.loss[history.replicate.isin(shown.replicate.values)])
    losses = losses[np.isfinite(losses)]
    low, high = losses.min(initial=np.inf), losses.max(initial=-np.inf)
    if 0 < low < high:
        axes.set_yscale("log")
        axes.set_ylim(low * (low / high) ** ROOM, high * (high / low) ** ROOM)
    elif low < high:
        axes.set_ylim(low - ROOM * (high - low), high + ROOM * (high - low))
    axes.set_xscale("symlog", linthresh=max(1, last / 100))
    axes.set_xlim(0, last)
    axes.set_xticks([0, last], ["0", f"{last:,}"])
    axes.minorticks_off()
    axes.set_xlabel("epoch", labelpad=-4)
    axes.set_ylabel("loss (black: shown)")
    return axes.axvline(0, color=BOUNDARY_COLOUR, linewidth=1.0, zorder=4)
