"""How effective volume and length along paths relate to the changes of prediction, at each checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from nngeom_cli.analysis.statistic import (
    CONSTANT,
    Array,
    Flag,
    Reason,
    Result,
    averaged,
    chosen_boundaries,
    first_flag,
    flagged,
    labelled,
    mean_where,
    others,
    require_kind,
    unconditional,
)

__all__ = ["path_statistics"]

NEAR = 1 / 16  # of a path: a point at most this far from a change of prediction is near it
PATH = ("epoch", "layer", "pair", "replicate")


def path_statistics(geometry: xr.Dataset, *, boundaries: Sequence[str] | None = None) -> xr.Dataset:
    """How effective volume and length relate to the changes of prediction, along each path.

    `peak_distance`: steps from the maximum to the nearest change; the mean over the steps that share the maximum.
    `volume_mean`: mean log effective volume of the path.
    `volume_at_change`: mean log effective volume at the changes.
    `change_excess`: that mean minus the path's.
    `length`: Riemannian length of the path, the integral of its speed by the trapezoid rule.
    `length_near_change`: the share of it within a sixteenth of the path of a change.
    `length_excess`: that share minus the share of a path of constant speed.
    A change lies at the first step with the new prediction. Steps whose volume is not finite are left out, and counted.

    Whose changes they are, `boundary` says: `final`, those of the last checkpoint at every epoch; `own`, those of the
    checkpoint; and controls: `other`, the mean of the statistic over the final changes on the next k paths (pairs) of
    the same network, cyclically, k = min(pairs - 1, 7), of those on which the prediction changes; `middle`, the middle
    of the path in place of a change (step n / 2 of n, rounded up).

    Args:
        geometry: `run.geometry` of a path probe; its last epoch is the final network.
        boundaries: those that are asked for, in this order; by default all.

    Returns:
        `peak_distance`, `volume_at_change`, `change_excess` and, where the speed was measured, `length_near_change` and
        `length_excess`, each (boundary, epoch, layer, pair, replicate); `volume_mean` and, with the speed, `length`,
        each (epoch, layer, pair, replicate); each with its `_undefined`.
        Counts of steps, (epoch, layer, pair, replicate): `steps_missing`; `peak_steps`, which share the maximum.

    Raises:
        ValueError: `geometry` is of another kind, or a boundary has an unknown name.

    Example:
        >>> dims = ("epoch", "layer", "pair", "replicate", "step")
        >>> V = xr.DataArray(np.reshape([0.0, 3.0, 0.0, 1.0], (1, 1, 1, 1, 4)), dims=dims)
        >>> arrays = {"log_effective_volume_element": V, "predicted_class": xr.zeros_like(V[:, 0]) + [2, 2, 2, 7]}
        >>> numbers = path_statistics(xr.Dataset(arrays, attrs={"kind": "path"})).sel(boundary="final")
        >>> numbers.peak_distance.item(), numbers.change_excess.item()
        (2.0, 0.0)
    """
    require_kind(geometry, "path")
    asked = chosen_boundaries(boundaries, "path")
    log_volume = geometry.log_effective_volume_element.transpose(*PATH, "step").values
    predicted = geometry.predicted_class.transpose("epoch", "pair", "replicate", "step").values[:, None]
    changes = _changes(predicted)
    usable = np.isfinite(log_volume)
    highest = np.max(log_volume, axis=-1, keepdims=True, where=usable, initial=-np.inf)
    peaks = usable & (log_volume >= highest - CONSTANT)
    constant, no_point = (peaks == usable).all(axis=-1), ~usable.any(axis=-1)
    mean = mean_where(log_volume, usable)
    distances: dict[str, Result] = {}
    levels: dict[str, Result] = {}
    excesses: dict[str, Result] = {}
    for boundary in asked:
        results = []
        for which in changes[boundary]:
            at_change = usable & which
            reasons: list[Reason] = [(~which.any(axis=-1), Flag.NO_CHANGE), (no_point, Flag.NO_POINT)]
            distance = mean_where(_steps_to_nearest(which), peaks), first_flag([*reasons, (constant, Flag.CONSTANT)])
            flags = first_flag([*reasons, (~at_change.any(axis=-1), Flag.NO_POINT)])
            level = mean_where(log_volume, at_change)
            results.append((distance, (level, flags), (level - mean, flags)))
        for place, found in enumerate((distances, levels, excesses)):
            found[boundary] = averaged([parts[place] for parts in results], mean.shape)
    label = "distance from the maximum of the effective volume to the nearest change of prediction"
    variables = flagged("peak_distance", distances, PATH, label, "steps", "path")
    label = "mean log effective volume element of the path"
    variables |= unconditional("volume_mean", (mean, first_flag([(no_point, Flag.NO_POINT)])), PATH, label, "nats")
    label = "mean log effective volume element at the changes of prediction"
    variables |= flagged("volume_at_change", levels, PATH, label, "nats", "path")
    variables |= flagged("change_excess", excesses, PATH, f"{label} minus the path's mean", "nats", "path")
    if "speed" in geometry:
        speed = geometry.speed.transpose(*PATH, "step").values
        variables |= _length_statistics(speed, {boundary: changes[boundary] for boundary in asked})
    counts = {
        "steps_missing": (~usable, "steps left out: the effective volume is not finite"),
        "peak_steps": (peaks, "steps that share the maximum of the effective volume"),
    }
    return labelled(variables, counts, asked, PATH, geometry)


def _changes(predicted: Array) -> dict[str, list[Array]]:
    """For each kind of boundary the steps (epoch or 1, 1, pair or 1, replicate or 1, step) that it marks.

    A kind has several where each path is asked about the changes on others.
    """
    own: Array = np.zeros(predicted.shape, dtype=bool)
    own[..., 1:] = predicted[..., 1:] != predicted[..., :-1]
    middle = np.arange(own.shape[-1]) == own.shape[-1] // 2
    return {
        "final": [own[-1:]],
        "own": [own],
        "other": others(own[-1:], axis=2),
        "middle": [middle.reshape(1, 1, 1, 1, -1)],
    }


def _length_statistics(speed: Array, changes: Mapping[str, list[Array]]) -> dict[str, Any]:
    """Length of paths, and its share near the changes of prediction."""
    part = np.full(speed.shape[-1], 1 / (speed.shape[-1] - 1))  # of the path that each step stands for
    part[[0, -1]] /= 2
    length = (part * speed).sum(axis=-1)
    no_length: Reason = (~(np.isfinite(length) & (length > 0)), Flag.NO_POINT)
    shares: dict[str, Result] = {}
    excesses: dict[str, Result] = {}
    for boundary, several in changes.items():
        results = []
        for which in several:
            near = _steps_to_nearest(which) <= NEAR * (speed.shape[-1] - 1)
            flags = first_flag([(~which.any(axis=-1), Flag.NO_CHANGE), no_length])
            with np.errstate(invalid="ignore"):
                share = np.where(near, part * speed, 0.0).sum(axis=-1) / length
            results.append(((share, flags), (share - np.where(near, part, 0.0).sum(axis=-1), flags)))
        for place, found in enumerate((shares, excesses)):
            found[boundary] = averaged([parts[place] for parts in results], length.shape)
    known = (length, first_flag([(~np.isfinite(length), Flag.NO_POINT)]))
    variables = unconditional("length", known, PATH, "Riemannian length of the path", "feature length")
    label = f"share of the length within {NEAR:g} of the path of a change of prediction"
    variables |= flagged("length_near_change", shares, PATH, label, "", "path")
    label = f"{label}, minus the share at constant speed"
    return variables | flagged("length_excess", excesses, PATH, label, "", "path")


def _steps_to_nearest(marked: Array) -> Array:
    """Distance of each place on the last axis to the nearest marked one; infinite where there is none."""
    place = np.arange(marked.shape[-1], dtype=np.float64)
    before = np.maximum.accumulate(np.where(marked, place, -np.inf), axis=-1)
    after = np.minimum.accumulate(np.where(marked, place, np.inf)[..., ::-1], axis=-1)[..., ::-1]
    nearest: Array = np.minimum(place - before, after - place)
    return nearest
