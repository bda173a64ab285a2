"""What is drawn along paths, and what is said of it: titles and headings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from nngeom_cli.analysis.path import path_statistics
from nngeom_cli.figures.naming import Names
from nngeom_cli.figures.selection import counted, describe, final_scores
from nngeom_cli.figures.style import Array
from nngeom_cli.store.run import Run

__all__ = ["CURVATURE", "SPEED", "VOLUME", "Curve", "length_words", "pair_words", "title_words"]


@dataclass(frozen=True)
class Curve:
    """What is drawn along the paths.

    Attributes:
        variable: its name in the dataset; `name`: what it is called in a sentence.
        label: of its axis, with unit.
        images: whether the ends of the path are shown beneath it.
        lengths: whether its integral, the length of the path, stands above it.
        logarithm: whether it is one.
    """

    variable: str
    name: str
    label: str
    images: bool = False
    lengths: bool = False
    logarithm: bool = False


VOLUME = Curve(
    "log_effective_volume_element",
    "volume",
    "log effective volume element\n(natural log, top {top_k})",
    images=True,
    logarithm=True,
)
SPEED = Curve("speed", "speed", "speed |Jv|, whose integral is\nthe length in feature space", lengths=True)
CURVATURE = Curve("path_curvature", "curvature", "curvature of the path's image\n(1 / feature length)")


def title_words(run: Run, geometry: xr.Dataset, layer: int, seed: int, values: Array, curve: Curve) -> str:
    """The network, its replicates, the one whose images are shown, and how many points could not be drawn."""
    count = geometry.sizes["replicate"]
    words = f"{describe(geometry, layer)}; epoch {int(geometry.epoch[-1])}, {counted(count)}"
    images = curve.images and "image_shape" in geometry.attrs
    if count > 1 or images:
        thick = "thick line and images" if images else "thick line"
        words += f"; {thick}: seed {seed} ({final_scores(run)[seed]})"
    if left_out := int((~np.isfinite(values)).sum()):
        words += f"; the {curve.name} is 0 or unknown at {left_out} of {values.size} points"
    return words


def length_words(geometry: xr.Dataset) -> list[str]:
    """For each pair its length, and how much of it is spent near a change of prediction, with controls in place of it.

    Means over replicates.
    """
    asked = ["final", "other", "middle"]
    numbers = path_statistics(geometry, boundaries=asked).squeeze("layer").mean("replicate")
    lengths = numbers.length.transpose("epoch", "pair").values
    shares, others, middles = numbers.length_near_change.isel(epoch=-1).sel(boundary=asked).values
    excesses = numbers.length_excess.isel(epoch=-1).sel(boundary="final").values
    words = []
    for pair, (share, excess, other, middle) in enumerate(zip(shares, excesses, others, middles, strict=True)):
        before = f" (untrained {lengths[0, pair]:.3g})" if len(lengths) > 1 and geometry.epoch[0] == 0 else ""
        near = (
            f", {share:.0%} of it in the {share - excess:.0%} of the path near a change" if np.isfinite(share) else ""
        )
        elsewhere = [(other, "near the changes of other paths"), (middle, "near the middle")]
        controls = ", ".join(f"{value:.0%} {where}" for value, where in elsewhere if near and np.isfinite(value))
        words.append(f"mean length {lengths[-1, pair]:.3g}{before}{near}{f' ({controls})' if controls else ''}")
    return words


def pair_words(data: xr.Dataset, names: Names) -> str:
    """Classes and dataset indices of a pair."""
    first, second = map(names.of_class, data.endpoint_class.values)
    start, end = data.endpoint_index.values
    return f"class {first} to class {second}  (inputs {start:g}, {end:g})"
