"""Curvature tensors against the textbook, and their principal values."""

import math

import pytest
import reference
import torch
from reference import DOUBLE, monkey_saddle, network_function, paraboloid, points, random_network

from nngeom_cli.geometry import (
    MLPFeatureMap,
    measure,
    principal_ricci_curvatures,
    pullback_metric,
    ricci_scalar,
    ricci_tensor,
    riemann_tensor,
    second_fundamental_form,
    sectional_curvature,
)


def close(left, right, scale=1.0):
    torch.testing.assert_close(left, right, rtol=0, atol=1e-8 * max(1.0, right.abs().max().item()) * scale)


@pytest.mark.parametrize("chart", [paraboloid, monkey_saddle])
def test_tensors_of_charts_agree_with_christoffel_symbols(chart):
    for x in 0.4 * points(4, 2):
        close(riemann_tensor(chart, x), reference.riemann(chart, x))
        close(ricci_tensor(chart, x), reference.ricci(chart, x))


@pytest.mark.parametrize("widths", [[2, 5], [3, 7], [4, 8], [2, 4, 5], [3, 5, 4]])
def test_tensors_of_networks_agree_with_christoffel_symbols(widths):
    weights, biases = random_network(widths, seed=sum(widths))
    feature_map = MLPFeatureMap(weights, biases, "tanh")
    function = network_function(weights, biases, torch.tanh)
    for x in 0.5 * points(2, widths[0]):
        close(riemann_tensor(feature_map, x), reference.riemann(function, x), scale=10)
        close(ricci_tensor(feature_map, x), reference.ricci(function, x), scale=10)


def test_second_fundamental_form_is_the_normal_part_of_the_hessian():
    weights, biases = random_network([3, 6], seed=1)
    function = network_function(weights, biases, torch.sin)
    x = points(3)
    jacobian = torch.func.jacrev(function)(x)
    hessian = torch.func.jacrev(torch.func.jacrev(function))(x)
    normal = torch.eye(6, dtype=DOUBLE) - jacobian @ torch.linalg.pinv(jacobian)
    form = second_fundamental_form(MLPFeatureMap(weights, biases, "sin"), x)
    close(form, torch.einsum("ij,jab->iab", normal, hessian))
    close(torch.einsum("iab,ic->abc", form, jacobian), torch.zeros(3, 3, 3, dtype=DOUBLE))


def test_second_fundamental_form_of_a_circle_points_to_its_centre_with_the_inverse_radius():
    form = second_fundamental_form(lambda t: 3 * torch.cat([t.cos(), t.sin()]), torch.tensor([0.5], dtype=DOUBLE))
    speed = 3.0
    expected = -(speed**2) / 3 * torch.tensor([math.cos(0.5), math.sin(0.5)], dtype=DOUBLE)
    torch.testing.assert_close(form[:, 0, 0], expected)


@pytest.mark.parametrize("widths", [[2, 6], [3, 9], [4, 7]])
def test_ricci_tensor_and_scalar_are_contractions_of_riemann(widths):
    feature_map = MLPFeatureMap(*random_network(widths, seed=3, replicates=(2,)), "sigmoid")
    x = points(3, widths[0])
    inverse = torch.linalg.inv(pullback_metric(feature_map, x))
    riemann = riemann_tensor(feature_map, x)
    ricci = torch.einsum("...mn,...manb->...ab", inverse, riemann)
    torch.testing.assert_close(ricci_tensor(feature_map, x), ricci, rtol=1e-7, atol=1e-10)
    scalar = torch.einsum("...ab,...ab->...", inverse, ricci)
    torch.testing.assert_close(ricci_scalar(feature_map, x), scalar, rtol=1e-6, atol=1e-6)


def test_ricci_tensor_of_a_surface_is_half_the_scalar_times_the_metric():
    feature_map = MLPFeatureMap(*random_network([2, 6], seed=3), "gelu")
    x = points(5, 2)
    half = ricci_scalar(feature_map, x)[:, None, None] / 2 * pullback_metric(feature_map, x)
    torch.testing.assert_close(ricci_tensor(feature_map, x), half, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(sectional_curvature(feature_map, x), ricci_scalar(feature_map, x) / 2)


@pytest.mark.parametrize("widths", [[2, 6], [3, 7], [5, 9]])
def test_principal_curvatures_are_eigenvalues_of_ricci_with_respect_to_the_metric_and_sum_to_the_scalar(widths):
    feature_map = MLPFeatureMap(*random_network(widths, seed=3), "tanh")
    x = points(4, widths[0])
    values, vectors = principal_ricci_curvatures(feature_map, x)
    metric, ricci = pullback_metric(feature_map, x), ricci_tensor(feature_map, x)
    unit = torch.eye(widths[0], dtype=DOUBLE).expand(4, -1, -1)
    torch.testing.assert_close(vectors @ metric @ vectors.mT, unit, rtol=1e-8, atol=1e-8)
    close(vectors @ ricci @ vectors.mT, torch.diag_embed(values), scale=100)
    torch.testing.assert_close(values.sum(-1), ricci_scalar(feature_map, x), rtol=1e-8, atol=1e-8)
    assert (values.diff(dim=-1) <= 0).all()


def test_sectional_curvature_is_that_of_the_riemann_tensor_and_depends_on_the_plane_alone():
    feature_map = MLPFeatureMap(*random_network([4, 9], seed=3), "tanh")
    x = points(3, 4)
    plane = points(2, 4, seed=5)
    u, v = plane
    riemann, metric = riemann_tensor(feature_map, x), pullback_metric(feature_map, x)
    area = (metric @ u @ u) * (metric @ v @ v) - (metric @ u @ v) ** 2
    expected = torch.einsum("zabcd,a,b,c,d->z", riemann, u, v, u, v) / area
    torch.testing.assert_close(sectional_curvature(feature_map, x, plane), expected, rtol=1e-8, atol=1e-8)
    same = torch.stack([u + 3 * v, 1e-3 * v])
    torch.testing.assert_close(sectional_curvature(feature_map, x, same), expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("plane", [None, torch.ones(2, 3, dtype=DOUBLE), torch.ones(3, dtype=DOUBLE)])
def test_sectional_curvature_refuses_what_is_no_plane(plane):
    feature_map = MLPFeatureMap(*random_network([3, 5], seed=3), "tanh")
    with pytest.raises(ValueError, match=r"`plane` must be two independent vectors of input space, shape \(2, 3\)"):
        sectional_curvature(feature_map, points(3), plane)


@pytest.mark.parametrize(("widths", "expected"), [([2, 2], 0.0), ([1, 4], 0.0), ([3, 3], 0.0), ([3, 2], math.nan)])
def test_tensors_vanish_where_nothing_can_bend_and_are_nan_where_rank_is_missing(widths, expected):
    feature_map = MLPFeatureMap(*random_network(widths, seed=3), "tanh")
    x = points(4, widths[0])
    d, n = widths
    names = ("second_fundamental_form", "riemann_tensor", "ricci_tensor", "principal_ricci_curvatures")
    shapes = ((4, n, d, d), (4, d, d, d, d), (4, d, d), (4, d))
    measured = measure(feature_map, x, names)
    for name, shape in zip(names, shapes, strict=True):
        if name != "second_fundamental_form" or n <= d:  # a curve bends in feature space, and is flat in itself
            assert torch.equal(
                measured[name].nan_to_num(nan=7.0), torch.full(shape, expected).nan_to_num(nan=7.0).double()
            )
    directions = principal_ricci_curvatures(feature_map, x).directions
    assert directions.shape == (4, d, d)
    assert directions.isnan().all() == math.isnan(expected)


def test_empty_batches_and_replicates_keep_their_shapes():
    feature_map = MLPFeatureMap(*random_network([3, 5], seed=3, replicates=(2, 4)), "tanh")
    x = points(0, 3)
    assert riemann_tensor(feature_map, x).shape == (2, 4, 0, 3, 3, 3, 3)
    assert second_fundamental_form(feature_map, x).shape == (2, 4, 0, 5, 3, 3)
    assert principal_ricci_curvatures(feature_map, points(6, 3)).directions.shape == (2, 4, 6, 3, 3)
    assert sectional_curvature(feature_map, points(6, 3), torch.eye(3, dtype=DOUBLE)[:2]).shape == (2, 4, 6)
