"""Examples on a page: the geometry at each against the certainty of the prediction there."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from nngeom_cli.analysis.data import volume_words
from nngeom_cli.analysis.degeneracy import unreliable
from nngeom_cli.figures.style import CLASS_COLOURS
from nngeom_cli.pages.names import class_names, image_of
from nngeom_cli.pages.packing import Numbers
from nngeom_cli.pages.room import Room

__all__ = ["examples_of", "values_each"]

DIMS = ("epoch", "layer", "replicate", "point")
OF_NETWORKS = ("margin", "entropy", "predicted_class")


def values_each(geometry: xr.Dataset) -> int:
    """Values at all examples of one network at one checkpoint."""
    alone = geometry.isel(epoch=0, replicate=0)
    return sum(alone[name].size for name in [*_of_layers(geometry), *OF_NETWORKS])


def _of_layers(geometry: xr.Dataset) -> dict[str, str]:
    """What is measured in each layer, by the name of its variable."""
    words = {
        "log_effective_volume_element": f"{volume_words(geometry.attrs)} (nats)",
        "ricci_scalar": "Ricci scalar (unit 2-sphere: R = +2)",
        "participation_ratio": "participation ratio of the metric's eigenvalues",
        "local_rank": "local rank",
    }
    return {name: label for name, label in words.items() if name in geometry}


def examples_of(geometry: xr.Dataset, room: Room, task: dict[str, Any], numbers: Numbers) -> dict[str, Any]:
    """The view of a probe at examples.

    Args:
        geometry: `run.geometry`.
        room: what is shown of it.
        task: that section of the config, which names classes.
        numbers: takes the arrays.
    """
    shown = geometry.isel(epoch=room.epochs, replicate=room.replicates, point=slice(None, None, room.every))
    quantities = []
    for name, label in _of_layers(geometry).items():
        values = shown[name].transpose(*DIMS).values.astype(np.float64)
        if name == "ricci_scalar":
            doubtful = unreliable(values, shown.ricci_scalar_error.transpose(*DIMS).values)
            values = np.where(doubtful, np.nan, values)
        values = np.where(np.isfinite(values), values, np.nan)
        quantities.append({"title": label.partition(" (")[0], "label": label, "values": numbers.add(values)})
    predicted, labels = shown.predicted_class, shown.true_class.values.astype(int)
    of_networks = DIMS[:1] + DIMS[2:]
    return {
        "kind": "examples",
        "quantities": quantities,
        "across": [
            {
                "title": "margin",
                "label": "size of the margin",
                "values": numbers.add(abs(shown.margin.transpose(*of_networks).values)),
            },
            {
                "title": "entropy",
                "label": "entropy of the prediction (nats)",
                "values": numbers.add(shown.entropy.transpose(*of_networks).values),
            },
        ],
        "predicted": numbers.add(predicted.transpose(*of_networks).values),
        "true": labels.tolist(),
        "rows": shown.example.values.tolist(),
        "classes": class_names(task, np.concatenate([labels, predicted.values.ravel()])),
        "class_colours": list(CLASS_COLOURS),
        "split": {"train": "training", "test": "test"}[geometry.attrs["split"]],
        "inputs": image_of(shown.input, geometry.attrs, numbers) if "input" in shown else None,
    }
