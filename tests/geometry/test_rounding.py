"""The estimate of R's rounding error: the gradient that it is made of, and what it covers, in hundreds of digits."""

import math
import random
from itertools import pairwise

import exact
import mpmath
import pytest
import torch
from reference import DOUBLE, points, random_network

from nngeom_cli.geometry import MLPFeatureMap, get_activation, measure
from nngeom_cli.geometry.frame import Frame
from nngeom_cli.geometry.jets import packed_pairs
from nngeom_cli.geometry.rounding import SumRounding
from nngeom_cli.geometry.sensitivity import scalar_gradient

ESTIMATED = ("ricci_scalar", "ricci_scalar_error")


def scalar_by_qr(jacobian, hessian):
    """R of (replicates, n, d, points) and packed Hessians by the Gauss equation with torch's QR."""
    d = jacobian.shape[2]
    square = torch.zeros(d, d, dtype=torch.int64)
    rows, columns = packed_pairs(d, jacobian.device)
    square[rows, columns] = square[columns, rows] = torch.arange(len(rows))
    q, triangle = torch.linalg.qr(jacobian.movedim(-1, 1))
    inverse = torch.linalg.inv(triangle)
    full = torch.einsum("rpca,rncep,rpeb->rpnab", inverse, hessian[:, :, square], inverse)
    form = full - torch.einsum("rpnc,rpmc,rpmab->rpnab", q, q, full)
    trace = form.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    return trace.square().sum(dim=-1) - form.square().sum(dim=(-3, -2, -1))


@pytest.mark.parametrize("stretch", [1.0, 1e-9, 1e40])
@pytest.mark.parametrize("d", [2, 3, 5])
def test_gradient_of_the_ricci_scalar_is_that_of_automatic_differentiation(d, stretch):
    weights, biases = random_network([d, 6, 9], seed=d, replicates=(2,))
    weights[1] = stretch * weights[1]
    jet = MLPFeatureMap(weights, biases, ["tanh", "identity"]).jet(points(6, d), second=True)
    jacobian, hessian = ((part / stretch).clone().requires_grad_() for part in (jet.jacobian, jet.hessian))
    expected = torch.autograd.grad(scalar_by_qr(jacobian, hessian).sum(), (jacobian, hessian))
    *gradient, size = scalar_gradient(Frame(jet, d))
    for mine, automatic in zip(gradient, expected, strict=True):
        values = mine * (size.square() * stretch**3)[:, None, None]  # R is of degree -2
        torch.testing.assert_close(values, automatic, rtol=1e-7, atol=1e-9 * automatic.abs().max().item())


@pytest.mark.parametrize("widths", [[2, 5], [2, 4, 6], [3, 5, 4, 6]])
@pytest.mark.parametrize("activation", ["tanh", "softplus", "gelu", "sin", "monomial3"])
def test_effect_of_rounded_sums_is_the_derivative_for_each_bias_times_the_size_of_its_sum(widths, activation):
    """The function sum_i c_i . J_i + e_i . H_i, c and e random. Sums of derivatives count too, in later layers only."""
    weights, biases = random_network(widths, seed=3)
    network = MLPFeatureMap(weights, biases, activation)
    x = points(1, widths[0], seed=2)
    jet = network.jet(x, second=True)
    gradient = [points(*part.shape, seed=seed) for seed, part in enumerate((jet.jacobian, jet.hessian), 5)]

    def value(moved):
        other = MLPFeatureMap(weights, moved, activation).jet(x, second=True)
        return sum((g * part).sum().item() for g, part in zip(gradient, (other.jacobian, other.hessian), strict=True))

    total, inputs, step = 0.0, x[0], 1e-5
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        for unit, size in enumerate(weight.abs() @ inputs.abs() + bias.abs()):
            shift = step * torch.eye(len(bias), dtype=DOUBLE)[unit]
            there, back = ([*biases[:layer], bias + sign * shift, *biases[layer + 1 :]] for sign in (1, -1))
            total += abs(value(there) - value(back)) / (2 * step) * size.item()
        inputs = get_activation(activation).value(weight @ inputs + bias)
    effect = jet.rounding.effect(*gradient).item()
    if len(widths) == 2:
        assert effect == pytest.approx(total, rel=1e-2)
    else:
        assert 0.99 * total < effect < 6 * total


def test_the_bound_on_the_sums_holds_for_each_of_them():
    weights, biases = random_network([3, 6, 4, 5], seed=1, replicates=(2,))
    x = 100 * points(7, 3)
    network = MLPFeatureMap(weights, biases, "softplus")
    bound = network.jet(x, second=True).rounding.largest_sum()
    values = x.T.expand(2, -1, -1)
    for weight, bias in zip(weights, biases, strict=True):
        assert (weight.abs() @ values.abs() + bias.abs()[..., None] <= bound[:, None] * (1 + 1e-12)).all()
        values = get_activation("softplus").value(weight @ values + bias[..., None])
    assert (bound < 1e5).all()


def off_centre(weights, biases, x, pick, normal):
    offset = 10 ** pick.uniform(0, 6) * normal(len(x))
    biases[0] -= weights[0] @ offset
    return x + offset


def fast_wave(weights, biases, x, pick, normal):
    biases[0] += 10 ** pick.uniform(0, 5) * normal(len(biases[0]))
    return x


def nearly_parallel(weights, biases, x, pick, normal):
    weights[0][:, 1] = weights[0][:, 0] * (1 + 10 ** pick.uniform(-14, -2) * weights[0][:, 1])
    return x


def saturated(weights, biases, x, pick, normal):
    biases[pick.randrange(len(biases))] += pick.choice([-1, 1]) * 10 ** pick.uniform(0, 2)
    return x


def plain(weights, biases, x, pick, normal):
    return x


WAYS = (off_centre, fast_wave, nearly_parallel, saturated, plain)


def spoilt_network(seed):
    """d in 2..3, one to three layers of up to nine units, spoilt in one of `WAYS`."""
    pick, generator = random.Random(seed), torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=DOUBLE)

    d, depth = pick.choice([2, 2, 3]), pick.choice([1, 1, 2, 3])
    widths = [d, *[pick.randint(d, 8) for _ in range(depth - 1)], pick.randint(d + 1, 9)]
    weights = [normal(outputs, inputs) for inputs, outputs in pairwise(widths)]
    biases = [normal(width) for width in widths[1:]]
    way = WAYS[seed % len(WAYS)]
    x = way(weights, biases, normal(d), pick, normal)
    activation = "sin" if way is fast_wave else pick.choice(["tanh", "sigmoid", "softplus", "erf", "gelu"])
    return weights, biases, activation, x


def over_estimates(seeds):
    """How many times the true error the estimate is, for each network whose R is not marked."""
    ratios = {}
    for seed in seeds:
        weights, biases, activation, x = spoilt_network(seed)
        measured = measure(MLPFeatureMap(weights, biases, activation), x, ESTIMATED)
        value, estimate = (measured[name].item() for name in ESTIMATED)
        if math.isnan(value) or math.isinf(estimate):
            continue
        error = float(abs(mpmath.mpf(value) - exact.geometry(weights, biases, activation, x)[1]))
        if error > 1e-300:  # not below the range of floats
            ratios[seed] = estimate / max(error, abs(value) * torch.finfo(DOUBLE).eps / 2)
    return ratios


def check_cover(ratios, least):
    assert len(ratios) >= least
    assert min(ratios.values()) >= 0.1, min(ratios, key=ratios.get)
    assert torch.tensor(list(ratios.values())).median() <= 1000


def test_the_estimated_error_covers_the_true_one_where_sums_are_far_larger_than_what_is_left_of_them():
    check_cover(over_estimates(range(30)), least=28)


@pytest.mark.slow
def test_the_estimated_error_covers_the_true_one_on_six_hundred_networks():
    check_cover(over_estimates(range(600)), least=560)


def network_far_from_its_inputs(activation, offset, shift, width=8):
    weights, biases = random_network([2, width], seed=4, scale=2.0)
    off = torch.full((2,), offset, dtype=DOUBLE)
    return [weights[0]], [biases[0] - weights[0] @ off + shift], activation, points(2) + off


@pytest.mark.parametrize(("activation", "offset", "shift"), [("tanh", 1e6, 0.0), ("tanh", 1e4, 0.0), ("sin", 0.0, 1e5)])
def test_a_point_far_from_the_origin_or_of_a_large_preactivation_carries_the_error_of_its_sums(
    activation, offset, shift
):
    weights, biases, activation, x = network_far_from_its_inputs(activation, offset, shift)
    measured = measure(MLPFeatureMap(weights, biases, activation), x, ESTIMATED)
    error = float(abs(mpmath.mpf(measured["ricci_scalar"].item()) - exact.geometry(weights, biases, activation, x)[1]))
    estimate = measured["ricci_scalar_error"].item()
    assert error / 10 <= estimate <= 1000 * error
    assert estimate < 1e-3 * abs(measured["ricci_scalar"].item())


def test_a_plane_far_from_the_origin_carries_the_error_of_its_own_biases():
    weights, biases, activation, x = network_far_from_its_inputs("tanh", 1e6, 0.0)
    centre, sides = x - points(2), torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=DOUBLE)
    plane = MLPFeatureMap(weights, biases, activation).restricted_to(centre, sides)
    measured = measure(plane, points(2), ESTIMATED)
    scalar = exact.geometry(weights, biases, activation, centre + points(2) @ sides)[1]
    error = float(abs(mpmath.mpf(measured["ricci_scalar"].item()) - scalar))
    assert error / 10 <= measured["ricci_scalar_error"].item() <= 1000 * error


def test_the_estimate_at_a_point_does_not_depend_on_the_others():
    weights, biases = random_network([2, 6, 5], seed=4, replicates=(2,))
    network = MLPFeatureMap(weights, biases, "tanh")
    x = torch.cat([points(3, 2), 1e3 * points(3, 2, seed=2)])
    together = measure(network, x, ESTIMATED)["ricci_scalar_error"]
    alone = torch.stack([measure(network, point, ESTIMATED)["ricci_scalar_error"] for point in x], dim=1)
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=0, equal_nan=True)


def test_ordinary_points_need_no_pass_back_through_the_network(monkeypatch):
    def refuse(self, by_jacobian, by_hessian):
        raise AssertionError

    monkeypatch.setattr(SumRounding, "effect", refuse)
    weights, biases = random_network([2, 8, 8], seed=4)
    measure(MLPFeatureMap(weights, biases, "sigmoid"), points(40, 2), ESTIMATED)
    with pytest.raises(AssertionError):
        measure(MLPFeatureMap(weights, biases, "sigmoid"), 1e3 * points(40, 2), ESTIMATED)


def errors_of_float32(widths, activation, scale):
    """Of the log volume, at 50 points of each of five networks; infinite where float32 finds none."""
    errors = []
    for seed in range(5):
        weights, biases = random_network(widths, seed, scale=scale)
        weights, biases, x = [w.float() for w in weights], [b.float() for b in biases], points(50, widths[0]).float()
        exactly = MLPFeatureMap([w.double() for w in weights], [b.double() for b in biases], activation)
        volume = measure(MLPFeatureMap(weights, biases, activation), x, ["log_volume_element"])["log_volume_element"]
        truth = measure(exactly, x.double(), ["log_volume_element"])["log_volume_element"]
        errors.append((volume.double() - truth)[truth.isfinite()].abs())
    return torch.cat(errors)


@pytest.mark.parametrize("activation", ["tanh", "erf", "softplus"])
@pytest.mark.parametrize("widths", [[2, 8], [2, 64, 64], [5, 40]])
def test_log_volume_in_float32_is_good_to_2e_6_with_ordinary_weights(widths, activation):
    assert errors_of_float32(widths, activation, 1.0).max() < 2e-6


def test_log_volume_in_float32_can_be_off_or_missing_where_units_saturate():
    errors = errors_of_float32([2, 8, 8], "erf", 10.0)
    assert errors.isinf().any()
    assert errors[errors.isfinite()].max() > 1e-4
