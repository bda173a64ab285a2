"""The colours, scales, sizes and fonts of all figures. Matplotlib's global settings stay as they are.

Figures of runs use no mathtext: it needs other fonts, and each font in a PDF takes more space than the heatmaps.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap, Normalize, SymLogNorm, to_rgb
from numpy.typing import NDArray

from nngeom_cli.config.quantity import ON_GRIDS, ON_PLANES, Quantity

__all__ = [
    "BOUNDARY_COLOUR",
    "CASING_COLOUR",
    "CLASS_COLOURS",
    "COLUMN_WIDTH",
    "CONTROL_COLOUR",
    "CURVATURE_COLOURS",
    "DPI",
    "FLAT_COLOUR",
    "FONT_SIZE",
    "GRID_HEATMAPS",
    "HATCH",
    "LABEL_COLOURS",
    "LIKE_COLOUR",
    "LIKE_LINES",
    "LINE",
    "LOOKS",
    "MISSING_COLOUR",
    "NOTE_COLOUR",
    "PLANE_HEATMAPS",
    "REGION_COLOURS",
    "REPLICATE_COLOUR",
    "SMALL_FONT_SIZE",
    "STATISTIC_COLOUR",
    "TEXT_WIDTH",
    "TINY_FONT_SIZE",
    "UNRELIABLE_COLOUR",
    "Array",
    "Look",
    "control_colours",
    "in_convention",
    "linear_norm",
    "magnitude_norm",
    "power_words",
    "style",
    "symmetric_log_norm",
    "symmetric_log_ticks",
    "wrapped",
]

Array = NDArray[np.float64]

TEXT_WIDTH = 7.0  # inches: a figure across both columns of a paper
COLUMN_WIDTH = 3.4  # inches: a figure in one column
DPI = 200  # of the PNG, and of what is rasterised in the PDF

FONT_SIZE = 7.0  # points
SMALL_FONT_SIZE = 6.0
TINY_FONT_SIZE = 5.0
LINE = 0.125  # inches between lines of text

BOUNDARY_COLOUR = "#e3001b"
CASING_COLOUR = "white"
NOTE_COLOUR = "#b00020"
STATISTIC_COLOUR = "#14418c"
REPLICATE_COLOUR = "#9fb3d1"
CONTROL_COLOUR = "black"
LIKE_COLOUR = "#c2570c"  # controls that ask the same question of lines like the boundary
LIKE_LINES: dict[str, Any] = {
    "other": ":",
    "mirrored": "-.",
    "rotated": (0, (4, 1)),
    "middle": "-.",
    "within": "-.",
    "straight": ":",
}
MISSING_COLOUR = "#8c8c8c"
UNRELIABLE_COLOUR = "#dedede"
HATCH = "/" * 6
FLAT_COLOUR = "#f3f3f3"
LABEL_COLOURS = ("white", "black")  # training points of class 0 and 1

# Apart by at least 24 CIELAB units pairwise, for normal sight and under simulated protanopia, deuteranopia and
# tritanopia, and from the greys of the untrained controls: found by search over a grid of sRGB. The second ten, each
# the farthest from those before it, are apart by at least 16 units; further classes repeat the colours.
CLASS_COLOURS = (
    "#0000ee",
    "#eecc00",
    "#228844",
    "#cc88ee",
    "#662200",
    "#22eeee",
    "#aa00cc",
    "#aacc88",
    "#664488",
    "#cc8822",
    "#8888aa",
    "#331188",
    "#aaeecc",
    "#eeee77",
    "#5577ff",
    "#aa4400",
    "#552255",
    "#445533",
    "#aaaa55",
    "#aa55bb",
)

# Straight lines in CIELAB from near white to blue (negative) and to brown (positive), equal steps on both sides.
CURVATURE_COLOURS: Colormap = LinearSegmentedColormap.from_list(
    "curvature",
    [
        *("#14418c", "#3e5599", "#5b69a6", "#757eb3", "#8f95c0", "#a8abcd", "#c1c3da", "#dadbe6"),
        "#f3f3f3",
        *("#e4d9d2", "#d3bfb1", "#c2a692", "#b18e73", "#9f7655", "#8c5f39", "#79481d", "#653300"),
    ],
    N=513,
)
MAGNITUDE_COLOURS: Colormap = ListedColormap(CURVATURE_COLOURS(np.linspace(0.5, 1.0, 257)), "magnitude")
VOLUME_COLOURS: Colormap = matplotlib.colormaps["viridis"]
ENTROPY_COLOURS: Colormap = matplotlib.colormaps["magma"]
REGION_COLOURS = ListedColormap([tuple(0.5 + 0.5 * np.array(to_rgb(colour))) for colour in CLASS_COLOURS], "regions")


SETTINGS: Any = {
    "font.size": FONT_SIZE,
    "font.family": "DejaVu Sans",
    "axes.titlesize": FONT_SIZE,
    "axes.labelsize": FONT_SIZE,
    "xtick.labelsize": SMALL_FONT_SIZE,
    "ytick.labelsize": SMALL_FONT_SIZE,
    "legend.fontsize": SMALL_FONT_SIZE,
    "legend.frameon": False,
    "axes.linewidth": 0.5,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.size": 2.0,
    "ytick.major.size": 2.0,
    "xtick.major.pad": 1.5,
    "ytick.major.pad": 1.5,
    "axes.titlepad": 2.5,
    "axes.labelpad": 2.0,
    "hatch.linewidth": 0.4,
    "pdf.fonttype": 42,
    "text.usetex": False,
    "savefig.bbox": None,
}


@contextmanager
def style(ffmpeg: str = "ffmpeg") -> Iterator[None]:
    """Settings under which a figure is made and written, whatever a matplotlibrc says; the caller's are restored.

    Args:
        ffmpeg: the program that writes films.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS | {"animation.ffmpeg_path": ffmpeg})
        yield


def wrapped(text: str, inches: float, font_size: float = FONT_SIZE) -> str:
    """Text in lines that fit a width: a character of DejaVu Sans is about 0.55 of the font size wide."""
    return textwrap.fill(text, max(12, int(inches * 72 / (0.55 * font_size))), break_long_words=False)


def control_colours(count: int) -> list[str]:
    """Black and greys for `count` untrained controls."""
    return [str(level) for level in np.linspace(0.0, 0.65, count)]


def linear_norm(values: Array) -> Normalize | None:
    """Linear scale over the finite values, without outliers that would stretch it; None where no value is finite."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return None
    low, high = finite.min(), finite.max()
    inner = np.percentile(finite, [1, 99])
    if high - low > 1.5 * np.ptp(inner) > 0:
        low, high = inner
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # a constant field, but for rounding
        low, high = low - 0.5, high + 0.5
    return Normalize(float(low), float(high))


def symmetric_log_norm(values: Array) -> Normalize | None:
    """Signed logarithmic scale, linear near 0; None where no finite value differs from 0.

    The linear part ends at a power of ten below nine tenths of the magnitudes, one to six decades under the limit.
    """
    magnitudes = np.abs(values[np.isfinite(values)])
    magnitudes = magnitudes[magnitudes > 0]
    if magnitudes.size == 0:
        return None
    low, high = np.percentile(magnitudes, [10, 99])
    limit = magnitudes.max() if magnitudes.max() <= 10 * high else high
    threshold = 10 ** np.floor(np.log10(np.clip(low, 1e-6 * limit, 0.1 * limit)))
    return SymLogNorm(float(threshold), linscale=0.5, vmin=-float(limit), vmax=float(limit), base=10)


def magnitude_norm(values: Array) -> Normalize | None:
    """The positive half of `symmetric_log_norm`, for magnitudes."""
    norm = symmetric_log_norm(values)
    if norm is not None:
        norm.vmin = 0.0
    return norm


def volume(log_volume: Array) -> Array:
    """V; infinite where it has no number."""
    with np.errstate(over="ignore"):
        return np.exp(log_volume)


def symmetric_log_ticks(norm: Normalize) -> tuple[list[float], list[str]]:
    """Zero and at most three powers of ten on each side that is shown, none so near to zero that their labels touch."""
    assert isinstance(norm, SymLogNorm)
    assert norm.vmin is not None
    assert norm.vmax is not None
    first, last = round(np.log10(norm.linthresh)), int(np.floor(np.log10(norm.vmax) + 1e-9))
    powers = range(last, first - 1, -max(1, int(np.ceil((last - first + 1) / 3))))
    far = [power for power in reversed(powers) if float(norm(10.0**power)) > float(norm(0.0)) + 0.1]
    positive = [(10.0**power, power_words(10.0**power)) for power in far]
    negative = [(-value, f"−{text}") for value, text in reversed(positive)] if norm.vmin < 0 else []
    ticks = [*negative, (0.0, "0"), *positive]
    return [value for value, _ in ticks], [text for _, text in ticks]


class Look(NamedTuple):
    """Colour map, the scale for given values, its ticks' positions and labels, None for automatic ones, and what is
    drawn of a value."""

    colours: Colormap
    norm: Callable[[Array], Normalize | None]
    ticks: Callable[[Normalize], tuple[list[float], list[str]]] | None = None
    drawn: Callable[[Array], Array] = np.asarray


LOOKS = {  # words replace a curvature that is 0 wherever it exists; classes have legend entries and no colour bar
    "volume": Look(VOLUME_COLOURS, linear_norm),
    "curvature": Look(CURVATURE_COLOURS, symmetric_log_norm, symmetric_log_ticks),
    "volume magnitude": Look(VOLUME_COLOURS, linear_norm, drawn=volume),
    "curvature magnitude": Look(MAGNITUDE_COLOURS, magnitude_norm, symmetric_log_ticks, np.abs),
    "entropy": Look(ENTROPY_COLOURS, linear_norm),
    "classes": Look(REGION_COLOURS, lambda _: Normalize(-0.5, len(CLASS_COLOURS) - 0.5)),
}

GRID_HEATMAPS = tuple(quantity for quantity in ON_GRIDS if quantity.look)
PLANE_HEATMAPS = (
    *(quantity for quantity in ON_PLANES if quantity.look and quantity not in ON_GRIDS),
    *(replace(quantity, title=f"{quantity.title} of the map restricted to the plane") for quantity in GRID_HEATMAPS),
)


def in_convention(quantities: Sequence[Quantity], convention: str, geometry: xr.Dataset) -> list[Quantity]:
    """Quantities as a convention draws them.

    Args:
        quantities: in the geometric convention.
        convention: geometric (log V, and R with its sign; the unit 2-sphere has R = +2), or paper (the magnitudes that
            the paper plots: V, and |R| times `paper_curvature_factor`).
        geometry: what was measured; its attributes hold the factor.
    """
    if convention == "geometric":
        return list(quantities)
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
        replace(quantity, title=quantity.title.replace(*titles[quantity.name]), **looks[quantity.name])
        if quantity.name in looks
        else quantity
        for quantity in quantities
    ]


def power_words(value: float) -> str:
    """A power of ten, or 0, as an axis shows it: 0, 1, 10, 100, 10³."""
    power = round(np.log10(value)) if value else 0
    return f"{value:g}" if 0 <= power <= 2 else "10" + str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
