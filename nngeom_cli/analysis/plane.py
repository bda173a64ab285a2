"""Statistics of planes: how the geometry follows the uncertainty of the network."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from nngeom_cli.analysis.statistic import (
    Array,
    Flag,
    curvature,
    flagged,
    labelled,
    rank_correlation,
    require_kind,
)

__all__ = ["in_triangle", "plane_statistics"]

PLANE = ("epoch", "layer", "plane", "replicate")


def plane_statistics(geometry: xr.Dataset) -> xr.Dataset:
    """Rank correlation of the geometry with the entropy of the prediction, over the triangles of three inputs.

    Spearman's, with log effective volume, with log volume of the map restricted to the plane, and with log |R| of that
    map. Only points in the triangle count: they are mixtures of the three inputs. `boundary` says whose entropy it is:
    `final`, the last checkpoint's at every epoch, or `own`. A point is left out, and counted, as in `grid_statistics`.

    Args:
        geometry: `run.geometry` of a plane probe; its last epoch is the final network.

    Returns:
        `effective_volume_entropy`, `volume_entropy` and `curvature_entropy`, each (boundary, epoch, layer, plane,
        replicate) and with its `_undefined`. Counts of points, (epoch, layer, plane, replicate):
        `effective_volume_missing`, `volume_missing`, `curvature_missing`, `curvature_zero`, `curvature_unreliable`.

    Raises:
        ValueError: `geometry` is of another kind.

    Example:
        >>> plane_statistics(run.geometry).effective_volume_entropy.sel(boundary="final")    # doctest: +SKIP
    """
    require_kind(geometry, "plane")
    inside = in_triangle(geometry)[:, None]  # (plane, 1, place)
    names = ["log_effective_volume_element", "log_volume_element", "ricci_scalar", "ricci_scalar_error"]
    effective, volume, R, error = (flattened(geometry[name], PLANE) for name in names)
    entropy = flattened(geometry.entropy, ("epoch", "plane", "replicate"))[:, None]
    log_curvature, curved, relative_error, flat, counts = curvature(
        np.where(inside, R, np.nan), np.where(inside, error, np.nan)
    )
    fields: list[tuple[str, str, Array, Array, Any, Any]] = [
        ("effective_volume", "log effective volume element", effective, np.isfinite(effective) & inside, 0.0, False),
        ("volume", "log volume element of the restricted map", volume, np.isfinite(volume) & inside, 0.0, False),
        ("curvature", "log |R| of the restricted map", log_curvature, curved & inside, relative_error, flat),
    ]
    variables: dict[str, Any] = {}
    for name, words, field, usable, field_error, is_flat in fields:
        reasons = [(is_flat, Flag.FLAT), (~usable.any(axis=-1), Flag.NO_POINT)]
        results = [rank_correlation(-which, field, usable, field_error, reasons) for which in (entropy[-1:], entropy)]
        label = f"rank correlation of {words} with the entropy of the prediction"
        variables |= flagged(f"{name}_entropy", results, PLANE, label, "")
    kept = {name: (mask & inside, label) for name, (mask, label) in counts.items()}
    for name, words, field, *_ in fields[:2]:
        kept[f"{name}_missing"] = (~np.isfinite(field) & inside, f"points left out of {words}: it is not finite")
    return labelled(variables, kept, PLANE, geometry)


def in_triangle(geometry: xr.Dataset) -> Array:
    """Which places of the grid lie in the triangle of the three inputs, its edges included: (plane, y x)."""
    x, y = np.meshgrid(geometry.x.values, geometry.y.values)
    places = np.stack([x.ravel(), y.ravel()], axis=-1)  # (place, 2)
    corners = geometry.corner_place.transpose("plane", "end", "axis").values
    start, side = corners, np.roll(corners, -1, axis=1) - corners  # (plane, 3, 2)
    offset = places[:, None, None] - start  # (place, plane, 3, 2)
    left = side[..., 0] * offset[..., 1] - side[..., 1] * offset[..., 0]  # positive to the left of a side
    slack = 1e-9 * (side**2).sum(axis=-1)
    inside: Array = (left >= -slack).all(axis=-1).T  # the third input lies to the left of the first side
    return inside


def flattened(values: xr.DataArray, dims: tuple[str, ...]) -> Array:
    """Values as (*dims, y x)."""
    array: Array = values.transpose(*dims, "y", "x").values
    return array.reshape((*array.shape[:-2], -1))
