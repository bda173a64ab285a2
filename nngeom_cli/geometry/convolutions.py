"""Convolutions of many small images at once, in double precision on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["convolved"]

_ELEMENTS = 2**20  # of the matrix of windows at once: it should stay in the cache

Pair = tuple[int, int]


def convolved(
    images: Tensor,
    weight: Tensor,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor | None:
    """The same as `conv2d` without a bias, without derivatives, in less time for images of a few pixels.

    Torch multiplies the weights with the windows of one image after another, which for 4 x 4 pixels takes three times
    as long as one product for many images.

    Args:
        images: `(*batch, channels, height, width)`.
        weight: `(outputs, channels, kernel height, kernel width)`.
        stride: as for `torch.nn.functional.conv2d`, and so are the others.

    Returns:
        `(*batch, outputs, rows, columns)`; None where torch's own convolution is the better choice.

    Example:
        >>> images = torch.ones(5, 1, 3, 3, dtype=torch.float64)
        >>> convolved(images, torch.ones(1, 1, 3, 3, dtype=torch.float64)).flatten()
        tensor([9., 9., 9., 9., 9.], dtype=torch.float64)
    """
    if images.dtype != torch.float64 or images.device.type != "cpu" or images.ndim < 4:
        return None
    if isinstance(padding, str) or groups != 1 or _pair(dilation) != (1, 1):
        return None
    result: Tensor = _Convolution.apply(images, weight, _pair(stride), _pair(padding))  # type: ignore[no-untyped-call]
    return result


def _pair(value: int | Sequence[int]) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


class _Convolution(torch.autograd.Function):
    """Takes the batches of `torch.func.vmap` as more images."""

    @staticmethod
    def forward(images: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
        (outputs, _, height, width), batch = weight.shape, images.shape[:-3]
        padded = functional.pad(
            images.reshape(-1, *images.shape[-3:]), (padding[1], padding[1], padding[0], padding[0])
        )
        windows = padded.unfold(2, height, stride[0]).unfold(3, width, stride[1])
        matrix, (rows, columns) = weight.reshape(outputs, -1), windows.shape[2:4]
        result = images.new_empty(len(padded), outputs, rows, columns)
        at_once = max(1, _ELEMENTS // (matrix.shape[1] * rows * columns))
        for some, place in zip(windows.split(at_once), result.split(at_once), strict=True):
            product = matrix @ some.permute(1, 4, 5, 0, 2, 3).reshape(matrix.shape[1], -1)
            place.copy_(product.view(outputs, len(some), rows, columns).transpose(0, 1))
        return result.view(*batch, outputs, rows, columns)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def vmap(
        _info: Any, batched: tuple[int | None, ...], images: Tensor, weight: Tensor, stride: Pair, padding: Pair
    ) -> tuple[Tensor, int]:
        if batched[0] is None or batched[1] is not None:
            raise NotImplementedError("weights that depend on the point")
        images = images.movedim(batched[0], 0)
        return _Convolution.apply(images, weight, stride, padding), 0  # type: ignore[no-untyped-call]
