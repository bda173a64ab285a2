"""Feature maps: values, jets against autograd, replicates, shapes, and what they refuse."""

import warnings
from pathlib import Path

import pytest
import torch
from reference import DOUBLE, monkey_saddle, network_function, paraboloid, points, random_network
from torch.func import jacrev, vmap

from nngeom_cli.geometry import (
    MLPFeatureMap,
    TorchFeatureMap,
    get_activation,
    log_spectral_gap,
    measure,
    pullback_metric,
    ricci_scalar,
)
from nngeom_cli.geometry.quantities import QUANTITIES

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
        (layers([2, 3], weights=[]), ValueError, r"`weights` and `biases` must have one tensor per layer"),
        (layers([2, 3], biases=[torch.zeros(2, dtype=DOUBLE)]), ValueError, r"`biases\[0\]` must have shape \(3,\)"),
        (layers([2, 3], biases=[torch.zeros(3)]), TypeError, r"`weights` and `biases` must share one dtype"),
        (
            layers([2, 3, 4], weights=random_network([2, 3], 0)[0] * 2),
            ValueError,
            r"`weights\[1\]` .* shape \(out, 3\)",
        ),
        (layers([2, 3], activation="tahn"), ValueError, r"`activation` must be one of"),
        (layers([2, 3, 4], activation=["tanh"]), ValueError, r"`activation` must be one for all .* Got 1 for 2 layers"),
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
    with pytest.raises(ValueError, match=r"`x` must have shape \(\*batch, d\), d >= 1"):
        compute(TorchFeatureMap(paraboloid), torch.tensor(1.0))
    with pytest.raises(TypeError, match="`x` must be float32 or float64"):
        compute(TorchFeatureMap(paraboloid), torch.zeros(2, dtype=torch.float16))


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


def test_module_of_linear_layers_and_activations_becomes_a_feature_map():
    torch.manual_seed(0)
    linear = torch.nn.Linear
    model = torch.nn.Sequential(
        linear(2, 6), torch.nn.Tanh(), torch.nn.Dropout(), linear(6, 5, bias=False), torch.nn.GELU(), linear(5, 1)
    )
    model = model.double().eval()
    x = points(4, 2)
    for layer, stop, width in ((1, 2, 6), (2, 5, 5), (3, 6, 1)):
        feature_map = MLPFeatureMap.from_module(model, layer=layer)
        torch.testing.assert_close(feature_map(x), model[:stop](x).detach() / width**0.5, rtol=1e-13, atol=1e-15)
    first = MLPFeatureMap.from_module(model, layer=1)
    torch.testing.assert_close(ricci_scalar(first, x), ricci_scalar(lambda p: model[:2](p) / 6**0.5, x))


@pytest.mark.parametrize(
    ("module", "layer", "error", "sentence"),
    [
        (torch.nn.Linear(2, 3), 1, TypeError, r"`module` must be a torch.nn.Sequential\. Got Linear"),
        (torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LayerNorm(3)), 1, TypeError, "Got LayerNorm.* at 1"),
        (torch.nn.Sequential(torch.nn.Tanh(), torch.nn.Linear(2, 3)), 1, TypeError, r"Got Tanh\(\) at 0"),
        (torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Softplus(beta=2)), 1, TypeError, "Got Softplus"),
        (torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.GELU("tanh")), 1, TypeError, "Got GELU"),
        (torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.ReLU()), 1, TypeError, "Got ReLU.* at 2"),
        (torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh()), 2, ValueError, "`layer` must be between 1 and 1"),
        (torch.nn.Sequential(), 1, ValueError, "at least one"),
    ],
)
def test_modules_that_are_no_such_stack_are_refused_in_a_sentence(module, layer, error, sentence):
    with pytest.raises(error, match=sentence):
        MLPFeatureMap.from_module(module, layer=layer)


@pytest.mark.parametrize("widths", [[6, 5], [6, 4, 5], [3, 8]])
def test_restriction_to_a_plane_is_the_map_along_it_and_has_curvature_where_d_exceeds_n(widths):
    weights, biases = random_network(widths, seed=2, replicates=(2,))
    feature_map = MLPFeatureMap(weights, biases, "tanh")
    origin, directions = points(widths[0], seed=5), points(2, widths[0], seed=6)
    u = points(4, 2)
    plane = feature_map.restricted_to(origin, directions)
    torch.testing.assert_close(plane(u), feature_map(origin + u @ directions), rtol=1e-13, atol=1e-14)
    full = pullback_metric(feature_map, origin + u @ directions)
    torch.testing.assert_close(pullback_metric(plane, u), directions @ full @ directions.T, rtol=1e-11, atol=1e-14)
    one = MLPFeatureMap([w[0] for w in weights], [b[0] for b in biases], "tanh")
    along = TorchFeatureMap(lambda p: one(origin + p @ directions))
    torch.testing.assert_close(ricci_scalar(plane, u)[0], ricci_scalar(along, u), rtol=1e-7, atol=1e-7)
    assert ricci_scalar(plane, u).isfinite().all()


def test_restriction_of_a_callable_is_the_callable_along_the_plane():
    plane = TorchFeatureMap(paraboloid).restricted_to(torch.zeros(2, dtype=DOUBLE), torch.eye(2, dtype=DOUBLE))
    x = points(4, 2)
    assert torch.equal(ricci_scalar(plane, x), ricci_scalar(paraboloid, x))


@pytest.mark.parametrize("feature_map", [MLPFeatureMap(*random_network([3, 5], seed=2), "tanh")])
def test_planes_of_wrong_shape_are_refused_in_a_sentence(feature_map):
    with pytest.raises(ValueError, match=r"`origin` must have shape \(3,\)"):
        feature_map.restricted_to(points(2), points(2, 3))
    with pytest.raises(ValueError, match=r"`directions` must have shape \(m, 3\)"):
        feature_map.restricted_to(points(3), points(2, 2))
    with pytest.raises(ValueError, match=r"`origin` must have shape \(d,\), .* Got \(1, 2\)"):
        TorchFeatureMap(paraboloid).restricted_to(points(1, 2), points(1, 2))
    with pytest.raises(ValueError, match=r"`directions` must have shape \(m, 2\)"):
        TorchFeatureMap(paraboloid).restricted_to(points(2), points(3))


LOSSY = {
    "lgamma": lambda p: torch.lgamma(p + 5),
    "special_digamma": lambda p: torch.special.digamma(p + 5),
    "special_log_ndtr": torch.special.log_ndtr,
    "softplus": torch.nn.Softplus(threshold=2),
    "gru_cell": lambda p: torch.nn.GRUCell(2, 3).double()(p[None])[0],
    "rnn_tanh_cell": lambda p: torch.nn.RNNCell(2, 3).double()(p[None])[0],
}


@pytest.mark.parametrize("name", LOSSY)
def test_callables_that_lose_digits_are_warned_of_and_others_are_not(name):
    x = points(2, 2)
    with torch.random.fork_rng(), pytest.warns(UserWarning, match=f"uses {name}, .* lose digits"):
        TorchFeatureMap(lambda p: torch.cat([LOSSY[name](p), p])).dimensions(x)
    ricci_scalar(lambda p: torch.cat([torch.sin(p), torch.tanh(p), torch.nn.functional.softplus(p)]), x)


def test_lost_digits_are_warned_of_once_at_the_line_that_asked(recwarn):
    def saturating(p):
        return torch.cat([torch.logsumexp(p[None], (0, 1))[None], p])

    warnings.simplefilter("default")
    for _ in range(3):
        log_spectral_gap(saturating, points(2, 2), 1)
    assert [Path(warning.filename).name for warning in recwarn] == [Path(__file__).name]
    feature_map = TorchFeatureMap(saturating)
    measure(feature_map, points(2, 2))
    measure(feature_map, points(2, 2))
    assert len(recwarn) == 2


@pytest.mark.parametrize("bias", [0.0, 25.0, 36.0, 60.0])
def test_a_saturated_callable_has_the_curvature_of_the_layered_map(bias):
    weights, biases = random_network([2, 6], seed=2)
    biases[0] += bias
    x = points(20, 2)
    sound = ricci_scalar(MLPFeatureMap(weights, biases, "sigmoid"), x)
    automatic = ricci_scalar(network_function(weights, biases, torch.sigmoid), x)
    torch.testing.assert_close(automatic, sound, rtol=1e-7, atol=0)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("widths", [[2, 6], [3, 5, 7], [6, 4]])
def test_a_gpu_gives_what_the_cpu_gives(widths):
    weights, biases = random_network(widths, seed=3, replicates=(2,))
    x = points(5, widths[0])
    here = measure(MLPFeatureMap(weights, biases, "tanh"), x, tuple(QUANTITIES))
    there = measure(MLPFeatureMap([w.cuda() for w in weights], [b.cuda() for b in biases], "tanh"), x.cuda(), here)
    for name, values in here.items():
        if name != "principal_ricci_directions":  # their signs are arbitrary
            torch.testing.assert_close(there[name].cpu(), values, rtol=1e-7, atol=1e-9, equal_nan=True)
