"""A network that a config names, as a module of torch: fully connected or convolutional layers, one after another."""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn

from nngeom_cli.config.architecture import LayerSize
from nngeom_cli.config.convolutional import ArchitectureConfig, ConvolutionalConfig, as_image
from nngeom_cli.geometry import Activation, get_activation

__all__ = ["layer_names", "layered"]


class Layer(nn.Module):
    """A hidden layer h -> pool(phi(norm(A h))), A affine; with a skip, h + that.

    Args:
        affine: a Linear layer or a convolution.
        activation: phi.
        norm: None leaves it out.
        pool: None leaves it out.
        skip: whether the input is added.
    """

    def __init__(
        self,
        affine: nn.Module,
        activation: Activation,
        *,
        norm: nn.Module | None = None,
        pool: nn.Module | None = None,
        skip: bool = False,
    ) -> None:
        super().__init__()
        self.affine, self.norm, self.pool, self.skip = affine, norm, pool, skip
        self.activation = activation

    def forward(self, h: Tensor) -> Tensor:
        """The layer's features, `(points, *shape)`."""
        z = self.affine(h)
        z = self.activation.value(z if self.norm is None else self.norm(z))
        z = z if self.pool is None else self.pool(z)
        return h + z if self.skip else z


def layered(
    architecture: ArchitectureConfig, shape: tuple[int, ...], outputs: int, dtype: torch.dtype = torch.float64
) -> nn.Sequential:
    """The module of a config, whose layers have the names of `layer_names`; its parameters have no numbers yet.

    Args:
        architecture: the config.
        shape: of one input, (d,) or an image's; the module takes points `(points, d)`.
        outputs: number of outputs.
        dtype: of the parameters.

    Example:
        >>> from nngeom_cli.config.architecture import FullyConnectedConfig
        >>> layered(FullyConnectedConfig(hidden=[8, 8], activation="tanh", residual=True), (2,), 1).dense2.skip
        True
    """
    activation, sizes = get_activation(architecture.activation), architecture.layers(shape, outputs)
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    names = iter(layer_names(architecture))

    def skips(size: LayerSize) -> bool:
        return architecture.residual and size.keeps_shape

    with torch.device("meta"):  # so that no random number is drawn
        inputs = math.prod(shape)
        if isinstance(architecture, ConvolutionalConfig):
            image = as_image(shape)
            parts["image"] = nn.Unflatten(1, image)
            each = (architecture.each(s) for s in (architecture.kernel, architecture.stride, architecture.pool))
            pooling = nn.AvgPool2d if architecture.pooling == "average" else nn.MaxPool2d
            for size, out, kernel, stride, pool in zip(sizes, architecture.channels, *each, strict=False):
                convolution = nn.Conv2d(image[0], out, kernel, stride, kernel // 2, dtype=dtype)
                pooled = pooling(pool) if pool > 1 else None
                parts[next(names)] = Layer(convolution, activation, pool=pooled, skip=skips(size))
                image = size.shape
            parts["flat"] = nn.Flatten()
            inputs = math.prod(image)
        for size in sizes[-1 - len(architecture.hidden) : -1]:
            (width,) = size.shape
            norm = nn.LayerNorm(width, dtype=dtype) if architecture.layer_norm else None
            linear = nn.Linear(inputs, width, dtype=dtype)
            parts[next(names)] = Layer(linear, activation, norm=norm, skip=skips(size))
            inputs = width
        parts[next(names)] = nn.Linear(inputs, outputs, dtype=dtype)
    return nn.Sequential(parts)


def layer_names(architecture: ArchitectureConfig) -> tuple[str, ...]:
    """Names of the layers as submodules, in the order of their numbers: the hidden ones, and the output.

    Example:
        >>> from nngeom_cli.config.architecture import FullyConnectedConfig
        >>> layer_names(FullyConnectedConfig(hidden=[8, 8], activation="tanh"))
        ('dense1', 'dense2', 'output')
    """
    return (*architecture.layer_names, "output")
