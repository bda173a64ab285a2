"""What the rounding of a callable's own operations does to its derivatives, from runs in which all are perturbed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nngeom_cli.geometry.jet_tensors import JetTensor
from nngeom_cli.geometry.jets import Rounding
from nngeom_cli.geometry.rewriting import Rewriting

__all__ = ["DrawnRounding", "JoinedRounding", "Perturbing"]

_FEW = 16  # features, below which a second draw guards against an effect that one happens to miss
_VIEWS = (
    "view view_as reshape reshape_as transpose t permute movedim moveaxis swapaxes swapdims select narrow unsqueeze"
)
_VIEWS += " squeeze expand expand_as flatten unflatten ravel chunk split tensor_split split_with_sizes unbind unfold"
_VIEWS += " diagonal detach contiguous as_strided view_as_real view_as_complex real imag broadcast_to adjoint mT"
_MOVES = "cat stack concat hstack vstack clone to type double float half index_select gather take pad roll flip tile"
_MOVES += " repeat repeat_interleave where zeros_like ones_like full_like empty_like new_zeros new_ones new_full size"
_STEPS = "eq ne lt le gt ge isclose isnan isfinite isinf argmax argmin floor ceil round trunc sign remainder fmod frac"
_STEPS += " requires_grad_ is_floating_point dim numel item bool long int"
_EXACT = frozenset(f"{_VIEWS} {_MOVES} {_STEPS}".split())  # move numbers, or jump: nothing of theirs is rounded

_SCALED = torch.ops.aten.mul.Scalar  # torch's forward mode takes ten times as long for a product with a tensor


class Perturbing(Rewriting):
    """Multiplies what each operation takes and gives by 1 + eps or 1 - eps, by fixed draws, in the dtype of each.

    The arguments stand for the terms of a sum that cancel, the result for its own rounding. A module's parameters are
    exact, and views, copies and steps are left alone, as is the tensor that an operation changes in place.

    Args:
        dtype: of the points.
        rewrites: as for `Rewriting`.
        draw: the number of the draw.
    """

    def __init__(self, dtype: torch.dtype, *, rewrites: bool, draw: int) -> None:
        super().__init__(dtype, rewrites=rewrites)
        self._signs = np.random.default_rng(draw)

    def run(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """The operation on perturbed arguments, its result perturbed."""
        if name in _EXACT or name.startswith(("__get", "__set")):
            return super().run(func, name, args, named)
        in_place = name.endswith("_") or named.get("out") is not None
        moved = [value if in_place and place == 0 else self._moved(value) for place, value in enumerate(args)]
        result = super().run(func, name, tuple(moved), named)
        return result if in_place else self._moved(result)

    def _moved(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or isinstance(value, torch.nn.Parameter):
            return value
        if not (value.is_floating_point() or value.is_complex()):
            return value
        up = torch.from_numpy(np.asarray(self._signs.integers(0, 2, tuple(value.shape)) > 0)).to(value.device)
        eps = torch.finfo(value.dtype).eps
        if isinstance(value, JetTensor):
            return value * (1 + eps * (2 * up.to(value.dtype) - 1))
        return torch.where(up, _SCALED(value, 1 + eps), _SCALED(value, 1 - eps))


class DrawnRounding:
    """The effect of rounding on a function of J and H, from its gradient and from perturbed derivatives.

    For each row i of J and H the change of the function is sum_a G_ia (J~ - J)_ia + ..., G the gradient; the sizes of
    the changes are added over rows, and the larger of the draws counts.

    Args:
        jacobian: J, (1, n, d, points).
        hessian: packed H, (1, n, d(d+1)/2, points).
        perturbed: J and H in the same form by the number of the draw.
    """

    def __init__(
        self, jacobian: Tensor, hessian: Tensor, perturbed: Callable[[int], tuple[Tensor, Tensor | None]]
    ) -> None:
        self._jacobian, self._hessian, self._perturbed = jacobian, hessian, perturbed

    def largest_sum(self) -> Tensor:
        """Infinite: nothing is known of the size of the sums, (1, points)."""
        return torch.full_like(self._jacobian[:, 0, 0], torch.inf)

    def effect(self, by_jacobian: Tensor, by_hessian: Tensor) -> Tensor:
        """The sizes of all changes, to first order and in units of eps, added; (1, points)."""
        total = torch.zeros_like(by_jacobian[:, :, 0])
        for draw in range(2 if total.shape[1] < _FEW else 1):
            jacobian, hessian = self._perturbed(draw)
            assert hessian is not None
            change = (by_jacobian * (jacobian - self._jacobian)).sum(dim=2)
            total = torch.maximum(total, (change + (by_hessian * (hessian - self._hessian)).sum(dim=2)).abs())
        return total.sum(dim=1) / torch.finfo(total.dtype).eps


class JoinedRounding:
    """That of several maps, one for each replicate."""

    def __init__(self, parts: Sequence[Rounding]) -> None:
        self._parts = parts

    def largest_sum(self) -> Tensor:
        """(replicates, points)."""
        return torch.cat([part.largest_sum() for part in self._parts])

    def effect(self, by_jacobian: Tensor, by_hessian: Tensor) -> Tensor:
        """(replicates, points)."""
        gradients = zip(self._parts, by_jacobian.split(1), by_hessian.split(1), strict=True)
        return torch.cat([part.effect(*gradient) for part, *gradient in gradients])
