"""The losses: value, gradient, prediction and margin for outputs `(replicates, outputs, points)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from nngeom_cli.geometry import PredictionFeatureMap
from nngeom_cli.geometry.jets import FeatureMap

__all__ = ["CrossEntropy", "Logistic", "Loss", "MeanSquaredError"]


class Loss(Protocol):
    """The interface of a loss, for training and probing. `targets` are the encoded labels, `(..., outputs, points)`."""

    def encode(self, labels: Tensor, outputs: int, dtype: torch.dtype) -> Tensor:
        """Labels `(points,)` as targets `(outputs, points)`."""

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean loss over the points, `(replicates,)`."""

    def gradient_(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Derivative of sum_p weights_p loss_p, in place of `outputs`; weights `(points,)`, 1/n each for the mean."""

    def margin(self, outputs: Tensor) -> Tensor:
        """Signed distance in output space from the decision boundary, `(replicates, points)`."""

    def predict(self, outputs: Tensor) -> Tensor:
        """Predicted class, `(replicates, points)`, int64."""

    def entropy(self, outputs: Tensor) -> Tensor:
        """Entropy of the predicted distribution over the classes in nats, `(replicates, points)`."""

    def probabilities(self, outputs: FeatureMap) -> FeatureMap:
        """Feature map of the probabilities of the classes, from that of the outputs; its metric is Fisher's.

        Raises:
            ValueError: the outputs have no probabilities of which there is one.
        """


@dataclass(frozen=True)
class MeanSquaredError:
    """(o - y)^2 of one linear output o, label y in {0, 1}; class 1 where o > threshold.

    Least squares estimates the probability of class 1, so o, clipped to [0, 1], is taken as that probability.
    """

    threshold: float = 0.5

    def encode(self, labels: Tensor, outputs: int, dtype: torch.dtype) -> Tensor:
        if outputs != 1:
            raise ValueError(f"`outputs` must be 1 for the mean squared error. Got {outputs}. Use CrossEntropy.")
        return labels.to(dtype)[None]

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square().mean(dim=(1, 2))

    def gradient_(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        return outputs.sub_(targets).mul_(weights).mul_(2)

    def margin(self, outputs: Tensor) -> Tensor:
        return outputs[:, 0] - self.threshold

    def predict(self, outputs: Tensor) -> Tensor:
        return (outputs[:, 0] > self.threshold).long()

    def entropy(self, outputs: Tensor) -> Tensor:
        probability = outputs[:, 0].clamp(0, 1)
        entropy: Tensor = torch.special.entr(probability) + torch.special.entr(1 - probability)
        return entropy

    def probabilities(self, outputs: FeatureMap) -> FeatureMap:  # noqa: ARG002
        raise ValueError("`outputs` must be logits. Got one output of a mean squared error. Measure the output itself.")


@dataclass(frozen=True)
class Logistic:
    """log(1 + exp(o)) - y o of one logit o, label y in {0, 1}; class 1 has the probability 1 / (1 + exp(-o)).

    The margin is the logit itself, and class 1 is predicted where it is positive.
    """

    def encode(self, labels: Tensor, outputs: int, dtype: torch.dtype) -> Tensor:
        if outputs != 1:
            raise ValueError(f"`outputs` must be 1 for one logit. Got {outputs}. Use CrossEntropy.")
        return labels.to(dtype)[None]

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (_softplus(outputs) - targets * outputs).mean(dim=(1, 2))

    def gradient_(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        return outputs.sigmoid_().sub_(targets).mul_(weights)

    def margin(self, outputs: Tensor) -> Tensor:
        return outputs[:, 0]

    def predict(self, outputs: Tensor) -> Tensor:
        return (outputs[:, 0] > 0).long()

    def entropy(self, outputs: Tensor) -> Tensor:
        size = outputs[:, 0].abs()
        return _softplus(-size) + size * torch.sigmoid(-size)

    def probabilities(self, outputs: FeatureMap) -> FeatureMap:
        return PredictionFeatureMap(outputs, sigmoid=True)


@dataclass(frozen=True)
class CrossEntropy:
    """-log softmax(o)_y with one logit per class: the negative log likelihood of a softmax network.

    The margin is o_1 - o_0 for two classes, and the greatest logit minus the runner-up's for more.
    """

    def encode(self, labels: Tensor, outputs: int, dtype: torch.dtype) -> Tensor:
        return torch.nn.functional.one_hot(labels, outputs).to(dtype).mT.contiguous()

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return -(outputs.log_softmax(dim=1) * targets).sum(dim=1).mean(dim=1)

    def gradient_(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        torch.softmax(outputs, dim=1, out=outputs)
        return outputs.sub_(targets).mul_(weights)

    def margin(self, outputs: Tensor) -> Tensor:
        if outputs.shape[1] == 2:
            return outputs[:, 1] - outputs[:, 0]
        first, second = outputs.topk(2, dim=1).values.unbind(dim=1)
        return first - second

    def predict(self, outputs: Tensor) -> Tensor:
        return outputs.max(dim=1).indices  # argmax is five times slower along this axis

    def entropy(self, outputs: Tensor) -> Tensor:
        logs = outputs.log_softmax(dim=1)
        return -(logs.exp() * logs).sum(dim=1)

    def probabilities(self, outputs: FeatureMap) -> FeatureMap:
        return PredictionFeatureMap(outputs)


def _softplus(values: Tensor) -> Tensor:
    return torch.logaddexp(values, torch.zeros_like(values))  # torch's own softplus drops digits above its threshold
