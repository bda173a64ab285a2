"""What statistics of grids, paths and planes share: whose boundary they ask about, where they are undefined, ranks.

A statistic that cannot be computed is NaN, and its variable `<name>_undefined` says why (`REASONS`, CF flags);
values that were left out are counted. `boundary` is `final`, the last checkpoint's at every epoch (so trained minus
initial is a paired difference, and the untrained control has a boundary too), `own`, the checkpoint's own, or one of
the controls that keep the geometry of the question (`BOUNDARIES`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nngeom_cli.analysis.controls import BOUNDARIES, CONTROLS, MOST_OTHERS
from nngeom_cli.analysis.degeneracy import RELIABLE, unreliable
from nngeom_cli.analysis.ranks import ranks, ranks_among
from nngeom_cli.errors import did_you_mean

__all__ = [
    "BOUNDARIES",
    "CONSTANT",
    "CONTROLS",
    "MOST_OTHERS",
    "REASONS",
    "Array",
    "Field",
    "Flag",
    "Reason",
    "Result",
    "averaged",
    "chosen_boundaries",
    "count_reasons",
    "curvature",
    "first_flag",
    "flagged",
    "labelled",
    "mean_where",
    "others",
    "require_kind",
    "unconditional",
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
    NO_OTHER = 7  # no other replicate, or path, whose boundary could be the control
    ALL_ALIKE = 8  # no usable point is predicted wrong, or none right


REASONS = tuple(flag.name.lower() for flag in Flag)


@dataclass(frozen=True)
class Field:
    """A quantity at the places of each network, and where it can be used.

    Attributes:
        name: in the names of statistics.
        words: what it is.
        values: `(*networks, place)`.
        usable: a mask like `values`.
        error: how far from each value the true one may lie.
        flat: networks whose R is 0 everywhere.
    """

    name: str
    words: str
    values: Array
    usable: Array
    error: Any = 0.0
    flat: Any = False

    @property
    def reasons(self) -> list[Reason]:
        """Why there is no statistic of the field, whatever is asked."""
        return [(self.flat, Flag.FLAT), (~self.usable.any(axis=-1), Flag.NO_POINT)]

    @property
    def mean(self) -> Result:
        """Over the usable places."""
        return mean_where(self.values, self.usable), first_flag(self.reasons)

    @cached_property
    def ranks(self) -> Array:
        """Ranks among usable places minus their mean; 0 elsewhere."""
        ranked = ranks(np.where(self.usable, self.values, np.nan))
        return np.where(self.usable, ranked - self.middle, 0.0)

    @property
    def middle(self) -> Array:
        """The mean rank, `(*networks, 1)`."""
        return np.asarray((self.usable.sum(axis=-1, keepdims=True) + 1) / 2)

    @cached_property
    def constant(self) -> Array:
        """Networks for which the field is constant except for its error."""
        margin = np.maximum(self.error, CONSTANT / 2)
        with np.errstate(invalid="ignore"):
            lowest = np.min(self.values + margin, axis=-1, where=self.usable, initial=np.inf)
            highest = np.max(self.values - margin, axis=-1, where=self.usable, initial=-np.inf)
        return np.asarray(highest <= lowest)

    def ranks_of(self, other: Array) -> Array:
        """Ranks of another quantity at the same places among the usable ones minus their mean; 0 elsewhere."""
        theirs = ranks(other) if self.usable.all() else ranks_among(other, self.usable)
        return np.where(self.usable, theirs - self.middle, 0.0)

    def at(self, places: Array) -> Field:
        """The field at some of its places."""
        error = self.error[..., places] if np.ndim(self.error) else self.error
        return Field(self.name, self.words, self.values[..., places], self.usable[..., places], error, self.flat)

    def rank_correlation(self, other: Array, reasons: list[Reason]) -> Result:
        """Spearman's correlation with another quantity at the same places, and why there is none."""
        theirs = self.ranks_of(other)
        covariance, variances = ((a * b).sum(axis=-1) for a, b in ((self.ranks, theirs), (theirs, theirs)))
        variances = variances * (self.ranks**2).sum(axis=-1)
        with np.errstate(invalid="ignore"):
            flags = first_flag([*reasons, *self.reasons, (self.constant | (variances == 0), Flag.CONSTANT)])
            return covariance / np.sqrt(variances), flags


def chosen_boundaries(boundaries: Sequence[str] | None, kind: str) -> tuple[str, ...]:
    """The values of `boundary` that were asked for, each once; all where none is named."""
    known = BOUNDARIES[kind]
    asked = tuple(known) if boundaries is None else tuple(dict.fromkeys(boundaries))
    for name in asked or ("none",):
        if name not in known:
            suggestion = did_you_mean(name, known) or f'For example boundaries=["{next(iter(known))}"].'
            raise ValueError(f"`boundaries` of a {kind} must be of {', '.join(known)}. Got {name}. {suggestion}")
    return asked


def others(values: Array, axis: int) -> list[Array]:
    """What belongs to the next replicates or paths stands where one's own stood: an array for each, at most 7."""
    return [np.roll(values, -step, axis) for step in range(1, min(values.shape[axis] - 1, MOST_OTHERS) + 1)]


def averaged(results: Sequence[Result], shape: tuple[int, ...]) -> Result:
    """Mean of a statistic over several boundaries, of those that have it; the first one's flag where none has."""
    if not results:
        return np.full(shape, np.nan), np.full(shape, Flag.NO_OTHER, dtype=np.int8)
    if len(results) == 1:
        return results[0]
    values, flags = (np.stack(arrays) for arrays in zip(*results, strict=True))
    defined = flags == Flag.DEFINED
    mean = mean_where(np.moveaxis(values, 0, -1), np.moveaxis(defined, 0, -1))
    return mean, np.where(defined.any(axis=0), np.int8(Flag.DEFINED), flags[0])


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


def first_flag(reasons: list[Reason]) -> Array:
    """The flag of the first mask that holds."""
    masks, flags = zip(*reasons, strict=True)
    return np.asarray(np.select(np.broadcast_arrays(*masks), flags, Flag.DEFINED), dtype=np.int8)


def mean_where(values: Array, mask: Array) -> Array:
    """Mean along the last axis where `mask` holds; NaN where it holds nowhere."""
    with np.errstate(invalid="ignore"):
        mean: Array = np.where(mask, values, 0.0).sum(axis=-1) / mask.sum(axis=-1)
    return mean


def flagged(
    name: str, results: Mapping[str, Result], dims: tuple[str, ...], label: str, units: str, kind: str
) -> dict[str, Any]:
    """A statistic for each boundary, NaN where it is flagged, and its flags."""
    values, flags = (np.stack(arrays) for arrays in zip(*results.values(), strict=True))
    convention = "; ".join(f"boundary={boundary}: {BOUNDARIES[kind][boundary]}" for boundary in results)
    return _with_flags(name, values, flags, ("boundary", *dims), label, units, {"convention": convention})


def unconditional(name: str, result: Result, dims: tuple[str, ...], label: str, units: str) -> dict[str, Any]:
    """A statistic that asks about no boundary, NaN where it is flagged, and its flags."""
    return _with_flags(name, *result, dims, label, units, {})


def _with_flags(
    name: str, values: Array, flags: Array, dims: tuple[str, ...], label: str, units: str, more: dict[str, str]
) -> dict[str, Any]:
    about = {"long_name": label, "units": units, **more}
    meanings = {"flag_values": np.arange(len(REASONS), dtype=np.int8), "flag_meanings": " ".join(REASONS)}
    return {
        name: (dims, np.where(flags == Flag.DEFINED, values, np.nan), about),
        f"{name}_undefined": (dims, flags, {"long_name": f"why {name} is NaN", "units": "", **meanings}),
    }


def labelled(
    variables: dict[str, Any], counts: Counts, boundaries: Sequence[str], dims: tuple[str, ...], geometry: xr.Dataset
) -> xr.Dataset:
    """Statistics and counts, with the coordinates and attributes of their geometry."""
    for name, (mask, label) in counts.items():
        variables[name] = (dims, mask.sum(axis=-1), {"long_name": label, "units": ""})
    coordinates = {name: geometry[name] for name in dims if name in geometry.coords}
    return xr.Dataset(variables, {"boundary": list(boundaries), **coordinates}, geometry.attrs)


def require_kind(geometry: xr.Dataset, kind: str) -> None:
    got = geometry.attrs.get("kind")
    if got != kind:
        raise ValueError(f"`kind` of the geometry must be {kind}. Got {got}. Use the statistics of its own kind.")


def count_reasons(flags: Array) -> list[tuple[str, int]]:
    """Why a statistic is undefined and how often, the most frequent reason first."""
    return Counter(REASONS[flag] for flag in flags.ravel().tolist() if flag != Flag.DEFINED).most_common()
