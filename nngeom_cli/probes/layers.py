"""Several layers of a model at the same points: in one pass where the model has one, else one after another."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import pad

from nngeom_cli.geometry import MLPFeatureMap, layer_spectra, measure, measure_layers, metric_spectrum
from nngeom_cli.geometry.jets import FeatureMap
from nngeom_cli.models.model import Model

__all__ = ["quantities_of", "spectra_of"]

Plane = tuple[Tensor, Tensor]
"""An origin `(d,)` and directions `(m, d)`."""


def quantities_of(
    model: Model, layers: Sequence[int], x: Tensor, names: Sequence[str], plane: Plane | None = None
) -> dict[int, dict[str, Tensor]]:
    """Quantities of each layer by name, `(replicates, *batch, ...)`, at `x`; on a plane if one is given."""
    deepest = _on(plane, model.feature_map(max(layers)))
    if isinstance(deepest, MLPFeatureMap):
        return measure_layers(deepest, x, layers, names)
    return {layer: measure(_on(plane, model.feature_map(layer)), x, names) for layer in layers}


def spectra_of(model: Model, layers: Sequence[int], x: Tensor, count: int) -> dict[int, Tensor]:
    """Leading eigenvalues of each layer's metric, `(replicates, *batch, count)`; 0 beyond the largest possible rank."""
    deepest = model.feature_map(max(layers))
    if isinstance(deepest, MLPFeatureMap):
        return layer_spectra(deepest, x, layers, count)
    found = {}
    for layer in layers:
        feature_map = model.feature_map(layer)
        known = min(count, feature_map.dimensions(x).rank_bound)
        found[layer] = pad(metric_spectrum(feature_map, x, known), (0, count - known))
    return found


def _on(plane: Plane | None, feature_map: FeatureMap) -> FeatureMap:
    return feature_map if plane is None else feature_map.restricted_to(*plane)
