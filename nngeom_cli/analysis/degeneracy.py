"""How to read measured geometry: where R has no reliable digit, why it is 0 everywhere, why there is no volume."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = [
    "RELIABLE",
    "bottleneck_words",
    "flat_words",
    "is_prediction",
    "largest_rank",
    "layer_word",
    "layer_words",
    "unreliable",
    "volume_rank",
]

RELIABLE = 0.1  # a curvature whose error is a larger part of its size has no reliable digit


def unreliable(R: Any, error: Any) -> Any:
    """Where R is a number without one reliable digit: its absolute error exceeds |R| / 10, or is not known.

    Args:
        R: Ricci scalars, an array of any shape, labelled or not.
        error: their absolute errors.

    Returns:
        A mask like R; False where R itself is not finite.

    Example:
        >>> unreliable(np.array([2.0, 2.0, np.nan]), np.array([0.1, 0.3, 0.3]))
        array([False,  True, False])
    """
    return np.isfinite(R) & ~(error <= RELIABLE * abs(R))


def is_prediction(attributes: Mapping[str, Any], layer: int) -> bool:
    """Whether a layer is the prediction, the probabilities of the classes: the one past the output.

    Example:
        >>> is_prediction({"widths": [2, 8, 3]}, 2), is_prediction({"widths": [2, 8, 3]}, 3)
        (False, True)
    """
    return bool(layer == np.size(attributes["widths"]))


def layer_word(attributes: Mapping[str, Any], layer: int) -> str:
    """A layer in the name of a file: `layer-2`, or `prediction`."""
    return "prediction" if is_prediction(attributes, layer) else f"layer-{layer}"


def layer_words(attributes: Mapping[str, Any], layer: int) -> str:
    """A layer's name: its own, or its number; the one past the last hidden layer is the output.

    Args:
        attributes: of the geometry: `widths`, and `layer_names` where layers have names.
        layer: 1 = the first.

    Example:
        >>> layer_words({"widths": [2, 8, 1]}, 1), layer_words({"widths": [2, 8, 1]}, 2)
        ('layer 1', 'layer 2 (output)')
        >>> layer_words({"widths": [2, 8, 3]}, 3)
        'prediction (Fisher metric)'
        >>> layer_words({"widths": [64, 8, 10], "layer_names": "features.3"}, 1)
        'layer features.3'
    """
    if is_prediction(attributes, layer):
        return "prediction (Fisher metric)"
    names, output = attributes.get("layer_names"), layer == len(attributes["widths"]) - 1
    if names and not output:
        name = str(names).split("\n")[layer - 1]
        return f"layer {name}" if name else "output"
    return f"layer {layer} (output)" if output else f"layer {layer}"


def largest_rank(attributes: Mapping[str, Any], layer: int) -> int:
    """The largest rank that a layer's metric can have, as far as the widths say.

    Example:
        >>> stack = {"widths": [64, 5, 8, 10]}
        >>> [largest_rank(stack, layer) for layer in (1, 2, 3, 4)]
        [5, 5, 5, 5]
        >>> largest_rank({"widths": [64, 30, 3]}, 3)  # the prediction: probabilities have the sum 1
        2
    """
    widths = _widths_to(attributes, layer)
    return min([*widths, max(1, widths[-1] - 1)] if is_prediction(attributes, layer) else widths)


def volume_rank(attributes: Mapping[str, Any], variable: str, layer: int | None = None) -> int:
    """Number of dimensions whose volume a variable measures, or needs: a layer of a lower rank has none.

    Args:
        attributes: of the geometry.
        variable: its name there; a speed and a path's curvature have one dimension, a grid or plane two, an effective
            volume `top_k`; at examples all dimensions of the input space count.
        layer: 1 = the first. The volume of the prediction is that of the nonzero part of its metric, of any rank.
    """
    if layer is not None and is_prediction(attributes, layer) and "volume" in variable:
        return 1
    if variable in ("speed", "path_curvature"):
        return 1
    if variable == "log_effective_volume_element":
        return int(attributes["top_k"])
    return int(attributes["widths"][0]) if attributes.get("kind") == "data" else 2


def bottleneck_words(attributes: Mapping[str, Any], layer: int, rank: int) -> str:
    """Why a layer's metric cannot have the rank that a volume or a curvature needs; empty where it can.

    Args:
        attributes: of the geometry, with `widths`: input dimension, hidden widths, outputs. Where layers have names,
            nothing is known of what lies between them.
        layer: the measured layer, 1 = first hidden.
        rank: what is needed, `volume_rank`.

    Example:
        >>> stack = {"widths": [2, 8, 1, 8, 1]}
        >>> bottleneck_words(stack, 3, rank=2)
        'past a bottleneck: layer 2 has width 1, so the metric has rank 1 < 2 and volume 0'
        >>> bottleneck_words(stack, 2, rank=2)
        'a bottleneck: width 1, so the metric has rank 1 < 2 and volume 0'
        >>> bottleneck_words(stack, 1, rank=2)
        ''
        >>> bottleneck_words({"widths": [64, 8, 1, 10], "layer_names": "features.3\\nhead"}, 2, rank=2)
        'a bottleneck: width 1, so the metric has rank 1 < 2 and volume 0'
        >>> bottleneck_words({"widths": [2, 8, 2]}, 3, rank=2)
        '2 classes, so the metric has rank 1 < 2 and no curvature'
    """
    if is_prediction(attributes, layer) and largest_rank(attributes, layer) < min(rank, *_widths_to(attributes, layer)):
        classes = max(2, _widths_to(attributes, layer)[-1])
        return f"{classes} classes, so the metric has rank {classes - 1} < {rank} and no curvature"
    above = _widths_to(attributes, layer)[1:]
    narrowest = min(above)
    if narrowest >= rank:
        return ""
    where = layer if len(above) == 1 else above.index(narrowest) + 1
    place = "a bottleneck:" if where == layer else f"past a bottleneck: {layer_words(attributes, where)} has"
    return f"{place} width {narrowest}, so the metric has rank {narrowest} < {rank} and volume 0"


def _widths_to(attributes: Mapping[str, Any], layer: int) -> list[int]:
    """The input dimension and the widths up to a layer, as far as they bound its rank."""
    widths = np.atleast_1d(attributes["widths"]).tolist()
    widths = [int(width) for width in widths]
    last = min(layer, len(widths) - 1)
    return [widths[0], widths[last]] if attributes.get("layer_names") else widths[: layer + 1]


def flat_words(attributes: Mapping[str, Any], layer: int) -> str:
    """Why R = 0 everywhere: as many features as inputs, or pieces on which the features are linear.

    Args:
        attributes: of the geometry, with `widths`: input dimension, hidden widths, outputs.
        layer: the measured layer, 1 = first hidden.

    Example:
        >>> flat_words({"widths": [2, 2, 1]}, 1)
        'flat: the feature map is a local diffeomorphism of R^2 (R = 0)'
        >>> flat_words({"widths": [2, 8, 1]}, 1)
        'flat: R = 0 at every point'
    """
    widths = _widths_to(attributes, layer)
    if min(widths[1:]) == widths[0] == widths[-1]:
        return f"flat: the feature map is a local diffeomorphism of R^{widths[0]} (R = 0)"
    return "flat: R = 0 at every point"
