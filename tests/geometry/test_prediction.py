"""The Fisher metric of a prediction on input space."""

import mpmath
import pytest
import torch
from mpmath import mpf
from reference import DOUBLE, points, random_network

from nngeom_cli.geometry import (
    MLPFeatureMap,
    ModuleFeatureMap,
    PredictionFeatureMap,
    log_effective_volume_element,
    log_volume_element,
    measure,
    metric_spectrum,
    pullback_metric,
    ricci_scalar,
)


def exact_logits(weights, biases, point):
    """Logits and their Jacobian, of a network with one hidden layer of tanh, in the working digits of mpmath."""
    (first, second), (offset, last) = ([mpmath.matrix(w.tolist()) for w in part] for part in (weights, biases))
    hidden = [mpmath.tanh(z) for z in first * mpmath.matrix(point) + offset]
    slopes = mpmath.diag([1 - y**2 for y in hidden])
    return second * mpmath.matrix(hidden) + last, second * slopes * first


def exact_softmax(logits):
    exponentials = [mpmath.exp(z) for z in logits]
    total = mpmath.fsum(exponentials)
    return [each / total for each in exponentials]


def exact_metric(weights, biases, point):
    logits, jacobian = exact_logits(weights, biases, point)
    p = exact_softmax(logits)
    covariance = mpmath.diag(p) - mpmath.matrix(p) * mpmath.matrix(p).T
    return jacobian.T * covariance * jacobian


def saturated_network(classes=3, d=2, gap=70.0):
    """A network whose first class has all the probability but e^-gap."""
    weights, biases = random_network([d, 5, classes], seed=3)
    biases[1][0] += gap
    return weights, biases


def linear_output(weights, biases):
    return MLPFeatureMap(weights, biases, ["tanh", "identity"])


def entries(matrix):
    return torch.tensor([[float(number) for number in row] for row in matrix.tolist()], dtype=DOUBLE)


@pytest.mark.parametrize("gap", [0.0, 70.0, 300.0])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_metric_keeps_its_digits_where_a_probability_is_near_1(gap, classes):
    weights, biases = saturated_network(classes, gap=gap)
    x = points(2)
    with mpmath.workdps(400):
        expected = entries(exact_metric(weights, biases, x.tolist()))
    measured = pullback_metric(PredictionFeatureMap(linear_output(weights, biases)), x)
    torch.testing.assert_close(measured, expected, rtol=2e-13 * max(1, gap), atol=0)


def test_metric_is_the_second_order_of_the_divergence_between_predictions():
    """2 KL(p(x) || p(x + t v)) / t^2 differs from v^T F v by c t + O(t^2)."""
    weights, biases = random_network([3, 5, 4], seed=7)
    x, v = points(2, 3, seed=2)
    with mpmath.workdps(60):

        def divergence(t):
            moved = [mpf(a) + t * mpf(b) for a, b in zip(x.tolist(), v.tolist(), strict=True)]
            p, q = (exact_softmax(exact_logits(weights, biases, point)[0]) for point in (x.tolist(), moved))
            return mpmath.fsum(a * mpmath.log(a / b) for a, b in zip(p, q, strict=True))

        near, far, farther = (2 * divergence(t) / t**2 for t in (mpf("1e-20"), mpf("1e-5"), mpf("2e-5")))
    metric = pullback_metric(PredictionFeatureMap(linear_output(weights, biases)), x)
    assert (v @ metric @ v).item() == pytest.approx(float(near), rel=1e-13)
    assert float((farther - near) / (far - near)) == pytest.approx(2, rel=1e-3)


@pytest.mark.parametrize("margin", [0.0, 1.0, 40.0, -70.0, 500.0])
def test_two_classes_have_the_variance_times_the_square_of_the_margins_gradient(margin):
    slope = torch.tensor([3.0, -4.0], dtype=DOUBLE)
    prediction = PredictionFeatureMap(lambda p: torch.stack([0 * p[0], slope @ p + margin]))
    variance = mpmath.exp(-abs(margin)) / (1 + mpmath.exp(-abs(margin))) ** 2
    torch.testing.assert_close(
        pullback_metric(prediction, torch.zeros(2).double()), float(variance) * slope.outer(slope), rtol=1e-14, atol=0
    )
    spectrum = metric_spectrum(prediction, torch.zeros(2).double(), 1)
    assert spectrum.item() == pytest.approx(25 * float(variance), rel=1e-13)


@pytest.mark.parametrize("second", [False, True])
def test_derivatives_are_those_of_twice_the_roots_of_the_probabilities(second):
    """Against automatic differentiation of 2 sqrt(softmax), which is sound where nothing saturates."""
    weights, biases = random_network([3, 6, 5], seed=5)
    x = points(4, 3)

    def roots(point):
        z = weights[1] @ torch.tanh(weights[0] @ point + biases[0]) + biases[1]
        return 2 * torch.softmax(z, 0).sqrt()

    jet = PredictionFeatureMap(linear_output(weights, biases)).jet(x, second=second)
    jacobian = torch.func.vmap(torch.func.jacrev(roots))(x)
    torch.testing.assert_close((jet.jacobian / jet.unit.unsqueeze(1))[0].movedim(-1, 0), jacobian)
    if second:
        hessian = torch.func.vmap(torch.func.jacrev(torch.func.jacrev(roots)))(x)
        rows, columns = torch.triu_indices(3, 3)
        units = (jet.unit[:, rows] * jet.unit[:, columns]).unsqueeze(1)
        torch.testing.assert_close((jet.hessian / units)[0].movedim(-1, 0), hessian[:, :, rows, columns])


def test_volume_of_the_nonzero_part_is_that_of_the_margins_times_the_root_of_all_probabilities():
    """det(diag p - p p^T), of all classes but one, is the product of all p."""
    weights, biases = random_network([6, 8, 4], seed=9)
    x = points(7, 6)
    prediction = PredictionFeatureMap(linear_output(weights, biases))
    jacobian = torch.func.vmap(torch.func.jacrev(lambda p: weights[1] @ torch.tanh(weights[0] @ p + biases[0])))(x)
    of_margins = torch.linalg.svdvals(jacobian[:, 1:] - jacobian[:, :1]).log().sum(dim=1)
    expected = of_margins + prediction.log_probabilities(x).sum(dim=1) / 2
    torch.testing.assert_close(log_effective_volume_element(prediction, x, 3), expected, rtol=1e-11, atol=1e-11)


def test_three_classes_on_the_plane_lie_on_a_sphere_of_radius_2():
    prediction = PredictionFeatureMap(linear_output(*random_network([2, 6, 3], seed=1, replicates=(4,))))
    scalar = ricci_scalar(prediction, points(5, 2))
    torch.testing.assert_close(scalar, torch.full((4, 5), 0.5, dtype=DOUBLE), rtol=1e-8, atol=0)


def test_with_as_many_inputs_as_classes_there_is_no_volume_and_no_curvature():
    prediction = PredictionFeatureMap(linear_output(*random_network([3, 6, 3], seed=1)))
    measured = measure(prediction, points(3), ("log_volume_element", "ricci_scalar"))
    assert measured["log_volume_element"] == -torch.inf
    assert measured["ricci_scalar"].isnan()
    with pytest.raises(ValueError, match=r"`top_k` must be between 1 and 2, .*Got 3"):
        metric_spectrum(prediction, points(3), 3)


def test_adding_a_number_to_all_logits_changes_nothing():
    weights, biases = random_network([2, 6, 4], seed=8)
    shift = points(6, seed=5)
    moved = [weights[0], weights[1] + shift], [biases[0], biases[1] + 7]
    x = points(9, 2)
    one, other = (PredictionFeatureMap(linear_output(*each)) for each in ((weights, biases), moved))
    torch.testing.assert_close(log_volume_element(one, x), log_volume_element(other, x), rtol=1e-11, atol=0)


def test_division_by_the_root_of_the_width_is_undone_for_every_kind_of_map():
    model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).double()
    maps = [
        MLPFeatureMap.from_module(model, layer=2),
        ModuleFeatureMap(model, "2"),
        ModuleFeatureMap(model, "2", normalize=False),
        model,
        ModuleFeatureMap([model], "2").each()[0],
    ]
    x = points(5, 2)
    metrics = [pullback_metric(PredictionFeatureMap(each), x) for each in maps]
    for metric in metrics[1:]:
        torch.testing.assert_close(metric, metrics[0], rtol=1e-11, atol=1e-14)
    probabilities = PredictionFeatureMap(maps[0])(x).square() / 4
    torch.testing.assert_close(probabilities, torch.softmax(model(x), dim=1).detach())


def test_a_plane_of_input_space_has_the_restricted_metric():
    prediction = PredictionFeatureMap(linear_output(*random_network([6, 8, 4], seed=2)))
    origin, directions = points(6), points(2, 6, seed=3)
    full = pullback_metric(prediction, origin + directions[0])
    restricted = pullback_metric(prediction.restricted_to(origin, directions), torch.tensor([1.0, 0.0]).double())
    torch.testing.assert_close(restricted, directions @ full @ directions.T)


def test_a_hidden_layer_is_refused():
    with pytest.raises(ValueError, match=r"`logits` must be .*linear output layer.*'tanh'"):
        PredictionFeatureMap(MLPFeatureMap(*random_network([2, 3], seed=0), "tanh"))


def test_a_single_output_is_refused():
    prediction = PredictionFeatureMap(MLPFeatureMap(*random_network([2, 1], seed=0), "identity"))
    with pytest.raises(ValueError, match=r"`logits` must be at least two.*Got 1"):
        pullback_metric(prediction, points(2))


def test_no_points_have_an_empty_metric():
    prediction = PredictionFeatureMap(linear_output(*random_network([2, 6, 3], seed=0, replicates=(4,))))
    assert pullback_metric(prediction, torch.zeros(0, 2).double()).shape == (4, 0, 2, 2)


def test_a_class_that_is_ruled_out_counts_for_nothing():
    two = PredictionFeatureMap(lambda p: torch.stack([p[0], p[1]]))
    three = PredictionFeatureMap(lambda p: torch.stack([p[0], p[1], 0 * p[0] - torch.inf]))
    torch.testing.assert_close(pullback_metric(three, points(2)), pullback_metric(two, points(2)))
