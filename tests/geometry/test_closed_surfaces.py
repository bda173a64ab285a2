"""Gauss-Bonnet: the integral of R / 2 over a closed surface is 2 pi times its Euler characteristic."""

import math

import numpy as np
import pytest
import torch
from reference import DOUBLE

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
