"""`nngeom compare`: runs side by side, in numbers and in figures."""

from __future__ import annotations

import csv
import datetime
import io
import math
import os
import shlex
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nngeom_cli.cli.arguments import run_folders
from nngeom_cli.errors import ConfigError, printable, require, say, shown, unwritable

if TYPE_CHECKING:
    from nngeom_cli.analysis.comparison import Comparison
    from nngeom_cli.analysis.estimate import Estimate
    from nngeom_cli.store.run import Run

__all__ = ["compare"]

FOLDER = "directory="
LONGEST_NAME = 40  # characters of a run's name in a figure


def compare(options: Namespace) -> int:
    """nngeom compare RUN RUN... [directory=FOLDER]

    Two to six runs side by side: the keys in which their configs differ; scores and statistics of each, with the
    difference of each later run from the first [95 % interval], paired by seed where seeds match; figures on common
    scales, of training and of heatmaps or curves. Figures and tables go into a new folder, below outputs/comparisons
    unless FOLDER is named, whose path is the last line.
    """
    words = [word for word in options.words if not word.startswith(FOLDER)]
    named = [word.removeprefix(FOLDER) for word in options.words if word.startswith(FOLDER)]
    require(len(named) <= 1, "directory", "given once", " and ".join(named), "Name one folder.")
    runs = run_folders("compare", words)
    for folder in runs:
        require(
            not (folder / "sweep.json").exists(),
            "nngeom compare",
            "followed by runs",
            f"{folder}, a sweep",
            "Name them.",
        )

    from nngeom_cli.analysis.comparison import compared_runs
    from nngeom_cli.config.recorded import read_saved
    from nngeom_cli.store.measured import check_measured
    from nngeom_cli.store.run import load_run

    found = compared_runs(runs)
    loaded = [load_run(folder).drawable(2) for folder in runs]
    for run in loaded:
        read_saved(run.info)
        check_measured(run.geometry, run.directory)
    directory = _new(named[0] if named else "")
    print(_tables(found, runs))
    for name, text in (("config", _config_csv(found)), ("statistics", _statistics_csv(found))):
        path = directory / f"{name}.csv"
        _write(path, text)
        print(f"table {path}")
    for path in _draw(found, loaded, directory, shlex.join(["nngeom", "compare", *options.words])):
        print(f"figure {path}")
    print(directory, flush=True)
    return 0


def _new(named: str) -> Path:
    """Makes the folder of a comparison."""
    require(not named.startswith("~"), "directory", "a path that needs no shell", named, "Write it out.")
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    directory = Path(named or f"outputs/comparisons/{now}").absolute()
    try:
        directory.mkdir(parents=True)
    except FileExistsError:
        raise ConfigError(
            f"`directory` must be a folder that does not exist yet. Got {directory}. Leave it out for a new name."
        ) from None
    except OSError as error:
        raise unwritable(directory, error) from error
    return directory


def _tables(found: Comparison, runs: Sequence[Path]) -> str:
    """The runs, their configs' differences, and the most important statistics, as text."""
    from nngeom_cli.analysis.columns import MINUS, default_columns
    from nngeom_cli.analysis.text_table import aligned

    first, *others = found.letters
    config = [[key, *map(_config_cell, values)] for key, values in found.differing.items()]
    statistics = []
    for name in default_columns(list(found.differences)):
        if not name.endswith(MINUS):
            cells = [_cell(row.estimates[name]) for row in found.rows]
            statistics.append([name, *cells, *map(_cell, found.differences[name])])
    paired = ", ".join(
        f"{letter} and {first} are {_pairing(count)}" for letter, count in zip(others, found.shared, strict=True)
    )
    return "\n\n".join(
        [
            aligned([("", "run"), *zip(found.letters, map(str, runs), strict=True)]),
            aligned([["config", *found.letters], *config]) if config else "The configs are the same.",
            aligned([["mean [95 % interval]", *found.letters, *(f"{one} - {first}" for one in others)], *statistics]),
            f"{paired[0].upper()}{paired[1:]}.",
        ]
    )


def _pairing(seeds: int) -> str:
    return f"paired by {seeds} seed{'s' * (seeds > 1)}" if seeds else "not paired: no seed is shared"


def _config_cell(value: object) -> str:
    return "-" if value is None else shown(value)


def _cell(one: Estimate) -> str:
    if one.n == 0:
        return "-"
    value, low, high = (f"{number:.3g}" for number in (one.value, one.low, one.high))
    return value if math.isnan(one.low) or value == low == high else f"{value} [{low}, {high}]"


def _config_csv(found: Comparison) -> str:
    from nngeom_cli.analysis.text_table import in_csv

    rows = [[key, *map(_config_cell, values)] for key, values in found.differing.items()]
    return _csv([["key", *found.letters], *[list(map(in_csv, row)) for row in rows]])


def _statistics_csv(found: Comparison) -> str:
    """A row for each metric and run: its mean, and its difference from the first run."""
    head = ["statistic", "run", "mean", "low", "high", "n"]
    head += [f"difference_{name}" for name in ("mean", "low", "high", "n")]
    rows: list[list[object]] = [list(head)]
    for name, differences in found.differences.items():
        for letter, row, other in zip(found.letters, found.rows, [None, *differences], strict=True):
            rows.append([name, letter, *_numbers(row.estimates[name]), *(_numbers(other) if other else [""] * 4)])
    return _csv(rows)


def _numbers(one: Estimate) -> list[object]:
    return [*("" if math.isnan(value) else value for value in (one.value, one.low, one.high)), one.n]


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    from nngeom_cli.system.atomic import written_whole

    with written_whole(path) as whole:
        whole.write_text(text, encoding="utf-8")


def _draw(found: Comparison, runs: Sequence[Run], directory: Path, command: str) -> list[Path]:
    from nngeom_cli.errors import beginning_of
    from nngeom_cli.figures.comparison import not_drawn, sheets
    from nngeom_cli.figures.output import convention_words, save
    from nngeom_cli.figures.style import style

    common = os.path.commonpath([run.directory.absolute().parent for run in runs])
    short = [printable(str(run.directory.absolute().relative_to(common))) for run in runs]
    names = [f"{letter}: {beginning_of(name, LONGEST_NAME)}" for letter, name in zip(found.letters, short, strict=True)]
    plain = [name.replace("$", r"\$") for name in names]  # so that Matplotlib does not read it as mathematics
    about = {
        "Run": ", ".join(names),
        "Command": command,
        "Version": f"nngeom {runs[0].info.get('versions', {}).get('nngeom', 'of unknown version')}",
        "Convention": convention_words("geometric"),
    }
    with style():
        drawn = [save(sheet, directory, name, about) for name, sheet in sheets(runs, plain)]
    if why := not_drawn(runs):
        say(f"The geometry is compared in numbers only: {why}.")
    return drawn
