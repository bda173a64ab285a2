"""The colours, scales, sizes and fonts of all figures. Matplotlib's global settings stay as they are.

Figures of runs use no mathtext: it needs other fonts, and each font in a PDF takes more space than the heatmaps.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import (
    Colormap,
    LinearSegmentedColormap,
    ListedColormap,
    to_rgb,
)
from numpy.typing import NDArray

__all__ = [
    "BOUNDARY_COLOUR",
    "CASING_COLOUR",
    "CLASS_COLOURS",
    "COLUMN_WIDTH",
    "CONTROL_COLOUR",
    "CURVATURE_COLOURS",
    "DPI",
    "ENTROPY_COLOURS",
    "FLAT_COLOUR",
    "FONT_SIZE",
    "HATCH",
    "LABEL_COLOURS",
    "LIKE_COLOUR",
    "LIKE_LINES",
    "LINE",
    "LOG_COLOURS",
    "MAGNITUDE_COLOURS",
    "MISSING_COLOUR",
    "NOTE_COLOUR",
    "REGION_COLOURS",
    "REPLICATE_COLOUR",
    "SMALL_FONT_SIZE",
    "STATISTIC_COLOUR",
    "TEXT_WIDTH",
    "TINY_FONT_SIZE",
    "UNRELIABLE_COLOUR",
    "VOLUME_COLOURS",
    "Array",
    "control_colours",
    "style",
    "text_width",
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
LOG_COLOURS: Colormap = matplotlib.colormaps["cividis"]
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
    "svg.fonttype": "none",  # text that can be edited
    "svg.hashsalt": "nngeom",  # the same figure has the same bytes
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
    """Text in lines that fit a width."""
    return textwrap.fill(text, max(12, int(inches / text_width("m", font_size))), break_long_words=False)


def text_width(text: str, font_size: float) -> float:
    """About how many inches a text takes: a character of DejaVu Sans is about 0.55 of the font size wide."""
    return len(text) * 0.55 * font_size / 72


def control_colours(count: int) -> list[str]:
    """Black and greys for `count` untrained controls."""
    return [str(level) for level in np.linspace(0.0, 0.65, count)]
