"""What every public function takes as numbers: tensors, arrays, lists and integers, as one rule."""

import functools

import numpy as np
import pytest
import torch
from reference import DOUBLE, paraboloid, points, random_network

from nngeom_cli import geometry
from nngeom_cli.geometry import InfiniteWidth, MLPFeatureMap, TorchFeatureMap, layer_spectra, measure_layers

NETWORK = MLPFeatureMap(*random_network([2, 5], seed=0), "tanh")
LIMIT = InfiniteWidth("tanh", 1.0, 0.5, 2)
TOP_K = ("metric_spectrum", "log_effective_volume_element", "principal_directions", "log_spectral_gap")
OTHERS = ("get_activation", "check_activation", "measure_layers", "layer_spectra", "distance", "geodesic")
OTHERS += ("path_curvature", "fixed_point")
ENDS = torch.tensor([[0.25, 0.5], [1.0, 0.0]], dtype=DOUBLE)
OF_POINTS = {
    name: function
    for name in geometry.__all__
    if callable(function := getattr(geometry, name))
    and not isinstance(function, type)
    and name not in (*OTHERS, *TOP_K)
}
TAKES = {
    **{f"{n}, network": lambda x, f=f: f(NETWORK, x) for n, f in OF_POINTS.items()},
    **{f"{n}, callable": lambda x, f=f: f(paraboloid, x) for n, f in OF_POINTS.items()},
    **{n: lambda x, n=n: getattr(geometry, n)(NETWORK, x, 1) for n in TOP_K},
    "measure_layers": lambda x: measure_layers(NETWORK, x, [1])[1],
    "layer_spectra": lambda x: layer_spectra(NETWORK, x, [1], 2)[1],
    "distance, start": lambda x: geometry.distance(NETWORK, x, ENDS),
    "distance, end": lambda x: geometry.distance(paraboloid, ENDS, x),
    "geodesic": lambda x: geometry.geodesic(NETWORK, x, ENDS).points,
    "sectional_curvature, plane": lambda x: geometry.sectional_curvature(NETWORK, [0.5, 1.0], x),
    "features of a network": lambda x: NETWORK(x),
    "features of a callable": lambda x: TorchFeatureMap(paraboloid)(x),
    "origin of a network": lambda x: NETWORK.restricted_to(to(x, 0), x)([1.0, 2.0]),
    "origin of a callable": lambda x: TorchFeatureMap(paraboloid).restricted_to(to(x, 0), x)([1.0, 2.0]),
    "weights": lambda x: MLPFeatureMap([x], [to(x, 0)], "tanh")(points(2)),
    "metric": LIMIT.metric,
    "kernel": lambda x: LIMIT.kernel(x, x),
    "omega": lambda x: LIMIT.omega(x, derivative=2),
    "log_volume_element": LIMIT.log_volume_element,
    "ricci_scalar": LIMIT.ricci_scalar,
}
NUMBERS = [[0.5, 1.0], [2.0, -0.25]]
WHOLE = [[1, 0], [2, 3]]
FORMS = {
    "array": (np.array(NUMBERS), NUMBERS),
    "read-only array": (np.broadcast_to(np.array(NUMBERS), (2, 2)), NUMBERS),
    "reversed array": (np.array(NUMBERS[::-1])[::-1], NUMBERS),
    "big-endian array": (np.array(NUMBERS, dtype=">f8"), NUMBERS),
    "lists": (NUMBERS, NUMBERS),
    "tuples": (tuple(map(tuple, NUMBERS)), NUMBERS),
    "tensors in a list": ([torch.tensor(row, dtype=DOUBLE) for row in NUMBERS], NUMBERS),
    "integers": (torch.tensor(WHOLE), WHOLE),
    "small integers": (torch.tensor(WHOLE, dtype=torch.uint8), WHOLE),
    "array of integers": (np.array(WHOLE), WHOLE),
    "list of integers": (WHOLE, WHOLE),
}
REFUSED = {
    "float16": torch.ones(2, 2, dtype=torch.float16),
    "bfloat16": torch.ones(2, 2, dtype=torch.bfloat16),
    "complex": torch.ones(2, 2, dtype=torch.complex128),
    "array of float16": np.ones((2, 2), dtype=np.float16),
    "array of complex numbers": np.ones((2, 2), dtype=complex),
    "words": [["a", "b"], ["c", "d"]],
    "rows of several lengths": [[1.0], [1.0, 2.0]],
    "nothing": None,
}


LEFT_OUT = ("origin of a network", "origin of a callable", "weights", "sectional_curvature, plane")


def to(x, row):
    return x[row]


def compare(found, expected):
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
    for mine, other in zip(
        *(tuple(v.values()) if isinstance(v, dict) else (v,) for v in (found, expected)), strict=True
    ):
        for a, b in zip(*(v if isinstance(v, tuple) else (v,) for v in (mine, other)), strict=True):
            assert a.dtype == DOUBLE
            assert torch.equal(a, b) or torch.allclose(a, b, rtol=1e-12, atol=1e-14, equal_nan=True)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", TAKES)
def test_every_public_function_takes_numbers_in_every_form(name, form):
    given, numbers = FORMS[form]
    compare(TAKES[name](given), of_tensor(name, numbers is WHOLE))


@functools.cache
def of_tensor(name, whole):
    return TAKES[name](torch.tensor(WHOLE if whole else NUMBERS, dtype=DOUBLE))


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("name", TAKES)
def test_every_public_function_refuses_what_are_no_such_numbers_in_a_sentence(name, kind):
    if kind == "nothing" and name in LEFT_OUT:
        return
    with pytest.raises(TypeError, match=r"must be float32 or float64\. Got ") as caught:
        TAKES[name](REFUSED[kind])
    assert str(caught.value).startswith("`")


def test_numbers_without_a_dtype_take_that_of_the_network():
    weights, biases = random_network([2, 5], seed=0)
    single = MLPFeatureMap([w.float() for w in weights], [b.float() for b in biases], "tanh")
    assert single([[0.5, 1.0]]).dtype == single(torch.tensor([[1, 2]])).dtype == torch.float32
    with pytest.raises(TypeError, match=r"`x` must have the feature map's dtype, torch.float32\. Got torch.float64"):
        single(np.array([[0.5, 1.0]]))
    with pytest.raises(TypeError, match=r"`origin` and `directions` must have one dtype, torch\.float32"):
        single.restricted_to(points(2), points(2, 2))


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_nothing_is_known_where_a_value_is_masked(dtype):
    x = np.ma.masked_array(np.ones((2, 2), dtype), [[False, False], [True, False]])
    assert geometry.ricci_scalar(NETWORK, x).isnan().tolist() == [False, True]
    assert LIMIT.kernel(x, x).isnan().tolist() == [False, True]
    with pytest.raises(ValueError, match=r"`plane` must be two independent vectors"):
        geometry.sectional_curvature(NETWORK, [0.5, 1.0], x)


@pytest.mark.parametrize("name", [name for name in TAKES if name not in ("weights", "origin of a callable")])
def test_no_public_function_depends_on_the_default_device(name):
    x = torch.tensor(NUMBERS, dtype=DOUBLE)
    expected = TAKES[name](x)
    with torch.device("meta"):  # like a GPU, it refuses to work with tensors of the CPU
        compare(TAKES[name](x), expected)


def single_precision():
    """What one does in a training loop, each with the numbers that it gives."""
    weights, biases = random_network([2, 6], seed=0)
    network = MLPFeatureMap([w.float() for w in weights], [b.float() for b in biases], "tanh")
    x, matrix = points(3, 2).float(), weights[0].float()
    module = torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.Tanh())
    return {
        **{name: lambda f=f: f(network, x) for name, f in OF_POINTS.items()},
        **{name: lambda name=name: getattr(geometry, name)(network, x, 1) for name in TOP_K},
        "layers": lambda: measure_layers(network, x, [1], ["ricci_scalar"])[1]["ricci_scalar"],
        "spectra": lambda: layer_spectra(network, x, [1], 2)[1],
        "features": lambda: network(x),
        "plane": lambda: network.restricted_to(x[0], x)(x.new_ones(3)),
        "module": lambda: MLPFeatureMap.from_module(module, layer=1)(x),
        "callable": lambda: geometry.ricci_scalar(lambda p: torch.sin(matrix @ p), x),
        "spectrum of a callable": lambda: geometry.metric_spectrum(lambda p: torch.sin(matrix @ p), x, 2),
        "features of a callable": lambda: TorchFeatureMap(lambda p: torch.sin(matrix @ p))(x),
    }


@pytest.mark.parametrize("name", single_precision())
def test_mixed_precision_of_a_training_loop_takes_no_digits(name):
    call = single_precision()[name]
    expected = call()
    with torch.autocast("cpu", torch.bfloat16):
        found = call()
        assert torch.is_autocast_enabled("cpu")
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", TAKES)
def test_no_public_function_changes_what_it_is_given(name):
    x = torch.tensor(NUMBERS, dtype=DOUBLE)
    before = x.clone()
    TAKES[name](x)
    assert torch.equal(x, before)
