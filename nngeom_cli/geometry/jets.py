"""The interface of a feature map: its values, sizes, and first and second derivatives at points."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from nngeom_cli.geometry.points import Numbers, as_numbers

__all__ = ["Dimensions", "FeatureMap", "Jet", "Rounding", "packed_pairs"]


class Rounding(Protocol):
    """What the rounding of what J and H were computed from does to a function of them."""

    def largest_sum(self) -> Tensor:
        """A bound on the sizes of the sums that were rounded, (replicates, points)."""

    def effect(self, by_jacobian: Tensor, by_hessian: Tensor) -> Tensor:
        """The size of the change in units of eps, from the gradient in the form of J and H: (replicates, points)."""


@dataclass(frozen=True)
class Jet:
    """First and second derivatives of a feature map at points, feature-major.

    The derivatives are with respect to inputs measured in units of `unit`, a power of two for each input:
    d Phi_i / d x_a = jacobian[:, i, a] / unit[:, a], so that tiny or huge weights neither underflow nor overflow when
    squared.

    Args:
        jacobian: J, (replicates, n, d, points).
        hessian: H_ab for a <= b in the order (0,0), (0,1), ..., (1,1), ..., (replicates, n, d(d+1)/2, points); None
            if it was not asked for.
        unit: (replicates, d, 1).
        rounding: of what the derivatives were computed from, by which they are off beside their own rounding; None if
            it is not known.
    """

    jacobian: Tensor
    hessian: Tensor | None
    unit: Tensor
    rounding: Rounding | None = None


class Dimensions(NamedTuple):
    """Sizes of a feature map: inputs d, features n, largest rank of its Jacobian, width of its widest layer."""

    inputs: int
    features: int
    rank_bound: int
    widest: int


class FeatureMap(ABC):
    """A map R^d -> R^n, or one for each replicate, with its derivatives."""

    replicates: tuple[int, ...] = ()
    normalized = False  # whether features are divided by the square root of their number

    @abstractmethod
    def __call__(self, x: Numbers) -> Tensor:
        """Features of the points `x` (*batch, d): (*replicates, *batch, n)."""

    def as_points(self, x: Numbers) -> Tensor:
        """The points `x` as a tensor, in the map's dtype where they have none."""
        return as_numbers("x", x)

    @abstractmethod
    def dimensions(self, x: Numbers) -> Dimensions:
        """The map's sizes at inputs `x` (*batch, d). Raises if `x` cannot be its input."""

    @abstractmethod
    def jet(self, points: Tensor, *, second: bool) -> Jet:
        """The derivatives at `points` (points, d), the second ones if asked for."""

    @abstractmethod
    def restricted_to(self, origin: Numbers, directions: Numbers) -> FeatureMap:
        """The same map on a plane of input space: u -> Phi(origin + u directions)."""

    def along_rows(self) -> FeatureMap:
        """The same map, differentiated along fewer directions, if they suffice for the singular values of J."""
        return self

    def each(self) -> list[FeatureMap]:
        """The map of each replicate, without an axis of replicates."""
        return [self]


def packed_pairs(d: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows and columns of the upper triangle, in the order in which Hessians are packed."""
    rows, columns = torch.triu_indices(d, d, device=device)
    return rows, columns
