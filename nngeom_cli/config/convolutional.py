"""The keys of a convolutional network in the section `architecture`, and the sizes of its layers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from nngeom_cli.config.architecture import SIZES, ArchitectureSection, FullyConnectedConfig, LayerSize
from nngeom_cli.config.declaration import Range, choice, key
from nngeom_cli.errors import require

__all__ = ["ArchitectureConfig", "ArchitectureSection", "ConvolutionalConfig", "as_image"]

AXES = 3  # of an image: channels, rows, columns
EACH = ("kernel", "stride", "pool")  # sizes that each convolutional layer has
ODD = Range(lambda sizes: all(size % 2 for size in sizes), "a list of odd integers")


@dataclass(frozen=True)
class ConvolutionalConfig(ArchitectureSection, kind="convolutional"):
    """A convolutional network of images: convolution, activation, pooling, again and again, then `hidden` layers.

    Convolutions are padded with zeros, half a kernel on each side, so that a stride of 1 keeps rows and columns.
    """

    channels: list[int] = key(
        "channels of the convolutional layers, first to last",
        SIZES,
        suggestion="Two layers: architecture.channels=[8,16].",
    )
    kernel: list[int] = key(
        "side of the kernels: one for all convolutional layers, or one for each",
        SIZES,
        ODD,
        suggestion="For example architecture.kernel=[3].",
    )
    stride: list[int] = key(
        "pixels between neighbouring places of a kernel: one for all convolutional layers, or one for each",
        SIZES,
        suggestion="1 keeps rows and columns: architecture.stride=[1].",
    )
    pool: list[int] = key(
        "side of the windows that are pooled after the activation, 1 for none: one for all convolutional layers, or "
        "one for each",
        SIZES,
        suggestion="2 halves rows and columns: architecture.pool=[2].",
    )
    pooling: str = key(
        "what pooling takes of a window",
        choice("average", "max"),
        suggestion="average has derivatives everywhere; max has kinks.",
    )
    parametrization: ClassVar[str] = "standard"
    output_scale: ClassVar[float | None] = None
    layer_norm: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        count = len(self.channels)
        for name in EACH:
            sizes = getattr(self, name)
            must_be = f"one size, or {count}, one for each of architecture.channels"
            require(len(sizes) in (1, count), f"architecture.{name}", must_be, sizes, f"For example {sizes[:1]}.")

    @property
    def depth(self) -> int:
        return len(self.channels) + len(self.hidden)

    @property
    def words(self) -> str:
        return f"convolutional {super().words}"

    @property
    def by_module(self) -> bool:
        return True

    @property
    def layer_names(self) -> tuple[str, ...]:
        return (*(f"conv{place + 1}" for place in range(len(self.channels))), *super().layer_names)

    def each(self, sizes: list[int]) -> list[int]:
        """`kernel`, `stride` or `pool`, written out for each convolutional layer."""
        return sizes if len(sizes) > 1 else sizes * len(self.channels)

    def layers(self, shape: Sequence[int], outputs: int) -> list[LayerSize]:
        before = as_image(shape)
        convolutions = []
        sizes = (self.each(getattr(self, name)) for name in EACH)
        for out, kernel, stride, pool in zip(self.channels, *sizes, strict=True):
            channels, *sides = before
            places = [-(-side // stride) for side in sides]
            numbers = channels * kernel**2
            after = (out, *(side // pool for side in places))
            convolutions.append(LayerSize(after, out * (numbers + 1), after == before, numbers * math.prod(places)))
            before = after
        return [*convolutions, *self._dense(math.prod(before), outputs)]

    def check(self, task: str, shape: Sequence[int]) -> None:
        require(
            len(shape) > 1,
            "architecture.kind",
            f"fully_connected for task={task}, whose inputs are not images",
            self.kind,
            "task=digits has images.",
        )
        before = as_image(shape)
        for place, layer in enumerate(self.layers(shape, 1)):
            require(
                layer.features > 0,
                "architecture.pool",
                f"small enough for the {before[1]} x {before[2]} pixels that layer {place + 1} has to pool",
                self.pool,
                "1 pools nothing: one size for each layer, [2,2,1].",
            )
            before = layer.shape if len(layer.shape) > 1 else before
        super().check(task, shape)


ArchitectureConfig: TypeAlias = FullyConnectedConfig | ConvolutionalConfig


def as_image(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of an image with its channels, of which (rows, columns) has one.

    Example:
        >>> as_image([8, 8]), as_image([3, 32, 32])
        ((1, 8, 8), (3, 32, 32))
    """
    return tuple(shape) if len(shape) == AXES else (1, *shape)
