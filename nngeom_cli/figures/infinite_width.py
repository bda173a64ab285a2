"""Omega, volume element and curvature against the radius, or over layers: infinite width, and finite ones near it."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from nngeom_cli.analysis.bootstrap import over_replicates
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.output import convention_words, save
from nngeom_cli.figures.style import CLASS_COLOURS, FONT_SIZE, LINE, TEXT_WIDTH, style, wrapped
from nngeom_cli.store.arrays import netcdf_bytes
from nngeom_cli.system.atomic import remove_leftovers, written_whole
from nngeom_cli.system.held_folder import held

__all__ = ["draw_theory", "save_theory"]

LEFT, RIGHT, GAP_X, GAP_Y, BOTTOM, HEIGHT = 0.62, 0.08, 0.6, 0.12, 0.32, 1.25  # inches
COLUMNS = {
    "omega": r"$\Omega$",
    "log_volume_element": r"$\log\,\sqrt{\det g}$",
    "ricci_scalar": "$R$",
}
QUARTILES = (0.25, 0.5, 0.75)


def draw_theory(curves: xr.Dataset, note: str | None = None) -> Sheet:
    """A row for each activation, a column for each quantity; a note above them."""
    deep = "layer" in curves.dims
    title = wrapped(_words(curves), TEXT_WIDTH - 0.1)
    top = LINE * (title.count("\n") + 1) + 0.12 + LINE
    rows = curves.sizes["activation"]
    height = top + rows * HEIGHT + (rows - 1) * GAP_Y + BOTTOM + 2 * LINE
    across = (TEXT_WIDTH - LEFT - RIGHT - 2 * GAP_X) / 3
    sheet = Sheet.blank(TEXT_WIDTH, height, note)
    sheet.text(0.05, 0.05, title, fontsize=FONT_SIZE)
    for row, name in enumerate(curves.activation.values):
        for column, (quantity, label) in enumerate(COLUMNS.items()):
            axes = sheet.axes(LEFT + column * (across + GAP_X), top + row * (HEIGHT + GAP_Y), across, HEIGHT)
            (draw_layers if deep else draw_curves)(axes, curves.sel(activation=name), quantity)
            axes.tick_params(labelbottom=row == rows - 1)
            axes.set_ylabel(f"{name}\n{label}" if column == 0 else label)
            if row == rows - 1:
                axes.set_xlabel("layer" if deep else "$|x|$")
    keys = [
        Line2D([], [], color=width_colour(place), linewidth=1.2, label=f"width {width}")
        for place, width in enumerate(curves.width.values)
    ]
    keys.append(Line2D([], [], color="black", linewidth=1.2, label="infinite width"))
    if not deep:
        keys.append(Line2D([], [], color="black", linewidth=0.8, linestyle=":", label="as the paper prints it: 3 R"))
    sheet.legend(keys, len(keys))
    return sheet


def _words(curves: xr.Dataset) -> str:
    about = curves.attrs
    laws = f"weights N(0, {about['weight_std']:g}²), biases N(0, {about['bias_std']:g}²)"
    if "layer" in curves.dims:
        return (
            f"{curves.sizes['layer']} layers of infinite width, d = {about['d']}, |x| = {about['radius']:g}, {laws} "
            f"(weights over the square root of the width before); medians of {about['networks']} finite networks of "
            "each width, with 95 % intervals of the median. True Ricci scalar (unit 2-sphere: +2)."
        )
    return (
        f"Layer of infinite width, d = {about['d']}, {laws}; medians and quartiles of {about['networks']} finite "
        "layers of each width. True Ricci scalar (unit 2-sphere: +2); the paper prints three times that."
    )


def save_theory(curves: xr.Dataset, directory: Path, note: str | None = None) -> Path:
    """Writes theory.png, theory.pdf and, beside them, the curves as theory.nc; returns the first."""
    about = {
        "Run": "theory",
        "Command": str(curves.attrs["command"]),
        "Seeds": str(curves.attrs["seed"]),
        "Version": f"nngeom {version('nngeom')}",
        "Convention": convention_words("geometric"),
    }
    remove_leftovers(directory)
    directory.mkdir(parents=True, exist_ok=True)
    with held(directory), style():
        with written_whole(directory / "theory.nc") as path:
            path.write_bytes(netcdf_bytes(curves))
        return save(draw_theory(curves, note), directory, "theory", about)


def draw_curves(axes: Axes, curves: xr.Dataset, quantity: str) -> None:
    """One quantity of one activation."""
    radius, limit = curves.radius.values, curves[quantity].values
    for place, width in enumerate(curves.width.values):
        low, middle, high = curves[f"finite_{quantity}"].sel(width=width).quantile(QUARTILES, "network").values
        axes.fill_between(radius, low, high, color=width_colour(place), alpha=0.2, linewidth=0)
        axes.plot(radius, middle, color=width_colour(place), linewidth=0.9)
    axes.plot(radius, limit, color="black", linewidth=1.2)
    low, high = float(limit.min()), float(limit.max())
    if quantity == "ricci_scalar":
        printed = curves.attrs["paper_curvature_factor"] * limit
        axes.plot(radius, printed, color="black", linewidth=0.8, linestyle=":")
        low, high = min(low, float(printed.min())), max(high, float(printed.max()))
    margin = 0.25 * (high - low) or 0.5
    axes.set_xlim(0, radius[-1])
    axes.set_ylim(low - margin, high + margin)


def draw_layers(axes: Axes, curves: xr.Dataset, quantity: str) -> None:
    """One quantity of one activation in each layer."""
    layer, limit = curves.layer.values, curves[quantity].values
    shown = [limit]
    for place, width in enumerate(curves.width.values):
        finite = curves[f"finite_{quantity}"].sel(width=width).rename(network="replicate")
        over = over_replicates(finite.where(np.isfinite(finite)), np.random.default_rng(0), "median")
        offset = 0.12 * (place - (len(curves.width) - 1) / 2)  # beside each other
        lengths = np.abs([over.estimate - over.low, over.high - over.estimate])
        axes.errorbar(
            layer + offset,
            over.estimate,
            lengths,
            fmt="o",
            color=width_colour(place),
            markersize=2.5,
            linewidth=0.8,
            capsize=1.5,
        )
        shown += [over.low.values, over.high.values]
    axes.plot(layer, limit, color="black", linewidth=1.2, marker="_", markersize=9)
    values = np.concatenate(shown)
    values = values[np.isfinite(values)]
    low, high = (values.min(), values.max()) if len(values) else (0.0, 0.0)
    margin = 0.1 * (high - low) or 0.5
    axes.set_xlim(0.5, layer[-1] + 0.5)
    axes.set_ylim(low - margin, high + margin)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def width_colour(place: int) -> str:
    return CLASS_COLOURS[(1, 2, 0, 6, 4, 5, 3, 7, 8, 9)[place % 10]]
