"""Every layer from one pass: against the golden files, automatic differentiation, and one pass for each layer."""

import math
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch
from reference import FILES, NETWORKS, TOLERANCE, doubles, network_function, points, random_network, scalar
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nngeom_cli.geometry import (
    MLPFeatureMap,
    TorchFeatureMap,
    get_activation,
    layer_spectra,
    log_volume_element,
    measure,
    measure_layers,
    metric_spectrum,
    pullback_metric,
    ricci_scalar,
)

QUANTITIES = ("pullback_metric", "log_volume_element", "ricci_scalar", "ricci_scalar_error", "condition_number")


@pytest.mark.parametrize(("name", "index"), NETWORKS)
def test_a_layer_below_others_meets_the_golden_files(name, index):
    entry = FILES[name]["mlp"][index]
    weights, biases = [doubles(w) for w in entry["weights"]], [doubles(b) for b in entry["biases"]]
    above, offset = random_network([len(weights[-1]), 9], seed=index)
    network = MLPFeatureMap([*weights, *above], [*biases, *offset], entry["activation"])
    measured = measure_layers(network, doubles(entry["points"]), range(1, len(weights) + 2))[entry["layer"]]
    for field in ("log_volume_element", "ricci_scalar"):
        truth = doubles([point[field] for point in entry["expected"]])
        torch.testing.assert_close(measured[field], truth, rtol=TOLERANCE[name], atol=0)


@pytest.mark.parametrize("widths", [[2, 8, 8, 8, 3], [3, 5, 7, 4], [2, 2, 6, 2, 5]])
def test_every_layer_of_a_deep_map_is_that_of_automatic_differentiation(widths):
    weights, biases = random_network(widths, seed=5)
    network = MLPFeatureMap(weights, biases, "sin")
    x = points(4, widths[0])
    layers = range(1, len(widths))
    measured = measure_layers(network, x, layers, QUANTITIES)
    for layer in layers:
        twin = TorchFeatureMap(network_function(weights[:layer], biases[:layer], torch.sin))
        torch.testing.assert_close(measured[layer]["pullback_metric"], pullback_metric(twin, x), rtol=1e-11, atol=1e-13)
        torch.testing.assert_close(
            measured[layer]["log_volume_element"], log_volume_element(twin, x), rtol=1e-11, atol=1e-11
        )
        if widths[layer] > widths[0] <= min(widths[: layer + 1]):
            torch.testing.assert_close(measured[layer]["ricci_scalar"], ricci_scalar(twin, x), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("widths", [[2, 8, 6, 7], [2, 2, 8, 2], [2, 8, 1, 8], [3, 5, 4, 9]])
@pytest.mark.parametrize("replicates", [(), (3,)])
def test_one_pass_equals_a_feature_map_for_each_layer(widths, replicates):
    weights, biases = random_network(widths, seed=3, replicates=replicates)
    x = points(2, 5, widths[0])
    layers = [3, 1, 2]
    measured = measure_layers(MLPFeatureMap(weights, biases, "tanh"), x, layers, QUANTITIES)
    assert list(measured) == layers
    for layer in layers:
        alone = measure(MLPFeatureMap(weights, biases, "tanh", layer=layer), x, QUANTITIES)
        for name, values in alone.items():
            assert measured[layer][name].shape == values.shape
            rounding = (
                alone["ricci_scalar_error"].nan_to_num() if name == "ricci_scalar" else 1e-9 * values.abs() + 1e-13
            )
            equal = (measured[layer][name] == values) | (measured[layer][name].isnan() & values.isnan())
            assert (equal | ((measured[layer][name] - values).abs() <= rounding)).all(), name


def test_all_layers_cost_one_pass():
    tanh, units = get_activation("tanh"), []

    def derivatives(z):
        units.append(z.shape[1])
        return tanh.derivatives(z)

    network = MLPFeatureMap(*random_network([2, 8, 7, 6], seed=0), replace(tanh, derivatives=derivatives))
    measure_layers(network, points(10, 2), [1, 2, 3])
    assert units == [8, 7, 6]


def test_layers_past_a_bottleneck_have_no_volume_and_no_curvature():
    network = MLPFeatureMap(*random_network([2, 8, 1, 8], seed=1), "sigmoid")
    measured = measure_layers(network, points(6, 2), [1, 2, 3])
    assert measured[1]["ricci_scalar"].isfinite().all()
    for layer in (2, 3):
        assert (measured[layer]["log_volume_element"] == -torch.inf).all()
        assert (measured[layer]["condition_number"] == torch.inf).all()
        assert measured[layer]["ricci_scalar"].isnan().all()


def test_spectra_are_those_of_each_layer_and_exactly_zero_past_its_rank():
    weights, biases = random_network([6, 5, 3, 4], seed=2, replicates=(2,))
    network = MLPFeatureMap(weights, biases, "tanh")
    x = points(7, 6)
    spectra = layer_spectra(network, x, [1, 2, 3], 4)
    for layer, rank in ((1, 4), (2, 3), (3, 3)):
        alone = metric_spectrum(MLPFeatureMap(weights, biases, "tanh", layer=layer), x, rank)
        torch.testing.assert_close(spectra[layer][..., :rank], alone, rtol=1e-10, atol=0)
        assert spectra[layer].shape == (2, 7, 4)
        assert (spectra[layer][..., rank:] == 0).all()


@pytest.mark.parametrize("layers", [[], [0], [4], [1, 4]])
def test_a_layer_that_is_not_there_is_refused(layers):
    network = MLPFeatureMap(*random_network([2, 3, 4, 5], seed=0), "tanh")
    with pytest.raises(ValueError, match=r"`layers` must be at least one .* between 1 and 3\. Got"):
        measure_layers(network, points(1, 2), layers)


@pytest.mark.parametrize("count", [0, 3])
def test_a_spectrum_has_between_one_and_d_eigenvalues(count):
    network = MLPFeatureMap(*random_network([2, 3], seed=0), "tanh")
    with pytest.raises(ValueError, match=r"`count` must be between 1 and 2, the feature map's input dimension\. Got"):
        layer_spectra(network, points(1, 2), [1], count)


@pytest.mark.parametrize("widths", [[7, 5], [6, 4, 5], [64, 30]])
def test_curvature_of_a_restricted_map_is_that_of_the_christoffel_route(widths):
    weights, biases = random_network(widths, seed=4)
    origin, directions = points(widths[0], seed=8), torch.linalg.qr(points(widths[0], 2, seed=9)).Q.T
    network = network_function(weights, biases, torch.tanh)
    restricted = MLPFeatureMap(weights, biases, "tanh").restricted_to(origin, directions)
    for u in points(3, 2):
        truth = scalar(lambda place: network(origin + place @ directions), u)
        torch.testing.assert_close(ricci_scalar(restricted, u), truth, rtol=1e-7, atol=1e-9)


def test_metric_of_a_restricted_map_is_the_pullback_of_the_metric():
    weights, biases = random_network([7, 5, 4], seed=4)
    network = MLPFeatureMap(weights, biases, "tanh")
    origin, directions, u = points(7, seed=8), points(2, 7, seed=9), points(3, 2)
    full = pullback_metric(network, origin + u @ directions)
    torch.testing.assert_close(
        pullback_metric(network.restricted_to(origin, directions), u), directions @ full @ directions.T
    )


@pytest.mark.parametrize(("replicates", "shape"), [((5,), (7,)), ((2, 3), (2, 4)), ((), (9,))])
def test_replicates_in_blocks_have_the_geometry_of_all_at_once(replicates, shape, monkeypatch):
    weights, biases = random_network([2, 8, 5], seed=3)
    scales = torch.linspace(1, 2, max(1, math.prod(replicates)), dtype=torch.float64).reshape(*replicates, 1, 1)
    network = MLPFeatureMap([w * scales for w in weights], [b * scales[..., 0] for b in biases], "tanh")
    x = points(math.prod(shape), 2).reshape(*shape, 2)
    whole, spectra = measure_layers(network, x, [1, 2], QUANTITIES), layer_spectra(network, x, [1, 2], 2)
    at_once, jets = [], MLPFeatureMap.jets

    def noted(part, *arguments, **options):
        at_once.append(len(part.weights[0]))
        return jets(part, *arguments, **options)

    monkeypatch.setattr(MLPFeatureMap, "jets", noted)
    monkeypatch.setattr(import_module("nngeom_cli.geometry.measure"), "_MOST_ELEMENTS", 2 * 64 * 8 * 6)
    parts, fewer = measure_layers(network, x, [1, 2], QUANTITIES), layer_spectra(network, x, [1, 2], 2)
    assert max(at_once) <= 4  # two with second derivatives, four with the first only
    for layer in (1, 2):
        torch.testing.assert_close(fewer[layer], spectra[layer], rtol=1e-12, atol=0)
        for name in QUANTITIES:
            torch.testing.assert_close(parts[layer][name], whole[layer][name], rtol=1e-12, atol=1e-30)


class LargestArray(TorchDispatchMode):
    """Notes how many numbers the largest array has that torch makes."""

    numbers = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        made = function(*arguments, **(options or {}))
        sizes = [each.numel() for each in tree_leaves(made) if isinstance(each, torch.Tensor)]
        self.numbers = max(self.numbers, *sizes, 0)
        return made


def test_the_spectrum_of_many_inputs_needs_no_array_larger_than_the_jacobians():
    d, n, count = 200, 220, 3
    network = MLPFeatureMap([points(n, d, seed=1)], [points(n, seed=2)], "tanh")
    with LargestArray() as largest:
        layer_spectra(network, points(count, d), [1], 11)
    assert n * d <= largest.numbers <= count * n * (d + 1)


def test_a_plane_of_many_inputs_costs_no_more_than_one_of_two():
    d, n = 500, 30
    network = MLPFeatureMap([points(n, d, seed=1)], [points(n, seed=2)], "tanh")
    plane = network.restricted_to(points(d, seed=3), points(2, d, seed=4))
    with LargestArray() as largest:
        measure_layers(plane, points(40, 2), [1])
    assert largest.numbers <= 40 * n * 6  # values, two first and three second derivatives


def test_leading_values_at_the_size_of_mnist_are_the_singular_values_of_the_jacobian():
    d, n, k = 784, 2000, 10
    weight, bias, x = points(n, d, seed=1) / 10, points(n, seed=2), points(d, seed=3)
    slope = 1 - torch.tanh(weight @ x + bias).square()
    jacobian = (slope[:, None] * weight / math.sqrt(n)).numpy()
    truth = np.linalg.svd(jacobian, compute_uv=False)[:k] ** 2
    found = layer_spectra(MLPFeatureMap([weight], [bias], "tanh"), x, [1], k)[1]
    np.testing.assert_allclose(found.numpy(), truth, rtol=1e-12)
