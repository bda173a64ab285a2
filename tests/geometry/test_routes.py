"""Callables that torch differentiates wrongly by one route or another: measured rightly, or refused in a sentence."""

import pytest
import torch
from reference import DOUBLE, paraboloid, points
from torch.nn import functional

from nngeom_cli.geometry import (
    ModuleFeatureMap,
    TorchFeatureMap,
    log_volume_element,
    measure,
    pullback_metric,
    ricci_scalar,
    ricci_scalar_error,
    torch_feature_map,
)

LIFT = points(9, 2, seed=3)


def lift(p):
    z = LIFT.to(p.dtype) @ p
    return torch.sin(z + 0.3) + z / 3


def matrix(p):
    return lift(p)[:4].reshape(2, 2) + 2 * torch.eye(2, dtype=p.dtype)


class Cube(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x**3

    @staticmethod
    def setup_context(ctx, inputs, output):  # noqa: ARG004
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 3 * gradient * x**2

    @staticmethod
    def jvp(ctx, tangent):
        (x,) = ctx.saved_tensors
        return 3 * tangent * x**2


class CubeBackwardOnly(torch.autograd.Function):
    generate_vmap_rule = True
    forward, setup_context, backward = Cube.forward, Cube.setup_context, Cube.backward


class CubeOnce(torch.autograd.Function):
    generate_vmap_rule = True
    forward, setup_context, jvp = Cube.forward, Cube.setup_context, Cube.jvp
    backward = staticmethod(torch.autograd.function.once_differentiable(Cube.backward))


class WrongSlope(torch.autograd.Function):
    generate_vmap_rule = True
    forward, setup_context = Cube.forward, Cube.setup_context

    @staticmethod
    def backward(ctx, gradient):  # noqa: ARG004
        return gradient

    @staticmethod
    def jvp(ctx, tangent):  # noqa: ARG004
        return tangent


class OldStyle(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):  # noqa: ARG004
        return x**3

    @staticmethod
    def backward(ctx, gradient):  # noqa: ARG004
        return gradient


def normalized(z, eps=1e-5):
    return (z - z.mean()) / (z.var(correction=0) + eps).sqrt()


def solved(p):
    (a, b), (c, d) = matrix(p)
    u, v = lift(p)[4:6]
    return torch.stack([d * u - b * v, a * v - c * u]) / (a * d - b * c)


def graph(p, height):
    return torch.cat([p, height.reshape(1)])


TWINS = {  # a function of torch, and the same written out
    "layer_norm": (lambda p: functional.layer_norm(lift(p), (9,)), lambda p: normalized(lift(p))),
    "instance_norm": (lambda p: functional.instance_norm(lift(p)[None, None])[0, 0], lambda p: normalized(lift(p))),
    "batch_norm": (
        lambda p: functional.batch_norm(lift(p)[:, None], None, None, training=True)[:, 0],
        lambda p: normalized(lift(p)),
    ),
    "group_norm": (
        lambda p: functional.group_norm(lift(p)[:8].reshape(1, 8, 1), 2).flatten(),
        lambda p: torch.cat([normalized(lift(p)[:4]), normalized(lift(p)[4:8])]),
    ),
    "custom": (lambda p: Cube.apply(lift(p)), lambda p: lift(p) ** 3),
    "custom without jvp": (lambda p: CubeBackwardOnly.apply(lift(p)), lambda p: lift(p) ** 3),
    "custom once differentiable": (lambda p: CubeOnce.apply(lift(p)), lambda p: lift(p) ** 3),
    "det": (
        lambda p: graph(p, torch.linalg.det(matrix(p))),
        lambda p: graph(p, matrix(p)[0, 0] * matrix(p)[1, 1] - matrix(p)[0, 1] * matrix(p)[1, 0]),
    ),
    "slogdet": (
        lambda p: graph(p, torch.linalg.slogdet(matrix(p))[1]),
        lambda p: graph(p, (matrix(p)[0, 0] * matrix(p)[1, 1] - matrix(p)[0, 1] * matrix(p)[1, 0]).abs().log()),
    ),
    "solve": (
        lambda p: torch.cat([p, torch.linalg.solve(matrix(p), lift(p)[4:6])]),
        lambda p: torch.cat([p, solved(p)]),
    ),
    "polar": (
        lambda p: torch.view_as_real(torch.polar(lift(p)[:3], lift(p)[3:6])).flatten(),
        lambda p: (lift(p)[:3] * torch.stack([lift(p)[3:6].cos(), lift(p)[3:6].sin()])).T.flatten(),
    ),
    "grid_sample": (
        lambda p: graph(
            p, functional.grid_sample(LIFT[None, None], p.sigmoid().reshape(1, 1, 1, 2), align_corners=True)
        ),
        lambda p: graph(p, bilinear(p.sigmoid())),
    ),
}


def bilinear(p):
    """LIFT, a picture of 9 rows and 2 columns on [-1, 1]^2, at a point of its lower right quarter."""
    column, row = (p[0] + 1) / 2, (p[1] + 1) * 4
    low = row.detach().floor()
    index = torch.arange(9, dtype=DOUBLE)
    weights = torch.relu(1 - (index - row).abs())
    return weights @ (LIFT @ torch.stack([1 - column, column])) + 0 * low


@pytest.mark.parametrize("name", TWINS)
def test_a_function_of_torch_has_the_curvature_of_the_same_function_written_out(name):
    theirs, written = TWINS[name]
    x = points(12, 2)
    names = ("pullback_metric", "ricci_scalar", "second_fundamental_form")
    ours, expected = measure(theirs, x, names), measure(written, x, names)
    for quantity in names:
        torch.testing.assert_close(ours[quantity], expected[quantity], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_layer_norm_of_a_saddle_is_a_sphere(dtype):
    def sphere(p):
        return functional.layer_norm(torch.stack([p[0], p[1], p[0] * p[1], torch.ones_like(p[0])]), (4,), eps=0.0)

    x = torch.tensor([[0.3, 0.4], [-1.2, 0.5], [0.7, -0.6]], dtype=dtype)
    half = torch.full((3,), 0.5, dtype=dtype)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-4
    torch.testing.assert_close(ricci_scalar(sphere, x), half, rtol=tolerance, atol=0)
    plane = TorchFeatureMap(sphere).restricted_to(x.new_zeros(2), x.new_tensor([[1.0, 0.5], [0.0, 1.0]]))
    torch.testing.assert_close(ricci_scalar(plane, x), half, rtol=tolerance, atol=0)


def no_grad(p):
    with torch.no_grad():
        return paraboloid(p)


def in_place(p):
    p -= 1
    return paraboloid(p)


def by_item(p):
    p[0] = 2 * p[0]
    return paraboloid(p)


def by_view(p):
    q = 2 * p
    q.view(1, 2).T[1].mul_(3)
    return paraboloid(q)


@pytest.mark.parametrize(
    "function", [in_place, by_item, lambda p: paraboloid(p.relu_()), lambda p: paraboloid(p.exp_()), by_view]
)
def test_a_callable_that_changes_its_point_is_measured_and_the_points_stay(function):
    x = points(6, 2).abs() + 0.1
    before = x.clone()
    measured = ricci_scalar(function, x)
    error = ricci_scalar_error(function, x)  # from runs in which operations are perturbed
    features = TorchFeatureMap(function)(x)
    assert torch.equal(x, before)
    assert (error < 1e-9 * measured.abs()).all()
    torch.testing.assert_close(features, torch.stack([function(p.clone()) for p in x]))
    if function is in_place:
        torch.testing.assert_close(measured, ricci_scalar(paraboloid, x - 1))


def test_features_that_are_the_point_itself_are_a_copy():
    x = points(3, 2)
    before = x.clone()
    TorchFeatureMap(lambda p: p)(x).add_(1)
    TorchFeatureMap(lambda p: p[:1])(x).add_(1)
    assert torch.equal(x, before)
    assert torch.equal(pullback_metric(lambda p: p, x[0]), torch.eye(2, dtype=DOUBLE))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
@pytest.mark.parametrize("function", [no_grad, paraboloid])
def test_modes_of_the_caller_and_of_the_callable_change_nothing(function, mode):
    x = points(3, 2)
    expected = ricci_scalar(paraboloid, x)
    with mode():
        torch.testing.assert_close(ricci_scalar(function, x), expected, rtol=1e-12, atol=0)


def doubled(z):
    same = z.contiguous()  # z itself, but a copy in a batch
    return z + same.mul_(2)


REFUSED = {
    "detach": (lambda p: torch.stack([p[0], p[1], p @ p.detach()]), "must have automatic derivatives"),
    "wrong rule of one's own": (lambda p: WrongSlope.apply(lift(p)), "must have automatic derivatives"),
    "no rule in torch": (lambda p: torch.special.bessel_j0(lift(p)), "must have automatic derivatives"),
    "straight through": (lambda p: lift(p) + (lift(p).round() - lift(p)).detach(), "must have automatic derivatives"),
    "number": (lambda p: paraboloid(p) * p[0].item(), "must run in batches"),
    "branch": (lambda p: paraboloid(p) if p[0] > 0 else 2 * paraboloid(p), "must run in batches"),
    "random": (lambda p: paraboloid(p) * torch.rand(3, dtype=DOUBLE), "must run in batches"),
    "dropout": (lambda p: functional.dropout(paraboloid(p)), "must run in batches"),
    "old style": (lambda p: OldStyle.apply(lift(p)), "must run in batches"),
    "copied or not": (lambda p: p.sum() + doubled(torch.sin(lift(p))), "must give a point the same features"),
    "into": (lambda p: torch.mul(p, 2, out=p), "must run in batches"),
    "no second derivative": (
        lambda p: torch.cat([p, torch.cdist(lift(p).reshape(3, 3)[:, :2], p[None], p=3).flatten()]),
        "must be differentiable twice",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_measured_rightly_is_refused_in_a_sentence(name):
    function, constraint = REFUSED[name]
    with pytest.raises(ValueError, match=f"`feature_map` {constraint}.* Got ") as caught:
        ricci_scalar(function, points(5, 2))
    assert "\n" not in str(caught.value)


def honest(dtype):
    """Maps whose derivatives are as good as rounding leaves them."""
    steep, bias = 40 * LIFT.to(dtype), torch.linspace(-300, 300, 9, dtype=dtype)
    return {
        "saturated sigmoid": lambda p: torch.sigmoid(LIFT.to(p) @ p + 36),
        "dead gelu": lambda p: functional.gelu(LIFT.to(p) @ p - 40),
        "saturated softmax": lambda p: torch.softmax(100 * LIFT.to(p) @ p, 0),
        "log_softmax": lambda p: functional.log_softmax(steep @ p, 0),
        "units of all kinds": lambda p: torch.tanh(LIFT.to(p) @ p + bias),
        "logsigmoid": lambda p: functional.logsigmoid(steep @ p + bias.abs()),
        "relu": lambda p: torch.relu(LIFT.to(p) @ p),
        "deep relu": lambda p: torch.relu(LIFT.to(p)[:, :1] @ torch.relu(LIFT.to(p) @ p)[:1]),
        "abs": lambda p: (LIFT.to(p) @ p).abs(),
        "steep": lambda p: torch.sin(steep @ p),
        "nearly parallel": lambda p: torch.stack([p[0], p[0] + 1e-6 * p[1], torch.sin(p[0])]),
        "far from zero": lambda p: paraboloid(p) + 1e6,
        "tiny": lambda p: 1e-30 * paraboloid(p),
        "constant": lambda p: torch.ones_like(p),
        "square root": lambda p: torch.cat([p, p.abs().sqrt()]),
        "norm": lambda p: torch.cat([p, p.norm()[None]]),
    }


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 100.0])
@pytest.mark.parametrize("name", honest(DOUBLE))
def test_honest_callables_raise_no_alarm(name, scale, dtype):
    measure(honest(dtype)[name], scale * points(20, 2, dtype=dtype))


def test_a_callable_that_drops_digits_on_its_way_is_warned_of_once():
    def inside(p):
        return paraboloid(p.float()).double()

    feature_map = TorchFeatureMap(inside)
    with pytest.warns(UserWarning, match=r"computes in torch.float32 .* no more digits"):
        measure(feature_map, points(4, 2))
    measure(feature_map, points(4, 2))


@pytest.mark.parametrize(
    ("function", "dtype"),
    [
        (lambda p: paraboloid(p) * (p[0] > 0).float().double() + torch.ones(3), torch.float64),
        (lambda p: torch.sin(LIFT.to(p) @ p), torch.float32),
    ],
)
def test_constants_in_another_dtype_are_not_warned_of(function, dtype):
    ricci_scalar(function, points(4, 2, dtype=dtype))


@pytest.mark.parametrize(
    ("function", "error", "sentence"),
    [
        (lambda p: paraboloid(p).float(), TypeError, r"in the dtype of its points, torch.float64\. Got torch.float32"),
        (lambda p: (p > 0).long(), TypeError, r"in the dtype of its points, .* Got torch.int64"),
        (lambda p: p * 1j, TypeError, r"in the dtype of its points, .* Got torch.complex128"),
        (lambda p: paraboloid(p)[:, None], ValueError, r"to features \(n,\)\. Got features of shape \(3, 1\)"),
        (lambda p: p @ p, ValueError, r"to features \(n,\)\. Got features of shape \(\)"),
        (lambda p: (p[0], p[1]), ValueError, r"to features \(n,\)\. Got .*tuple"),
        (lambda _: None, ValueError, r"to features \(n,\)\. Got .*NoneType"),
    ],
)
def test_callables_that_return_something_else_are_refused_in_a_sentence(function, error, sentence):
    for compute in (ricci_scalar, log_volume_element, lambda mapped, x: TorchFeatureMap(mapped)(x)):
        with pytest.raises(error, match=f"`feature_map` must .*{sentence}"):
            compute(function, points(3, 2))


@pytest.mark.parametrize(
    "function",
    [
        lambda p: torch.linalg.eigvalsh(torch.outer(p, p) + torch.diag(p)),
        lambda p: torch.linalg.cholesky(torch.outer(p, p) + torch.eye(2, dtype=DOUBLE))[:, 0],
    ],
)
def test_points_that_are_nan_harm_no_others_where_the_callable_raises_for_them(function):
    x = points(4, 2)
    x[0, 1], x[2, 0] = torch.nan, torch.inf
    found = pullback_metric(function, x)
    assert found[[0, 2]].isnan().all()
    torch.testing.assert_close(found[[1, 3]], pullback_metric(function, x[[1, 3]]))
    assert pullback_metric(paraboloid, x[[0, 2]]).isnan().all()


def test_a_plane_keeps_its_dtype():
    plane = TorchFeatureMap(paraboloid).restricted_to(torch.zeros(2), torch.eye(2))
    with pytest.raises(TypeError, match=r"`x` must have the dtype of the plane, torch.float32\. Got torch.float64"):
        ricci_scalar(plane, points(3, 2))
    with pytest.raises(TypeError, match="`origin` and `directions` must have one dtype"):
        TorchFeatureMap(paraboloid).restricted_to(points(2), torch.eye(2))


def test_many_features_through_layer_norm_need_little_memory_and_keep_their_values():
    weight = points(300, 2, seed=4)
    x = points(3, 2)
    ours = ricci_scalar(lambda p: functional.layer_norm(torch.sin(weight @ p), (300,)), x)
    torch.testing.assert_close(ours, ricci_scalar(lambda p: normalized(torch.sin(weight @ p)), x), rtol=1e-8, atol=1e-8)


class Cubes(torch.nn.Module):
    def forward(self, x):
        z = x @ LIFT.T
        return torch.sin(z) + z**3


def planes_of(feature_map, origins):
    directions = torch.eye(2, dtype=DOUBLE)
    return [feature_map.restricted_to(torch.full((2,), origin, dtype=DOUBLE), directions) for origin in origins]


@pytest.mark.parametrize(
    "make", [lambda: TorchFeatureMap(lambda p: Cubes()(p)), lambda: ModuleFeatureMap([Cubes(), Cubes()], "")]
)
def test_planes_of_one_map_share_a_trial_and_keep_their_values(make, monkeypatch):
    tried, trial = [], torch_feature_map.sound_route

    def counted(*args, **named):
        tried.append(args)
        return trial(*args, **named)

    monkeypatch.setattr(torch_feature_map, "sound_route", counted)
    x, origins = points(4, 2), (0.0, 0.5, -1.0)
    shared = [ricci_scalar(plane, x) for plane in planes_of(make(), origins)]
    replicates = len(make().each())
    assert len(tried) == replicates
    alone = [ricci_scalar(planes_of(make(), [origin])[0], x) for origin in origins]
    assert len(tried) == (1 + len(origins)) * replicates
    assert all(torch.equal(*pair) for pair in zip(shared, alone, strict=True))


class CubeRightBelowTwo(torch.autograd.Function):
    """Its only rule is wrong above 2."""

    generate_vmap_rule = True
    forward, setup_context = Cube.forward, Cube.setup_context

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 3 * gradient * torch.where(x > 2, x, x**2)


def test_a_plane_on_which_the_shared_route_is_wrong_is_refused_all_the_same():
    below, above = planes_of(TorchFeatureMap(lambda p: torch.cat([CubeRightBelowTwo.apply(p), p])), (0.0, 10.0))
    x = points(4, 2) / 4
    ricci_scalar(below, x)
    with pytest.raises(ValueError, match="must have automatic derivatives that agree"):
        ricci_scalar(above, x)
