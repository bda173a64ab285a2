"""Planes through three training inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from nngeom_cli.config.probe import PlaneConfig
from nngeom_cli.config.quantity import ON_GRIDS, ON_PLANES
from nngeom_cli.errors import ConfigError
from nngeom_cli.models.model import Model
from nngeom_cli.probes.labelled import (
    Probe,
    array,
    attributes,
    dataset,
    effective_volume,
    example_rows,
    placed,
)
from nngeom_cli.probes.layers import quantities_of
from nngeom_cli.probes.limit import LIMITS, limit_on_plane
from nngeom_cli.tasks.task import Task

__all__ = ["plane", "plane_through"]


def plane(config: PlaneConfig, task: Task, seed: int, *, effective: bool = True) -> Probe:
    """The map restricted to planes through three training inputs, beside its effective volume and what it predicts.

    Coordinates are orthonormal, so that distances are those of input space; their origin is the inputs' centroid.
    The effective volume takes most of the time, and can be left out.
    """
    rows = example_rows(task, config.triples, config.corners, "triples", "corners")
    frames = [plane_through(task.inputs[triple], triple.tolist()) for triple in rows]
    places = torch.stack([place for _, _, place in frames])  # (planes, 3, 2)
    side = config.reach * float(places.norm(dim=-1).max())
    axis = torch.linspace(-side, side, config.resolution, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).flatten(0, 1)  # (y x, 2)
    limits = [limit_on_plane(points, origin, directions) for origin, directions, _ in frames]
    constant: dict[str, Any] = {
        "x": axis.numpy(),
        "y": axis.numpy(),
        "corner": (("plane", "end", "feature"), task.inputs[rows].numpy()),
        "corner_place": (("plane", "end", "axis"), places.numpy()),
        "corner_class": (("plane", "end"), task.labels[rows].numpy()),
        "corner_index": (("plane", "end"), rows.numpy()),
    }

    def probe(model: Model) -> xr.Dataset:
        about = model.describe()
        parts, names = [], tuple(quantity.name for quantity in ON_GRIDS)
        layers = config.numbered(about.widths)
        corner = placed(task.inputs[:1], about)
        top_k = config.leading(model.feature_map(min(layers)).dimensions(corner).rank_bound)
        for origin, directions, _ in frames:
            u, start, steps = (placed(values, about) for values in (points, origin, directions))
            measured = quantities_of(model, layers, u, names, (start, steps))
            x = start + u @ steps
            outputs = model.outputs(x)
            fields = {name: np.stack([array(measured[n][name]) for n in layers]) for name in names}
            if effective:
                fields["log_effective_volume_element"] = effective_volume(model, x, layers, top_k)[1]
            fields["margin"] = array(task.loss.margin(outputs))
            fields["predicted_class"] = task.loss.predict(outputs).cpu().numpy()
            fields["entropy"] = array(task.loss.entropy(outputs))
            parts.append(fields)
        arrays: dict[str, Any] = {}
        for quantity in (quantity for quantity in ON_PLANES if quantity.name in parts[0]):
            stacked = np.stack(
                [part[quantity.name] for part in parts], axis=-3
            )  # (layer, plane, replicate, y x), or no layer
            dims = ("layer", "plane", "replicate", "y", "x")[4 - stacked.ndim :]
            on_grid = stacked.reshape(*stacked.shape[:-1], len(axis), len(axis))
            arrays[quantity.name] = (dims, on_grid, attributes(quantity))
        of_planes = [each(about, layers) for each in limits]
        for name in of_planes[0]:
            on_grids = np.stack([one[name] for one in of_planes], axis=1).reshape(len(layers), -1, len(axis), len(axis))
            arrays[name] = (("layer", "plane", "y", "x"), on_grids, LIMITS[name])
        shape = {} if task.image_shape is None else {"image_shape": list(task.image_shape)}
        return dataset(arrays, constant, model, task, config, seed, top_k=top_k, **shape)

    return probe


def plane_through(corners: Tensor, rows: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Centroid (d,), two orthonormal directions (2, d) and the places (3, 2) of three points (3, d) of input space.

    The first direction is that from the first point to the second: Gram-Schmidt, twice. `rows` names them in an error.
    """
    origin = corners.mean(dim=0)
    first, second = corners[1] - corners[0], corners[2] - corners[0]
    longest = max(first.norm(), second.norm())
    first = first / first.norm()
    for _ in range(2):
        second = second - (second @ first) * first
    if not second.norm() > 1e-9 * longest:
        raise ConfigError(
            f"`probe.triples` must name three inputs that are not on one line. Got the rows {rows}. "
            "Choose others with `probe.corners=index`."
        )
    directions = torch.stack([first, second / second.norm()])
    return origin, directions, (corners - origin) @ directions.T
