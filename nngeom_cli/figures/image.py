"""Inputs that are images, as small pictures in a panel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["IMAGE_STYLE", "as_image"]

IMAGE_STYLE: dict[str, Any] = {
    "cmap": "gray_r", "vmin": 0, "vmax": 1, "aspect": "auto", "interpolation": "nearest"
}  # fmt: skip
RGB = 3  # channels


def as_image(values: NDArray[Any], shape: Sequence[int], lowest: float, highest: float) -> NDArray[Any]:
    """An input as matplotlib draws it, from 0 where it is `lowest` to 1 where it is `highest`.

    Args:
        values: the input, flat.
        shape: (rows, columns), or (channels, rows, columns): three channels are red, green and blue, of any other
            number the mean is drawn.

    Returns:
        `(rows, columns)`, or `(rows, columns, 3)`.

    Example:
        >>> as_image(np.array([0.0, 8.0, 16.0, 4.0]), (2, 2), 0, 16).tolist()
        [[0.0, 0.5], [1.0, 0.25]]
        >>> as_image(np.arange(12.0), (3, 2, 2), 0, 11).shape
        (2, 2, 3)
    """
    image = (values.reshape(shape) - lowest) / ((highest - lowest) or 1)
    if image.ndim == 2:
        return image
    return np.moveaxis(image, 0, -1) if len(image) == RGB else image.mean(axis=0)
