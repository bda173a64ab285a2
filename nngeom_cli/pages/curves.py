"""Paths on a page: curves between two inputs, with the images between them."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from nngeom_cli.analysis.degeneracy import bottleneck_words, volume_rank
from nngeom_cli.figures.path_words import CURVATURE, SPEED, VOLUME
from nngeom_cli.figures.style import CLASS_COLOURS
from nngeom_cli.pages.names import class_names, image_of
from nngeom_cli.pages.packing import Numbers
from nngeom_cli.pages.room import Room

__all__ = ["curves_of", "values_each"]

CURVES = (VOLUME, SPEED, CURVATURE)
DIMS = ("epoch", "layer", "pair", "replicate", "step")


def values_each(geometry: xr.Dataset) -> int:
    """Values of all curves of one network at one checkpoint."""
    names = [*(curve.variable for curve in CURVES if curve.variable in geometry), "predicted_class"]
    alone = geometry.isel(epoch=0, replicate=0)
    return sum(alone[name].size for name in names)


def curves_of(geometry: xr.Dataset, room: Room, task: dict[str, Any], numbers: Numbers) -> dict[str, Any]:
    """The view of paths.

    Args:
        geometry: `run.geometry`.
        room: what is shown of it.
        task: that section of the config, which names classes.
        numbers: takes the arrays.
    """
    some = slice(None, None, room.every)
    shown = geometry.isel(epoch=room.epochs, replicate=room.replicates, step=some)
    layers, about = geometry.layer.values.tolist(), geometry.attrs
    curves = []
    for curve in (curve for curve in CURVES if curve.variable in geometry):
        values = shown[curve.variable].transpose(*DIMS).values
        words = [
            bottleneck_words(about, layer, volume_rank(about, curve.variable))
            if not np.isfinite(values[:, at]).any()
            else ""
            for at, layer in enumerate(layers)
        ]
        label = curve.label.format(top_k=int(about["top_k"])).replace("\n", " ")
        values = np.where(np.isfinite(values), values, np.nan)
        title = curve.label.partition("\n")[0].partition(",")[0]
        curves.append({"title": title, "label": label, "values": numbers.add(values), "words": words})
    predicted = shown.predicted_class.transpose(*(dim for dim in DIMS if dim != "layer"))
    ends, rows = geometry.endpoint_class.values.astype(int), geometry.endpoint_index.values
    classes = class_names(task, np.concatenate([predicted.values.ravel(), ends.ravel()]))
    return {
        "kind": "curves",
        "t": (np.arange(geometry.sizes["step"])[some] / int(about["steps"])).tolist(),
        "quantities": curves,
        "predicted": numbers.add(predicted.values),
        "classes": classes,
        "class_colours": list(CLASS_COLOURS),
        "pairs": [
            " to ".join(f"{classes[label]} (row {row})" for label, row in zip(labels, of, strict=True))
            for labels, of in zip(ends.tolist(), rows.tolist(), strict=True)
        ],
        "inputs": image_of(geometry.endpoint, about, numbers),
    }
