"""The statistics of a run at each checkpoint, under the names that `nngeom summarize` gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from nngeom_cli.analysis.degeneracy import layer_word
from nngeom_cli.analysis.run_statistics import STATISTICS
from nngeom_cli.store.run import Run

__all__ = ["statistics_by_epoch"]

MOST_CHECKPOINTS = 200
Values = Mapping[str, NDArray[np.float64]]


def statistics_by_epoch(run: Run, band: float) -> Iterator[tuple[int, Values, list[int]]]:
    """Each checkpoint's epoch, its statistics, each `(replicates,)`, and the seeds of these.

    Those that ask about a boundary ask about the network's final one, as in `nngeom summarize`; that is why a run has
    them at its end. Several paths or planes are averaged. Networks whose loss is not finite at the end are left out; of
    very many checkpoints 200, or as many as 1 GiB holds, evenly spaced, are taken.
    """
    geometry = run.drawable(MOST_CHECKPOINTS).geometry
    kept = [place for place, row in enumerate(run.replicates) if row["loss"] is not None]
    kind = geometry.attrs["kind"]
    if kind not in STATISTICS or not kept:
        return
    geometry = geometry.isel(replicate=kept)
    options = {"band": band} if kind == "grid" else {}
    found = STATISTICS[kind](geometry, boundaries=["final"], **options)
    arrays = {}
    for name in (str(name) for name in found if f"{name}_undefined" in found):
        array = found[name].squeeze("boundary", drop=True) if "boundary" in found[name].dims else found[name]
        within = [dim for dim in array.dims if dim not in ("epoch", "layer", "replicate")]
        array = array.mean(within)
        if "layer" not in array.dims:
            arrays[name] = array
            continue
        for layer in array.layer.values.tolist():
            word = layer_word(geometry.attrs, layer).replace("-", "")
            label = f"{name}.{word}" if array.sizes["layer"] > 1 else name
            arrays[label] = array.sel(layer=layer)
    seeds = geometry.replicate.values.tolist()
    for epoch in geometry.epoch.values.tolist():
        at_epoch = {name: array.sel(epoch=epoch).transpose("replicate").values for name, array in arrays.items()}
        yield epoch, at_epoch, seeds
