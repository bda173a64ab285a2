"""The two losses: values against torch, margins, predictions, entropies."""

import pytest
import torch
from torch import nn

from nngeom_cli.tasks.losses import CrossEntropy, MeanSquaredError


def test_cross_entropy_is_torchs():
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(3, 10, 20, dtype=torch.float64, generator=generator)
    labels = torch.randint(10, (20,), generator=generator)
    targets = CrossEntropy().encode(labels, 10, torch.float64)
    expected = torch.stack([nn.functional.cross_entropy(o.mT, labels) for o in outputs])
    torch.testing.assert_close(CrossEntropy().value(outputs, targets), expected, rtol=1e-14, atol=0)


def test_entropy_is_that_of_the_predicted_distribution():
    outputs = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    expected = torch.distributions.Categorical(logits=outputs.mT).entropy()
    torch.testing.assert_close(CrossEntropy().entropy(outputs), expected)
    certain = torch.tensor([[[0.0], [1e4]]], dtype=torch.float64)
    assert CrossEntropy().entropy(certain).tolist() == [[0]]
    probability = torch.tensor([[[0.2, 0.5, 0.9]]], dtype=torch.float64)
    torch.testing.assert_close(
        MeanSquaredError(0.5).entropy(probability), torch.distributions.Bernoulli(probability[:, 0]).entropy()
    )
    assert MeanSquaredError(0.5).entropy(torch.tensor([[[-0.5, 0.0, 1.0, 7.0]]])).tolist() == [[0, 0, 0, 0]]


def test_margin_vanishes_where_the_decision_changes():
    outputs = torch.tensor([[[0.2, 0.5, 0.9]]], dtype=torch.float64)
    assert MeanSquaredError(0.5).margin(outputs).sign().tolist() == [[-1, 0, 1]]
    assert MeanSquaredError(0.5).predict(outputs).tolist() == [[0, 0, 1]]
    two = torch.tensor([[[1.0, 2.0], [3.0, 2.0]]], dtype=torch.float64)
    assert CrossEntropy().margin(two).tolist() == [[2, 0]]
    three = torch.tensor([[[1.0], [3.0], [2.5]]], dtype=torch.float64)
    assert CrossEntropy().margin(three).tolist() == [[0.5]]
    assert CrossEntropy().predict(three).tolist() == [[1]]


def test_mean_squared_error_takes_one_output():
    with pytest.raises(ValueError, match="`outputs` must be 1"):
        MeanSquaredError().encode(torch.tensor([0, 1]), 2, torch.float64)
