"""The losses: values against torch, margins, predictions, entropies."""

import math

import pytest
import torch
from torch import nn

from nngeom_cli.tasks.losses import CrossEntropy, Logistic, MeanSquaredError


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


def test_the_logistic_loss_is_the_cross_entropy_of_the_logits_0_and_o():
    generator = torch.Generator().manual_seed(0)
    logits = torch.tensor([-800.0, -30.0, -1.0, 0.0, 0.5, 25.0, 700.0], dtype=torch.float64)[None, None]
    labels, weights = torch.randint(2, (7,), generator=generator), torch.rand(7, generator=generator).double()
    two = torch.cat([torch.zeros_like(logits), logits], dim=1)
    one, targets = Logistic(), Logistic().encode(labels, 1, torch.float64)
    both = CrossEntropy().encode(labels, 2, torch.float64)
    torch.testing.assert_close(one.value(logits, targets), CrossEntropy().value(two, both), rtol=1e-14, atol=0)
    torch.testing.assert_close(one.entropy(logits[..., 1:-1]), CrossEntropy().entropy(two[..., 1:-1]))
    assert one.entropy(logits)[0, [0, 3, 6]].tolist() == pytest.approx([0, math.log(2), 0], abs=1e-300)
    assert one.predict(logits).tolist() == [[0, 0, 0, 0, 1, 1, 1]]
    assert torch.equal(one.margin(logits), logits[:, 0])
    followed = logits.clone().requires_grad_()
    losses = nn.functional.binary_cross_entropy_with_logits(followed[0, 0], labels.double(), reduction="none")
    (expected,) = torch.autograd.grad((losses * weights).sum(), followed)
    torch.testing.assert_close(one.gradient_(logits.clone(), targets, weights), expected, rtol=1e-12, atol=1e-16)
    with pytest.raises(ValueError, match="`outputs` must be 1"):
        one.encode(labels, 2, torch.float64)
