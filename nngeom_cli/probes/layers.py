"""Several layers of a model at the same points: in one pass where the model has one, else one after another."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import pad

from nngeom_cli.geometry import (
    MLPFeatureMap,
    layer_spectra,
    log_effective_volume_element,
    measure,
    measure_layers,
    metric_spectrum,
)
from nngeom_cli.geometry.jets import FeatureMap
from nngeom_cli.models.model import Model

__all__ = ["eigenvalues_counted", "quantities_of", "spectra_of"]

Plane = tuple[Tensor, Tensor]
"""An origin `(d,)` and directions `(m, d)`."""


def quantities_of(
    model: Model, layers: Sequence[int], x: Tensor, names: Sequence[str], plane: Plane | None = None
) -> dict[int, dict[str, Tensor]]:
    """Quantities of each layer by name, `(replicates, *batch, ...)`, at `x`; on a plane if one is given.

    The volume element of a prediction whose metric cannot have full rank is that of its nonzero part.
    """
    numbered, predicted = _apart(model, layers)
    found: dict[int, dict[str, Tensor]] = {}
    if numbered:
        deepest = _on(plane, model.feature_map(max(numbered)))
        if isinstance(deepest, MLPFeatureMap):
            found = measure_layers(deepest, x, numbered, names)
        else:
            found = {layer: measure(_on(plane, model.feature_map(layer)), x, names) for layer in numbered}
    for layer in predicted:
        feature_map = _on(plane, model.feature_map(layer))
        found[layer] = measure(feature_map, x, names)
        rank = feature_map.dimensions(x).rank_bound
        if "log_volume_element" in names and rank < x.shape[-1]:
            found[layer]["log_volume_element"] = log_effective_volume_element(feature_map, x, rank)
    return found


def spectra_of(model: Model, layers: Sequence[int], x: Tensor, count: int) -> dict[int, Tensor]:
    """Leading eigenvalues of each layer's metric, `(replicates, *batch, count)`; 0 beyond the largest possible rank."""
    numbered, predicted = _apart(model, layers)
    found = {}
    if numbered and isinstance(deepest := model.feature_map(max(numbered)), MLPFeatureMap):
        found, numbered = layer_spectra(deepest, x, numbered, count), []
    for layer in numbered + predicted:
        feature_map = model.feature_map(layer)
        known = min(count, feature_map.dimensions(x).rank_bound)
        found[layer] = pad(metric_spectrum(feature_map, x, known), (0, count - known))
    return found


def eigenvalues_counted(model: Model, layers: Sequence[int], x: Tensor, top_k: int) -> list[int]:
    """How many eigenvalues an effective volume of each layer takes: `top_k`; of the prediction at most its rank."""
    _, predicted = _apart(model, layers)
    ranks = {layer: model.feature_map(layer).dimensions(x).rank_bound for layer in predicted}
    return [min(top_k, ranks.get(layer, top_k)) for layer in layers]


def _apart(model: Model, layers: Sequence[int]) -> tuple[list[int], list[int]]:
    """The layers of the model itself, and the prediction if it is among them."""
    prediction = len(model.describe().widths)
    return [layer for layer in layers if layer != prediction], [layer for layer in layers if layer == prediction]


def _on(plane: Plane | None, feature_map: FeatureMap) -> FeatureMap:
    return feature_map if plane is None else feature_map.restricted_to(*plane)
