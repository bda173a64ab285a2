"""The geometry of several layers of a network, from one pass of the derivatives through it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nngeom_cli.geometry.autocast import without_autocast
from nngeom_cli.geometry.feature_maps import MLPFeatureMap
from nngeom_cli.geometry.frame import Frame
from nngeom_cli.geometry.measure import in_chunks, named, replicates_at_once
from nngeom_cli.geometry.points import Numbers
from nngeom_cli.geometry.quantities import FIRST_ORDER
from nngeom_cli.geometry.spectrum import singular_values

__all__ = ["layer_spectra", "measure_layers"]


def measure_layers(
    feature_map: MLPFeatureMap,
    x: Numbers,
    layers: Sequence[int],
    quantities: Sequence[str] = ("log_volume_element", "ricci_scalar", "ricci_scalar_error", "condition_number"),
    *,
    chunk_size: int | None = None,
) -> dict[int, dict[str, Tensor]]:
    """Several quantities of the geometry that each of several layers induces, as `measure` gives them for one.

    The derivatives are propagated through the network once, whatever the number of layers. The features of each layer
    are divided by the square root of its width.

    Args:
        feature_map: the network.
        x: points, `(*batch, d)`.
        layers: which layers, 1 = first hidden; at most the feature map's own layer.
        quantities: as for `measure`.
        chunk_size: points handled at once; bounds memory, and changes values by no more than rounding.

    Returns:
        For each layer, each quantity by its name, `(*replicates, *batch, ...)`.

    Raises:
        ValueError: a layer does not exist, a quantity is unknown, or the last axis of `x` is not the feature map's
            input dimension.
        TypeError: `x` does not have the feature map's dtype.

    Example:
        >>> stretch = 2 * torch.eye(2, dtype=torch.float64)
        >>> network = MLPFeatureMap([stretch, stretch], [torch.zeros(2, dtype=torch.float64)] * 2, "identity")
        >>> volumes = measure_layers(network, torch.zeros(2, dtype=torch.float64), [1, 2], ["log_volume_element"])
        >>> [round(volumes[layer]["log_volume_element"].exp().item(), 9) for layer in (1, 2)]
        [2.0, 8.0]
    """
    second = not FIRST_ORDER.issuperset(quantities)
    return _over_layers(feature_map, x, layers, named(quantities), chunk_size, second=second)


def layer_spectra(
    feature_map: MLPFeatureMap, x: Numbers, layers: Sequence[int], count: int, *, chunk_size: int | None = None
) -> dict[int, Tensor]:
    """Leading eigenvalues of the metric that each of several layers induces, as `metric_spectrum` gives them for one.

    lambda_k = s_k^2, s_k the k-th singular value of the layer's J.

    Args:
        feature_map: the network.
        x: points, `(*batch, d)`.
        layers: which layers, 1 = first hidden; at most the feature map's own layer.
        count: how many eigenvalues, between 1 and d.
        chunk_size: points handled at once; bounds memory, and changes values by no more than rounding.

    Returns:
        For each layer, the eigenvalues, descending, `(*replicates, *batch, count)`. Those beyond the largest rank that
        the layer's Jacobian can have, the smallest of d and the widths up to it, are exactly 0.

    Raises:
        ValueError: a layer does not exist, or `count` is out of range.

    Example:
        >>> network = MLPFeatureMap([torch.eye(2)[:1]], [torch.zeros(1)], "identity")
        >>> layer_spectra(network, torch.zeros(2), [1], 2)
        {1: tensor([1., 0.])}
    """
    d = feature_map.dimensions(x).inputs
    if not 1 <= count <= d:
        raise ValueError(f"`count` must be between 1 and {d}, the feature map's input dimension. Got {count}.")
    found = _over_layers(feature_map.along_rows(), x, layers, {"values": singular_values}, chunk_size, second=False)
    spectra = {}
    for layer, values in found.items():
        rank = feature_map.dimensions(x, layer).rank_bound
        leading = values["values"][..., : min(count, rank)].square()
        spectra[layer] = torch.nn.functional.pad(leading, (0, count - leading.shape[-1]))
    return spectra


@without_autocast
def _over_layers(
    feature_map: MLPFeatureMap,
    x: Numbers,
    layers: Sequence[int],
    quantities: dict[str, Callable[[Frame], Tensor]],
    chunk_size: int | None,
    *,
    second: bool,
) -> dict[int, dict[str, Tensor]]:
    x = feature_map.as_points(x)
    depth = len(feature_map.weights)
    if len(layers) == 0 or not all(1 <= layer <= depth for layer in layers):
        raise ValueError(f"`layers` must be at least one layer between 1 and {depth}. Got {list(layers)}.")
    sizes = {layer: feature_map.dimensions(x, layer) for layer in layers}
    d, count = x.shape[-1], len(feature_map.weights[0])
    derivatives = d + d * (d + 1) // 2 if second else d
    at_once = replicates_at_once(derivatives, max(size.widest for size in sizes.values()))
    if count > at_once:
        starts = range(0, count, at_once)
        blocks = [feature_map.block(slice(start, start + at_once)) for start in starts]
        parts = [_over_layers(block, x, layers, quantities, chunk_size, second=second) for block in blocks]
        outer = feature_map.replicates
        return {
            layer: {name: _joined([part[layer][name] for part in parts], outer) for name in quantities}
            for layer in layers
        }
    return in_chunks(
        lambda points, second: feature_map.jets(points, second=second, layers=layers),
        sizes,
        feature_map.replicates,
        x,
        quantities,
        chunk_size,
        second=second,
    )


def _joined(blocks: Sequence[Tensor], replicates: tuple[int, ...]) -> Tensor:
    """Values of blocks of replicates, as (*replicates, ...)."""
    values = torch.cat(list(blocks))
    return values.reshape(replicates + values.shape[1:])
