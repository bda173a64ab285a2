"""Curvature against the textbook (reference.py), charts with known curvature, and the scale laws."""

import math

import pytest
import reference
import torch
from reference import DOUBLE, monkey_saddle, network_function, paraboloid, points, random_network

from nngeom_cli.geometry import (
    MLPFeatureMap,
    condition_number,
    log_volume_element,
    measure,
    pullback_metric,
    ricci_scalar,
    ricci_scalar_error,
)

ALL = ("pullback_metric", "log_volume_element", "condition_number", "ricci_scalar", "ricci_scalar_error")
ORIGIN = torch.zeros(2, dtype=DOUBLE)


def sphere(p):
    return torch.stack([p[0].cos() * p[1].cos(), p[0].cos() * p[1].sin(), p[0].sin()])


def three_sphere(p):
    return torch.cat([p[2].cos() * sphere(p), p[2].sin()[None]])


def test_paraboloid_has_ricci_scalar_8_at_its_vertex():
    torch.testing.assert_close(ricci_scalar(paraboloid, ORIGIN), torch.tensor(8.0, dtype=DOUBLE), rtol=1e-14, atol=0)


def test_unit_spheres_have_ricci_scalar_d_times_d_minus_1():
    x = 0.3 * points(6, 3)
    torch.testing.assert_close(ricci_scalar(sphere, x[:, :2]), torch.full((6,), 2.0, dtype=DOUBLE))
    torch.testing.assert_close(ricci_scalar(three_sphere, x), torch.full((6,), 6.0, dtype=DOUBLE))


@pytest.mark.parametrize("chart", [paraboloid, monkey_saddle, sphere])
def test_charts_agree_with_christoffel_symbols(chart):
    for x in 0.4 * points(5, 2):
        torch.testing.assert_close(pullback_metric(chart, x), reference.metric(chart, x), rtol=1e-13, atol=1e-15)
        torch.testing.assert_close(ricci_scalar(chart, x), reference.scalar(chart, x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("activation", [torch.tanh, torch.sigmoid, torch.sin])
@pytest.mark.parametrize("widths", [[2, 3], [2, 6], [3, 7], [2, 4, 5], [3, 4, 6, 5], [4, 9], [5, 8]])
def test_random_networks_agree_with_christoffel_symbols(widths, activation):
    weights, biases = random_network(widths, seed=sum(widths))
    feature_map = MLPFeatureMap(weights, biases, activation.__name__)
    function = network_function(weights, biases, activation)
    for x in 0.5 * points(2, widths[0]):
        metric = reference.metric(function, x)
        torch.testing.assert_close(pullback_metric(feature_map, x), metric, rtol=1e-11, atol=1e-14)
        torch.testing.assert_close(log_volume_element(feature_map, x), metric.logdet() / 2, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(ricci_scalar(feature_map, x), reference.scalar(function, x), rtol=1e-6, atol=1e-6)
        condition = torch.linalg.cond(metric)
        torch.testing.assert_close(condition_number(feature_map, x), condition, rtol=1e-7, atol=0)


def test_eq_4_as_printed_is_3_times_the_true_riemann_tensor():
    weights, biases = random_network([3, 7], seed=2)
    function = network_function(weights, biases, torch.tanh)
    x = 0.5 * points(3)
    printed, true = reference.riemann_printed_4(function, x), reference.riemann(function, x)
    torch.testing.assert_close(printed, 3 * true, rtol=1e-8, atol=1e-9)


def test_eq_a5_as_printed_is_not_the_curvature_of_the_monkey_saddle():
    x = torch.tensor([0.7, -0.4], dtype=DOUBLE)
    true, printed = reference.riemann_31(monkey_saddle, x), reference.riemann_31_printed(monkey_saddle, x)
    assert (true - printed).abs().max() > 0.1 * true.abs().max()
    metric = reference.metric(monkey_saddle, x)
    lowered = torch.einsum("ml,lnab->mnab", metric, printed)
    assert not math.isclose(reference.scalar_of(lowered, metric), ricci_scalar(monkey_saddle, x), rel_tol=0.1)


@pytest.mark.parametrize("widths", [[2, 2], [3, 3], [2, 5, 2], [1, 4], [1, 1]])
def test_ricci_scalar_and_its_error_are_exactly_zero_when_width_equals_dimension_and_on_curves(widths):
    feature_map = MLPFeatureMap(*random_network(widths, seed=1), "sigmoid")
    x = points(9, widths[0])
    assert torch.equal(ricci_scalar(feature_map, x), torch.zeros(9, dtype=DOUBLE))
    assert torch.equal(ricci_scalar_error(feature_map, x), torch.zeros(9, dtype=DOUBLE))
    assert log_volume_element(feature_map, x).isfinite().all()


@pytest.mark.parametrize("widths", [[3, 2], [2, 1, 5], [2, 4, 1, 5], [4, 3, 6]])
def test_maps_narrower_than_their_input_have_no_volume_and_no_curvature(widths):
    feature_map = MLPFeatureMap(*random_network(widths, seed=1), "sigmoid")
    measured = measure(feature_map, points(9, widths[0]), ALL)
    assert (measured["log_volume_element"] == -math.inf).all()
    assert (measured["condition_number"] == math.inf).all()
    assert measured["ricci_scalar"].isnan().all()
    assert measured["ricci_scalar_error"].isnan().all()
    assert measured["pullback_metric"].isfinite().all()


@pytest.mark.parametrize("activation", ["identity", "relu", "monomial1"])
def test_piecewise_affine_maps_are_flat_between_their_kinks(activation):
    feature_map = MLPFeatureMap(*random_network([2, 30], seed=1), activation)
    measured = measure(feature_map, points(20, 2))
    assert torch.equal(measured["ricci_scalar"], torch.zeros(20, dtype=DOUBLE))
    assert torch.equal(measured["ricci_scalar_error"], torch.zeros(20, dtype=DOUBLE))


@pytest.mark.parametrize("widths", [[2, 6], [3, 5, 7]])
def test_scaling_the_features_by_c_multiplies_volume_by_c_to_the_d_and_divides_curvature_by_c_squared(widths):
    d, c = widths[0], 3.7
    weights, biases = random_network(widths, seed=4)
    function = network_function(weights, biases, torch.sin)
    x = points(5, d)
    once, scaled = measure(function, x, ALL), measure(lambda p: c * function(p), x, ALL)
    volume = once["log_volume_element"] + d * math.log(c)
    torch.testing.assert_close(scaled["log_volume_element"], volume, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(scaled["ricci_scalar"], once["ricci_scalar"] / c**2, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(scaled["condition_number"], once["condition_number"], rtol=1e-9, atol=0)


@pytest.mark.parametrize("names", [("ricci_scalar",), ("log_volume_element", "ricci_scalar_error"), ALL])
def test_measure_gives_what_each_function_gives_alone(names):
    feature_map = MLPFeatureMap(*random_network([3, 5], seed=4), "tanh")
    x = points(4, 3)
    alone = dict(
        zip(ALL, (pullback_metric, log_volume_element, condition_number, ricci_scalar, ricci_scalar_error), strict=True)
    )
    measured = measure(feature_map, x, names)
    assert list(measured) == list(names)
    for name in names:
        assert torch.equal(measured[name], alone[name](feature_map, x))
