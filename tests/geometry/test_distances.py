"""Norms, absolute values and their like, as callables use them: curvature where they are 0 and elsewhere."""

import math

import mpmath
import pytest
import torch
from reference import DOUBLE, points
from torch.func import hessian, jacfwd, jacrev
from torch.nn import functional

from nngeom_cli.geometry import log_volume_element, ricci_scalar, ricci_scalar_error
from nngeom_cli.geometry.distances import DISTANCES
from nngeom_cli.geometry.rewriting import Rewriting
from nngeom_cli.geometry.routes import load_differentiation

SQUARES = {  # |p|^2 at p (2,)
    "norm": lambda p: p.norm() ** 2,
    "norm, dim": lambda p: torch.norm(p[None], dim=1)[0] ** 2,
    "linalg_vector_norm": lambda p: torch.linalg.vector_norm(p) ** 2,
    "linalg_norm": lambda p: torch.linalg.norm(p) ** 2,
    "linalg_norm, matrix": lambda p: torch.linalg.norm(p[None], ord="fro") ** 2,
    "linalg_matrix_norm": lambda p: torch.linalg.matrix_norm(p[None]) ** 2,
    "dist": lambda p: torch.dist(p, torch.zeros_like(p)) ** 2,
    "pairwise_distance": lambda p: functional.pairwise_distance(p, torch.zeros_like(p), eps=0.0) ** 2,
    "cdist": lambda p: torch.cdist(p[None], torch.zeros_like(p)[None])[0, 0] ** 2,
    "std": lambda p: 2 * torch.cat([p, -p]).std(correction=0) ** 2,
    "std, dim": lambda p: 2 * torch.cat([p, -p]).std(0, unbiased=False) ** 2,
    "abs": lambda p: (p.abs() * torch.abs(p)).sum(),
    "absolute": lambda p: p.absolute().square().sum(),
    "abs, complex": lambda p: torch.fft.fft(p).abs().square().sum() / 2,
    "maximum": lambda p: torch.maximum(p, -p).square().sum(),
    "minimum": lambda p: (torch.minimum(p, -p) ** 2).sum(),
    "max": lambda p: torch.max(p, -p) @ p.max(-p),
    "min": lambda p: (torch.min(p, -p) ** 2).sum(),
    "amax": lambda p: torch.stack([p, -p]).amax(0).square().sum(),
    "amin": lambda p: torch.amin(torch.stack([p, -p]), dim=(0,), keepdim=True).square().sum(),
    "radial basis": lambda p: 1 - torch.exp(-(torch.cdist(p[None], torch.zeros_like(p)[None])[0, 0] ** 2)),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", SQUARES)
def test_the_square_of_a_distance_has_its_curvature_where_it_is_zero(name, dtype):
    x = torch.cat([torch.zeros(1, 2, dtype=dtype), points(2, 2, dtype=dtype)])
    squared = SQUARES[name]
    written = (lambda p: 1 - torch.exp(-(p @ p))) if name == "radial basis" else (lambda p: p @ p)
    ours = ricci_scalar(lambda p: torch.cat([p, squared(p)[None]]), x)
    right = ricci_scalar(lambda p: torch.cat([p, written(p)[None]]), x)
    assert right[0] == 8
    torch.testing.assert_close(ours, right)


def test_a_distance_itself_has_no_curvature_that_can_be_stated_where_it_is_zero():
    def cone(p):
        return torch.cat([p, p.norm()[None]])

    found = ricci_scalar(cone, torch.zeros(2, dtype=DOUBLE))
    assert found.isnan() or found.abs() > 1e150


def test_zeros_that_do_not_move_leave_curvature_and_volume_alone():
    def padded(p):
        rows = torch.stack([torch.sin(p), torch.zeros_like(p), torch.ones_like(p)])
        norms = torch.linalg.vector_norm(rows, dim=1)
        return torch.cat([functional.normalize(rows, dim=1)[:1].flatten(), norms, (rows * 0).std(1), rows[0] ** 2])

    def plain(p):
        root = torch.sin(p).square().sum().sqrt()
        return torch.cat([torch.sin(p) / root, root[None], torch.sin(p) ** 2])

    x = points(4, 2)
    torch.testing.assert_close(ricci_scalar(padded, x), ricci_scalar(plain, x))
    torch.testing.assert_close(log_volume_element(padded, x), log_volume_element(plain, x))


HALVES = {  # squared, in both coordinates; R at 0 where 8 would be right for the whole square
    "clamp from below": (lambda p: p.clamp(min=0) ** 2, 8),
    "both halves by clamp": (lambda p: p.clamp(min=0) ** 2 + p.clamp(max=0) ** 2, 32),
    "relu": (lambda p: p.relu() ** 2, 0),
    "both halves by relu": (lambda p: p.relu() ** 2 + (-p).relu() ** 2, 0),
}


@pytest.mark.parametrize("name", HALVES)
def test_at_its_bound_clamp_has_slope_one_and_relu_slope_zero_in_squares_too(name):
    square, at_zero = HALVES[name]
    x = torch.tensor([[0.0, 0.0], [0.3, 0.4]], dtype=DOUBLE)
    found = ricci_scalar(lambda p: torch.cat([p, square(p).sum()[None]]), x)
    assert found[0] == at_zero
    torch.testing.assert_close(found[1], ricci_scalar(lambda p: torch.cat([p, (p @ p)[None]]), x[1]))


SINC = [0.0, 1e-200, 1e-7, -1e-4, 1e-3, -0.1, 0.499, 0.5, 0.51, -1.0, 3.3]


@pytest.mark.parametrize("function", [torch.sinc, torch.special.sinc])
@pytest.mark.parametrize("second", [hessian, lambda f: jacfwd(jacfwd(f)), lambda f: jacrev(jacrev(f))])
def test_sinc_keeps_the_digits_of_its_derivatives_near_zero(function, second):
    load_differentiation()
    with mpmath.workdps(60), Rewriting(DOUBLE):
        for z in SINC:
            point = torch.tensor(z, dtype=DOUBLE)
            exact = [float(part) for part in mpmath.taylor(lambda t: mpmath.sinc(mpmath.pi * t), mpmath.mpf(z), 2)]
            assert function(point).item() == pytest.approx(exact[0], rel=1e-14, abs=1e-16)
            assert jacfwd(function)(point).item() == pytest.approx(exact[1], rel=1e-14, abs=1e-15)
            assert second(function)(point).item() == pytest.approx(2 * exact[2], rel=1e-13)


def test_sinc_has_its_curvature_at_zero_to_the_error_that_is_stated():
    def bump(p):
        return torch.cat([p, -6 / math.pi**2 * torch.sinc(p).sum()[None]])

    x = torch.zeros(2, dtype=DOUBLE)
    assert (ricci_scalar(bump, x) - 8).abs() <= ricci_scalar_error(bump, x)


def test_all_distances_are_tested():
    assert {"sinc", "special_sinc"} | {name.partition(",")[0] for name in SQUARES} >= DISTANCES.keys()
