"""How far apart in feature space pairs of inputs are, how the shortest path differs from the straight one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from nngeom_cli.analysis.statistic import (
    Array,
    Flag,
    Result,
    chosen_boundaries,
    first_flag,
    flagged,
    labelled,
    require_kind,
    unconditional,
)

__all__ = ["geodesic_statistics"]

PATH = ("epoch", "layer", "pair", "replicate")


def geodesic_statistics(geometry: xr.Dataset, *, boundaries: Sequence[str] | None = None) -> xr.Dataset:
    """Lengths of shortest and straight paths, and where they cross the decision boundary, for each pair.

    `geodesic_stretch`: log of the length of the shortest path over the distance of its ends in input space.
    `straight_excess`: length of the straight path over that of the shortest one, less 1.
    `geodesic_length`: of the shortest path, in units of feature space.
    `geodesic_deviation`: largest distance of its points from the straight path, over the distance of its ends.
    `geodesic_share`, `straight_share`: share of the path's length before the prediction changes.
    `crossing_apart`: distance in input space of the two places of change, over that of the ends.

    Whose path it is, `boundary` says: `final`, the one between the two examples; `own`, the same; and the control
    `within`, one from the first example to another of its class at about the same distance.

    Args:
        geometry: `run.geometry` of a geodesic probe.
        boundaries: those that are asked for, in this order; by default all.

    Returns:
        `geodesic_stretch` and `straight_excess`, each (boundary, epoch, layer, pair, replicate); the others (epoch,
        layer, pair, replicate); each with its `_undefined`. `not_converged` counts paths, (epoch, layer, pair,
        replicate).

    Raises:
        ValueError: `geometry` is of another kind, or a boundary has an unknown name.
    """
    require_kind(geometry, "geodesic")
    asked = chosen_boundaries(boundaries, "geodesic")

    def of(name: str) -> Array:
        here = [dim for dim in PATH if dim in geometry[name].dims]
        values: Array = geometry[name].transpose(*here, ...).values
        return values if len(here) == len(PATH) else values.reshape(1, 1, -1, 1)

    stretches: dict[str, Result] = {}
    excesses: dict[str, Result] = {}
    for boundary in asked:
        prefix = "within_" if boundary == "within" else ""
        shortest, straight, apart = (
            of(f"{prefix}geodesic_length"),
            of(f"{prefix}straight_length"),
            of(f"{prefix}distance"),
        )
        none = np.broadcast_to(~np.isfinite(apart), shortest.shape)
        unknown = ~(np.isfinite(shortest) & (shortest > 0))
        with np.errstate(divide="ignore", invalid="ignore"):
            stretch, excess = np.log(shortest / apart), straight / shortest - 1
        flags = first_flag([(none, Flag.NO_OTHER), (unknown, Flag.NO_POINT)])
        stretches[boundary], excesses[boundary] = (stretch, flags), (excess, flags)
    label = "log of the length of the shortest path over the distance in input space"
    variables = flagged("geodesic_stretch", stretches, PATH, label, "nats", "geodesic")
    label = "length of the straight path over that of the shortest, less 1"
    variables |= flagged("straight_excess", excesses, PATH, label, "", "geodesic")
    length = of("geodesic_length")
    lost = ~np.isfinite(length)
    known = first_flag([(lost, Flag.NO_POINT)])
    label = "length of the shortest path"
    variables |= unconditional("geodesic_length", (length, known), PATH, label, "feature length")
    label = "largest distance of the shortest path from the straight one over the distance of its ends"
    variables |= unconditional("geodesic_deviation", (_deviation(geometry), known), PATH, label, "")
    for name in ("geodesic_share", "straight_share", "crossing_apart"):
        values = of(name)
        flags = first_flag([(lost, Flag.NO_POINT), (~np.isfinite(values), Flag.NO_CHANGE)])
        variables |= unconditional(name, (values, flags), PATH, geometry[name].attrs["long_name"], "")
    counts = {"not_converged": ((of("converged") == 0)[..., None], "paths whose search did not come to its end")}
    return labelled(variables, counts, asked, PATH, geometry)


def _deviation(geometry: xr.Dataset) -> Array:
    """Largest distance of the shortest path's points from the straight line over the distance of its ends."""
    points = geometry.geodesic_point.transpose(*PATH, "step", "feature").values
    ends = geometry.endpoint.transpose("pair", "end", "feature").values[None, None, :, None]
    along = ends[..., 1, :] - ends[..., 0, :]
    length = np.sqrt((along**2).sum(axis=-1, keepdims=True))
    off = points - ends[..., :1, :]
    part = (off * (along / length)[..., None, :]).sum(axis=-1, keepdims=True)
    across = np.sqrt(((off - part * (along / length)[..., None, :]) ** 2).sum(axis=-1))
    deviation: Array = across.max(axis=-1) / length[..., 0]
    return deviation
