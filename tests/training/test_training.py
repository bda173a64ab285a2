"""The written-out gradient and steps against torch.autograd and torch.optim; replicates against runs of their own."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from nngeom_cli.config.optimizer import AdamConfig, AdamWConfig, SgdConfig
from nngeom_cli.config.schedule import history_epochs
from nngeom_cli.config.task import DigitsConfig, SinusoidConfig, XorConfig
from nngeom_cli.geometry import get_activation
from nngeom_cli.tasks.losses import MeanSquaredError
from nngeom_cli.tasks.make import make_task
from nngeom_cli.training import loop as training
from nngeom_cli.training import network as networks
from nngeom_cli.training.backpropagation import LossGradient
from nngeom_cli.training.batches import Batches
from nngeom_cli.training.blocks import train_on_cores
from nngeom_cli.training.forward import ForwardPass
from nngeom_cli.training.loop import batch_generators, initial_generators, train
from nngeom_cli.training.network import Network, initial_network
from nngeom_cli.training.optimizers import Optimizer

ACTIVATIONS = ["identity", "relu", "sigmoid", "softplus", "tanh", "erf", "gelu", "silu", "sin", "monomial3"]
SGD = {"name": "sgd", "lr": 0.05, "weight_decay": 1e-3, "epochs": 200, "batch_size": None, "momentum": 0.9}
ADAM = {"lr": 0.01, "weight_decay": 0.1, "epochs": 200, "batch_size": None, "betas": [0.9, 0.999], "eps": 1e-8}
OPTIMIZERS = [
    (SgdConfig(**SGD), torch.optim.SGD, {"momentum": 0.9}),
    (SgdConfig(**SGD | {"momentum": 0.0}), torch.optim.SGD, {}),
    (AdamConfig(name="adam", **ADAM), torch.optim.Adam, {}),
    (AdamWConfig(name="adamw", **ADAM), torch.optim.AdamW, {}),
]
XOR, SINUSOID, DIGITS = XorConfig("xor"), SinusoidConfig("sinusoid", points=50, data_seed=0), DigitsConfig("digits")


class Literal(nn.Module):
    """The network that a user writes, in torch's own modules; parameters of one replicate."""

    def __init__(self, network: Network, replicate: int) -> None:
        super().__init__()
        self.activation = network.activation
        self.ntk = network.parametrization == "ntk"
        self.layers = nn.ModuleList()
        for weights in network.weights:
            _, out, columns = weights.shape
            layer = nn.Linear(columns - 1, out, dtype=weights.dtype)
            layer.weight.data.copy_(weights[replicate, :, :-1])
            layer.bias.data.copy_(weights[replicate, :, -1])
            self.layers.append(layer)

    def forward(self, x):
        for layer in self.layers:
            scale = layer.in_features**-0.5 if self.ntk else 1.0
            x = nn.functional.linear(x, scale * layer.weight, layer.bias)
            x = x if layer is self.layers[-1] else self.activation.value(x)
        return x

    def flat(self) -> torch.Tensor:
        return torch.cat([torch.cat([p.weight, p.bias[:, None]], dim=1).flatten() for p in self.layers]).detach()

    def gradient(self) -> torch.Tensor:
        return torch.cat([torch.cat([p.weight.grad, p.bias.grad[:, None]], dim=1).flatten() for p in self.layers])


def literal_loss(task, outputs, labels):
    if isinstance(task.loss, MeanSquaredError):
        return nn.functional.mse_loss(outputs[:, 0], labels.double())
    return nn.functional.cross_entropy(outputs, labels)


def flat(weights, replicate):
    return torch.cat([torch.as_tensor(w)[replicate].flatten() for w in weights])


def relative_error(actual, expected):
    return ((actual - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("config", [XOR, SINUSOID], ids=["mse", "cross_entropy"])
def test_gradient_is_that_of_autograd(config, activation):
    task = make_task(config)
    network = initial_network([2, 5, 4, task.outputs], activation, initial_generators(3, 3))
    network.parameters.mul_(3)  # into the curved part of the activations
    (batch,) = Batches(task, network, None).epoch([])
    gradient = network.views(LossGradient(network, task.loss, batch)())
    for replicate in range(3):
        literal = Literal(network, replicate)
        literal_loss(task, literal(task.inputs), task.labels).backward()
        assert relative_error(flat(gradient, replicate), literal.gradient()) < 1e-12


@pytest.mark.parametrize(("optimizer", "reference", "options"), OPTIMIZERS, ids=["momentum", "sgd", "adam", "adamw"])
def test_200_steps_are_those_of_torch_optim(optimizer, reference, options):
    task = make_task(SINUSOID)
    network = initial_network([2, 8, 8, 2], "sigmoid", initial_generators(0, 2))
    literals = [Literal(network, replicate) for replicate in range(2)]
    *_, last = train(network, task, optimizer, batch_generators(0, 2), [0, 200])
    for replicate, literal in enumerate(literals):
        steps = reference(literal.parameters(), lr=optimizer.lr, weight_decay=optimizer.weight_decay, **options)
        for _ in range(200):
            steps.zero_grad()
            literal_loss(task, literal(task.inputs), task.labels).backward()
            steps.step()
        assert relative_error(flat(last.weights, replicate), literal.flat()) < 1e-10
        assert last.loss[replicate] == pytest.approx(
            literal_loss(task, literal(task.inputs), task.labels).item(), rel=1e-10
        )


def test_mini_batches_are_those_of_a_loop_in_the_same_order():
    task = make_task(SINUSOID)
    optimizer = AdamConfig(name="adam", **ADAM | {"epochs": 3, "batch_size": 12})  # 50 points: the last batch has 2
    network = initial_network([2, 6, 2], "tanh", initial_generators(5, 2))
    literals = [Literal(network, replicate) for replicate in range(2)]
    *_, last = train(network, task, optimizer, batch_generators(5, 2), [3])
    for generator, literal, replicate in zip(batch_generators(5, 2), literals, range(2), strict=True):
        steps = torch.optim.Adam(literal.parameters(), lr=optimizer.lr, weight_decay=optimizer.weight_decay)
        for _ in range(3):
            for rows in torch.randperm(50, generator=generator).split(12):
                steps.zero_grad()
                literal_loss(task, literal(task.inputs[rows]), task.labels[rows]).backward()
                steps.step()
        assert relative_error(flat(last.weights, replicate), literal.flat()) < 1e-10


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    ("config", "hidden", "batch_size"),
    [
        (XOR, [2], None),
        (XOR, [8], None),
        (XOR, [64, 16], None),
        (SINUSOID, [3, 5], None),
        (SINUSOID, [7], 12),
        (SINUSOID, [32], 1),
    ],
)
def test_replicate_is_the_run_of_its_own_seed_bit_for_bit(config, hidden, batch_size, activation):
    task = make_task(config)
    optimizer = AdamConfig(name="adam", **ADAM | {"epochs": 20, "batch_size": batch_size})

    def last(seed, replicates):
        network = initial_network(
            [task.dimension, *hidden, task.outputs], activation, initial_generators(seed, replicates)
        )
        *_, checkpoint = train(network, task, optimizer, batch_generators(seed, replicates), [0, 20])
        return checkpoint

    together = last(4, 8)
    for replicate in (0, 3, 7):
        alone = last(4 + replicate, 1)
        assert torch.equal(flat(together.weights, replicate), flat(alone.weights, 0))
        assert together.loss[replicate] == alone.loss[0]
        assert together.accuracy[replicate] == alone.accuracy[0]


def test_initial_parameters_are_those_of_torch_linear():
    network = initial_network([2, 8, 3], "sigmoid", initial_generators(11, 2))
    for replicate, seed in enumerate([11, 12]):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            for weights in network.weights:
                layer = nn.Linear(weights.shape[2] - 1, weights.shape[1], dtype=torch.float64)
                # a number near 0 is the difference of two of the size of the bound, which is rounded by itself
                close = {"rtol": 1e-15, "atol": 1e-15}
                torch.testing.assert_close(weights[replicate, :, :-1], layer.weight.data, **close)
                torch.testing.assert_close(weights[replicate, :, -1], layer.bias.data, **close)


def test_nothing_depends_on_the_global_generator():
    task = make_task(DIGITS)
    optimizer = AdamConfig(name="adam", **ADAM | {"epochs": 1, "batch_size": 12})

    def trained():
        network = initial_network([64, 5, 10], "sigmoid", initial_generators(0, 1))
        *_, last = train(network, task, optimizer, batch_generators(0, 1), [1])
        return flat(last.weights, 0)

    first = trained()
    torch.rand(7)
    assert torch.equal(first, trained())


def test_checkpoints_come_at_the_asked_epochs_and_are_snapshots():
    task = make_task(XOR)
    network = initial_network([2, 4, 1], "tanh", initial_generators(0, 2))
    first = network.parameters.clone()
    checkpoints = list(train(network, task, SgdConfig(**SGD), batch_generators(0, 2), [0, 1, 7]))
    assert [checkpoint.epoch for checkpoint in checkpoints] == [0, 1, 7]
    assert torch.equal(flat(checkpoints[0].weights, 0), flat(network.views(first), 0))
    assert torch.equal(flat(checkpoints[2].weights, 1), flat(network.weights, 1))
    assert not (checkpoints[1].optimizer["velocity"][0] == checkpoints[2].optimizer["velocity"][0]).all()


def test_a_diverged_replicate_leaves_the_others_alone():
    task = make_task(XOR)
    network = initial_network([2, 4, 1], "tanh", initial_generators(0, 3))
    healthy = initial_network([2, 4, 1], "tanh", initial_generators(0, 3))
    network.weights[0][1] = float("nan")
    *_, sick = train(network, task, SgdConfig(**SGD), batch_generators(0, 3), [50])
    *_, well = train(healthy, task, SgdConfig(**SGD), batch_generators(0, 3), [50])
    assert np.isnan(sick.loss[1])
    assert torch.equal(flat(sick.weights, 2), flat(well.weights, 2))


def test_float32_trains_in_float32():
    task = make_task(SINUSOID)
    network = initial_network([2, 4, 2], "softplus", initial_generators(0, 2), dtype=torch.float32)
    *_, last = train(network, task, SgdConfig(**SGD), batch_generators(0, 2), [5])
    assert last.weights[0].dtype == np.float32
    assert last.loss.dtype == np.float64


def test_history_has_every_epoch_of_a_short_run_and_about_200_of_a_long_one():
    assert history_epochs(5) == [0, 1, 2, 3, 4, 5]
    long = history_epochs(150_000)
    assert (long[0], long[-1], len(long)) == (0, 150_000, 201)


@pytest.mark.parametrize("optimizer", [SgdConfig(**SGD), AdamConfig(name="adam", **ADAM | {"batch_size": 12})])
def test_training_that_goes_on_has_the_bits_of_training_that_never_stopped(optimizer):
    task = make_task(SINUSOID)

    def checkpoints(record, start=None):
        network = initial_network([2, 5, 2], "tanh", initial_generators(0, 2))
        return list(train(network, task, optimizer, batch_generators(0, 2), record, start))

    _, middle, *_, last = checkpoints([0, 7, 8, 20])
    again = checkpoints([0, 7, 8, 20], start=middle)
    assert [checkpoint.epoch for checkpoint in again] == [8, 20]
    for replicate in range(2):
        assert torch.equal(flat(again[-1].weights, replicate), flat(last.weights, replicate))
        for name in last.optimizer:
            assert torch.equal(flat(again[-1].optimizer[name], replicate), flat(last.optimizer[name], replicate))
    assert (again[-1].generators == last.generators).all()


def test_steps_are_counted_as_far_as_one_by_one():
    parameters = torch.zeros(8, dtype=torch.float64)
    one_by_one, at_once = (Optimizer(OPTIMIZERS[2][0], parameters, parameters) for _ in range(2))
    one_by_one.skip(2**24 - 1)
    for _ in range(3):
        one_by_one.step()
    at_once.skip(2**24 + 2)
    assert at_once.steps == one_by_one.steps


def test_nothing_is_left_to_do_after_the_last_epoch():
    task = make_task(XOR)
    network = initial_network([2, 4, 1], "tanh", initial_generators(0, 2))
    *_, last = train(network, task, SgdConfig(**SGD), batch_generators(0, 2), [0, 3])
    assert list(train(network, task, SgdConfig(**SGD), batch_generators(0, 2), [0, 3], last)) == []


def test_activation_of_the_network_is_that_of_the_library():
    assert Network([2, 3, 1], "erf", 1).activation == get_activation("erf")


def test_scores_on_the_test_set_are_those_of_torch_and_training_does_not_see_it():
    split = make_task(SinusoidConfig("sinusoid", points=50, test_fraction=0.3))
    network = initial_network([2, 5, 2], "tanh", initial_generators(0, 2))
    *_, last = train(network, split, SgdConfig(**SGD), batch_generators(0, 2), [0, 20])
    blind = initial_network([2, 5, 2], "tanh", initial_generators(0, 2))
    *_, unseen = train(blind, replace(split, test=None), SgdConfig(**SGD), batch_generators(0, 2), [0, 20])
    for replicate in range(2):
        outputs = Literal(network, replicate)(split.test[0])
        expected = nn.functional.cross_entropy(outputs, split.test[1]).item()
        assert last.test["test_loss"][replicate] == pytest.approx(expected, rel=1e-12)
        hits = (outputs.argmax(dim=1) == split.test[1]).double().mean().item()
        assert last.test["test_accuracy"][replicate] == hits
        assert torch.equal(flat(last.weights, replicate), flat(unseen.weights, replicate))
    assert unseen.test == {}


def test_scores_of_many_examples_are_those_of_all_at_once(monkeypatch):
    task = make_task(SINUSOID)
    network = initial_network([2, 5, 2], "tanh", initial_generators(0, 2))
    whole = training.evaluate(network, task, task.inputs, task.labels)
    for module in (training, networks):
        monkeypatch.setattr(module, "POINTS_AT_ONCE", 16)
    parts = training.evaluate(network, task, task.inputs, task.labels)
    np.testing.assert_allclose(parts, whole, rtol=1e-14)


def test_outputs_at_many_points_are_those_of_all_at_once(monkeypatch):
    network = initial_network([2, 5, 2], "tanh", initial_generators(0, 2))
    x = torch.linspace(-1, 1, 100, dtype=torch.float64).view(50, 2)
    whole = network.outputs(x)
    monkeypatch.setattr(networks, "POINTS_AT_ONCE", 16)
    torch.testing.assert_close(network.outputs(x), whole, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(("hidden", "replicates", "points"), [([64], 5, 300), ([40, 3], 30, 70), ([2], 100, 200)])
def test_outputs_of_wide_and_of_many_networks_take_bounded_memory(hidden, replicates, points, monkeypatch):
    network = initial_network([2, *hidden, 1], "tanh", initial_generators(0, replicates), output_scale=2.0)
    x = torch.linspace(-1, 1, 2 * points, dtype=torch.float64).view(points, 2)
    whole = network.outputs(x)
    sizes = []

    class Sized(ForwardPass):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            sizes.append(sum(values.numel() for values in (*self.products, *self.features)))

    most = 20_000
    monkeypatch.setattr(networks, "NUMBERS_AT_ONCE", most)
    monkeypatch.setattr(networks, "ForwardPass", Sized)
    torch.testing.assert_close(network.outputs(x), whole, rtol=1e-14, atol=1e-15)
    assert max(sizes) < 3 * most < 2 * sum(hidden) * replicates * points  # rows of ones and padding come on top


@pytest.mark.parametrize("parametrization", ["standard", "ntk"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_with_an_output_scale_starts_at_exactly_zero(dtype, parametrization):
    options = {"parametrization": parametrization, "output_scale": 30.0, "dtype": dtype}
    network = initial_network([2, 65, 7, 2], "gelu", initial_generators(0, 3), **options)
    assert (network.outputs(torch.randn(33, 2)) == 0).all()


def test_a_batch_larger_than_the_training_set_is_the_training_set():
    task = make_task(XOR)
    network = Network([2, 3, 1], "tanh", 2)
    (batch,), (whole,) = (list(Batches(task, network, size).epoch([])) for size in (1000, None))
    assert all(torch.equal(one, other) for one, other in zip(batch, whole, strict=True))


class Centred(nn.Module):
    """alpha (h - h_0), whose loss is divided by alpha^2."""

    def __init__(self, network: Network, replicate: int, scale: float) -> None:
        super().__init__()
        self.h, self.h_0, self.scale = Literal(network, replicate), Literal(network, replicate), scale

    def forward(self, x):
        return self.scale * (self.h(x) - self.h_0(x).detach())


@pytest.mark.parametrize("scale", [None, 0.5, 30.0])
@pytest.mark.parametrize("parametrization", ["standard", "ntk"])
@pytest.mark.parametrize(("config", "batch_size"), [(XOR, None), (SINUSOID, 12)], ids=["mse", "cross_entropy"])
def test_steps_in_each_parametrization_and_scale_are_those_of_autograd(config, batch_size, parametrization, scale):
    task = make_task(config)
    optimizer = AdamConfig(name="adam", **ADAM | {"epochs": 4, "batch_size": batch_size})
    options = {"parametrization": parametrization, "output_scale": scale}
    network = initial_network([2, 5, 4, task.outputs], "tanh", initial_generators(3, 2), **options)
    twins = [Literal(network, r) if scale is None else Centred(network, r, scale) for r in range(2)]
    *_, last = train(network, task, optimizer, batch_generators(3, 2), [0, 4])
    for replicate, (twin, generator) in enumerate(zip(twins, batch_generators(3, 2), strict=True)):
        trained = twin if scale is None else twin.h
        steps = torch.optim.Adam(trained.parameters(), lr=optimizer.lr, weight_decay=optimizer.weight_decay)
        for _ in range(4):
            whole = batch_size is None
            order = torch.arange(4) if whole else torch.randperm(50, generator=generator)
            for rows in order.split(batch_size or 4):
                steps.zero_grad()
                (literal_loss(task, twin(task.inputs[rows]), task.labels[rows]) / (scale or 1) ** 2).backward()
                steps.step()
        assert relative_error(flat(last.weights, replicate), trained.flat()) < 1e-9
        torch.testing.assert_close(network.outputs(task.inputs)[replicate].mT, twin(task.inputs), rtol=1e-9, atol=1e-12)
        assert last.loss[replicate] == pytest.approx(
            literal_loss(task, twin(task.inputs), task.labels).item(), rel=1e-9
        )


def test_a_replicate_with_an_output_scale_is_the_run_of_its_own_seed():
    task = make_task(SINUSOID)
    options = {"parametrization": "ntk", "output_scale": 10.0}
    together, alone = (
        initial_network([2, 5, 2], "erf", initial_generators(seed, count), **options)
        for seed, count in ((0, 3), (2, 1))
    )
    *_, three = train_on_cores(together, task, SgdConfig(**SGD), batch_generators(0, 3), [0, 20], cores=2)
    *_, one = train(alone, task, SgdConfig(**SGD), batch_generators(2, 1), [0, 20])
    assert torch.equal(flat(three.weights, 2), flat(one.weights, 0))
    assert three.loss[2] == one.loss[0]
    assert three.loss[2] < math.log(2)  # it starts at 0 = h - h_0


def test_ntk_parameters_are_standard_normal_and_the_features_use_the_effective_weights():
    network = initial_network([4, 3000, 2], "tanh", initial_generators(0, 1), parametrization="ntk")
    first = network.weights[0][0]
    assert first.mean().item() == pytest.approx(0, abs=0.03)
    assert first.std().item() == pytest.approx(1, abs=0.03)
    x = torch.tensor([0.3, -1.0, 0.5, 2.0], dtype=torch.float64)
    expected = torch.tanh(first[:, :4] @ x / 2 + first[:, 4]) / math.sqrt(3000)
    torch.testing.assert_close(network.feature_map(1)(x)[0], expected)
    deep = Literal(network, 0)(x[None])
    torch.testing.assert_close(network.outputs(x[None])[0].mT, deep)
