"""Surfaces with a known curvature: closed ones, whose integral of R / 2 is 2 pi times their Euler characteristic
(Gauss-Bonnet), and some through functions of torch that are easily differentiated wrongly."""

import math

import numpy as np
import pytest
import torch
from reference import DOUBLE, Sine, points
from torch.nn import functional

from nngeom_cli.geometry import PAPER_CURVATURE_FACTOR, measure, ricci_scalar


def ellipsoid(a, b, c):
    def surface(angles):
        polar, azimuth = angles
        return torch.stack([a * polar.sin() * azimuth.cos(), b * polar.sin() * azimuth.sin(), c * polar.cos()])

    return surface


def torus(radius, tube):
    def surface(angles):
        around, along = angles
        ring = radius + tube * around.cos()
        return torch.stack([ring * along.cos(), ring * along.sin(), tube * around.sin()])

    return surface


def total_curvature(surface, nodes, weights):
    """Integral of R / 2 dA over a product grid: nodes and weights of the first angle, trapezoid rule in the second."""
    second = torch.arange(96, dtype=DOUBLE) * (2 * math.pi / 96)
    measured = measure(surface, torch.cartesian_prod(nodes, second), ("ricci_scalar", "log_volume_element"))
    density = measured["ricci_scalar"] / 2 * measured["log_volume_element"].exp()
    return (density.reshape(len(nodes), -1).sum(dim=1) * weights).sum() * (2 * math.pi / 96)


@pytest.mark.parametrize("axes", [(1.0, 1.0, 1.0), (1.0, 1.3, 0.8), (0.7, 1.9, 1.2)])
def test_total_curvature_of_an_ellipsoid_is_4_pi(axes):
    nodes, weights = (torch.from_numpy(array) for array in np.polynomial.legendre.leggauss(80))
    total = total_curvature(ellipsoid(*axes), math.pi / 2 * (1 + nodes), math.pi / 2 * weights)
    assert math.isclose(total, 4 * math.pi, rel_tol=1e-9)
    assert not math.isclose(PAPER_CURVATURE_FACTOR * total, 4 * math.pi, rel_tol=0.5)


def test_total_curvature_of_a_torus_is_0():
    nodes = torch.arange(96, dtype=DOUBLE) * (2 * math.pi / 96)
    total = total_curvature(torus(2.0, 0.7), nodes, torch.full((96,), 2 * math.pi / 96, dtype=DOUBLE))
    assert abs(total) < 1e-10


def test_curvature_of_a_torus_is_the_known_one():
    around = torch.linspace(0, 6, 13, dtype=DOUBLE)
    measured = ricci_scalar(torus(2.0, 0.7), torch.stack([around, around], dim=-1))
    torch.testing.assert_close(measured, 2 * around.cos() / (0.7 * (2 + 0.7 * around.cos())), rtol=1e-12, atol=1e-13)


def test_curvature_of_a_triaxial_ellipsoid_at_the_end_of_an_axis_is_the_known_one():
    a, b, c = 0.7, 1.9, 1.2
    end = torch.tensor([math.pi / 2, 0.0], dtype=DOUBLE)  # (a, 0, 0), where K = a^2 / (b c)^2
    torch.testing.assert_close(
        ricci_scalar(ellipsoid(a, b, c), end), torch.tensor(2 * a**2 / (b * c) ** 2, dtype=DOUBLE)
    )


def saddle(p):
    return torch.stack([p[0], p[1], p[0] * p[1], torch.ones_like(p[0])])


def turned(p):
    """A matrix with determinant x^2 + y^2."""
    return torch.stack([p[0], -p[1], p[1], p[0]]).reshape(2, 2)


def of_paraboloid(p):
    return 8 / (1 + 4 * p @ p) ** 2


def of_waves(p):
    """Of the graph of sin x + sin y."""
    return 2 * p.sin().prod() / (1 + p.cos().square().sum()) ** 2


AWKWARD = {  # through functions that torch differentiates wrongly by one route or another
    "layer_norm": (lambda p: functional.layer_norm(saddle(p), (4,), eps=0.0), lambda _: 0.5),
    "instance_norm": (lambda p: functional.instance_norm(saddle(p)[None, None], eps=1e-30).flatten(), lambda _: 0.5),
    "group_norm": (lambda p: functional.group_norm(saddle(p)[None], 1, eps=1e-30).flatten(), lambda _: 0.5),
    "batch_norm": (
        lambda p: functional.batch_norm(saddle(p)[:, None], None, None, training=True, eps=1e-30).flatten(),
        lambda _: 0.5,
    ),
    "rms_norm": (lambda p: functional.rms_norm(saddle(p)[:3] + 1, (3,), eps=1e-30), lambda _: 2 / 3),
    "custom function": (lambda p: torch.cat([p, Sine.apply(p).sum()[None]]), of_waves),
    "det": (lambda p: torch.cat([p, torch.linalg.det(turned(p))[None]]), of_paraboloid),
    "det of three": (
        lambda p: torch.cat([p, torch.det(torch.block_diag(turned(p), torch.ones(1, 1, dtype=p.dtype)))[None]]),
        of_paraboloid,
    ),
    "slogdet": (lambda p: torch.cat([p, torch.linalg.slogdet(turned(p))[1].exp()[None]]), of_paraboloid),
    "solve": (
        lambda p: torch.cat([p, 2 / torch.linalg.solve(turned(p), p * 0 + 1).square().sum()[None]]),
        of_paraboloid,
    ),
}


@pytest.mark.parametrize("name", AWKWARD)
def test_surfaces_through_awkward_functions_have_their_curvature(name):
    function, curvature = AWKWARD[name]
    x = torch.tensor([[0.3, 0.4], [-1.2, 0.5], [0.7, -0.6], [1.5, -0.8]], dtype=torch.float64)
    expected = torch.stack([torch.as_tensor(curvature(p), dtype=x.dtype) for p in x])
    torch.testing.assert_close(ricci_scalar(function, x), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("size", [2, 4, 5, 6, 9])
def test_determinants_of_all_sizes_have_their_curvature_where_the_matrix_is_singular_and_elsewhere(size):
    mixing = points(size, size, seed=5)
    mixing = mixing / torch.linalg.det(mixing).abs() ** (1 / size)

    def graph(p, *, mixed):
        matrix = torch.block_diag(turned(p), torch.eye(size - 2, dtype=p.dtype))
        return torch.cat([p, torch.linalg.det(mixing @ matrix if mixed else matrix)[None]])

    x = torch.tensor([[0.0, 0.0], [0.3, 0.4], [1.0, 0.0], [-1.2, 0.5]], dtype=torch.float64)  # singular at the first
    expected = torch.stack([of_paraboloid(p) for p in x])
    for mixed in (False, True):
        found = ricci_scalar(lambda p, mixed=mixed: graph(p, mixed=mixed), x)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


def test_a_determinant_of_rank_three_below_its_size_is_flat():
    def graph(p):
        moving = torch.cat([p, p[:1] - p[1:], torch.ones(3, dtype=p.dtype)])
        return torch.cat([p, torch.linalg.det(torch.diag(moving))[None]])

    assert ricci_scalar(graph, torch.zeros(1, 2, dtype=torch.float64)) == 0
