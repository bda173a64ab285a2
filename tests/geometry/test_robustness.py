"""An attack on the numerics: each case ends as a right value, a documented NaN or infinity, or a clear error."""

import math

import exact
import mpmath
import pytest
import torch
from reference import DOUBLE, paraboloid, points, random_network

from nngeom_cli.geometry import (
    MLPFeatureMap,
    log_effective_volume_element,
    measure,
    metric_spectrum,
    ricci_scalar,
)
from nngeom_cli.geometry.quantities import QUANTITIES

SCALARS = ("log_volume_element", "condition_number", "ricci_scalar", "ricci_scalar_error")


def check_against_exact(weights, biases, activation, x, digits=None):
    """R within ten times its estimated error, log volume within its own; `digits` that R must have at least."""
    measured = measure(MLPFeatureMap(weights, biases, activation), x, SCALARS)
    volume, scalar = exact.geometry(weights, biases, activation, x)
    value, estimate = measured["ricci_scalar"].item(), measured["ricci_scalar_error"].item()
    error = abs(mpmath.mpf(value) - scalar)
    assert error <= 10 * mpmath.mpf(estimate) + mpmath.mpf(10) ** -320
    assert abs(mpmath.mpf(measured["log_volume_element"].item()) - volume) < 1e-9 * max(1, abs(volume))
    if digits is not None:
        assert error <= mpmath.mpf(10) ** -digits * abs(scalar)
    return measured


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "softplus", "erf", "gelu"])
@pytest.mark.parametrize("depth", [0.0, 5.0, 12.0, 16.0, 20.0])
def test_saturated_units_give_right_values(activation, depth):
    weights, biases = random_network([2, 6], seed=4)
    sign = -1 if activation in ("softplus", "gelu") else 1
    biases[0] = sign * (depth + biases[0])
    check_against_exact(weights, biases, activation, points(2), digits=10)


def test_sigmoid_is_right_until_its_curvature_leaves_the_range_of_floats():
    weights, biases = random_network([2, 6], seed=4)
    for depth in (40.0, 150.0, 300.0):
        check_against_exact(weights, [biases[0] + depth], "sigmoid", points(2), digits=10)
    beyond = measure(MLPFeatureMap(weights, [biases[0] + 500], "sigmoid"), points(2))
    assert math.isclose(
        beyond["log_volume_element"], exact.geometry(weights, [biases[0] + 500], "sigmoid", points(2))[0]
    )
    assert not beyond["ricci_scalar"].isfinite()
    gone = measure(MLPFeatureMap(weights, [biases[0] + 800], "sigmoid"), points(2))
    assert gone["log_volume_element"] == -math.inf
    assert gone["ricci_scalar"].isnan()


@pytest.mark.parametrize("angle", [1e-2, 1e-4, 1e-6, 1e-8])
@pytest.mark.parametrize("activation", ["sigmoid", "gelu"])
def test_nearly_parallel_weights_give_right_values_within_the_estimated_error(angle, activation):
    weights, biases = random_network([2, 7], seed=5)
    weights[0][:, 1] = weights[0][:, 0] * (1 + angle * weights[0][:, 1])
    measured = measure(MLPFeatureMap(weights, biases, activation), points(2), SCALARS)
    volume, scalar = exact.geometry(weights, biases, activation, points(2))
    assert abs(measured["ricci_scalar"].item() - scalar) <= 10 * measured["ricci_scalar_error"].item()
    assert abs(measured["log_volume_element"].item() - volume) < 1e-15 / angle * 10
    assert measured["condition_number"] > 1e-2 / angle**2


@pytest.mark.parametrize("activation", ["sigmoid", "softplus"])
def test_parallel_weights_are_rank_deficient(activation):
    weights, biases = random_network([2, 7], seed=5)
    weights[0][:, 1] = 3 * weights[0][:, 0]
    measured = measure(MLPFeatureMap(weights, biases, activation), points(40, 2), SCALARS)
    assert (measured["log_volume_element"] == -math.inf).all()
    assert (measured["condition_number"] == math.inf).all()
    assert measured["ricci_scalar"].isnan().all()
    assert measured["ricci_scalar_error"].isnan().all()


def test_three_columns_in_a_plane_are_rank_deficient():
    weights, biases = random_network([3, 9], seed=5)
    weights[0][:, 2] = weights[0][:, 0] - 2 * weights[0][:, 1]
    measured = measure(MLPFeatureMap(weights, biases, "tanh"), points(40, 3), SCALARS)
    assert measured["ricci_scalar"].isnan().all()
    assert (measured["log_volume_element"] == -math.inf).all()


def test_duplicated_units_give_right_values():
    weights, biases = random_network([2, 6], seed=6)
    weights[0][3:], biases[0][3:] = weights[0][:3].clone(), biases[0][:3].clone()
    check_against_exact(weights, biases, "tanh", points(2), digits=10)


def test_duplicates_of_d_units_are_flat_within_the_estimated_error():
    weights, biases = random_network([2, 6], seed=6)
    for copy in (2, 4):
        weights[0][copy : copy + 2], biases[0][copy : copy + 2] = weights[0][:2].clone(), biases[0][:2].clone()
    measured = measure(MLPFeatureMap(weights, biases, "sigmoid"), points(50, 2), SCALARS)
    assert (measured["ricci_scalar"].abs() <= 10 * measured["ricci_scalar_error"]).all()
    assert (measured["ricci_scalar_error"] > 0).all()


def test_zero_weights_have_no_volume_and_dead_units_do_no_harm():
    weights, biases = random_network([2, 6], seed=6)
    measured = measure(MLPFeatureMap([0 * weights[0]], biases, "tanh"), points(3, 2), SCALARS)
    assert (measured["log_volume_element"] == -math.inf).all()
    assert measured["ricci_scalar"].isnan().all()
    weights[0][4:] = 0
    check_against_exact(weights, biases, "tanh", points(2), digits=10)


@pytest.mark.parametrize("scale", [1e-150, 1e-80, 1e80, 1e150])
@pytest.mark.parametrize("widths", [[2, 6], [3, 5, 7]])
def test_rescaled_inputs_leave_curvature_and_shift_the_volume(scale, widths):
    weights, biases = random_network(widths, seed=7)
    x = points(5, widths[0])
    plain = measure(MLPFeatureMap(weights, biases, "tanh"), x, SCALARS)
    scaled = measure(MLPFeatureMap([scale * weights[0], *weights[1:]], biases, "tanh"), x / scale, SCALARS)
    shift = widths[0] * math.log(scale)
    torch.testing.assert_close(scaled["log_volume_element"], plain["log_volume_element"] + shift, rtol=1e-9, atol=1e-9)
    difference = (scaled["ricci_scalar"] - plain["ricci_scalar"]).abs()
    assert (difference <= 10 * plain["ricci_scalar_error"]).all()
    torch.testing.assert_close(scaled["condition_number"], plain["condition_number"], rtol=1e-6, atol=0)


def test_inputs_in_wildly_different_units_leave_curvature():
    weights, biases = random_network([2, 6], seed=7)
    units = torch.tensor([1e150, 1e-150], dtype=DOUBLE)
    x = points(5, 2)
    plain = measure(MLPFeatureMap(weights, biases, "tanh"), x, SCALARS)
    scaled = measure(MLPFeatureMap([weights[0] * units], biases, "tanh"), x / units, SCALARS)
    torch.testing.assert_close(scaled["log_volume_element"], plain["log_volume_element"], rtol=1e-9, atol=1e-9)
    assert ((scaled["ricci_scalar"] - plain["ricci_scalar"]).abs() <= 10 * plain["ricci_scalar_error"]).all()


@pytest.mark.parametrize("scale", [1e-150, 1e-70, 1e70, 1e150])
def test_rescaled_features_divide_curvature_by_the_square_of_the_scale(scale):
    x = points(5, 2)
    plain = measure(paraboloid, x, SCALARS)
    scaled = measure(lambda p: scale * paraboloid(p), x, SCALARS)
    expected = plain["ricci_scalar"] / scale / scale
    torch.testing.assert_close(scaled["ricci_scalar"], expected, rtol=1e-12, atol=1e-300)
    volume = plain["log_volume_element"] + 2 * math.log(scale)
    torch.testing.assert_close(scaled["log_volume_element"], volume, rtol=1e-13, atol=1e-11)


def test_derivatives_beyond_the_range_of_floats_are_nan():
    weights, biases = random_network([2, 4, 5, 6], seed=7)
    measured = measure(MLPFeatureMap([1e200 * w for w in weights], biases, "identity"), points(3, 2), SCALARS)
    for name in SCALARS:
        assert measured[name].isnan().all(), name


def quantities(d):
    """The names of all quantities of a map with d inputs; only a path, d = 1, has a `path_curvature`."""
    return tuple(name for name in QUANTITIES if d == 1 or name != "path_curvature")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("feature_map", [paraboloid, MLPFeatureMap(*random_network([2, 5], seed=1), "sigmoid")])
def test_nan_and_infinity_in_x_give_nan_there_and_nowhere_else(bad, feature_map):
    x = points(4, 2)
    clean = measure(feature_map, x, quantities(2))
    x[2, 1] = bad
    spoilt = measure(feature_map, x, quantities(2))
    rest = [0, 1, 3]
    for name in clean:
        assert spoilt[name][2].isnan().all(), name
        torch.testing.assert_close(spoilt[name][rest], clean[name][rest], rtol=1e-12, atol=1e-13, equal_nan=True)
    assert metric_spectrum(feature_map, x, 2)[2].isnan().all()


def test_nan_in_the_weights_gives_nan():
    weights, biases = random_network([2, 5], seed=1, replicates=(2,))
    weights[0][1, 3, 0] = math.nan
    measured = measure(MLPFeatureMap(weights, biases, "sigmoid"), points(4, 2), quantities(2))
    for name, values in measured.items():
        assert values[1].isnan().all(), name
        assert values[0].isfinite().all(), name
    assert log_effective_volume_element(MLPFeatureMap(weights, biases, "sigmoid"), points(4, 2), 2)[1].isnan().all()


@pytest.mark.parametrize("widths", [[1, 1], [1, 5], [2, 1], [3, 1, 4], [1, 1, 1]])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_one_unit_and_one_input_are_dimensions_like_any_other(widths, activation):
    feature_map = MLPFeatureMap(*random_network(widths, seed=2), activation)
    measured = measure(feature_map, points(6, widths[0]), quantities(widths[0]))
    assert all(values.shape[0] == 6 for values in measured.values())
    if widths[0] > 1:
        assert (measured["log_volume_element"] == -math.inf).all()
    elif activation == "tanh":
        assert measured["log_volume_element"].isfinite().all()
        assert torch.equal(measured["ricci_scalar"], torch.zeros(6, dtype=DOUBLE))


def test_every_quantity_of_an_empty_batch_is_empty():
    for feature_map in (paraboloid, MLPFeatureMap(*random_network([2, 5, 4], seed=1), "sigmoid")):
        for name, values in measure(feature_map, points(0, 2), quantities(2)).items():
            assert values.shape[0] == 0, name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.complex128])
def test_dtypes_without_enough_digits_are_refused(dtype):
    with pytest.raises(TypeError, match=r"`x` must be float32 or float64\. Got"):
        ricci_scalar(paraboloid, torch.zeros(2).to(dtype))
    weights, biases = random_network([2, 5], seed=1)
    with pytest.raises(TypeError, match=r"`weights` must be float32 or float64\. Got"):
        MLPFeatureMap([weights[0].to(dtype)], [biases[0].to(dtype)], "tanh")
