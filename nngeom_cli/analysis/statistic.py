"""What statistics of grids, paths and planes share: where they are undefined and why, ranks, their labels.

A statistic that cannot be computed is NaN, and its variable `<name>_undefined` says why (`REASONS`, CF flags);
values that were left out are counted. `boundary` is `final`, the last checkpoint's at every epoch (so trained minus
initial is a paired difference, and the untrained control has a boundary too), or `own`, the checkpoint's own.
"""

from __future__ import annotations

import math
from collections import Counter
from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from nngeom_cli.analysis.degeneracy import RELIABLE, unreliable

__all__ = [
    "CONSTANT",
    "REASONS",
    "Array",
    "Flag",
    "Reason",
    "count_reasons",
    "curvature",
    "first_flag",
    "flagged",
    "labelled",
    "mean_where",
    "rank_correlation",
    "require_kind",
]

Array: TypeAlias = NDArray[Any]
Reason: TypeAlias = "tuple[Any, Flag]"  # a mask and the flag where it holds
Result: TypeAlias = tuple[Array, Array]  # values, and the flags that say where they are undefined
Counts: TypeAlias = dict[str, tuple[Array, str]]  # masks whose last axis is counted, and labels

CONSTANT = 1e-9  # nats: a log volume that varies by less is constant except for rounding


class Flag(IntEnum):
    """Why a statistic is undefined."""

    DEFINED = 0
    NO_BOUNDARY = 1  # one sign of the margin in the window
    NO_CHANGE = 2  # one prediction on the path
    FLAT = 3  # R = 0 everywhere
    NO_POINT = 4  # none is usable
    CONSTANT = 5  # except for rounding
    ONE_SIDE = 6  # no usable point within the band, or none outside


REASONS = tuple(flag.name.lower() for flag in Flag)


def curvature(R: Array, error: Array) -> tuple[Array, Array, Array, Array, Counts]:
    """log |R| along the last axis, where it is usable, R's relative error, where all R = 0, and what is left out."""
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
        return covariance / np.sqrt(variances), first_flag([*reasons, (constant | (variances == 0), Flag.CONSTANT)])


def ranks(values: Array) -> Array:
    """Ranks along the last axis, from 1; equal values share their mean rank; NaN where there is no value."""
    columns = pd.DataFrame(values.reshape(math.prod(values.shape[:-1]), values.shape[-1]).T)
    ranked: Array = columns.rank().to_numpy().T.reshape(values.shape)
    return ranked


def first_flag(reasons: list[Reason]) -> Array:
    """The flag of the first mask that holds."""
    masks, flags = zip(*reasons, strict=True)
    return np.asarray(np.select(np.broadcast_arrays(*masks), flags, Flag.DEFINED), dtype=np.int8)


def mean_where(values: Array, mask: Array) -> Array:
    """Mean along the last axis where `mask` holds; NaN where it holds nowhere."""
    with np.errstate(invalid="ignore"):
        mean: Array = np.where(mask, values, 0.0).sum(axis=-1) / mask.sum(axis=-1)
    return mean


def flagged(name: str, results: list[Result], dims: tuple[str, ...], label: str, units: str) -> dict[str, Any]:
    """A statistic for each boundary, NaN where it is flagged, and its flags."""
    values, flags = (np.stack(arrays) for arrays in zip(*results, strict=True))
    convention = "boundary=final: of the last checkpoint, at every epoch; boundary=own: of the checkpoint itself"
    about = {"long_name": label, "units": units, "convention": convention}
    meanings = {"flag_values": np.arange(len(REASONS), dtype=np.int8), "flag_meanings": " ".join(REASONS)}
    return {
        name: (("boundary", *dims), np.where(flags == Flag.DEFINED, values, np.nan), about),
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


def count_reasons(flags: Array) -> list[tuple[str, int]]:
    """Why a statistic is undefined and how often, the most frequent reason first."""
    return Counter(REASONS[flag] for flag in flags.ravel().tolist() if flag != Flag.DEFINED).most_common()
