"""Statistics of planes: how the geometry follows the uncertainty of the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from scipy.interpolate import RegularGridInterpolator
from scipy.special import entr

from nngeom_cli.analysis.statistic import (
    Array,
    Field,
    Flag,
    averaged,
    chosen_boundaries,
    curvature,
    flagged,
    labelled,
    others,
    require_kind,
    unconditional,
)

__all__ = ["in_triangle", "plane_statistics"]

PLANE = ("epoch", "layer", "plane", "replicate")


def plane_statistics(geometry: xr.Dataset, *, boundaries: Sequence[str] | None = None) -> xr.Dataset:
    """Rank correlation of the geometry with the entropy of the prediction, over the triangles of three inputs.

    Spearman's, with log effective volume, with log volume of the map restricted to the plane, and with log |R| of that
    map; and the mean of each. Only points in the triangle count: they are mixtures of the three inputs. A point is left
    out, and counted, as in `grid_statistics`.

    Whose entropy it is, `boundary` says: `final`, the last checkpoint's at every epoch; `own`, that of the checkpoint;
    and controls: `other`, the mean of the statistic over the final entropies of the next k replicates, cyclically, k =
    min(n - 1, 7); `rotated`, the final entropy at the mixture whose weights are exchanged in turn (mean of the
    statistic over both ways; linear between grid points); `middle`, the entropy -sum w log w of the weights themselves,
    largest in the middle of the triangle, which knows nothing of the network.

    Args:
        geometry: `run.geometry` of a plane probe; its last epoch is the final network.
        boundaries: those that are asked for, in this order; by default all.

    Returns:
        `effective_volume_entropy`, `volume_entropy` and `curvature_entropy`, each (boundary, epoch, layer, plane,
        replicate); `effective_volume_mean`, `volume_mean` and `curvature_mean`, each (epoch, layer, plane, replicate);
        each with its `_undefined`. Counts of points, (epoch, layer, plane, replicate): `effective_volume_missing`,
        `volume_missing`, `curvature_missing`, `curvature_zero`, `curvature_unreliable`.

    Raises:
        ValueError: `geometry` is of another kind, or a boundary has an unknown name.

    Example:
        >>> plane_statistics(run.geometry).effective_volume_entropy.sel(boundary="final")    # doctest: +SKIP
    """
    require_kind(geometry, "plane")
    asked = chosen_boundaries(boundaries, "plane")
    inside = in_triangle(geometry)[:, None]  # (plane, 1, place)
    names = ["log_effective_volume_element", "log_volume_element", "ricci_scalar", "ricci_scalar_error"]
    effective, volume, R, error = (flattened(geometry[name], PLANE) for name in names)
    log_curvature, curved, relative_error, flat, counts = curvature(
        np.where(inside, R, np.nan), np.where(inside, error, np.nan)
    )
    fields = [
        Field("effective_volume", "log effective volume element", effective, np.isfinite(effective) & inside),
        Field("volume", "log volume element of the restricted map", volume, np.isfinite(volume) & inside),
        Field("curvature", "log |R| of the restricted map", log_curvature, curved & inside, relative_error, flat),
    ]
    entropies = _entropies(geometry, asked)
    variables: dict[str, Any] = {}
    for field in fields:
        results = {}
        for boundary in asked:
            unknown = [(~np.isfinite(entropy) & inside).any(axis=-1) for entropy in entropies[boundary]]
            found = [
                field.rank_correlation(entropy, [(mask, Flag.NO_POINT)])
                for entropy, mask in zip(entropies[boundary], unknown, strict=True)
            ]
            results[boundary] = averaged(found, effective.shape[:-1])
        label = f"rank correlation of {field.words} with the entropy of the prediction"
        variables |= flagged(f"{field.name}_entropy", results, PLANE, label, "", "plane")
        label = f"mean {field.words} in the triangle"
        variables |= unconditional(f"{field.name}_mean", field.mean, PLANE, label, "nats")
    kept = {name: (mask & inside, label) for name, (mask, label) in counts.items()}
    for field in fields[:2]:
        label = f"points left out of {field.words}: it is not finite"
        kept[f"{field.name}_missing"] = (~np.isfinite(field.values) & inside, label)
    return labelled(variables, kept, asked, PLANE, geometry)


def _entropies(geometry: xr.Dataset, boundaries: Sequence[str]) -> dict[str, list[Array]]:
    """For each kind of boundary the entropies (epoch or 1, 1, plane, replicate or 1, place).

    A kind has several where each network is asked about the entropy of others, or of the triangle turned both ways.
    """
    own = flattened(geometry.entropy, ("epoch", "plane", "replicate"))[:, None]
    entropies = {"final": [own[-1:]], "own": [own], "other": others(own[-1:], axis=3)}
    weights = _weights(geometry)
    if "middle" in boundaries:
        of_weights = entr(np.maximum(weights, 0.0)).sum(axis=-1).round(12)  # mirrored mixtures tie, whatever is rounded
        entropies["middle"] = [of_weights[None, None, :, None]]
    if "rotated" in boundaries:
        corners = geometry.corner_place.transpose("plane", "end", "axis").values
        last = geometry.entropy.isel(epoch=-1).transpose("plane", "y", "x", "replicate").values
        grid = geometry.y.values, geometry.x.values
        entropies["rotated"] = []
        for turn in (1, 2):
            places = np.roll(weights, turn, axis=-1) @ corners  # (plane, place, 2)
            turned = [
                RegularGridInterpolator(grid, values, bounds_error=False)(at[:, ::-1])
                for values, at in zip(last, _within(places, *grid), strict=True)
            ]
            entropies["rotated"].append(np.stack(turned).swapaxes(1, 2)[None, None])
    return entropies


def _weights(geometry: xr.Dataset) -> Array:
    """The weights of the three inputs at each place, (plane, y x, 3); they sum to 1, and are negative outside."""
    x, y = np.meshgrid(geometry.x.values, geometry.y.values)
    places = np.stack([x.ravel(), y.ravel(), np.ones(x.size)])  # (3, place)
    corners = geometry.corner_place.transpose("plane", "axis", "end").values
    ones = np.ones((len(corners), 1, 3))
    weights: Array = np.linalg.solve(np.concatenate([corners, ones], axis=1), places).swapaxes(1, 2)
    return weights


def _within(places: Array, y: Array, x: Array) -> Array:
    """Places (..., 2) that lie past the edge of the grid by rounding moved to the edge."""
    slack = 1e-9 * (x[-1] - x[0])
    moved = np.clip(places, [x[0], y[0]], [x[-1], y[-1]])
    return np.where(abs(places - moved) <= slack, moved, places)


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
