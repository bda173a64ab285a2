"""The prediction of networks as one more layer, the one past the output."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from nngeom_cli.geometry.jets import FeatureMap
from nngeom_cli.models.model import Description, Model
from nngeom_cli.tasks.losses import Loss

__all__ = ["WithPrediction"]


class WithPrediction:
    """A model with its prediction as the layer past its output: the probabilities of the classes, as `Loss` says.

    The metric that this layer induces is the Fisher metric of the prediction on input space.

    Args:
        model: the networks.
        loss: with which they are trained, which says what their outputs mean.
    """

    def __init__(self, model: Model, loss: Loss) -> None:
        self.model, self.loss = model, loss
        self.replicates = model.replicates

    def outputs(self, x: Tensor) -> Tensor:
        return self.model.outputs(x)

    def output_map(self) -> FeatureMap:
        return self.model.output_map()

    def feature_map(self, layer: int) -> FeatureMap:
        """Features of a layer of the model, or the probabilities."""
        if layer < len(self.describe().widths):
            return self.model.feature_map(layer)
        return self.loss.probabilities(self.output_map())

    def state(self) -> Mapping[str, Tensor]:
        return self.model.state()

    def describe(self) -> Description:
        return self.model.describe()
