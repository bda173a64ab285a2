"""How each quantity is drawn: its colours, its scale, its words, in either convention."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.colors import Colormap, Normalize

from nngeom_cli.config.quantity import ON_GRIDS, ON_PLANES, Quantity
from nngeom_cli.figures.scales import (
    linear_norm,
    log_norm,
    log_ticks,
    magnitude,
    magnitude_norm,
    symmetric_log_norm,
    symmetric_log_ticks,
    volume,
)
from nngeom_cli.figures.style import (
    CLASS_COLOURS,
    CURVATURE_COLOURS,
    ENTROPY_COLOURS,
    LOG_COLOURS,
    MAGNITUDE_COLOURS,
    REGION_COLOURS,
    VOLUME_COLOURS,
    Array,
)

__all__ = [
    "GRID_HEATMAPS",
    "LOOKS",
    "PLANE_HEATMAPS",
    "QUANTITIES_ON_GRIDS",
    "QUANTITIES_ON_PLANES",
    "Look",
    "in_convention",
]


class Look(NamedTuple):
    """How a quantity is drawn.

    Attributes:
        colours: the colour map.
        norm: the scale for given values.
        ticks: positions and labels of its ticks; None for automatic ones.
        drawn: what is drawn of a value.
        centred: whether the mean of each panel is subtracted.
        contour: whether a line shows where the value is 0.
    """

    colours: Colormap
    norm: Callable[[Array], Normalize | None]
    ticks: Callable[[Normalize], tuple[list[float], list[str]]] | None = None
    drawn: Callable[[Array], Array] = np.asarray
    centred: bool = False
    contour: bool = False


LOOKS = {  # words replace a curvature that is 0 wherever it exists; classes have legend entries and no colour bar
    "volume": Look(VOLUME_COLOURS, linear_norm),
    "centred volume": Look(VOLUME_COLOURS, linear_norm, centred=True),
    "curvature": Look(CURVATURE_COLOURS, symmetric_log_norm, symmetric_log_ticks),
    "curvature logarithm": Look(LOG_COLOURS, log_norm, log_ticks, magnitude, contour=True),
    "volume magnitude": Look(VOLUME_COLOURS, linear_norm, drawn=volume),
    "curvature magnitude": Look(MAGNITUDE_COLOURS, magnitude_norm, symmetric_log_ticks, np.abs),
    "entropy": Look(ENTROPY_COLOURS, linear_norm),
    "classes": Look(REGION_COLOURS, lambda _: Normalize(-0.5, len(CLASS_COLOURS) - 0.5)),
}

RESTRICTED = " of the map restricted to the plane"
CENTRED = " minus its mean (nats)"


def _drawn(quantity: Quantity) -> Iterator[Quantity]:
    """The heatmaps of a quantity: one, and of the Ricci scalar one more, of its magnitude."""
    if quantity.look == "volume":
        title, label = f"{quantity.title}{CENTRED}", "nats above the panel's mean"
        yield replace(quantity, title=title, label=label, look="centred volume")
    else:
        yield quantity
    if quantity.name == "ricci_scalar":
        yield replace(
            quantity,
            title=f"magnitude of the {quantity.title}; white line: R = 0",
            label="|R|",
            look="curvature logarithm",
        )


QUANTITIES_ON_GRIDS = tuple(quantity for quantity in ON_GRIDS if quantity.look)
QUANTITIES_ON_PLANES = tuple(
    replace(quantity, title=quantity.title + RESTRICTED * (quantity in ON_GRIDS))
    for quantity in ON_PLANES
    if quantity.look
)
GRID_HEATMAPS = tuple(drawn for quantity in QUANTITIES_ON_GRIDS for drawn in _drawn(quantity))
PLANE_HEATMAPS = tuple(drawn for quantity in QUANTITIES_ON_PLANES for drawn in _drawn(quantity))


def in_convention(
    quantities: Sequence[Quantity], convention: str, geometry: xr.Dataset, *, magnitudes: bool = True
) -> list[Quantity]:
    """Quantities as a convention draws them.

    Args:
        quantities: in the geometric convention.
        convention: geometric (log V, and R with its sign; the unit 2-sphere has R = +2), or paper (the magnitudes that
            the paper plots: V, and |R| times `paper_curvature_factor`).
        geometry: what was measured; its attributes hold the factor.
        magnitudes: whether |R| is drawn beside R.
    """
    if convention == "geometric":
        return [quantity for quantity in quantities if magnitudes or quantity.look != "curvature logarithm"]
    factor = float(geometry.ricci_scalar.attrs.get("paper_curvature_factor", 3))
    titles = {
        "log_volume_element": ("log volume element", "volume element"),
        "ricci_scalar": ("Ricci scalar", "magnitude of the Ricci scalar, in the paper's convention"),
    }
    looks: dict[str, dict[str, Any]] = {
        "log_volume_element": {"label": "V = √(det g), the paper's form", "look": "volume magnitude"},
        "ricci_scalar": {
            "label": f"|{factor:g} R|, the paper's convention",
            "look": "curvature magnitude",
            "factor": factor,
        },
    }
    return [
        replace(
            quantity,
            title=quantity.title.replace(*titles[quantity.name]).removesuffix(CENTRED),
            **looks[quantity.name],
        )
        if quantity.name in looks
        else quantity
        for quantity in quantities
        if quantity.look != "curvature logarithm"
    ]
