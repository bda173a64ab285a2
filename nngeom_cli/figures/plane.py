"""The geometry on planes of input space: through training, and across replicates at its end."""

from __future__ import annotations

from nngeom_cli.figures.heatmaps import heatmaps
from nngeom_cli.figures.selection import describe, evenly, outcomes, percent, representative, training_state
from nngeom_cli.figures.sheet import Sheet
from nngeom_cli.figures.style import PLANE_QUANTITIES
from nngeom_cli.store import Run

__all__ = ["across_replicates", "on_image_plane", "through_training"]

MAX_EPOCHS = 6
MAX_IMAGE_EPOCHS = 4  # panels must be large enough for three images
MAX_REPLICATES = 50  # more panels than that are too small to read


def through_training(run: Run, *layers: int, note: str | None = None) -> Sheet:
    """One replicate at up to six checkpoints: a row of heatmaps for each quantity and layer."""
    seed = representative(run)
    geometry = run.geometry.sel(layer=list(layers), replicate=seed)
    epochs = evenly(geometry.epoch.values.tolist(), MAX_EPOCHS)
    results = outcomes(run)
    words = f"{describe(run.geometry, *layers)}; replicate with seed {seed} ({results[seed]})"
    solved = [outcome.solved for outcome in results.values()]
    if len(solved) > 1 and None not in solved:
        words += f"; {sum(map(bool, solved))} of {len(solved)} replicates solved the task"
    panels = [geometry.sel(epoch=epoch) for epoch in epochs]
    headings = [training_state(run, epoch, seed) for epoch in epochs]
    return heatmaps(words, panels, headings, columns=len(epochs), head_every_row=False, note=note)


def on_image_plane(run: Run, plane: int, *layers: int, note: str | None = None) -> Sheet:
    """One replicate on the plane through three inputs, at up to four checkpoints."""
    seed = representative(run)
    geometry = run.geometry.sel(layer=list(layers), replicate=seed).isel(plane=plane)
    epochs = evenly(geometry.epoch.values.tolist(), MAX_IMAGE_EPOCHS)
    classes, rows = (
        ", ".join(f"{end:g}" for end in geometry[name].values) for name in ("corner_class", "corner_index")
    )
    words = f"{describe(run.geometry, *layers)}; plane through inputs {rows} of classes {classes}, axes in units of "
    words += f"input space; replicate with seed {seed} ({outcomes(run)[seed]})"
    panels = [geometry.sel(epoch=epoch) for epoch in epochs]
    headings = [training_state(run, epoch, seed) for epoch in epochs]
    return heatmaps(
        words,
        panels,
        headings,
        columns=len(epochs),
        head_every_row=False,
        note=note,
        quantities=PLANE_QUANTITIES,
    )


def across_replicates(run: Run, layer: int, note: str | None = None) -> Sheet:
    """Every replicate (the first 50, if there are more) at the last checkpoint, with its accuracy."""
    last = int(run.geometry.epoch.values[-1])
    geometry = run.geometry.sel(layer=[layer], epoch=last)
    results = outcomes(run)
    seeds = list(results)[:MAX_REPLICATES]
    words = f"{describe(run.geometry, layer)}; epoch {last}, {len(seeds)} replicates with their training accuracy"
    if len(seeds) < len(results):
        words += f" (the first of {len(results)})"
    panels = [geometry.sel(replicate=seed) for seed in seeds]
    headings = [f"seed {seed}: {percent(results[seed].accuracy)}" for seed in seeds]
    columns = len(seeds) if len(seeds) <= 4 else 4 if len(seeds) <= 8 else 8 if len(seeds) <= 24 else 10
    return heatmaps(words, panels, headings, columns=columns, head_every_row=True, note=note)
