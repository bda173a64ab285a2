"""Means over Gaussians: oscillating activations, small variances, and each point as if it were alone."""

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


SQUARED_COSINE = Activation(
    "custom",
    lambda z: torch.cos(z) ** 2,
    lambda z: -torch.sin(2 * z),
    lambda z: (-torch.sin(2 * z), -2 * torch.cos(2 * z)),
    odd=False,
)
# phi'^2 = offset + amplitude cos(frequency z), so that its mean is offset + amplitude exp(-frequency^2 s / 2)
OSCILLATING = {
    "sin": ("sin", 0.5, 0.5, 2.0),
    "sin as one's own": (sine(1.0), 0.5, 0.5, 2.0),
    "sin(30 z)": (sine(30.0), 450.0, 450.0, 60.0),
    "cos(z)^2": (SQUARED_COSINE, 0.5, -0.5, 4.0),
}


@pytest.mark.parametrize("name", OSCILLATING)
def test_oscillating_activations_are_right_to_ten_digits_at_400_standard_deviations(name):
    activation, offset, amplitude, frequency = OSCILLATING[name]
    std = 1 + 99 * torch.rand(400, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    layer = InfiniteWidth(activation, weight_std=1.0, bias_std=0.0, dimension=2)
    metric = layer.metric(torch.stack([std, 0 * std], dim=1))
    wave = amplitude * torch.exp(-(frequency**2) * std**2 / 2)
    tangential = offset + wave
    radial = tangential - frequency**2 * std**2 * wave  # m + 2 s m'
    torch.testing.assert_close(metric[:, 1, 1], tangential, rtol=1e-10, atol=0)
    torch.testing.assert_close(metric[:, 0, 0], radial, rtol=1e-10, atol=0)


def test_the_metric_of_sin_at_a_standard_deviation_where_grids_of_a_simple_ratio_alias_alike():
    for activation in ("sin", sine(1.0)):
        metric = InfiniteWidth(activation, 10, 2, 2).metric([1.5, 0.0])
        torch.testing.assert_close(metric, 50 * torch.eye(2, dtype=DOUBLE), rtol=1e-12, atol=1e-12)


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


@pytest.mark.parametrize("activation", ["tanh", "softplus", sine(3.0)], ids=lambda a: getattr(a, "name", a))
def test_a_point_s_values_do_not_depend_on_its_batch(activation):
    layer = InfiniteWidth(activation, 1.0, 0.2, 2)
    radius = torch.tensor([0.01, 0.5, 3.0, 40.0, math.nan], dtype=DOUBLE)
    for compute in (layer.ricci_scalar, layer.log_volume_element, layer.omega):
        together = compute(radius)
        alone = torch.stack([compute(r) for r in radius])
        assert torch.equal(together[:4], alone[:4])
        assert together[4].isnan()
        assert alone[4].isnan()
    x, y = points(4, 2), points(4, 2, seed=2)
    x[3] *= 10
    together = layer.kernel(x, y)
    assert torch.equal(together, torch.stack([layer.kernel(a, b) for a, b in zip(x, y, strict=True)]))


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
        assert math.isclose(layer.omega(0.0, derivative=order), expected, rel_tol=1e-10), order


def test_derivatives_of_omega_of_ones_own_activation_are_right_where_it_oscillates_fast():
    layer = InfiniteWidth(sine(30.0), 1.0, 1e-4, 2)
    tail = 1 / (1 + math.exp(1800 * 1e-8))
    assert math.isclose(layer.omega(0.0, derivative=1), -1800 * tail, rel_tol=1e-10)
    assert math.isclose(layer.omega(0.0, derivative=2), 1800**2 * tail * (1 - tail), rel_tol=1e-9)


def test_closed_forms_belong_to_activations_not_to_names():
    for name in ("erf", "sin", "monomial3", "monomialish", "identity"):
        layer = InfiniteWidth(sine(2.0, name), 1.0, 0.5, 2)
        torch.testing.assert_close(layer.omega(1.0), InfiniteWidth(sine(2.0), 1.0, 0.5, 2).omega(1.0))
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
