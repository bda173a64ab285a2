"""The geometry on planes of input space: through training, and across replicates at its end."""

from __future__ import annotations

from dataclasses import replace

import xarray as xr

from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.heatmap_grid import heatmaps
from nngeom_cli.figures.selection import (
    describe,
    figures_config,
    final_scores,
    networks_shown,
    representative,
    stages,
    training_state,
)
from nngeom_cli.figures.statistic_strip import grid_strips, plane_strips, strips_data
from nngeom_cli.figures.style import GRID_HEATMAPS, PLANE_HEATMAPS, in_convention
from nngeom_cli.store.run import Run

__all__ = ["across_replicates", "on_image_plane", "through_training"]

FEWEST_STAGES, MOST_STAGES = 4, 6  # checkpoints shown
MAX_IMAGE_EPOCHS = 4  # panels must be large enough for three images
MAX_REPLICATES = 50  # more panels than that are too small to read


def through_training(run: Run, *layers: int, note: str | None = None) -> Sheet:
    """One replicate at up to six checkpoints: heatmaps of each quantity and layer, their statistics beneath."""
    seed, settings = representative(run), figures_config(run)
    shown, left_out = networks_shown(run)
    geometry = shown.sel(layer=list(layers), replicate=seed)
    epochs = changing_epochs(geometry, FEWEST_STAGES, MOST_STAGES)
    results = final_scores(run)
    words = f"{describe(run.geometry, *layers)}; replicate with seed {seed} ({results[seed]})"
    solved = [score.solved for score in results.values()]
    if len(solved) > 1 and None not in solved:
        words += f"; {sum(map(bool, solved))} of {len(solved)} replicates solved the task"
    panels = [geometry.sel(epoch=epoch) for epoch in epochs]
    strips = grid_strips(shown, layers, settings.band, epochs)
    sheet = heatmaps(
        words + left_out,
        panels,
        [training_state(run, epoch, seed) for epoch in epochs],
        columns=len(epochs),
        head_every_row=False,
        quantities=in_convention(GRID_HEATMAPS, settings.curvature_convention, run.geometry),
        strips=strips,
        note=note,
    )
    fields = geometry.sel(epoch=epochs).rename(epoch="shown_epoch").drop_vars("replicate")
    return replace(sheet, data=xr.merge([fields.assign_attrs(shown_replicate=seed), strips_data(strips)], join="outer"))


def on_image_plane(run: Run, plane: int, *layers: int, note: str | None = None) -> Sheet:
    """One replicate on the plane through three inputs, at up to four checkpoints; the statistics of all replicates."""
    seed, (shown, left_out) = representative(run), networks_shown(run)
    geometry = shown.sel(layer=list(layers), replicate=seed).isel(plane=plane)
    epochs = changing_epochs(geometry, MAX_IMAGE_EPOCHS, MAX_IMAGE_EPOCHS)
    classes, rows = (
        ", ".join(f"{end:g}" for end in geometry[name].values) for name in ("corner_class", "corner_index")
    )
    words = f"{describe(run.geometry, *layers)}; plane through inputs {rows} of classes {classes}, axes in units of "
    words += f"input space; replicate with seed {seed} ({final_scores(run)[seed]}){left_out}"
    panels = [geometry.sel(epoch=epoch) for epoch in epochs]
    headings = [training_state(run, epoch, seed) for epoch in epochs]
    strips = plane_strips(shown, plane, layers, epochs)
    sheet = heatmaps(
        words,
        panels,
        headings,
        columns=len(epochs),
        head_every_row=False,
        quantities=in_convention(PLANE_HEATMAPS, figures_config(run).curvature_convention, run.geometry),
        strips=strips,
        note=note,
    )
    fields = geometry.sel(epoch=epochs).rename(epoch="shown_epoch").drop_vars("replicate")
    return replace(sheet, data=xr.merge([fields.assign_attrs(shown_replicate=seed), strips_data(strips)], join="outer"))


def across_replicates(run: Run, layer: int, note: str | None = None) -> Sheet:
    """Every replicate (the first 50, if there are more) at the last checkpoint, with its accuracy."""
    shown, left_out = networks_shown(run)
    last = int(shown.epoch.values[-1])
    geometry, results = shown.sel(layer=[layer], epoch=last), final_scores(run)
    seeds = shown.replicate.values.tolist()[:MAX_REPLICATES]
    words = f"{describe(run.geometry, layer)}; epoch {last}, {len(seeds)} replicates with their training accuracy"
    if len(seeds) < shown.sizes["replicate"]:
        words += f" (the first {len(seeds)} of {shown.sizes['replicate']})"
    panels = [geometry.sel(replicate=seed) for seed in seeds]
    headings = [f"seed {seed}: {results[seed].brief}" for seed in seeds]
    columns = len(seeds) if len(seeds) <= 4 else 4 if len(seeds) <= 8 else 8 if len(seeds) <= 24 else 10
    sheet = heatmaps(
        words + left_out,
        panels,
        headings,
        columns=columns,
        head_every_row=True,
        quantities=in_convention(GRID_HEATMAPS, figures_config(run).curvature_convention, run.geometry),
        note=note,
    )
    return replace(sheet, data=geometry.sel(replicate=seeds))


def changing_epochs(geometry: xr.Dataset, fewest: int, most: int) -> list[int]:
    """Checkpoints between which the log volume element changes about equally."""
    volumes = geometry.log_volume_element.transpose("epoch", ...).values
    chosen: list[int] = geometry.epoch.values[stages(volumes, fewest, most)].tolist()
    return chosen
