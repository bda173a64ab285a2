"""Feature map of a softmax output, whose metric is the Fisher information of the prediction on input space."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from nngeom_cli.geometry.autocast import without_autocast
from nngeom_cli.geometry.feature_maps import MLPFeatureMap
from nngeom_cli.geometry.jets import Dimensions, FeatureMap, Jet, packed_pairs
from nngeom_cli.geometry.points import Numbers
from nngeom_cli.geometry.torch_feature_map import as_feature_map

__all__ = ["PredictionFeatureMap"]


class PredictionFeatureMap(FeatureMap):
    """Feature map of the probabilities that a network predicts; its metric is the Fisher metric on input space.

    Phi_i(x) = 2 sqrt(p_i(x)), p = softmax(logits): a point on the sphere of radius 2. Its metric is

        g = J^T (diag p - p p^T) J,    KL(p(x) || p(x + v)) = v^T g v / 2 + O(|v|^3),

    J the Jacobian of the logits; for two classes p (1 - p) grad m grad m^T, m the margin. The rank is at most
    classes - 1, so with as many inputs as classes, or more, take `metric_spectrum` and
    `log_effective_volume_element(..., top_k=classes - 1)`. With fewer inputs it has a volume element and, as the metric
    of a surface in R^classes, a curvature: 1/2 everywhere for two inputs and three classes.

    Everything is computed from log-probabilities and from differences to the largest logit, so that each row of the
    derivatives keeps its digits where a probability is 0 or 1 to working precision, down to probabilities of 1e-615,
    whose square roots are the least normal numbers. A spectrum keeps the digits of its largest eigenvalue. Of the
    rounding of the logits themselves, `ricci_scalar_error` knows nothing.

    Args:
        logits: a feature map whose features are the logits, one for each class: the linear output layer of an
            `MLPFeatureMap`, a `ModuleFeatureMap`, or a callable of one point. A division by sqrt(n) is undone.
        sigmoid: whether there is one logit z of class 1, of probability 1 / (1 + exp(-z)): logits (0, z).

    Raises:
        ValueError: an `MLPFeatureMap` that ends with an activation other than the identity. Later, when points are
            given: there are fewer than two logits, or with `sigmoid` other than one.
        TypeError: `logits` cannot be called.

    Example:
        >>> from nngeom_cli.geometry import pullback_metric
        >>> prediction = PredictionFeatureMap(lambda p: torch.stack([p[0], -p[0]]))  # p (1 - p) (dm/dx)^2, m = 2 x
        >>> pullback_metric(prediction, torch.zeros(1, dtype=torch.float64)).round(decimals=9)
        tensor([[1.]], dtype=torch.float64)
    """

    def __init__(self, logits: Callable[..., Tensor], *, sigmoid: bool = False) -> None:
        self.logits = as_feature_map(logits)
        self.sigmoid = sigmoid
        if isinstance(self.logits, MLPFeatureMap) and self.logits.activations[-1].name != "identity":
            raise ValueError(
                "`logits` must be the features of a linear output layer. "
                f"Got a layer that ends with {self.logits.activations[-1].name!r}. Give the network's last layer."
            )
        self.replicates = self.logits.replicates

    def as_points(self, x: Numbers) -> Tensor:
        """The points `x` as the logits' feature map takes them."""
        return self.logits.as_points(x)

    def dimensions(self, x: Numbers) -> Dimensions:
        """The map's sizes. Raises if `x` cannot be its input, or there are fewer than two classes."""
        sizes = self.logits.dimensions(x)
        if self.sigmoid:
            if sizes.features != 1:
                raise ValueError(f"`logits` must be one for a sigmoid. Got {sizes.features}. Leave out `sigmoid`.")
            return sizes._replace(features=2)
        if sizes.features < 2:
            raise ValueError(
                f"`logits` must be at least two, one for each class. Got {sizes.features}. "
                "For the logit of a sigmoid say sigmoid=True; an output without probabilities has no such metric."
            )
        return sizes._replace(rank_bound=min(sizes.rank_bound, sizes.features - 1))

    def restricted_to(self, origin: Numbers, directions: Numbers) -> PredictionFeatureMap:
        """The same map on a plane of input space, or on a flat subspace of any dimension.

        Args:
            origin: the point where u = 0, `(d,)`.
            directions: one vector per row, `(m, d)`.

        Returns:
            A feature map with m inputs.

        Raises:
            ValueError: `origin` or `directions` has the wrong shape.
            TypeError: they do not have the feature map's dtype.

        Example:
            >>> prediction = PredictionFeatureMap(lambda p: p)
            >>> prediction.restricted_to(torch.zeros(3), torch.eye(3)[:1])(torch.zeros(1))
            tensor([1.1547, 1.1547, 1.1547])
        """
        return PredictionFeatureMap(self.logits.restricted_to(origin, directions), sigmoid=self.sigmoid)

    def along_rows(self) -> PredictionFeatureMap:
        """The same map, differentiated along fewer directions, if they suffice for the singular values of J."""
        return PredictionFeatureMap(self.logits.along_rows(), sigmoid=self.sigmoid)

    def each(self) -> list[FeatureMap]:
        """The map of each replicate."""
        return [PredictionFeatureMap(one, sigmoid=self.sigmoid) for one in self.logits.each()]

    @without_autocast
    def __call__(self, x: Numbers) -> Tensor:
        """Twice the square roots of the probabilities at the points `x` (*batch, d): (*replicates, *batch, classes)."""
        return 2 * torch.exp(self.log_probabilities(x) / 2)

    @without_autocast
    def log_probabilities(self, x: Numbers) -> Tensor:
        """Natural logarithms of the probabilities of the classes.

        Args:
            x: points, `(*batch, d)`.

        Returns:
            `(*replicates, *batch, classes)`; where a probability is near 1, its logarithm keeps its digits.

        Raises:
            ValueError: `x` cannot be the map's input.

        Example:
            >>> PredictionFeatureMap(lambda p: p).log_probabilities(torch.tensor([0.0, 100.0]).double())
            tensor([-1.0000e+02, -3.7201e-44], dtype=torch.float64)
        """
        n = self.dimensions(x).features
        logits = self.logits(x) * self._norm(n)
        return _log_softmax(pad(logits, (1, 0)) if self.sigmoid else logits)

    def _norm(self, n: int) -> float:
        """What the logits were divided by."""
        return math.sqrt(n) if self.logits.normalized and not self.sigmoid else 1.0

    def jet(self, points: Tensor, *, second: bool) -> Jet:
        """First and, if asked for, second derivatives at `points` (points, d).

        With l = log p and m_j the derivatives of logit j minus those of the most probable class:
        dl_i = m_i - sum_j p_j m_j,  ddl_i the same of second derivatives, minus g,
        dPhi_i = sqrt(p_i) dl_i,  ddPhi_i = sqrt(p_i) (ddl_i + dl_i dl_i / 2).
        """
        jet = self.logits.jet(points, second=second)
        if self.sigmoid:  # the logit of class 0 is 0
            hessian = None if jet.hessian is None else pad(jet.hessian, (0, 0, 0, 0, 1, 0))
            jet = replace(jet, jacobian=pad(jet.jacobian, (0, 0, 0, 0, 1, 0)), hessian=hessian)
        logs = (
            self.log_probabilities(points).reshape(len(jet.jacobian), len(points), jet.jacobian.shape[1]).movedim(2, 1)
        )
        logs = logs.unsqueeze(2)  # (replicates, classes, 1, points)
        top = logs.argmax(dim=1, keepdim=True)
        root = (logs / 2).exp()
        norm = self._norm(jet.jacobian.shape[1])
        slopes = _centred(norm * jet.jacobian, logs, top)
        jacobian = root * slopes
        if jet.hessian is None:
            return Jet(jacobian, None, jet.unit)
        rows, columns = packed_pairs(slopes.shape[2], slopes.device)
        metric = (jacobian[:, :, rows] * jacobian[:, :, columns]).sum(dim=1, keepdim=True)
        bends = _centred(norm * jet.hessian, logs, top) - metric + slopes[:, :, rows] * slopes[:, :, columns] / 2
        return Jet(jacobian, root * bends, jet.unit)


def _log_softmax(z: Tensor) -> Tensor:
    """log softmax over the last axis; that of the largest entry keeps its digits where it is near 0."""
    top = z.argmax(dim=-1, keepdim=True)
    below = z - z.gather(-1, top)
    others = below.exp().scatter(-1, top, 0.0).sum(dim=-1, keepdim=True)
    return below - others.log1p()


def _centred(derivatives: Tensor, logs: Tensor, top: Tensor) -> Tensor:
    """Derivatives of the logits, (replicates, classes, k, points), minus their mean over the predicted classes."""
    relative = derivatives - derivatives.gather(1, top.expand(-1, -1, derivatives.shape[2], -1))
    return relative - (logs.exp() * relative).sum(dim=1, keepdim=True)
