"""Pictures of a run, drawn from what it saved: no training, no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nngeom_cli.figures.output import provenance, save
from nngeom_cli.figures.path import along_paths
from nngeom_cli.figures.plane import across_replicates, through_training
from nngeom_cli.figures.sheet import Sheet
from nngeom_cli.figures.style import style
from nngeom_cli.store import FIGURES, Run

__all__ = ["draw_figures"]


def draw_figures(run: Run) -> list[Path]:
    """Draws all figures of a run into its directory `figures`, each as PNG and as PDF.

    Planes: for each layer `plane-layer-1` (one replicate through training) and, of several replicates,
    `plane-layer-1-replicates` (all of them at the end). Paths: for each layer `path-layer-1` (a panel for each pair).

    Args:
        run: what `load_run` returns; it may be complete or not.

    Returns:
        The PNG files.

    Raises:
        ValueError: the run's probe is none that has a figure.
        FileNotFoundError: the run has no probed checkpoint yet.
    """
    kind = run.geometry.attrs["kind"]
    if kind not in ("grid", "path"):
        raise ValueError(f"`probe.kind` must be grid or path to be drawn. Got {kind}. Draw run.geometry yourself.")
    sheets: dict[str, Callable[[Run, int], Sheet]]
    if kind == "path":
        sheets = {"path-layer-{}": along_paths}
    else:
        sheets = {"plane-layer-{}": through_training}
        if run.geometry.sizes["replicate"] > 1:
            sheets["plane-layer-{}-replicates"] = across_replicates
    about = provenance(run)
    drawn = []
    for layer in run.geometry.layer.values.tolist():
        for name, draw in sheets.items():
            with style():
                drawn.append(save(draw(run, layer).figure, run.directory / FIGURES, name.format(layer), about))
    return drawn
