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


def draw_figures(
    run: Run, *, directory: Path | None = None, name: str | None = None, note: str | None = None
) -> list[Path]:
    """Draws all figures of a run, each as PNG and as PDF.

    Planes: for each layer `plane-layer-1` (one replicate through training) and, of several replicates,
    `plane-layer-1-replicates` (all of them at the end). Paths: for each layer `path-layer-1` (a panel for each pair).

    Args:
        run: what `load_run` returns; it may be complete or not.
        directory: where the files go; the run's own directory `figures` if None.
        name: what the file names begin with, so that several runs can share a directory.
        note: a line drawn at the top of each figure, "QUICK: 1 % of the epochs".

    Returns:
        The PNG files.

    Raises:
        ValueError: the run's probe is none that has a figure.
        FileNotFoundError: the run has no probed checkpoint yet.
    """
    kind = run.geometry.attrs["kind"]
    if kind not in ("grid", "path"):
        raise ValueError(f"`probe.kind` must be grid or path to be drawn. Got {kind}. Draw run.geometry yourself.")
    sheets: dict[str, Callable[[Run, int, str | None], Sheet]]
    if kind == "path":
        sheets = {"path-layer-{}": along_paths}
    else:
        sheets = {"plane-layer-{}": through_training}
        if run.geometry.sizes["replicate"] > 1:
            sheets["plane-layer-{}-replicates"] = across_replicates
    directory = run.directory / FIGURES if directory is None else directory
    about = provenance(run)
    drawn = []
    for layer in run.geometry.layer.values.tolist():
        for pattern, draw in sheets.items():
            stem = pattern.format(layer) if name is None else f"{name}-{pattern.format(layer)}"
            with style():
                drawn.append(save(draw(run, layer, note).figure, directory, stem, about))
    return drawn
