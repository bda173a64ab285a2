"""The volume penalty against the geometry library, autograd and finite differences; its bits, and how it ends."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from nngeom_cli.config.optimizer import AdamConfig, SgdConfig
from nngeom_cli.config.task import DigitsConfig, MoonsConfig, XorConfig
from nngeom_cli.geometry import log_effective_volume_element, log_volume_element
from nngeom_cli.tasks.losses import CrossEntropy, Logistic
from nngeom_cli.tasks.make import make_task
from nngeom_cli.tasks.task import Task
from nngeom_cli.training import volume_penalty as module
from nngeom_cli.training.backpropagation import LossGradient
from nngeom_cli.training.batches import Batches
from nngeom_cli.training.loop import batch_generators, initial_generators, train
from nngeom_cli.training.network import initial_network
from nngeom_cli.training.volume_penalty import log_volume_and_dual, penalty_of

MOONS = make_task(MoonsConfig("moons", points=30, noise=0.2, data_seed=0, test_fraction=0.2))
XOR = make_task(XorConfig("xor"))
ADAM = AdamConfig(
    "adam", 0.01, 0.0, 10, None, betas=[0.9, 0.999], eps=1e-8, volume_penalty=-0.05, volume_penalty_where="boundary"
)
SGD = SgdConfig("sgd", 0.05, 1e-3, 10, None, momentum=0.9, volume_penalty=0.3)


def cloud(dimension, outputs, points=11):
    random = torch.Generator().manual_seed(dimension)
    inputs = torch.randn(points, dimension, dtype=torch.float64, generator=random)
    loss = Logistic() if outputs == 1 else CrossEntropy()
    return Task("cloud", inputs, torch.arange(points) % max(outputs, 2), outputs=outputs, loss=loss)


def weights_of(network, config, task):
    """w at each example, from the outputs and their literal derivatives, `(replicates, points)`."""
    if config.volume_penalty_where == "everywhere":
        return torch.ones(network.replicates, len(task.inputs), dtype=torch.float64)
    last = len(network.widths) - 1
    scale = math.sqrt(network.widths[-1])
    found = []
    for one in network.feature_map(last).each():

        def margin(x, one=one):
            outputs = scale * one(x)
            return outputs[0] if len(outputs) == 1 else outputs.topk(2).values.diff()[0]

        threshold = getattr(task.loss, "threshold", 0.0)
        slopes = torch.stack([torch.autograd.functional.jacobian(margin, x) for x in task.inputs])
        margins = torch.stack([margin(x) for x in task.inputs]) - threshold
        found.append(torch.exp(-((margins / slopes.norm(dim=1) / config.volume_penalty_width) ** 2) / 2))
    return torch.stack(found)


def volumes(network, config, task):
    """log V at each example by the geometry library, `(replicates, points)`."""
    layer = config.volume_penalty_layer or len(network.widths) - 2
    rank = min(network.widths[: layer + 1])
    top_k = config.volume_penalty_top_k or rank
    feature_map = network.feature_map(layer)
    if top_k == network.widths[0]:
        return log_volume_element(feature_map, task.inputs)
    return log_effective_volume_element(feature_map, task.inputs, top_k)


CASES = {  # widths of hidden layers, dimension, outputs, changes
    "plane": ([7], 2, 1, {}),
    "line": ([4], 1, 2, {}),
    "deep": ([6, 5, 4], 2, 3, {}),
    "first of two": ([6, 5], 2, 2, {"volume_penalty_layer": 1}),
    "five inputs": ([9], 5, 3, {}),
    "wider than the layer": ([3], 5, 1, {}),
    "bottleneck": ([3, 6], 5, 2, {}),
    "leading": ([6], 4, 3, {"volume_penalty_top_k": 2}),
    "largest": ([6], 2, 2, {"volume_penalty_top_k": 1}),
}


@pytest.mark.parametrize("where", ["everywhere", "boundary"])
@pytest.mark.parametrize("case", CASES)
def test_the_penalty_and_its_gradient_are_those_of_the_geometry_library(case, where):
    hidden, d, outputs, changes = CASES[case]
    task, config = cloud(d, outputs), replace(SGD, volume_penalty_where=where, volume_penalty_width=0.7, **changes)
    parametrization = "ntk" if case in ("deep", "leading") else "standard"
    network = initial_network([d, *hidden, outputs], "tanh", initial_generators(3, 2), parametrization=parametrization)
    weights = weights_of(network, config, task)
    literal = config.volume_penalty * (weights * volumes(network, config, task)).mean(dim=1)
    np.testing.assert_allclose(penalty_of(network, task, config), literal, rtol=1e-11)
    (batch,) = Batches(task, network, None).epoch([])
    plain, both = (LossGradient(network, task.loss, batch, each)().clone() for each in (None, config))
    found = both - plain
    step = 1e-5  # central differences are off by step^2 and rounding / step, 1e-10 each
    for _ in range(4):
        direction = torch.randn(len(found), dtype=torch.float64, generator=torch.Generator().manual_seed(_))
        inside = torch.zeros_like(direction)
        for mine, drawn in zip(network.views(inside), network.views(direction), strict=True):
            mine.copy_(drawn)
        sides = []
        for sign in (1, -1):
            network.parameters.add_(inside, alpha=sign * step)
            sides.append(config.volume_penalty * (weights * volumes(network, config, task)).mean(dim=1))
            network.parameters.sub_(inside, alpha=sign * step)
        quotient = (sides[0] - sides[1]) / (2 * step)
        along = sum((a * b).sum(dim=(1, 2)) for a, b in zip(network.views(found), network.views(inside), strict=True))
        np.testing.assert_allclose(along, quotient, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("activation", ["sigmoid", "softplus", "erf", "gelu", "silu", "sin", "monomial3", "identity"])
def test_the_gradient_is_that_of_autograd(activation):
    network = initial_network([2, 5, 4, 2], activation, initial_generators(1, 1))
    network.parameters.mul_(3)  # into the curved part of the activations
    (batch,) = Batches(MOONS, network, None).epoch([])
    plain, both = (LossGradient(network, MOONS.loss, batch, each)().clone() for each in (None, SGD))

    def penalty(*weights):
        def features(x):
            for layer in weights:
                x = network.activation.value(layer[:, :-1] @ x + layer[:, -1])
            return x / math.sqrt(len(x))

        jacobians = [torch.autograd.functional.jacobian(features, x, create_graph=True) for x in MOONS.inputs]
        return SGD.volume_penalty * sum((J.mT @ J).logdet() / 2 for J in jacobians) / len(jacobians)

    weights = [layer[0].clone().requires_grad_() for layer in network.weights[:2]]
    expected = torch.autograd.grad(penalty(*weights), weights)
    found = network.views(both - plain)
    for mine, theirs in zip(found, expected, strict=False):
        assert (mine[0] - theirs).abs().max() < 1e-11 * theirs.abs().max()
    assert not found[-1].any()  # the output layer has no part in it


def test_the_dual_basis_keeps_its_digits_where_columns_are_nearly_parallel():
    J = torch.tensor([[1.0, 1.0], [0.0, 1e-9], [0.0, 0.0]], dtype=torch.float64)
    log_volume, dual, whole = log_volume_and_dual(J[None, ..., None], 2)
    assert whole
    assert log_volume.item() == pytest.approx(math.log(1e-9), rel=1e-9)
    exact = torch.tensor([[1.0, 0.0], [-1e9, 1e9], [0.0, 0.0]], dtype=torch.float64)
    assert (dual[0, :, :, 0] - exact).norm() < 1e-6 * exact.norm()  # eps times 1e9; the metric itself has no digit left


@pytest.mark.parametrize("activity", [1e-3, 1e-8, 1e-11])
def test_each_row_of_the_dual_basis_keeps_its_digits_where_one_unit_is_active_and_the_others_saturated(activity):
    random = torch.Generator().manual_seed(0)
    J = torch.randn(6, 2, dtype=torch.float64, generator=random)
    J[torch.arange(6) != 3] *= activity  # the gradient of a weight is the row's times the unit's activity
    log_volume, dual, whole = log_volume_and_dual(J[None, ..., None], 2)
    rows = [[Fraction(value) for value in row] for row in J.tolist()]
    a, b, c = (sum(row[i] * row[j] for row in rows) for i, j in ((0, 0), (0, 1), (1, 1)))
    area = a * c - b * b
    exact = torch.tensor([[(c * x - b * y) / area, (a * y - b * x) / area] for x, y in rows], dtype=torch.float64)
    assert whole
    assert log_volume.item() == pytest.approx(math.log(area) / 2, rel=1e-14)
    assert ((dual[0, :, :, 0] - exact).norm(dim=1) < 1e-13 * exact.norm(dim=1)).all()


@pytest.mark.parametrize(("d", "top_k"), [(1, 1), (2, 2), (3, 3), (2, 1)])
def test_a_lower_rank_has_no_gradient_and_an_infinite_value(d, top_k):
    J = torch.ones(2, 4, d, 3, dtype=torch.float64)
    J[0, :, d - 1 if top_k > 1 else slice(None)] = 0.0  # of the first replicate
    J[1] += torch.randn(4, d, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    log_volume, dual, whole = log_volume_and_dual(J, top_k)
    assert not whole
    assert torch.isneginf(log_volume[0]).all()
    assert dual[0].isnan().all()
    assert log_volume[1].isfinite().all()
    assert dual[1].isfinite().all()
    J[1, 0, 0, 1] = torch.nan
    log_volume, dual, whole = log_volume_and_dual(J, top_k)
    assert log_volume[1].isnan().tolist() == [False, True, False]
    assert dual[1].isnan().all(dim=(0, 1)).tolist() == [False, True, False]


def checkpoints(task, hidden, config, seed, replicates, epochs=(0, 3, 10), start=None, **options):
    widths = [task.dimension, *hidden, task.outputs]
    network = initial_network(widths, generators=initial_generators(seed, replicates), **options)
    return list(train(network, task, config, batch_generators(seed, replicates), list(epochs), start))


def same(left, right):
    pairs = [(left.scores[name], right.scores[name]) for name in right.scores]
    pairs += zip(left.weights, right.weights, strict=True)
    for name in right.optimizer:
        pairs += zip(left.optimizer[name], right.optimizer[name], strict=True)
    return all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)


BITS = {
    "plane": (MOONS, [7], ADAM, {"activation": "tanh"}),
    "deep": (MOONS, [5, 16, 3], replace(ADAM, batch_size=7), {"activation": "gelu", "parametrization": "ntk"}),
    "single": (MOONS, [33], replace(SGD, lr=0.01), {"activation": "sigmoid", "dtype": torch.float32}),
    "xor": (XOR, [8], replace(SGD, volume_penalty_where="boundary"), {"activation": "softplus"}),
    "cloud": (cloud(5, 3), [9, 6], replace(SGD, batch_size=4), {"activation": "tanh"}),
    "leading": (cloud(7, 2), [4], replace(ADAM, volume_penalty_top_k=3), {"activation": "erf"}),
}


@pytest.mark.parametrize("case", BITS)
def test_a_replicate_with_a_penalty_is_the_run_of_its_own_seed(case):
    task, hidden, config, options = BITS[case]
    several = checkpoints(task, hidden, config, 0, 5, **options)
    for replicate in (0, 3):
        alone = checkpoints(task, hidden, config, replicate, 1, **options)
        assert all(same(a.block(slice(replicate, replicate + 1)), b) for a, b in zip(several, alone, strict=True))


@pytest.mark.parametrize("case", ["deep", "leading"])
def test_training_with_a_penalty_resumes_with_the_same_bits(case):
    task, hidden, config, options = BITS[case]
    *_, middle, last = checkpoints(task, hidden, config, 0, 2, **options)
    (again,) = checkpoints(task, hidden, config, 0, 2, epochs=[10], start=middle, **options)
    assert same(again, last)


def test_without_a_penalty_nothing_changes_and_nothing_is_recorded():
    plain = checkpoints(MOONS, [6], replace(ADAM, volume_penalty=0.0), 0, 2, activation="tanh")[-1]
    assert plain.penalty is None
    assert "volume_penalty" not in plain.scores
    both = checkpoints(MOONS, [6], ADAM, 0, 2, activation="tanh")[-1]
    assert both.scores["volume_penalty"].shape == (2,)
    assert not np.array_equal(both.weights[0], plain.weights[0])


@pytest.mark.parametrize(("strength", "sign"), [(-0.1, 1), (0.1, -1)])
@pytest.mark.parametrize("where", ["everywhere", "boundary"])
def test_a_negative_penalty_magnifies_and_a_positive_one_shrinks(where, strength, sign):
    config = replace(ADAM, volume_penalty_where=where)
    volume = {}
    for penalty in (0.0, strength):
        last = checkpoints(MOONS, [8], replace(config, volume_penalty=penalty), 0, 3, [60], activation="tanh")[-1]
        network = initial_network([2, 8, 2], "tanh", initial_generators(0, 3))
        network.load(last.weights)
        volume[penalty] = (weights_of(network, config, MOONS) * volumes(network, config, MOONS)).mean(dim=1)
    assert (sign * (volume[strength] - volume[0.0]) > 0).all()


def test_a_layer_that_loses_rank_diverges_and_leaves_the_others_alone():
    task = replace(XOR, inputs=XOR.inputs + 5.0)
    network = initial_network([2, 6, 1], "relu", initial_generators(0, 2))
    network.weights[0][0] = -1.0  # no unit of the first network is active
    network.weights[0][1] = torch.cat([torch.eye(2).repeat(3, 1), torch.ones(6, 1)], dim=1)
    first, last = train(network, task, replace(SGD, lr=1e-3), batch_generators(0, 2), [0, 3])
    assert np.isnan(first.loss).tolist() == np.isnan(last.loss).tolist() == [True, False]
    assert np.isneginf(first.penalty[0])
    assert np.isfinite(last.penalty[1])
    assert np.isnan(last.weights[0][0]).all()


def test_a_point_on_the_boundary_has_full_weight_even_where_the_margin_is_flat():
    network = initial_network([2, 4, 1], "tanh", initial_generators(0, 1))
    network.weights[1].zero_()  # margin and slope are 0 everywhere
    task = Task("flat", MOONS.inputs, MOONS.labels, outputs=1, loss=Logistic())
    near, everywhere = (replace(SGD, volume_penalty_where=where) for where in ("boundary", "everywhere"))
    np.testing.assert_allclose(penalty_of(network, task, near), penalty_of(network, task, everywhere))


def test_the_recorded_penalty_does_not_depend_on_how_many_points_are_taken_at_once(monkeypatch):
    digits = make_task(DigitsConfig("digits"))
    task = replace(digits, inputs=digits.inputs[:50], labels=digits.labels[:50])
    network = initial_network([64, 6, 10], "tanh", initial_generators(0, 2))
    whole = penalty_of(network, task, ADAM)
    monkeypatch.setattr(module, "POINTS_AT_ONCE", 65 * 7)
    np.testing.assert_allclose(penalty_of(network, task, ADAM), whole, rtol=1e-12)
