"""A replicate has the same bits whichever replicates are trained beside it, on any processor.

`make search-bits` tries 20,000 random configurations under each instruction set that torch and MKL can be held to.
"""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from nngeom_cli.config.optimizer import AdamConfig, AdamWConfig, SgdConfig
from nngeom_cli.tasks.losses import CrossEntropy, MeanSquaredError
from nngeom_cli.tasks.task import Task
from nngeom_cli.training.loop import batch_generators, initial_generators, train
from nngeom_cli.training.network import initial_network

ACTIVATIONS = ["identity", "relu", "sigmoid", "softplus", "tanh", "erf", "gelu", "silu", "sin", "monomial3"]
FILLING, ODD = [8, 16, 32, 64], [1, 2, 3, 31, 33, 65]  # widths that fill registers, and those that nearly do or do not


def drawn(number):
    """Widths, options, task, optimizer, replicates and the one that is looked at, of a random configuration."""
    draw = random.Random(number)

    def size(most):
        return draw.choice([draw.randint(1, most), draw.choice([n for n in (*FILLING, *ODD) if n <= most])])

    def examples(count):
        random_numbers = torch.Generator().manual_seed(draw.randrange(2**32))
        inputs = torch.randn(count, dimension, dtype=torch.float64, generator=random_numbers)
        return inputs, torch.randint(max(outputs, 2), (count,), generator=random_numbers)

    dimension, outputs = size(70), draw.choice([1, 1, 2, 2, draw.randint(3, 12)])
    loss = MeanSquaredError() if outputs == 1 else CrossEntropy()
    points = size(70)
    task = Task("random", *examples(points), outputs=outputs, loss=loss, test=draw.choice([None, examples(size(70))]))
    common = {
        "lr": 0.05,
        "weight_decay": draw.choice([0.0, 0.01]),
        "epochs": 3,
        "batch_size": draw.choice([None, max(size(70), points // 8)]),
    }
    adaptive = common | {"betas": [0.9, 0.999], "eps": 1e-8}
    optimizer = draw.choice(
        [
            SgdConfig("sgd", **common, momentum=draw.choice([0.0, 0.9])),
            AdamConfig("adam", **adaptive),
            AdamWConfig("adamw", **adaptive),
        ]
    )
    options = {
        "activation": draw.choice(ACTIVATIONS),
        "parametrization": draw.choice(["standard", "ntk"]),
        "output_scale": draw.choice([None, None, 0.5, 30.0]),
        "dtype": draw.choice([torch.float32, torch.float64]),
    }
    widths = [dimension, *(size(65) for _ in range(draw.randint(1, 3))), outputs]
    replicates = draw.randint(2, 24)
    chosen = draw.randrange(replicates)
    if options["output_scale"] is None and draw.random() < 0.3 and dimension * points * max(widths) < 20_000:
        where = draw.choice(["everywhere", "boundary"])
        optimizer = replace(optimizer, volume_penalty=draw.choice([-0.1, 0.1]), volume_penalty_where=where)
    return widths, options, task, optimizer, replicates, chosen


def differences(number):
    """What differs in bits between a replicate among others and the same one alone: nothing, it should be."""
    widths, options, task, optimizer, replicates, replicate = drawn(number)

    def checkpoints(seed, count):
        network = initial_network(widths, generators=initial_generators(seed, count), **options)
        return list(train(network, task, optimizer, batch_generators(seed, count), [0, 1, 3]))

    for several, one in zip(checkpoints(0, replicates), checkpoints(replicate, 1), strict=True):
        mine, alone = several.block(slice(replicate, replicate + 1)), one
        pairs = {"loss": (mine.loss, alone.loss), "accuracy": (mine.accuracy, alone.accuracy)}
        pairs |= {name: (mine.test[name], alone.test[name]) for name in alone.test}
        pairs |= {f"weights {n}": pair for n, pair in enumerate(zip(mine.weights, alone.weights, strict=True))}
        for name in alone.optimizer:
            layers = zip(mine.optimizer[name], alone.optimizer[name], strict=True)
            pairs |= {f"{name} {n}": pair for n, pair in enumerate(layers)}
        found = [name for name, (a, b) in pairs.items() if not np.array_equal(a, b, equal_nan=True)]
        if found:
            return f"epoch {one.epoch}: {', '.join(found)}"
    return None


def found_in(numbers):
    return {number: what for number in numbers if (what := differences(number))}


def test_bits_of_a_replicate_do_not_depend_on_the_others():
    assert found_in(range(300)) == {}


@pytest.mark.exhaustive
@pytest.mark.parametrize("first", range(0, 20_000, 500))
def test_bits_of_a_replicate_do_not_depend_on_the_others_in_many_configurations(first):
    assert found_in(range(first, first + 500)) == {}
