"""Several runs in one figure, on common scales: their training, their heatmaps or curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from nngeom_cli.analysis.bootstrap import estimates
from nngeom_cli.analysis.degeneracy import layer_word, layer_words
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.heatmap_grid import heatmaps
from nngeom_cli.figures.looks import QUANTITIES_ON_GRIDS, QUANTITIES_ON_PLANES
from nngeom_cli.figures.naming import names_of
from nngeom_cli.figures.path import value_range
from nngeom_cli.figures.path_words import VOLUME, pair_words
from nngeom_cli.figures.selection import networks_shown, representative
from nngeom_cli.figures.style import (
    CLASS_COLOURS,
    FONT_SIZE,
    LINE,
    TEXT_WIDTH,
    Array,
    wrapped,
)
from nngeom_cli.store.run import Run

__all__ = ["not_drawn", "sheets"]

LEFT, RIGHT, GAP_X, GAP_Y, BOTTOM, PANEL = 0.6, 0.1, 0.65, 0.45, 0.4, 1.7  # inches
PLACES = {  # arrays and attributes that must agree for a picture on common axes
    "grid": ("x", "y"),
    "plane": ("x", "y", "corner_index", "corner"),
    "path": ("endpoint_index", "endpoint", "step"),
}


def not_drawn(runs: Sequence[Run]) -> str:
    """Why the geometry of runs cannot be drawn on common axes; empty if it can."""
    first, *others = [run.geometry for run in runs]
    kind = first.attrs["kind"]
    if any(other.attrs["kind"] != kind for other in others):
        return "the runs have different probes"
    if kind not in PLACES:
        return f"probe={kind} has no picture that runs could share"
    for name in PLACES[kind]:
        ours = first[name].values
        if not all(ours.shape == other[name].shape and np.allclose(ours, other[name].values) for other in others):
            return f"the runs are measured at different places ({name})"
    return ""


def sheets(runs: Sequence[Run], names: Sequence[str]) -> Iterator[tuple[str, Sheet]]:
    """The figures by the names of their files: training, and for each layer that all runs have its geometry.

    Args:
        runs: of the same probe, as `drawable(2)` gives them.
        names: what they are called.
    """
    yield "training", training(runs, names)
    if not_drawn(runs):
        return
    layers = sorted(set.intersection(*({*run.geometry.layer.values.tolist()} for run in runs)))
    kind = runs[0].geometry.attrs["kind"]
    for layer in layers:
        name = layer_word(runs[0].geometry.attrs, layer)
        if kind == "path":
            yield f"path-{name}", along_paths(runs, names, layer)
        elif kind == "grid":
            yield f"grid-{name}", maps(runs, names, layer, None)
        else:
            for plane in range(runs[0].geometry.sizes["plane"]):
                yield f"plane-{plane}-{name}", maps(runs, names, layer, plane)


def maps(runs: Sequence[Run], names: Sequence[str], layer: int, plane: int | None) -> Sheet:
    """One network of each run, trained and before that: a column for each run, a row for each epoch."""
    shown = [networks_shown(run)[0] for run in runs]
    seeds = _seeds(runs, shown)
    columns = [data.sel(layer=[layer], replicate=seed) for data, seed in zip(shown, seeds, strict=True)]
    if plane is not None:
        columns = [data.isel(plane=plane) for data in columns]
    rows = [-1] if all(data.sizes["epoch"] == 1 for data in columns) else [0, -1]
    panels = [data.isel(epoch=row) for row in rows for data in columns]
    headings = [
        f"{name}, seed {seed}\nepoch {int(data.epoch.values[row])}"
        for row in rows
        for name, seed, data in zip(names, seeds, columns, strict=True)
    ]
    words = f"{layer_words(runs[0].geometry.attrs, layer)} of {len(runs)} runs, one network of each, on common scales"
    return heatmaps(
        words,
        panels,
        headings,
        columns=len(runs),
        head_every_row=True,
        quantities=QUANTITIES_ON_GRIDS if plane is None else QUANTITIES_ON_PLANES,
        names=names_of(runs[0]),
    )


def _seeds(runs: Sequence[Run], shown: Sequence[xr.Dataset]) -> list[int]:
    """The network of each run that is drawn: of the same seed in all, where the first one's is there."""
    seed = representative(runs[0])
    if all(seed in data.replicate.values for data in shown):
        return [seed] * len(runs)
    return [representative(run) for run in runs]


def along_paths(runs: Sequence[Run], names: Sequence[str], layer: int) -> Sheet:
    """A panel for each pair: the mean log effective volume of each run with its interval, and untrained, dashed."""
    shown = [networks_shown(run)[0].sel(layer=layer) for run in runs]
    pairs = shown[0].sizes["pair"]
    words = (
        f"{layer_words(runs[0].geometry.attrs, layer)} of {len(runs)} runs: mean over networks with its 95 % interval; "
        "dashed: the same networks untrained"
    )
    sheet, panels = _panels(words, pairs, names)
    curves = [
        {(pair, row): _band(data.isel(pair=pair, epoch=row)) for pair in range(pairs) for row in (0, -1)}
        for data in shown
    ]
    every = np.concatenate([band.ravel() for of_run in curves for band in of_run.values()])
    for pair, axes in enumerate(panels):
        for place, (data, of_run) in enumerate(zip(shown, curves, strict=True)):
            t = data.step.values / data.attrs["steps"]
            if data.sizes["epoch"] > 1:
                axes.plot(t, of_run[pair, 0][0], color=CLASS_COLOURS[place], linewidth=0.8, linestyle="--")
            _draw_band(axes, t, of_run[pair, -1], place)
        axes.set(xlim=(0, 1), ylim=value_range(every), xlabel="fraction of the way to the second input")
        axes.set_title(pair_words(shown[0].isel(pair=pair), names_of(runs[0])), fontsize=FONT_SIZE)
        axes.set_ylabel(VOLUME.label.format(**shown[0].attrs))
    return sheet


def _band(data: xr.Dataset) -> Array:
    """Mean, lower and upper end at each step, `(3, steps + 1)`."""
    values = data.log_effective_volume_element.transpose("replicate", "step").values
    return _means({str(step): values[:, [step]] for step in range(values.shape[1])})


def _means(values: dict[str, Array]) -> Array:
    found = estimates({name: np.where(np.isfinite(of), of, np.nan) for name, of in values.items()})
    return np.stack([[one.value, one.low, one.high] for one in found.values()], axis=1)


def training(runs: Sequence[Run], names: Sequence[str]) -> Sheet:
    """Loss and accuracy by epoch, and of examples kept for testing: means over networks with their intervals."""
    scores = [name for name in ("loss", "accuracy", "test_loss", "test_accuracy") if _have(runs, name)]
    sheet, panels = _panels("training: mean over networks with its 95 % interval", len(scores), names)
    for axes, score in zip(panels, scores, strict=True):
        for place, run in enumerate(runs):
            table = run.history.pivot(index="epoch", columns="replicate", values=score)
            band = _means({str(epoch): row[:, None] for epoch, row in zip(table.index, table.to_numpy(), strict=True)})
            _draw_band(axes, table.index.to_numpy(), band, place)
        axes.set(xlabel="epoch", ylabel=score.replace("_", " "))
        if "loss" in score and all((run.history[score].dropna() > 0).all() for run in runs):
            axes.set_yscale("log")
    return sheet


def _have(runs: Sequence[Run], score: str) -> bool:
    return all(score in run.history and run.history[score].notna().any() for run in runs)


def _draw_band(axes: Axes, x: Array, band: Array, place: int) -> None:
    mean, low, high = band
    axes.fill_between(x, low, high, color=CLASS_COLOURS[place], alpha=0.2, linewidth=0.0)
    axes.plot(x, mean, color=CLASS_COLOURS[place], linewidth=1.2)


def _panels(words: str, count: int, names: Sequence[str]) -> tuple[Sheet, list[Axes]]:
    """A sheet with two panels in a row, and a legend of the runs."""
    rows = -(-count // 2)
    title = wrapped(words, TEXT_WIDTH - 0.1)
    top = LINE * (title.count("\n") + 1) + 0.15 + LINE
    keys = [Line2D([], [], color=CLASS_COLOURS[place], label=name) for place, name in enumerate(names)]
    height = top + rows * PANEL + (rows - 1) * (GAP_Y + LINE) + BOTTOM + LINE * len(keys) + 0.1
    sheet = Sheet.blank(TEXT_WIDTH, height)
    sheet.text(0.05, 0.05, title, fontsize=FONT_SIZE)
    across = (TEXT_WIDTH - LEFT - RIGHT - GAP_X) / 2
    places = [divmod(place, 2) for place in range(count)]
    axes = [
        sheet.axes(LEFT + column * (across + GAP_X), top + row * (PANEL + GAP_Y + LINE), across, PANEL)
        for row, column in places
    ]
    sheet.legend(keys, 1)
    return sheet, axes
