"""The curvature of a path's image in feature space."""

import math

import mpmath
import pytest
import torch
from mpmath import mpf
from reference import DOUBLE, points, random_network

from nngeom_cli.geometry import MLPFeatureMap, log_volume_element, measure, path_curvature

T = torch.linspace(-1, 1, 7, dtype=DOUBLE)[:, None]


def helix(t, radius=2.0, pitch=0.5):
    return torch.cat([radius * t.cos(), radius * t.sin(), pitch * t])


@pytest.mark.parametrize(("radius", "pitch"), [(2.0, 0.0), (2.0, 0.5), (1e-3, 7.0)])
def test_curvature_of_a_helix(radius, pitch):
    expected = torch.full((7,), radius / (radius**2 + pitch**2), dtype=DOUBLE)
    torch.testing.assert_close(path_curvature(lambda t: helix(t, radius, pitch), T), expected, rtol=1e-11, atol=0)


def test_curvature_does_not_depend_on_the_speed():
    fast = path_curvature(lambda t: helix(t.sinh() * 3), T)
    torch.testing.assert_close(fast, torch.full((7,), 2 / 4.25, dtype=DOUBLE), rtol=1e-11, atol=0)


def test_features_c_times_as_long_have_a_curvature_c_times_as_small():
    torch.testing.assert_close(path_curvature(lambda t: 4 * helix(t), T), path_curvature(helix, T) / 4)


@pytest.mark.parametrize("power", [0, 3, 6])
def test_a_path_that_hardly_turns_keeps_its_digits(power):
    """x = e^(50 t), y = c sin(t): the acceleration along the path is up to 1e6 times that across it."""
    c, t = 10.0**-power, 0.3
    with mpmath.workdps(60):
        grown = mpmath.exp(50 * mpf(t))
        v = [50 * grown, mpf(c) * mpmath.cos(mpf(t))]
        a = [2500 * grown, -mpf(c) * mpmath.sin(mpf(t))]
        expected = abs(v[0] * a[1] - v[1] * a[0]) / (v[0] ** 2 + v[1] ** 2) ** mpf(1.5)
    curve = lambda t: torch.cat([(50 * t).exp(), c * t.sin()])  # noqa: E731
    measured = path_curvature(curve, torch.tensor([t], dtype=DOUBLE))
    assert measured.item() == pytest.approx(float(expected), rel=1e-8)


def test_curvature_is_the_textbook_formula_for_networks_with_replicates():
    feature_map = MLPFeatureMap(*random_network([5, 7, 6], seed=1, replicates=(3,)), "tanh")
    line = feature_map.restricted_to(points(5), points(1, 5, seed=2))
    jet = line.jet(T, second=True)
    unit = jet.unit[:, 0].unsqueeze(-1)  # (replicates, 1, 1)
    v, a = jet.jacobian[:, :, 0] / unit, jet.hessian[:, :, 0] / unit**2
    squared = (a.square().sum(1) * v.square().sum(1) - (v * a).sum(1) ** 2) / v.square().sum(1) ** 3
    measured = path_curvature(line, T)
    assert measured.shape == (3, 7)
    torch.testing.assert_close(measured, squared.sqrt(), rtol=1e-9, atol=0)


def test_a_great_circle_has_the_curvature_of_its_circle_and_a_straight_image_none():
    circle = path_curvature(lambda t: 3 * torch.cat([t.cos(), t.sin(), 0 * t]), T)
    torch.testing.assert_close(circle, torch.full((7,), 1 / 3, dtype=DOUBLE))
    straight = path_curvature(lambda t: torch.cat([t.exp(), 2 * t.exp()]), T)
    assert (straight < 1e-13).all()
    single = MLPFeatureMap(*random_network([2, 4, 1], seed=3), ["tanh", "identity"])
    assert (path_curvature(single.restricted_to(points(2), points(1, 2)), T) == 0).all()


def test_features_that_stand_still_have_no_curvature():
    assert path_curvature(lambda t: torch.cat([t**2, t**3]), torch.zeros(1, dtype=DOUBLE)).isnan()


@pytest.mark.parametrize("size", [1e-200, 1e-9, 1e150])
def test_curvature_of_tiny_and_huge_features_stays_in_range(size):
    measured = path_curvature(lambda t: size * helix(t), T)
    torch.testing.assert_close(measured * size, torch.full((7,), 2 / 4.25, dtype=DOUBLE), rtol=1e-11, atol=0)


def test_it_is_measured_beside_the_speed():
    measured = measure(helix, T, ("log_volume_element", "path_curvature"))
    torch.testing.assert_close(measured["log_volume_element"], torch.full((7,), math.log(4.25) / 2, dtype=DOUBLE))
    torch.testing.assert_close(measured["log_volume_element"], log_volume_element(helix, T))


def test_a_map_of_more_inputs_is_refused():
    with pytest.raises(ValueError, match=r"`feature_map` must have one input.*Got 2\."):
        path_curvature(lambda p: torch.stack([p[0], p[1], p @ p]), points(2))
