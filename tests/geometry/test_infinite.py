"""The infinite-width layer: golden values, the paper's closed forms, quadrature, and finite networks near it."""

import math

import mpmath
import pytest
import torch
from reference import DOUBLE, doubles, golden, points

from nngeom_cli.geometry import (
    PAPER_CURVATURE_FACTOR,
    Activation,
    InfiniteWidth,
    MLPFeatureMap,
    get_activation,
    log_volume_element,
    pullback_metric,
    ricci_scalar,
)

ENTRIES = golden("golden.json")["infinite"]
RADII = torch.tensor([0.05, 0.4, 1.0, 2.3, 7.0], dtype=DOUBLE)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry['activation']}-{entry['d']}")
def test_infinite_width_meets_the_golden_file(entry):
    layer = InfiniteWidth(entry["activation"], entry["sigma"], entry["zeta"], entry["d"])
    radius = doubles(entry["radius"])
    measured = {
        "log_volume_element": layer.log_volume_element(radius),
        "ricci_scalar": layer.ricci_scalar(radius),
        "Omega": layer.omega(radius),
        "dOmega": layer.omega(radius, derivative=1),
        "d2Omega": layer.omega(radius, derivative=2),
    }
    for field, value in measured.items():
        torch.testing.assert_close(value, doubles(entry[field]), rtol=1e-10, atol=0)


@pytest.mark.parametrize("d", [2, 3, 10])
@pytest.mark.parametrize(("sigma", "zeta"), [(1.0, 0.5), (1.5, 0.2), (0.7, 0.0)])
def test_eq_b28_as_printed_is_3_times_ours(d, sigma, zeta):
    s = sigma**2 * RADII**2 + zeta**2
    printed = -3 * math.pi * (d - 1) * (d + 2) * sigma**2 * RADII**2 / (2 * (2 * zeta**2 + 1) * (1 + 2 * s).sqrt())
    ours = InfiniteWidth("erf", sigma, zeta, d).ricci_scalar(RADII)
    torch.testing.assert_close(printed, PAPER_CURVATURE_FACTOR * ours, rtol=1e-13, atol=0)


def test_eq_b27_holds_with_exponent_d_plus_2_over_4_not_as_printed():
    d, sigma, zeta = 3, 1.2, 0.4
    base = 1 + 2 * (sigma**2 * RADII**2 + zeta**2)
    front = (2 * sigma**2 / math.pi) ** (d / 2) * math.sqrt(2 * zeta**2 + 1)
    ours = InfiniteWidth("erf", sigma, zeta, d).log_volume_element(RADII)
    torch.testing.assert_close(ours, (front / base ** ((d + 2) / 4)).log(), rtol=1e-13, atol=1e-13)
    assert not torch.allclose(ours, (front / base ** ((d - 2) / 4)).log(), rtol=1e-2)


@pytest.mark.parametrize("d", [2, 3, 10])
@pytest.mark.parametrize("q", [1, 2, 3, 5])
def test_eqs_b31_and_b32_for_monomials_the_latter_printed_3_times_ours(q, d):
    sigma, zeta = 1.3, 0.6
    sr = sigma**2 * RADII**2
    layer = InfiniteWidth(f"monomial{q}", sigma, zeta, d)
    volume = (1 + 2 * (q - 1) * sr / (sr + zeta**2)).sqrt() * (
        q**2 * sigma**2 * (sr + zeta**2) ** (q - 1) / (2 * q - 1)
    ) ** (d / 2)
    torch.testing.assert_close(layer.log_volume_element(RADII), volume.log(), rtol=1e-12, atol=1e-12)
    printed = -3 * (d - 1) * (q - 1) ** 2 * (2 * q - 1) * sr * ((d + 2) * zeta**2 + (d - 2) * (2 * q - 1) * sr)
    printed = printed / (q**2 * (sr + zeta**2) ** q * ((2 * q - 1) * sr + zeta**2) ** 2)
    torch.testing.assert_close(printed, PAPER_CURVATURE_FACTOR * layer.ricci_scalar(RADII), rtol=1e-12, atol=0)


def test_eq_b33_for_monomials_without_bias_is_printed_3_times_ours():
    sigma, d, q = 1.3, 5, 3
    printed = -3 * (d - 1) * (d - 2) * (q - 1) ** 2 / (q**2 * (sigma**2 * RADII**2) ** q)
    ours = InfiniteWidth(f"monomial{q}", sigma, 0.0, d).ricci_scalar(RADII)
    torch.testing.assert_close(printed, PAPER_CURVATURE_FACTOR * ours, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["erf", "tanh", "gelu", "softplus", "monomial3"])
@pytest.mark.parametrize("d", [2, 5])
def test_eq_9_as_printed_is_3_times_ours(name, d):
    layer = InfiniteWidth(name, 1.1, 0.5, d)
    r2, omega = RADII**2, [layer.omega(RADII, derivative=order) for order in range(3)]
    bracket = d + 2 + 2 * r2 * ((d - 2) * omega[1] + 2 * omega[2] / omega[1])
    printed = -3 * (d - 1) * (-omega[0]).exp() * omega[1] ** 2 * r2 / (1 + 2 * r2 * omega[1]) ** 2 * bracket
    torch.testing.assert_close(printed, PAPER_CURVATURE_FACTOR * layer.ricci_scalar(RADII), rtol=1e-9, atol=1e-12)


def unnamed(name):
    """The same activation under a name that no closed form knows, so that it goes through quadrature."""
    activation = get_activation(name)
    return Activation("unnamed", activation.value, activation.first, activation.derivatives, odd=activation.odd)


@pytest.mark.parametrize("name", ["erf", "identity", "monomial2", "monomial3"])
def test_quadrature_agrees_with_closed_forms(name):
    exact, numeric = InfiniteWidth(name, 1.2, 0.3, 3), InfiniteWidth(unnamed(name), 1.2, 0.3, 3)
    for order in range(3):
        expected = exact.omega(RADII, derivative=order)
        torch.testing.assert_close(numeric.omega(RADII, derivative=order), expected, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(numeric.ricci_scalar(RADII), exact.ricci_scalar(RADII), rtol=1e-11, atol=1e-13)
    x, y = points(4, 3, seed=1), points(4, 3, seed=2)
    torch.testing.assert_close(numeric.kernel(x, y), exact.kernel(x, y), rtol=1e-11, atol=1e-12)


def oscillating(frequency):
    """phi(z) = sin(frequency z), whose metric and kernel are known, under a name that no closed form knows."""

    def derivatives(z):
        return frequency * torch.cos(frequency * z), -(frequency**2) * torch.sin(frequency * z)

    return Activation("unnamed", lambda z: torch.sin(frequency * z), lambda z: derivatives(z)[0], derivatives, odd=True)


def cosine_squared():
    """phi(z) = cos(z)^2 = (1 + cos(2 z)) / 2."""

    def derivatives(z):
        return -torch.sin(2 * z), -2 * torch.cos(2 * z)

    return Activation("unnamed", lambda z: z.cos() ** 2, lambda z: derivatives(z)[0], derivatives, odd=False)


def metric_of_wave(frequency, sign, sigma, zeta, x):
    """g for phi'^2 = c^2 (1 + sign cos(2 c z)) / 2, from the characteristic function of z, in 30 digits.

    E[phi'^2 w w^T] = c^2 sigma^2 / 2 (1 + sign e^{-2 c^2 s} (1 - 4 c^2 sigma^2 x x^T)).
    """
    with mpmath.workdps(30):
        c, sigma, x = mpmath.mpf(frequency), mpmath.mpf(sigma), [mpmath.mpf(value) for value in x.tolist()]
        s = sigma**2 * sum(value**2 for value in x) + mpmath.mpf(zeta) ** 2
        damped = sign * mpmath.exp(-2 * c**2 * s)
        front = c**2 * sigma**2 / 2

        def entry(i, j):
            return front * ((1 + damped) * (i == j) - damped * 4 * c**2 * sigma**2 * x[i] * x[j])

        return torch.tensor([[float(entry(i, j)) for j in range(len(x))] for i in range(len(x))], dtype=DOUBLE)


def test_the_metric_of_sin_far_out_is_that_of_its_mean_slope():
    metric = InfiniteWidth("sin", 10, 2, 2).metric(torch.tensor([1.5, 0.0], dtype=DOUBLE))
    torch.testing.assert_close(metric, 50 * torch.eye(2, dtype=DOUBLE), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("activation", "frequency", "sign"),
    [("sin", 1, 1), (oscillating(1), 1, 1), (oscillating(30), 30, 1), (cosine_squared(), 2, -0.25)],
    ids=["sin", "sin by quadrature", "sin(30 z)", "cos(z)^2"],
)
def test_metrics_of_oscillating_activations_are_right_at_any_size_of_the_weights(activation, frequency, sign):
    """cos(z)^2 has phi'^2 = sin(2 z)^2 = (1 - cos(4 z)) / 2: c = 2 and a quarter of the front."""
    front, sign = (0.25, -1) if sign < 0 else (1.0, sign)
    random = torch.Generator().manual_seed(0)
    for sigma, zeta, first, second in torch.rand(400, 4, dtype=DOUBLE, generator=random).tolist():
        sigma, zeta = 100**sigma, 3 * zeta
        x = torch.tensor([3 * first - 1.5, 3 * second - 1.5], dtype=DOUBLE)
        expected = front * metric_of_wave(frequency, sign, sigma, zeta, x)
        actual = InfiniteWidth(activation, sigma, zeta, 2).metric(x)
        assert ((actual - expected).abs().max() / expected.abs().max()).item() < 1e-10


@pytest.mark.parametrize("place", [0.37, -0.05, 3.1415])
@pytest.mark.parametrize("steepness", [30, 300, 1000, 1e5])
def test_a_step_between_the_nodes_is_found_or_refused(steepness, place):
    """phi(z) = erf(a (z - c)): E[phi'^2] = 4 a^2 / pi e^(-2 a^2 c^2 / (1 + 4 a^2 s)) / sqrt(1 + 4 a^2 s)."""

    def derivatives(z):
        slope = 2 * steepness / math.pi**0.5 * torch.exp(-((steepness * (z - place)) ** 2))
        return slope, -2 * steepness**2 * (z - place) * slope

    step = Activation(
        "step", lambda z: torch.erf(steepness * (z - place)), lambda z: derivatives(z)[0], derivatives, odd=False
    )
    layer = InfiniteWidth(step, weight_std=1.0, bias_std=0.0, dimension=2)
    if steepness > 1e4:
        with pytest.raises(ValueError, match=r"`radius` .* must be .* 262144 quadrature nodes"):
            layer.omega(1.0)
        return
    spread = 1 + 4 * steepness**2
    exponent = -2 * steepness**2 * place**2 / spread
    expected = math.log(4 * steepness**2 / math.pi) - math.log(spread) / 2 + exponent
    assert layer.omega(1.0).item() == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("name", ["sin", "unnamed"])
def test_the_kernel_of_sin_is_that_of_its_characteristic_function(name):
    x, y = points(6, 2, seed=1), points(6, 2, seed=2)
    for sigma, zeta in ((1.2, 0.3), (12.0, 0.0), (60.0, 2.0)):
        layer = InfiniteWidth("sin" if name == "sin" else unnamed("sin"), sigma, zeta, 2)
        one, other, mixed = (sigma**2 * (a * b).sum(-1) + zeta**2 for a, b in ((x, x), (y, y), (x, y)))
        expected = (torch.exp(mixed - (one + other) / 2) - torch.exp(-mixed - (one + other) / 2)) / 2
        torch.testing.assert_close(layer.kernel(x, y), expected, rtol=1e-11, atol=1e-12)


def test_omega_and_curvature_of_sin_are_those_of_quadrature():
    exact, numeric = InfiniteWidth("sin", 1.2, 0.3, 3), InfiniteWidth(unnamed("sin"), 1.2, 0.3, 3)
    radii = RADII[:4]
    for order in range(3):
        expected = exact.omega(radii, derivative=order)
        torch.testing.assert_close(numeric.omega(radii, derivative=order), expected, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(numeric.ricci_scalar(radii), exact.ricci_scalar(radii), rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("name", ["tanh", "gelu", "softplus", "sin", "erf"])
def test_a_value_does_not_depend_on_the_others_of_its_batch(name):
    layer, radii = InfiniteWidth(name, 3.0, 0.5, 2), torch.logspace(-3, 1.5, 40, dtype=DOUBLE)
    x = radii[:, None] * torch.tensor([0.6, 0.8], dtype=DOUBLE)
    for measured in (layer.log_volume_element, layer.ricci_scalar, layer.omega):
        assert torch.equal(measured(radii), torch.stack([measured(radius) for radius in radii]))
    assert torch.equal(layer.metric(x), torch.stack([layer.metric(point) for point in x]))
    few = x[::8]
    assert torch.equal(layer.kernel(few, few / 2), torch.stack([layer.kernel(point, point / 2) for point in few]))


@pytest.mark.parametrize("name", ["tanh", "gelu", "sigmoid"])
def test_ricci_scalar_keeps_its_digits_from_tiny_to_large_radius(name):
    layer = InfiniteWidth(name, 1.0, 0.0, 2)
    tiny = layer.ricci_scalar(torch.tensor([1e-6, 1e-5, 1e-4], dtype=DOUBLE))
    torch.testing.assert_close(tiny[1:] / tiny[:-1], torch.full((2,), 100.0, dtype=DOUBLE), rtol=1e-6, atol=0)
    assert layer.ricci_scalar(torch.zeros(1, dtype=DOUBLE)) == 0
    assert layer.ricci_scalar(torch.tensor(300.0, dtype=DOUBLE)).isfinite()


@pytest.mark.parametrize("name", ["erf", "tanh", "relu", "monomial2", "softplus"])
def test_metric_follows_from_the_kernel_by_eq_b4(name):
    layer = InfiniteWidth(name, 1.1, 0.6, 2)
    x = torch.tensor([0.7, -0.4], dtype=DOUBLE)
    step = 1e-3

    def hessian(function):
        shifts = step * torch.eye(2, dtype=DOUBLE)
        corners = [[function(x + a + b) + function(x - a - b) for b in shifts] for a in shifts]
        sides = [[function(x + a - b) + function(x - a + b) for b in shifts] for a in shifts]
        return (doubles(corners) - doubles(sides)) / (4 * step**2)

    metric = hessian(lambda y: layer.kernel(y, y)) / 2 - hessian(lambda y: layer.kernel(x, y))
    torch.testing.assert_close(layer.metric(x), metric, rtol=0, atol=1e-3 if name == "relu" else 1e-5)


@pytest.mark.parametrize("d", [2, 4])
def test_volume_element_is_that_of_the_metric_and_depends_on_the_radius_alone(d):
    layer = InfiniteWidth("gelu", 1.1, 0.4, d)
    x = points(5, d)
    expected = layer.metric(x).logdet() / 2
    torch.testing.assert_close(layer.log_volume_element(x.norm(dim=-1)), expected, rtol=1e-12, atol=1e-12)
    radial = torch.einsum("za,zab,zb->z", x, layer.metric(x), x) / x.square().sum(-1)
    omega, slope = (layer.omega(x.norm(dim=-1), derivative=order) for order in (0, 1))
    torch.testing.assert_close(radial, omega.exp() * (1 + 2 * x.square().sum(-1) * slope), rtol=1e-12, atol=0)


def test_relu_has_kernel_metric_and_volume_but_no_curvature():
    layer = InfiniteWidth("relu", 2.0, 0.0, 3)
    x = points(3)
    torch.testing.assert_close(layer.kernel(x, x), 2 * x.square().sum(), rtol=1e-12, atol=0)
    torch.testing.assert_close(layer.metric(x), 2 * torch.eye(3, dtype=DOUBLE))
    torch.testing.assert_close(layer.log_volume_element(x.norm()), torch.tensor(1.5 * math.log(2), dtype=DOUBLE))
    with pytest.raises(ValueError, match=r"`activation` must be smooth to have a curvature\. Got 'relu'"):
        layer.ricci_scalar(x.norm())


def networks(activation, width, count, sigma, zeta, d, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weights = sigma * torch.randn(count, width, d, generator=generator, dtype=DOUBLE)
    biases = zeta * torch.randn(count, width, generator=generator, dtype=DOUBLE)
    return MLPFeatureMap([weights], [biases], activation)


@pytest.mark.parametrize("width", [4, 64])
@pytest.mark.parametrize("activation", ["erf", "softplus"])
def test_mean_metric_of_finite_networks_is_the_infinite_one_at_any_width(activation, width):
    x = torch.tensor([0.9, -0.5], dtype=DOUBLE)
    metrics = pullback_metric(networks(activation, width, 4000, 1.0, 0.5, 2), x)
    error = metrics.mean(dim=0) - InfiniteWidth(activation, 1.0, 0.5, 2).metric(x)
    assert (error.abs() <= 4 * metrics.std(dim=0) / math.sqrt(len(metrics))).all()


def test_log_volume_and_curvature_approach_infinite_width_with_a_bias_of_order_1_over_n_and_spread_of_1_over_root_n():
    x = torch.tensor([1.2, -1.2], dtype=DOUBLE)
    layer = InfiniteWidth("erf", 1.0, 0.5, 2)
    limits = layer.log_volume_element(x.norm()), layer.ricci_scalar(x.norm())
    widths = [16, 64, 256, 1024]
    for compute, limit in zip((log_volume_element, ricci_scalar), limits, strict=True):
        values = torch.stack([compute(networks("erf", n, 600, 1.0, 0.5, 2, seed=n), x) for n in widths])
        bias, noise = (values.median(dim=1).values - limit).abs(), values.std(dim=1) / math.sqrt(600)
        for small, large, error in zip(bias, bias[1:], noise[1:], strict=False):
            assert large < small / 2 + 3 * error  # a quarter, at order 1/n
        spread = values.quantile(0.75, dim=1) - values.quantile(0.25, dim=1)
        ratios = spread[1:-1] / spread[2:]
        assert ((ratios > 1.6) & (ratios < 2.5)).all()  # 2, at order 1/sqrt(n)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("tanhh", 1.0, 0.5, 2), r"`activation` must be one of"),
        (("tanh", 0.0, 0.5, 2), r"`weight_std` must be positive"),
        (("tanh", math.inf, 0.5, 2), r"`weight_std` must be positive"),
        (("tanh", 1.0, -0.5, 2), r"`bias_std` must be at least 0"),
        (("tanh", 1.0, math.nan, 2), r"`bias_std` must be at least 0"),
        (("tanh", 1.0, 0.5, 0), r"`dimension` must be an integer of at least 1"),
    ],
)
def test_wrong_layers_are_refused_in_a_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        InfiniteWidth(*arguments)


def test_other_misuse_is_refused_in_a_sentence():
    layer = InfiniteWidth("tanh", 1.0, 0.0, 2)
    with pytest.raises(ValueError, match=r"`derivative` must be 0, 1 or 2"):
        layer.omega(RADII, derivative=3)
    with pytest.raises(ValueError, match=r"`radius` must be positive .* `bias_std` is 0\. Got 0"):
        layer.omega(torch.zeros(1, dtype=DOUBLE), derivative=1)
    with pytest.raises(ValueError, match=r"`x` must have shape \(\*batch, 2\)"):
        layer.metric(points(3))
    kinked = Activation("kinked", torch.relu, torch.relu, lambda z: (z, z), odd=False, smooth=False)
    with pytest.raises(ValueError, match="`activation` must be smooth, or relu"):
        InfiniteWidth(kinked, 1.0, 0.0, 2)
    with pytest.raises(ValueError, match=r"`radius` .* must be .* quadrature nodes"):
        layer.ricci_scalar(torch.tensor(1e9, dtype=DOUBLE))


def test_dtype_shape_and_empty_batches_are_kept():
    layer = InfiniteWidth("tanh", 1.0, 0.5, 2)
    assert layer.ricci_scalar(RADII.float()).dtype == torch.float32
    assert layer.ricci_scalar(RADII[:0]).shape == (0,)
    assert layer.metric(points(2, 3, 2)).shape == (2, 3, 2, 2)
    assert layer.kernel(points(4, 1, 2), points(3, 2)).shape == (4, 3)
    assert layer.kernel(points(0, 2), points(0, 2)).shape == (0,)
    one = InfiniteWidth("tanh", 1.0, 0.5, 1)
    assert torch.equal(one.ricci_scalar(RADII), -0.0 * RADII)
