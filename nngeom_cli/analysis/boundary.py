"""Decision boundary of a network, from its saved margin, as polylines, and the distance of points to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import contourpy
import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["boundary_of", "decision_boundary", "distance_to_boundary", "prediction_boundary"]

PAIRS_AT_ONCE = 20_000  # (point, segment) pairs whose arrays fit the cache together


def decision_boundary(margin: ArrayLike, x: ArrayLike, y: ArrayLike) -> list[NDArray[np.float64]]:
    """Polylines on which a margin that is known on a grid is zero.

    Linear along the edges of the grid's cells: exact for a linear margin; the error falls as the spacing squared.

    Args:
        margin: `(y, x)`; its sign tells the two sides. A cell with a corner that is not finite has no boundary.
        x: coordinates of the columns, increasing.
        y: coordinates of the rows, increasing.

    Returns:
        Polylines, each `(vertices, 2)` with columns x and y; a closed one ends where it begins. Empty where the margin
        has one sign all over the grid.

    Raises:
        ValueError: `margin` is not on the grid that `x` and `y` span.

    Example:
        >>> decision_boundary([[-1.0, 3.0], [-1.0, 3.0]], x=[0.0, 1.0], y=[0.0, 1.0])
        [array([[0.25, 1.  ],
               [0.25, 0.  ]])]
    """
    values, columns, rows = (np.asarray(array, dtype=np.float64) for array in (margin, x, y))
    if values.shape != (rows.size, columns.size):
        raise ValueError(
            f"`margin` must have the shape ({rows.size}, {columns.size}) of its grid (y, x). Got {values.shape}. "
            "Transpose it, or pass its own coordinates."
        )
    if min(values.shape) < 2:
        return []
    generator = contourpy.contour_generator(columns, rows, np.ma.masked_invalid(values), corner_mask=False)
    return [np.asarray(line, dtype=np.float64) for line in generator.lines(0.0) if len(line) > 1]


def prediction_boundary(
    margin: ArrayLike, predicted: ArrayLike, x: ArrayLike, y: ArrayLike
) -> list[NDArray[np.float64]]:
    """Polylines between the regions of several predicted classes.

    Along an edge of the grid from class a to class b the margin is that of a over b at one end and that of b over a at
    the other, unless a third class is second there. So the zero of the margin, with the sign of one class against all
    others, is the boundary of its region, as sharp as `decision_boundary` where no three regions meet.

    Args:
        margin: `(y, x)`, greatest output minus the runner-up's, or its negative.
        predicted: class at each place, `(y, x)`.
        x: coordinates of the columns, increasing.
        y: coordinates of the rows, increasing.

    Returns:
        Polylines, each `(vertices, 2)`; empty where one class is predicted all over the grid.

    Raises:
        ValueError: `margin` is not on the grid that `x` and `y` span.

    Example:
        >>> prediction_boundary([[1.0, 3.0], [1.0, 3.0]], [[4, 7], [4, 7]], x=[0.0, 1.0], y=[0.0, 1.0])
        [array([[0.25, 1.  ],
               [0.25, 0.  ]])]
    """
    size, classes = np.abs(np.asarray(margin, dtype=np.float64)), np.asarray(predicted)
    signed = (np.where(classes == label, size, -size) for label in np.unique(classes)[1:])
    return [line for values in signed for line in decision_boundary(values, x, y)]


def boundary_of(geometry: xr.Dataset) -> list[NDArray[np.float64]]:
    """The boundary of one network on a grid or a plane: between two classes, or between the regions of several.

    Args:
        geometry: `margin` and, except in runs of early versions, `predicted_class`; dimensions `y` and `x`.

    Returns:
        Polylines, each `(vertices, 2)`.
    """
    margin, x, y = geometry.margin.transpose("y", "x").values, geometry.x.values, geometry.y.values
    if "predicted_class" in geometry:
        return prediction_boundary(margin, geometry.predicted_class.transpose("y", "x").values, x, y)
    return decision_boundary(margin, x, y)


def distance_to_boundary(points: ArrayLike, boundary: Sequence[ArrayLike]) -> NDArray[np.float64]:
    """Euclidean distance of points to the nearest point of a boundary, on a vertex or inside a segment.

    Args:
        points: `(*batch, 2)`.
        boundary: polylines, each `(vertices, 2)`, as `decision_boundary` returns them.

    Returns:
        `(*batch,)`; infinite where there is no boundary.

    Example:
        >>> distance_to_boundary([[0.5, 2.0], [4.0, 4.0]], [[[0.0, 0.0], [1.0, 0.0]]])
        array([2., 5.])
    """
    points = np.asarray(points, dtype=np.float64)
    polylines = [np.asarray(line, dtype=np.float64) for line in boundary]
    flat = points.reshape(-1, 2)
    nearest = np.full(len(flat), np.inf)
    if polylines:
        start = np.concatenate([line[:-1] for line in polylines])
        step = np.concatenate([np.diff(line, axis=0) for line in polylines])
        chunk = max(1, PAIRS_AT_ONCE // len(start))
        for first in range(0, len(flat), chunk):
            nearest[first : first + chunk] = distance_to_segments(flat[first : first + chunk], start, step)
    return nearest.reshape(points.shape[:-1])


def distance_to_segments(
    points: NDArray[np.float64], start: NDArray[np.float64], step: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance of each point `(points, 2)` to the nearest of the segments from `start` to `start + step`."""
    (x, y), (start_x, start_y), (step_x, step_y) = (np.ascontiguousarray(array.T) for array in (points, start, step))
    squared_length = step_x**2 + step_y**2
    squared_length[squared_length == 0] = 1.0
    across, up = x[:, None] - start_x, y[:, None] - start_y  # (points, segments)
    along = np.clip(across * (step_x / squared_length) + up * (step_y / squared_length), 0.0, 1.0)
    across -= along * step_x
    up -= along * step_y
    distances: NDArray[np.float64] = np.sqrt((across**2 + up**2).min(axis=1))
    return distances
