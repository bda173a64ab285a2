"""Inputs that are images, as small pictures in a panel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

__all__ = ["as_image", "draw_image"]

RGB = 3  # channels


def as_image(values: NDArray[Any], shape: Sequence[int], lowest: float, highest: float) -> NDArray[Any]:
    """An input as matplotlib draws it.

    Args:
        values: the input, flat.
        shape: (rows, columns), or (channels, rows, columns): three channels are red, green and blue, of any other
            number the mean is drawn.
        lowest: the value without any red, green or blue.
        highest: the value with all of it.

    Returns:
        `(rows, columns)` in units of the input, or `(rows, columns, 3)` from 0 to 1.

    Example:
        >>> as_image(np.array([0.0, 8.0, 16.0, 4.0]), (2, 2), 0, 16).tolist()
        [[0.0, 8.0], [16.0, 4.0]]
        >>> as_image(np.arange(12.0), (3, 2, 2), 0, 11).shape
        (2, 2, 3)
    """
    image = values.reshape(shape)
    if image.ndim == 2:
        return image
    if len(image) != RGB:
        return np.asarray(image.mean(axis=0))
    return np.moveaxis((image - lowest) / ((highest - lowest) or 1), 0, -1).clip(0, 1)


def draw_image(axes: Axes, values: NDArray[Any], shape: Sequence[int], lowest: float, highest: float) -> None:
    """Draws an input; greys are white where it is `lowest` and black where it is `highest`."""
    image = as_image(values, shape, lowest, highest)
    axes.imshow(image, aspect="auto", interpolation="nearest", cmap="gray_r", vmin=lowest, vmax=highest)
