"""Ranks of many rows at once, also among some of their places."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["ranks", "ranks_among"]

Array: TypeAlias = NDArray[Any]


def ranks(values: Array) -> Array:
    """Ranks along the last axis, from 1; equal values share their mean rank; NaN where there is no value."""
    columns = pd.DataFrame(values.reshape(math.prod(values.shape[:-1]), values.shape[-1]).T)
    ranked: Array = columns.rank().to_numpy().T.reshape(values.shape)
    return ranked


def ranks_among(values: Array, usable: Array) -> Array:
    """Ranks along the last axis among the usable places; elsewhere any number; NaN where a value is NaN.

    Values that many networks share are sorted once; a rank is then the number of usable places up to its own.

    Args:
        values: `(*networks or 1, place)`.
        usable: a mask, `(*networks, place)`.

    Returns:
        Like `usable`; equal values share their mean rank.
    """
    order = np.argsort(values, axis=-1)
    in_order, place = np.take_along_axis(values, order, axis=-1), np.arange(values.shape[-1])
    changes = in_order[..., 1:] != in_order[..., :-1]
    order = np.broadcast_to(order, usable.shape)
    counted = np.take_along_axis(usable, order, axis=-1)
    until = np.cumsum(counted, axis=-1, dtype=np.float64)
    if not changes.all():  # the mean over each group of equal values
        edge = np.ones((*changes.shape[:-1], 1), dtype=bool)
        first = np.maximum.accumulate(np.where(np.concatenate([edge, changes], axis=-1), place, 0), axis=-1)
        end = np.where(np.concatenate([changes, edge], axis=-1), place, place[-1:])
        last = np.minimum.accumulate(end[..., ::-1], axis=-1)[..., ::-1]
        before = np.take_along_axis(until - counted, np.broadcast_to(first, usable.shape), axis=-1)
        until = (before + np.take_along_axis(until, np.broadcast_to(last, usable.shape), axis=-1) + 1) / 2
    ranked = np.empty(usable.shape)
    np.put_along_axis(ranked, order, until, axis=-1)
    return np.where(np.isnan(values), np.nan, ranked)
