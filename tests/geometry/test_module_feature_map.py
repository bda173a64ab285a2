"""Any torch module: its submodule's features and outputs, which replicates it has, and what it keeps of its own."""

import math

import pytest
import torch
from reference import DOUBLE, points
from torch import nn
from torch.nn.utils import parametrizations, prune

from nngeom_cli.geometry import (
    MLPFeatureMap,
    ModuleFeatureMap,
    log_effective_volume_element,
    measure,
    metric_spectrum,
    principal_directions,
    ricci_scalar,
)

X = points(4, 2)


def perceptron(seed=0, width=9):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Dropout(0.5), nn.Linear(width, 3)).double()


def convolutional(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(36, 3)
        )


class Wrapped(nn.Module):
    """A model whose forward is whatever a test says, around one Linear layer."""

    def __init__(self, forward):
        super().__init__()
        self.linear = nn.Linear(2, 5).double()
        self.called = forward

    def forward(self, x):
        return self.called(self.linear, x)


class Gives(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return self.value(x)


def test_a_stack_of_layers_is_measured_as_by_its_own_feature_map():
    model = perceptron()
    ours, theirs = ModuleFeatureMap(model, "1"), MLPFeatureMap.from_module(model, 1)
    torch.testing.assert_close(ours(X), theirs(X))
    names = ("ricci_scalar", "log_volume_element", "second_fundamental_form", "condition_number", "ricci_tensor")
    found, expected = measure(ours, X, names), measure(theirs, X, names)
    for name in names:
        torch.testing.assert_close(found[name], expected[name])
    torch.testing.assert_close(ours.outputs(X), model.eval()(X).detach())


def test_features_are_divided_by_the_root_of_their_number_unless_asked_not_to_be():
    model = perceptron()
    raw = ModuleFeatureMap(model, "1", normalize=False)
    torch.testing.assert_close(raw(X), model[1](model[0](X)).detach())
    torch.testing.assert_close(ModuleFeatureMap(model, "1")(X), raw(X) / 3)
    torch.testing.assert_close(ModuleFeatureMap(model, "", normalize=False)(X), raw.outputs(X))


def test_inputs_may_have_their_own_shape_or_be_flat():
    model = convolutional()
    x = points(3, 2, 5, 5)
    feature_map = ModuleFeatureMap(model, "1", shape=(2, 5, 5))
    expected = model.double().eval()[:2](x).flatten(1).detach() / 6
    for each in (x, x.flatten(1), x.reshape(3, 1, 2, 5, 5)[:, 0]):
        torch.testing.assert_close(feature_map(each), expected)
    assert feature_map(x.reshape(3, 1, 2, 5, 5)).shape == (3, 1, 36)
    assert log_effective_volume_element(feature_map, x, 6).shape == (3,)
    assert principal_directions(feature_map, x, 2).shape == (3, 2, 50)
    by_hand = torch.func.jacrev(lambda p: feature_map(p))(x[0].flatten())
    torch.testing.assert_close(metric_spectrum(feature_map, x[0], 4), torch.linalg.svdvals(by_hand)[:4].square())


def test_a_plane_of_inputs_and_a_line_in_it():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Softplus(), nn.Flatten()).double()
    origin, directions = points(2, 5, 5, seed=1), points(2, 2, 5, 5, seed=2)
    whole = ModuleFeatureMap(model, "2", shape=(2, 5, 5))
    plane = whole.restricted_to(origin, directions)
    u = points(4, 2)
    inputs = origin.flatten() + u @ directions.flatten(1)
    torch.testing.assert_close(plane(u), whole(inputs))
    torch.testing.assert_close(plane.outputs(u), whole.outputs(inputs))
    line = plane.restricted_to(u[0], torch.ones(1, 2, dtype=DOUBLE))
    torch.testing.assert_close(line(torch.ones(1)), whole(origin.flatten() + (u[0] + 1) @ directions.flatten(1)))
    assert ricci_scalar(plane, u).isfinite().all()


def test_a_list_of_models_is_replicates_whatever_their_architecture():
    other = nn.Sequential(nn.Linear(2, 4), nn.GELU(), nn.Linear(4, 9), nn.Linear(9, 3)).double()
    models = [perceptron(0), perceptron(1), other]
    with pytest.raises(ValueError, match=r"the same number of features at the layer\. Got 9, 9, 4"):
        ModuleFeatureMap(models, "1")(X)
    models[2] = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 9), nn.Tanh(), nn.Linear(9, 3)).double()
    together = ModuleFeatureMap(models, "1")
    assert together.replicates == (3,)
    for quantity in (ricci_scalar, lambda f, x: metric_spectrum(f, x, 2), lambda f, x: f(x), lambda f, x: f.outputs(x)):
        alone = torch.stack([quantity(ModuleFeatureMap(model, "1"), X) for model in models])
        torch.testing.assert_close(quantity(together, X), alone, rtol=0, atol=0)
    assert ModuleFeatureMap(models[:1], "1")(X).shape == (1, 4, 9)
    with pytest.raises(ValueError, match="at least one in a list"):
        ModuleFeatureMap([], "1")


@pytest.mark.parametrize("make", [perceptron, convolutional])
def test_the_model_and_the_caller_keep_what_is_theirs(make):
    model = make()
    model[2].eval()  # modes of its parts differ
    shape = None if make is perceptron else (2, 5, 5)
    x = points(3, *(shape or (2,)))
    seen = []
    model[0].register_forward_hook(lambda *_: seen.append(1))
    before = ({name: value.clone() for name, value in model.state_dict().items()}, x.clone(), torch.get_rng_state())
    modes = [part.training for part in model.modules()]
    gradients = [each.requires_grad for each in model.parameters()]
    hooks = [len(part._forward_hooks) for part in model.modules()]
    feature_map = ModuleFeatureMap(model, "2", shape=shape)
    feature_map.outputs(x)
    metric_spectrum(feature_map, x, 2)
    assert all(torch.equal(value, before[0][name]) for name, value in model.state_dict().items())
    assert torch.equal(x, before[1])
    assert torch.equal(torch.get_rng_state(), before[2])
    assert [part.training for part in model.modules()] == modes
    assert [each.requires_grad for each in model.parameters()] == gradients
    assert [len(part._forward_hooks) for part in model.modules()] == hooks
    assert all(each.grad is None for each in model.parameters())


def test_a_float32_model_is_measured_in_float64_unless_asked_not_to_be():
    model = perceptron().float()
    x = X.float()
    wide, narrow = ModuleFeatureMap(model, "1"), ModuleFeatureMap(model, "1", dtype=None)
    assert wide(x).dtype == ricci_scalar(wide, x).dtype == torch.float64
    assert narrow(x).dtype == ricci_scalar(narrow, x).dtype == torch.float32
    torch.testing.assert_close(wide(x), ModuleFeatureMap(model.double(), "1")(x.double()), rtol=0, atol=0)
    with pytest.raises(TypeError, match=r"`x` must have the feature map's dtype, torch.float32. Got torch.float64"):
        narrow(X)
    half = ModuleFeatureMap(perceptron().half(), "1")
    assert ricci_scalar(half, x).isfinite().all()
    with pytest.raises(TypeError, match=r"`model` must be float32 or float64. Got torch.float16"):
        ModuleFeatureMap(perceptron().half(), "1", dtype=None)
    with pytest.raises(TypeError, match=r"`dtype` must be float32 or float64. Got torch.float16"):
        ModuleFeatureMap(model, "1", dtype=torch.float16)


def test_what_later_layers_do_in_place_does_not_change_the_features():
    model = convolutional()
    x = points(1, 2, 5, 5)
    assert (ModuleFeatureMap(model, "1", shape=(2, 5, 5))(x) < 0).any()
    assert (ModuleFeatureMap(model, "2", shape=(2, 5, 5))(x) >= 0).all()


def weight_norm_of_old(model):
    with pytest.warns(FutureWarning, match="deprecated"):
        nn.utils.weight_norm(model[0])
    model(X)  # its weight is now computed from others
    return model


def compiled(model):
    return torch.compile(model, backend="eager")


WRAPPED = {  # how a model may be dressed, and the name of its layer there
    "compiled": (compiled, "_orig_mod.1"),
    "compiled, its name undressed": (compiled, "1"),
    "compiled in place": (lambda model: model.compile(backend="eager") or model, "1"),
    "parallel": (nn.DataParallel, "module.1"),
    "parallel and compiled": (lambda model: compiled(nn.DataParallel(model)), "_orig_mod.module.1"),
    "a part of it compiled": (lambda model: nn.Sequential(compiled(model), nn.Tanh()), "0._orig_mod.1"),
    "weight norm": (lambda model: parametrizations.weight_norm(model[0]) and model, "1"),
    "old weight norm": (weight_norm_of_old, "1"),
    "pruned": (lambda model: prune.identity(model[0], "weight") and model, "1"),
}


@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("name", WRAPPED)
def test_a_dressed_model_has_the_geometry_of_the_model_in_it(name):
    dress, layer = WRAPPED[name]
    expected = ricci_scalar(ModuleFeatureMap(perceptron(), "1"), X)
    torch.testing.assert_close(ricci_scalar(ModuleFeatureMap(dress(perceptron()), layer), X), expected)


REFUSED = {
    "misspelt": (perceptron, "linear", r"a name of `model.named_modules\(\)`: 0, 1, 2, 3\. Got 'linear'\."),
    "near": (lambda: nn.ModuleDict({"features": perceptron()}), "feature.0", r"Did you mean 'features\.0'\?"),
    "number": (perceptron, 1, r"Got 1\. Did you mean '1'\?"),
    "many names": (lambda: nn.Sequential(*[nn.Linear(2, 2) for _ in range(99)]), "x", r"29, and 69 more\. Got 'x'"),
    "no module": (lambda: torch.sin, "0", r"must be a torch.nn.Module\. Got builtin_function_or_method"),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(3)), "0", "must have parameters that hold numbers"),
    "meta": (lambda: perceptron().to("meta"), "0", "must have parameters that hold numbers"),
    "uncopyable": (lambda: Uncopyable(), "", r"can copy\. Got not to be copied"),
    "twice": (lambda: Wrapped(lambda f, x: f(f(x)[:, :2])), "linear", r"'linear', which is called 2 times"),
    "never": (lambda: Wrapped(lambda _, x: x), "linear", r"'linear', which is called 0 times"),
    "pair": (lambda: Gives(lambda x: (x, x)), "", r"'', which returns a tuple"),
    "nothing": (lambda: Gives(lambda _: None), "", r"'', which returns None"),
    "mapping": (lambda: Gives(lambda x: {"x": x}), "", r"'', which returns a dict"),
    "complex": (lambda: Gives(torch.fft.rfft), "", r"in the dtype of its points, torch.float64\. Got torch.complex128"),
    "classes": (lambda: Gives(lambda x: x.argmax(1, keepdim=True)), "", r"Got torch\.int64"),
    "mean over the batch": (lambda: Gives(lambda x: x - x.mean(0)), "", r"each input by itself\. Got other features"),
    "sum over the batch": (lambda: Gives(lambda x: x.sum(0)), "", r"each input by itself"),
    "random": (lambda: Gives(lambda x: x + torch.rand(2)), "", "no random numbers in evaluation mode"),
    "wrong size": (perceptron, "1", r"must take inputs of shape \(1, 3\) .* Got mat1 and mat2"),
}


class Uncopyable(nn.Module):
    def __deepcopy__(self, memo):
        raise RuntimeError("not to be copied")


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_features_is_refused_in_a_sentence(name):
    make, layer, sentence = REFUSED[name]
    state = torch.get_rng_state()
    with torch.random.fork_rng():
        model = make()
    with pytest.raises((TypeError, ValueError), match=sentence) as caught:
        ricci_scalar(ModuleFeatureMap(model, layer), points(3, 3 if name == "wrong size" else 2))
    assert "\n" not in str(caught.value)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
def test_a_scripted_model_is_refused_for_the_one_it_came_from():
    with pytest.raises(TypeError, match=r"Got a scripted one\. Give the module it came from"):
        ModuleFeatureMap(torch.jit.script(perceptron()), "1")


@pytest.mark.parametrize(
    ("x", "sentence"),
    [
        (points(3, 4), r"shape \(\*batch, 50\) or \(\*batch, 2, 5, 5\)\. Got \(3, 4\)"),
        (points(3, 5, 5, 2), r"shape \(\*batch, 50\)"),
        (torch.tensor(1.0, dtype=DOUBLE), r"shape \(\*batch, 50\)"),
    ],
)
def test_points_of_another_shape_are_refused_in_a_sentence(x, sentence):
    with pytest.raises(ValueError, match=sentence):
        metric_spectrum(ModuleFeatureMap(convolutional(), "2", shape=(2, 5, 5)), x, 1)


def test_outputs_that_are_no_tensor_are_refused_and_the_features_are_not():
    model = Wrapped(lambda linear, x: {"logits": linear(x)})
    feature_map = ModuleFeatureMap(model, "linear")
    torch.testing.assert_close(feature_map(X), model.linear(X).detach() / math.sqrt(5))
    with pytest.raises(TypeError, match=r"`model` must return a tensor\. Got a dict"):
        feature_map.outputs(X)


def test_outputs_come_in_chunks_and_without_points_too():
    feature_map = ModuleFeatureMap(perceptron(), "1")
    torch.testing.assert_close(feature_map.outputs(points(7, 2), chunk_size=2), feature_map.outputs(points(7, 2)))
    assert feature_map.outputs(points(0, 2)).shape == (0, 3)
    assert feature_map(points(2, 0, 2)).shape == (2, 0, 9)
