"""Planes through three images: where the images lie, and the geometry of the plane through training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from nngeom_cli.figures.heatmap import Field
from nngeom_cli.figures.style import CLASS_COLOURS, REGION_COLOURS

__all__ = ["class_keys", "draw_corners"]

IMAGE = 0.24  # side of an inset image, in panel widths


def draw_corners(axes: Axes, data: xr.Dataset, *, with_images: bool) -> None:
    """The three inputs of a plane at their places: as images framed in the colour of their class, or as points."""
    places, classes = data.corner_place.values, data.corner_class.values
    colours = [CLASS_COLOURS[int(label) % len(CLASS_COLOURS)] for label in classes]
    x, y = places.T
    axes.scatter(x, y, s=14, c=colours, edgecolors="white", linewidths=0.7, zorder=5, label="inputs")
    if not (with_images and "image_shape" in data.attrs):
        return
    shades = {"cmap": "gray_r", "vmin": data.corner.values.min(), "vmax": data.corner.values.max()}
    for place, image, colour in zip(places, data.corner.values, colours, strict=True):
        centre = axes.transAxes.inverted().transform(axes.transData.transform(place))
        left, bottom = np.clip(centre - IMAGE / 2, 0.02, 0.98 - IMAGE)
        inset = axes.inset_axes((left, bottom, IMAGE, IMAGE), xticks=[], yticks=[], zorder=6, label="image")
        inset.imshow(image.reshape(data.attrs["image_shape"]), aspect="auto", interpolation="nearest", **shades)
        for spine in inset.spines.values():
            spine.set(color=colour, linewidth=1.2)


def class_keys(fields: Sequence[Field]) -> list[Patch]:
    """Legend entries of the classes that are predicted somewhere."""
    classes = np.unique(np.stack([field.values for field in fields])).astype(int)
    return [Patch(facecolor=REGION_COLOURS(label), label=f"predicted class {label}") for label in classes]
