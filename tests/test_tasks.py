"""The training sets are those of the paper's Appendix C."""

import math

import pytest
import torch
from sklearn.datasets import load_digits

from nngeom_cli.config import DigitsConfig, SinusoidConfig, XorConfig
from nngeom_cli.tasks import make_task


def test_xor_has_four_corners_and_a_threshold_at_one_half():
    task = make_task(XorConfig("xor"))
    pairs = {tuple(x): label for x, label in zip(task.inputs.tolist(), task.labels.tolist(), strict=True)}
    assert pairs == {(-1, -1): 0, (-1, 1): 1, (1, -1): 1, (1, 1): 0}
    assert (task.outputs, task.loss.threshold) == (1, 0.5)


def test_sinusoid_labels_are_above_and_below_the_curve():
    task = make_task(SinusoidConfig("sinusoid", points=400, data_seed=0))
    assert task.inputs.shape == (400, 2)
    for (x1, x2), label in zip(task.inputs.tolist(), task.labels.tolist(), strict=True):
        assert label == (x2 > 3 / 5 * math.sin(7 * x1 - 1))


def test_sinusoid_points_are_uniform_on_the_square_and_follow_the_data_seed():
    inputs = make_task(SinusoidConfig("sinusoid", points=20_000, data_seed=1)).inputs
    assert inputs.abs().max() <= 1
    counts = torch.histogramdd(inputs, bins=[4, 4], range=[-1, 1, -1, 1]).hist
    assert ((counts - 1250).abs() < 5 * math.sqrt(1250)).all()
    assert not torch.equal(inputs, make_task(SinusoidConfig("sinusoid", points=20_000, data_seed=2)).inputs)
    assert torch.equal(inputs, make_task(SinusoidConfig("sinusoid", points=20_000, data_seed=1)).inputs)


def test_digits_are_raw_pixels():
    task = make_task(DigitsConfig("digits"))
    images, labels = load_digits(return_X_y=True)
    assert task.inputs.max() == 16
    assert (task.inputs.numpy() == images).all()
    assert (task.labels.numpy() == labels).all()
    assert task.image_shape == (8, 8)


@pytest.mark.parametrize(
    "config", [XorConfig("xor"), SinusoidConfig("sinusoid", points=7, data_seed=0), DigitsConfig("digits")]
)
def test_config_and_task_agree_on_their_sizes(config):
    task = make_task(config)
    assert (task.dimension, task.outputs, len(task.inputs)) == (config.inputs, config.outputs, config.size)
    assert set(task.labels.tolist()) <= set(range(config.classes))
