"""How effective volume and length along paths relate to the changes of prediction, at each checkpoint."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from nngeom_cli.analysis.statistic import (
    CONSTANT,
    Array,
    Flag,
    Reason,
    first_flag,
    flagged,
    labelled,
    mean_where,
    require_kind,
)

__all__ = ["path_statistics"]

NEAR = 1 / 16  # of a path: a point at most this far from a change of prediction is near it
PATH = ("epoch", "layer", "pair", "replicate")


def path_statistics(geometry: xr.Dataset) -> xr.Dataset:
    """How effective volume and length relate to the changes of prediction, along each path.

    `peak_distance`: steps from the maximum to the nearest change; the mean over the steps that share the maximum.
    `change_excess`: mean log effective volume at the changes minus the path's mean.
    `length`: Riemannian length of the path, the integral of its speed by the trapezoid rule.
    `length_near_change`: the share of it within a sixteenth of the path of a change.
    `length_excess`: that share minus the share of a path of constant speed.
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
        reasons: list[Reason] = [(~which.any(axis=-1), Flag.NO_CHANGE), (~usable.any(axis=-1), Flag.NO_POINT)]
        constant = (peaks == usable).all(axis=-1)
        distances.append(
            (mean_where(_steps_to_nearest(which), peaks), first_flag([*reasons, (constant, Flag.CONSTANT)]))
        )
        excess = mean_where(log_volume, at_change) - mean_where(log_volume, usable)
        excesses.append((excess, first_flag([*reasons, (~at_change.any(axis=-1), Flag.NO_POINT)])))
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
    """Length of paths, and its share near the changes of prediction of the last checkpoint or of its own."""
    part = np.full(speed.shape[-1], 1 / (speed.shape[-1] - 1))  # of the path that each step stands for
    part[[0, -1]] /= 2
    length = (part * speed).sum(axis=-1)
    lengths, shares, excesses = [], [], []
    for which in near:
        no_length: Reason = (~(np.isfinite(length) & (length > 0)), Flag.NO_POINT)
        flags = first_flag([(~which.any(axis=-1), Flag.NO_CHANGE), no_length])
        with np.errstate(invalid="ignore"):
            share = np.where(which, part * speed, 0.0).sum(axis=-1) / length
        lengths.append((length, first_flag([(~np.isfinite(length), Flag.NO_POINT)])))
        shares.append((share, flags))
        excesses.append((share - np.where(which, part, 0.0).sum(axis=-1), flags))
    variables = flagged("length", lengths, PATH, "Riemannian length of the path", "feature length")
    label = f"share of the length within {NEAR:g} of the path of a change of prediction"
    variables |= flagged("length_near_change", shares, PATH, label, "")
    label = f"{label}, minus the share at constant speed"
    return variables | flagged("length_excess", excesses, PATH, label, "")


def _steps_to_nearest(marked: Array) -> Array:
    """Distance of each place on the last axis to the nearest marked one; infinite where there is none."""
    place = np.arange(marked.shape[-1], dtype=np.float64)
    before = np.maximum.accumulate(np.where(marked, place, -np.inf), axis=-1)
    after = np.minimum.accumulate(np.where(marked, place, np.inf)[..., ::-1], axis=-1)[..., ::-1]
    nearest: Array = np.minimum(place - before, after - place)
    return nearest
