"""Kernels magnified by hand: their metric, their volume element, and the machines trained with them."""

import math

import numpy as np
import pytest
import torch
from reference import DOUBLE, points
from sklearn.svm import SVC

from nngeom_cli.kernels import (
    BoundaryFactor,
    GaussianKernel,
    MagnifiedKernel,
    SupportVectorFactor,
    SupportVectorMachine,
    kernel_log_volume_element,
    kernel_metric,
)
from nngeom_cli.kernels.kernel import gram


def ring(d=2, count=60):
    """Points inside and outside a sphere."""
    x = points(count, d, seed=3)
    return x, (x.norm(dim=1) > math.sqrt(d) * 0.9).long()


def machine(d=2, scale=0.8, penalty=5.0):
    return SupportVectorMachine.trained(GaussianKernel(scale), *ring(d), penalty=penalty)


FACTORS = {
    "1999": SupportVectorFactor.amari_wu_1999,
    "2002": SupportVectorFactor.wu_amari_2002,
    "2007": lambda first: BoundaryFactor(first, sharpness=0.7),
}


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("year", FACTORS)
def test_volume_element_in_closed_form_is_that_of_the_metric(year, d):
    first = machine(d)
    kernel = MagnifiedKernel(first.kernel, FACTORS[year](first))
    x = points(9, d, seed=8)
    torch.testing.assert_close(kernel.log_volume_element(x), kernel_log_volume_element(kernel, x), rtol=0, atol=1e-10)


PLANES = [(5, 2), (64, 2), (5, 1), (3, 3)]  # dimensions of input space and of the subspace


@pytest.mark.parametrize(("d", "m"), PLANES)
@pytest.mark.parametrize("year", FACTORS)
def test_metric_on_a_plane_is_the_metric_of_input_space_along_it(year, d, m):
    first = machine(d, scale=0.8 * math.sqrt(d))
    kernel = MagnifiedKernel(first.kernel, FACTORS[year](first))
    origin, directions = points(1, d, seed=5)[0] / 4, torch.linalg.qr(points(m, d, seed=6).T).Q.T
    places = points(4, m, seed=8) / 2
    expected = directions @ kernel_metric(kernel, origin + places @ directions) @ directions.T
    on_plane = kernel.restricted_to(origin, directions)
    torch.testing.assert_close(kernel_metric(on_plane, places), expected, rtol=1e-10, atol=0)
    volume = expected.logdet() / 2
    torch.testing.assert_close(on_plane.log_volume_element(places), volume, rtol=0, atol=1e-10)


@pytest.mark.parametrize("year", FACTORS)
def test_area_on_a_plane_is_that_of_small_triangles_of_its_features(year):
    """Squares of distances between features, K(x, x) - 2 K(x, y) + K(y, y), give the area; the error is of order h."""
    first = machine(64, scale=6.0)
    kernel = MagnifiedKernel(first.kernel, FACTORS[year](first))
    origin, directions = points(1, 64, seed=5)[0] / 4, torch.linalg.qr(points(2, 64, seed=6).T).Q.T
    h = 1e-4
    a, b, c = origin + h * torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=DOUBLE) @ directions
    ab, ac, bc = (
        (kernel(x, x) - 2 * kernel(x, y) + kernel(y, y)).item() / kernel(a, a).item()
        for x, y in ((a, b), (a, c), (b, c))
    )
    area = kernel(a, a).item() * math.sqrt(ab * ac - ((ab + ac - bc) / 2) ** 2) / h**2
    volume = kernel.restricted_to(origin, directions).log_volume_element([0.0, 0.0])
    assert math.log(area) == pytest.approx(volume.item(), abs=1e-3)


@pytest.mark.parametrize(
    ("directions", "words"),
    [
        ([[1.0, 0.0], [1.0, 1.0]], r"`directions` must be orthonormal\. Got dot products that are wrong by 1\."),
        ([[2.0, 0.0]], r"`directions` must be orthonormal\. Got dot products that are wrong by 3\."),
        ([[1.0, 0.0, 0.0]], r"`directions` must have shape \(m, 2\)"),
    ],
)
def test_directions_that_are_not_orthonormal_are_refused(directions, words):
    kernel = machine().magnified(FACTORS["1999"](machine())).kernel
    with pytest.raises(ValueError, match=words):
        kernel.restricted_to([0.0, 0.0], directions)
    with pytest.raises(
        ValueError, match=r"`x` must have shape \(\*batch, 1\), a coordinate for each direction\. Got \(2,"
    ):
        kernel.restricted_to(torch.zeros(2).double(), torch.eye(2).double()[:1]).log_volume_element([0.0, 0.0])


@pytest.mark.parametrize("year", FACTORS)
def test_metric_is_c_squared_g_plus_the_square_of_the_gradient_of_c(year):
    first = machine()
    factor = FACTORS[year](first)
    x = points(9, 2, seed=8)
    c, slopes = factor.log(x).exp(), torch.func.vmap(torch.func.grad(lambda p: factor.log(p).exp()))(x)
    plain = torch.eye(2, dtype=DOUBLE) / first.kernel.scale**2
    expected = c.square()[:, None, None] * plain + slopes[:, :, None] * slopes[:, None]
    metric = kernel_metric(MagnifiedKernel(first.kernel, factor), x)
    torch.testing.assert_close(metric, expected, rtol=1e-10, atol=1e-14)


def test_metric_is_that_of_differences_of_the_kernel():
    """|phi(x + v) - phi(x)|^2 = K(x + v, x + v) - 2 K(x + v, x) + K(x, x), features phi."""
    first = machine()
    kernel = MagnifiedKernel(first.kernel, SupportVectorFactor.amari_wu_1999(first))
    x, v = points(2, 2, seed=8)
    step = 1e-4 * v
    squared = kernel(x + step, x + step) - 2 * kernel(x + step, x) + kernel(x, x)
    assert squared.item() == pytest.approx((step @ kernel_metric(kernel, x) @ step).item(), rel=1e-3)


def test_volume_keeps_its_digits_where_the_factor_underflows():
    kernel = MagnifiedKernel(
        GaussianKernel(2.0), SupportVectorFactor(torch.zeros(1, 2).double(), torch.ones(1).double())
    )
    volume = kernel.log_volume_element([[100.0, 0.0]])
    expected = 2 * (-(100.0**2) / 2 - math.log(2)) + math.log(1 + 4 * 100.0**2) / 2
    assert volume.item() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("penalty", [0.5, 5.0, 1e3])
def test_machine_is_that_of_scikit_learns_own_gaussian_kernel(penalty):
    x, labels = ring()
    ours = SupportVectorMachine.trained(GaussianKernel(0.8), x, labels, penalty=penalty)
    theirs = SVC(C=penalty, gamma=1 / (2 * 0.8**2), tol=1e-6).fit(x.numpy(), labels.numpy())
    where = points(20, 2, seed=9)
    np.testing.assert_allclose(ours.decision(where), theirs.decision_function(where.numpy()), atol=1e-4)
    assert ours.predict(where).tolist() == theirs.predict(where.numpy()).tolist()


@pytest.mark.parametrize("year", FACTORS)
def test_second_machine_is_trained_with_the_magnified_kernel(year):
    first = machine()
    factor = FACTORS[year](first)
    second = first.magnified(factor)
    x, labels = ring()
    c = factor.log(x).exp()
    products = c[:, None] * gram(first.kernel, x, x) * c
    slow = SVC(C=5.0, kernel="precomputed", tol=1e-6).fit(products.numpy(), labels.numpy())
    np.testing.assert_allclose(second.decision(x), slow.decision_function(products.numpy()), atol=1e-4)
    assert isinstance(second.kernel, MagnifiedKernel)


def test_widths_of_2002_are_means_over_the_nearest_support_vectors():
    first = machine()
    widths = SupportVectorFactor.wu_amari_2002(first, neighbours=2).widths
    vectors = first.support_vectors.tolist()
    for one, width in zip(vectors, widths.tolist(), strict=True):
        squares = sorted(math.dist(one, other) ** 2 for other in vectors)[1:3]
        assert width == pytest.approx(math.sqrt(sum(squares) / 2), rel=1e-12)


def test_boundary_is_magnified_more_than_elsewhere_by_the_factor_of_2007():
    first = machine()
    factor = BoundaryFactor(first, sharpness=0.7)
    assert factor.log(points(50, 2)).max() <= 0
    on_axis = torch.stack([torch.linspace(0, 3, 400).double(), torch.zeros(400).double()], dim=1)
    nearest = first.decision(on_axis).abs().argmin()
    assert factor.log(on_axis).argmax() == nearest


def test_large_batches_are_handled_in_parts(monkeypatch):
    x = points(7, 3)
    whole = gram(GaussianKernel(1.0), x, x)
    monkeypatch.setattr("nngeom_cli.kernels.kernel._NUMBERS_AT_ONCE", 1)
    assert torch.equal(gram(GaussianKernel(1.0), x, x), whole)


TWICE = torch.zeros(2, 2, dtype=DOUBLE)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: GaussianKernel(0.0), r"`scale` must be positive and finite\. Got 0\.0"),
        (lambda: BoundaryFactor(machine(), -1.0), r"`sharpness` must be positive"),
        (lambda: SupportVectorFactor.amari_wu_1999(machine(), 0.0), r"`widths` must be positive"),
        (lambda: SupportVectorFactor.wu_amari_2002(machine(), 0), r"`neighbours` must be at least 1\. Got 0"),
        (lambda: SupportVectorFactor(TWICE, torch.ones(3).double()), r"`centres` and `widths` must have shapes"),
        (lambda: SupportVectorMachine.trained(GaussianKernel(1.0), TWICE, [0, 0]), r"`labels` .* two classes\. Got 1"),
        (lambda: SupportVectorMachine.trained(GaussianKernel(1.0), TWICE, [0]), r"`inputs` and `labels` must have"),
        (lambda: SupportVectorMachine.trained(GaussianKernel(1.0), TWICE, [0, 1], penalty=0), r"`penalty` must be"),
        (
            lambda: SupportVectorMachine.trained(GaussianKernel(1.0), TWICE / 0, [0, 1]),
            r"`inputs` must be finite\. Got 4",
        ),
        (lambda: machine().decision(TWICE[:, :1]), r"`x` must have shape \(\*batch, 2\).*Got \(2, 1\)"),
        (lambda: SupportVectorFactor.amari_wu_1999(machine()).log(TWICE[:, :1]), r"`x` must have shape"),
        (lambda: kernel_metric(GaussianKernel(1.0), 3.0), r"`x` must have shape"),
    ],
)
def test_bad_input_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_kernel_that_is_magnified_already_is_not_magnified_again():
    second = machine().magnified(SupportVectorFactor.amari_wu_1999(machine()))
    with pytest.raises(TypeError, match=r"`kernel` must be a GaussianKernel"):
        second.magnified(SupportVectorFactor.wu_amari_2002(second))
    with pytest.raises(TypeError, match=r"`width` must be given"):
        SupportVectorFactor.amari_wu_1999(second)
