"""Whether volume grows where predictions change in later layers, with and without convolutions and skips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from nngeom_cli.analysis.bootstrap import estimate
from nngeom_cli.analysis.degeneracy import layer_words
from nngeom_cli.analysis.path import path_statistics
from nngeom_cli.analysis.statistic import CONTROLS
from nngeom_cli.experiments.panels import DOT, panels
from nngeom_cli.experiments.table import networks_in_words, row, row_of
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.style import CLASS_COLOURS, FONT_SIZE
from nngeom_cli.store.measured import check_measured
from nngeom_cli.store.run import Run

__all__ = ["draw", "layers_of", "statistics"]

RELATIVE, ABSOLUTE = "change_excess", "volume_at_change"  # nats
DRAWN = {
    RELATIVE: "log effective volume at\nchanges minus the path's\nmean (nats)",
    ABSOLUTE: "log effective volume\nat changes (nats)",
}
MEASURES = (*DRAWN, "peak_distance", "volume_mean")
MINUS = tuple(f"_minus_{control}" for control in CONTROLS["path"])
LAYER = ["network", "layer"]


def layers_of(runs: Sequence[Run]) -> pd.DataFrame:
    """A row for each network, layer and checkpoint: accuracy, and statistics of paths, each the mean over the paths.

    `change_excess`, `volume_at_change`, `peak_distance` and `volume_mean` are those of `path_statistics`, with the
    changes of prediction of the last checkpoint; `change_excess_other` has a control in their place, and so on.
    Networks that diverged have none of them.
    """
    return pd.concat([_of_run(run) for run in runs if "replicates" in run.info] or [pd.DataFrame()], ignore_index=True)


def _of_run(run: Run) -> pd.DataFrame:
    geometry, architecture = run.geometry, run.config["architecture"]
    check_measured(geometry, run.directory)
    controls = CONTROLS["path"]
    found = path_statistics(geometry, boundaries=["final", *controls]).mean("pair")
    numbers: dict[str, xr.DataArray] = {}
    for name in MEASURES:
        if "boundary" not in found[name].dims:
            numbers[name] = found[name]
            continue
        for end, boundary in (("", "final"), *((f"_{control}", control) for control in controls)):
            numbers[f"{name}{end}"] = found[name].sel(boundary=boundary, drop=True)
    table = xr.Dataset(numbers).to_dataframe(dim_order=["layer", "epoch", "replicate"]).reset_index()
    table = table.rename(columns={"replicate": "seed"})
    final = {int(each["replicate"]): each for each in run.replicates}
    for score in ("loss", "accuracy", "test_accuracy"):
        values = [final[seed].get(score) for seed in table.seed]
        table[score] = [np.nan if value is None else value for value in values]
    table.loc[table.loss.isna(), list(numbers)] = np.nan
    kind = str(architecture.get("kind", "fully_connected")).replace("_", " ")
    named = [layer_words(geometry.attrs, int(layer)).removeprefix("layer ") for layer in table.layer]
    table.insert(0, "network", f"{kind}, residual" if architecture.get("residual") else kind)
    table.insert(1, "activation", architecture["activation"])
    table.insert(3, "layer_name", ["output" if "output" in name else name for name in named])
    return table


def statistics(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """What training does to each layer, means over networks, by `NETWORK, layer N, epoch E`.

    Of a measure `X`: itself; at the last checkpoint `X_other`, at the control, `X_gain`, minus the untrained network's,
    and `X_gain_minus_other`, what training adds beyond what it adds at the control. By `NETWORK` alone: accuracies, and
    what training adds in the last hidden layer minus that in the first, paired by network.
    """
    table = _with_gains(table)
    every = [name for name in table if str(name).startswith(MEASURES)]
    final, rows = table.epoch.max(), list[dict[str, Any]]()
    for (network, layer, epoch), part in table.groupby([*LAYER, "epoch"], sort=False):
        of = f"{network}, layer {layer}, epoch {epoch}"
        rows += [row(f"mean {name}", of, _mean(part[name], rng)) for name in (every if epoch == final else MEASURES)]
    last = table[table.epoch == final]
    for network, part in last.groupby("network", sort=False):
        hidden = part.layer[part.layer_name != "output"]
        ends = [part[part.layer == layer].set_index("seed") for layer in (hidden.min(), hidden.max())]
        rows += [row(f"mean {score}", network, _mean(ends[0][score], rng)) for score in ("accuracy", "test_accuracy")]
        for name in (f"{measure}_gain{end}" for measure in DRAWN for end in ("", *MINUS)):
            difference = ends[-1][name] - ends[0][name]
            rows.append(row(f"mean {name} of the last hidden layer minus the first", network, _mean(difference, rng)))
    return pd.DataFrame(rows)


def _mean(values: pd.Series[float], rng: np.random.Generator) -> Any:
    return estimate(xr.DataArray(values.to_numpy(float), dims="replicate"), rng)


def _with_gains(table: pd.DataFrame) -> pd.DataFrame:
    """With what training adds to each measure, and how much of it is beyond what it adds at the controls."""
    known = [name for name in table if str(name).startswith(MEASURES)]
    first = table[table.epoch == table.epoch.min()].set_index([*LAYER, "seed"])[known]
    before = first.loc[pd.MultiIndex.from_frame(table[[*LAYER, "seed"]])].to_numpy()
    gains = pd.DataFrame(table[known].to_numpy() - before, columns=known)
    added = {f"{name}_gain": gains[name] for name in MEASURES}
    for name in DRAWN:
        for end in MINUS:
            added[f"{name}_gain{end}"] = gains[name] - gains[name + end.removeprefix("_minus")]
    return table.assign(**added)


def draw(table: pd.DataFrame, statistics: pd.DataFrame) -> Sheet:
    """Relative and absolute volume at the changes of prediction against the layer, before, in and after training."""
    networks, epochs = list(dict.fromkeys(table.network)), sorted(table.epoch.unique())
    last = table[(table.epoch == epochs[-1]) & (table.layer == table.groupby("network").layer.transform("min"))]
    words = (
        f"{networks_in_words(last)}: log effective volume where the prediction changes on paths between two examples, "
        "against the layer; a dot for each network, bars and lines: means and 95 % intervals. Above relative to the "
        "path, below absolute. Controls: the changes on other paths of the same network, and the middle of the path"
    )
    sheet, grid = panels(words, 2 * len(networks), rows=2, lines=1, keys=1, left=0.85)
    looks: list[tuple[str, int, str, str, str]] = [
        ("", epochs[0], "0.55", "o", "untrained"),
        *(("", epoch, CLASS_COLOURS[1], "o", f"epoch {epoch}") for epoch in epochs[1:-1]),
        ("", epochs[-1], CLASS_COLOURS[0], "o", f"trained (epoch {epochs[-1]})"),
        ("_other", epochs[-1], CLASS_COLOURS[9], "s", "trained, other paths' changes"),
        ("_middle", epochs[-1], CLASS_COLOURS[3], "^", "trained, middle of the path"),
    ]
    keys: list[Any] = []
    for place, axes in enumerate(grid):
        network, measure = networks[place % len(networks)], list(DRAWN)[place // len(networks)]
        if place % len(networks) == 0:
            axes.set_ylabel(DRAWN[measure])
        else:
            axes.sharey(grid[place - place % len(networks)])
            axes.tick_params(labelleft=False)
        part = table[table.network == network]
        names = part.drop_duplicates("layer").set_index("layer").layer_name
        for shift, (end, epoch, colour, marker, label) in zip(np.linspace(-0.25, 0.25, len(looks)), looks, strict=True):
            of = [f"{network}, layer {layer}, epoch {epoch}" for layer in names.index]
            found = [row_of(statistics, f"mean {measure}{end}", each) for each in of]
            x = np.arange(len(found)) + shift
            at_epoch = part[part.epoch == epoch]
            for n, layer in enumerate(names.index):
                values = at_epoch[at_epoch.layer == layer][f"{measure}{end}"].to_numpy(float)
                axes.plot(np.full(len(values), x[n]), values, **DOT | {"color": colour, "alpha": 0.3})
            means, low, high = (np.array([each[key] for each in found]) for key in ("estimate", "low", "high"))
            axes.vlines(x, low, high, color=colour, linewidth=0.9)
            look: dict[str, Any] = {
                "color": colour,
                "linewidth": 0.8,
                "marker": marker,
                "markersize": 2.6,
                "label": label,
            }
            (line,) = axes.plot(x, means, **look)
            keys = [*keys, line] if place == 0 else keys
        axes.set_xticks(range(len(names)), list(names), rotation=35, ha="right", rotation_mode="anchor")
        if place < len(networks):
            axes.axhline(0.0, color="0.8", linewidth=0.6, zorder=0)
            axes.set_title(network, fontsize=FONT_SIZE)
            axes.set_xticklabels([])
    sheet.legend(keys, len(keys))
    return sheet
