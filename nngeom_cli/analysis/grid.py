"""How the geometry on a grid relates to the decision boundary, at each checkpoint."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from nngeom_cli.analysis.boundary import boundary_of, distance_to_boundary
from nngeom_cli.analysis.statistic import (
    Array,
    Flag,
    curvature,
    first_flag,
    flagged,
    labelled,
    mean_where,
    rank_correlation,
    require_kind,
)

__all__ = ["grid_statistics"]

BAND = 0.15  # units of input space
GRID = ("epoch", "layer", "replicate")


def grid_statistics(geometry: xr.Dataset, *, band: float = BAND, own: bool = True) -> xr.Dataset:
    """How log volume and log |R| relate to the decision boundary, over the grid points inside the data's box.

    `*_rank_correlation`: Spearman's, with minus the distance to the boundary.
    `*_band_contrast`: mean over the points at most `band` from the boundary, minus the mean over the others.
    A point is left out, and counted, where the quantity is not finite; for log |R| also where R = 0 or where R has no
    reliable digit (error > 0.1 |R|).

    Args:
        geometry: `run.geometry` of a grid probe; its last epoch is the final network.
        band: half width of the band around the boundary, in units of input space.
        own: False leaves out boundary=own, and the search for a boundary at each checkpoint.

    Returns:
        `volume_rank_correlation`, `volume_band_contrast`, `curvature_rank_correlation`, `curvature_band_contrast`, each
        (boundary, epoch, layer, replicate) and with its `_undefined`. Counts of points, (epoch, layer, replicate):
        `volume_missing`, `curvature_missing`, `curvature_zero`, `curvature_unreliable`. Attributes `band` and `points`,
        the number of grid points in the box.

    Raises:
        ValueError: `geometry` is of another kind, or `band` is not positive.

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
    names = ["log_volume_element", "ricci_scalar", "ricci_scalar_error"]
    (log_volume, R, error), distances = _inside_box(geometry, names, first=0 if own else -1)
    finite = np.isfinite(log_volume)
    log_curvature, curved, relative_error, flat, curvature_counts = curvature(R, error)
    fields: list[tuple[str, str, Array, Array, Any, Any]] = [
        ("volume", "log volume element", log_volume, finite, 0.0, False),
        ("curvature", "log |R|", log_curvature, curved, relative_error, flat),
    ]
    variables: dict[str, Any] = {}
    for name, words, field, usable, field_error, is_flat in fields:
        correlations, contrasts = [], []
        for distance in (distances[-1:], distances)[: 1 + own]:
            no_boundary = np.isinf(distance).any(axis=-1)
            reasons = [(no_boundary, Flag.NO_BOUNDARY), (is_flat, Flag.FLAT), (~usable.any(axis=-1), Flag.NO_POINT)]
            correlations.append(rank_correlation(distance, field, usable, field_error, reasons))
            near, far = usable & (distance <= band), usable & (distance > band)
            one_side = ~near.any(axis=-1) | ~far.any(axis=-1)
            contrasts.append(
                (mean_where(field, near) - mean_where(field, far), first_flag([*reasons, (one_side, Flag.ONE_SIDE)]))
            )
        label = f"rank correlation of {words} with minus the distance to the boundary"
        variables |= flagged(f"{name}_rank_correlation", correlations, GRID, label, "")
        label = f"mean {words} within {band:g} of the boundary minus outside"
        variables |= flagged(f"{name}_band_contrast", contrasts, GRID, label, "nats")
    counts = {"volume_missing": (~finite, "points left out of log volume: it is not finite")} | curvature_counts
    return labelled(
        variables, counts, GRID, geometry.assign_attrs({"band": float(band), "points": distances.shape[-1]})
    )


def _inside_box(geometry: xr.Dataset, names: list[str], first: int) -> tuple[list[Array], Array]:
    """Inside the data's box: variables, and distances to each network's boundary (epoch, 1, replicate, place).

    Distances are those of the checkpoints from place `first` on.
    """
    left, right, bottom, top = geometry.attrs["box"]
    slack = 1e-9 * max(right - left, top - bottom)  # a place on the edge is inside, whatever its rounding
    boxed = geometry[names].sel(x=slice(left - slack, right + slack), y=slice(bottom - slack, top + slack))
    boxed = boxed.stack(place=("y", "x"), create_index=False)
    places = np.stack([boxed.x.values, boxed.y.values], axis=-1)
    networks = geometry[[name for name in ("margin", "predicted_class") if name in geometry]]
    distances = [
        [
            distance_to_boundary(places, boundary_of(networks.isel(epoch=epoch, replicate=replicate)))
            for replicate in range(geometry.sizes["replicate"])
        ]
        for epoch in range(geometry.sizes["epoch"])[first:]
    ]
    return [boxed[name].transpose(*GRID, "place").values for name in names], np.array(distances)[:, None]
