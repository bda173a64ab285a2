"""Straight lines between two training inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from nngeom_cli.config.probe import PathConfig
from nngeom_cli.config.quantity import EFFECTIVE_VOLUME
from nngeom_cli.models.model import Model
from nngeom_cli.probes.labelled import Probe, array, dataset, effective_volume, example_rows, placed
from nngeom_cli.probes.layers import quantities_of
from nngeom_cli.tasks.task import Task

__all__ = ["path"]


def path(config: PathConfig, task: Task, seed: int) -> Probe:
    """Leading spectrum, speed, curvature and predicted class along straight lines between two training inputs."""
    rows = example_rows(task, config.pairs, config.endpoints, "pairs", "endpoints")
    start, end = task.inputs[rows].unbind(dim=1)  # (pairs, d)
    fractions = torch.arange(config.steps + 1, dtype=torch.float64)[:, None] / config.steps
    points = start[:, None] + fractions * (end - start)[:, None]  # (pairs, steps + 1, d), eq. (C.3)
    constant: dict[str, Any] = {
        "endpoint": (("pair", "end", "feature"), task.inputs[rows].numpy()),
        "endpoint_class": (("pair", "end"), task.labels[rows].numpy()),
        "endpoint_index": (("pair", "end"), rows.numpy()),
    }

    def probe(model: Model) -> xr.Dataset:
        x, layers = placed(points, model.describe()), config.numbered(model.describe().widths)
        predicted = task.loss.predict(model.outputs(x.flatten(0, 1))).unflatten(-1, x.shape[:2])
        top_k = config.leading(model.feature_map(min(layers)).dimensions(x).rank_bound)
        spectra, log_volume = effective_volume(model, x, layers, top_k)
        motions = [motion(model, a, b, fractions, layers) for a, b in zip(start, end, strict=True)]
        speeds, curvatures = (np.stack(each, axis=1) for each in zip(*motions, strict=True))
        order = (0, 2, 1, 3)  # (layer, replicate, pair, step) to (layer, pair, replicate, step)
        arrays: dict[str, Any] = {
            "log_effective_volume_element": (
                ("layer", "pair", "replicate", "step"),
                log_volume.transpose(order),
                EFFECTIVE_VOLUME.attributes,
            ),
            "spectrum": (
                ("layer", "pair", "replicate", "step", "k"),
                spectra.transpose(*order, 4),
                {"long_name": "leading eigenvalues of the metric", "units": ""},
            ),
            "speed": (
                ("layer", "pair", "replicate", "step"),
                speeds,
                {"long_name": "speed |J v|, v from the first input to the second", "units": "feature length per path"},
            ),
            "path_curvature": (
                ("layer", "pair", "replicate", "step"),
                curvatures,
                {"long_name": "extrinsic curvature of the path's image", "units": "per feature length"},
            ),
            "predicted_class": (("pair", "replicate", "step"), predicted.cpu().numpy().transpose(1, 0, 2)),
        }
        shape = {} if task.image_shape is None else {"image_shape": list(task.image_shape)}
        return dataset(arrays, constant, model, task, config, seed, steps=config.steps, top_k=top_k, **shape)

    return probe


def motion(
    model: Model, start: Tensor, end: Tensor, fractions: Tensor, layers: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Speed and curvature of a straight path's image, at fractions (steps, 1) of it, each (layer, replicate, step).

    The speed is |J v|, v = end - start, the volume element of the map restricted to the path.
    """
    start, end, fractions = (placed(values, model.describe()) for values in (start, end, fractions))
    path = (start, (end - start)[None])
    measured = quantities_of(model, layers, fractions, ("log_volume_element", "path_curvature"), path)
    speeds = np.stack([array(measured[layer]["log_volume_element"].exp()) for layer in layers])
    return speeds, np.stack([array(measured[layer]["path_curvature"]) for layer in layers])
