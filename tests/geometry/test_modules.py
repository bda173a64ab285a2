"""`MLPFeatureMap.from_module`: it measures the module that it is given, or refuses it, and leaves it as it was."""

import pytest
import torch
from reference import DOUBLE, points
from torch import nn
from torch.nn.utils import parametrizations, prune

from nngeom_cli.geometry import MLPFeatureMap, ricci_scalar


def stack():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Linear(2, 6), nn.Tanh(), nn.Dropout(), nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 1)
        ).double()


class Doubled(nn.Sequential):
    def forward(self, x):
        return super().forward(2 * x)


class Noisy(nn.Sequential):
    def forward(self, x):
        return super().forward(x + torch.randn_like(x))


class Clamped(nn.Linear):
    def forward(self, x):
        return super().forward(x).clamp(-0.1, 0.1)


class AlwaysDropout(nn.Dropout):
    def forward(self, x):
        return nn.functional.dropout(x, self.p, training=True)


def saturated(module):
    with torch.no_grad():
        module[0].bias += 100
    return module


def hooked(place, function, *, before=False):
    module = stack()
    part = module if place is None else module[place]
    (part.register_forward_pre_hook if before else part.register_forward_hook)(function)
    return module


def patched(part):
    part.forward = lambda x: 2 * x
    return part


OTHERS = {
    "forward of its own": lambda: Doubled(*stack()),
    "forward of its own, saturated": lambda: saturated(Doubled(*stack())),
    "noise": lambda: Noisy(*stack()),
    "hook of a layer": lambda: hooked(0, lambda _module, _arguments, output: output + 1),
    "hook of an activation": lambda: hooked(1, lambda _module, _arguments, output: 2 * output),
    "hook before a layer": lambda: hooked(0, lambda _module, arguments: (2 * arguments[0],), before=True),
    "hook before the module": lambda: hooked(None, lambda _module, arguments: (2 * arguments[0],), before=True),
    "subclass of Linear": lambda: nn.Sequential(Clamped(2, 6), nn.Tanh()).double(),
    "patched": lambda: nn.Sequential(nn.Linear(2, 2), patched(nn.Tanh())).double(),
    "patched module": lambda: patched(stack()),
}


class Halved(nn.Sequential):
    def forward(self, x):
        return super().forward(x) / 2


class Paired(nn.Sequential):
    def forward(self, x):
        return super().forward(x), x


LAST = {
    "forward of its own": lambda module: Halved(*module),
    "forward of its own, with a dropout at the end": lambda module: Halved(*module, nn.Dropout()),
    "hook": lambda module: module.register_forward_hook(lambda _module, _arguments, output: output / 2) and module,
    "output beside another": lambda module: Paired(*module),
}


@pytest.mark.parametrize("name", LAST)
def test_what_a_module_does_after_its_last_layer_belongs_to_the_features(name):
    module = LAST[name](stack())
    assert MLPFeatureMap.from_module(module, layer=1).widths == [2, 6]
    with pytest.raises(TypeError, match="Got other features after layer 3"):
        MLPFeatureMap.from_module(module, layer=3)


@pytest.mark.parametrize("name", OTHERS)
def test_a_module_that_computes_something_else_is_refused(name):
    with pytest.raises(
        TypeError, match=r"`module` must compute what its layers say\. Got other features after layer 1"
    ):
        MLPFeatureMap.from_module(OTHERS[name](), layer=1)


def test_a_dropout_that_never_stops_is_refused_where_it_matters():
    module = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), AlwaysDropout(), nn.Linear(6, 3)).double()
    assert MLPFeatureMap.from_module(module, layer=1).widths == [2, 6]
    with pytest.raises(TypeError, match="Got other features after layer 2"):
        MLPFeatureMap.from_module(module, layer=2)


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        (nn.Sequential(nn.Linear(2, 3), nn.Softplus(threshold=5)), r"Got Softplus\(beta=1.0, threshold=5\) at 1"),
        (nn.Sequential(nn.Linear(2, 3), nn.Softplus(beta=2)), "Got Softplus"),
        (nn.Sequential(nn.Sequential(nn.Linear(2, 3))), "Got Sequential"),
        (nn.Sequential(nn.Linear(2, 3)).half(), r"`module` must be float32 or float64\. Got torch.float16"),
        (nn.Sequential(nn.Linear(2, 3, dtype=torch.complex64)), "`module` must be float32 or float64"),
        (nn.Sequential(nn.Linear(2, 3, device="meta")), r"must have parameters that hold numbers\. Got Linear.* at 0"),
        (nn.Sequential(nn.LazyLinear(3)), r"must have parameters that hold numbers\. Got LazyLinear"),
        (nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3).double()), r"must take points \(\*batch, 2\)\. Got "),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(module, sentence):
    with pytest.raises(TypeError, match=sentence):
        MLPFeatureMap.from_module(module, layer=1)


def pruned(linear):
    prune.l1_unstructured(linear, "weight", amount=0.4)
    with torch.no_grad():
        linear.weight_orig *= 2  # linear.weight is stale until the module is called
    return linear


SAME = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "prune": pruned,
    "nothing": lambda linear: linear,
}


@pytest.mark.parametrize("name", SAME)
def test_weights_that_are_computed_are_those_of_the_call(name):
    module = stack()
    module[0] = SAME[name](module[0])
    feature_map = MLPFeatureMap.from_module(module, layer=2)
    x = points(4, 2)
    expected = module.eval()[:5](x).detach()
    torch.testing.assert_close(feature_map(x) * 5**0.5, expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Linear(2, 6), nn.Softplus(), nn.Linear(6, 2)),
        nn.Sequential(nn.Linear(2, 6), nn.ReLU(inplace=True), nn.Linear(6, 2)),
        nn.Sequential(nn.Linear(2, 6, bias=False), nn.SiLU(), nn.Linear(6, 2)).double(),
        nn.Sequential(*[nn.Linear(2, 2), nn.Tanh()] * 2).double(),
        nn.Sequential(nn.Linear(2, 6), nn.Dropout(), nn.Sigmoid(), nn.Identity(), nn.Linear(6, 2)).double(),
    ],
)
def test_stacks_that_compute_what_they_say_are_accepted_in_either_mode(module):
    for layer in (1, 2):
        MLPFeatureMap.from_module(module.train(), layer)
        MLPFeatureMap.from_module(module.eval(), layer)


def test_a_module_is_left_in_its_mode_with_its_buffers_and_torch_with_its_generator():
    class Counting(nn.Sequential):
        def forward(self, x):
            self.calls += 1
            self.last = torch.rand(())
            return super().forward(x)

    module = Counting(*stack())
    module.register_buffer("calls", torch.zeros(()))
    module.register_buffer("last", torch.ones(()))
    module[0] = parametrizations.spectral_norm(module[0])
    module.train()
    module[1].eval()
    modes = [part.training for part in module.modules()]
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    state = torch.get_rng_state()
    MLPFeatureMap.from_module(module, layer=2)
    assert [part.training for part in module.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert not module[4]._forward_hooks
    for name, buffer in module.named_buffers():
        assert torch.equal(buffer, buffers[name]), name


def test_parameters_are_those_of_the_time_of_the_call():
    module, x = stack(), points(4, 2)
    feature_map = MLPFeatureMap.from_module(module, layer=1)
    before = feature_map(x)
    with torch.no_grad():
        module[0].weight *= 3
    assert torch.equal(feature_map(x), before)
    weights = [points(3, 2)]
    own = MLPFeatureMap(weights, [points(3)], "tanh")
    curvature = ricci_scalar(own, x)
    weights[0].mul_(2)
    assert torch.equal(ricci_scalar(own, x), curvature)
    assert own.weights[0].dtype == DOUBLE
