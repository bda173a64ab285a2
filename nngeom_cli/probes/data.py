"""Examples of the data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from nngeom_cli.config.probe import DataConfig
from nngeom_cli.config.quantity import AT_EXAMPLES, DISTANCES, EFFECTIVE_VOLUME, ON_GRIDS
from nngeom_cli.models.model import Model
from nngeom_cli.probes.labelled import Probe, array, attributes, dataset, log_volumes, placed
from nngeom_cli.probes.layers import eigenvalues_counted, quantities_of, spectra_of
from nngeom_cli.probes.robustness import boundary_distances
from nngeom_cli.tasks.task import Task

__all__ = ["chosen_rows", "data", "spectral"]

MOST_STORED = 1 << 17  # numbers of the examples, a megabyte; more are not stored beside what is measured at them
EIGENVALUES_AT_ONCE = 1 << 21  # bounds the memory of whole spectra, of which only the leading part is kept
CURVED = tuple(quantity for quantity in ON_GRIDS if quantity.name != "condition_number")


def data(config: DataConfig, task: Task, seed: int) -> Probe:
    """Spectrum, effective volume, local rank and participation ratio at examples, beside what is predicted there.

    If asked for, also how far each network's decision boundary is.
    """
    inputs, labels = (task.inputs, task.labels) if config.split == "train" or task.test is None else task.test
    rows = chosen_rows(labels, config.count(len(labels)))
    points = inputs[rows]
    constant: dict[str, Any] = {
        "example": ("point", rows.numpy(), {"long_name": f"row of the example among the {config.split} examples"}),
        "true_class": ("point", labels[rows].numpy(), {"long_name": "class of the example: its label"}),
    }
    if points.numel() <= MOST_STORED:
        constant["input"] = (("point", "feature"), points.numpy())

    def probe(model: Model) -> xr.Dataset:
        x = placed(points, model.describe())
        layers = config.numbered(model.describe().widths)
        ranks = [model.feature_map(layer).dimensions(x).rank_bound for layer in sorted(layers)]
        top_k = config.leading(ranks[0])
        outputs = model.outputs(x)
        at_examples = spectral(model, x, layers, top_k, config.rank_tolerance)
        at_examples |= {
            "margin": array(task.loss.margin(outputs)),
            "entropy": array(task.loss.entropy(outputs)),
            "predicted_class": task.loss.predict(outputs).cpu().numpy(),
        }
        dims = ("layer", "replicate", "point", "k")
        arrays: dict[str, Any] = {}
        for quantity in (EFFECTIVE_VOLUME, *AT_EXAMPLES):
            values = at_examples[quantity.name]
            of_layer = quantity.name not in ("margin", "entropy", "predicted_class")
            arrays[quantity.name] = (dims[1 - of_layer :][: values.ndim], values, attributes(quantity))
        if config.curved(x.shape[-1], ranks):
            measured = quantities_of(model, layers, x, tuple(quantity.name for quantity in CURVED))
            for quantity in CURVED:
                stacked = np.stack([array(measured[layer][quantity.name]) for layer in layers])
                arrays[quantity.name] = (dims[:3], stacked, attributes(quantity))
        if config.robustness:
            maps = model.output_map().each()
            found = [boundary_distances(one, task.loss, x) for one in maps]
            for quantity in DISTANCES:
                values = np.stack([array(distances[quantity.name]) for distances in found])
                arrays[quantity.name] = (dims[1:3], values, attributes(quantity))
        numbers: dict[str, Any] = {"top_k": top_k, "rank_tolerance": config.rank_tolerance}
        numbers |= {"split": config.split, "examples": len(labels)}
        shape = {} if task.image_shape is None else {"image_shape": list(task.image_shape)}
        return dataset(arrays, constant, model, task, config, seed, **numbers, **shape)

    return probe


def chosen_rows(labels: Tensor, count: int) -> Tensor:
    """`count` rows in increasing order: evenly spaced through the rows sorted by class.

    So each class has its share, to within one example, and its examples are evenly spaced through its rows.

    Example:
        >>> chosen_rows(torch.tensor([1, 0, 1, 0, 1, 1]), 3)
        tensor([0, 1, 4])
    """
    by_class = labels.argsort(stable=True)
    places = torch.arange(count) * len(labels) // count
    return by_class[places].sort().values


def spectral(model: Model, x: Tensor, layers: Sequence[int], top_k: int, tolerance: float) -> dict[str, np.ndarray]:
    """What follows from the singular values s of J at points `(points, d)`, each (layer, replicate, point, ...).

    Their squares are the eigenvalues of the metric; those past the rank that a layer can have are 0.

    Args:
        model: the networks.
        x: points, `(points, d)`.
        layers: which layers.
        top_k: eigenvalues in the effective volume; of the prediction no more than its rank.
        tolerance: singular values above this part of the largest count towards the local rank.

    Returns:
        spectrum: the leading eigenvalues, one more than `top_k` if there is one.
        log_effective_volume_element: half the sum of the logs of these.
        local_rank: how many s > tolerance s_1; 0 where J = 0; NaN where J is not finite.
        participation_ratio: (sum s^2)^2 / sum s^4 over all of them; NaN where J is 0 or not finite.
    """
    d = x.shape[-1]
    at_once = max(1, EIGENVALUES_AT_ONCE // (d * model.replicates * len(layers)))
    counts = eigenvalues_counted(model, layers, x, top_k)
    parts = [
        dict(_of_spectra(np.stack([array(found[layer]) for layer in layers]), top_k, counts, tolerance))
        for found in (spectra_of(model, layers, some, d) for some in x.split(at_once))
    ]
    return {name: np.concatenate([part[name] for part in parts], axis=2) for name in parts[0]}


def _of_spectra(
    spectra: np.ndarray, top_k: int, counts: Sequence[int], tolerance: float
) -> Iterator[tuple[str, np.ndarray]]:
    """What follows from whole spectra, (layer, replicate, point, d)."""
    largest = spectra[..., :1]
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = spectra / largest  # so that squares neither overflow nor vanish
        yield "participation_ratio", parts.sum(axis=-1) ** 2 / (parts**2).sum(axis=-1)
    yield "log_effective_volume_element", log_volumes(spectra, counts)
    counted = (spectra > tolerance**2 * largest).sum(axis=-1)
    yield "local_rank", np.where(np.isnan(largest[..., 0]), np.nan, counted)
    yield "spectrum", spectra[..., : top_k + 1]
