"""The geometry on planes of input space: through training, and across replicates at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import xarray as xr

from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.heatmap_grid import heatmaps
from nngeom_cli.figures.looks import GRID_HEATMAPS, PLANE_HEATMAPS, in_convention
from nngeom_cli.figures.naming import names_of
from nngeom_cli.figures.selection import (
    describe,
    figures_config,
    final_scores,
    networks_shown,
    representative,
    shown_epochs,
    training_state,
)
from nngeom_cli.figures.strips import grid_strips, plane_strips, strips_data
from nngeom_cli.store.layout import DISPLAY
from nngeom_cli.store.measured import check_display
from nngeom_cli.store.run import Run

__all__ = ["across_replicates", "as_in_the_paper", "on_image_plane", "stages_and_replicates", "through_training"]

MAX_REPLICATES = 50  # more panels than that are too small to read


def through_training(run: Run, layer: int, note: str | None = None) -> Sheet:
    """One replicate at up to six checkpoints: heatmaps of each quantity of a layer, their statistics beneath."""
    seed, settings = representative(run), figures_config(run)
    shown, left_out = networks_shown(run)
    epochs, results = shown_epochs(run), final_scores(run)
    words = f"{describe(run.geometry, layer)}; replicate with seed {seed} ({results[seed]})"
    solved = [score.solved for score in results.values()]
    if len(solved) > 1 and None not in solved:
        words += f"; {sum(map(bool, solved))} of {len(solved)} replicates solved the task"
    panels, replicates = stages_and_replicates(shown.sel(layer=[layer]), seed, epochs)
    strips = grid_strips(shown, [layer], settings.band, epochs)
    sheet = heatmaps(
        words + left_out,
        panels,
        [training_state(run, epoch, seed) for epoch in epochs],
        columns=len(epochs),
        head_every_row=True,
        quantities=in_convention(GRID_HEATMAPS, settings.curvature_convention, run.geometry),
        names=names_of(run),
        finer=finer(run, seed, epochs, layer=[layer]),
        others=replicates,
        strips=strips,
        width=settings.width,
        note=note,
    )
    fields = shown.sel(layer=[layer], replicate=seed, epoch=epochs).rename(epoch="shown_epoch").drop_vars("replicate")
    return replace(sheet, data=xr.merge([fields.assign_attrs(shown_replicate=seed), strips_data(strips)], join="outer"))


def as_in_the_paper(run: Run, layer: int, note: str | None = None) -> Sheet:
    """Figures 1 and 2 of the paper: the magnitudes V and |3 R| of one replicate through training, and nothing else."""
    seed, epochs = representative(run), shown_epochs(run)
    words = f"{describe(run.geometry, layer)}; replicate with seed {seed}, as the paper plots it"
    one = networks_shown(run)[0].sel(layer=[layer], replicate=seed)
    return heatmaps(
        words,
        [one.sel(epoch=epoch) for epoch in epochs],
        [training_state(run, epoch, seed) for epoch in epochs],
        columns=len(epochs),
        head_every_row=False,
        quantities=in_convention(GRID_HEATMAPS, "paper", run.geometry),
        names=names_of(run),
        finer=finer(run, seed, epochs, layer=[layer]),
        note=note,
    )


def across_replicates(run: Run, layer: int, note: str | None = None) -> Sheet:
    """Every replicate (the first 50, if there are more) at the last checkpoint, with its accuracy."""
    shown, left_out = networks_shown(run)
    settings, results = figures_config(run), final_scores(run)
    stages, panels = stages_and_replicates(shown.sel(layer=[layer]), representative(run), shown_epochs(run))
    seeds = [int(data.replicate) for data in panels]
    words = f"{describe(run.geometry, layer)}; epoch {int(panels[0].epoch)}, {len(seeds)} replicates with their "
    words += "training accuracy"
    if len(seeds) < shown.sizes["replicate"]:
        words += f" (the first {len(seeds)} of {shown.sizes['replicate']})"
    columns = len(seeds) if len(seeds) <= 4 else 4 if len(seeds) <= 8 else 8 if len(seeds) <= 24 else 10
    sheet = heatmaps(
        words + left_out,
        panels,
        [f"seed {seed}: {results[seed].brief}" for seed in seeds],
        columns=min(columns, max(1, int(settings.width / 0.7))),
        head_every_row=True,
        quantities=in_convention(GRID_HEATMAPS, settings.curvature_convention, run.geometry, magnitudes=False),
        names=names_of(run),
        others=stages,
        width=settings.width,
        note=note,
    )
    return replace(sheet, data=shown.sel(layer=[layer], epoch=int(panels[0].epoch), replicate=seeds))


def on_image_plane(run: Run, plane: int, layer: int, note: str | None = None) -> Sheet:
    """One replicate on the plane through three inputs, at up to four checkpoints; the statistics of all replicates."""
    seed, (shown, left_out), settings = representative(run), networks_shown(run), figures_config(run)
    geometry = shown.sel(layer=[layer], replicate=seed).isel(plane=plane)
    epochs, names = shown_epochs(run), names_of(run)
    classes = ", ".join(names.of_class(end) for end in geometry.corner_class.values)
    rows = ", ".join(f"{end:g}" for end in geometry.corner_index.values)
    words = f"{describe(run.geometry, layer)}; plane through inputs {rows} of classes {classes}; replicate with seed "
    words += f"{seed} ({final_scores(run)[seed]}){left_out}"
    strips = plane_strips(shown, plane, [layer], epochs)
    sheet = heatmaps(
        words,
        [geometry.sel(epoch=epoch) for epoch in epochs],
        [training_state(run, epoch, seed) for epoch in epochs],
        columns=len(epochs),
        head_every_row=True,
        quantities=in_convention(PLANE_HEATMAPS, settings.curvature_convention, run.geometry),
        names=replace(names, axes=("units of input space", "units of input space")),
        finer=finer(run, seed, epochs, layer=[layer], plane=plane),
        strips=strips,
        width=settings.width,
        note=note,
    )
    fields = geometry.sel(epoch=epochs).rename(epoch="shown_epoch").drop_vars("replicate")
    return replace(sheet, data=xr.merge([fields.assign_attrs(shown_replicate=seed), strips_data(strips)], join="outer"))


def stages_and_replicates(
    geometry: xr.Dataset, seed: int, epochs: Sequence[int]
) -> tuple[list[xr.Dataset], list[xr.Dataset]]:
    """What two figures of a grid show on the same scales: one replicate at its epochs, all at the last checkpoint."""
    one, last = geometry.sel(replicate=seed), geometry.isel(epoch=-1)
    seeds = geometry.replicate.values[:MAX_REPLICATES].tolist()
    return [one.sel(epoch=epoch) for epoch in epochs], [last.sel(replicate=each) for each in seeds]


def finer(
    run: Run, seed: int, epochs: Sequence[int], *, layer: list[int], plane: int | None = None
) -> list[xr.Dataset | None]:
    """What was measured for display of a replicate at each epoch; None where nothing was."""
    display = run.display
    if display is None or display.replicate.values.tolist() != [seed]:
        return [None] * len(epochs)
    check_display(display, run.geometry, run.directory / DISPLAY)
    if not set(layer) <= set(display.layer.values.tolist()):
        return [None] * len(epochs)
    one = display.isel(replicate=0).sel(layer=layer)
    one = one if plane is None else one.isel(plane=plane)
    measured = display.epoch.values.tolist()
    return [one.sel(epoch=epoch) if epoch in measured else None for epoch in epochs]
