"""Saturating functions of torch, as callables use them: derivatives against 1000 digits, in every mode and dress."""

import functools

import mpmath
import pytest
import torch
from mpmath import mpf
from reference import DOUBLE, points
from torch import nn
from torch.func import hessian, jacfwd, jacrev, vmap
from torch.nn import functional

from nngeom_cli.geometry import TorchFeatureMap, ricci_scalar
from nngeom_cli.geometry.composites import COMPOSITES
from nngeom_cli.geometry.rewriting import Rewriting
from nngeom_cli.geometry.routes import load_differentiation

Z = [-700.0, -36.0, -18.2, -3.1, -1.0, -0.97, -1e-3, 0.0, 1e-7, 0.3, 1.0, 1.01, 2.5, 12.0, 19.7, 36.0, 38.5, 300.0]


def logistic(z):
    return 1 / (1 + mpmath.exp(-z))


def elu(z, alpha=1, scale=1):
    return scale * (z if z > 0 else alpha * mpmath.expm1(z))


SELU = (mpf(1.6732632423543772848170429916717), mpf(1.0507009873554804934193349852946))
EXACT = {
    "sigmoid": (torch.sigmoid, logistic),
    "tanh": (torch.tanh, mpmath.tanh),
    "softplus": (functional.softplus, lambda z: mpmath.log1p(mpmath.exp(z))),
    "softplus 3": (
        lambda z: functional.softplus(z, beta=3, threshold=30),
        lambda z: mpmath.log1p(mpmath.exp(3 * z)) / 3,
    ),
    "silu": (functional.silu, lambda z: z * logistic(z)),
    "mish": (functional.mish, lambda z: z * mpmath.tanh(mpmath.log1p(mpmath.exp(z)))),
    "gelu": (functional.gelu, lambda z: z * mpmath.ncdf(z)),
    "gelu tanh": (
        lambda z: functional.gelu(z, approximate="tanh"),
        lambda z: z * logistic(2 * mpmath.sqrt(2 / mpmath.pi) * (z + mpf(0.044715) * z**3)),
    ),
    "expm1": (torch.expm1, mpmath.expm1),
    "elu": (functional.elu, elu),
    "celu": (lambda z: functional.celu(z, 2.0), lambda z: z if z > 0 else 2 * mpmath.expm1(z / 2)),
    "selu": (functional.selu, lambda z: elu(z, *SELU)),
    "logsigmoid": (functional.logsigmoid, lambda z: -mpmath.log1p(mpmath.exp(-z))),
    "softsign": (functional.softsign, lambda z: z / (1 + abs(z))),
    "tanhshrink": (functional.tanhshrink, lambda z: z - mpmath.tanh(z)),
    "expit": (torch.special.expit, logistic),
    "glu": (lambda z: functional.glu(torch.stack([2 + 0 * z, z])).sum(), lambda z: 2 * logistic(z)),
    "softmax": (lambda z: functional.softmax(torch.stack([z, 0 * z, 0.5 - z]), 0)[0], lambda z: weights(z)[0]),
    "softmin": (lambda z: functional.softmin(torch.stack([-z, 0 * z, z - 0.5]), 0)[2], lambda z: weights(z)[2]),
    "log_softmax": (
        lambda z: torch.log_softmax(torch.stack([z, 0 * z, 0.5 - z]), 0)[0],
        lambda z: mpmath.log(weights(z)[0]),
    ),
    "logsumexp": (
        lambda z: torch.logsumexp(torch.stack([z, 1 + 0 * z]), 0) - 1,
        lambda z: mpmath.log(mpmath.exp(z) + mpmath.e) - 1,
    ),
    "logaddexp": (lambda z: torch.logaddexp(z, 1 + 0 * z) - 1, lambda z: mpmath.log(mpmath.exp(z) + mpmath.e) - 1),
}


def weights(z):
    each = [mpmath.exp(z), mpf(1), mpmath.exp(mpf("0.5") - z)]
    return [one / mpmath.fsum(each) for one in each]


load_differentiation()
NESTED = {
    "forward": lambda f: (jacfwd(f), jacfwd(jacfwd(f))),
    "reverse": lambda f: (jacrev(f), jacrev(jacrev(f))),
    "forward over reverse": lambda f: (jacrev(f), hessian(f)),
}


@functools.cache
def exact(name, z):
    """First and second derivative at one number, from differences with 1000 digits."""
    _, function = EXACT[name]
    with mpmath.workdps(1000):
        h = mpf(10) ** -180
        values = [function(mpf(z) + k * h) for k in (-2, -1, 0, 1, 2)]
        first = (values[3] - values[1]) / (2 * h)
        second = (values[3] - 2 * values[2] + values[1]) / h**2
        if abs(first - (values[2] - values[1]) / h) > mpf(10) ** -40:  # a kink: torch's derivative there is a choice
            return None, None
        third = (values[4] - 2 * values[3] + 2 * values[1] - values[0]) / (2 * h**3)
        return float(first), (float(second), float(abs(third * mpf(z)) + abs(first)))


@pytest.mark.parametrize("mode", NESTED)
@pytest.mark.parametrize("name", EXACT)
def test_derivatives_keep_their_digits_where_the_function_saturates(name, mode):
    ours, _ = EXACT[name]

    def rewritten(z):
        with Rewriting(DOUBLE):
            return ours(z)

    z = torch.tensor(Z, dtype=DOUBLE)
    first, second = (vmap(each)(z) for each in NESTED[mode](rewritten))
    eps = torch.finfo(DOUBLE).eps
    for place, one, two in zip(Z, first.tolist(), second.tolist(), strict=True):
        slope, bend = exact(name, place)
        if slope is None or (place == 0.0 and name in ("elu", "selu", "celu", "softsign")):
            continue
        rounding = 20 * eps * abs(bend[0] * place) + 1e-300  # that of z itself
        assert abs(one - slope) <= 100 * eps * abs(slope) + rounding, place
        assert abs(two - bend[0]) <= 100 * eps * (abs(bend[0]) + abs(slope)) + 20 * eps * bend[1] + 1e-300, place


@pytest.mark.parametrize("name", EXACT)
def test_values_are_those_of_torch(name):
    function, _ = EXACT[name]
    z = torch.tensor(Z, dtype=DOUBLE)
    with Rewriting(DOUBLE):
        ours = torch.stack([function(each) for each in z])
    torch.testing.assert_close(ours, torch.stack([function(each) for each in z]), rtol=1e-8, atol=1e-15)


DRESSES = {
    "function": torch.sigmoid,
    "method": lambda z: z.sigmoid(),
    "in place": lambda z: (2 * z / 2).sigmoid_(),
    "module": nn.Sigmoid(),
    "functional": lambda z: functional.logsigmoid(z).exp(),
    "operator": torch.ops.aten.sigmoid,
    "overload": torch.ops.aten.sigmoid.default,
    "by keyword": lambda z: torch.sigmoid(input=z),
    "gate": lambda z: nn.GLU(0)(torch.cat([torch.ones_like(z), z])),
    "softmax": lambda z: nn.Softmax(0)(torch.stack([z, torch.zeros_like(z)]))[0],
    "axis": lambda z: torch.softmax(torch.stack([z, torch.zeros_like(z)], -1), -1)[..., 0],
}


@pytest.mark.parametrize("name", DRESSES)
def test_a_sigmoid_keeps_its_digits_in_every_dress(name):
    weight = points(6, 2, seed=4)
    x = points(5, 2)
    expected = ricci_scalar(lambda p: torch.sigmoid(weight @ p + 36), x)
    torch.testing.assert_close(ricci_scalar(lambda p: DRESSES[name](weight @ p + 36), x), expected, rtol=1e-6, atol=0)


IN_PLACE = [nn.SiLU(True), nn.Mish(True), nn.ELU(1.0, True), nn.SELU(True), nn.CELU(1.0, True)]
IN_PLACE += [torch.tanh_, torch.expm1_]


@pytest.mark.parametrize("function", IN_PLACE)
def test_functions_in_place_change_their_argument_and_are_differentiated(function):
    weight = points(6, 2, seed=4)

    def changed(p):
        z = weight @ p
        function(z)
        return z

    other = type(function)() if isinstance(function, nn.Module) else getattr(torch, function.__name__[:-1])
    x = points(5, 2)
    torch.testing.assert_close(ricci_scalar(changed, x), ricci_scalar(lambda p: other(weight @ p), x))


def test_all_composites_are_tested():
    tested = {"scaled_dot_product_attention", "layer_norm", "group_norm", "instance_norm", "batch_norm"}
    tested |= {"det", "linalg_det"}  # these in test_routes.py and test_closed_surfaces.py
    tested |= {"log_sigmoid", "special_expit", "special_expm1"} | {name.partition(" ")[0] for name in EXACT}
    tested |= {"special_softmax", "special_log_softmax", "special_logsumexp"}
    assert tested >= COMPOSITES.keys()


LIFTS = [points(12, 2, seed=k) for k in range(3)]
QUERIES = points(24, 2, seed=3)


def attention(p, written, **named):
    query, key, value = (torch.sin(lift @ p).reshape(3, 4) for lift in LIFTS)
    if not written:
        return functional.scaled_dot_product_attention(query[None], key[None], value[None], **named).flatten()
    scores = query @ key.T * named.get("scale", 0.5)
    if named.get("is_causal"):
        scores = scores + torch.full((3, 3), -torch.inf, dtype=p.dtype).triu(1)
    mask = named.get("attn_mask")
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    exponentials = scores.exp()
    return (exponentials / exponentials.sum(1, keepdim=True) @ value).flatten()


@pytest.mark.parametrize(
    "named",
    [
        {},
        {"is_causal": True},
        {"scale": 3.0},
        {"attn_mask": torch.tensor([[True, False, True]] * 3)},
        {"attn_mask": torch.tensor([[0.5, -1.0, 0.0]] * 3, dtype=DOUBLE)},
    ],
)
def test_attention_is_differentiated_as_it_is_written(named):
    x = points(5, 2)
    ours = ricci_scalar(lambda p: attention(p, written=False, **named), x)
    torch.testing.assert_close(ours, ricci_scalar(lambda p: attention(p, written=True, **named), x))


def test_grouped_attention_repeats_its_keys():
    def grouped(p, *, repeated):
        query, key = torch.sin(QUERIES @ p).reshape(4, 3, 2), torch.sin(LIFTS[0] @ p).reshape(2, 3, 2)
        if repeated:
            key = key.repeat_interleave(2, 0)
        return functional.scaled_dot_product_attention(query, key, key, enable_gqa=not repeated).flatten()

    x = points(3, 2)
    ours, theirs = (ricci_scalar(lambda p, r=r: grouped(p, repeated=r), x) for r in (False, True))
    torch.testing.assert_close(ours, theirs)


def test_what_differs_from_torch_is_left_to_torch(monkeypatch):
    monkeypatch.setitem(COMPOSITES, "tanh", torch.sin)
    with pytest.warns(UserWarning, match="uses tanh, .* lose digits"):
        features = TorchFeatureMap(lambda p: torch.tanh(p))(points(3, 2))
    torch.testing.assert_close(features, torch.tanh(points(3, 2)))
