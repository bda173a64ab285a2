"""Shortest paths between two training inputs, beside the straight ones."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from nngeom_cli.config.probe import GeodesicConfig
from nngeom_cli.geometry import Geodesic, geodesic
from nngeom_cli.geometry.jets import FeatureMap
from nngeom_cli.models.model import Model
from nngeom_cli.probes.labelled import Probe, array, dataset, example_rows, placed
from nngeom_cli.tasks.task import Task

__all__ = ["alike", "geodesics"]

BETWEEN = 16  # points on each segment at which the prediction is asked for
LENGTH = "feature length"


def geodesics(config: GeodesicConfig, task: Task, seed: int) -> Probe:
    """Shortest and straight paths between pairs of inputs: lengths, places where the prediction changes, points.

    Beside each pair the same lengths from its first input to another one of its class, the control.
    """
    rows = example_rows(task, config.pairs, config.endpoints, "pairs", "endpoints")
    start, end = task.inputs[rows].unbind(dim=1)  # (pairs, d)
    partners = torch.tensor([alike(task, first, last) for first, last in rows.tolist()])
    inside = torch.where(partners[:, None] >= 0, task.inputs[partners], torch.nan)
    constant: dict[str, Any] = {
        "endpoint": (("pair", "end", "feature"), task.inputs[rows].numpy()),
        "endpoint_class": (("pair", "end"), task.labels[rows].numpy()),
        "endpoint_index": (("pair", "end"), rows.numpy()),
        "distance": ("pair", (end - start).norm(dim=1).numpy(), {"long_name": "distance in input space"}),
        "within_index": ("pair", partners.numpy(), {"long_name": "row of the control's end; -1: there is none"}),
        "within_distance": (
            "pair",
            (inside - start).norm(dim=1).numpy(),
            {"long_name": "distance to the control's end"},
        ),
    }
    fractions = torch.arange(config.segments + 1, dtype=torch.float64)[:, None] / config.segments
    straight = torch.lerp(start[:, None], end[:, None], fractions)  # (pairs, segments + 1, d)

    def probe(model: Model) -> xr.Dataset:
        about = model.describe()
        firsts, lasts = (placed(torch.cat(ends), about) for ends in ((start, start), (end, inside)))
        lines = placed(straight, about).expand(model.replicates, -1, -1, -1)
        sought = config.sought(task.dimension)
        layers, parts = config.numbered(about.widths), []
        for layer in layers:
            feature_map = model.feature_map(layer)
            found = quietly(feature_map, firsts, lasts, config.segments, sought)
            paths = found.points[:, : len(start)]
            shortest, direct = (changes(model, task, feature_map, each) for each in (paths, lines))
            apart = (shortest.point - direct.point).norm(dim=-1) / (lines[:, :, -1] - lines[:, :, 0]).norm(dim=-1)
            fields = {
                "geodesic_length": found.length,
                "geodesic_error": found.error,
                "straight_length": found.straight,
                "chord": found.chord,
                "converged": found.converged,
            }
            arrays = {name: values[:, : len(start)] for name, values in fields.items()}
            arrays |= {
                f"within_{name}": fields[name][:, len(start) :] for name in ("geodesic_length", "straight_length")
            }
            arrays |= {"geodesic_share": shortest.share, "straight_share": direct.share, "crossing_apart": apart}
            arrays |= {"geodesic_class": shortest.classes, "geodesic_point": paths}
            parts.append({name: array(values.transpose(0, 1)) for name, values in arrays.items()})
        dims = ("layer", "pair", "replicate", "step", "feature")
        saved: dict[str, Any] = {}
        for name in parts[0]:
            values = np.stack([part[name] for part in parts])
            whole = values.astype(np.int64) if name in ("converged", "geodesic_class") else values
            saved[name] = (dims[: values.ndim], whole, ABOUT[name])
        saved["straight_place"] = (dims[1:3], array(direct.place.T), ABOUT["straight_place"])
        saved["straight_class"] = (dims[1:4], direct.classes.transpose(0, 1).cpu().numpy(), ABOUT["straight_class"])
        numbers: dict[str, Any] = {"segments": config.segments, "directions": sought}
        shape = {} if task.image_shape is None else {"image_shape": list(task.image_shape)}
        return dataset(saved, constant, model, task, config, seed, **numbers, **shape)

    return probe


ABOUT = {
    "geodesic_length": {"long_name": "length of the shortest path that was found", "units": LENGTH},
    "geodesic_error": {"long_name": "estimated error of its length", "units": LENGTH},
    "straight_length": {"long_name": "length of the straight path", "units": LENGTH},
    "chord": {"long_name": "distance of the features of both ends, below every length", "units": LENGTH},
    "converged": {"long_name": "whether the search came to its end"},
    "within_geodesic_length": {
        "long_name": "length of the shortest path within the first input's class",
        "units": LENGTH,
    },
    "within_straight_length": {
        "long_name": "length of the straight path within the first input's class",
        "units": LENGTH,
    },
    "straight_place": {"long_name": "fraction of the straight path, in input space, before the prediction changes"},
    "straight_share": {"long_name": "share of the straight path's length before the prediction changes"},
    "geodesic_share": {"long_name": "share of the shortest path's length before the prediction changes"},
    "crossing_apart": {"long_name": "distance of both places of change over that of the ends, in input space"},
    "straight_class": {"long_name": "predicted class along the straight path"},
    "geodesic_class": {"long_name": "predicted class along the shortest path"},
    "geodesic_point": {"long_name": "points of the shortest path, equally far from each other in feature space"},
}


def alike(task: Task, first: int, last: int) -> int:
    """Row of another example of the first one's class, as nearly as far from it as the last one is; -1: there is none.

    Example:
        >>> inputs = torch.tensor([[0.0], [4.0], [1.0], [3.5]]).double()
        >>> alike(Task("line", inputs, torch.tensor([0, 1, 0, 0]), outputs=2), 0, 1)
        3
    """
    distances = (task.inputs - task.inputs[first]).norm(dim=1)
    there = (task.labels == task.labels[first]) & (distances > 0)
    there[last] = False
    if not there.any():
        return -1
    return int(torch.where(there, (distances - distances[last]).abs(), torch.inf).argmin())


def quietly(feature_map: FeatureMap, start: Tensor, end: Tensor, segments: int, directions: int) -> Geodesic:
    """Geodesics without the warning of those that did not converge: they are counted at the end of the run."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*geodesics did not converge")
        return geodesic(feature_map, start, end, segments=segments, directions=directions)


class Change(NamedTuple):
    """Where the prediction first changes on paths, (replicates, pairs); NaN where it does not.

    Args:
        classes: predicted at the paths' points, (replicates, pairs, points).
        place: fraction of the path, each segment counting the same.
        share: of its length in feature space.
        point: in input space, (replicates, pairs, d).
    """

    classes: Tensor
    place: Tensor
    share: Tensor
    point: Tensor


def changes(model: Model, task: Task, feature_map: FeatureMap, paths: Tensor) -> Change:
    """Where the predictions first change on polygons (replicates, pairs, points, d), a set for each replicate.

    The margin is taken as linear between places that are a sixteenth of a segment apart.
    """
    found = []
    for replicate, (one, polygons) in enumerate(zip(feature_map.each(), paths, strict=True)):
        fractions = torch.arange(BETWEEN, dtype=paths.dtype, device=paths.device)[:, None] / BETWEEN
        dense = torch.lerp(polygons[:, :-1, None], polygons[:, 1:, None], fractions).flatten(1, 2)
        dense = torch.cat([dense, polygons[:, -1:]], dim=1)  # (pairs, places, d)
        outputs = model.outputs(dense.flatten(0, 1))[replicate : replicate + 1]
        classes, margins = (
            of(outputs)[0].unflatten(0, dense.shape[:2]) for of in (task.loss.predict, task.loss.margin)
        )
        changed = classes != classes[:, :1]
        after = changed.long().argmax(dim=1, keepdim=True).clamp_min(1)
        before, beyond = margins.abs().gather(1, after - 1), margins.abs().gather(1, after)
        within = torch.where(changed.any(dim=1, keepdim=True), before / (before + beyond), torch.nan)
        with torch.no_grad():
            lengths = one(dense).diff(dim=1).norm(dim=2)
        travelled = torch.cat([torch.zeros_like(lengths[:, :1]), lengths.cumsum(dim=1)], dim=1)

        def at(values: Tensor, after: Tensor = after, within: Tensor = within) -> Tensor:
            """Values (pairs, places, ...) at the change."""
            after, within = (each.reshape(-1, 1, *[1] * (values.ndim - 2)) for each in (after, within))
            last, first = (torch.take_along_dim(values, place, dim=1) for place in (after - 1, after))
            return torch.lerp(last, first, within)[:, 0]

        place = (after - 1 + within)[:, 0] / lengths.shape[1]
        found.append(Change(classes[:, ::BETWEEN], place, at(travelled) / travelled[:, -1], at(dense)))
    return Change(*(torch.stack(each) for each in zip(*found, strict=True)))
