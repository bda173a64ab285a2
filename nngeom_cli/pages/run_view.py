"""A run as a page shows it: values that JSON can hold, and arrays beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import xarray as xr

from nngeom_cli.analysis.degeneracy import layer_words
from nngeom_cli.analysis.run_rows import Row, read_row
from nngeom_cli.analysis.run_statistics import STATISTICS
from nngeom_cli.config.recorded import read_saved
from nngeom_cli.figures.selection import figures_config, final_scores, networks_shown, representative
from nngeom_cli.pages import curves, examples, maps
from nngeom_cli.pages.about import config_table, provenance_of
from nngeom_cli.pages.metrics import metrics_table
from nngeom_cli.pages.packing import Numbers
from nngeom_cli.pages.room import MOST_VALUES, Cells, Room, room_for_run
from nngeom_cli.pages.training import scores_of, statistics_through_training
from nngeom_cli.store.layout import FIGURES
from nngeom_cli.store.measured import check_measured
from nngeom_cli.store.run import FINISHED, Run

__all__ = ["Defaults", "view_of_run"]

MOST_CHECKPOINTS = 50  # that are read, as for figures
MOST_LINKS = 200
UNSEEN = {"geodesic": "Shortest paths are not drawn on this page: the figures of the run show them."}  # kinds of probes
Defaults: TypeAlias = Callable[[Mapping[str, Any]], "Mapping[str, Any] | None"]  # of a config: its default values


def view_of_run(
    run: Run, numbers: Numbers, defaults: Defaults, share: float = 1.0, row: Row | None = None
) -> dict[str, Any]:
    """What a page shows of a run. Of an unfinished one, what there is.

    Args:
        run: what `load_run` returns.
        numbers: takes the arrays.
        defaults: the default values for a config.
        share: the part of the page's room that this run has.
        row: of the run, if it is known already.

    Raises:
        DamageError: a file of the run is not as the run wrote it.
        ConfigError: its config could not have been run.
    """
    read_saved(run.info)  # as it is read, it may hold anything
    convention = figures_config(run).curvature_convention
    epochs = run.config["optimizer"]["epochs"]
    view: dict[str, Any] = {
        "name": run.directory.name,
        "status": run.status,
        "error": str(run.info.get("error") or ""),
        "finished": run.status in FINISHED,
        "reached": None,
        "last": int(epochs),
        "networks": len(run.info.get("replicates", [])),
        "diverged": len(run.info.get("diverged", [])),
        "config": config_table(run.config, defaults(run.config)),
        "provenance": provenance_of(run, convention),
        "figures": sorted(path.name for path in (run.directory / FIGURES).glob("*.png"))[:MOST_LINKS],
        "scores": None,
        "geometry": None,
        "unseen": "",
        "training": None,
        "metrics": [],
    }
    try:
        history = run.history
        view["scores"] = scores_of(history, numbers)
        view["reached"] = int(history.epoch.max())
        read = run.drawable(MOST_CHECKPOINTS)
        geometry = read.geometry
    except FileNotFoundError:  # nothing was measured yet
        return view
    check_measured(geometry, run.directory)
    seen = geometry.attrs["kind"] not in UNSEEN
    if seen:
        view["geometry"] = _geometry_of(read, geometry, convention, numbers, share)
    else:
        view["unseen"] = UNSEEN[geometry.attrs["kind"]]
    if geometry.attrs["kind"] in STATISTICS:
        counted, _ = networks_shown(read)
        training = statistics_through_training(counted, figures_config(run).band, numbers if seen else Numbers())
        titles = {entry["name"]: f"{entry['title']}{units(entry)}" for entry in training["statistics"]}
        view["metrics"] = metrics_table(row or read_row(run.directory), titles, training["layers"])
        view["training"] = training if seen else None
    return view


def units(entry: Mapping[str, str]) -> str:
    return f" ({entry['units']})" if entry["units"] else ""


def _geometry_of(run: Run, geometry: xr.Dataset, convention: str, numbers: Numbers, share: float) -> dict[str, Any]:
    """The networks, checkpoints and layers that are shown, and the view of their geometry."""
    kind, scores, first = geometry.attrs["kind"], final_scores(run), representative(run)
    task = run.config.get("task", {})
    seeds = geometry.replicate.values.tolist()

    def room(each: int, cells: Cells) -> Room:
        most = max(1, math.floor(share * MOST_VALUES))
        return room_for_run(each, geometry.sizes["epoch"], seeds, first, most, cells, run.thinned)

    if kind in ("grid", "plane"):
        shown = room(maps.values_each(geometry), "row and column")
        view = maps.heatmaps_of(geometry, shown, convention, task, numbers, share)
    elif kind == "path":
        shown = room(curves.values_each(geometry), "step")
        view = curves.curves_of(geometry, shown, task, numbers)
    else:
        shown = room(examples.values_each(geometry), "example")
        view = examples.examples_of(geometry, shown, task, numbers)
    chosen = [seeds[place] for place in shown.replicates]
    widths = "-".join(map(str, np.atleast_1d(geometry.attrs["widths"])))
    return view | {
        "task": str(geometry.attrs["task"]),
        "network": f"{geometry.attrs['activation']} network {widths}",
        "epochs": geometry.epoch.values[shown.epochs].tolist(),
        "replicates": [[seed, f"seed {seed}: {scores[seed]}"] for seed in chosen],
        "networks": len(seeds),
        "first": chosen.index(first),
        "layers": [layer_words(geometry.attrs, layer) for layer in geometry.layer.values.tolist()],
        "left_out": shown.words,
        "values": math.floor(share * MOST_VALUES),
    }
