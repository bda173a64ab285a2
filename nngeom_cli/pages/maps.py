"""Grids and planes on a page: heatmaps of each quantity, the boundary, training points or the three inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.colors import Colormap, Normalize, SymLogNorm, to_hex

from nngeom_cli.analysis.boundary import boundary_of
from nngeom_cli.analysis.degeneracy import bottleneck_words, flat_words, unreliable, volume_rank
from nngeom_cli.config.quantity import Quantity
from nngeom_cli.figures.looks import LOOKS, QUANTITIES_ON_GRIDS, QUANTITIES_ON_PLANES, in_convention
from nngeom_cli.figures.scales import linear_norm
from nngeom_cli.figures.style import Array
from nngeom_cli.pages.names import axis_names, class_names, image_of
from nngeom_cli.pages.packing import Numbers, Place
from nngeom_cli.pages.room import Room, evenly

__all__ = ["heatmaps_of", "values_each"]

COLOURS = 256
MOST_POINTS = 2000  # training points
MOST_VERTICES = 300_000  # numbers of all boundaries of a page
DIMS = ("epoch", "layer", "plane", "replicate", "y", "x")
SIGNED_SCALES = ("curvature", "curvature magnitude")  # looks beside which the logarithm of the size is offered


def values_each(geometry: xr.Dataset) -> int:
    """Values of all fields of one network at one checkpoint."""
    names = {quantity.name for quantity in _heatmaps(geometry) if quantity.name in geometry}
    alone = geometry.isel(epoch=0, replicate=0)
    return sum(alone[name].size for name in names)


def _heatmaps(geometry: xr.Dataset) -> Sequence[Quantity]:
    """What is drawn of a grid, or of a plane, in the geometric convention."""
    return QUANTITIES_ON_GRIDS if geometry.attrs["kind"] == "grid" else QUANTITIES_ON_PLANES


def heatmaps_of(
    geometry: xr.Dataset, room: Room, convention: str, task: dict[str, Any], numbers: Numbers, share: float
) -> dict[str, Any]:
    """The view of a grid or of planes.

    Args:
        geometry: `run.geometry`.
        room: what is shown of it.
        convention: `figures.curvature_convention`.
        task: that section of the config, which names columns and classes.
        numbers: takes the arrays.
        share: the part of a page that this run has.
    """
    whole = geometry.isel(epoch=room.epochs, replicate=room.replicates)
    some = slice(None, None, room.every)
    shown = whole.isel(y=some, x=some)
    quantities = [quantity for quantity in _heatmaps(geometry) if quantity.name in geometry]
    entries = [
        entry
        for quantity in in_convention(quantities, convention, geometry)
        for entry in _entries(quantity, shown, numbers)
    ]
    of_planes = "plane" in geometry.dims
    return {
        "kind": "maps",
        "x": shown.x.values.tolist(),
        "y": shown.y.values.tolist(),
        "axes": ["first direction in the plane", "second direction"] if of_planes else axis_names(task),
        "quantities": entries,
        "colours": {entry["look"]: _colours(LOOKS[entry["look"]].colours, entry["look"]) for entry in entries},
        "classes": class_names(task, shown.predicted_class.values) if "predicted_class" in shown else {},
        "boundaries": _boundaries(whole, int(MOST_VERTICES * share), numbers),
        "planes": [_plane(geometry.isel(plane=plane), task, numbers) for plane in range(geometry.sizes["plane"])]
        if of_planes
        else [],
        "points": _points(geometry, task, numbers) if "input" in geometry and not of_planes else None,
    }


def _entries(quantity: Quantity, shown: xr.Dataset, numbers: Numbers) -> Iterator[dict[str, Any]]:
    """A quantity as figures draw it; then, of a curvature, the logarithm of its size."""
    look = LOOKS[quantity.look]
    layered = "layer" in shown[quantity.name].dims
    values = look.drawn(quantity.factor * _spread(shown[quantity.name]))
    values = np.where(np.isfinite(values), values, np.nan)
    drawn, stored = values, values
    if quantity.error is not None and quantity.error in shown:
        doubtful = unreliable(values, quantity.factor * _spread(shown[quantity.error]))
        drawn, stored = np.where(doubtful, np.nan, values), np.where(doubtful, np.inf, values)
    layers = shown.layer.values.tolist() if layered else [0]
    entry = {
        "title": quantity.title,
        "label": quantity.label.replace("\n", " "),
        "look": quantity.look,
        "values": numbers.add(stored),
        "layered": layered,
        "logarithm": False,
        "words": [_words(quantity.name, shown.attrs, layer, values[:, at]) for at, layer in enumerate(layers)],
    }
    if quantity.look == "classes":
        yield entry
        return
    yield entry | _scales(drawn, look.norm, numbers)
    if quantity.look in SIGNED_SCALES:
        with np.errstate(divide="ignore"):
            sizes = np.log10(np.abs(drawn))
        factor = "" if quantity.factor == 1 else f"{quantity.factor:g} "
        title = quantity.title.removeprefix("magnitude of the ").replace("Ricci scalar", "size of the Ricci scalar")
        name = f"log₁₀ |{factor}R|"
        more = {"title": f"{title}, {name}", "label": name, "look": "volume", "logarithm": True}
        yield entry | more | _scales(np.where(np.isfinite(sizes), sizes, np.nan), linear_norm, numbers)


def _spread(array: xr.DataArray) -> Array:
    """An array along all of DIMS."""
    missing = [dim for dim in ("layer", "plane") if dim not in array.dims]
    spread: Array = array.expand_dims(missing).transpose(*DIMS).values.astype(np.float64)
    return spread


def _words(name: str, about: dict[str, Any], layer: int, values: Array) -> str:
    """Why a layer has no values, or only 0; empty where neither is so."""
    if layer and not np.isfinite(values).any():
        return bottleneck_words(about, layer, volume_rank(about, name))
    return flat_words(about, layer) if name == "ricci_scalar" and (values == 0).all() else ""


def _scales(values: Array, norm: Callable[[Array], Normalize | None], numbers: Numbers) -> dict[str, Any]:
    """The colour scale of each layer and plane for all that is shown, and that of each panel alone.

    A scale is three numbers: where it begins and ends, and where its linear part ends; that is 0 of a linear one.
    """
    _, layers, planes, _, *_ = values.shape
    common = [[_scale(norm(values[:, layer, plane])) for plane in range(planes)] for layer in range(layers)]
    panels = values.reshape(-1, *values.shape[-2:])
    own = np.reshape([_scale(norm(panel)) for panel in panels], (*values.shape[:-2], 3))
    return {"scales": numbers.add(common), "own": numbers.add(own)}


def _scale(norm: Normalize | None) -> tuple[float, float, float]:
    if norm is None or norm.vmin is None or norm.vmax is None:
        return (np.nan, np.nan, np.nan)
    return norm.vmin, norm.vmax, norm.linthresh if isinstance(norm, SymLogNorm) else 0.0


def _colours(colours: Colormap, look: str) -> list[str]:
    return [
        to_hex(colour) for colour in colours(np.arange(colours.N) if look == "classes" else np.linspace(0, 1, COLOURS))
    ]


def _boundaries(whole: xr.Dataset, most: int, numbers: Numbers) -> dict[str, Any]:
    """The boundary of each panel, along epoch, plane, replicate: where it begins, and its vertices, NaN between lines.

    A panel whose boundary takes more than its share of `most` numbers has none, and is counted.
    """
    sizes = [whole.sizes.get(dim, 1) for dim in ("epoch", "plane", "replicate")]
    share = max(2, most // int(np.prod(sizes)))
    begins, vertices, left_out = [0], [np.zeros((0, 2))], 0
    for epoch, plane, replicate in np.ndindex(*sizes):
        panel = whole.isel(epoch=epoch, replicate=replicate)
        lines = boundary_of(panel.isel(plane=plane) if "plane" in panel.dims else panel)
        lines = [np.vstack([line, [[np.nan, np.nan]]]) for line in lines]
        if sum(map(np.size, lines)) > share:
            lines, left_out = [], left_out + 1
        vertices += lines
        begins.append(begins[-1] + sum(map(len, lines)))
    return {"begins": begins, "vertices": numbers.add(np.concatenate(vertices)), "left_out": left_out}


def _plane(plane: xr.Dataset, task: dict[str, Any], numbers: Numbers) -> dict[str, Any]:
    """The three inputs of a plane."""
    names = class_names(task, plane.corner_class.values)
    labels = plane.corner_class.values.astype(int).tolist()
    rows = plane.corner_index.values.tolist()
    return {
        "name": ", ".join(f"{names[label]} (row {row})" for label, row in zip(labels, rows, strict=True)),
        "corners": numbers.add(plane.corner_place.transpose("axis", "end").values),
        "classes": labels,
        "names": names,
        "inputs": image_of(plane.corner, plane.attrs, numbers),
    }


def _points(geometry: xr.Dataset, task: dict[str, Any], numbers: Numbers) -> dict[str, Any]:
    """Training points."""
    places = evenly(geometry.sizes["point"], MOST_POINTS)
    labels = geometry.label.values[places].astype(int)
    inputs: Place = numbers.add(geometry.input.values[places].T)
    return {
        "places": inputs,
        "classes": labels.tolist(),
        "names": class_names(task, labels),
        "all": geometry.sizes["point"],
    }
