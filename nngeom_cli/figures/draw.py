"""All figures of a run: which sheets its probe has, and drawing them on several cores."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TypeAlias

from nngeom_cli.analysis.degeneracy import layer_word
from nngeom_cli.errors import ConfigError, one_of
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.checkpoints import DRAWN_KINDS, draw_checkpoints
from nngeom_cli.figures.example_classes import by_class
from nngeom_cli.figures.examples import at_examples
from nngeom_cli.figures.geodesic import geodesics_of
from nngeom_cli.figures.input_plane import across_replicates, as_in_the_paper, on_image_plane, through_training
from nngeom_cli.figures.output import metadata, save
from nngeom_cli.figures.path import along_paths
from nngeom_cli.figures.path_peaks import peak_distances
from nngeom_cli.figures.path_words import CURVATURE, SPEED
from nngeom_cli.figures.selection import figures_config
from nngeom_cli.figures.style import style
from nngeom_cli.store.layout import CHECKPOINTS, FIGURES
from nngeom_cli.store.measured import check_measured
from nngeom_cli.store.run import Run
from nngeom_cli.system.atomic import refuse_link, remove_leftovers, written_whole
from nngeom_cli.system.held_folder import held
from nngeom_cli.system.memory import losses_explained
from nngeom_cli.system.parallel import in_processes, split
from nngeom_cli.system.progress import Progress

__all__ = ["MOST_CHECKPOINTS_DRAWN", "SHEETS", "draw_as_in_the_paper", "draw_figures"]

MOST_CHECKPOINTS_DRAWN = 50  # more cannot be told apart on a strip two inches wide
Sheets: TypeAlias = dict[str, Callable[..., Sheet]]  # file name -> what draws the sheet, given a `note`


def draw_figures(
    run: Run, *, directory: Path | None = None, name: str | None = None, note: str | None = None, cores: int = 1
) -> list[Path]:
    """Draws all figures of a run, each as PNG and PDF, and saves the plotted numbers beside it as netCDF.

    Grids: for each layer `grid-layer-1` (one replicate through training) and, with several replicates,
    `grid-layer-1-replicates` (all of them at the end). Paths: for each layer
    `path-layer-1`, `path-layer-1-speed` and `path-layer-1-curvature` (a panel for each pair), and `path-layer-1-peaks`
    (how far the peaks lie from a change of prediction). Shortest paths: for each layer `geodesic-layer-1`. Planes
    through three inputs: for each of them and each layer `plane-0-6-8-layer-1`. Examples: for each layer
    `data-layer-1` (volume against margin and entropy) and `data-layer-1-classes` (volume by class and by error).

    Each checkpoint of a grid, path or plane has a small picture of its own, in the folder `checkpoints`, if
    `figures.checkpoints` asks for it.

    Args:
        run: what `load_run` returns; it may be complete or not.
        directory: where the files go; the run's own directory `figures` if None.
        name: what the file names begin with, so that several runs can share a directory; their checkpoints have no
            pictures then.
        note: a line drawn at the top of each figure, "QUICK: 1 % of the epochs".
        cores: how many figures are drawn at a time, where processes can be forked (Linux).

    Returns:
        The files, each in the first of its formats; not the pictures of checkpoints.

    Raises:
        ConfigError: the run's probe has no figure, its geometry is not what a run measures, or its `figures` is a
            link.
        FileNotFoundError: the run has no probed checkpoint yet.
        FolderError: the run was moved or deleted while it was drawn.
        LostProcessError: a drawing process was killed.
    """
    run = run.drawable(MOST_CHECKPOINTS_DRAWN, keep=figures_config(run).epochs or ())
    kind = str(run.geometry.attrs.get("kind"))
    if kind not in SHEETS:
        raise ConfigError(
            f"`probe.kind` must be {one_of(list(SHEETS))} to be drawn. Got {kind}. Draw run.geometry yourself."
        )
    check_measured(run.geometry, run.directory)
    target = run.directory / FIGURES if directory is None else directory
    if directory is None:
        refuse_link(target)
    remove_leftovers(target)
    about, formats = metadata(run), figures_config(run).format
    sheets = list(SHEETS[kind](run).items())
    of_checkpoints = figures_config(run).checkpoints and name is None and kind in DRAWN_KINDS
    if of_checkpoints:
        refuse_link(target / CHECKPOINTS)
        remove_leftovers(target / CHECKPOINTS)

    def drawn(share: slice) -> Iterator[Path]:
        for stem, draw in sheets[share]:
            with style():
                path = save(draw(note=note), target, stem if name is None else f"{name}-{stem}", about, formats)
            renew_old_name(path)
            yield path
        if of_checkpoints and share.stop == len(sheets):
            with style():
                for _ in draw_checkpoints(run, target, about, run.each_checkpoint()):
                    pass

    files: list[Path] = []
    shares = split(len(sheets), min(cores, len(sheets)))
    again = f"`nngeom figures {shlex.quote(str(run.directory))}` draws them again."
    with (
        held(run.directory, "nngeom figures") if directory is None else nullcontext(),
        Progress("figure", len(sheets)) as progress,
        losses_explained(run.geometry.nbytes, again),
        in_processes([drawn(share) for share in shares]) as done,
    ):
        for path in chain.from_iterable(done):
            files.append(path)
            progress.update(len(files))
    return files


def renew_old_name(path: Path) -> None:
    """Brings a picture up to date that an earlier version drew: `grid-layer-1` was called `plane-layer-1`."""
    old = path.with_name(path.name.replace("grid-layer-", "plane-layer-"))
    if old != path and old.is_file() and not old.is_symlink():
        with written_whole(old) as temporary:
            shutil.copyfile(path, temporary)


def draw_as_in_the_paper(run: Run, directory: Path, name: str, note: str | None = None) -> Path:
    """Draws a run of a grid or of paths in the layout of the paper's figures, as `name`-paper; returns the PNG."""
    run = run.drawable(MOST_CHECKPOINTS_DRAWN)
    layer = int(run.geometry.layer[0])
    with style():
        if run.geometry.attrs["kind"] == "path":
            sheet = along_paths(run, layer, note, development=False)
        else:
            sheet = as_in_the_paper(run, layer, note)
        return save(sheet, directory, f"{name}-paper", metadata(run))


def grid_sheets(run: Run) -> Sheets:
    """Each layer through training, and across replicates."""
    sheets: Sheets = {}
    for layer, word in layers_of(run).items():
        sheets[f"grid-{word}"] = partial(through_training, run, layer)
        if run.geometry.sizes["replicate"] > 1:
            sheets[f"grid-{word}-replicates"] = partial(across_replicates, run, layer)
    return sheets


def path_sheets(run: Run) -> Sheets:
    """For each layer: effective volume, distances of its peaks to a change of prediction, speed and curvature."""
    sheets: Sheets = {}
    for layer, word in layers_of(run).items():
        sheets[f"path-{word}"] = partial(along_paths, run, layer)
        sheets[f"path-{word}-peaks"] = partial(peak_distances, run, layer)
        if "speed" in run.geometry:
            sheets[f"path-{word}-speed"] = partial(along_paths, run, layer, curve=SPEED)
        if "path_curvature" in run.geometry:
            sheets[f"path-{word}-curvature"] = partial(along_paths, run, layer, curve=CURVATURE)
    return sheets


def geodesic_sheets(run: Run) -> Sheets:
    """For each layer: lengths through training, and the paths."""
    return {f"geodesic-{word}": partial(geodesics_of, run, layer) for layer, word in layers_of(run).items()}


def plane_sheets(run: Run) -> Sheets:
    """Each layer on each plane through three inputs."""
    names = ["-".join(f"{end:g}" for end in triple) for triple in run.geometry[naming(run)].values]
    return {
        f"plane-{name}-{word}": partial(on_image_plane, run, plane, layer)
        for plane, name in enumerate(names)
        for layer, word in layers_of(run).items()
    }


def data_sheets(run: Run) -> Sheets:
    """For each layer: the volume at examples against the certainty of the prediction, and by class and error."""
    sheets: Sheets = {}
    for layer, word in layers_of(run).items():
        sheets[f"data-{word}"] = partial(at_examples, run, layer)
        sheets[f"data-{word}-classes"] = partial(by_class, run, layer)
    return sheets


def naming(run: Run) -> str:
    """The variable that names the three inputs of a plane: their classes, or their rows if those were given."""
    return "corner_class" if run.config["probe"]["corners"] == "class" else "corner_index"


def layers_of(run: Run) -> dict[int, str]:
    """The measured layers by number, and what the names of their files say: `layer-2`, or `prediction`."""
    return {layer: layer_word(run.geometry.attrs, layer) for layer in run.geometry.layer.values.tolist()}


SHEETS: dict[str, Callable[[Run], Sheets]] = {
    "grid": grid_sheets,
    "path": path_sheets,
    "geodesic": geodesic_sheets,
    "plane": plane_sheets,
    "data": data_sheets,
}
