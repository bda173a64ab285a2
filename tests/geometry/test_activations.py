"""Each activation's derivatives against mpmath, deep into saturation, and against autograd where that is sound."""

import math

import mpmath
import pytest
import torch

from nngeom_cli.geometry import get_activation

EPS = torch.finfo(torch.float64).eps
NAMES = ["identity", "relu", "sigmoid", "softplus", "tanh", "erf", "gelu", "silu", "sin", "monomial1", "monomial2"]
NAMES += ["monomial3", "monomial5"]

EXACT = {
    "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
    "softplus": lambda z: mpmath.log1p(mpmath.exp(z)),
    "tanh": mpmath.tanh,
    "erf": lambda z: mpmath.erf(z / mpmath.sqrt(2)),
    "gelu": lambda z: z * mpmath.ncdf(z),
    "silu": lambda z: z / (1 + mpmath.exp(-z)),
    "sin": mpmath.sin,
    "monomial3": lambda z: z**3 / mpmath.sqrt(15),
}
EXACT_FIRST = {  # where differences of the values would take mpmath long
    "erf": lambda z: 2 * mpmath.npdf(z),
    "gelu": lambda z: mpmath.ncdf(z) + z * mpmath.npdf(z),
}
TAIL = {"erf": 37.5, "gelu": 37.5, "tanh": 350.0}
SEEDS = [0.0, 1e-9, 0.1, 0.7, 1.3, 3.0, 8.5, 15.0, 19.5, 25.0, 38.0, 100.0, 350.0, 700.0]


def sweep(name):
    largest = TAIL.get(name, 700.0)
    return [sign * min(z, largest) for z in SEEDS for sign in (1, -1) if z <= largest or z == 38.0]


def exact(name, order, z):
    if order > 0 and name in EXACT_FIRST:
        return mpmath.diff(EXACT_FIRST[name], z, order - 1)
    return mpmath.diff(EXACT[name], z, order)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("name", EXACT)
def test_derivatives_keep_their_digits_deep_into_saturation(name, order):
    activation = get_activation(name)
    compute = (activation.value, activation.first, activation.second)[order]
    for z in sweep(name):
        with mpmath.workdps(340):  # softplus(700) = 700 + 1e-304, to 17 digits of what is small in it
            truth, slope = exact(name, order, mpmath.mpf(z)), exact(name, order + 1, mpmath.mpf(z))
            condition = abs(z * slope / truth) if abs(truth) > mpmath.mpf(10) ** -400 else mpmath.mpf(0)
            error = abs(mpmath.mpf(compute(torch.tensor(z, dtype=torch.float64)).item()) - truth)
            allowed = EPS * (8 + 4 * condition) * abs(truth) + mpmath.mpf(10) ** -305
        assert error <= allowed, (name, order, z)


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_agree_with_autograd_in_the_safe_range(name):
    activation = get_activation(name)
    z = torch.linspace(-3.1, 3.1, 62, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(activation.value(z).sum(), z, create_graph=True)
    assert torch.allclose(activation.first(z), first, rtol=1e-12, atol=1e-14)
    if name not in ("identity", "relu", "monomial1"):  # whose first derivative is piecewise constant
        (second,) = torch.autograd.grad(first.sum(), z)
        assert torch.allclose(activation.second(z), second, rtol=1e-11, atol=1e-13)
    else:
        assert torch.equal(activation.second(z), torch.zeros_like(z))


@pytest.mark.parametrize("name", NAMES)
def test_first_derivative_alone_equals_the_one_that_comes_with_the_second(name):
    activation = get_activation(name)
    z = torch.linspace(-40, 40, 81, dtype=torch.float64)
    assert torch.equal(activation.first(z), activation.derivatives(z)[0])


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "tanh", "erf", "gelu", "silu"])
def test_finite_inputs_of_any_size_give_finite_derivatives(name):
    activation = get_activation(name)
    z = torch.tensor([1e3, 1e5, 1e160, 1e300, 1.7e308], dtype=torch.float64)
    for compute in (activation.value, activation.first, activation.second):
        assert compute(torch.cat([z, -z])).isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_odd_activations_are_odd_up_to_a_constant_and_only_they(name):
    activation = get_activation(name)
    z = torch.linspace(0.1, 3, 30, dtype=torch.float64)
    assert torch.allclose(activation.first(z), activation.first(-z)) == activation.odd


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_shape_are_kept(name, dtype):
    activation = get_activation(name)
    z = torch.linspace(-2, 2, 6, dtype=dtype).reshape(2, 3)
    for compute in (activation.value, activation.first, activation.second):
        assert compute(z).dtype == dtype
        assert compute(z).shape == (2, 3)


def test_monomials_are_normalised_to_unit_variance():
    z = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    for q in (1, 2, 3, 4):
        assert math.isclose((get_activation(f"monomial{q}").value(z).square() * density).sum(), 1, rel_tol=1e-12)


def test_relu_has_zero_second_derivative_where_it_exists_and_is_not_smooth():
    relu = get_activation("relu")
    z = torch.tensor([-1.0, 2.0, math.nan], dtype=torch.float64)
    assert torch.equal(relu.second(z[:2]), torch.zeros(2, dtype=torch.float64))
    assert torch.equal(relu.first(z[:2]), torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert relu.first(z)[2].isnan()
    assert not relu.smooth


@pytest.mark.parametrize("name", ["sigmoyd", "monomial0", "monomial", "monomial151", "monomial-1", "Tanh", ""])
def test_unknown_activation_is_refused_with_the_choices(name):
    with pytest.raises(ValueError, match=r"`activation` must be one of identity, relu, .* Got "):
        get_activation(name)
    assert get_activation("monomial150").first(torch.tensor(1.0, dtype=torch.float64)).isfinite()
