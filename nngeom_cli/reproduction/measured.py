"""What is measured for a statement: before and after training, at the network's own boundary and at control lines."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr

from nngeom_cli.analysis.bootstrap import Centre, Estimate, estimate, proportion
from nngeom_cli.analysis.controls import SAME_LINE
from nngeom_cli.analysis.estimate import proportion_difference
from nngeom_cli.analysis.grid import grid_statistics
from nngeom_cli.analysis.path import path_statistics
from nngeom_cli.analysis.statistic import CONTROLS
from nngeom_cli.reproduction.verdict import POSITIVE, Part, Range
from nngeom_cli.store.run import Run

__all__ = ["Area", "Measured", "over_networks", "proportion_difference"]

Area: TypeAlias = Literal["square", "window", "path"]

UNTRAINED, TRAINED, CHANGE = "untrained", "trained", "trained minus untrained"
CONTROL_NAMES = {
    ("grid", "other"): "minus other networks' boundaries",
    ("grid", "mirrored"): "minus mirrored boundary",
    ("grid", "rotated"): "minus boundary turned by 180°",
    ("path", "other"): "minus changes on other paths",
    ("path", "middle"): "minus middle of the path as change",
}
NO_CONTROL, NOTHING = "a control that counts", Estimate(np.nan, np.nan, np.nan, 0)
OWN_CHANGES, MIDDLE_AS_PEAK = "minus untrained at its own changes", "minus middle of the path as peak"


class Measured:
    """The statistics of a run, first and last checkpoint, each computed on first use."""

    def __init__(self, run: Run) -> None:
        self.info = run.info
        self.geometry = run.first_and_last
        self.kind = str(self.geometry.attrs["kind"])

    @functools.cached_property
    def path(self) -> xr.Dataset:
        """Along the paths."""
        found: xr.Dataset = path_statistics(self.geometry).isel(layer=0, drop=True)
        return found

    @functools.cached_property
    def square(self) -> xr.Dataset:
        """Over the points inside the data's box."""
        return self._on_grid(self.geometry)

    @functools.cached_property
    def window(self) -> xr.Dataset:
        """Over the whole plotted window."""
        x, y = self.geometry.x.values, self.geometry.y.values
        return self._on_grid(self.geometry.assign_attrs(box=[x[0], x[-1], y[0], y[-1]]))

    def _on_grid(self, geometry: xr.Dataset) -> xr.Dataset:
        found: xr.Dataset = grid_statistics(geometry, boundaries=["final", *CONTROLS["grid"]]).isel(layer=0, drop=True)
        return found

    @functools.cached_property
    def middle_to_change(self) -> xr.DataArray:
        """Steps from the middle of each path to the nearest change of prediction of the trained network."""
        last = self.geometry.isel(epoch=[-1])
        step = np.arange(last.sizes["step"])
        tent = xr.zeros_like(last.log_effective_volume_element) - xr.DataArray(abs(step - step[-1] // 2), dims="step")
        found = path_statistics(last.assign(log_effective_volume_element=tent), boundaries=["final"])
        steps: xr.DataArray = found.peak_distance.isel(epoch=0, layer=0, boundary=0, drop=True)
        return steps

    def final(self, name: str) -> list[float]:
        """`accuracy` or `solved` of each network at the end."""
        return [float(row[name]) for row in self.info["replicates"]]

    def parts(self, name: str, area: Area, expected: Range | None, *, level: bool, centre: Centre) -> Iterator[Part]:
        """A statistic with its controls: untrained, trained, their paired difference, and differences from controls.

        Args:
            name: of the statistic in what `grid_statistics` or `path_statistics` returns.
            area: where it is taken.
            expected: the side on which the statement puts the change, and the trained network beside its controls; None
                judges nothing.
            level: whether the trained value must lie on that side, too.
            centre: what is estimated over networks.
        """
        values = getattr(self, area)[name]
        asks = "boundary" in values.dims
        mine = values.sel(boundary="final", drop=True) if asks else values
        before, after = mine.isel(epoch=0, drop=True), mine.isel(epoch=-1, drop=True)
        yield Part(UNTRAINED, over_networks(before, centre))
        yield Part(TRAINED, over_networks(after, centre), expected if level else None)
        yield Part(CHANGE, over_networks(after - before, centre), expected)
        if expected is not None:
            yield Part("networks that change so", share_beyond(after - before, expected))
        if not asks:
            return
        counted = False
        for control in CONTROLS[self.kind]:
            theirs = values.sel(boundary=control, drop=True).isel(epoch=-1, drop=True)
            beyond = over_networks(after - theirs, centre)
            note = self.same_line(area, control)
            counted |= not note
            yield Part(CONTROL_NAMES[self.kind, control], beyond, None if note else expected, note)
        if not counted:
            yield Part(NO_CONTROL, NOTHING, expected, "without one, nothing is decided")
        if self.kind == "path":
            own = values.sel(boundary="own", drop=True).isel(epoch=0, drop=True)
            yield Part(OWN_CHANGES, over_networks(after - own, centre), expected)
            if name == "peak_distance":
                yield Part(MIDDLE_AS_PEAK, over_networks(after - self.middle_to_change, centre), expected)

    def same_line(self, area: Area, control: str) -> str:
        """What is said of a control line that is the network's own; empty if it is another."""
        if self.kind != "grid":
            return ""
        share = float(getattr(self, area).band_shared.sel(boundary=control).isel(epoch=-1).mean())
        return f"not counted, the same line: {share:.0%} of its band" if share > SAME_LINE else ""


def over_networks(values: xr.DataArray, centre: Centre = "mean") -> Estimate:
    """Mean or median over networks."""
    return estimate(values, np.random.default_rng(0), centre)


def share_beyond(values: xr.DataArray, side: Range) -> Estimate:
    """Share of networks whose value, the median over their paths, lies on a side of 0, with Wilson's interval."""
    of_network = values.median([dim for dim in values.dims if dim != "replicate"]).dropna("replicate")
    count = int((of_network > 0).sum() if side == POSITIVE else (of_network < 0).sum())
    return proportion(count, of_network.size)
