"""How the geometry on a grid relates to the decision boundary, at each checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from nngeom_cli.analysis.boundary import boundary_of, distance_to_boundary
from nngeom_cli.analysis.statistic import (
    Array,
    Field,
    Flag,
    Reason,
    Result,
    averaged,
    chosen_boundaries,
    curvature,
    first_flag,
    flagged,
    labelled,
    mean_where,
    others,
    require_kind,
    unconditional,
)

__all__ = ["grid_statistics"]

BAND = 0.15  # units of input space
GRID = ("epoch", "layer", "replicate")


def grid_statistics(geometry: xr.Dataset, *, band: float = BAND, boundaries: Sequence[str] | None = None) -> xr.Dataset:
    """How log volume and log |R| relate to the decision boundary, over the grid points inside the data's box.

    `*_mean`: mean over the box.
    `*_band_mean`: mean over the points at most `band` from the boundary.
    `*_band_contrast`: that mean minus the mean over the other points.
    `*_rank_correlation`: Spearman's, with minus the distance to the boundary.
    A point is left out, and counted, where the quantity is not finite; for log |R| also where R = 0 or where R has no
    reliable digit (error > 0.1 |R|).

    Whose boundary it is, `boundary` says: `final`, that of the last checkpoint at every epoch; `own`, that of the
    checkpoint; and controls that ask the same question of lines which the network did not draw: `other`, the mean of
    the statistic over the final boundaries of the next k replicates, cyclically, k = min(n - 1, 7), of those that have
    one; `mirrored` and `rotated`, the final boundary with left and right exchanged, or turned by half a turn, in the
    data's box. A boundary with that symmetry is its own control; `band_shared` says how much of the control's band lies
    in the band of the final boundary.

    Args:
        geometry: `run.geometry` of a grid probe; its last epoch is the final network.
        band: half width of the band around the boundary, in units of input space.
        boundaries: those that are asked for, in this order; by default all. Each costs time: `own` a search for the
            boundary at each checkpoint.

    Returns:
        For `volume` and `curvature`: `*_mean` (epoch, layer, replicate), and `*_band_mean`, `*_band_contrast`,
        `*_rank_correlation` (boundary, epoch, layer, replicate), each with its `_undefined`. `band_shared` (boundary,
        epoch, replicate). Counts of points, (epoch, layer, replicate): `volume_missing`, `curvature_missing`,
        `curvature_zero`, `curvature_unreliable`. Attributes `band` and `points`, the number of grid points in the box.

    Raises:
        ValueError: `geometry` is of another kind, `band` is not positive, or a boundary has an unknown name.

    Example:
        >>> x = np.linspace(-1, 1, 21)
        >>> V = xr.DataArray(-abs(x), {"x": x}, "x").expand_dims(epoch=[0], layer=[1], replicate=[0], y=x)
        >>> arrays = {"margin": (V * 0 + V.x).isel(layer=0), "log_volume_element": V, "ricci_scalar": V * 0 + 3}
        >>> geometry = xr.Dataset(arrays, attrs={"kind": "grid", "box": [-1, 1, -1, 1]})
        >>> numbers = grid_statistics(geometry.assign(ricci_scalar_error=V * 0)).sel(boundary="final")
        >>> numbers.volume_rank_correlation.item(), round(numbers.volume_band_contrast.item(), 6)
        (1.0, 0.533333)
    """
    require_kind(geometry, "grid")
    if not band > 0:
        raise ValueError(f"`band` must be positive. Got {band}. The default is {BAND}.")
    asked = chosen_boundaries(boundaries, "grid")
    names = ["log_volume_element", "ricci_scalar", "ricci_scalar_error"]
    (log_volume, R, error), distances = _inside_box(geometry, names, asked)
    finite = np.isfinite(log_volume)
    log_curvature, curved, relative_error, flat, curvature_counts = curvature(R, error)
    fields = [
        Field("volume", "log volume element", log_volume, finite),
        Field("curvature", "log |R|", log_curvature, curved, relative_error, flat),
    ]
    variables: dict[str, Any] = {}
    for field in fields:
        name, words, shape = field.name, field.words, log_volume.shape[:-1]
        correlations: dict[str, Result] = {}
        means: dict[str, Result] = {}
        contrasts: dict[str, Result] = {}
        for boundary in asked:
            results = [_of_boundary(field, distance, band) for distance in distances[boundary]]
            for place, found in enumerate((correlations, means, contrasts)):
                found[boundary] = averaged([parts[place] for parts in results], shape)
        label = f"mean {words} in the data's box"
        variables |= unconditional(f"{name}_mean", field.mean, GRID, label, "nats")
        label = f"mean {words} within {band:g} of the boundary"
        variables |= flagged(f"{name}_band_mean", means, GRID, label, "nats", "grid")
        variables |= flagged(f"{name}_band_contrast", contrasts, GRID, f"{label} minus outside", "nats", "grid")
        label = f"rank correlation of {words} with minus the distance to the boundary"
        variables |= flagged(f"{name}_rank_correlation", correlations, GRID, label, "", "grid")
    shared = np.empty((len(asked), log_volume.shape[0], log_volume.shape[2]))
    for place, boundary in enumerate(asked):
        each = [_shared(distance, distances["final"][0], band) for distance in distances[boundary]]
        shared[place] = mean_where(np.stack(each, -1), np.isfinite(np.stack(each, -1))) if each else np.nan
    label = "share of the band of the boundary that lies in that of the final boundary"
    variables["band_shared"] = (("boundary", "epoch", "replicate"), shared, {"long_name": label, "units": ""})
    counts = {"volume_missing": (~finite, "points left out of log volume: it is not finite")} | curvature_counts
    about = geometry.assign_attrs({"band": float(band), "points": log_volume.shape[-1]})
    return labelled(variables, counts, asked, GRID, about)


def _shared(distance: Array, final: Array, band: float) -> Array:
    """Share of the band (epoch, replicate) of each network that lies in the band of its final boundary."""
    near = np.broadcast_arrays(distance <= band, final <= band)
    return mean_where(near[1].astype(float), near[0])[:, 0]


def _of_boundary(field: Field, distance: Array, band: float) -> tuple[Result, Result, Result]:
    """Of one boundary: the rank correlation, the mean within the band, and that mean minus the mean outside."""
    reasons: list[Reason] = [(np.isinf(distance).any(axis=-1), Flag.NO_BOUNDARY)]
    near, far = field.usable & (distance <= band), field.usable & (distance > band)
    inside = mean_where(field.values, near)
    flags, one_side = [*reasons, *field.reasons], ~near.any(axis=-1)
    return (
        field.rank_correlation(-distance, reasons),
        (inside, first_flag([*flags, (one_side, Flag.ONE_SIDE)])),
        (
            inside - mean_where(field.values, far),
            first_flag([*flags, (one_side | ~far.any(axis=-1), Flag.ONE_SIDE)]),
        ),
    )


def _inside_box(
    geometry: xr.Dataset, names: list[str], boundaries: Sequence[str]
) -> tuple[list[Array], dict[str, list[Array]]]:
    """Inside the data's box: variables, and for each kind of boundary the distances (epoch or 1, 1, replicate, place).

    A kind has several where each replicate is asked about the boundaries of others.
    """
    left, right, bottom, top = geometry.attrs["box"]
    slack = 1e-9 * max(right - left, top - bottom)  # a place on the edge is inside, whatever its rounding
    boxed = geometry[names].sel(x=slice(left - slack, right + slack), y=slice(bottom - slack, top + slack))
    boxed = boxed.stack(place=("y", "x"), create_index=False)
    x, y = boxed.x.values, boxed.y.values
    networks = geometry[[name for name in ("margin", "predicted_class") if name in geometry]]
    lines = [
        [
            boundary_of(networks.isel(epoch=epoch, replicate=replicate))
            for replicate in range(geometry.sizes["replicate"])
        ]
        for epoch in range(geometry.sizes["epoch"])[0 if "own" in boundaries else -1 :]
    ]

    def to_lines(x: Array, y: Array, lines: list[list[list[Array]]]) -> Array:
        places = np.stack([x, y], axis=-1)
        return np.array([[distance_to_boundary(places, network) for network in epoch] for epoch in lines])[:, None]

    own = to_lines(x, y, lines)
    distances = {"final": [own[-1:]], "own": [own], "other": others(own[-1:], axis=2)}
    if "mirrored" in boundaries:  # as far as the mirrored place is from the boundary
        distances["mirrored"] = [to_lines(left + right - x, y, lines[-1:])]
    if "rotated" in boundaries:
        distances["rotated"] = [to_lines(left + right - x, bottom + top - y, lines[-1:])]
    return [boxed[name].transpose(*GRID, "place").values for name in names], distances
