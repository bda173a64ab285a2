"""The leading spectrum without the Jacobian: as the singular values of the Jacobian, with bounds that hold."""

import pytest
import torch
from reference import DOUBLE, points
from torch import nn

from nngeom_cli.geometry import (
    ModuleFeatureMap,
    TorchFeatureMap,
    log_effective_volume_element,
    log_spectral_gap,
    metric_spectrum,
    principal_directions,
    spectrum,
)
from nngeom_cli.geometry.operators import leading

LIFT, MIX = points(60, 40, seed=1), points(50, 60, seed=2)


def network(p):
    return torch.tanh(MIX @ torch.tanh(LIFT @ p / 6) / 6)


def matrix(values, rows=70):
    """A linear map with these singular values."""
    values = torch.tensor(values, dtype=DOUBLE)
    left = torch.linalg.qr(points(rows, len(values), seed=3)).Q
    right = torch.linalg.qr(points(90, len(values), seed=4)).Q
    return (left * values) @ right.T


@pytest.mark.parametrize("count", [1, 3, 6])
@pytest.mark.parametrize("function", [network, torch.func.vmap(torch.sin), lambda p: network(p)[:7]])
def test_leading_values_are_the_singular_values_of_the_jacobian(function, count):
    x = points(40, seed=5)
    exact = torch.linalg.svdvals(torch.func.jacrev(function)(x))[:count]
    found = leading(function, x, count)
    torch.testing.assert_close(found.values, exact, rtol=1e-9, atol=0)
    error = (found.values.square() - exact.square()).abs()
    assert (error <= (found.bounds + 1e-14) * found.values.square()).all()
    assert (found.bounds <= 1e-6).all()
    torch.testing.assert_close(found.directions @ found.directions.T, torch.eye(count, dtype=DOUBLE))
    images = torch.func.jacrev(function)(x) @ found.directions.T
    torch.testing.assert_close(images.norm(dim=0), exact, rtol=1e-9, atol=0)


SPECTRA = {
    "far apart": [10.0**-k for k in range(12)],
    "equal": [3.0] * 20,
    "pairs": [5.0, 5.0, 2.0, 2.0, 1.0, 1.0, 0.5, 0.5],
    "many nearly equal": [1 + 1e-3 * k for k in range(60)],
    "of rank two": [2.0, 1.0] + [0.0] * 40,
    "zero": [0.0] * 10,
    "tiny": [1e-150 * k for k in range(1, 9)],
}


@pytest.mark.parametrize("name", SPECTRA)
def test_spectra_of_all_kinds_are_found(name):
    weight = matrix(SPECTRA[name])
    found = leading(lambda p: weight @ p, torch.zeros(90, dtype=DOUBLE), 5)
    exact = torch.linalg.svdvals(weight)[:5]
    torch.testing.assert_close(found.values, exact, rtol=1e-7, atol=1e-13 * exact[0].item())


def test_a_matrix_and_another_transpose_have_no_spectrum():
    class Wrong(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x):
            return x.sin()

        @staticmethod
        def setup_context(ctx, inputs, output):  # noqa: ARG004
            ctx.save_for_forward(*inputs)

        @staticmethod
        def backward(ctx, gradient):  # noqa: ARG004
            return gradient

        @staticmethod
        def jvp(ctx, tangent):
            return tangent * ctx.saved_tensors[0].cos()

    assert leading(lambda p: Wrong.apply(MIX @ LIFT @ p), points(40), 2) is None


@pytest.fixture
def all_large(monkeypatch):
    monkeypatch.setattr(spectrum, "_LARGE", 1)
    monkeypatch.setattr(spectrum, "_FAR", 2)


@pytest.mark.parametrize("quantity", [metric_spectrum, log_effective_volume_element, principal_directions])
@pytest.mark.parametrize("replicates", [None, 2])
def test_what_is_large_is_iterated_and_has_the_values_of_the_whole_jacobian(
    quantity, replicates, all_large, monkeypatch
):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        models = [nn.Sequential(nn.Linear(40, 30), nn.Tanh(), nn.Linear(30, 20), nn.GELU()) for _ in range(2)]
    feature_map = ModuleFeatureMap(models if replicates else models[0], "3")
    x = points(2, 3, 40)
    x[1, 2, 0] = torch.nan
    iterated = quantity(feature_map, x, 3)
    monkeypatch.setattr(spectrum, "_LARGE", 10**9)
    torch.testing.assert_close(iterated, quantity(feature_map, x, 3), rtol=1e-6, atol=1e-6, equal_nan=True)


def test_the_gap_and_wrong_numbers_are_as_before(all_large, monkeypatch):
    feature_map, x = TorchFeatureMap(network), points(2, 40)
    gap = log_spectral_gap(feature_map, x, 3)
    with pytest.raises(ValueError, match="`top_k` must be between 1 and 40"):
        metric_spectrum(feature_map, x, 41)
    monkeypatch.setattr(spectrum, "_LARGE", 10**9)
    torch.testing.assert_close(gap, log_spectral_gap(feature_map, x, 3), rtol=1e-6, atol=1e-7)


def test_a_large_callable_is_iterated_without_being_told_to(monkeypatch):
    monkeypatch.setattr(TorchFeatureMap, "jet", None)  # which forms the Jacobian
    wide = points(1500, 800, seed=6) * torch.linspace(1, 0, 800, dtype=DOUBLE).pow(8)
    values = metric_spectrum(lambda p: torch.sin(wide @ p), torch.zeros(800, dtype=DOUBLE), 3)
    torch.testing.assert_close(values, torch.linalg.svdvals(wide)[:3].square(), rtol=1e-7, atol=0)
