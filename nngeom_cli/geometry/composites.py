"""Functions of torch written so that their automatic derivatives keep their digits where they saturate.

Torch differentiates a sigmoid as y (1 - y), which has no digit left at z = 38. Composites of other functions have the
same value and derivatives that are products of tails, in forward and reverse mode, however often they are nested. The
normalizations are here because torch's own forward rules of them are wrong once they are differentiated again.

`abs` has derivative 0 at 0, so absolute values are selected by `torch.where`, of arguments and not only of results: an
argument that overflows in the branch that is not taken would make NaN of its derivative.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["COMPOSITES"]

_LARGEST_DETERMINANT = 4  # rows of a determinant that is written out, 24 products
_LEAST_THRESHOLD = 20.0  # above it torch's softplus is z, off by 2e-9


def _below(z: Tensor) -> Tensor:
    """-|z|."""
    return torch.where(z >= 0, -z, z)


def sigmoid(z: Tensor) -> Tensor:
    y = torch.sigmoid(_below(z))
    return torch.where(z >= 0, 1 - y, y)


def tanh(z: Tensor) -> Tensor:
    near = (z <= 1) & (z >= -1)
    y = 1 - 2 * torch.sigmoid(2 * _below(z))
    return torch.where(near, torch.tanh(torch.where(near, z, 0.0)), torch.where(z >= 0, y, -y))


def _softplus(z: Tensor) -> Tensor:
    tail = torch.log1p(torch.exp(_below(z)))
    return torch.where(z >= 0, z + tail, tail)


def softplus(z: Tensor, beta: float = 1, threshold: float = 20) -> Tensor | None:
    return None if threshold < _LEAST_THRESHOLD else _softplus(beta * z) / beta


def silu(z: Tensor) -> Tensor:
    return z * sigmoid(z)


def mish(z: Tensor) -> Tensor:
    return z * tanh(_softplus(z))


def gelu(z: Tensor, *, approximate: str = "none") -> Tensor:
    if approximate == "tanh":  # 1 + tanh(u) = 2 sigmoid(2 u)
        return z * sigmoid(2 * math.sqrt(2 / math.pi) * (z + 0.044715 * z * z * z))
    return z * torch.erfc(-math.sqrt(0.5) * z) / 2


def expm1(z: Tensor) -> Tensor:
    near = z > -1
    return torch.where(near, torch.expm1(torch.where(near, z, 0.0)), torch.exp(torch.where(near, 0.0, z)) - 1)


def elu(z: Tensor, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Tensor:
    return scale * torch.where(z > 0, z, alpha * expm1(input_scale * torch.where(z > 0, 0.0, z)))


def celu(z: Tensor, alpha: float = 1.0) -> Tensor:
    return elu(z, alpha, 1.0, 1 / alpha)


def selu(z: Tensor) -> Tensor:
    return elu(z, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946)


def log_sigmoid(z: Tensor) -> Tensor:
    return -_softplus(-z)


def softsign(z: Tensor) -> Tensor:
    size = -_below(z)
    near = size <= 1
    small = torch.where(near, size, 0.0)
    y = torch.where(near, small / (1 + small), 1 - 1 / (1 + size))
    return torch.where(z >= 0, y, -y)


def tanhshrink(z: Tensor) -> Tensor:
    """z - tanh(z); near 0, where that cancels, z w / (1 + w) with tanh(z) = z / (1 + w), w a continued fraction."""
    near = (z <= 1) & (z >= -1)
    small = torch.where(near, z, 0.0)
    square, w = small * small, torch.zeros_like(z)
    for odd in range(19, 1, -2):
        w = square / (odd + w)
    return torch.where(near, small * (w / (1 + w)), z - tanh(z))


def glu(z: Tensor, dim: int = -1) -> Tensor:
    value, gate = z.chunk(2, dim)
    return value * sigmoid(gate)


def _shifted(z: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """The largest entry m; z - m; and the sum of exp(z - m) without that of m itself, whose 1 would hide it."""
    place = z.argmax(dim, keepdim=True)
    largest = z.gather(dim, place)
    index = torch.arange(z.shape[dim], device=z.device).reshape([-1 if k == dim % z.ndim else 1 for k in range(z.ndim)])
    shifted = torch.where(index == place, 0.0, z - largest)
    return largest, shifted, torch.where(index == place, 0.0, torch.exp(shifted)).sum(dim, keepdim=True)


def softmax(z: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    _, shifted, rest = _shifted(z if dtype is None else z.to(dtype), dim)
    return torch.exp(shifted) * (1 / (1 + rest))


def log_softmax(z: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    _, shifted, rest = _shifted(z if dtype is None else z.to(dtype), dim)
    return shifted - torch.log1p(rest)


def logsumexp(z: Tensor, dim: int | Sequence[int], keepdim: bool = False) -> Tensor | None:
    dims = [dim] if isinstance(dim, int) else list(dim)
    if len(dims) != 1:
        return None
    largest, _, rest = _shifted(z, dims[0])
    total = largest + torch.log1p(rest)
    return total if keepdim else total.squeeze(dims[0])


def logaddexp(one: Tensor, other: Tensor) -> Tensor:
    larger = torch.where(one >= other, one, other)
    return larger + torch.log1p(torch.exp(torch.where(one >= other, other, one) - larger))


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor | None:
    if dropout_p:
        return None
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(groups, -3), value.repeat_interleave(groups, -3)
    scores = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None:
        scores = torch.where(attn_mask, scores, -torch.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    return softmax(scores, -1) @ value


def _normalized(z: Tensor, dims: Sequence[int], eps: float) -> Tensor:
    centred = z - z.mean(tuple(dims), keepdim=True)
    return torch.div(centred, ((centred * centred).mean(tuple(dims), keepdim=True) + eps).sqrt())


def _affine(z: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    z = z if weight is None else z * weight
    return z if bias is None else z + bias


def _by_channel(z: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    shape = (-1,) + (1,) * (z.ndim - 2)
    return _affine(z, *(None if each is None else each.reshape(shape) for each in (weight, bias)))


def layer_norm(
    z: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,  # noqa: ARG001
) -> Tensor:
    return _affine(_normalized(z, range(-len(normalized_shape), 0), eps), weight, bias)


def group_norm(
    z: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,  # noqa: ARG001
) -> Tensor:
    grouped = z.reshape(z.shape[0], num_groups, -1)
    return _by_channel(_normalized(grouped, [-1], eps).reshape(z.shape), weight, bias)


def _channel_norm(
    z: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    of_input: bool,
    eps: float,
    dims: Sequence[int],
) -> Tensor:
    if of_input or running_mean is None or running_var is None:
        return _by_channel(_normalized(z, dims, eps), weight, bias)
    scale = (running_var + eps).rsqrt()
    return _by_channel(_by_channel(z, scale, -running_mean * scale), weight, bias)


def instance_norm(
    z: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,  # noqa: ARG001
    eps: float,
    cudnn_enabled: bool,  # noqa: ARG001
) -> Tensor:
    return _channel_norm(z, weight, bias, running_mean, running_var, use_input_stats, eps, range(2, z.ndim))


def batch_norm(
    z: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,  # noqa: ARG001
    eps: float,
    cudnn_enabled: bool,  # noqa: ARG001
) -> Tensor:
    return _channel_norm(z, weight, bias, running_mean, running_var, training, eps, [0, *range(2, z.ndim)])


def det(matrix: Tensor) -> Tensor:
    """Torch's has no second derivative where two singular values are equal, and wrong ones where one is 0.

    By minors; of a large matrix after elimination down to four rows, with the largest entry as pivot. A pivot is 0 only
    where all that is left is: there first and second derivatives are 0, whatever it is divided by.
    """
    factor = torch.ones_like(matrix[..., 0, 0])
    while (size := matrix.shape[-1]) > _LARGEST_DETERMINANT:
        place, index = (matrix * matrix).flatten(-2).argmax(-1), torch.arange(size, device=matrix.device)
        for axis, chosen in ((-2, place // size), (-1, place % size)):
            chosen = chosen.unsqueeze(-1)
            swapped = torch.where(index == 0, chosen, torch.where(index == chosen, 0, index))  # with the first
            matrix = torch.take_along_dim(matrix, swapped.unsqueeze(-1 if axis == -2 else -2), axis)
            factor = torch.where(chosen[..., 0] == 0, factor, -factor)
        pivot = matrix[..., :1, :1]
        factor = factor * pivot[..., 0, 0]
        column = matrix[..., 1:, :1] / torch.where(pivot == 0, 1.0, pivot)
        matrix = matrix[..., 1:, 1:] - column * matrix[..., :1, 1:]

    def minor(row: int, columns: tuple[int, ...]) -> Tensor:
        if len(columns) == 1:
            return matrix[..., row, columns[0]]
        parts = [
            (-1) ** place * matrix[..., row, column] * minor(row + 1, columns[:place] + columns[place + 1 :])
            for place, column in enumerate(columns)
        ]
        return torch.stack(parts).sum(dim=0)

    return factor * minor(0, tuple(range(matrix.shape[-1])))


COMPOSITES: dict[str, Callable[..., Tensor | None]] = {  # by the names that torch's functions and methods have
    function.__name__: function
    for function in (
        sigmoid,
        tanh,
        softplus,
        silu,
        mish,
        gelu,
        expm1,
        elu,
        celu,
        selu,
        log_sigmoid,
        softsign,
        tanhshrink,
        glu,
        softmax,
        log_softmax,
        logsumexp,
        logaddexp,
        scaled_dot_product_attention,
        layer_norm,
        group_norm,
        instance_norm,
        batch_norm,
        det,
    )
}
COMPOSITES |= {
    "linalg_det": det,
    "special_expit": sigmoid,
    "special_expm1": expm1,
    "special_softmax": softmax,
    "special_log_softmax": log_softmax,
    "special_logsumexp": logsumexp,
}
