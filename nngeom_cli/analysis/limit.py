"""Untrained networks of infinite width in place of those of a run."""

from __future__ import annotations

import xarray as xr

__all__ = ["at_infinite_width"]


def at_infinite_width(geometry: xr.Dataset) -> xr.Dataset | None:
    """The geometry with the limit of infinite width in place of the first checkpoint; None where it was not measured.

    Statistics of it ask the same about the same final boundaries, so they stand beside the untrained control. The
    limit has no rounding error here, and no effective volume: what is left of the first checkpoint is not its own.

    Args:
        geometry: `run.geometry` of a grid or plane probe.

    Example:
        >>> V = xr.DataArray([[1.0], [2.0]], dims=("epoch", "layer"))
        >>> limit = xr.DataArray([7.0], dims="layer")
        >>> arrays = {"log_volume_element": V, "ricci_scalar": V, "ricci_scalar_error": V}
        >>> arrays |= {"limit_log_volume_element": limit, "limit_ricci_scalar": limit}
        >>> at_infinite_width(xr.Dataset(arrays)).log_volume_element.values.ravel().tolist()
        [7.0, 2.0]
    """
    if "limit_log_volume_element" not in geometry:
        return None
    first = xr.DataArray([True] + [False] * (geometry.sizes["epoch"] - 1), dims="epoch")
    limits = {
        "log_volume_element": geometry.limit_log_volume_element,
        "ricci_scalar": geometry.limit_ricci_scalar,
        "ricci_scalar_error": xr.zeros_like(geometry.limit_ricci_scalar),
    }
    replaced = {name: geometry[name].where(~first, limit) for name, limit in limits.items()}
    whole: xr.Dataset = geometry.assign(
        {name: values.transpose(*geometry[name].dims) for name, values in replaced.items()}
    )
    return whole
