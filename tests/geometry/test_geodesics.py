"""Shortest paths in the metric of a feature map, against those that are known."""

import math

import numpy as np
import pytest
import torch
from reference import DOUBLE, christoffel, network_function, points, random_network

from nngeom_cli.geometry import (
    InfiniteWidth,
    MLPFeatureMap,
    ModuleFeatureMap,
    PredictionFeatureMap,
    distance,
    geodesic,
    pullback_metric,
)
from nngeom_cli.geometry.tridiagonal import solve_tridiagonal


def sphere(p):
    """The unit sphere by polar angle and longitude."""
    return torch.stack([p[0].sin() * p[1].cos(), p[0].sin() * p[1].sin(), p[0].cos()])


def tensor(numbers):
    return torch.tensor(numbers, dtype=DOUBLE)


PAIRS = [([1.0, 0.0], [1.0, 2.0]), ([1.2, 0.0], [0.7, 3.0]), ([0.3, 0.0], [2.9, 0.1])]


@pytest.mark.parametrize(("start", "end"), PAIRS)
def test_geodesics_of_a_sphere_are_arcs_of_great_circles(start, end):
    found = geodesic(sphere, start, end)
    one, other = sphere(tensor(start)), sphere(tensor(end))
    angle = torch.acos(one @ other)
    assert found.converged
    assert abs(found.length - angle) < 1e-7
    assert abs(found.length - angle) < found.error < 1e-3 * angle
    normal = torch.linalg.cross(one, other)
    on_sphere = torch.stack([sphere(point) for point in found.points])
    assert (on_sphere @ (normal / normal.norm())).abs().max() < 1e-5


def test_error_of_the_length_falls_as_the_fourth_power_and_its_estimate_as_the_square():
    start, end = PAIRS[0]
    angle = torch.acos(sphere(tensor(start)) @ sphere(tensor(end)))
    few, many = (geodesic(sphere, start, end, segments=segments) for segments in (16, 32))
    assert ((few.length - angle) / (many.length - angle)).item() == pytest.approx(16, rel=0.2)
    assert (few.error / many.error).item() == pytest.approx(4, rel=0.05)


def test_geodesics_of_a_flat_map_are_straight_also_where_the_plane_is_rolled_up():
    cylinder = lambda p: torch.stack([p[0].cos(), p[0].sin(), p[1]])  # noqa: E731
    start, end = tensor([0.0, 0.0]), tensor([2.0, 1.5])
    found = geodesic(cylinder, start, end)
    assert found.length.item() == pytest.approx(2.5, abs=1e-6)
    assert found.straight.item() == pytest.approx(2.5, abs=1e-9)
    expected = start + torch.linspace(0, 1, 65).double()[:, None] * (end - start)
    torch.testing.assert_close(found.points, expected, rtol=0, atol=1e-6)


def test_distance_of_a_linear_map_is_that_of_the_images():
    linear = points(5, 3)
    start, end = points(4, 3, seed=2), points(3, seed=4)
    lengths = ((end - start) @ linear.T).norm(dim=1)
    torch.testing.assert_close(distance(lambda p: linear @ p, start, end), lengths, rtol=1e-12, atol=0)


def wide_layer(weight_std, bias_std):
    """Features whose inner product is the kernel of an infinitely wide layer of erf on the plane, by quadrature."""
    radii, mass = np.polynomial.laguerre.laggauss(10)  # of |w|^2 / 2, w standard normal in the plane
    offsets, density = np.polynomial.hermite_e.hermegauss(9)
    angles = torch.arange(15, dtype=DOUBLE) * 2 * math.pi / 15
    mass, density = tensor(mass), tensor(density / np.sqrt(2 * np.pi))
    weights = (2 * tensor(radii)).sqrt()[:, None, None] * torch.stack([angles.cos(), angles.sin()], dim=1)
    weight = (weight_std * weights)[:, None].expand(-1, 9, -1, -1).reshape(-1, 2)
    bias = bias_std * tensor(offsets)[None, :, None].expand(10, -1, 15).reshape(-1)
    share = (mass[:, None, None] * density[None, :, None] / 15).expand(-1, -1, 15).reshape(-1)
    return lambda p: share.sqrt() * torch.erf((weight @ p + bias) / math.sqrt(2))


def test_radial_geodesics_at_infinite_width_have_the_integral_of_the_radial_stretch():
    theory = InfiniteWidth("erf", weight_std=0.4, bias_std=0.5, dimension=2)
    features = wide_layer(0.4, 0.5)
    x = tensor([0.4, 0.3])
    torch.testing.assert_close(pullback_metric(features, x), theory.metric(x), rtol=1e-6, atol=1e-7)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    radius = 0.75 + 0.5 * tensor(nodes)
    on_axis = torch.stack([radius, 0 * radius], dim=1)
    expected = 0.5 * (tensor(weights) * theory.metric(on_axis)[:, 0, 0].sqrt()).sum()
    direction = tensor([0.8, 0.6])
    found = geodesic(features, 0.25 * direction, 1.25 * direction, segments=16)
    assert found.converged
    torch.testing.assert_close(found.length, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(found.straight, expected, rtol=1e-7, atol=0)


NETWORKS = {
    "wide": lambda: MLPFeatureMap(*random_network([2, 8, 8], seed=1, replicates=(3,)), "tanh"),
    "more inputs than units": lambda: MLPFeatureMap(*random_network([4, 3], seed=2), "sigmoid"),
    "prediction": lambda: PredictionFeatureMap(
        MLPFeatureMap(*random_network([2, 6, 3], seed=3, replicates=(2,)), ["tanh", "identity"])
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_length_lies_between_the_chord_and_the_straight_path(name):
    feature_map = NETWORKS[name]()
    d = feature_map.dimensions(points(2)).inputs if name != "more inputs than units" else 4
    found = geodesic(feature_map, points(2, d, seed=5), points(2, d, seed=6), segments=32)
    assert found.length.shape == (*feature_map.replicates, 2)
    assert found.points.shape == (*feature_map.replicates, 2, 33, d)
    assert found.converged.all()
    assert (found.chord <= found.length + found.error).all()
    assert (found.length <= found.straight + found.error).all()


@pytest.mark.parametrize("segments", [8, 16, 32, 64])
@pytest.mark.parametrize("steepness", [3.0, 10.0, 40.0])
def test_error_covers_a_step_that_the_polygons_do_not_follow_closely(segments, steepness):
    """A ruled surface: its geodesics across the rulings are as long as the curve (x, tanh(c x), 0)."""
    step = lambda p: torch.stack([p[0], (steepness * p[0]).tanh(), p[1]])  # noqa: E731
    x = torch.linspace(-1, 0.9, 20001).double()
    found = geodesic(step, [-1.0, 0.0], [0.9, 0.0], segments=segments)
    expected = torch.trapezoid((1 + (steepness / (steepness * x).cosh().square()).square()).sqrt(), x)
    assert found.converged
    assert abs(found.length - expected) <= found.error


def test_distance_of_predictions_is_twice_the_angle_between_the_roots_of_their_probabilities():
    """Rao's distance on the simplex, all of which three logits of two inputs reach."""
    logits = MLPFeatureMap([torch.eye(3, 2, dtype=DOUBLE)], [torch.zeros(3, dtype=DOUBLE)], "identity")
    prediction = PredictionFeatureMap(logits)
    start, end = 3 * points(4, 2, seed=5), 3 * points(4, 2, seed=6)
    roots = prediction(start) / 2, prediction(end) / 2
    angle = torch.acos((roots[0] * roots[1]).sum(dim=1))
    torch.testing.assert_close(distance(prediction, start, end), 2 * angle, rtol=1e-6, atol=0)


def test_path_found_solves_the_geodesic_equation():
    """x'' = -Gamma(x', x') with Christoffel symbols from derivatives of the metric; differences are off by O(1/N^2)."""
    weights, biases = random_network([2, 8], seed=4)
    feature_map = MLPFeatureMap(weights, biases, "tanh")
    literal = network_function(weights, biases, torch.tanh)
    residuals = []
    for segments in (16, 32):
        path = geodesic(feature_map, points(2, seed=5), points(2, seed=6), segments=segments).points
        velocity = (path[2:] - path[:-2]) * segments / 2
        acceleration = (path[2:] - 2 * path[1:-1] + path[:-2]) * segments**2
        symbols = torch.stack([christoffel(literal, x) for x in path[1:-1]])
        bent = torch.einsum("prmn,pm,pn->pr", symbols, velocity, velocity)
        residuals.append((acceleration + bent).norm(dim=1).max() / acceleration.norm(dim=1).max())
    assert residuals[1] < 0.02
    assert (residuals[0] / residuals[1]).item() == pytest.approx(4, rel=0.2)


def test_replicates_are_those_of_each_network_alone():
    weights, biases = random_network([2, 5], seed=1, replicates=(2,))
    start, end = points(2, seed=5), points(2, seed=6)
    together = distance(MLPFeatureMap(weights, biases, "tanh"), start, end, segments=8)
    second = MLPFeatureMap([w[1] for w in weights], [b[1] for b in biases], "tanh")
    torch.testing.assert_close(together[1], distance(second, start, end, segments=8), rtol=1e-12, atol=0)


def test_sixty_four_inputs_of_a_module():
    model = torch.nn.Sequential(torch.nn.Linear(64, 80), torch.nn.Tanh()).double()
    feature_map = ModuleFeatureMap(model, "1")
    found = geodesic(feature_map, points(64), points(64, seed=2), segments=8)
    assert found.converged
    assert found.chord <= found.length <= found.straight


def test_no_shorter_path_is_near():
    feature_map = MLPFeatureMap(*random_network([2, 8, 8], seed=4), "tanh")
    found = geodesic(feature_map, points(2, seed=5), points(2, seed=6), segments=16)

    def energy(path):
        return feature_map(path).diff(dim=0).square().sum()

    for seed in range(10):
        moved = found.points.clone()
        moved[1:-1] += 1e-3 * points(15, 2, seed=seed)
        assert energy(moved) > energy(found.points)


def test_a_path_that_does_not_converge_is_said():
    """The straight path over the tip of a cone meets a point without derivatives."""
    cone = lambda p: torch.stack([p[0], p[1], 3 * (p @ p).sqrt()])  # noqa: E731
    start, end = tensor([[-1.0, 0.0], [-1.0, 0.5]]), tensor([1.0, 0.0])
    with pytest.warns(UserWarning, match=r"1 of 2 geodesics did not converge") as said:
        found = geodesic(cone, start, end, segments=8)
    with pytest.warns(UserWarning, match=r"1 of 2 geodesics did not converge") as again:
        lengths = distance(cone, start, end, segments=8)
    assert found.converged.tolist() == [False, True]
    assert lengths.isnan().tolist() == [True, False]
    assert [each.filename for each in [*said, *again]] == [__file__] * 2


def test_a_cone_that_is_rolled_out_has_straight_geodesics():
    """It rolls out to a sector whose angle is that of the cone times the sine of the half angle at its tip."""
    cone = lambda p: torch.stack([p[0], p[1], (p @ p).sqrt()])  # noqa: E731
    found = geodesic(cone, [1.0, 0.0], [0.0, 2.0])
    one, other, angle = math.sqrt(2), 2 * math.sqrt(2), math.pi / 2 / math.sqrt(2)
    expected = math.sqrt(one**2 + other**2 - 2 * one * other * math.cos(angle))
    assert found.length.item() == pytest.approx(expected, rel=1e-6)


def test_points_that_are_not_finite_have_no_distance():
    start = tensor([[0.0, 0.0], [math.nan, 0.0], [1.0, math.inf]])
    found = geodesic(sphere, start, tensor([1.0, 1.0]), segments=8)
    assert found.converged.tolist() == [True, False, False]
    assert found.length.isnan().tolist() == [False, True, True]


def test_no_points_have_no_distances():
    assert distance(sphere, torch.zeros(0, 2).double(), [1.0, 1.0], segments=8).shape == (0,)


def test_a_point_has_no_distance_from_itself():
    assert distance(sphere, [1.0, 2.0], [1.0, 2.0], segments=8) == 0


@pytest.mark.parametrize(
    ("start", "end", "segments", "words"),
    [
        ([0.0, 0.0], [1.0, 1.0], 12, "`segments` must be a multiple of 8. Got 12"),
        (torch.zeros(2, 2), torch.zeros(3, 2), 8, "`start` and `end` must have shapes that broadcast"),
    ],
)
def test_bad_input_is_refused(start, end, segments, words):
    with pytest.raises(ValueError, match=words):
        geodesic(sphere, start, end, segments=segments)


def test_block_tridiagonal_systems_have_the_solution_of_the_whole_matrix():
    root = torch.zeros(2, 12, 12, dtype=DOUBLE)
    for i in range(4):
        root[:, 3 * i : 3 * i + 3, 3 * i : 3 * (i + 2)] = points(2, 3, 6, seed=i)[..., : 12 - 3 * i]
    matrix = root.mT @ root + 0.1 * torch.eye(12).double()
    blocks = matrix.unflatten(2, (4, 3)).unflatten(1, (4, 3))  # (systems, block, row, block, column)
    diagonal = torch.stack([blocks[:, i, :, i] for i in range(4)], dim=1)
    beside = torch.stack([blocks[:, i, :, i + 1] for i in range(3)], dim=1)
    right = points(2, 4, 3, seed=9)
    solution, definite = solve_tridiagonal(diagonal, beside, right)
    assert definite.all()
    expected = torch.linalg.solve(matrix, right.flatten(1))
    torch.testing.assert_close(solution.flatten(1), expected, rtol=1e-9, atol=1e-11)
    assert not solve_tridiagonal(diagonal - 100 * torch.eye(3).double(), beside, right)[1].any()


def test_in_the_directions_of_a_narrow_first_layer_the_paths_are_those_in_all_of_them():
    weights, biases = random_network([9, 4, 12], seed=5)
    narrow = MLPFeatureMap(weights, biases, "tanh")
    start, end = points(2, 9, seed=6)
    whole, few, one = (geodesic(narrow, start, end, segments=16, directions=count) for count in (None, 5, 1))
    assert torch.allclose(few.length, whole.length, rtol=1e-9)
    assert torch.allclose(one.length, one.straight, rtol=1e-3)
    assert (one.length > few.length - few.error - one.error).all()
    assert torch.allclose(few.points[[0, -1]], torch.stack([start, end]), atol=1e-12)
    with pytest.raises(ValueError, match=r"`directions` must be at least 1, or None for all of them. Got 0."):
        geodesic(narrow, start, end, directions=0)


def test_a_path_does_not_run_along_a_direction_that_is_hardly_stretched():
    # without x_2 the straight path is shortest; along it a shift by 1e5 would shorten the path by a little
    bowl = lambda p: torch.stack([p[0], p[1].cosh() - 1, (p[0] + 1e-5 * p[1] * (p[0] - 1)).sin()])  # noqa: E731
    found = geodesic(bowl, [0.0, 0.0], [2.0, 0.0], segments=8, directions=2)
    assert found.points[:, 1].abs().max() < 1e-12
