"""The geometry of infinitely wide layers over the radius, or over depth, and of finite ones that approach it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
import xarray as xr
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from nngeom_cli.config.architecture import ACTIVATIONS
from nngeom_cli.config.footprint import FEWEST_POINTS
from nngeom_cli.errors import ConfigError, did_you_mean, require, require_seed
from nngeom_cli.geometry import (
    PAPER_CURVATURE_FACTOR,
    InfiniteWidth,
    MLPFeatureMap,
    get_activation,
    measure,
    measure_layers,
)
from nngeom_cli.plugins import PluginError
from nngeom_cli.system.memory import require_room
from nngeom_cli.system.progress import Progress

__all__ = ["TheoryConfig", "load_theory", "theory_curves"]

DEFAULTS = "`nngeom theory --help` shows the defaults."
SMOOTH = tuple(name for name in ACTIVATIONS if name != "relu")
CURVES = ("omega", "log_volume_element", "ricci_scalar")
MEASURED = ("pullback_metric", "log_volume_element", "ricci_scalar")


@dataclass(frozen=True)
class TheoryConfig:
    """The settings of `nngeom theory`; conf/theory.yaml explains each."""

    activation: list[str]
    d: int
    weight_std: float
    bias_std: float
    radius: float
    points: int
    widths: list[int]
    networks: int
    seed: int
    directory: str
    depth: int = 1


def load_theory(composed: DictConfig) -> TheoryConfig:
    """The checked settings of a composed config.

    Raises:
        ConfigError: the first fault, in one line.
    """
    values: Any = OmegaConf.to_container(composed, resolve=True)
    given = {field.name: values[field.name] for field in fields(TheoryConfig)}
    if isinstance(given["activation"], str):
        given["activation"] = [given["activation"]]
    names = given["activation"]
    require(bool(names), "activation", "given", names, "For example activation=erf, or [erf,monomial3].")
    for name in names:
        try:
            smooth = get_activation(str(name)).smooth
        except PluginError as error:
            raise ConfigError(str(error)) from error
        except ValueError:
            smooth = False
        suggestion = did_you_mean(str(name), SMOOTH) or "For example activation=erf, or [erf,monomial3]."
        require(smooth, "activation", "a known, smooth activation", name, suggestion)
    for key, least in (("d", 2), ("depth", 1), ("points", 2), ("networks", 2), ("seed", 0)):
        require(_whole(given[key], least), key, f"an integer of at least {least}", given[key], DEFAULTS)
    for key in ("weight_std", "bias_std", "radius"):
        number = type(given[key]) in (int, float) and 0 <= given[key] < math.inf
        positive = number and (given[key] > 0 or key == "bias_std")
        require(positive, key, "a number of at least 0" if key == "bias_std" else "positive", given[key], DEFAULTS)
    widths = given["widths"]
    wide = isinstance(widths, list) and all(_whole(width, given["d"]) for width in widths)
    require(wide, "widths", f"a list of widths of at least d = {given['d']}", widths, "[] leaves out finite layers.")
    folder = given["directory"]
    require(isinstance(folder, str), "directory", "a folder", folder, "The default is directory=outputs/theory.")
    require_seed("seed", given["seed"])
    config = TheoryConfig(**given)
    require_room(main_arrays(config), given, f"networks={config.networks}")
    return config


def _whole(value: Any, least: int) -> bool:
    return type(value) is int and value >= least


def main_arrays(config: TheoryConfig) -> dict[str, tuple[int, str]]:
    """Bytes of the arrays that are in memory together, and what they are, by the key that makes them large."""
    d, points, layers = config.d, config.points, len(config.activation)
    widest = max(config.widths, default=0)
    if config.depth > 1:
        jets = widest * (1 + d + d * (d + 1) // 2) * config.depth
        return {
            "depth": (8 * 3 * config.depth * layers * (1 + len(config.widths) * config.networks), "the curves"),
            "widths": (8 * (config.depth * widest * (widest + 1) + jets), "the weights of the widest network"),
        }
    jets = widest * min(points, FEWEST_POINTS) * (1 + d + d * (d + 1) // 2)
    return {
        "points": (8 * points * (3 * layers * (1 + len(config.widths) * config.networks) + d), "the curves"),
        "widths": (8 * config.networks * (widest * (d + 1) + jets), "the widest layers and their derivatives"),
        "d": (8 * config.networks * points * d * d if config.widths else 0, "their metrics"),
    }


def theory_curves(config: TheoryConfig) -> xr.Dataset:
    """Omega, log volume element and Ricci scalar along a ray from the origin, or over layers, at any width.

    Finite layers have Gaussian weights and biases as in the limit; their Omega is taken from the metric across the ray,
    where g = e^Omega by eq. (7). With a depth of more than 1, all layers are as wide, and the ray is its end alone.

    Returns:
        `omega`, `log_volume_element`, `ricci_scalar`, each (activation, radius), and the same of finite layers as
        `finite_...`, (activation, width, network, radius); with a depth of more than 1 layer in place of radius. The
        config is in the attributes.

    Example:
        >>> config = TheoryConfig(["erf"], 2, 1.0, 0.5, 1.7, 2, [64], 2, 0, "")
        >>> round(theory_curves(config).ricci_scalar.sel(activation="erf", radius=1.7).item(), 4)
        -4.4866
    """
    radius = torch.linspace(0, config.radius, config.points + 1, dtype=torch.float64)[1:]
    deep = config.depth > 1
    places = config.depth if deep else config.points
    infinite = np.empty((len(config.activation), len(CURVES), places))
    finite = np.empty((len(config.activation), len(config.widths), config.networks, len(CURVES), places))
    layers = len(config.activation) * (1 + len(config.widths))
    with Progress("layer", layers) as progress:
        for place, name in enumerate(config.activation):
            infinite[place] = _limit_over_layers(config, name) if deep else _limit_over_radii(config, name, radius)
            for size, width in enumerate(config.widths):
                progress.update(place * (1 + len(config.widths)) + 1 + size)
                finite[place, size] = (
                    _finite_networks(config, name, width) if deep else _finite_layers(config, name, width, radius)
                )
    along = "layer" if deep else "radius"
    variables: dict[str, Any] = {}
    for place, quantity in enumerate(CURVES):
        variables[quantity] = (("activation", along), infinite[:, place])
        variables[f"finite_{quantity}"] = (("activation", "width", "network", along), finite[:, :, :, place])
    widths = np.array(config.widths, dtype=int)
    on_axis = np.arange(1, config.depth + 1) if deep else radius.numpy()
    coordinates = {"activation": config.activation, along: on_axis, "width": widths}
    about = {key: value for key, value in asdict(config).items() if key not in ("activation", "widths", "directory")}
    about |= {"convention": "the unit 2-sphere has R = +2", "paper_curvature_factor": PAPER_CURVATURE_FACTOR}
    return xr.Dataset(variables, coordinates, about)


def _limit_over_radii(config: TheoryConfig, activation: str, radius: Tensor) -> np.ndarray:
    layer = InfiniteWidth(activation, config.weight_std, config.bias_std, config.d)
    return np.array([getattr(layer, quantity)(radius).numpy() for quantity in CURVES])


def _limit_over_layers(config: TheoryConfig, activation: str) -> np.ndarray:
    layers = [
        InfiniteWidth(activation, config.weight_std, config.bias_std, config.d, layer + 1)
        for layer in range(config.depth)
    ]
    return np.array([[getattr(layer, quantity)(config.radius).item() for layer in layers] for quantity in CURVES])


def _finite_layers(config: TheoryConfig, activation: str, width: int, radius: Tensor) -> np.ndarray:
    """Quantities of random layers at points on the first axis, (network, quantity, radius)."""
    generator = torch.Generator().manual_seed(config.seed)
    shape = (config.networks, width)
    weights = torch.randn(*shape, config.d, dtype=torch.float64, generator=generator) * config.weight_std
    biases = torch.randn(*shape, dtype=torch.float64, generator=generator) * config.bias_std
    points = torch.zeros(len(radius), config.d, dtype=torch.float64)
    points[:, 0] = radius
    layer = MLPFeatureMap([weights], [biases], activation)
    return torch.stack(_curves(measure(layer, points, MEASURED)), dim=1).numpy()


def _finite_networks(config: TheoryConfig, activation: str, width: int) -> np.ndarray:
    """Quantities of the layers of random networks at a point on the first axis, (network, quantity, layer)."""
    generator = torch.Generator().manual_seed(config.seed)
    point = torch.zeros(config.d, dtype=torch.float64)
    point[0] = config.radius
    layers = range(1, config.depth + 1)
    values = np.empty((config.networks, len(CURVES), config.depth))
    for network in range(config.networks):  # one after the other, since a wide one takes the memory of many narrow ones
        weights, biases = [], []
        for layer in layers:
            shape = (width, config.d if layer == 1 else width)
            size = config.weight_std / (1.0 if layer == 1 else math.sqrt(width))
            weights.append(torch.randn(shape, dtype=torch.float64, generator=generator) * size)
            biases.append(torch.randn(width, dtype=torch.float64, generator=generator) * config.bias_std)
        measured = measure_layers(MLPFeatureMap(weights, biases, activation), point, layers, MEASURED)
        values[network] = torch.stack([torch.stack(_curves(measured[layer])) for layer in layers], dim=1).numpy()
    return values


def _curves(measured: dict[str, Tensor]) -> list[Tensor]:
    across = measured["pullback_metric"][..., 1, 1].log()
    return [across, measured["log_volume_element"], measured["ricci_scalar"]]
