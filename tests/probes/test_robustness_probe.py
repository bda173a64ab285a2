"""Distances from a decision boundary against closed forms and against all points of a fine grid."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_data_probe import DATA, network_for
from test_model import modules_like

from nngeom_cli.config.optimizer import AdamConfig
from nngeom_cli.config.task import DigitsConfig, MoonsConfig
from nngeom_cli.geometry import MLPFeatureMap
from nngeom_cli.models.modules import Modules
from nngeom_cli.probes.make import make_probe
from nngeom_cli.probes.robustness import boundary_distances
from nngeom_cli.tasks.losses import CrossEntropy, Logistic, MeanSquaredError
from nngeom_cli.tasks.make import make_task
from nngeom_cli.training.loop import batch_generators, initial_generators, train
from nngeom_cli.training.network import initial_network

DISTANCES = ("first_order_distance", "distance_along_gradient", "adversarial_distance")
MOONS = make_task(MoonsConfig("moons", points=60, noise=0.3, data_seed=0))


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def planes(weight, bias):
    """Linear outputs."""
    return MLPFeatureMap([weight], [bias], "identity")


def sphere(d):
    """One output, |x|^2 - 1."""
    squares = 3**0.5 * torch.ones(1, d, dtype=torch.float64)  # monomial2 is z^2 / sqrt(3)
    weights, biases = [torch.eye(d, dtype=torch.float64), squares], [squares[0] * 0, -torch.ones_like(squares[0, :1])]
    return MLPFeatureMap(weights, biases, ["monomial2", "identity"])


@pytest.mark.parametrize("loss", [Logistic(), MeanSquaredError(threshold=0.5)])
def test_all_distances_from_a_plane_are_the_closed_form(loss):
    normal, offset, x = random(5), 0.3, 2 * random(40, 5, seed=1)
    found = boundary_distances(planes(normal[None], torch.full((1,), offset, dtype=torch.float64)), loss, x)
    exact = (x @ normal + offset - getattr(loss, "threshold", 0.0)).abs() / normal.norm()
    for name in DISTANCES:
        torch.testing.assert_close(found[name], exact, rtol=1e-9, atol=0)


@pytest.mark.parametrize(("classes", "d"), [(2, 4), (5, 4), (10, 64)])
def test_the_attack_finds_the_nearest_of_several_planes(classes, d):
    weight, bias, x = random(classes, d), random(classes, seed=1), 3 * random(60, d, seed=2)
    found = boundary_distances(planes(weight, bias), CrossEntropy(), x)
    outputs = x @ weight.T + bias
    own = outputs.argmax(dim=1)
    ahead = outputs.gather(1, own[:, None]) - outputs
    faces = (ahead / (weight[own][:, None] - weight).norm(dim=2)).scatter(1, own[:, None], math.inf)
    torch.testing.assert_close(found["adversarial_distance"], faces.amin(dim=1), rtol=1e-9, atol=0)
    second = ahead.scatter(1, own[:, None], math.inf).argmin(dim=1)
    assert classes == 2 or (faces.argmin(dim=1) != second).any()  # the runner-up need not be the nearest
    to_second = faces.gather(1, second[:, None])[:, 0]
    torch.testing.assert_close(found["first_order_distance"], to_second, rtol=1e-9, atol=0)


@pytest.mark.parametrize("d", [2, 6])
def test_distances_from_a_sphere_are_those_along_its_radius(d):
    x = random(50, d) / d**0.5
    found = boundary_distances(sphere(d), Logistic(), x)
    radius = x.norm(dim=1)
    exact = (radius - 1).abs()
    for name in DISTANCES[1:]:
        torch.testing.assert_close(found[name], exact, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found["first_order_distance"], (radius**2 - 1).abs() / (2 * radius), rtol=1e-9, atol=0)


@pytest.fixture(scope="module")
def trained():
    """Networks with a boundary that bends, trained to the end."""
    network = initial_network([2, 12, 2], "tanh", initial_generators(0, 2))
    adam = AdamConfig("adam", 0.03, 0.0, 600, None, betas=[0.9, 0.999], eps=1e-8)
    list(train(network, MOONS, adam, batch_generators(0, 2), [600]))
    return network


def test_the_attack_comes_as_near_as_the_nearest_point_of_a_fine_grid(trained):
    axis = torch.linspace(-4, 5, 601, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).reshape(-1, 2)
    diagonal = 2**0.5 * float(axis[1] - axis[0])
    classes, own = (MOONS.loss.predict(trained.outputs(points)) for points in (grid, MOONS.inputs))
    for replicate, one in enumerate(trained.output_map().each()):
        found = boundary_distances(one, MOONS.loss, MOONS.inputs)
        attack, along = found["adversarial_distance"], found["distance_along_gradient"]
        nearest = torch.stack(
            [
                (grid[classes[replicate] != label] - x).norm(dim=1).min()
                for x, label in zip(MOONS.inputs, own[replicate], strict=True)
            ]
        )
        assert (attack <= nearest).all()  # which changes the prediction too
        assert (attack >= nearest - diagonal).all()
        assert (along.isnan() | (along >= attack)).all()
        assert (along > attack * 1.01).any()  # the boundary bends


def test_a_network_that_predicts_one_class_has_no_distance():
    network = network_for(MOONS, [4], "tanh", replicates=1)
    network.weights[1][0] = 0.0
    network.weights[1][0, 0, -1] = 1.0  # class 0 everywhere, and flat
    measured = make_probe(replace(DATA, robustness=True), MOONS, 7)(network)
    assert np.isinf(measured.first_order_distance).all()
    assert measured.distance_along_gradient.isnull().all()
    assert measured.adversarial_distance.isnull().all()


def test_a_network_without_numbers_has_no_distance():
    network = network_for(MOONS, [4], "tanh")
    network.weights[0][0] = torch.nan
    measured = make_probe(replace(DATA, robustness=True), MOONS, 7)(network)
    for name in DISTANCES:
        assert measured[name].isel(replicate=0).isnull().all()
        assert measured[name].isel(replicate=1).dims == ("point",)
    assert measured.adversarial_distance.isel(replicate=1).notnull().all()


def test_an_example_on_the_boundary_has_distance_0():
    x = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    found = boundary_distances(planes(x[1:], x[0, :1]), Logistic(), x)
    assert [found[name][0].item() for name in DISTANCES] == [0.0, 0.0, 0.0]


@pytest.mark.filterwarnings("ignore:The feature map uses:UserWarning")
def test_modules_have_the_distances_of_the_same_networks_of_the_runner():
    task = make_task(DigitsConfig("digits"))
    network = network_for(task, [5, 3])
    modules = Modules(list(modules_like(network)), ["1"], task.inputs[0])
    config = replace(DATA, points=5, top_k=2, robustness=True)
    own, foreign = (make_probe(config, task, seed=7)(model) for model in (network, modules))
    for name in DISTANCES:
        assert own[name].dims == ("replicate", "point")
        np.testing.assert_allclose(foreign[name], own[name], rtol=1e-6)
