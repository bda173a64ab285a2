"""What must hold for every network: invariances, covariance, scale laws, the symmetries of Riemann."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import DOUBLE, points, random_network

from nngeom_cli.geometry import (
    MLPFeatureMap,
    get_activation,
    measure,
    metric_spectrum,
    pullback_metric,
    ricci_scalar,
    riemann_tensor,
)

SMOOTH = ["sigmoid", "softplus", "tanh", "erf", "gelu", "silu", "sin", "monomial3"]
SCALARS = ("log_volume_element", "condition_number", "ricci_scalar", "principal_ricci_curvatures")
settings.register_profile("properties", settings.get_profile("nngeom"), max_examples=30)
few = settings(settings.get_profile("properties"))


@st.composite
def networks(draw, activations=SMOOTH, square=False):
    """Weights, biases, activation, and three points: d in 2..5, n in d..12, depth 1..3."""
    d, depth = draw(st.integers(2, 5)), draw(st.integers(1, 3))
    hidden = [draw(st.integers(d, 12)) for _ in range(depth - 1)]
    width = d if square else draw(st.integers(d, 12))
    seed = draw(st.integers(0, 2**16))
    weights, biases = random_network([d, *hidden, width], seed)
    return weights, biases, draw(st.sampled_from(activations)), points(3, d, seed=seed + 1) / 2


def rotation(n, seed):
    return torch.linalg.qr(points(n, n, seed=seed)).Q


def assert_same_curvature(left, right, scale=1.0):
    """Two evaluations of R agree within what each says of its own rounding, and of the condition of the change."""
    allowed = 30 * scale * (left["ricci_scalar_error"] + right["ricci_scalar_error"])
    assert ((left["ricci_scalar"] - right["ricci_scalar"]).abs() <= allowed + 1e-300).all()


def assert_same_scalars(left, right):
    assert_same_curvature(left, right)
    condition = left["condition_number"].sqrt()
    assert ((left["log_volume_element"] - right["log_volume_element"]).abs() <= 1e-13 * condition + 1e-12).all()
    torch.testing.assert_close(left["condition_number"], right["condition_number"], rtol=1e-4, atol=0)
    size = left["principal_ricci_curvatures"].abs().amax(dim=-1, keepdim=True)
    difference = (left["principal_ricci_curvatures"] - right["principal_ricci_curvatures"]).abs()
    errors = (left["ricci_scalar_error"] + right["ricci_scalar_error"])[:, None]
    assert (difference <= 1e-6 * size + 1e3 * errors).all()


@few
@given(networks(), st.integers(0, 100))
def test_permuting_units_changes_no_scalar(network, seed):
    weights, biases, activation, x = network
    order = torch.randperm(len(biases[-1]), generator=torch.Generator().manual_seed(seed))
    permuted = [*weights[:-1], weights[-1][order]], [*biases[:-1], biases[-1][order]]
    names = (*SCALARS, "ricci_scalar_error")
    before = measure(MLPFeatureMap(weights, biases, activation), x, names)
    assert_same_scalars(before, measure(MLPFeatureMap(*permuted, activation), x, names))


@few
@given(networks(activations=[name for name in SMOOTH if get_activation(name).odd]), st.integers(0, 100))
def test_flipping_signs_of_units_of_odd_activations_changes_no_scalar(network, seed):
    weights, biases, activation, x = network
    signs = points(len(biases[-1]), seed=seed).sign()
    flipped = [*weights[:-1], signs[:, None] * weights[-1]], [*biases[:-1], signs * biases[-1]]
    names = (*SCALARS, "ricci_scalar_error")
    before = measure(MLPFeatureMap(weights, biases, activation), x, names)
    assert_same_scalars(before, measure(MLPFeatureMap(*flipped, activation), x, names))


def mixed(weights, biases, activation, matrix):
    """The same network, its features multiplied by `matrix`, as one more layer."""
    activations = [*[activation] * len(weights), "identity"]
    return MLPFeatureMap([*weights, matrix], [*biases, torch.zeros(len(matrix), dtype=DOUBLE)], activations)


@few
@given(networks(), st.integers(0, 100), st.floats(0.01, 100))
def test_rotating_features_changes_no_scalar_and_scaling_them_follows_the_scale_laws(network, seed, c):
    weights, biases, activation, x = network
    turn, names, d = rotation(len(biases[-1]), seed), (*SCALARS, "ricci_scalar_error"), x.shape[-1]
    plain, turned = MLPFeatureMap(weights, biases, activation), mixed(weights, biases, activation, turn)
    before = measure(plain, x, names)
    assert_same_scalars(before, measure(turned, x, names))
    spectrum = metric_spectrum(plain, x, d)
    assert ((metric_spectrum(turned, x, d) - spectrum).abs() <= 1e-12 * spectrum[:, :1]).all()
    scaled = measure(mixed(weights, biases, activation, c * torch.eye(len(turn), dtype=DOUBLE)), x, names)
    scaled["log_volume_element"] -= d * math.log(c)
    for name in ("ricci_scalar", "ricci_scalar_error", "principal_ricci_curvatures"):
        scaled[name] *= c**2
    assert_same_scalars(before, scaled)


@few
@given(networks(), st.integers(0, 100))
def test_linear_change_of_inputs_transforms_tensors_and_leaves_curvature(network, seed):
    weights, biases, activation, x = network
    d = x.shape[-1]
    stretch = torch.exp(points(d, seed=seed + 2) / 2)
    change, shift = rotation(d, seed) * stretch @ rotation(d, seed + 1), points(d, seed=seed + 3)
    original = MLPFeatureMap(weights, biases, activation)
    changed = MLPFeatureMap(
        [weights[0] @ change, *weights[1:]], [biases[0] + weights[0] @ shift, *biases[1:]], activation
    )
    names = ("ricci_scalar", "ricci_scalar_error", "log_volume_element", "condition_number")
    after = measure(changed, x, names)
    sound = after["condition_number"] < 1e16  # a dead unit may leave no rank
    x, after = x[sound], {name: values[sound] for name, values in after.items()}
    before = measure(original, x @ change.T + shift, names)
    assert_same_curvature(before, after, scale=10)
    log_determinant = stretch.log().sum()
    error = (after["log_volume_element"] - before["log_volume_element"] - log_determinant).abs()
    assert (error <= 1e-13 * before["condition_number"].sqrt() + 1e-12).all()

    tensors = ("pullback_metric", "ricci_tensor", "riemann_tensor")
    rounding = before["ricci_scalar_error"] + after["ricci_scalar_error"]
    before, after = measure(original, x @ change.T + shift, tensors), measure(changed, x, tensors)
    length = after["pullback_metric"].flatten(1).norm(dim=1)
    for name, power in zip(tensors, (0, 1, 2), strict=True):  # of the metric, by which curvature's error grows
        contraction = "zmnrs,ma,nb,rc,sd->zabcd" if power == 2 else "zmn,ma,nb->zab"
        expected = torch.einsum(contraction, before[name], *[change] * (4 if power == 2 else 2))
        allowed = 1e-10 * expected.flatten(1).norm(dim=1) + 100 * rounding * length**power * (power > 0)
        assert ((after[name] - expected).flatten(1).norm(dim=1) <= allowed).all(), name


@few
@given(networks())
def test_riemann_has_its_symmetries_and_the_first_bianchi_identity(network):
    weights, biases, activation, x = network
    tensor = riemann_tensor(MLPFeatureMap(weights, biases, activation), x)
    tolerance = {"rtol": 0, "atol": 1e-12 * tensor.abs().max().item()}
    torch.testing.assert_close(tensor, -tensor.transpose(-1, -2), **tolerance)
    torch.testing.assert_close(tensor, -tensor.transpose(-3, -4), **tolerance)
    torch.testing.assert_close(tensor, tensor.permute(0, 3, 4, 1, 2), **tolerance)
    cyclic = tensor + tensor.permute(0, 1, 3, 4, 2) + tensor.permute(0, 1, 4, 2, 3)
    torch.testing.assert_close(cyclic, torch.zeros_like(cyclic), **tolerance)


@few
@given(networks(square=True))
def test_ricci_scalar_vanishes_when_width_equals_dimension(network):
    weights, biases, activation, x = network
    assert torch.equal(ricci_scalar(MLPFeatureMap(weights, biases, activation), x), torch.zeros(3, dtype=DOUBLE))


@few
@given(networks())
def test_metric_is_symmetric_and_its_leading_eigenvalues_are_the_spectrum(network):
    weights, biases, activation, x = network
    feature_map = MLPFeatureMap(weights, biases, activation)
    metric = pullback_metric(feature_map, x)
    assert torch.equal(metric, metric.mT)
    spectrum = metric_spectrum(feature_map, x, 2)
    expected = torch.linalg.eigvalsh(metric).flip(-1)[:, :2]
    assert ((spectrum - expected).abs() <= 1e-13 * expected[:, :1] + 1e-300).all()
