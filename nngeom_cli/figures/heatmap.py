"""One heatmap: a field on a plane, the points where it is not known, the decision boundary and the training points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path
from matplotlib.patheffects import AbstractPathEffect, Normal, Stroke
from numpy.typing import NDArray

from nngeom_cli.analysis.degeneracy import RELIABLE, unreliable
from nngeom_cli.figures.image import draw_image
from nngeom_cli.figures.naming import Names
from nngeom_cli.figures.style import (
    BOUNDARY_COLOUR,
    CASING_COLOUR,
    CLASS_COLOURS,
    FLAT_COLOUR,
    HATCH,
    LABEL_COLOURS,
    MISSING_COLOUR,
    REGION_COLOURS,
    TINY_FONT_SIZE,
    UNRELIABLE_COLOUR,
    Array,
    wrapped,
)

__all__ = [
    "SMALL_PANEL",
    "Field",
    "boundary_key",
    "casing",
    "class_keys",
    "draw_boundary",
    "draw_corners",
    "draw_field",
    "draw_points",
    "draw_zero",
    "missing_key",
    "point_keys",
    "say_flat",
    "say_no_boundary",
    "unreliable_key",
]

MISSING_LOOK: dict[str, Any] = {"facecolor": MISSING_COLOUR, "edgecolor": "none", "linewidth": 0.0}
UNRELIABLE_LOOK: dict[str, Any] = {
    "facecolor": UNRELIABLE_COLOUR,
    "edgecolor": MISSING_COLOUR,
    "hatch": HATCH,
    "linewidth": 0.0,
}
BOUNDARY_WIDTH = 1.0  # points
ZERO_WIDTH = 0.6
SMALL_PANEL = 0.75  # inches
MOST_KEYS = 20  # classes in a legend
IMAGE = 0.24  # side of an inset image, in panel widths
MAX_MARKED = 20  # training points; if there are more, each is a dot without a rim


@dataclass(frozen=True)
class Field:
    """Values `(y, x)` on a plane, their absolute errors, None where no error is known, and the mean that was
    subtracted from them, NaN where none was."""

    values: Array
    errors: Array | None = None
    mean: float = float("nan")

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Where there is no finite value."""
        return ~np.isfinite(self.values)

    @property
    def unreliable(self) -> NDArray[np.bool_]:
        """Where there is a value without a reliable digit."""
        if self.errors is None:
            return np.zeros(self.values.shape, dtype=bool)
        mask: NDArray[np.bool_] = unreliable(self.values, self.errors)
        return mask

    @property
    def shown(self) -> Array:
        """The values to be drawn in colour; NaN elsewhere."""
        return np.where(self.missing | self.unreliable, np.nan, self.values)

    @property
    def zero(self) -> bool:
        """Whether the value is exactly 0 everywhere."""
        return bool((self.values == 0).all())


def draw_field(axes: Axes, field: Field, x: Array, y: Array, norm: Normalize | None, colours: Colormap) -> None:
    """Fills the plane: colours, grey where there is no value, hatching where none of its digits is reliable."""
    half_x, half_y = (0.5 * (axis[-1] - axis[0]) / max(len(axis) - 1, 1) or 0.5 for axis in (x, y))
    if norm is not None:
        axes.imshow(
            np.ma.masked_invalid(field.shown),
            extent=(x[0] - half_x, x[-1] + half_x, y[0] - half_y, y[-1] + half_y),
            origin="lower",
            interpolation="nearest",
            aspect="auto",
            norm=norm,
            cmap=colours,
            zorder=0,
        )
    for mask, look, label in (
        (field.missing, MISSING_LOOK, "missing"),
        (field.unreliable, UNRELIABLE_LOOK, "unreliable"),
    ):
        if mask.any():
            squares = cells(mask, x, y, half_x, half_y)
            axes.add_patch(PathPatch(squares, label=label, zorder=1, **look))
    axes.set_xlim(*((x[0], x[-1]) if len(x) > 1 else (x[0] - half_x, x[0] + half_x)))  # where boundaries end
    axes.set_ylim(*((y[0], y[-1]) if len(y) > 1 else (y[0] - half_y, y[0] + half_y)))


def cells(mask: NDArray[np.bool_], x: Array, y: Array, half_x: float, half_y: float) -> Path:
    """The cells of a grid where `mask` is true, each row's neighbours joined, as one path."""
    edges = np.diff(np.pad(mask.astype(int), ((0, 0), (1, 1))), axis=1)
    rows, first = np.nonzero(edges == 1)
    last = np.nonzero(edges == -1)[1] - 1
    left, right, low, high = x[first] - half_x, x[last] + half_x, y[rows] - half_y, y[rows] + half_y
    corners = np.stack([left, low, right, low, right, high, left, high, left, low], axis=1).reshape(-1, 2)
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(rows)
    return Path(corners, codes)


def draw_boundary(axes: Axes, boundary: Sequence[Array], inches: float) -> None:
    """The decision boundary in red, on a white casing that sets it off from any colour."""
    width = BOUNDARY_WIDTH if inches > SMALL_PANEL else 0.7 * BOUNDARY_WIDTH
    if boundary:
        axes.add_collection(
            LineCollection(
                list(boundary),
                colors=BOUNDARY_COLOUR,
                linewidths=width,
                path_effects=casing(width),
                capstyle="round",
                joinstyle="round",
                label="decision boundary",
                zorder=3,
            ),
            autolim=False,
        )


def draw_zero(axes: Axes, lines: Sequence[Array]) -> None:
    """Where a field of magnitudes is 0."""
    if lines:
        look: dict[str, Any] = {"colors": CASING_COLOUR, "linewidths": ZERO_WIDTH, "label": "zero", "zorder": 2.5}
        axes.add_collection(LineCollection(list(lines), **look), autolim=False)


def say_no_boundary(axes: Axes) -> None:
    """Words in a corner of a panel where one class is predicted all over."""
    look: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1.0}
    axes.text(
        0.03, 0.03, "no boundary", transform=axes.transAxes, fontsize=TINY_FONT_SIZE, bbox=look, zorder=5, va="bottom"
    )


def casing(width: float) -> list[AbstractPathEffect]:
    """A white rim around a line."""
    return [Stroke(linewidth=2.2 * width, foreground=CASING_COLOUR), Normal()]


def draw_points(axes: Axes, points: Array, labels: NDArray[Any], inches: float) -> None:
    """Training points `(points, 2)`, by class; smaller where there are many or the panel is small."""
    few = len(points) <= MAX_MARKED
    size = min(1.0, inches) * (14.0 if few else max(0.5, 240.0 / len(points)))
    classes, places = np.unique(labels, return_inverse=True)
    for place in range(min(len(classes), len(CLASS_COLOURS))):  # further classes repeat the colours
        x, y = points[places % len(CLASS_COLOURS) == place].T
        axes.scatter(x, y, s=size, zorder=4 if few else 2, **point_look(place, len(classes), few))


def point_look(place: int, classes: int, rimmed: bool) -> dict[str, Any]:
    """Marker of a class: white or black where there are two, a colour where there are more."""
    face = LABEL_COLOURS[place] if classes <= len(LABEL_COLOURS) else CLASS_COLOURS[place % len(CLASS_COLOURS)]
    edge = "white" if face == "black" else "black"
    return {
        "facecolors": face,
        "edgecolors": edge,
        "linewidths": 0.6 if rimmed else 0.0,
        "alpha": None if rimmed else 0.6,
    }


def say_flat(axes: Axes, words: str, inches: float, font_size: float) -> None:
    """Words in place of a field, in lines that fit a width."""
    axes.set(xticks=[], yticks=[])
    axes.set_facecolor(FLAT_COLOUR)
    axes.text(
        0.5,
        0.5,
        wrapped(words, 0.95 * inches, font_size),
        transform=axes.transAxes,
        ha="center",
        va="center",
        fontsize=font_size,
    )


def draw_corners(axes: Axes, data: xr.Dataset, *, with_images: bool) -> None:
    """The three inputs of a plane at their places: as images framed in the colour of their class, or as points."""
    places, classes = data.corner_place.values, data.corner_class.values
    colours = [CLASS_COLOURS[int(label) % len(CLASS_COLOURS)] for label in classes]
    x, y = places.T
    axes.scatter(x, y, s=14, c=colours, edgecolors="white", linewidths=0.7, zorder=5, label="inputs")
    if not (with_images and "image_shape" in data.attrs):
        return
    limits = (data.corner.values.min(), data.corner.values.max())
    for place, image, colour in zip(places, data.corner.values, colours, strict=True):
        centre = axes.transAxes.inverted().transform(axes.transData.transform(place))
        left, bottom = np.clip(centre - IMAGE / 2, 0.02, 0.98 - IMAGE)
        inset = axes.inset_axes((left, bottom, IMAGE, IMAGE), xticks=[], yticks=[], zorder=6, label="image")
        draw_image(inset, image, data.attrs["image_shape"], *limits)
        for spine in inset.spines.values():
            spine.set(color=colour, linewidth=1.2)


def boundary_key() -> Line2D:
    """Legend entry of the boundary."""
    rim = casing(BOUNDARY_WIDTH)
    return Line2D([], [], color=BOUNDARY_COLOUR, linewidth=BOUNDARY_WIDTH, path_effects=rim, label="decision boundary")


def point_keys(labels: NDArray[Any], names: Names) -> list[Line2D]:
    """Legend entries of the training points; of many classes the first ones, and the number of the others."""
    classes = np.unique(labels)
    shown = classes[:MOST_KEYS]
    looks = [point_look(place, len(classes), True) for place in range(len(shown))]
    others = len(classes) - len(shown)
    return [
        Line2D(
            [],
            [],
            linestyle="none",
            marker="o",
            markersize=3.5,
            markerfacecolor=look["facecolors"],
            markeredgecolor="black",
            markeredgewidth=0.5,
            label=f"training point, class {names.of_class(label)}",
        )
        for label, look in zip(shown, looks, strict=True)
    ] + [Line2D([], [], linestyle="none", label=f"and {others} other classes")] * (others > 0)


def missing_key() -> Patch:
    """Legend entry of points without a value."""
    return Patch(label="no value (Jacobian rank deficient or not finite)", **MISSING_LOOK)


def unreliable_key() -> Patch:
    """Legend entry of points without a reliable digit."""
    return Patch(label=f"no reliable digit (rounding error > {RELIABLE:g} |R|)", **UNRELIABLE_LOOK)


def class_keys(fields: Sequence[Field], names: Names) -> list[Patch]:
    """Legend entries of the classes that are predicted somewhere."""
    classes = np.unique(np.concatenate([field.values.ravel() for field in fields])).astype(int)
    words = [f"predicted class {names.of_class(label)}" for label in classes]
    return [Patch(facecolor=REGION_COLOURS(label), label=text) for label, text in zip(classes, words, strict=True)]
