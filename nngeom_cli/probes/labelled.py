"""What all probes share: labelled arrays, the examples that they go through, the effective volume."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from nngeom_cli.config.probe import ProbeConfig
from nngeom_cli.config.quantity import Quantity
from nngeom_cli.errors import ConfigError
from nngeom_cli.geometry import PAPER_CURVATURE_FACTOR
from nngeom_cli.models.model import Description, Model
from nngeom_cli.probes.layers import eigenvalues_counted, spectra_of
from nngeom_cli.tasks.task import Task

__all__ = ["Probe", "array", "attributes", "dataset", "effective_volume", "example_rows", "log_volumes", "placed"]

TIMES = {1: "once", 2: "twice", 3: "three times"}
Probe = Callable[[Model], xr.Dataset]
"""Measures networks as they are now."""


def attributes(quantity: Quantity) -> dict[str, Any]:
    """Attributes of a quantity's variable; for the Ricci scalar also the factor by which the paper's is larger."""
    curved = quantity.name == "ricci_scalar"
    return quantity.attributes | ({"paper_curvature_factor": PAPER_CURVATURE_FACTOR} if curved else {})


def example_rows(task: Task, chosen: Sequence[Sequence[int]], by: str, groups: str, noun: str) -> Tensor:
    """Rows of the training set that pairs or triples name: by number, or by class: the first input of each,
    where a group repeats a class then its second."""
    named = {int(label): (task.labels == label).nonzero().flatten().tolist() for label in task.labels.unique()}
    if by == "index":
        return torch.tensor(chosen)
    for group in chosen:
        for end in group:
            has, wanted = len(named.get(end, [])), group.count(end)
            if has < wanted:
                must_be = "classes of the training set" + (" with enough inputs" if has else "")
                got = f"{end} {TIMES[wanted]}, which has {has}" if has else f"{end}, which none of its inputs has"
                raise ConfigError(
                    f"`probe.{groups}` must name {must_be}. Got {got}. Choose {noun} with `probe.{noun}=index`."
                )
    return torch.tensor(
        [[named[end][list(group[:place]).count(end)] for place, end in enumerate(group)] for group in chosen]
    )


def placed(values: Tensor, about: Description) -> Tensor:
    """Points or directions in the dtype and on the device of the networks."""
    return values.to(about.device, about.dtype)


def effective_volume(model: Model, x: Tensor, layers: Sequence[int], top_k: int) -> tuple[np.ndarray, np.ndarray]:
    """Leading eigenvalues, one more than `top_k` if there is one, and log effective volume: (layer, replicate, ...)."""
    found = spectra_of(model, layers, x, min(top_k + 1, x.shape[-1]))
    spectra = np.stack([array(found[layer]) for layer in layers])
    return spectra, log_volumes(spectra, eigenvalues_counted(model, layers, x, top_k))


def log_volumes(spectra: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """Half the sum of the logs of the first eigenvalues (layer, ..., k), as many in each layer as `counts` says."""
    with np.errstate(divide="ignore"):
        logs = [0.5 * np.log(some[..., :count]).sum(axis=-1) for some, count in zip(spectra, counts, strict=True)]
    return np.stack(logs)


def dataset(
    arrays: dict[str, Any],
    constant: dict[str, Any],
    model: Model,
    task: Task,
    config: ProbeConfig,
    seed: int,
    **attributes: Any,
) -> xr.Dataset:
    """Measured and constant arrays with the coordinates and attributes that every probe has."""
    about = model.describe()
    coordinates = {"replicate": seed + np.arange(model.replicates), "layer": np.array(config.numbered(about.widths))}
    common = {"kind": config.kind, "task": task.name, "activation": about.name, "widths": list(about.widths)}
    if about.layers:
        common["layer_names"] = "\n".join(about.layers)
    return xr.Dataset(arrays | constant, coords=coordinates, attrs=common | attributes)


def array(values: Tensor) -> np.ndarray:
    """A tensor as a float64 array, whatever its device and dtype."""
    return values.detach().double().cpu().numpy()
