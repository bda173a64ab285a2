"""What is measured at a checkpoint, as labelled arrays: on a grid, along paths, on planes through three inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from nngeom_cli.config.probe import GridConfig, PathConfig, PlaneConfig, ProbeConfig
from nngeom_cli.errors import ConfigError
from nngeom_cli.geometry import PAPER_CURVATURE_FACTOR, MLPFeatureMap, layer_spectra, measure_layers
from nngeom_cli.tasks.task import Task
from nngeom_cli.training.network import Network

__all__ = ["Probe", "make_probe"]

Probe = Callable[[Network], xr.Dataset]
"""Measures a network as it is now."""

MAX_STORED_POINTS = 1000  # a larger training set is not drawn over a heatmap, so it is not stored beside it

GRID_QUANTITIES = {
    "log_volume_element": {"long_name": "log volume element log sqrt(det g)", "units": "nats"},
    "ricci_scalar": {
        "long_name": "Ricci scalar R",
        "units": "",
        "convention": "the unit 2-sphere has R = +2",
        "paper_curvature_factor": PAPER_CURVATURE_FACTOR,
    },
    "ricci_scalar_error": {"long_name": "estimated rounding error of R", "units": "", "convention": "absolute"},
    "condition_number": {"long_name": "condition number of the metric", "units": ""},
}

EFFECTIVE_VOLUME = {"long_name": "log effective volume element of the leading top_k eigenvalues", "units": "nats"}
PLANE_QUANTITIES = {
    "margin": {"long_name": "margin", "units": ""},
    "predicted_class": {"long_name": "predicted class", "units": ""},
    "entropy": {"long_name": "entropy of the predicted distribution over the classes", "units": "nats"},
    "log_effective_volume_element": EFFECTIVE_VOLUME,
    **GRID_QUANTITIES,
}


def make_probe(config: ProbeConfig, task: Task, seed: int) -> Probe:
    """The probe that a configuration names; replicate r is labelled by its own seed, `seed` + r."""
    if isinstance(config, GridConfig):
        return grid(config, task, seed)
    return path(config, task, seed) if isinstance(config, PathConfig) else plane(config, task, seed)


def grid(config: GridConfig, task: Task, seed: int) -> Probe:
    """Volume element, Ricci scalar, margin and predicted class on a grid of a two-dimensional input space."""
    low, high = task.inputs.min(dim=0).values, task.inputs.max(dim=0).values
    x_axis, y_axis = (
        torch.linspace(start, end, config.resolution, dtype=torch.float64)
        for start, end in window(config, low.tolist(), high.tolist())
    )
    points = torch.stack(torch.meshgrid(x_axis, y_axis, indexing="xy"), dim=-1)  # (y, x, 2)
    constant: dict[str, Any] = {"x": x_axis.numpy(), "y": y_axis.numpy()}
    if len(task.inputs) <= MAX_STORED_POINTS:
        constant["input"] = (("point", "feature"), task.inputs.numpy())
        constant["label"] = ("point", task.labels.numpy())

    def probe(network: Network) -> xr.Dataset:
        x = points.to(network.parameters)
        outputs = network.outputs(x.flatten(0, 1))
        margin, predicted = (of(outputs).unflatten(-1, x.shape[:2]) for of in (task.loss.margin, task.loss.predict))
        measured = measure_layers(network.feature_map(max(config.layers)), x, config.layers, tuple(GRID_QUANTITIES))
        arrays: dict[str, Any] = {
            "margin": (("replicate", "y", "x"), array(margin), {"long_name": "margin"}),
            "predicted_class": (("replicate", "y", "x"), predicted.cpu().numpy(), {"long_name": "predicted class"}),
        }
        for name, attributes in GRID_QUANTITIES.items():
            stacked = np.stack([array(measured[layer][name]) for layer in config.layers])
            arrays[name] = (("layer", "replicate", "y", "x"), stacked, attributes)
        box = [float(value) for value in (low[0], high[0], low[1], high[1])]
        return dataset(arrays, constant, network, task, config, seed, box=box)

    return probe


def window(config: GridConfig, low: Sequence[float], high: Sequence[float]) -> list[tuple[float, float]]:
    """The grid's range of each axis: as configured, or the box of the data and a quarter of its side more at each end.

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


def path(config: PathConfig, task: Task, seed: int) -> Probe:
    """Leading spectrum, speed and predicted class along straight lines between two training inputs."""
    rows = example_rows(task, config.pairs, config.endpoints, "pairs", "endpoints")
    start, end = task.inputs[rows].unbind(dim=1)  # (pairs, d)
    fractions = torch.arange(config.steps + 1, dtype=torch.float64)[:, None] / config.steps
    points = start[:, None] + fractions * (end - start)[:, None]  # (pairs, steps + 1, d), eq. (C.3)
    constant: dict[str, Any] = {
        "endpoint": (("pair", "end", "feature"), task.inputs[rows].numpy()),
        "endpoint_class": (("pair", "end"), task.labels[rows].numpy()),
        "endpoint_index": (("pair", "end"), rows.numpy()),
    }

    def probe(network: Network) -> xr.Dataset:
        x = points.to(network.parameters)
        predicted = task.loss.predict(network.outputs(x.flatten(0, 1))).unflatten(-1, x.shape[:2])
        feature_map = network.feature_map(max(config.layers))
        spectra, log_volume = effective_volume(feature_map, x, config.layers, config.top_k)
        speeds = [speed(feature_map, a, b, fractions, config.layers) for a, b in zip(start, end, strict=True)]
        order = (0, 2, 1, 3)  # (layer, replicate, pair, step) to (layer, pair, replicate, step)
        arrays: dict[str, Any] = {
            "log_effective_volume_element": (
                ("layer", "pair", "replicate", "step"),
                log_volume.transpose(order),
                EFFECTIVE_VOLUME,
            ),
            "spectrum": (
                ("layer", "pair", "replicate", "step", "k"),
                spectra.transpose(*order, 4),
                {"long_name": "leading eigenvalues of the metric", "units": ""},
            ),
            "speed": (
                ("layer", "pair", "replicate", "step"),
                np.stack(speeds, axis=1),
                {"long_name": "speed |J v|, v from the first input to the second", "units": "feature length per path"},
            ),
            "predicted_class": (("pair", "replicate", "step"), predicted.cpu().numpy().transpose(1, 0, 2)),
        }
        shape = {} if task.image_shape is None else {"image_shape": list(task.image_shape)}
        return dataset(arrays, constant, network, task, config, seed, steps=config.steps, top_k=config.top_k, **shape)

    return probe


def plane(config: PlaneConfig, task: Task, seed: int) -> Probe:
    """The map restricted to planes through three training inputs, beside its effective volume and what it predicts.

    Coordinates are orthonormal, so that distances are those of input space; their origin is the inputs' centroid.
    """
    rows = example_rows(task, config.triples, config.corners, "triples", "corners")
    frames = [plane_through(task.inputs[triple], triple.tolist()) for triple in rows]
    places = torch.stack([place for _, _, place in frames])  # (planes, 3, 2)
    side = config.reach * float(places.norm(dim=-1).max())
    axis = torch.linspace(-side, side, config.resolution, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).flatten(0, 1)  # (y x, 2)
    constant: dict[str, Any] = {
        "x": axis.numpy(),
        "y": axis.numpy(),
        "corner": (("plane", "end", "feature"), task.inputs[rows].numpy()),
        "corner_place": (("plane", "end", "axis"), places.numpy()),
        "corner_class": (("plane", "end"), task.labels[rows].numpy()),
        "corner_index": (("plane", "end"), rows.numpy()),
    }

    def probe(network: Network) -> xr.Dataset:
        feature_map = network.feature_map(max(config.layers))
        parts = []
        for origin, directions, _ in frames:
            u, start, steps = (values.to(network.parameters) for values in (points, origin, directions))
            restricted = feature_map.restricted_to(start, steps)
            measured = measure_layers(restricted, u, config.layers, tuple(GRID_QUANTITIES))
            x = start + u @ steps
            outputs = network.outputs(x)
            fields = {name: np.stack([array(measured[n][name]) for n in config.layers]) for name in GRID_QUANTITIES}
            fields["log_effective_volume_element"] = effective_volume(feature_map, x, config.layers, config.top_k)[1]
            fields["margin"] = array(task.loss.margin(outputs))
            fields["predicted_class"] = task.loss.predict(outputs).cpu().numpy()
            fields["entropy"] = array(task.loss.entropy(outputs))
            parts.append(fields)
        arrays: dict[str, Any] = {}
        for name, attributes in PLANE_QUANTITIES.items():
            stacked = np.stack([part[name] for part in parts], axis=-3)  # (layer, plane, replicate, y x), or no layer
            dims = ("layer", "plane", "replicate", "y", "x")[4 - stacked.ndim :]
            arrays[name] = (dims, stacked.reshape(*stacked.shape[:-1], len(axis), len(axis)), attributes)
        shape = {} if task.image_shape is None else {"image_shape": list(task.image_shape)}
        return dataset(arrays, constant, network, task, config, seed, top_k=config.top_k, **shape)

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


def example_rows(task: Task, chosen: Sequence[Sequence[int]], by: str, groups: str, noun: str) -> Tensor:
    """Rows of the training set that pairs or triples name: themselves, or the first input of each class."""
    named = {int(label): int((task.labels == label).nonzero()[0]) for label in task.labels.unique()}
    for end in (end for group in chosen for end in group):
        if by == "class" and end not in named:
            raise ConfigError(
                f"`probe.{groups}` must name classes of the training set. Got {end}, which none of its inputs has. "
                f"Choose {noun} with `probe.{noun}=index`."
            )
    return torch.tensor([[named[end] if by == "class" else end for end in group] for group in chosen])


def effective_volume(
    feature_map: MLPFeatureMap, x: Tensor, layers: Sequence[int], top_k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Leading eigenvalues, one more than `top_k` if there are, and log effective volume: (layer, replicate, ...)."""
    found = layer_spectra(feature_map, x, layers, min(top_k + 1, x.shape[-1]))
    spectra = np.stack([array(found[layer]) for layer in layers])
    with np.errstate(divide="ignore"):
        return spectra, 0.5 * np.log(spectra[..., :top_k]).sum(axis=-1)


def speed(
    feature_map: MLPFeatureMap, start: Tensor, end: Tensor, fractions: Tensor, layers: Sequence[int]
) -> np.ndarray:
    """Speed |J v|, v = end - start, at fractions (steps, 1) of a straight path, as (layer, replicate, step).

    It is the volume element of the map restricted to the path.
    """
    start, end, fractions = (values.to(feature_map.weights[0]) for values in (start, end, fractions))
    on_path = feature_map.restricted_to(start, (end - start)[None])
    measured = measure_layers(on_path, fractions, layers, ("log_volume_element",))
    return np.stack([array(measured[layer]["log_volume_element"].exp()) for layer in layers])


def dataset(
    arrays: dict[str, Any],
    constant: dict[str, Any],
    network: Network,
    task: Task,
    config: ProbeConfig,
    seed: int,
    **attributes: Any,
) -> xr.Dataset:
    """Measured and constant arrays with the coordinates and attributes that every probe has."""
    coordinates = {"replicate": seed + np.arange(network.replicates), "layer": np.array(config.layers)}
    common = {
        "kind": config.kind,
        "task": task.name,
        "activation": network.activation.name,
        "widths": list(network.widths),
    }
    return xr.Dataset(arrays | constant, coords=coordinates, attrs=common | attributes)


def array(values: Tensor) -> np.ndarray:
    """A tensor as a float64 array, whatever its device and dtype."""
    return values.detach().double().cpu().numpy()
