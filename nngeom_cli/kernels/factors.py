"""The conformal factors of Amari and Wu, each made from a first machine."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nngeom_cli.kernels.kernel import GaussianKernel, require_points, require_positive
from nngeom_cli.kernels.machine import SupportVectorMachine

__all__ = ["BoundaryFactor", "SupportVectorFactor"]


@dataclass(frozen=True)
class SupportVectorFactor:
    """c(x) = sum_i exp(-|x - x_i|^2 / (2 tau_i^2)) over support vectors x_i: large where they lie.

    Args:
        centres: x_i, `(vectors, d)`.
        widths: tau_i, `(vectors,)`, in units of input space.

    Raises:
        ValueError: there are no centres, or a width is not positive.

    Example:
        >>> factor = SupportVectorFactor(torch.zeros(1, 2), torch.ones(1))
        >>> factor.log(torch.tensor([3.0, 4.0]))
        tensor(-12.5000)
    """

    centres: Tensor
    widths: Tensor

    def __post_init__(self) -> None:
        if self.centres.ndim != 2 or len(self.centres) == 0 or self.widths.shape != self.centres.shape[:1]:
            raise ValueError(
                "`centres` and `widths` must have shapes (vectors, d) and (vectors,), at least one vector. "
                f"Got {tuple(self.centres.shape)} and {tuple(self.widths.shape)}."
            )
        require_positive("widths", self.widths.min().item())
        require_positive("widths", self.widths.max().item())

    @classmethod
    def amari_wu_1999(cls, machine: SupportVectorMachine, width: float | None = None) -> SupportVectorFactor:
        """The factor of Amari and Wu (1999), with one width for all support vectors.

        Args:
            machine: the first one.
            width: tau; by default s / sqrt(d), s the scale of the machine's Gaussian kernel.

        Returns:
            The factor.

        Raises:
            ValueError: `width` is not positive.
            TypeError: no `width` is given, and the machine's kernel is not Gaussian.

        Example:
            >>> line = torch.tensor([[-1.0], [1.0]]).double()
            >>> machine = SupportVectorMachine.trained(GaussianKernel(0.5), line, [0, 1])
            >>> SupportVectorFactor.amari_wu_1999(machine).widths
            tensor([0.5000, 0.5000], dtype=torch.float64)
        """
        centres = machine.support_vectors
        if width is None:
            if not isinstance(machine.kernel, GaussianKernel):
                raise TypeError(f"`width` must be given for a {type(machine.kernel).__name__}. Got None.")
            width = machine.kernel.scale / math.sqrt(centres.shape[1])
        return cls(centres, torch.full_like(centres[:, 0], width))

    @classmethod
    def wu_amari_2002(cls, machine: SupportVectorMachine, neighbours: int = 3) -> SupportVectorFactor:
        """The factor of Wu and Amari (2002): tau_i^2 is the mean squared distance to the nearest support vectors.

        Args:
            machine: the first one.
            neighbours: how many of the nearest; all others where there are fewer.

        Returns:
            The factor.

        Raises:
            ValueError: `neighbours` is less than 1, or the nearest support vectors of one coincide with it.

        Example:
            >>> line = torch.tensor([[-1.0], [1.0]]).double()
            >>> machine = SupportVectorMachine.trained(GaussianKernel(0.5), line, [0, 1])
            >>> SupportVectorFactor.wu_amari_2002(machine).widths
            tensor([2., 2.], dtype=torch.float64)
        """
        if neighbours < 1:
            raise ValueError(f"`neighbours` must be at least 1. Got {neighbours}.")
        centres = machine.support_vectors
        squares = torch.cdist(centres, centres, compute_mode="donot_use_mm_for_euclid_dist").square()
        others = squares.fill_diagonal_(math.inf).sort(dim=1).values[:, : min(neighbours, len(centres) - 1)]
        return cls(centres, others.mean(dim=1).sqrt())

    def log(self, x: Tensor) -> Tensor:
        """Natural logarithm of c at points `(*batch, d)`: `(*batch,)`; it is finite where c underflows."""
        require_points(x, self.centres.shape[1])
        squares = (x.unsqueeze(-2) - self.centres).square().sum(dim=-1)
        return torch.logsumexp(-squares / (2 * self.widths.square()), dim=-1)


@dataclass(frozen=True)
class BoundaryFactor:
    """c(x) = exp(-kappa f(x)^2), f the decision function of the first machine: Williams, Li, Feng and Wu (2007).

    It is 1 on the boundary, wherever the support vectors lie, and smaller elsewhere.

    Args:
        machine: the first one.
        sharpness: kappa; f is 1 in absolute value at the edge of the margin.

    Raises:
        ValueError: `sharpness` is not positive.

    Example:
        >>> line = torch.tensor([[-1.0], [1.0]]).double()
        >>> machine = SupportVectorMachine.trained(GaussianKernel(1.0), line, [0, 1], penalty=9.0)
        >>> BoundaryFactor(machine, sharpness=0.5).log(torch.tensor([[0.0], [1.0]]).double()).round(decimals=3)
        tensor([-0.0000, -0.5000], dtype=torch.float64)
    """

    machine: SupportVectorMachine
    sharpness: float

    def __post_init__(self) -> None:
        require_positive("sharpness", self.sharpness)

    def log(self, x: Tensor) -> Tensor:
        """Natural logarithm of c at points `(*batch, d)`: `(*batch,)`."""
        return -self.sharpness * self.machine.decision(x).square()
