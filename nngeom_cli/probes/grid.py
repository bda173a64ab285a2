"""A rectangle of a two-dimensional input space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from nngeom_cli.config.probe import GridConfig
from nngeom_cli.config.quantity import ON_GRIDS
from nngeom_cli.models.model import Model
from nngeom_cli.probes.labelled import Probe, array, attributes, dataset, placed
from nngeom_cli.probes.layers import quantities_of
from nngeom_cli.probes.limit import LIMITS, limit_on_plane
from nngeom_cli.tasks.task import Task

__all__ = ["grid"]

MAX_STORED_POINTS = 1000  # a larger training set is not drawn over a heatmap, so it is not stored beside it


def grid(config: GridConfig, task: Task, seed: int) -> Probe:
    """Volume element, Ricci scalar, margin and predicted class on a grid of a two-dimensional input space."""
    low, high = task.inputs.min(dim=0).values, task.inputs.max(dim=0).values
    x_axis, y_axis = (
        torch.linspace(start, end, config.resolution, dtype=torch.float64)
        for start, end in window(config, low.tolist(), high.tolist())
    )
    points = torch.stack(torch.meshgrid(x_axis, y_axis, indexing="xy"), dim=-1)  # (y, x, 2)
    limits = limit_on_plane(points.flatten(0, 1), torch.zeros(2).double(), torch.eye(2).double())
    constant: dict[str, Any] = {"x": x_axis.numpy(), "y": y_axis.numpy()}
    if len(task.inputs) <= MAX_STORED_POINTS:
        constant["input"] = (("point", "feature"), task.inputs.numpy())
        constant["label"] = ("point", task.labels.numpy())

    def probe(model: Model) -> xr.Dataset:
        x, layers = placed(points, model.describe()), config.numbered(model.describe().widths)
        outputs = model.outputs(x.flatten(0, 1))
        margin, predicted = (of(outputs).unflatten(-1, x.shape[:2]) for of in (task.loss.margin, task.loss.predict))
        measured = quantities_of(model, layers, x, tuple(quantity.name for quantity in ON_GRIDS))
        arrays: dict[str, Any] = {
            "margin": (("replicate", "y", "x"), array(margin), {"long_name": "margin"}),
            "predicted_class": (("replicate", "y", "x"), predicted.cpu().numpy(), {"long_name": "predicted class"}),
        }
        for quantity in ON_GRIDS:
            stacked = np.stack([array(measured[layer][quantity.name]) for layer in layers])
            arrays[quantity.name] = (("layer", "replicate", "y", "x"), stacked, attributes(quantity))
        for name, values in limits(model.describe(), layers).items():
            arrays[name] = (("layer", "y", "x"), values.reshape(-1, *x.shape[:2]), LIMITS[name])
        box = [float(value) for value in (low[0], high[0], low[1], high[1])]
        return dataset(arrays, constant, model, task, config, seed, box=box)

    return probe


def window(config: GridConfig, low: Sequence[float], high: Sequence[float]) -> list[tuple[float, float]]:
    """The grid's range of each axis: as configured, or the box of the data, longer by a quarter at each end.

    Example:
        >>> config = GridConfig(kind="grid", layers=[1], checkpoints=[], resolution=40, window=None)
        >>> window(config, [-1.0, 3.0], [1.0, 3.0])
        [(-1.5, 1.5), (2.5, 3.5)]
    """
    if config.window is None:
        margins = [(end - start) / 4 or 0.5 for start, end in zip(low, high, strict=True)]
        return [(start - margin, end + margin) for start, end, margin in zip(low, high, margins, strict=True)]
    ranges: list[Any] = config.window if isinstance(config.window[0], list) else [config.window]
    return [(ranges[0][0], ranges[0][1]), (ranges[-1][0], ranges[-1][1])]
