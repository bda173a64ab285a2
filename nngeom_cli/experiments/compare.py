"""The comparison of a sweep's runs: the experiment that they belong to, its numbers, its figure and tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from nngeom_cli.analysis.networks import networks
from nngeom_cli.experiments import activations, amari_wu, depth, generalization, lazy, magnify, width
from nngeom_cli.experiments.agreement import networks_and_machines
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.output import convention_words, save
from nngeom_cli.figures.style import style
from nngeom_cli.store.run import Run
from nngeom_cli.system.atomic import remove_leftovers, written_whole

__all__ = ["EXPERIMENTS", "draw_comparison", "experiment"]


class Experiment(NamedTuple):
    """The statistics of a table of networks, the figure of both, the table of runs, and perhaps a figure of runs."""

    statistics: Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]
    draw: Callable[[pd.DataFrame, pd.DataFrame], Sheet]
    table: Callable[[Sequence[Run]], pd.DataFrame] = networks
    draw_fields: Callable[[Sequence[Run]], Sheet] | None = None


EXPERIMENTS = {
    "width": Experiment(width.statistics, width.draw),
    "lazy": Experiment(lazy.statistics, lazy.draw),
    "generalization": Experiment(
        generalization.statistics, generalization.draw, partial(networks, every_checkpoint=True)
    ),
    "activations": Experiment(activations.statistics, activations.draw),
    "magnify": Experiment(magnify.statistics, magnify.draw, magnify.networks_at_examples),
    "depth": Experiment(depth.statistics, depth.draw, depth.layers_of),
    **dict.fromkeys(
        ("amari_wu", "amari_wu_digits"),
        Experiment(amari_wu.statistics, amari_wu.draw, networks_and_machines, amari_wu.draw_fields),
    ),
}


def draw_comparison(runs: Sequence[Run], directory: Path) -> list[Path]:
    """Draws and tabulates a sweep whose experiment has a comparison; does nothing for any other.

    Args:
        runs: the runs of the sweep; those without a last checkpoint are left out.
        directory: where `NAME.png`, `NAME.pdf`, `NAME.csv` (a row for each statistic: estimate, low, high, n) and
            `NAME-networks.csv` (a row for each network, and checkpoint) go, NAME the experiment; and, where it draws
            fields of some of the runs, `NAME-fields.png` and `NAME-fields.pdf`.

    Returns:
        The PNG, the two tables, and the PNG of fields, if any; nothing where the runs are of no such experiment, or
        none has finished.
    """
    name = experiment(runs)
    if name not in EXPERIMENTS:
        return []
    statistics_of, draw, table_of, draw_fields = EXPERIMENTS[name]
    table = table_of(runs)
    if table.empty:
        return []
    statistics = statistics_of(table, np.random.default_rng(0))
    info = runs[0].info
    about = {
        "Run": f"experiment {name}, {len(runs)} runs",
        "Command": str(info.get("command")),
        "Version": f"nngeom {info.get('versions', {}).get('nngeom', 'of unknown version')}",
        "Convention": convention_words("geometric"),
    }
    remove_leftovers(directory)
    with style():
        drawn = [save(draw(table, statistics), directory, name, about)]
    for stem, rows in ((name, statistics), (f"{name}-networks", table)):
        with written_whole(directory / f"{stem}.csv") as path:
            path.write_text(rows.to_csv(index=False), encoding="utf-8")
        drawn.append(directory / f"{stem}.csv")
    if draw_fields is not None:
        with style():
            drawn.append(save(draw_fields(runs), directory, f"{name}-fields", about))
    return drawn


def experiment(runs: Sequence[Run]) -> str | None:
    """The experiment that all of the runs were started as; None if there is none."""
    found = [re.search(r"(?<!\S)experiment=(\w+)(?!\S)", run.info.get("command", "")) for run in runs]
    names = {word[1] if word else None for word in found}
    return names.pop() if len(names) == 1 else None
