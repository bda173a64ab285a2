"""What a page calls the axes and classes of a task, and inputs that are images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from nngeom_cli.pages.packing import Numbers

__all__ = ["axis_names", "class_names", "image_of"]

MOST_PIXELS = 250_000  # of all inputs that are shown as images
COORDINATES = ["x", "y"]


def axis_names(task: Mapping[str, Any]) -> list[str]:
    """Of the two inputs: the columns of a table, or x and y.

    Example:
        >>> axis_names({"name": "csv", "columns": ["width", "height"], "standardize": True})
        ['width (standardized)', 'height (standardized)']
        >>> axis_names({"name": "xor"})
        ['x', 'y']
    """
    columns = task.get("columns")
    if not isinstance(columns, list) or len(columns) != len(COORDINATES):
        return COORDINATES
    return [f"{column} (standardized)" if task.get("standardize") else str(column) for column in columns]


def class_names(task: Mapping[str, Any], labels: ArrayLike) -> dict[int, str]:
    """The name of each class that occurs.

    Example:
        >>> class_names({"class_names": ["no", "yes"]}, [1, 0, 1]), class_names({}, [7])
        ({0: 'class 0, no', 1: 'class 1, yes'}, {7: 'class 7'})
    """
    given = task.get("class_names")
    known = given if isinstance(given, list) else []
    found = np.unique(np.asarray(labels)).astype(int).tolist()
    return {label: f"class {label}" + (f", {known[label]}" if 0 <= label < len(known) else "") for label in found}


def image_of(inputs: xr.DataArray, about: Mapping[str, Any], numbers: Numbers) -> dict[str, Any] | None:
    """Inputs `(..., feature)` that are images, with the values that are drawn white and black; None of any others.

    Args:
        inputs: along `feature`, last.
        about: attributes of the geometry.
        numbers: takes the inputs.
    """
    values = inputs.values
    if "image_shape" not in about or values.size > MOST_PIXELS or not np.isfinite(values).all():
        return None
    sides = np.asarray(about["image_shape"]).tolist()
    return {"shape": sides, "values": numbers.add(values), "low": float(values.min()), "high": float(values.max())}
