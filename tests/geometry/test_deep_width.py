"""Infinitely wide layers after others: golden values, the recursion in many digits, kernels, and finite networks."""

import math
from itertools import pairwise

import mpmath
import pytest
import torch
from reference import DOUBLE, doubles, golden, points

from nngeom_cli.geometry import InfiniteWidth, MLPFeatureMap, fixed_point, measure

ENTRIES = golden("golden_deep.json")
RADII = torch.tensor([0.05, 0.4, 1.0, 2.3, 7.0], dtype=DOUBLE)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry['activation']}-{entry['depth']}")
def test_deep_layers_meet_the_golden_file(entry):
    sizes = entry["weight_std"], entry["bias_std"], entry["dimension"], entry["depth"]
    layer, radius = InfiniteWidth(entry["activation"], *sizes), doubles(entry["radius"])
    tolerance = 1e-10 if entry["activation"] == "erf" else 1e-9
    for field in ("ricci_scalar", "log_volume_element"):
        torch.testing.assert_close(getattr(layer, field)(radius), doubles(entry[field]), rtol=tolerance, atol=0)


def mean_of_square(name, q):
    return 2 / mpmath.pi * mpmath.asin(q / (1 + q)) if name == "erf" else -mpmath.expm1(-2 * q) / 2


def mean_of_slope_square(name, q):
    return 2 / mpmath.pi / mpmath.sqrt(1 + 2 * q) if name == "erf" else (1 + mpmath.exp(-2 * q)) / 2


def eigenvalues(name, sigma, zeta, depth, r):
    """Of the metric across and along the radius, by the recursion from layer to layer, literally."""
    q, slope = sigma**2 * r**2 + zeta**2, 2 * sigma**2 * r
    a = b = sigma**2
    for _ in range(depth):
        mean = mean_of_slope_square(name, q)
        spread = 2 * q * mpmath.diff(lambda s: mean_of_slope_square(name, s), q)  # E[phi'^2 (z^2 - 1)]
        features = mean * a, mean * b + spread * slope**2 / (4 * q)
        slope = sigma**2 * slope * mpmath.diff(lambda s: mean_of_square(name, s), q)
        q = sigma**2 * mean_of_square(name, q) + zeta**2
        a, b = (sigma**2 * part for part in features)
    return features


@pytest.mark.parametrize("name", ["erf", "sin"])
@pytest.mark.parametrize(("depth", "d"), [(1, 2), (2, 2), (3, 4)])
@pytest.mark.parametrize(("sigma", "zeta"), [(1.3, 0.4), (0.8, 0.0)])
@pytest.mark.parametrize("r", [0.01, 0.7, 2.5])
def test_deep_layers_are_those_of_the_recursion_differentiated_in_many_digits(name, depth, d, sigma, zeta, r):
    """R = -(d-1) [2 f''/f + (d-2) (f'^2 - 1) / f^2], f = r sqrt(a), primes along the arc length sqrt(b) dr."""
    with mpmath.workdps(90):
        sizes = mpmath.mpf(sigma), mpmath.mpf(zeta), depth

        def across(r):
            return r * mpmath.sqrt(eigenvalues(name, *sizes, r)[0])

        def slope(r):
            with mpmath.workdps(60):
                return mpmath.diff(across, r) / mpmath.sqrt(eigenvalues(name, *sizes, r)[1])

        with mpmath.workdps(40):
            a, b = eigenvalues(name, *sizes, mpmath.mpf(r))
            f, first = across(mpmath.mpf(r)), slope(mpmath.mpf(r))
            second = mpmath.diff(slope, mpmath.mpf(r)) / mpmath.sqrt(b)
            scalar = -(d - 1) * (2 * second / f + (d - 2) * (first**2 - 1) / f**2)
            volume = (mpmath.log(b) + (d - 1) * mpmath.log(a)) / 2
    layer = InfiniteWidth(name, sigma, zeta, d, depth)
    assert layer.ricci_scalar(r).item() == pytest.approx(float(scalar), rel=1e-10)
    assert layer.log_volume_element(r).item() == pytest.approx(float(volume), rel=1e-12)
    assert layer.omega(r).item() == pytest.approx(float(mpmath.log(a)), rel=1e-12, abs=1e-13)
    assert layer.stretch(r).item() == pytest.approx(float(b / a), rel=1e-12)


@pytest.mark.parametrize("name", ["tanh", "softplus", "gelu", "monomial2", "arccosine3"])
def test_derivatives_of_omega_are_those_of_its_values(name):
    layer, t, step = InfiniteWidth(name, 0.9, 0.6, 3, depth=3), torch.tensor([0.2, 1.5], dtype=DOUBLE), 1e-3
    for order in (0, 1):
        values = [layer.omega((t + k * step).sqrt(), order) for k in (-2, -1, 1, 2)]
        slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
        torch.testing.assert_close(layer.omega(t.sqrt(), order + 1), slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("name", "depth"), [("erf", 3), ("sin", 2), ("tanh", 2), ("relu", 3), ("softplus", 2), ("arccosine2", 2)]
)
def test_deep_metric_follows_from_the_deep_kernel(name, depth):
    """g_ab = d/dx_a d/dy_b k(x, y) at y = x, in differences."""
    layer, x, step = InfiniteWidth(name, 1.1, 0.6, 2, depth), torch.tensor([0.7, -0.4], dtype=DOUBLE), 2e-3
    shifts = step * torch.eye(2, dtype=DOUBLE)
    metric = doubles(
        [
            [sum(s * t * layer.kernel(x + s * a, x + t * b).item() for s in (1, -1) for t in (1, -1)) for b in shifts]
            for a in shifts
        ]
    ) / (4 * step**2)
    tolerance = (3e-3 if name == "relu" else 2e-5) * max(1, metric.abs().max().item())
    torch.testing.assert_close(layer.metric(x), metric, rtol=0, atol=tolerance)
    torch.testing.assert_close(layer.metric(x).logdet() / 2, layer.log_volume_element(x.norm()))


def test_layers_of_the_identity_are_flat_and_those_of_relu_halve_the_metric_each():
    flat = InfiniteWidth("identity", 1.5, 0.3, 3, depth=4)
    assert torch.equal(flat.ricci_scalar(RADII).abs(), torch.zeros(5, dtype=DOUBLE))
    torch.testing.assert_close(flat.metric(points(3)), 1.5**8 * torch.eye(3, dtype=DOUBLE))
    relu = InfiniteWidth("relu", 1.0, 0.3, 2, depth=3)
    torch.testing.assert_close(relu.metric(points(2)), torch.eye(2, dtype=DOUBLE) / 8)
    with pytest.raises(ValueError, match="`activation` must be smooth to have a curvature"):
        relu.ricci_scalar(1.0)


@pytest.mark.parametrize("q", [2, 3, 5])
@pytest.mark.parametrize("d", [2, 3, 6])
def test_curvature_of_rectified_powers_is_that_of_the_arc_cosine_kernel(q, d):
    expected = -(d - 1) * (d - 2) * (q - 1) ** 2 / (q**2 * math.prod(range(1, 2 * q, 2)) * RADII ** (2 * q))
    layer = InfiniteWidth(f"arccosine{q}", 1.0, 0.0, d)
    torch.testing.assert_close(layer.ricci_scalar(RADII), expected, rtol=1e-12, atol=0)
    if (q, d) == (2, 3):
        assert layer.ricci_scalar(1.0).item() == pytest.approx(-1 / 6, rel=1e-14)


def test_kernels_of_rectified_powers_are_those_of_cho_and_saul():
    """k = |x|^q |y|^q J_q(theta) / pi."""
    x, y = points(40, 3, seed=1), points(40, 3, seed=2)
    lengths = x.norm(dim=-1) * y.norm(dim=-1)
    cosine = (x * y).sum(dim=-1) / lengths
    sine, rest = (1 - cosine**2).sqrt(), math.pi - cosine.acos()
    second = 3 * sine * cosine + rest * (1 + 2 * cosine**2)
    third = 15 * sine - 11 * sine**3 + rest * (9 * cosine + 6 * cosine**3)
    for q, angular in ((2, second), (3, third)):
        kernel = InfiniteWidth(f"arccosine{q}", 1.0, 0.0, 3).kernel(x, y)
        torch.testing.assert_close(kernel, lengths**q * angular / math.pi, rtol=1e-10, atol=1e-12)
    z = torch.randn(400_000, 2, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    features = math.sqrt(2) * (z @ torch.stack([x[0, :2], y[0, :2]]).T).clamp_min(0) ** 4
    products = features.prod(dim=-1)
    kernel = InfiniteWidth("arccosine4", 1.0, 0.0, 2).kernel(x[0, :2], y[0, :2])
    assert abs(products.mean() - kernel) < 5 * products.std() / len(z) ** 0.5


@pytest.mark.parametrize("name", ["tanh", "erf", "softplus"])
def test_curvature_and_volume_at_the_origin_are_the_limits_of_those_near_it(name):
    for zeta in (0.4, 0.0):
        layer = InfiniteWidth(name, 1.2, zeta, 3, depth=3)
        near = layer.ricci_scalar(torch.tensor(1e-5, dtype=DOUBLE))
        torch.testing.assert_close(layer.ricci_scalar(torch.tensor(0.0, dtype=DOUBLE)), near, rtol=1e-6, atol=1e-7)
        volumes = layer.log_volume_element(torch.tensor([0.0, 1e-5], dtype=DOUBLE))
        assert volumes[0].item() == pytest.approx(volumes[1].item(), abs=1e-7)
        assert layer.stretch(0.0).item() == 1


@pytest.mark.parametrize("name", ["tanh", "gelu", "erf"])
def test_a_deep_value_does_not_depend_on_the_others_of_its_batch(name):
    layer, x = InfiniteWidth(name, 2.0, 0.5, 2, depth=3), RADII[:, None] * torch.tensor([0.6, 0.8], dtype=DOUBLE)
    for measured in (layer.log_volume_element, layer.ricci_scalar, layer.omega, layer.circle_curvature):
        assert torch.equal(measured(RADII), torch.stack([measured(radius) for radius in RADII]))
    assert torch.equal(layer.metric(x), torch.stack([layer.metric(point) for point in x]))


@pytest.mark.parametrize(
    ("sigma", "variance", "chi_1", "chi_2", "square"),
    [
        (1.3, 0.607047, 0.939807, 0.543472, math.inf),
        (2.5, 4.079124, 1.585225, 1.196041, 3.86771),
        (4.0, 12.60415, 2.367261, 1.857176, 1.72138),
    ],
)
def test_fixed_points_of_tanh_are_those_of_poole_et_al(sigma, variance, chi_1, chi_2, square):
    found = fixed_point("tanh", weight_std=sigma, bias_std=0.3)
    assert found.variance == pytest.approx(variance, abs=5e-6 if variance > 10 else 5e-7)
    assert found.chi_1 == pytest.approx(chi_1, abs=5e-7)
    assert found.chi_2 == pytest.approx(chi_2, abs=5e-7)
    assert found.circle_curvature**2 == pytest.approx(square, abs=5e-6)


def test_a_fixed_point_stays_and_a_variance_that_grows_has_none():
    for name in ("erf", "gelu", "sin", "softplus"):
        found = fixed_point(name, 0.9, 0.4)
        layer, r = InfiniteWidth(name, 0.9, 0.4, 2), math.sqrt(found.variance - 0.16) / 0.9
        x = torch.tensor([r, 0.0], dtype=DOUBLE)
        assert 0.81 * layer.kernel(x, x).item() + 0.16 == pytest.approx(found.variance, rel=1e-11)
    assert fixed_point("tanh", 0.8, 0.0).variance < 1e-14
    for name, sigma in (("monomial2", 1.0), ("identity", 1.1)):
        with pytest.raises(ValueError, match="must let the variance settle"):
            fixed_point(name, sigma, 0.5)
    with pytest.raises(ValueError, match="`activation` must be smooth"):
        fixed_point("relu", 1.0, 0.5)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_curvature_of_the_image_of_a_circle_is_that_of_its_kernel(depth):
    """kappa^2 = k'''' / k''^2 at angle 0, the composed kernels of erf in many digits."""
    sigma, zeta, r = 1.4, 0.5, 1.3

    def kernel(angle):
        q, c = (sigma**2 * r**2 * cosine + zeta**2 for cosine in (1, mpmath.cos(angle)))
        for layer in range(depth):
            one, two = (2 / mpmath.pi * mpmath.asin(part / (1 + q)) for part in (q, c))
            q, c = (sigma**2 * part + zeta**2 for part in (one, two)) if layer < depth - 1 else (one, two)
        return c

    with mpmath.workdps(60):
        expected = mpmath.sqrt(mpmath.diff(kernel, 0, 4)) / abs(mpmath.diff(kernel, 0, 2))
    layer = InfiniteWidth("erf", sigma, zeta, 2, depth)
    assert layer.circle_curvature(r).item() == pytest.approx(float(expected), rel=1e-11)


def test_the_image_of_a_circle_bends_as_at_the_fixed_point_after_many_layers():
    found = fixed_point("tanh", 2.5, 0.3)
    deep = InfiniteWidth("tanh", 2.5, 0.3, 2, depth=60).circle_curvature(1.0).item()
    assert deep == pytest.approx(2.5 * found.circle_curvature, rel=1e-9)  # features are not multiplied by weights


def deviations(name, depth, widths, networks):
    """|median - limit| and the standard error of log V and R of finite networks, (quantity, width)."""
    sigma, zeta, x = 1.3, 0.4, torch.tensor([0.8, -0.9], dtype=DOUBLE)
    layer, rows = InfiniteWidth(name, sigma, zeta, 2, depth), []
    for n in widths:
        generator = torch.Generator().manual_seed(n)
        sizes = [2, *[n] * depth]
        weights = [
            sigma / (1 if inputs == 2 else inputs**0.5) * torch.randn(networks, n, inputs, generator=generator)
            for inputs in sizes[:-1]
        ]
        biases = [zeta * torch.randn(networks, n, generator=generator) for _ in weights]
        finite = MLPFeatureMap([w.double() for w in weights], [b.double() for b in biases], name)
        measured = measure(finite, x, ("log_volume_element", "ricci_scalar"))
        limits = {
            "log_volume_element": layer.log_volume_element(x.norm()),
            "ricci_scalar": layer.ricci_scalar(x.norm()),
        }
        for key, values in measured.items():
            rows.append((abs(values.median() - limits[key]).item(), 1.3 * values.std().item() / networks**0.5, key))
    return {key: [row[:2] for row in rows if row[2] == key] for key in limits}


def check_approach(name, depth, widths, networks):
    for key, rows in deviations(name, depth, widths, networks).items():
        for (before, _), (after, error) in pairwise(rows):
            assert after < before / 2 + 4 * error, key  # a quarter, at order 1/n
        assert rows[-1][0] < 0.1 * abs(rows[0][0]) + 4 * rows[-1][1]


@pytest.mark.parametrize("depth", [2, 3])
def test_finite_networks_approach_the_limit_as_their_width_grows(depth):
    check_approach("tanh", depth, (16, 64, 256), networks=60)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [2, 3, 5])
def test_networks_of_up_to_1024_units_approach_the_limit(depth):
    check_approach("erf", depth, (64, 256, 1024), networks=20)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        (("tanh", 1.0, 0.5, 2, 0), ValueError, r"`depth` must be an integer of at least 1\. Got 0"),
        (("tanh", 1.0, 0.5, 2, 1.5), ValueError, r"`depth` must be an integer"),
        (("tanh", 1.0, 0.5, 2, "3"), TypeError, r"`depth` must be a number\. Got '3'"),
        (("tanh", None, 0.5, 2), TypeError, r"`weight_std` must be a number, or one for each layer\. Got None"),
        ((None, 1.0, 0.5, 2), TypeError, r"`activation` must be a name or an `Activation`\. Got None"),
    ],
)
def test_wrong_arguments_of_deep_layers_are_refused_in_a_sentence(arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        InfiniteWidth(*arguments)
