"""Checks the geometry of a run before it is drawn: which arrays it has, and along which dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from nngeom_cli.errors import DamageError, shown

__all__ = ["check_display", "check_measured"]

WHOLE = (  # integers
    *("predicted_class", "label", "endpoint_class", "endpoint_index", "corner_class", "corner_index"),
    *("true_class", "example", "converged", "within_index", "straight_class", "geodesic_class"),
)
ARRAYS = {  # names and dimensions; those in brackets may be absent
    "grid": """
        log_volume_element epoch layer replicate y x
        ricci_scalar epoch layer replicate y x
        ricci_scalar_error epoch layer replicate y x
        margin epoch replicate y x
        [predicted_class epoch replicate y x]
        [limit_log_volume_element layer y x]
        [limit_ricci_scalar layer y x]
        [input point feature]
        [label point]
        x x
        y y
    """,
    "path": """
        log_effective_volume_element epoch layer pair replicate step
        [speed epoch layer pair replicate step]
        [path_curvature epoch layer pair replicate step]
        predicted_class epoch pair replicate step
        endpoint pair end feature
        endpoint_class pair end
        endpoint_index pair end
    """,
    "geodesic": """
        geodesic_length epoch layer pair replicate
        geodesic_error epoch layer pair replicate
        straight_length epoch layer pair replicate
        chord epoch layer pair replicate
        converged epoch layer pair replicate
        within_geodesic_length epoch layer pair replicate
        within_straight_length epoch layer pair replicate
        straight_place epoch pair replicate
        straight_share epoch layer pair replicate
        geodesic_share epoch layer pair replicate
        crossing_apart epoch layer pair replicate
        straight_class epoch pair replicate step
        geodesic_class epoch layer pair replicate step
        geodesic_point epoch layer pair replicate step feature
        distance pair
        within_distance pair
        within_index pair
        endpoint pair end feature
        endpoint_class pair end
        endpoint_index pair end
    """,
    "plane": """
        log_volume_element epoch layer plane replicate y x
        ricci_scalar epoch layer plane replicate y x
        ricci_scalar_error epoch layer plane replicate y x
        log_effective_volume_element epoch layer plane replicate y x
        margin epoch plane replicate y x
        predicted_class epoch plane replicate y x
        entropy epoch plane replicate y x
        [limit_log_volume_element layer plane y x]
        [limit_ricci_scalar layer plane y x]
        corner plane end feature
        corner_place plane end axis
        corner_class plane end
        corner_index plane end
        x x
        y y
    """,
    "data": """
        log_effective_volume_element epoch layer replicate point
        local_rank epoch layer replicate point
        participation_ratio epoch layer replicate point
        [ricci_scalar epoch layer replicate point]
        [ricci_scalar_error epoch layer replicate point]
        margin epoch replicate point
        entropy epoch replicate point
        predicted_class epoch replicate point
        [first_order_distance epoch replicate point]
        [distance_along_gradient epoch replicate point]
        [adversarial_distance epoch replicate point]
        example point
        true_class point
        [input point feature]
    """,
}
LONGEST_WORD = 100  # characters; it is drawn in figures
LARGEST_LOG = 1e6  # of a volume: the log of the largest float64 is 710 per dimension
NUMBERS = {  # attributes of so many numbers
    "grid": {"box": 4},
    "path": {"steps": 1, "top_k": 1},
    "geodesic": {"segments": 1, "directions": 1},
    "plane": {"top_k": 1},
    "data": {"top_k": 1, "rank_tolerance": 1, "examples": 1},
}


def check_measured(geometry: xr.Dataset, directory: Path) -> None:
    """Checks the joined geometry of a run.

    Raises:
        DamageError: something that figures need is missing or wrong.
    """
    for what in _faults(geometry):
        raise DamageError(
            f"`{directory}` must hold the geometry that a run measures. Got {what}. "
            "It was changed or damaged: copy it from a backup, or run again."
        )


def check_display(display: xr.Dataset, geometry: xr.Dataset, path: Path) -> None:
    """Checks what was measured for heatmaps only, against the joined geometry of its run.

    Raises:
        DamageError: something that heatmaps need is missing or wrong.
    """
    for what in _display_faults(display, geometry):
        raise DamageError(
            f"`{path}` must hold what a run measures for its heatmaps. Got {what}. Delete it: heatmaps are drawn "
            "without it, coarser."
        )


def _display_faults(display: xr.Dataset, geometry: xr.Dataset) -> Iterator[str]:
    """What is wrong; each check relies on the ones before it."""
    for name in ("log_volume_element", "ricci_scalar", "ricci_scalar_error", "margin", "predicted_class", "x", "y"):
        if name not in display or display[name].dtype.kind not in "fiu" or display[name].size == 0:
            yield f"no numbers {name}"
        if display[name].dims != geometry[name if name in geometry else "margin"].dims:
            yield f"{name} along {', '.join(map(str, display[name].dims))}"
    if "replicate" not in display.coords or display.sizes["replicate"] != 1:
        yield "another number of replicates than one"
    for name in ("epoch", "replicate", "layer"):
        if name not in display.coords or not np.isin(display[name], geometry[name]).all():
            yield f"another {name} than was measured"
        if np.unique(display[name]).size < display[name].size:
            yield f"the same {name} twice"
    for name in ("x", "y"):
        ends = geometry[name].values[[0, -1]]
        if not np.allclose(display[name].values[[0, -1]], ends) or (np.diff(display[name]) <= 0).any():
            yield f"an axis {name} over another window"


def _faults(geometry: xr.Dataset) -> Iterator[str]:
    """What is wrong; each check relies on the ones before it."""
    attributes = geometry.attrs
    for name in ("kind", "task", "activation"):
        word = attributes.get(name)
        if not isinstance(word, str) or not word.isprintable() or len(word) > LONGEST_WORD:
            yield f"{name} {shown(repr(word))}"
    kind = attributes["kind"]
    if kind not in ARRAYS:
        yield f"kind {kind}"
    widths = np.atleast_1d(attributes.get("widths", []))
    if widths.ndim != 1 or widths.size < 2 or widths.dtype.kind not in "iu" or widths.min() < 1:
        yield f"widths {widths}"
    for name, count in NUMBERS[kind].items():
        if not _is_numbers(attributes.get(name), count):
            yield f"{name} {attributes.get(name)!r}"
    steps = {"path": "steps", "geodesic": "segments"}.get(kind)
    if steps and attributes[steps] != geometry.sizes.get("step", 0) - 1:
        yield f"{geometry.sizes.get('step', 0)} points for {attributes[steps]} {steps}"
    if "top_k" in NUMBERS[kind] and attributes["top_k"] < 1:
        yield f"top_k {attributes['top_k']}"
    for line in ARRAYS[kind].strip().splitlines():
        name, *dims = line.strip(" []").split()
        if name not in geometry and "[" not in line:
            yield f"no {name}"
        array = geometry.get(name)
        if array is not None and array.dims != tuple(dims):
            yield f"{name} along {', '.join(map(str, array.dims))}"
        if array is not None and (array.dtype.kind not in ("iu" if name in WHOLE else "fiu") or array.size == 0):
            yield f"{name} of {array.size} {array.dtype}"
    if kind == "data" and attributes.get("split") not in ("train", "test"):
        yield f"split {shown(repr(attributes.get('split')))}"
    if ("ricci_scalar" in geometry) != ("ricci_scalar_error" in geometry):
        yield "curvatures without errors, or errors without curvatures"
    if kind == "grid" and ("input" in geometry) != ("label" in geometry):
        yield "inputs without labels, or labels without inputs"
    for variable in (variable for variable in geometry if str(variable).startswith("log_")):
        logarithm = geometry[variable]
        if float(abs(logarithm).where(np.isfinite(logarithm)).max()) > LARGEST_LOG:
            yield f"a {variable} of more than {LARGEST_LOG:g}"
    for name, lowest, highest in (("epoch", 0, np.inf), ("replicate", 0, np.inf), ("layer", 1, widths.size)):
        values = geometry[name].values if name in geometry else np.array([])
        whole = values.ndim == 1 and values.size > 0 and values.dtype.kind in "iu"
        if not whole or values.min() < lowest or values.max() > highest or np.unique(values).size < values.size:
            yield f"{name} {values}"
    for name in {"x", "y"} & set(geometry.coords):
        if geometry[name].size < 2 or not np.isfinite(geometry[name]).all() or (np.diff(geometry[name]) <= 0).any():
            yield f"an axis {name} that does not increase"
    if "layer_names" in attributes:
        names = str(attributes["layer_names"]).split("\n")
        if len(names) != widths.size - 2 or not all(name.isprintable() and len(name) <= LONGEST_WORD for name in names):
            yield f"layer_names {shown(repr(attributes['layer_names']))}"
    if "image_shape" in attributes:
        sides = attributes["image_shape"]
        pixels = geometry.sizes.get("feature", widths[0])  # where the images themselves were too many to store
        whole = (_is_numbers(sides, 2) or _is_numbers(sides, 3)) and min(sides) >= 1
        if not whole or np.prod(sides) != pixels:
            yield f"image_shape {sides!r}"


def _is_numbers(value: Any, count: int) -> bool:
    """Whether an attribute is `count` finite numbers."""
    numbers = np.atleast_1d(np.asarray(value))
    return numbers.shape == (count,) and numbers.dtype.kind in "iuf" and bool(np.isfinite(numbers).all())
