"""The numbers under the pictures: how the geometry lies to the decision boundary, at each checkpoint of each replicate.

A statistic that cannot be formed is NaN, and the variable `<name>_undefined` beside it says why (`REASONS`, CF flags);
values that were left out are counted. `boundary` is `final`, the last checkpoint's at every epoch (so trained minus
initial is a paired difference, and the untrained control has a boundary too), or `own`, the checkpoint's own.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from nngeom_cli.analysis.boundary import boundary_of, distance_to_boundary
from nngeom_cli.analysis.degeneracy import RELIABLE, unreliable

__all__ = ["DEFINED", "REASONS", "grid_statistics", "path_statistics"]

Array: TypeAlias = NDArray[Any]
Reason: TypeAlias = tuple[Any, int]  # a mask and the flag where it holds
Result: TypeAlias = tuple[Array, Array]  # values, and the flags that say where they are undefined
Counts: TypeAlias = dict[str, tuple[Array, str]]  # masks whose last axis is counted, and labels

BAND = 0.15  # units of input space
NEAR = 1 / 16  # of a path: what lies no farther from a change of prediction is near it
CONSTANT = 1e-9  # nats: a log volume that varies by less is constant but for rounding

# no_boundary: one sign of the margin in the window; no_change: one prediction on the path; flat: R = 0 everywhere;
# no_point: none is usable; constant: but for rounding; one_side: no usable point within the band, or none outside
REASONS = ("defined", "no_boundary", "no_change", "flat", "no_point", "constant", "one_side")
DEFINED, NO_BOUNDARY, NO_CHANGE, FLAT, NO_POINT, IS_CONSTANT, ONE_SIDE = range(len(REASONS))

GRID = ("epoch", "layer", "replicate")
PATH = ("epoch", "layer", "pair", "replicate")


def grid_statistics(geometry: xr.Dataset, *, band: float = BAND, own: bool = True) -> xr.Dataset:
    """How log volume and log |R| lie to the decision boundary, over the grid points inside the data's box.

    `*_rank_correlation`: Spearman's, with minus the distance to the boundary.
    `*_band_contrast`: mean over the points at most `band` from the boundary, minus the mean over the others.
    A point is left out, and counted, where the quantity is not finite; of log |R| also where R = 0 or where R has no
    reliable digit (error > 0.1 |R|).

    Args:
        geometry: `run.geometry` of a grid probe; its last epoch is the final network.
        band: half width of the band around the boundary, in units of input space.
        own: False leaves out boundary=own, and with it a boundary to find at each checkpoint.

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
            reasons = [(no_boundary, NO_BOUNDARY), (is_flat, FLAT), (~usable.any(axis=-1), NO_POINT)]
            correlations.append(rank_correlation(distance, field, usable, field_error, reasons))
            near, far = usable & (distance <= band), usable & (distance > band)
            one_side = ~near.any(axis=-1) | ~far.any(axis=-1)
            contrasts.append((_mean(field, near) - _mean(field, far), first([*reasons, (one_side, ONE_SIDE)])))
        label = f"rank correlation of {words} with minus the distance to the boundary"
        variables |= flagged(f"{name}_rank_correlation", correlations, GRID, label, "")
        label = f"mean {words} within {band:g} of the boundary minus outside"
        variables |= flagged(f"{name}_band_contrast", contrasts, GRID, label, "nats")
    counts = {"volume_missing": (~finite, "points left out of log volume: it is not finite")} | curvature_counts
    return labelled(
        variables, counts, GRID, geometry.assign_attrs({"band": float(band), "points": distances.shape[-1]})
    )


def curvature(R: Array, error: Array) -> tuple[Array, Array, Array, Array, Counts]:
    """log |R| at the points of the last axis, where it is usable, R's relative error, where all R = 0; what is not."""
    missing, zero, doubtful = ~np.isfinite(R), R == 0, (R != 0) & unreliable(R, error)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        log_curvature, relative_error = np.log(np.abs(R)), error / np.abs(R)
    counts: Counts = {
        "curvature_missing": (missing, "points left out of log |R|: R is not finite"),
        "curvature_zero": (zero, "points left out of log |R|: R = 0"),
        "curvature_unreliable": (doubtful, f"points left out of log |R|: error > {RELIABLE:g} |R|"),
    }
    flat = (missing | zero).all(axis=-1) & zero.any(axis=-1)
    return log_curvature, ~(missing | zero | doubtful), relative_error, flat, counts


def path_statistics(geometry: xr.Dataset) -> xr.Dataset:
    """How effective volume and length lie to the changes of prediction, along each path.

    `peak_distance`: steps from the maximum to the nearest change; the mean over the steps that share the maximum.
    `change_excess`: mean log effective volume at the changes minus the path's mean.
    `length`: Riemannian length of the path, the integral of its speed by the trapezoid rule. `length_near_change`: the
    share of it that is spent within a sixteenth of the path of a change. `length_excess`: that share minus the one of a
    path of constant speed.
    A change lies at the first step with the new prediction. Steps whose volume is not finite are left out, and counted.

    Args:
        geometry: `run.geometry` of a path probe; its last epoch is the final network.

    Returns:
        `peak_distance` and `change_excess`, and where the speed was measured `length`, `length_near_change` and
        `length_excess`, each (boundary, epoch, layer, pair, replicate) and with its `_undefined`.
        Counts of steps, (epoch, layer, pair, replicate): `steps_missing`; `peak_steps`, which share the maximum.

    Raises:
        ValueError: `geometry` is of another kind.

    Example:
        >>> dims = ("epoch", "layer", "pair", "replicate", "step")
        >>> V = xr.DataArray(np.reshape([0.0, 3.0, 0.0, 1.0], (1, 1, 1, 1, 4)), dims=dims)
        >>> arrays = {"log_effective_volume_element": V, "predicted_class": xr.zeros_like(V[:, 0]) + [2, 2, 2, 7]}
        >>> numbers = path_statistics(xr.Dataset(arrays, attrs={"kind": "path"})).sel(boundary="final")
        >>> numbers.peak_distance.item(), numbers.change_excess.item()
        (2.0, 0.0)
    """
    require_kind(geometry, "path")
    log_volume = geometry.log_effective_volume_element.transpose(*PATH, "step").values
    predicted = geometry.predicted_class.transpose("epoch", "pair", "replicate", "step").values[:, None]
    changes = np.zeros(predicted.shape, dtype=bool)  # (epoch, 1, pair, replicate, step)
    changes[..., 1:] = predicted[..., 1:] != predicted[..., :-1]
    usable = np.isfinite(log_volume)
    highest = np.max(log_volume, axis=-1, keepdims=True, where=usable, initial=-np.inf)
    peaks = usable & (log_volume >= highest - CONSTANT)
    distances, excesses = [], []
    for which in (changes[-1:], changes):
        at_change = usable & which
        reasons: list[Reason] = [(~which.any(axis=-1), NO_CHANGE), (~usable.any(axis=-1), NO_POINT)]
        constant = (peaks == usable).all(axis=-1)
        distances.append((_mean(_steps_to_nearest(which), peaks), first([*reasons, (constant, IS_CONSTANT)])))
        excess = _mean(log_volume, at_change) - _mean(log_volume, usable)
        excesses.append((excess, first([*reasons, (~at_change.any(axis=-1), NO_POINT)])))
    near = [_steps_to_nearest(which) <= NEAR * (changes.shape[-1] - 1) for which in (changes[-1:], changes)]
    label = "distance from the maximum of the effective volume to the nearest change of prediction"
    variables = flagged("peak_distance", distances, PATH, label, "steps")
    label = "log effective volume element at the changes of prediction minus the path's mean"
    variables |= flagged("change_excess", excesses, PATH, label, "nats")
    if "speed" in geometry:
        variables |= _length_statistics(geometry.speed.transpose(*PATH, "step").values, near)
    counts = {
        "steps_missing": (~usable, "steps left out: the effective volume is not finite"),
        "peak_steps": (peaks, "steps that share the maximum of the effective volume"),
    }
    return labelled(variables, counts, PATH, geometry)


def _length_statistics(speed: Array, near: list[Array]) -> dict[str, Any]:
    """Length of paths, and where it is spent: near the changes of prediction of the final or of the own network."""
    part = np.full(speed.shape[-1], 1 / (speed.shape[-1] - 1))  # of the path that each step stands for
    part[[0, -1]] /= 2
    length = (part * speed).sum(axis=-1)
    lengths, shares, excesses = [], [], []
    for which in near:
        no_length: Reason = (~(np.isfinite(length) & (length > 0)), NO_POINT)
        flags = first([(~which.any(axis=-1), NO_CHANGE), no_length])
        with np.errstate(invalid="ignore"):
            share = np.where(which, part * speed, 0.0).sum(axis=-1) / length
        lengths.append((length, first([(~np.isfinite(length), NO_POINT)])))
        shares.append((share, flags))
        excesses.append((share - np.where(which, part, 0.0).sum(axis=-1), flags))
    variables = flagged("length", lengths, PATH, "Riemannian length of the path", "feature length")
    label = f"share of the length within {NEAR:g} of the path of a change of prediction"
    variables |= flagged("length_near_change", shares, PATH, label, "")
    label = f"{label}, minus the share at constant speed"
    return variables | flagged("length_excess", excesses, PATH, label, "")


def rank_correlation(distance: Array, field: Array, usable: Array, error: Any, reasons: list[Reason]) -> Result:
    """Spearman's correlation of a field with minus the distance, and why there is none."""
    middle = (usable.sum(axis=-1, keepdims=True) + 1) / 2
    pair = (field, np.broadcast_to(-distance, field.shape))
    a, b = (np.where(usable, ranks(np.where(usable, values, np.nan)) - middle, 0.0) for values in pair)
    covariance, variances = (a * b).sum(axis=-1), (a * a).sum(axis=-1) * (b * b).sum(axis=-1)
    margin = np.maximum(error, CONSTANT / 2)
    with np.errstate(invalid="ignore"):
        lowest = np.min(field + margin, axis=-1, where=usable, initial=np.inf)
        constant = np.max(field - margin, axis=-1, where=usable, initial=-np.inf) <= lowest
        return covariance / np.sqrt(variances), first([*reasons, (constant | (variances == 0), IS_CONSTANT)])


def ranks(values: Array) -> Array:
    """Ranks along the last axis, from 1, the mean of their ranks for equal values; NaN where there is none."""
    columns = pd.DataFrame(values.reshape(math.prod(values.shape[:-1]), values.shape[-1]).T)
    ranked: Array = columns.rank().to_numpy().T.reshape(values.shape)
    return ranked


def first(reasons: list[Reason]) -> Array:
    """The flag of the first mask that holds."""
    masks, flags = zip(*reasons, strict=True)
    return np.asarray(np.select(np.broadcast_arrays(*masks), flags, DEFINED), dtype=np.int8)


def _mean(values: Array, mask: Array) -> Array:
    """Mean along the last axis where `mask` holds; NaN where it does nowhere."""
    with np.errstate(invalid="ignore"):
        mean: Array = np.where(mask, values, 0.0).sum(axis=-1) / mask.sum(axis=-1)
    return mean


def _steps_to_nearest(marked: Array) -> Array:
    """Distance of each place on the last axis to the nearest marked one; infinite where there is none."""
    place = np.arange(marked.shape[-1], dtype=np.float64)
    before = np.maximum.accumulate(np.where(marked, place, -np.inf), axis=-1)
    after = np.minimum.accumulate(np.where(marked, place, np.inf)[..., ::-1], axis=-1)[..., ::-1]
    nearest: Array = np.minimum(place - before, after - place)
    return nearest


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


def flagged(name: str, results: list[Result], dims: tuple[str, ...], label: str, units: str) -> dict[str, Any]:
    """A statistic for each boundary, NaN where it is flagged, and its flags."""
    values, flags = (np.stack(arrays) for arrays in zip(*results, strict=True))
    convention = "boundary=final: of the last checkpoint, at every epoch; boundary=own: of the checkpoint itself"
    about = {"long_name": label, "units": units, "convention": convention}
    meanings = {"flag_values": np.arange(len(REASONS), dtype=np.int8), "flag_meanings": " ".join(REASONS)}
    return {
        name: (("boundary", *dims), np.where(flags == DEFINED, values, np.nan), about),
        f"{name}_undefined": (("boundary", *dims), flags, {"long_name": f"why {name} is NaN", "units": "", **meanings}),
    }


def labelled(variables: dict[str, Any], counts: Counts, dims: tuple[str, ...], geometry: xr.Dataset) -> xr.Dataset:
    """Statistics and counts, with the coordinates and attributes of their geometry."""
    for name, (mask, label) in counts.items():
        variables[name] = (dims, mask.sum(axis=-1), {"long_name": label, "units": ""})
    coordinates = {name: geometry[name] for name in dims if name in geometry.coords}
    boundaries = len(next(values for dims, values, _ in variables.values() if dims[0] == "boundary"))
    return xr.Dataset(variables, {"boundary": ["final", "own"][:boundaries], **coordinates}, geometry.attrs)


def require_kind(geometry: xr.Dataset, kind: str) -> None:
    got = geometry.attrs.get("kind")
    if got != kind:
        raise ValueError(f"`kind` of the geometry must be {kind}. Got {got}. Use the statistics of its own kind.")
