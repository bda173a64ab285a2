"""`nngeom report`: the page of a run or of a sweep, written into its directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nngeom_cli.figures.style import (
    BOUNDARY_COLOUR,
    CLASS_COLOURS,
    CONTROL_COLOUR,
    LABEL_COLOURS,
    LIKE_COLOUR,
    MISSING_COLOUR,
    REPLICATE_COLOUR,
    STATISTIC_COLOUR,
    UNRELIABLE_COLOUR,
)
from nngeom_cli.pages.about import CITATION
from nngeom_cli.pages.document import data_text, document
from nngeom_cli.pages.packing import Numbers
from nngeom_cli.pages.run_view import Defaults, view_of_run
from nngeom_cli.pages.sweep_view import view_of_sweep
from nngeom_cli.store.layout import INFO, SWEEP
from nngeom_cli.store.run import load_run, refuse_lost
from nngeom_cli.store.sweep import load_sweep
from nngeom_cli.system.atomic import refuse_link, remove_leftovers, written_whole
from nngeom_cli.system.held_folder import held

__all__ = ["REPORT", "PageData", "page_data", "write_report"]

REPORT = "report.html"
COLOURS = {
    "boundary": BOUNDARY_COLOUR,
    "classes": list(CLASS_COLOURS),
    "labels": list(LABEL_COLOURS),
    "control": CONTROL_COLOUR,
    "like": LIKE_COLOUR,
    "missing": MISSING_COLOUR,
    "replicate": REPLICATE_COLOUR,
    "statistic": STATISTIC_COLOUR,
    "unreliable": UNRELIABLE_COLOUR,
}


@dataclass(frozen=True)
class PageData:
    """The title of a page, and its data as JSON that can stand in HTML."""

    title: str
    text: str


def write_report(directory: Path, defaults: Defaults) -> Path:
    """Writes `report.html` into the directory of a run or of a sweep.

    Args:
        directory: of a run or a sweep, finished or not.
        defaults: the default values for a config, or None where they are not known.

    Returns:
        The path of the page.

    Raises:
        DamageError: a file of the run is not as the run wrote it.
        ConfigError: its config could not have been run, or `report.html` is a link.
    """
    path = directory / REPORT
    refuse_link(path)
    remove_leftovers(directory)
    with held(directory, "nngeom report"):
        data = page_data(directory, defaults)
        with written_whole(path) as new:
            new.write_text(document(data.title, data.text), encoding="utf-8")
    return path


def page_data(directory: Path, defaults: Defaults, **more: Any) -> PageData:
    """What the page of a run or a sweep shows.

    Args:
        directory: of a run or a sweep.
        defaults: the default values for a config, or None where they are not known.
        more: further values for the page's script.
    """
    numbers = Numbers()
    sweep: dict[str, Any] | None = None
    runs: list[dict[str, Any]] = []
    if (directory / SWEEP).exists():
        sweep, runs = view_of_sweep(load_sweep(directory), numbers, defaults)
    elif (directory / INFO).exists():
        runs = [view_of_run(load_run(directory), numbers, defaults)]
    else:  # it has not started
        refuse_lost(directory)
    title = directory.absolute().name
    page = {"title": title, "colours": COLOURS, "sweep": sweep, "runs": runs, "citation": CITATION, **more}
    return PageData(f"{title}: nngeom", data_text(page, numbers.text()))
