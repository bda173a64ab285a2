"""Networks that are modules: torch's own layers, gradients and optimizers, and the promises of seeds and resumption."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from nngeom_cli.config.architecture import FullyConnectedConfig
from nngeom_cli.config.convolutional import ConvolutionalConfig
from nngeom_cli.config.optimizer import AdamConfig, AdamWConfig, SgdConfig
from nngeom_cli.geometry import get_activation
from nngeom_cli.tasks.losses import CrossEntropy, Logistic, MeanSquaredError
from nngeom_cli.tasks.task import Task
from nngeom_cli.training.batches import Batches
from nngeom_cli.training.blocks import train_on_cores
from nngeom_cli.training.layered import layered
from nngeom_cli.training.loop import batch_generators, initial_generators, train
from nngeom_cli.training.module_network import ModuleNetwork

CONVOLUTIONAL = ConvolutionalConfig(
    kind="convolutional", hidden=[5], activation="tanh", channels=[3, 4], kernel=[3, 1], stride=[1], pool=[2, 1],
    pooling="average",
)  # fmt: skip
STRIDING = replace(
    CONVOLUTIONAL, hidden=[], channels=[3, 3], kernel=[5, 3], stride=[2, 1], pool=[1], residual=True, activation="gelu"
)
MAXIMA = replace(CONVOLUTIONAL, hidden=[], channels=[4], kernel=[3], pool=[3], pooling="max", activation="relu")
RESIDUAL = FullyConnectedConfig(hidden=[7, 7], activation="silu", residual=True)
NORMED = FullyConnectedConfig(hidden=[6, 6, 4], activation="softplus", residual=True, layer_norm=True)
KINDS = {"convolutional": CONVOLUTIONAL, "striding": STRIDING, "maxima": MAXIMA, "residual": RESIDUAL, "normed": NORMED}
IMAGE = (1, 6, 7)
SGD = SgdConfig("sgd", lr=0.05, weight_decay=1e-3, epochs=8, batch_size=None, momentum=0.9)
ADAM = {"lr": 0.01, "weight_decay": 0.1, "epochs": 8, "batch_size": 8, "betas": [0.9, 0.999], "eps": 1e-8}
OPTIMIZERS = [
    (SGD, torch.optim.SGD, {"momentum": 0.9}),
    (AdamConfig("adam", **ADAM), torch.optim.Adam, {}),
    (AdamWConfig("adamw", **ADAM), torch.optim.AdamW, {}),
]
kinds = pytest.mark.parametrize("architecture", KINDS.values(), ids=KINDS)


def images(count=20, outputs=3, loss=None, test=False):
    random = torch.Generator().manual_seed(1)

    def some(number):
        inputs = torch.randn(number, 42, dtype=torch.float64, generator=random)
        return inputs, torch.randint(max(2, outputs), (number,), generator=random)

    return Task("random", *some(count), outputs, loss or CrossEntropy(), test=some(9) if test else None)


def network_of(architecture, seed, replicates, outputs=3, **options):
    network = ModuleNetwork(architecture, IMAGE, outputs, replicates, **options)
    network.draw(initial_generators(seed, replicates))
    return network


def literal(architecture, parameters, x):
    """The outputs of one network, as its definition says, from its parameters in their order."""
    phi, rest = get_activation(architecture.activation).value, iter(parameters)
    h = x
    if isinstance(architecture, ConvolutionalConfig):
        h = x.reshape(-1, *IMAGE)
        for place in range(len(architecture.channels)):
            kernel, stride, pool = (
                sizes[place % len(sizes)] for sizes in (architecture.kernel, architecture.stride, architecture.pool)
            )
            z = phi(functional.conv2d(h, next(rest), next(rest), stride=stride, padding=(kernel - 1) // 2))
            pooled = functional.avg_pool2d if architecture.pooling == "average" else functional.max_pool2d
            z = pooled(z, pool)
            h = h + z if architecture.residual and h.shape == z.shape else z
        h = h.flatten(1)
    for _ in architecture.hidden:
        z = h @ next(rest).mT + next(rest)
        if architecture.layer_norm:
            z = (z - z.mean(1, keepdim=True)) / (z.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
            z = z * next(rest) + next(rest)
        h = h + phi(z) if architecture.residual and h.shape == z.shape else phi(z)
    return h @ next(rest).mT + next(rest)


def literal_loss(task, outputs, labels):
    if isinstance(task.loss, MeanSquaredError):
        return functional.mse_loss(outputs[:, 0], labels.double())
    if isinstance(task.loss, Logistic):
        return functional.binary_cross_entropy_with_logits(outputs[:, 0], labels.double())
    return functional.cross_entropy(outputs, labels)


def parameters_of(network, replicate):
    return [weights[replicate].clone().requires_grad_() for weights in network.weights]


def assert_close(ours, expected):
    scale = max(float(values.detach().abs().max()) for values in expected)
    for mine, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(torch.as_tensor(mine), other.detach(), rtol=0, atol=1e-11 * scale)


@kinds
def test_outputs_are_those_of_the_definition(architecture):
    network, x = network_of(architecture, 3, 2), images().inputs
    for replicate in range(2):
        expected = literal(architecture, parameters_of(network, replicate), x)
        assert_close([network.outputs(x)[replicate].mT], [expected])


@kinds
@pytest.mark.parametrize("loss", [CrossEntropy(), MeanSquaredError(), Logistic()], ids=lambda loss: type(loss).__name__)
def test_losses_are_those_of_the_definition(architecture, loss):
    outputs = 3 if isinstance(loss, CrossEntropy) else 1
    task = images(outputs=outputs, loss=loss, test=True)
    network = network_of(architecture, 3, 2, outputs)
    (first,) = train(network, task, SGD, batch_generators(3, 2), [0])
    for replicate in range(2):
        wanted = [
            literal_loss(task, literal(architecture, parameters_of(network, replicate), x), labels).item()
            for x, labels in ((task.inputs, task.labels), task.test)
        ]
        assert [first.loss[replicate], first.test["test_loss"][replicate]] == pytest.approx(wanted, rel=1e-12)


@kinds
@pytest.mark.parametrize(("optimizer", "reference", "options"), OPTIMIZERS, ids=["sgd", "adam", "adamw"])
def test_steps_are_those_of_torch_optim(architecture, optimizer, reference, options):
    task, network = images(), network_of(architecture, 5, 2)
    pieces = [parameters_of(network, replicate) for replicate in range(2)]
    *_, last = train(network, task, optimizer, batch_generators(5, 2), [8])
    for replicate, generator in enumerate(batch_generators(5, 2)):
        steps = reference(pieces[replicate], lr=optimizer.lr, weight_decay=optimizer.weight_decay, **options)
        size = optimizer.batch_size or 20
        for _ in range(8):
            order = torch.randperm(20, generator=generator) if size < 20 else torch.arange(20)
            for rows in order.split(size):  # the last batch has 4
                steps.zero_grad()
                outputs = literal(architecture, pieces[replicate], task.inputs[rows])
                literal_loss(task, outputs, task.labels[rows]).backward()
                steps.step()
        assert_close([values[replicate] for values in last.weights], pieces[replicate])


def test_initial_parameters_are_those_that_torch_draws_from_the_seed():
    for architecture in KINDS.values():
        network = network_of(architecture, 4, 2)
        for replicate, module in enumerate(network.modules):
            before = torch.get_rng_state()
            with torch.random.fork_rng():
                torch.manual_seed(4 + replicate)
                for ours in module.modules():
                    if isinstance(ours, nn.Linear):
                        fresh = nn.Linear(ours.in_features, ours.out_features, dtype=torch.float64)
                    elif isinstance(ours, nn.Conv2d):
                        sizes = ours.in_channels, ours.out_channels, ours.kernel_size
                        fresh = nn.Conv2d(*sizes, dtype=torch.float64)
                    elif isinstance(ours, nn.LayerNorm):
                        fresh = nn.LayerNorm(ours.normalized_shape, dtype=torch.float64)
                    else:
                        continue
                    for mine, other in zip(ours.parameters(), fresh.parameters(), strict=True):
                        # uniform in (-b, b), b below 1, is -b + 2 b u: rounded to some eps b, by the instructions
                        torch.testing.assert_close(mine.data, other.data, rtol=1e-14, atol=4e-16)
            assert torch.equal(torch.get_rng_state(), before)


@kinds
def test_sizes_of_layers_that_a_config_counts_are_those_of_the_module(architecture):
    sizes = architecture.layers(IMAGE, 3)
    module, found = layered(architecture, IMAGE, 3).to_empty(device="cpu"), []
    assert sum(size.parameters for size in sizes) == sum(each.numel() for each in module.parameters())
    for name in (*architecture.layer_names, "output"):
        part = module.get_submodule(name)
        part.register_forward_hook(lambda _module, _arguments, output: found.append(tuple(output.shape[1:])))
    module(torch.zeros(1, 42, dtype=torch.float64))
    assert found == [size.shape for size in sizes]
    assert architecture.depth == len(sizes) - 1


@kinds
def test_a_replicate_is_the_network_that_its_seed_gives_alone_and_resumes_with_its_bits(architecture):
    assert differing(architecture, torch.float64) == []


def differing(architecture, dtype):
    """What differs in bits, for each optimizer: of the replicates of a seed alone, on two cores, and after a stop."""
    task, found = images(21, test=True), []
    for rule in (SGD, AdamConfig("adam", **ADAM)):

        def trained(seed, count, record, start=None, cores=None, rule=rule):
            network = network_of(architecture, seed, count, dtype=dtype)
            arguments = (network, task, rule, batch_generators(seed, count), record, start)
            return list(train_on_cores(*arguments, cores=cores) if cores else train(*arguments))

        together = trained(3, 3, [0, 2, 4])
        middle = trained(3, 3, [0, 2])[-1]
        others = [
            ("resumed", trained(3, 3, [4], middle)[-1], together[-1]),
            ("on two cores", trained(3, 3, [0, 4], cores=2)[-1], together[-1]),
        ]
        for replicate in range(3):
            alone = trained(3 + replicate, 1, [0, 2, 4])[-1]
            others.append((f"seed {3 + replicate}", alone, together[-1].block(slice(replicate, replicate + 1))))
        found += [f"{rule.name} {name}" for name, one, other in others if not same(one, other)]
    return found


def same(one, other):
    pairs = [(one.loss, other.loss), (one.accuracy, other.accuracy), (one.generators, other.generators)]
    pairs += [(one.test[name], other.test[name]) for name in other.test]
    pairs += zip(one.weights, other.weights, strict=True)
    for name in other.optimizer:
        pairs += zip(one.optimizer[name], other.optimizer[name], strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("capability", ["default", "avx2"])
def test_bits_hold_under_each_instruction_set(capability):
    code = "from test_module_network import *\nfor k in KINDS.values():\n"
    code += "    for t in (torch.float64, torch.float32): assert differing(k, t) == [], (k, t)"
    here = str(Path(__file__).parent)
    surroundings = os.environ | {"ATEN_CPU_CAPABILITY": capability, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=here, env=surroundings, check=True)


def test_the_gradient_is_written_into_the_same_memory_at_each_step():
    network, task = network_of(NORMED, 0, 2), images()
    before = network.parameters.data_ptr(), [module.output.weight.data_ptr() for module in network.modules]
    assert before[1][0] == network.weights[-2][0].data_ptr()
    *_, last = train(network, task, SGD, batch_generators(0, 2), [3])
    assert (network.parameters.data_ptr(), [module.output.weight.data_ptr() for module in network.modules]) == before
    assert np.array_equal(last.weights[-2][1], network.modules[1].output.weight.detach().numpy())


def test_padded_examples_do_not_count():
    for size in (None, 5):
        network = network_of(CONVOLUTIONAL, 1, 2)
        batches = Batches(images(13), network, size)
        for batch in batches.epoch(batch_generators(1, 2)):
            assert batch.inputs.shape[2] > (size or 13)
            assert batch.weights.count_nonzero() in (size or 13, 3)
            assert batch.weights.sum().item() == pytest.approx(1)


def test_a_feature_map_follows_training_and_stays_as_it_was():
    network, task = network_of(CONVOLUTIONAL, 0, 2), images()
    x = task.inputs[:2]
    before = network.feature_map(1)
    values = before(x)
    *_, last = train(network, task, SGD, batch_generators(0, 2), [2])
    after = network.feature_map(1)
    assert torch.equal(before(x), values)
    assert not torch.equal(after(x), values)
    network.load(last.weights)
    assert torch.equal(network.feature_map(1)(x), after(x))


def test_a_feature_map_is_the_same_until_a_parameter_changes():
    network = network_of(CONVOLUTIONAL, 0, 2)
    first = network.feature_map(1)
    assert network.feature_map(1) is first
    assert network.feature_map(2) is not first
    network.modules[1].state_dict()[next(iter(network.modules[1].state_dict()))].view(-1)[0] += 1
    assert network.feature_map(1) is not first
    assert not torch.equal(network.feature_map(1)(images().inputs)[1], first(images().inputs)[1])


def test_replicates_that_diverge_leave_the_others_alone():
    task, rule = images(), replace(SGD, lr=0.05)
    network = network_of(replace(RESIDUAL, activation="monomial3"), 0, 2)
    network.weights[0][1].mul_(1e120)
    *_, last = train(network, task, rule, batch_generators(0, 2), [0, 5])
    alone = network_of(replace(RESIDUAL, activation="monomial3"), 0, 1)
    *_, other = train(alone, task, rule, batch_generators(0, 1), [0, 5])
    assert np.isnan(last.loss[1])
    assert last.loss[0] == other.loss[0]
