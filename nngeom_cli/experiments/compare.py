"""The comparison of a sweep's runs: the experiment that they belong to, its numbers, its figure and tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from nngeom_cli.analysis.networks import networks
from nngeom_cli.experiments import activations, generalization, lazy, width
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.output import convention_words, save
from nngeom_cli.figures.style import style
from nngeom_cli.store.run import Run
from nngeom_cli.system.atomic import remove_leftovers, written_whole

__all__ = ["EXPERIMENTS", "draw_comparison", "experiment"]


class Experiment(NamedTuple):
    """The statistics of a table of networks, the figure of both, and whether the table has every checkpoint."""

    statistics: Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]
    draw: Callable[[pd.DataFrame, pd.DataFrame], Sheet]
    every_checkpoint: bool = False


EXPERIMENTS = {
    "width": Experiment(width.statistics, width.draw),
    "lazy": Experiment(lazy.statistics, lazy.draw),
    "generalization": Experiment(generalization.statistics, generalization.draw, every_checkpoint=True),
    "activations": Experiment(activations.statistics, activations.draw),
}


def draw_comparison(runs: Sequence[Run], directory: Path) -> list[Path]:
    """Draws and tabulates a sweep whose experiment has a comparison; does nothing for any other.

    Args:
        runs: the runs of the sweep; those without a last checkpoint are left out.
        directory: where `NAME.png`, `NAME.pdf`, `NAME.csv` (a row for each statistic: estimate, low, high, n) and
            `NAME-networks.csv` (a row for each network, and checkpoint) go, NAME the experiment.

    Returns:
        The PNG and the two tables; nothing where the runs are of no such experiment, or none has finished.
    """
    name = experiment(runs)
    if name not in EXPERIMENTS:
        return []
    statistics_of, draw, every_checkpoint = EXPERIMENTS[name]
    table = networks(runs, every_checkpoint=every_checkpoint)
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
    return drawn


def experiment(runs: Sequence[Run]) -> str | None:
    """The experiment that all of the runs were started as; None if there is none."""
    found = [re.search(r"(?<!\S)experiment=(\w+)(?!\S)", run.info.get("command", "")) for run in runs]
    names = {word[1] if word else None for word in found}
    return names.pop() if len(names) == 1 else None
