"""The state of training at an epoch: all that the next step depends on, and the networks' scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Checkpoint"]


@dataclass(frozen=True)
class Checkpoint:
    """The state of training after `epoch` epochs: arrays in main memory, unchanged by later training.

    Attributes:
        epoch: number of epochs done; 0 is the initial network.
        loss: mean over the training set, `(replicates,)`, float64 on the CPU.
        accuracy: fraction of the training set, `(replicates,)`.
        weights: per layer, `(replicates, out, in + 1)`, the bias as last column.
        optimizer: the optimizer's state, by name, per layer like `weights`.
        generators: states of the replicates' batch generators, `(replicates, bytes)`.
        test: `test_loss` and `test_accuracy`, `(replicates,)`, if the task keeps test examples.
        penalty: what a volume penalty adds to the loss, `(replicates,)`; None where there is none.
    """

    epoch: int
    loss: np.ndarray
    accuracy: np.ndarray
    weights: list[np.ndarray]
    optimizer: dict[str, list[np.ndarray]]
    generators: np.ndarray
    test: dict[str, np.ndarray] = field(default_factory=dict)
    penalty: np.ndarray | None = None

    @property
    def scores(self) -> dict[str, np.ndarray]:
        """All numbers of a network that are recorded, by name."""
        penalty = {} if self.penalty is None else {"volume_penalty": self.penalty}
        return {"loss": self.loss, "accuracy": self.accuracy} | self.test | penalty

    def block(self, replicates: slice) -> Checkpoint:
        """The same checkpoint with only some of the replicates."""
        return Checkpoint(
            self.epoch,
            self.loss[replicates],
            self.accuracy[replicates],
            [weights[replicates] for weights in self.weights],
            {name: [values[replicates] for values in layers] for name, layers in self.optimizer.items()},
            self.generators[replicates],
            {name: values[replicates] for name, values in self.test.items()},
            None if self.penalty is None else self.penalty[replicates],
        )

    @staticmethod
    def join(blocks: Sequence[Checkpoint]) -> Checkpoint:
        """One checkpoint with the replicates of several, all of the same epoch."""

        def join(arrays: Sequence[np.ndarray]) -> np.ndarray:
            return np.concatenate(arrays)

        return Checkpoint(
            blocks[0].epoch,
            join([block.loss for block in blocks]),
            join([block.accuracy for block in blocks]),
            [join(layer) for layer in zip(*(block.weights for block in blocks), strict=True)],
            {
                name: [join(layer) for layer in zip(*(block.optimizer[name] for block in blocks), strict=True)]
                for name in blocks[0].optimizer
            },
            join([block.generators for block in blocks]),
            {name: join([block.test[name] for block in blocks]) for name in blocks[0].test},
            None
            if blocks[0].penalty is None
            else join([block.penalty for block in blocks if block.penalty is not None]),
        )
