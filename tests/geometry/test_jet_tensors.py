"""Derivatives carried through a callable's operations: those of nested differentiation, or an exception, never less."""

import pytest
import torch
from reference import DOUBLE, points
from torch import nn
from torch.nn import functional

from nngeom_cli.geometry import ModuleFeatureMap, TorchFeatureMap, measure, routes
from nngeom_cli.geometry.convolutions import convolved
from nngeom_cli.geometry.routes import FORWARD, FORWARD_OVER_REVERSE, load_differentiation, propagated

LIFT, MIX = points(48, 2, seed=1), points(3, 3, 3, 3, seed=2)
BIAS = points(3, seed=3)


def lift(p):
    return torch.sin(LIFT @ p) + LIFT @ p / 3


def images(p):
    return lift(p).reshape(1, 3, 4, 4)


def into_items(p):
    z = 2 * lift(p)
    z[3:5] = z[0] * z[1]
    return z


def in_place(p):
    z = lift(p) - 1
    z += z.sum()
    z.mul_(2).relu_()
    z.atan_()
    functional.silu(z, inplace=True)
    return z.add_(lift(p), alpha=3)


def products(p):
    rows = lift(p).reshape(6, 8)
    return torch.cat([(rows @ rows.T).flatten(), rows @ rows[0], torch.einsum("ij,ik->jk", rows, rows).flatten()])


def after_a_view(p):
    z = lift(p).reshape(6, 8).clone()
    row = z[0]
    row.mul_(2)
    return torch.cat([row, row * row])


def pieces(p):
    first, second, third = lift(p).chunk(3)
    largest, place = torch.max(first.reshape(4, 4), dim=1)
    return torch.cat([largest, first.reshape(4, 4).gather(1, place[:, None])[:, 0], second - third, torch.ones(2)])


def constants(p):
    z = lift(p)
    return torch.cat([1 - z, z - 1, 3 + z, z / 7, 7 / (z * z + 1), 2**z, z**3, BIAS[0] * z, BIAS[:, None].mul(z)[0]])


def complex_numbers(p):
    waves = torch.fft.rfft(lift(p)) * torch.exp(1j * lift(p)[:25])
    return torch.cat([waves.abs(), waves.real, torch.view_as_real(waves).flatten()])


FUNCTIONS = {
    "affine": lambda p: functional.linear(lift(p).reshape(16, 3), MIX[0, 0], BIAS).flatten(),
    "items": into_items,
    "in place": in_place,
    "view in place": after_a_view,
    "products": products,
    "pieces": pieces,
    "constants": constants,
    "complex": complex_numbers,
    "branches": lambda p: torch.where(lift(p) > 0.1, lift(p), lift(p) ** 2).clamp(-1.0, 0.8),
    "of two dtypes": lambda p: lift(p) * (lift(p) > 0) + (lift(p) * 3).long().clamp(-1, 1),
    "convolution": lambda p: functional.conv2d(images(p), MIX, BIAS, stride=2, padding=1).flatten(),
    "convolution in words": lambda p: functional.conv2d(images(p), MIX, padding="same").flatten(),
    "dilated": lambda p: functional.conv2d(images(p), MIX[..., :2, :2], dilation=2).flatten(),
    "depthwise": lambda p: functional.conv2d(images(p), MIX[:, :1], BIAS, padding=(1, 2), groups=3).flatten(),
    "convolution on a line": lambda p: functional.conv1d(images(p)[0].flatten(1)[None], MIX[..., 0], BIAS).flatten(),
    "weights from the point": lambda p: functional.conv2d(images(p), images(p)[..., :3, :3]).flatten(),
    "pools": lambda p: torch.cat(
        [each(images(p), 2).flatten() for each in (functional.avg_pool2d, functional.max_pool2d)]
    ),
    "normalized": lambda p: functional.group_norm(images(p), 3, BIAS, BIAS).flatten(),
    "softmax": lambda p: functional.softmax(10 * lift(p).reshape(6, 8), 1).flatten(),
    "softplus with a threshold": lambda p: functional.softplus(lift(p), 2.0, 25.0) + functional.gelu(lift(p)),
    "norms": lambda p: torch.cat([lift(p).norm()[None], lift(p).reshape(6, 8).norm(dim=1), lift(p).abs()]),
    "constant": lambda p: torch.ones_like(lift(p)),
    "padded": lambda p: functional.pad(images(p), (1, 1), value=2.0).flatten(),
}


def scaled(found, expected):
    """The largest difference, relative to the largest derivative."""
    return (found - expected).abs().max() / expected.abs().max().clamp_min(1e-300)


@pytest.mark.parametrize(("draw", "at_once"), [(None, 1), (0, 10**9)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_jets_are_nested_derivatives_however_many_points_are_handled_at_once(name, draw, at_once, monkeypatch):
    load_differentiation()
    monkeypatch.setattr(routes, "_ELEMENTS_OF_JETS", at_once)
    feature_map = TorchFeatureMap(FUNCTIONS[name])

    def function(p):
        return feature_map._at(p, draw)

    x = points(5, 2, seed=6)
    nested = (
        FORWARD if name in ("items", "in place", "view in place") else FORWARD_OVER_REVERSE
    )  # reverse mode refuses some changes
    expected = nested(function, x, 1, second=True)
    for second in (True, False):
        for found, theirs in zip(propagated(function, x, 1, second=second), expected, strict=True):
            if found is not None:
                assert found.shape == theirs.shape
                assert scaled(found, theirs) < 1e-12  # a few hundred sums of eps


def view_changed(p):
    z = lift(p)
    z.view(6, 8)[0].mul_(2)
    return z


def changed_under_a_view(p):
    z = lift(p) + 0
    row = z[:8]
    z.mul_(2)
    return row * z[0]


def constant_filled(p):
    z = torch.zeros(48, dtype=DOUBLE)
    z[:] = lift(p)
    return z


class Doubled(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return 2 * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, gradient):  # noqa: ARG004
        return 2 * gradient

    @staticmethod
    def jvp(ctx, tangent):  # noqa: ARG004
        return 2 * tangent


HOSTILE = {
    "view changed": view_changed,
    "changed under a view": changed_under_a_view,
    "constant filled": constant_filled,
    "into": lambda p: torch.mul(lift(p), 2, out=torch.empty(48, dtype=DOUBLE)),
    "data replaced": lambda p: setattr(lift(p), "data", p) or lift(p),
    "a function of one's own": lambda p: Doubled.apply(lift(p)),
    "transformed": lambda p: torch.func.vmap(torch.sin)(lift(p)),
    "its own derivative": lambda p: torch.func.jacrev(lambda q: lift(q).square().sum())(p),
    "forward derivative": lambda p: torch.func.jvp(lift, (p,), (p,))[1],
    "list": lambda p: torch.stack([torch.sin(each) for each in lift(p)]),
    "unpacked": lambda p: torch.stack([*lift(p)[:3]]),
    "below torch": lambda p: torch.ops.aten.mul.Tensor(lift(p), lift(p)),
    "scan": lambda p: torch.cumsum(lift(p), 0),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_derivatives_are_right_or_there_is_an_exception(name):
    load_differentiation()
    function, x = HOSTILE[name], points(3, 2, seed=6)
    try:
        found = propagated(function, x, 1, second=True)
    except Exception:
        return
    for ours, theirs in zip(found, FORWARD(function, x, 1, second=True), strict=True):
        assert scaled(ours, theirs) < 1e-12


@pytest.mark.parametrize(("stride", "padding", "kernel"), [(1, 0, 3), (2, 1, 3), ((1, 2), (2, 0), 2), (3, 4, 1)])
def test_many_images_have_the_convolution_of_each(stride, padding, kernel, monkeypatch):
    load_differentiation()
    weight, pictures = points(6, 4, kernel, kernel, seed=1), points(3, 5, 2, 4, 7, 8, seed=2)
    expected = functional.conv2d(pictures.flatten(0, 2), weight, stride=stride, padding=padding)
    for elements in (1, 2**20):
        monkeypatch.setattr("nngeom_cli.geometry.convolutions._ELEMENTS", elements)
        found = convolved(pictures, weight, stride, padding)
        torch.testing.assert_close(found.flatten(0, 2), expected, rtol=1e-13, atol=1e-13)
        batched = torch.vmap(lambda each: convolved(each, weight, stride, padding), in_dims=1, out_dims=1)(pictures)
        torch.testing.assert_close(batched, found, rtol=1e-13, atol=1e-13)
    for refused in ({"groups": 2}, {"dilation": 2}, {"padding": "same"}):
        assert convolved(pictures, weight, **refused) is None
    assert convolved(pictures.float(), weight.float()) is None


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, stride=2)
        return nn.Sequential(first, nn.BatchNorm2d(6), nn.SiLU(inplace=True), second, nn.GELU(), nn.Flatten())


@pytest.mark.parametrize("replicates", [False, True])
def test_curvature_on_a_plane_is_that_of_nested_derivatives_with_the_same_error(replicates, monkeypatch):
    model = [network(), network()] if replicates else network()
    x = points(7, 2, seed=8) / 3
    names = ("log_volume_element", "ricci_scalar", "ricci_scalar_error")

    def found():
        feature_map = ModuleFeatureMap(model, "5", shape=(3, 6, 6))
        plane = feature_map.restricted_to(points(108, seed=9), points(2, 108, seed=10))
        jet = plane.jet(x, second=True)
        effect = jet.rounding.effect(torch.ones_like(jet.jacobian), torch.ones_like(jet.hessian))
        return plane, measure(plane, x, names), effect

    plane, ours, our_effect = found()
    assert all(each._routes[2, DOUBLE, True] is propagated for each in plane.each())
    monkeypatch.setattr(routes, "propagated", FORWARD)
    plane, theirs, their_effect = found()
    assert all(each._routes[2, DOUBLE, True] is FORWARD for each in plane.each())
    assert ((ours["ricci_scalar"] - theirs["ricci_scalar"]).abs() <= theirs["ricci_scalar_error"]).all()
    torch.testing.assert_close(ours["log_volume_element"], theirs["log_volume_element"], rtol=1e-12, atol=1e-12)
    for ratio in (our_effect / their_effect, ours["ricci_scalar_error"] / theirs["ricci_scalar_error"]):
        assert ((ratio > 0.7) & (ratio < 1.4)).all()  # the same draws, beside rounding itself
