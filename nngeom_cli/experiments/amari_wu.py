"""Whether training magnifies where Amari and Wu magnify by hand, near the decision boundary, and whether that helps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from nngeom_cli.analysis.boundary import boundary_of, decision_boundary
from nngeom_cli.experiments.agreement import CONTROLS, ERRORS
from nngeom_cli.experiments.machines import (
    KERNELS,
    fields_measured,
    grid_of,
    in_box,
    machines_of,
    task_and_seed,
)
from nngeom_cli.experiments.panels import DOT, panels
from nngeom_cli.experiments.table import means, networks_in_words, row_of
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.heatmap import Field, boundary_key, draw_boundary, draw_field, draw_points
from nngeom_cli.figures.looks import LOOKS
from nngeom_cli.figures.style import CLASS_COLOURS, FONT_SIZE, LINE, SMALL_FONT_SIZE, TEXT_WIDTH, wrapped
from nngeom_cli.store.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw", "draw_fields", "statistics", "verdict"]

DECISIVE = ("", "_gain", "_over_mirrored", "_over_task")  # what must lie above 0 for the paper's sentence to hold
# columns, the year left open: their words and colour
SHOWN = {
    "kernel_{}": ("trained network", CLASS_COLOURS[0]),
    "initial_kernel_{}": ("untrained network", "0.55"),
    "kernel_{}_mirrored": ("kernel mirrored", CLASS_COLOURS[9]),
    "kernel_{}_task": ("kernel of another task", CLASS_COLOURS[2]),
    "kernel_{}_other": ("kernel of another data set", CLASS_COLOURS[3]),
    "kernel_{}_partial": ("trained network, given the distance", CLASS_COLOURS[6]),
}


def statistics(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Rank correlations with each kernel's log V, those of controls, test errors, paired differences, by task.

    The networks of one data set are averaged; means and intervals are over data sets.
    """
    numbers = {name: table[name] for name in ("closeness", *ERRORS)}
    numbers["features_error_gain"] = table.features_error - table.initial_features_error
    for year in KERNELS:
        name = f"kernel_{year}"
        numbers |= {each: table[each] for each in (name, f"initial_{name}", f"{name}_partial")}
        numbers[f"{name}_gain"] = table[name] - table[f"initial_{name}"]
        numbers[f"{name}_over_closeness"] = table[name] - table.closeness
        for control in CONTROLS:
            numbers[f"{name}_{control}"] = table[f"{name}_{control}"]
            numbers[f"{name}_over_{control}"] = table[name] - table[f"{name}_{control}"]
        numbers[f"machine_error_{year}_change"] = table[f"machine_error_{year}"] - table.machine_error
    of_data_sets = pd.DataFrame(numbers).groupby([table.task, table.data_seed], sort=False).mean().reset_index()
    return means(of_data_sets, "task", list(numbers), rng)


def verdict(statistics: pd.DataFrame, year: str, task: str) -> str:
    """Whether a trained network's volume is consistent with a kernel's: `holds`, `fails` or `undecided`.

    It holds where their rank correlation, and what it exceeds that of the untrained network, that with the mirrored
    kernel and that with another task's kernel by, have intervals above 0; it fails where one has its interval below 0.

    Args:
        statistics: what `statistics` returns.
        year: of the kernel.
        task: its name.
    """
    found = [row_of(statistics, f"mean kernel_{year}{end}", task) for end in DECISIVE]
    if any(one["high"] < 0 for one in found):
        return "fails"
    return "holds" if all(one["low"] > 0 for one in found) else "undecided"


def draw(table: pd.DataFrame, statistics: pd.DataFrame) -> Sheet:
    """Correlations with each kernel and with its controls, test errors of the machines, and the verdicts."""
    tasks = [task for task in dict.fromkeys(table.task) if isinstance(task, str)]
    sets = table.dropna(subset="loss").groupby(["task", "data_seed"]).ngroups
    on_planes = any(task.startswith("digits ") for task in tasks)
    where, whose = ("the planes", "the three images") if on_planes else ("the grid", "the data")
    words = (
        f"{networks_in_words(table)}: means over {sets} data sets, with 95 % intervals. Above: rank correlation of the "
        f"hidden layer's log V with that of each magnified kernel, at the points of {where} in the box of {whose}. "
        "Below: test error; dots: data sets"
    )
    conclusion = wrapped(_conclusion(statistics, tasks), TEXT_WIDTH - 0.1, SMALL_FONT_SIZE)
    lines = conclusion.count("\n") + 1
    sheet, grid = panels(words, 2 * len(tasks), rows=2, keys=lines + 2, left=0.95, gap=0.12)
    for place, task in enumerate(tasks):
        upper, lower = grid[place], grid[place + len(tasks)]
        _draw_correlations(upper, statistics, task)
        _draw_errors(lower, table[table.task == task], statistics, task)
        upper.set_title(task, fontsize=FONT_SIZE)
        if place:
            upper.set_yticklabels([])
            lower.set_yticklabels([])
    sheet.text(0.05, sheet.height - lines * LINE - 0.38, conclusion, fontsize=SMALL_FONT_SIZE)
    sheet.legend(
        [Line2D([], [], color=colour, marker="o", markersize=2.5, label=label) for label, colour in SHOWN.values()], 3
    )
    return sheet


def _draw_correlations(axes: Axes, statistics: pd.DataFrame, task: str) -> None:
    shown = [f"mean {name.format(year)}" for name in SHOWN for year in KERNELS]
    shifts = np.linspace(-0.36, 0.36, len(SHOWN))
    for place, year in enumerate(KERNELS):
        for shift, (name, (_, colour)) in zip(shifts, SHOWN.items(), strict=True):
            _bar(axes, row_of(statistics, f"mean {name.format(year)}", task), place + shift, colour)
    _bar(axes, row_of(statistics, "mean closeness", task), len(KERNELS), SHOWN["kernel_{}"][1])
    axes.axvline(0.0, color="0.8", linewidth=0.6, zorder=0)
    axes.set_yticks(range(len(KERNELS) + 1), [*KERNELS.values(), "closeness alone"], fontsize=SMALL_FONT_SIZE)
    axes.set_ylim(len(KERNELS) + 0.5, -0.5)
    lowest = statistics.low[statistics.statistic.isin(shown)].min()
    axes.set_xlim(min(-0.6, lowest - 0.05), 1.05)
    axes.set_xticks([-0.5, 0.0, 0.5])


def _draw_errors(axes: Axes, table: pd.DataFrame, statistics: pd.DataFrame, task: str) -> None:
    sets = table.groupby("data_seed")
    for place, name in enumerate(ERRORS):
        values = sets[name].mean().to_numpy(float)
        axes.plot(100 * values, np.full(len(values), place), **DOT | {"color": "0.55"})
        found = {key: 100 * value for key, value in row_of(statistics, f"mean {name}", task).items()}
        _bar(axes, found, place, CLASS_COLOURS[0])
    axes.set_yticks(range(len(ERRORS)), list(ERRORS.values()), fontsize=SMALL_FONT_SIZE)
    axes.set_ylim(len(ERRORS) - 0.5, -0.5)
    axes.set_xlim(left=0.0)
    axes.set_xlabel("test error (%)", fontsize=SMALL_FONT_SIZE, labelpad=1.0)


def _bar(axes: Axes, found: dict[str, float], place: float, colour: str) -> None:
    axes.plot([found["low"], found["high"]], [place] * 2, color=colour, linewidth=1.0)
    axes.plot(found["estimate"], place, color=colour, marker="o", markersize=2.5)


def _conclusion(statistics: pd.DataFrame, tasks: Sequence[str]) -> str:
    """The verdicts, what is left beyond the distance to the boundary, and whether magnification changes test error."""
    verdicts: dict[str, list[str]] = {"holds": [], "fails": [], "undecided": []}
    beyond, better, worse = [], [], []
    for task in tasks:
        for year in KERNELS:
            case = f"{task} {year}"
            verdicts[verdict(statistics, year, task)].append(case)
            if row_of(statistics, f"mean kernel_{year}_partial", task)["low"] > 0:
                beyond.append(case)
            change = row_of(statistics, f"mean machine_error_{year}_change", task)
            if change["high"] < 0:
                better.append(case)
            if change["low"] > 0:
                worse.append(case)
    said = "; ".join(f"{word}: {_listed(cases)}" for word, cases in verdicts.items())
    return (
        "Magnified where the kernel is, more than untrained, than mirrored and than another task's (holds: all four "
        f"intervals above 0; fails: one below) — {said}. Beyond the distance to the boundary: {_listed(beyond)}. Test "
        f"error after magnification lower: {_listed(better)}; higher: {_listed(worse)}."
    )


def _listed(cases: Sequence[str]) -> str:
    return ", ".join(cases) or "none"


def draw_fields(runs: Sequence[Run]) -> Sheet:
    """log V of the kernels and of the first network, for the first data set of each task."""
    first: dict[str, Run] = {}
    for run in runs:
        if "replicates" in run.info:
            first.setdefault(task_and_seed(run)[0], run)
    columns = ["Gaussian kernel", *KERNELS.values(), "hidden layer, untrained", "hidden layer, trained"]
    on_planes = any("plane" in run.first_and_last.dims for run in first.values())
    where = ", first plane" if on_planes else ""
    whose, points = ("the three images", "the images") if on_planes else ("the data", "training set")
    words = (
        f"log V of kernels and of a network's hidden layer, first data set of each task{where}. Dashed: the box of "
        f"{whose}, in which correlations are taken; each panel has colours of its own, scaled to the range in the box "
        "(above it: 1st to 99th percentile, nats). Boundary of the panel's machine or of the trained network; points: "
        f"{points}"
    )
    left, gap, right = 0.2, 0.06, 0.05
    side = (TEXT_WIDTH - left - right - (len(columns) - 1) * gap) / len(columns)
    title = wrapped(words, TEXT_WIDTH - 0.1)
    head = LINE * (title.count("\n") + 2) + 0.12
    step = side + 0.2
    sheet = Sheet.blank(TEXT_WIDTH, head + len(first) * step + 0.25)
    sheet.text(0.05, 0.05, title, fontsize=FONT_SIZE)
    for place, label in enumerate(columns):
        sheet.text(left + place * (side + gap) + side / 2, head - LINE, label, fontsize=SMALL_FONT_SIZE, ha="center")
    for row, (task, run) in enumerate(first.items()):
        top = head + row * step + 0.15
        sheet.text(0.05, top + side / 2, task, fontsize=FONT_SIZE, rotation=90, va="center")
        for place, (values, boundary) in enumerate(_panels_of(run)):
            axes = sheet.axes(left + place * (side + gap), top, side, side, xticks=[], yticks=[])
            _draw_field(axes, run, values, boundary, side)
    sheet.legend([boundary_key()], 1)
    return sheet


def _panels_of(run: Run) -> list[tuple[Any, list[Any]]]:
    """log V `(y, x)` and the boundary of each panel of a row."""
    geometry = fields_measured(run)[0].isel(replicate=0)
    x, y, grid = geometry.x.values, geometry.y.values, grid_of(geometry)
    machines = machines_of(run)[0][0]

    def boundary(machine: Any) -> list[Any]:
        return decision_boundary(machines.decision(machine, grid), x, y)

    gaussian: Any = machines.first.kernel
    constant = np.full(grid.shape[:2], -2 * np.log(gaussian.scale))
    own = boundary_of(geometry.isel(epoch=-1))
    volumes = geometry.log_volume_element.transpose("epoch", "y", "x").values
    return [
        (constant, boundary(machines.first)),
        *((machines.log_volume(year, grid), boundary(machines.magnified[year])) for year in KERNELS),
        (volumes[0], own),
        (volumes[-1], own),
    ]


def _draw_field(axes: Axes, run: Run, values: Any, boundary: list[Any], side: float) -> None:
    geometry = fields_measured(run)[0]
    shown = values[in_box(grid_of(geometry), geometry.attrs["box"])]
    finite = shown[np.isfinite(shown)]
    low, high = np.percentile(finite, [1, 99]) if finite.size else (np.nan, np.nan)
    same = high - low < 1e-9
    draw_field(
        axes, Field(values), geometry.x.values, geometry.y.values, LOOKS["volume"].norm(shown), LOOKS["volume"].colours
    )
    draw_points(axes, geometry.input.values, geometry.label.values, side)
    draw_boundary(axes, boundary, side)
    left, right, bottom, top = geometry.attrs["box"]
    axes.plot([left, right, right, left, left], [bottom, bottom, top, top, bottom], "--", color="0.4", linewidth=0.5)
    words = f"{low:.1f} everywhere" if same else f"{low:.1f} to {high:.1f}"
    axes.set_title(words if finite.size else "no values", fontsize=SMALL_FONT_SIZE, pad=1.5)
