"""Leading spectrum and effective volume element."""

import math

import mpmath
import pytest
import torch
from reference import DOUBLE, points, random_network

from nngeom_cli.config.optimizer import AdamConfig
from nngeom_cli.config.task import DigitsConfig
from nngeom_cli.geometry import (
    MLPFeatureMap,
    log_effective_volume_element,
    log_spectral_gap,
    log_volume_element,
    metric_spectrum,
    principal_directions,
    pullback_metric,
)
from nngeom_cli.tasks.make import make_task
from nngeom_cli.training.loop import batch_generators, initial_generators, train
from nngeom_cli.training.network import initial_network


@pytest.mark.parametrize("widths", [[3, 5], [6, 4], [5, 3, 6], [2, 4, 4]])
def test_spectrum_is_the_eigenvalues_of_the_metric(widths):
    feature_map = MLPFeatureMap(*random_network(widths, seed=2, replicates=(2,)), "tanh")
    x = points(4, widths[0])
    rank = min(widths)
    expected = torch.linalg.eigvalsh(pullback_metric(feature_map, x)).flip(-1)[..., :rank]
    measured = metric_spectrum(feature_map, x, rank)
    assert measured.shape == (2, 4, rank)
    torch.testing.assert_close(measured, expected, rtol=1e-7, atol=1e-12)


def test_effective_volume_of_a_trained_digits_network_has_ten_digits_at_least():
    """Against the Gram matrix in 50 digits: of J, which has more inputs than units, from the same weights."""
    task = make_task(DigitsConfig("digits"))
    network = initial_network([64, 30, 10], "sigmoid", initial_generators(0, 1))
    optimizer = AdamConfig("adam", lr=0.005, weight_decay=0.1, epochs=3, batch_size=12, betas=[0.9, 0.999], eps=1e-8)
    *_, _ = train(network, task, optimizer, batch_generators(0, 1), [3])
    weights = network.weights[0][0].tolist()
    x = (task.inputs[3] + task.inputs[8]) / 2
    with mpmath.workdps(50):
        rows = []
        for *weight, bias in weights:
            z = mpmath.fdot(zip(weight, x.tolist(), strict=True)) + bias
            slope = 1 / ((1 + mpmath.exp(-z)) * (1 + mpmath.exp(z)))
            rows.append([slope * entry / mpmath.sqrt(30) for entry in weight])
        jacobian = mpmath.matrix(rows)
        eigenvalues = sorted(mpmath.eigsy(jacobian * jacobian.T, eigvals_only=True), reverse=True)
        expected = float(sum(mpmath.log(value) for value in eigenvalues[:6]) / 2)
    measured = log_effective_volume_element(network.feature_map(1), x, 6)
    assert measured.item() == pytest.approx(expected, rel=1e-11)


def test_differentiating_along_rows_keeps_the_digits_of_each_row():
    """L L^T is W W^T, each entry to the size of its own two rows, whatever the sizes of the others."""
    (weight,), biases = random_network([9, 5], seed=4)
    weight = weight * 10.0 ** torch.tensor([[-100.0], [0.0], [-8.0], [100.0], [3.0]], dtype=DOUBLE)
    turned = MLPFeatureMap([weight], biases, "identity").along_rows()
    jet = turned.jet(points(1, 9), second=False)
    lower = (jet.jacobian / jet.unit.unsqueeze(1))[0, :, :, 0] * math.sqrt(5)
    sizes = weight.norm(dim=1)
    assert lower.shape == (5, 5)
    lower, weight = lower / sizes[:, None], weight / sizes[:, None]
    assert (lower @ lower.T - weight @ weight.T).abs().max() < 20 * torch.finfo(DOUBLE).eps


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("width", [1, 3])
def test_weights_that_are_not_finite_have_no_spectrum(width, value):
    weight = torch.ones(2, width, 4, dtype=DOUBLE)
    weight[1, 0, 0] = value
    feature_map = MLPFeatureMap([weight], [torch.zeros(2, width, dtype=DOUBLE)], "identity")
    spectrum = metric_spectrum(feature_map, torch.ones(4, dtype=DOUBLE), 1)
    assert spectrum.isnan().tolist() == [[False], [True]]


@pytest.mark.parametrize(("first", "second"), [(1e308, 1e-300), (5e-324, 1e300), (0.0, 1.0)])
def test_rows_at_the_ends_of_the_range_have_the_spectrum_of_the_product(first, second):
    layers = [torch.full((1, 5), first, dtype=DOUBLE), torch.full((1, 1), second, dtype=DOUBLE)]
    feature_map = MLPFeatureMap(layers, [torch.zeros(1, dtype=DOUBLE)] * 2, "identity")
    size = metric_spectrum(feature_map, torch.zeros(5, dtype=DOUBLE), 1).sqrt()
    assert size.item() == pytest.approx(first * second * math.sqrt(5), rel=1e-14, abs=0)


def test_effective_volume_of_full_rank_is_the_volume_element():
    feature_map = MLPFeatureMap(*random_network([4, 9], seed=2), "sigmoid")
    x = points(3, 5, 4)
    volume = log_volume_element(feature_map, x)
    torch.testing.assert_close(log_effective_volume_element(feature_map, x, 4), volume, rtol=1e-12, atol=1e-12)


def test_effective_volume_grows_by_half_the_logarithm_of_the_next_eigenvalue():
    feature_map = MLPFeatureMap(*random_network([6, 4], seed=2), "sigmoid")
    x = points(5, 6)
    step = log_effective_volume_element(feature_map, x, 3) - log_effective_volume_element(feature_map, x, 2)
    torch.testing.assert_close(step, metric_spectrum(feature_map, x, 3)[..., 2].log() / 2)


def test_product_that_leaves_the_range_of_floats_has_a_finite_logarithm():
    weight = 1e-60 * torch.eye(8, dtype=DOUBLE)
    feature_map = MLPFeatureMap([weight], [torch.zeros(8, dtype=DOUBLE)], "identity")
    measured = log_effective_volume_element(feature_map, torch.zeros(8, dtype=DOUBLE), 6)
    assert math.isclose(measured, 6 * math.log(1e-60 / math.sqrt(8)), rel_tol=1e-12)


def test_zero_singular_value_gives_minus_infinity_and_nan_gives_nan():
    weight = torch.zeros(3, 4, dtype=DOUBLE)
    weight[0, 0] = 1
    feature_map = MLPFeatureMap([weight], [torch.zeros(3, dtype=DOUBLE)], "tanh")
    x = points(3, 4)
    x[1, 0] = math.nan
    x[2, 0] = math.inf
    measured = log_effective_volume_element(feature_map, x, 2)
    assert measured[0] == -math.inf
    assert measured[1:].isnan().all()
    assert metric_spectrum(feature_map, x, 2)[1:].isnan().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("seed", range(3))
def test_a_lower_rank_has_no_volume_on_any_processor_and_a_small_singular_value_has_one(seed, dtype):
    left, right = (torch.linalg.qr(points(rows, 3, seed=seed + place)).Q for place, rows in enumerate((8, 5)))
    for smallest in (0.0, 100 * torch.finfo(dtype).eps):
        values = 7 * torch.tensor([1.0, 0.3, smallest], dtype=DOUBLE)
        weight = ((left * values) @ right.T).to(dtype)
        one = MLPFeatureMap([weight], [torch.zeros(8, dtype=dtype)], "identity")
        for feature_map, norm in ((one, math.sqrt(8)), (lambda p, weight=weight: weight @ p, 1.0)):
            found = log_effective_volume_element(feature_map, torch.zeros(5, dtype=dtype), 3).item()
            assert found == pytest.approx((values / norm).log().sum().item(), abs=0.2)  # the last has two digits
            spectrum = metric_spectrum(feature_map, torch.zeros(5, dtype=dtype), 3)
            assert (spectrum > 0).tolist() == [True, True, smallest > 0]


@pytest.mark.parametrize("top_k", [0, 4, -1])
def test_top_k_beyond_the_rank_is_refused(top_k):
    feature_map = MLPFeatureMap(*random_network([5, 3, 6], seed=2), "tanh")
    with pytest.raises(ValueError, match=rf"`top_k` must be between 1 and 3, .* Got {top_k}\."):
        metric_spectrum(feature_map, points(2, 5), top_k)


def test_empty_batch_gives_empty_spectrum():
    feature_map = MLPFeatureMap(*random_network([5, 3], seed=2, replicates=(2,)), "tanh")
    assert metric_spectrum(feature_map, points(0, 5), 2).shape == (2, 0, 2)
    assert log_effective_volume_element(feature_map, points(0, 5), 2).shape == (2, 0)


@pytest.mark.parametrize("widths", [[3, 5], [6, 4]])
def test_principal_directions_are_orthonormal_eigenvectors_of_the_metric(widths):
    feature_map = MLPFeatureMap(*random_network(widths, seed=2, replicates=(2,)), "tanh")
    x = points(4, widths[0])
    rows = principal_directions(feature_map, x, 2)
    assert rows.shape == (2, 4, 2, widths[0])
    identity = torch.eye(2, dtype=DOUBLE).expand(2, 4, -1, -1)
    torch.testing.assert_close(rows @ rows.mT, identity, rtol=0, atol=1e-12)
    stretched = rows @ pullback_metric(feature_map, x)
    torch.testing.assert_close(stretched, metric_spectrum(feature_map, x, 2)[..., None] * rows, rtol=0, atol=1e-10)
    assert (rows.gather(-1, rows.abs().argmax(-1, keepdim=True)) > 0).all()


def test_greatest_stretch_is_along_the_first_principal_direction():
    feature_map = MLPFeatureMap(*random_network([5, 8], seed=2), "gelu")
    x = points(5)
    leading = principal_directions(feature_map, x, 1)[0]
    others = torch.nn.functional.normalize(points(500, 5), dim=-1)
    metric = pullback_metric(feature_map, x)
    assert (torch.einsum("za,ab,zb->z", others, metric, others) <= leading @ metric @ leading).all()


def test_spectral_gap_is_the_log_ratio_of_eigenvalues_and_closes_where_they_cross():
    feature_map = MLPFeatureMap(*random_network([6, 4], seed=2), "sigmoid")
    x = points(5, 6)
    logs = metric_spectrum(feature_map, x, 3).log()
    torch.testing.assert_close(log_spectral_gap(feature_map, x, 2), logs[:, 1] - logs[:, 2])
    crossing = log_spectral_gap(lambda p: torch.stack([p[0] * (1 + p[1]), p[1]]), torch.zeros(2, dtype=DOUBLE), 1)
    assert abs(crossing) < 1e-12
    flat = log_spectral_gap(lambda p: torch.stack([p[0], 0 * p[1]]), torch.zeros(2, dtype=DOUBLE), 1)
    assert flat == math.inf
    with pytest.raises(ValueError, match=r"`top_k` must be at least 1 and less than 4, .* Got 4"):
        log_spectral_gap(feature_map, x, 4)
