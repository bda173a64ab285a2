"""A sweep as a page shows it: a table of its runs with what varies, its comparison, and the runs themselves."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nngeom_cli.analysis.run_rows import read_row
from nngeom_cli.config.nested import leaves
from nngeom_cli.errors import NngeomError, shown
from nngeom_cli.pages.metrics import few_metrics
from nngeom_cli.pages.packing import Numbers
from nngeom_cli.pages.run_view import Defaults, view_of_run
from nngeom_cli.store.layout import FIGURES
from nngeom_cli.store.sweep import Sweep
from nngeom_cli.system.atomic import read_whole
from nngeom_cli.system.progress import Progress

__all__ = ["view_of_sweep"]

MOST_RUNS = 40  # that are on the page with their fields
MOST_ROWS = 1000
MOST_PICTURES = 1_000_000  # bytes of comparisons
MOST_KEYS = 8  # that vary and have a column
PNG = b"\x89PNG\r\n\x1a\n"


def view_of_sweep(sweep: Sweep, numbers: Numbers, defaults: Defaults) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What a page shows of a sweep, and of its runs.

    Args:
        sweep: what `load_sweep` returns.
        numbers: takes the arrays.
        defaults: the default values for a config.
    """
    jobs = list(sweep.jobs)[:MOST_ROWS]
    configs = [dict(leaves(job.config)) for job in jobs]
    keys = [key for key in configs[0] if len({shown(config.get(key)) for config in configs}) > 1] if configs else []
    rows: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    started = [job for job in jobs if (sweep.directory / job.directory / "run.json").is_file()]
    share = 1 / max(1, min(len(started), MOST_RUNS))
    with Progress("run", len(jobs)) as progress:
        for job, config in zip(jobs, configs, strict=True):
            directory = sweep.directory / job.directory
            row = read_row(directory)
            about: dict[str, Any] = {
                "directory": job.directory,
                "varies": [shown(config.get(key)) for key in keys[:MOST_KEYS]],
                "status": row.status,
                "note": row.note,
                "metrics": few_metrics(row),
                "figures": _links(sweep.directory, job.directory),
                "run": None,
            }
            if job in started and len(runs) < MOST_RUNS:
                try:
                    run = sweep.run(job)
                    if run is not None:
                        view = view_of_run(run, numbers, defaults, share, row)
                        name = ", ".join(f"{key}={shown(config.get(key))}" for key in keys[:MOST_KEYS])
                        runs.append(view | {"name": f"{job.directory}: {name}" if name else job.directory})
                        about["run"] = len(runs) - 1
                except NngeomError as error:
                    about["note"] = about["note"] or str(error)
            rows.append(about)
            progress.update(len(rows))
    metrics = list(dict.fromkeys(name for row in rows for name in row["metrics"]))
    return {
        "name": sweep.directory.absolute().name,
        "keys": keys[:MOST_KEYS],
        "more_keys": keys[MOST_KEYS:],
        "metrics": metrics,
        "rows": rows,
        "jobs": len(sweep.jobs),
        "most_runs": MOST_RUNS,
        "pictures": _pictures(sweep.directory / FIGURES),
    }, runs


def _links(sweep: Path, directory: str) -> list[list[str]]:
    """The pictures and pages of a run, by name, as addresses relative to the sweep's own page."""
    paths = [*sorted((sweep / directory / FIGURES).glob("*.png")), sweep / directory / "report.html"]
    return [[path.name, "./" + quote(path.relative_to(sweep).as_posix())] for path in paths if path.is_file()]


def _pictures(folder: Path) -> list[dict[str, str]]:
    """The comparisons of a sweep's runs, as far as there is room."""
    pictures, room = [], MOST_PICTURES
    for path in sorted(folder.glob("*.png")):
        if path.is_symlink() or not path.is_file() or path.stat().st_size > room:
            continue
        content = read_whole(path, room)
        if content.startswith(PNG):
            room -= len(content)
            pictures.append({"name": path.stem, "png": base64.b64encode(content).decode("ascii")})
    return pictures
