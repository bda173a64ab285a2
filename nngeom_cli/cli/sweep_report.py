"""The report at the end of a sweep: how each job ended, and the comparison of its runs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nngeom_cli.errors import DamageError, say, system_words

if TYPE_CHECKING:
    from nngeom_cli.store.sweep import Outcome

__all__ = ["draw_comparison_of", "report_sweep"]


def report_sweep(sweep: Path, outcomes: Sequence[Outcome]) -> int:
    """Prints how the jobs of a sweep ended: a table and the sweep's directory on stdout, errors on stderr.

    Returns:
        The number of jobs that are not complete, plus one if their comparison could not be drawn.
    """
    from nngeom_cli.analysis.text_table import aligned

    failures = [outcome for outcome in outcomes if outcome.error is not None]
    for outcome in failures:
        say(f"Job {outcomes.index(outcome)} ({outcome.overrides}): {outcome.error}")
    rows = [
        (
            str(number),
            outcome.overrides,
            outcome.status,
            "" if outcome.accuracy is None else f"{outcome.accuracy:.3f}",
            str(outcome.directory.relative_to(sweep)),
        )
        for number, outcome in enumerate(outcomes)
    ]
    print(aligned([("job", "overrides", "status", "accuracy", "directory"), *rows]))
    undrawn = 0
    try:
        draw_comparison_of(sweep)
    except DamageError as error:
        say(str(error))
    except OSError as error:
        say(system_words(error, f"`nngeom figures {shlex.quote(str(sweep))}` draws it"))
        undrawn = 1
    print(sweep, flush=True)
    return len(failures) + undrawn


def draw_comparison_of(directory: Path) -> bool:
    """Draws the comparison of a sweep's runs and prints its table, if its experiment has one."""
    from nngeom_cli.store.sweep import load_sweep

    sweep = load_sweep(directory)
    if not any("experiment=" in job.command for job in sweep.jobs):  # other sweeps need no imports
        return False

    import csv

    from nngeom_cli.analysis.text_table import aligned
    from nngeom_cli.config.loader import load_config
    from nngeom_cli.experiments.compare import draw_comparison
    from nngeom_cli.store.layout import FIGURES
    from nngeom_cli.system.atomic import refuse_link
    from nngeom_cli.system.held_folder import held

    with held(directory, "nngeom figures"):
        refuse_link(directory / FIGURES)
        runs = [run for job in sweep.jobs if (run := sweep.run(job)) is not None]
        for run in runs:
            load_config(run.config)  # as it is read, it may hold anything
        drawn = draw_comparison(runs, directory / FIGURES)
    if drawn:
        with drawn[1].open(newline="") as file:
            print(aligned([[_rounded(cell) for cell in row] for row in csv.reader(file)]))
    for path in drawn:
        print(f"figure {path}" if path.suffix == ".png" else f"table {path}")
    return bool(drawn)


def _rounded(cell: str) -> str:
    """A whole number as it is, another to three digits, anything else as it is."""
    try:
        number = float(cell)
    except ValueError:
        return cell
    return f"{number:.0f}" if number.is_integer() and abs(number) < 1e6 else f"{number:.3g}"
