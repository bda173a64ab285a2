"""The statistics that stand beneath heatmaps, at each checkpoint, with their controls."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nngeom_cli.analysis.bootstrap import over_replicates
from nngeom_cli.analysis.controls import SAME_LINE
from nngeom_cli.analysis.degeneracy import unreliable
from nngeom_cli.analysis.grid import grid_statistics
from nngeom_cli.analysis.limit import at_infinite_width
from nngeom_cli.analysis.plane import plane_statistics
from nngeom_cli.analysis.statistic import CONTROLS, count_reasons

__all__ = ["Strip", "grid_strips", "plane_strips", "strip_of", "strips_data"]

REASON_WORDS = {
    "no_boundary": "no boundary in the window",
    "no_change": "one prediction all along",
    "no_other": "no other example of the class",
    "flat": "R = 0",
    "no_point": "no usable point",
    "constant": "constant field",
    "one_side": "no usable point in the band or none outside",
    "all_alike": "all predictions right, or all wrong",
}
GRID_CONTROLS = {
    "other": "boundaries of others",
    "mirrored": "mirrored boundary",
    "rotated": "rotated boundary",
}
PLANE_CONTROLS = {
    "other": "entropy of others",
    "rotated": "corners renamed in turn",
    "middle": "entropy of the weights",
}


@dataclass(frozen=True)
class Strip:
    """One statistic through training.

    Attributes:
        name: of the statistic in what `grid_statistics` or `plane_statistics` returns.
        title: what it is, and its unit.
        values: of each replicate, (epoch, replicate); NaN where it is undefined.
        over: `over_replicates` of them.
        controls: the mean over replicates with each control in place of their boundary, (epoch,).
        control_words: what each control is.
        undefined: how often it is undefined, and why; empty if never.
        stages: the epochs of the heatmaps.
        limit: the mean over replicates with the limit of infinite width in place of the untrained network; NaN without.
    """

    name: str
    title: str
    values: xr.DataArray
    over: xr.Dataset
    controls: Mapping[str, xr.DataArray]
    control_words: Mapping[str, str]
    undefined: str
    stages: Sequence[int]
    limit: float = math.nan

    @property
    def data(self) -> xr.Dataset:
        """What is drawn, by name."""
        parts = {f"{self.name}_{part}": values for part, values in [*self.over.items(), *self.controls.items()]}
        whole = xr.Dataset({self.name: self.values, **parts}).drop_vars("boundary", errors="ignore")
        drawn: xr.Dataset = whole.expand_dims("layer")
        return drawn


def grid_strips(
    geometry: xr.Dataset, layers: Sequence[int], band: float, stages: Sequence[int]
) -> dict[tuple[str, int], list[Strip]]:
    """The strips under the heatmaps of a variable and a layer.

    Args:
        geometry: `run.geometry` of a grid probe.
        layers: those that are drawn.
        band: half width of the band around the boundary, in units of input space.
        stages: the epochs of the heatmaps.
    """
    numbers = grid_statistics(geometry.sel(layer=list(layers)), band=band, boundaries=["final", *CONTROLS["grid"]])
    limit = at_infinite_width(geometry.sel(layer=list(layers)).isel(epoch=[0, -1]))
    wide = None if limit is None else grid_statistics(limit, band=band, boundaries=["final"])
    titles = {
        "rank_correlation": "rank correlation of {} with closeness to final boundary",
        "band_contrast": f"mean {{}} within {band:g} of final boundary minus elsewhere (nats)",
        "band_mean": f"mean {{}} within {band:g} of final boundary (nats)",
    }
    shared = numbers.band_shared.isel(epoch=-1, drop=True).mean("replicate")
    words = {
        control: text + (" (same line)" if shared.sel(boundary=control) > SAME_LINE else "")
        for control, text in GRID_CONTROLS.items()
    }
    fields = {"log_volume_element": ("volume", "log V"), "ricci_scalar": ("curvature", "log |R|")}
    strips: dict[tuple[str, int], list[Strip]] = {}
    for variable, (prefix, quantity) in fields.items():
        for layer in layers:
            strips[variable, layer] = []
            for kind, title in titles.items():
                title = title.format(quantity)
                one = strip_of(numbers.sel(layer=layer), f"{prefix}_{kind}", title, words, stages)
                if wide is not None:
                    of_limit = wide[one.name].sel(layer=layer, boundary="final").isel(epoch=0)
                    one = replace(one, limit=float(of_limit.mean("replicate")))
                strips[variable, layer].append(one)
    return strips


def plane_strips(
    geometry: xr.Dataset, plane: int, layers: Sequence[int], stages: Sequence[int]
) -> dict[tuple[str, int], list[Strip]]:
    """The strips under the last heatmaps of a layer that are not flat.

    Args:
        geometry: `run.geometry` of a plane probe.
        plane: number of the plane.
        layers: those that are drawn.
        stages: the epochs of the heatmaps.
    """
    one = geometry.sel(layer=list(layers)).isel(plane=[plane])
    numbers = plane_statistics(one, boundaries=["final", *CONTROLS["plane"]]).isel(plane=0)
    titles = {
        "effective_volume_entropy": "rank correlation of log V_eff with the entropy of the final prediction, in the "
        "triangle of the three inputs",
        "volume_entropy": "the same for log volume of the restricted map",
        "curvature_entropy": "the same for log |R| of the restricted map",
    }
    strips = {}
    for layer in layers:
        R, error = one.ricci_scalar.sel(layer=layer), one.ricci_scalar_error.sel(layer=layer)
        bent = bool(((abs(R) > 0) & ~unreliable(R, error)).any())
        strips["ricci_scalar" if bent else "log_volume_element", layer] = [
            strip_of(numbers.sel(layer=layer), name, title, PLANE_CONTROLS, stages) for name, title in titles.items()
        ]
    return strips


def strip_of(
    numbers: xr.Dataset, name: str, title: str, control_words: Mapping[str, str], stages: Sequence[int]
) -> Strip:
    """One statistic of one layer, with the controls that `control_words` names if it asks about a boundary."""
    values, flags = numbers[name], numbers[f"{name}_undefined"]
    controls = {}
    if "boundary" in values.dims:
        controls = {who: values.sel(boundary=who, drop=True).mean("replicate") for who in control_words}
        values, flags = values.sel(boundary="final"), flags.sel(boundary="final")
    over = over_replicates(values, np.random.default_rng(0))
    return Strip(name, title, values, over, controls, control_words, why_undefined(flags.values), stages)


def why_undefined(flags: NDArray[np.int8]) -> str:
    """How often a statistic is undefined, and why; empty if it never is."""
    counts = count_reasons(flags)
    words = ", ".join(f"{REASON_WORDS[reason]} ({count})" for reason, count in counts)
    return f"undefined in {sum(count for _, count in counts)} of {flags.size} measurements: {words}" if words else ""


def strips_data(strips: Mapping[tuple[str, int], Sequence[Strip]]) -> xr.Dataset:
    """What is drawn on strips, along `layer`."""
    return xr.merge([strip.data for group in strips.values() for strip in group], join="outer", compat="no_conflicts")
