"""The outputs of all replicates at once, with buffers that are allocated once.

Training steps, recorded losses and probes all use the forward pass here: the same kernels on memory laid out alike, so
that a replicate's outputs have the same bits whichever replicates are computed beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from nngeom_cli.geometry import Activation

__all__ = ["LEAST_ROWS", "ForwardPass", "elementwise"]

LEAST_ROWS = 2  # of a product: for one row BLAS has other code, which it uses for one matrix but not for many
aten = torch.ops.aten

# Activations whose value and derivative are one fused kernel each; forward(z, out) and backward(error, z, out) leave
# phi(z) in `out` and error * phi'(z) in `z`. Softplus is linear above 40, where the two agree to the last bit.
Forward = Callable[[Tensor, Tensor], object]
Backward = Callable[[Tensor, Tensor, Tensor], object]
FUSED: dict[str, tuple[Forward, Backward]] = {
    "sigmoid": (
        lambda z, out: torch.sigmoid(z, out=out),
        lambda error, z, out: aten.sigmoid_backward.grad_input(error, out, grad_input=z),
    ),
    "tanh": (
        lambda z, out: torch.tanh(z, out=out),
        lambda error, z, out: aten.tanh_backward.grad_input(error, out, grad_input=z),
    ),
    "softplus": (
        lambda z, out: aten.softplus.out(z, 1, 40, out=out),
        lambda error, z, _: aten.softplus_backward.grad_input(error, z, 1, 40, grad_input=z),
    ),
}


def elementwise(activation: Activation) -> tuple[Forward, Backward]:
    """The two passes of an activation: fused where a kernel exists, else from its value and first derivative."""
    return FUSED.get(
        activation.name,
        (
            lambda z, out: out.copy_(activation.value(z)),
            lambda error, z, _: torch.mul(activation.first(z), error, out=z),
        ),
    )


class ForwardPass:
    """Outputs at some points: a fixed sequence of kernels on fixed memory, each bound to its buffers once.

    Args:
        weights: of each layer, `(replicates, out, in + 1)`, the bias as last column; used as they are at each call. A
            layer of one unit has a second row, of zeros.
        widths: of each layer.
        activation: of every hidden layer.
        inputs: the points over a row of ones, `(replicates, d + 1, length)`; `length` is one of `padded_points`.

    Attributes:
        products: of each layer's weights and features, `(replicates, width, length)`, `LEAST_ROWS` rows at least.
        pre_activations: rows of the products that belong to units, of each hidden layer.
        features: what each layer is multiplied with, over a row of ones, `(replicates, width + 1, length)`.
        outputs: `(replicates, outputs, length)`; overwritten by each call, like the others.
        calls: the kernels.

    Example:
        >>> from nngeom_cli.geometry import get_activation
        >>> weights = torch.tensor([[[2.0, 3.0, 1.0], [0.0, 0.0, 0.0]]])  # 2 x + 3 y + 1
        >>> ForwardPass([weights], [1], get_activation("tanh"), torch.ones(1, 3, 16))()[:, :, 0]
        tensor([[6.]])
    """

    def __init__(
        self, weights: Sequence[Tensor], widths: Sequence[int], activation: Activation, inputs: Tensor
    ) -> None:
        def rows(count: int) -> Tensor:
            return weights[0].new_ones(len(inputs), count, inputs.shape[2])

        self.products = [rows(layer.shape[1]) for layer in weights]
        *self.pre_activations, self.outputs = (
            product[:, :width] for product, width in zip(self.products, widths, strict=True)
        )
        self.features = [inputs, *(rows(width + 1) for width in widths[:-1])]
        forward, _ = elementwise(activation)
        self.calls: list[Callable[[], object]] = []
        for layer, product in enumerate(self.products):
            self.calls.append(partial(torch.bmm, weights[layer], self.features[layer], out=product))
            if layer < len(self.pre_activations):
                self.calls.append(partial(forward, self.pre_activations[layer], self.features[layer + 1][:, :-1]))

    def __call__(self) -> Tensor:
        """Computes the outputs."""
        for call in self.calls:
            call()
        return self.outputs
