"""Feature maps: values, jets against autograd, replicates, shapes, and what they refuse."""

import pytest
import torch
from reference import DOUBLE, monkey_saddle, network_function, paraboloid, points, random_network
from torch.func import jacrev, vmap

from nngeom_cli.geometry import MLPFeatureMap, TorchFeatureMap, get_activation, measure, pullback_metric, ricci_scalar

WIDTHS = [[2, 5], [3, 4, 6], [2, 3, 4, 5], [1, 3], [4, 2, 5]]


def full_hessian(jet):
    """(points, n, d, d) from the packed, rescaled one."""
    _, n, d, count = jet.jacobian.shape
    rows, columns = torch.triu_indices(d, d)
    full = torch.empty(n, d, d, count, dtype=DOUBLE)
    full[:, rows, columns] = full[:, columns, rows] = jet.hessian[0]
    unit = jet.unit[0, :, 0]
    return full.permute(3, 0, 1, 2) / (unit[:, None] * unit)


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("activation", [torch.tanh, torch.sin, torch.sigmoid])
def test_jet_of_a_network_is_what_autograd_computes(widths, activation):
    weights, biases = random_network(widths, seed=len(widths))
    feature_map = MLPFeatureMap(weights, biases, activation.__name__)
    function = network_function(weights, biases, activation)
    x = points(4, widths[0])
    jet = feature_map.jet(x, second=True)
    jacobian = (jet.jacobian / jet.unit.unsqueeze(1))[0].permute(2, 0, 1)
    torch.testing.assert_close(feature_map(x), vmap(function)(x), rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(jacobian, vmap(jacrev(function))(x), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(full_hessian(jet), vmap(jacrev(jacrev(function)))(x), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(feature_map.jet(x, second=False).jacobian, jet.jacobian, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_layer_selects_the_features_after_that_layer(layer):
    weights, biases = random_network([2, 4, 5, 3], seed=0)
    x = points(3, 2)
    chosen = MLPFeatureMap(weights, biases, "tanh", layer=layer)
    shallow = MLPFeatureMap(weights[:layer], biases[:layer], "tanh")
    assert torch.equal(chosen(x), shallow(x))
    assert torch.equal(pullback_metric(chosen, x), pullback_metric(shallow, x))
    assert chosen(x).shape == (3, weights[layer - 1].shape[0])


def test_each_layer_may_have_its_own_activation():
    weights, biases = random_network([2, 4, 3], seed=0)
    x = points(3, 2)
    mixed = MLPFeatureMap(weights, biases, ["tanh", get_activation("sin")])
    hidden = torch.tanh(x @ weights[0].T + biases[0])
    torch.testing.assert_close(mixed(x), torch.sin(hidden @ weights[1].T + biases[1]) / 3**0.5)


@pytest.mark.parametrize("replicates", [(3,), (2, 3), (1,)])
@pytest.mark.parametrize("batch", [(), (5,), (2, 3), (0,), (1,)])
def test_replicate_axes_come_first_and_equal_a_loop_bit_for_bit(replicates, batch):
    weights, biases = random_network([2, 7, 4], seed=3, replicates=replicates)
    x = points(*batch, 2)
    together = measure(MLPFeatureMap(weights, biases, "sigmoid"), x)
    features = MLPFeatureMap(weights, biases, "sigmoid")(x)
    assert features.shape == (*replicates, *batch, 4)
    for index in torch.cartesian_prod(*[torch.arange(count) for count in replicates]).reshape(-1, len(replicates)):
        one = MLPFeatureMap([w[tuple(index)] for w in weights], [b[tuple(index)] for b in biases], "sigmoid")
        for name, values in measure(one, x).items():
            assert values.shape == batch
            assert torch.equal(together[name][tuple(index)], values), name
        torch.testing.assert_close(features[tuple(index)], one(x), rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("feature_map", [paraboloid, MLPFeatureMap(*random_network([2, 9, 5], seed=0), "gelu")])
def test_chunk_size_changes_nothing_beyond_rounding(feature_map):
    x = points(23, 2)
    names = ("pullback_metric", "log_volume_element", "ricci_scalar", "condition_number")
    whole = measure(feature_map, x, names)
    for chunk_size in (1, 7, 23, 1000):
        parts = measure(feature_map, x, names, chunk_size=chunk_size)
        for name in names:
            torch.testing.assert_close(parts[name], whole[name], rtol=1e-9, atol=1e-13)


def test_parameters_that_require_gradients_are_only_read():
    weights, biases = random_network([2, 4], seed=0)
    weights = [w.requires_grad_() for w in weights]
    assert not ricci_scalar(MLPFeatureMap(weights, biases, "tanh"), points(3, 2)).requires_grad
    module = torch.nn.Linear(2, 3, dtype=DOUBLE)
    assert not pullback_metric(module, points(3, 2).requires_grad_()).requires_grad


def test_callable_and_wrapped_callable_are_the_same():
    x = points(4, 2)
    wrapped = TorchFeatureMap(monkey_saddle)
    assert torch.equal(ricci_scalar(wrapped, x), ricci_scalar(monkey_saddle, x))
    assert wrapped(x).shape == (4, 3)
    assert wrapped(x[:0]).shape == (0, 3)


def test_float32_gives_float32():
    weights, biases = random_network([2, 6], seed=0)
    feature_map = MLPFeatureMap([w.float() for w in weights], [b.float() for b in biases], "tanh")
    double = MLPFeatureMap(weights, biases, "tanh")
    x = points(5, 2)
    single = measure(feature_map, x.float())
    truth = measure(double, x)
    assert all(values.dtype == torch.float32 for values in single.values())
    torch.testing.assert_close(single["log_volume_element"].double(), truth["log_volume_element"], rtol=0, atol=3e-5)
    error = (single["ricci_scalar"].double() - truth["ricci_scalar"]).abs()
    assert (error <= 10 * single["ricci_scalar_error"]).all()


def layers(widths, **changes):
    weights, biases = random_network(widths, seed=0)
    return {"weights": weights, "biases": biases, "activation": "tanh", **changes}


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        (layers([2, 3], layer=2), ValueError, r"`layer` must be between 1 and 1, .* Got 2"),
        (layers([2, 3], layer=0), ValueError, r"`layer` must be between 1 and 1, .* Got 0"),
        (layers([2, 3], weights=[]), ValueError, r"`weights` and `biases` must have one tensor a layer"),
        (layers([2, 3], biases=[torch.zeros(2, dtype=DOUBLE)]), ValueError, r"`biases\[0\]` must have shape \(3,\)"),
        (layers([2, 3], biases=[torch.zeros(3)]), TypeError, r"`weights` and `biases` must share one floating dtype"),
        (layers([2, 3, 4], weights=random_network([2, 3], 0)[0] * 2), ValueError, r"`weights\[1\]` must have shape"),
        (layers([2, 3], activation="tahn"), ValueError, r"`activation` must be one of"),
        (layers([2, 3, 4], activation=["tanh"]), ValueError, r"`activation` must be one for all layers or one a layer"),
        (layers([2, 3], weights=[torch.zeros(3, dtype=DOUBLE)]), ValueError, r"`weights\[0\]` must have shape"),
    ],
)
def test_wrong_layers_are_refused_in_a_sentence(arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        MLPFeatureMap(**arguments)


@pytest.mark.parametrize("compute", [ricci_scalar, pullback_metric, lambda feature_map, x: feature_map(x)])
def test_wrong_points_are_refused_in_a_sentence(compute):
    feature_map = MLPFeatureMap(*random_network([2, 3], seed=0), "tanh")
    with pytest.raises(ValueError, match=r"`x` must have shape \(\*batch, 2\).* Got \(4, 3\)"):
        compute(feature_map, points(4, 3))
    with pytest.raises(TypeError, match=r"`x` must have the feature map's dtype, torch.float64\. Got torch.float32"):
        compute(feature_map, points(4, 2, dtype=torch.float32))
    with pytest.raises(ValueError, match="scalar"):
        compute(TorchFeatureMap(paraboloid), torch.tensor(1.0))
    with pytest.raises(TypeError, match="floating point"):
        compute(TorchFeatureMap(paraboloid), torch.tensor([1, 2]))


def test_wrong_callables_and_quantities_are_refused_in_a_sentence():
    x = points(4, 2)
    with pytest.raises(TypeError, match="`feature_map` must be"):
        ricci_scalar(3, x)
    with pytest.raises(ValueError, match=r"`feature_map` must take one point \(d,\) to features \(n,\)"):
        ricci_scalar(torch.sum, x)
    with pytest.raises(ValueError, match=r"`quantities` must be among .* Got 'ricci'"):
        measure(paraboloid, x, ("ricci",))
    with pytest.raises(ValueError, match=r"`chunk_size` must be at least 1\. Got 0"):
        measure(paraboloid, x, chunk_size=0)
