"""The training sets are those of the paper's Appendix C."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.datasets import load_digits

from nngeom_cli.config.task import CirclesConfig, DigitsConfig, MoonsConfig, SinusoidConfig, SpiralsConfig, XorConfig
from nngeom_cli.errors import ConfigError
from nngeom_cli.tasks.make import make_task

DIGITS = DigitsConfig("digits")


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
    assert task.image_shape == (1, 8, 8)


def test_some_digits_are_all_images_of_those_with_classes_in_the_order_of_the_list():
    config = DigitsConfig("digits", digits=[8, 3, 5])
    task = make_task(config)
    images, labels = load_digits(return_X_y=True)
    assert (len(task.inputs), task.outputs) == (config.examples, config.outputs) == (config.examples, 3)
    for label, digit in enumerate([8, 3, 5]):
        assert (task.inputs[task.labels == label].numpy() == images[labels == digit]).all()
    parts = [DigitsConfig("digits", digits=[digit, (digit + 1) % 10]).examples for digit in range(10)]
    counts = np.bincount(labels)
    assert parts == (counts + np.roll(counts, -1)).tolist()


@pytest.mark.parametrize("side", [8, 13, 28])
def test_enlarged_digits_are_interpolated_linearly_between_the_centres_of_pixels(side):
    task, plain = make_task(DigitsConfig("digits", side=side)), make_task(DigitsConfig("digits"))
    images = plain.inputs.numpy().reshape(-1, 8, 8)[:40]
    scale = (1, side / 8, side / 8)
    expected = ndimage.zoom(images, scale, order=1, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(task.inputs[:40].numpy().reshape(40, side, side), expected, rtol=0, atol=1e-12)
    assert task.image_shape == (1, side, side)
    assert (task.inputs.min(), task.inputs.max() <= 16) == (0, True)
    assert torch.linalg.matrix_rank(task.inputs) == torch.linalg.matrix_rank(plain.inputs)


def test_moons_lie_on_two_half_circles():
    task = make_task(MoonsConfig("moons", points=300, noise=0.0))
    upper, lower = task.inputs[task.labels == 0], task.inputs[task.labels == 1]
    assert (upper.norm(dim=1) - 1).abs().max() < 1e-12
    assert ((lower - torch.tensor([1.0, 0.5])).norm(dim=1) - 1).abs().max() < 1e-12
    assert upper[:, 1].min() > -1e-12
    assert lower[:, 1].max() < 0.5 + 1e-12


def test_circles_have_the_radii_one_and_factor():
    task = make_task(CirclesConfig("circles", points=300, noise=0.0, factor=0.25))
    torch.testing.assert_close(task.inputs.norm(dim=1), torch.where(task.labels == 1, 0.25, 1.0).double())


def test_a_spiral_is_the_other_one_turned_half_around():
    task = make_task(SpiralsConfig("spirals", points=1000, noise=0.0, turns=1.5))
    radius, angle = task.inputs.norm(dim=1), torch.atan2(task.inputs[:, 1], task.inputs[:, 0])
    expected = 2 * math.pi * 1.5 * radius + math.pi * task.labels
    assert ((angle - expected).cos() - 1).abs().max() < 1e-12
    assert radius.max() <= 1
    assert (radius < math.sqrt(0.5)).double().mean().item() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    "config",
    [
        MoonsConfig("moons", points=50, noise=0.2, data_seed=1),
        CirclesConfig("circles", points=50, noise=0.2, factor=0.5, data_seed=1),
        SpiralsConfig("spirals", points=50, noise=0.2, turns=1.0, data_seed=1),
    ],
)
def test_noise_follows_the_data_seed(config):
    same, other = make_task(config).inputs, make_task(replace(config, data_seed=2)).inputs
    assert torch.equal(same, make_task(config).inputs)
    assert not torch.equal(same, other)


def test_test_examples_are_those_that_are_missing_from_the_training_set():
    whole, split = make_task(DIGITS), make_task(replace(DIGITS, test_fraction=0.25))
    assert len(split.test[0]) == 449
    together = torch.cat([torch.cat([split.inputs, split.test[0]]).mT, torch.cat([split.labels, split.test[1]])[None]])
    expected = torch.cat([whole.inputs.mT, whole.labels[None]])
    assert sorted(together.mT.tolist()) == sorted(expected.mT.tolist())
    other = make_task(replace(DIGITS, test_fraction=0.25, data_seed=1))
    assert not torch.equal(other.test[0], split.test[0])


def test_no_split_and_no_noise_leave_the_task_as_it_was():
    plain = make_task(SinusoidConfig("sinusoid", points=400, data_seed=3))
    assert plain.test is None
    noisy = make_task(SinusoidConfig("sinusoid", points=400, data_seed=3, label_noise=0.1))
    assert torch.equal(plain.inputs, noisy.inputs)


def test_label_noise_makes_its_fraction_of_the_training_labels_wrong_and_no_test_label():
    clean, noisy = (make_task(replace(DIGITS, test_fraction=0.2, label_noise=noise)) for noise in (0.0, 0.3))
    wrong = clean.labels != noisy.labels
    assert wrong.sum() == round(0.3 * len(clean.labels))
    assert torch.equal(clean.test[1], noisy.test[1])
    shift = torch.bincount((noisy.labels - clean.labels)[wrong] % 10, minlength=10)
    assert shift[0] == 0
    assert (shift[1:] > 20).all()  # each other class: 48 expected


def test_a_split_that_leaves_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"`task.test_fraction` must be at least 0 and less than 1\. Got 1"):
        replace(DIGITS, test_fraction=1.0)


@pytest.mark.parametrize(
    "config",
    [
        XorConfig("xor"),
        SinusoidConfig("sinusoid", points=7, data_seed=0),
        DIGITS,
        replace(DIGITS, test_fraction=0.3),
        MoonsConfig("moons", points=7, noise=0.1),
        CirclesConfig("circles", points=7, noise=0.1, factor=0.5),
        SpiralsConfig("spirals", points=7, noise=0.1, turns=1.0),
    ],
)
def test_config_and_task_agree_on_their_sizes(config):
    task = make_task(config)
    assert (task.dimension, task.outputs, len(task.inputs)) == (config.inputs, config.outputs, config.size)
    assert set(task.labels.tolist()) <= set(range(config.classes))
