"""Means over Gaussians: kernels of oscillating activations, small variances, what is NaN, and closed forms."""

import math

import mpmath
import numpy as np
import pytest
import torch
from reference import DOUBLE, points

from nngeom_cli.geometry import Activation, InfiniteWidth, get_activation


def sine(frequency, name="custom"):
    def derivatives(z):
        return frequency * torch.cos(frequency * z), -(frequency**2) * torch.sin(frequency * z)

    return Activation(name, lambda z: torch.sin(frequency * z), lambda z: derivatives(z)[0], derivatives, odd=True)


@pytest.mark.parametrize("frequency", [1.0, 30.0])
@pytest.mark.parametrize("std", [0.3, 2.0, 20.0])
def test_kernels_of_oscillating_activations_are_those_of_their_characteristic_function(frequency, std):
    layer = InfiniteWidth(sine(frequency), std, 0.5, 2)
    x = points(6, 2)
    for y in (points(6, 2, seed=2), x, -x, x + 1e-6):
        a, b, c = (std**2 * (u * v).sum(-1) + 0.25 for u, v in ((x, x), (y, y), (x, y)))
        square = frequency**2
        expected = (torch.exp(square * (c - (a + b) / 2)) - torch.exp(-square * (c + (a + b) / 2))) / 2
        torch.testing.assert_close(layer.kernel(x, y), expected, rtol=0, atol=1e-9)


def test_the_kernel_of_sin_keeps_its_digits_at_any_size():
    layer = InfiniteWidth("sin", 100.0, 1.0, 2)
    x = points(4, 2)
    torch.testing.assert_close(layer.kernel(x, x), torch.full((4,), 0.5, dtype=DOUBLE))
    near = layer.kernel(x, x + torch.tensor([1e-3, 0.0], dtype=DOUBLE))
    torch.testing.assert_close(near, torch.full((4,), math.exp(-0.005) / 2, dtype=DOUBLE), rtol=1e-11, atol=0)
    assert (layer.kernel(x, -x) < 0).all()
    torch.testing.assert_close(layer.kernel(x, -x), torch.full((4,), -math.exp(-2) / 2, dtype=DOUBLE))


@pytest.mark.parametrize("activation", ["tanh", "sin", "erf", sine(3.0)], ids=lambda a: getattr(a, "name", a))
def test_radii_and_points_that_are_nan_or_infinite_give_nan_there_alone(activation):
    layer = InfiniteWidth(activation, 1.0, 0.2, 2)
    radius = torch.tensor([0.01, 0.5, 3.0, math.nan], dtype=DOUBLE)
    for compute in (layer.ricci_scalar, layer.log_volume_element, layer.omega):
        assert torch.equal(compute(radius)[:3], compute(radius[:3]))
        assert compute(radius)[3].isnan()
        assert compute(radius[3:]).isnan().all()
    x = points(3, 2)
    x[1, 0] = math.nan
    assert layer.kernel(x, points(2)).isnan().tolist() == [False, True, False]


SLOPES = {
    "tanh": lambda z: mpmath.sech(z) ** 2,
    "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)) / (1 + mpmath.exp(z)),
    "softplus": lambda z: 1 / (1 + mpmath.exp(-z)),
    "gelu": lambda z: mpmath.ncdf(z) + z * mpmath.npdf(z),
    "silu": lambda z: (1 + z / (1 + mpmath.exp(z))) / (1 + mpmath.exp(-z)),
}


def omegas(slope, std):
    """Omega' and Omega'' at weight std 1 and |x| = 0, by moments of phi'^2 under the Gaussian, in 60 digits."""
    with mpmath.workdps(60):
        variance, step = mpmath.mpf(std) ** 2, mpmath.mpf(1) / 8
        sums = [mpmath.mpf(0)] * 3
        for j in range(-160, 161):
            u = j * step
            weight = mpmath.exp(-u * u / 2) * slope(std * u) ** 2
            for place, factor in enumerate((1, (u**2 - 1) / 2, (u**4 - 6 * u**2 + 3) / 4)):
                sums[place] += factor * weight
        mean, first, second = sums[0], sums[1] / variance, sums[2] / variance**2
        return float(first / mean), float(second / mean - (first / mean) ** 2)


@pytest.mark.parametrize("std", [1e-8, 1e-6, 1e-4, 1e-2, 0.3, 1.0])
@pytest.mark.parametrize("name", SLOPES)
def test_derivatives_of_omega_keep_ten_digits_down_to_the_smallest_variances(name, std):
    layer = InfiniteWidth(name, 1.0, std, 2)
    for order, expected in enumerate(omegas(SLOPES[name], std), start=1):
        assert math.isclose(layer.omega(torch.tensor(0.0, dtype=DOUBLE), derivative=order), expected, rel_tol=1e-10), (
            order
        )


def test_derivatives_of_omega_of_ones_own_activation_are_right_where_it_oscillates_fast():
    layer = InfiniteWidth(sine(30.0), 1.0, 1e-4, 2)
    tail = 1 / (1 + math.exp(1800 * 1e-8))
    assert math.isclose(layer.omega(torch.tensor(0.0, dtype=DOUBLE), derivative=1), -1800 * tail, rel_tol=1e-10)
    assert math.isclose(
        layer.omega(torch.tensor(0.0, dtype=DOUBLE), derivative=2), 1800**2 * tail * (1 - tail), rel_tol=1e-9
    )


def test_closed_forms_belong_to_activations_not_to_names():
    for name in ("erf", "sin", "monomial3", "monomialish", "identity"):
        layer = InfiniteWidth(sine(2.0, name), 1.0, 0.5, 2)
        one = torch.tensor(1.0, dtype=DOUBLE)
        torch.testing.assert_close(layer.omega(one), InfiniteWidth(sine(2.0), 1.0, 0.5, 2).omega(one))
    relu = get_activation("relu")
    own = Activation("relu", relu.value, relu.first, relu.derivatives, odd=False, smooth=False)
    with pytest.raises(ValueError, match="`activation` must be smooth, or relu"):
        InfiniteWidth(own, 1.0, 0.0, 2)


def test_integer_radii_are_numbers_like_others():
    layer = InfiniteWidth("erf", 1.0, 0.5, 2)
    for compute in (layer.ricci_scalar, layer.log_volume_element, layer.omega):
        expected = compute(torch.tensor([1.0, 2.0], dtype=DOUBLE))
        for radius in (torch.tensor([1, 2]), np.array([1, 2]), [1, 2], range(1, 3)):
            assert torch.equal(compute(radius), expected)
    with pytest.raises(ValueError, match=r"`dimension` must be an integer of at least 1\. Got 2\.5"):
        InfiniteWidth("erf", 1.0, 0.5, 2.5)
