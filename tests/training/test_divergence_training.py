"""Training that diverges: no step is done that would change nothing, and each number is as if it had been done."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from nngeom_cli.config.optimizer import AdamConfig, AdamWConfig, SgdConfig
from nngeom_cli.config.task import SinusoidConfig, XorConfig
from nngeom_cli.store.checkpoints import arrays_of
from nngeom_cli.tasks.make import make_task
from nngeom_cli.training import blocks
from nngeom_cli.training import loop as training
from nngeom_cli.training.blocks import train_on_cores
from nngeom_cli.training.loop import batch_generators, initial_generators, train
from nngeom_cli.training.network import initial_network
from nngeom_cli.training.optimizers import Optimizer

EPOCHS = 40
RULE = {"lr": 1e3, "weight_decay": 1e-3, "epochs": EPOCHS, "batch_size": None}
ADAM = RULE | {"lr": 1e300, "betas": [0.9, 0.999], "eps": 1e-8}
SGD = SgdConfig(name="sgd", momentum=0.9, **RULE)
RULES = {
    "sgd": SGD,
    "sgd without momentum": replace(SGD, momentum=0.0),
    "adam": AdamConfig(name="adam", **ADAM),
    "adamw": AdamWConfig(name="adamw", **ADAM),
}
XOR, SINUSOID = make_task(XorConfig("xor")), make_task(SinusoidConfig("sinusoid", points=24, data_seed=0))


def trained(task, rule, record=range(0, EPOCHS + 1, 5), start=None, seeds=3, **options):
    network = initial_network([2, 4, task.outputs], "monomial3", initial_generators(0, seeds), **options)
    return list(train(network, task, rule, batch_generators(0, seeds), record, start))


def content(checkpoint):
    """Each array of a checkpoint as bytes, so that one NaN is like another only if it has its bits."""
    return {name: values.tobytes() for name, values in arrays_of(checkpoint, pd.DataFrame(), None).items()}


@pytest.fixture
def steps(monkeypatch):
    """An entry for each step of an optimizer."""
    done, step = [], Optimizer.step
    monkeypatch.setattr(Optimizer, "step", lambda optimizer: done.append(1) or step(optimizer))
    return done


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("size", [None, 10], ids=["whole set", "mini-batches"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_networks_that_cannot_come_back_are_saved_as_if_they_had_been_trained_on(steps, monkeypatch, rule, size, dtype):
    rule = replace(rule, batch_size=size)
    stopped = trained(SINUSOID, rule, dtype=dtype)
    assert np.isnan(stopped[-1].loss).all()
    assert len(steps) <= 10 * (1 if size is None else 3)
    monkeypatch.setattr(training, "is_lost", lambda *_: False)
    trained_on = trained(SINUSOID, rule, dtype=dtype)
    assert len(steps) > 40
    assert list(map(content, stopped)) == list(map(content, trained_on))


@pytest.mark.parametrize("at", [0, 5, 20, 35])
def test_training_that_goes_on_after_all_is_lost_has_the_bits_of_training_that_never_stopped(at):
    rule = replace(SGD, batch_size=10)
    whole = trained(SINUSOID, rule)
    (start,) = (checkpoint for checkpoint in whole if checkpoint.epoch == at)
    resumed = trained(SINUSOID, rule, start=start)
    assert list(map(content, resumed)) == [content(checkpoint) for checkpoint in whole if checkpoint.epoch > at]


def test_one_replicate_that_is_lost_does_not_stop_the_others(steps):
    def last(broken):
        network = initial_network([2, 4, 1], "tanh", initial_generators(0, 3))
        if broken:
            network.weights[0][1] = float("nan")
        *_, checkpoint = train(network, XOR, replace(SGD, lr=0.05), batch_generators(0, 3), range(EPOCHS + 1))
        return checkpoint

    sick, well = last(broken=True), last(broken=False)
    assert len(steps) == 2 * EPOCHS
    assert np.isnan(sick.loss).tolist() == [False, True, False]
    for place in (0, 2):
        one = slice(place, place + 1)
        assert content(sick.block(one)) == content(well.block(one))


def test_a_block_that_is_lost_costs_nothing_and_the_other_keeps_its_bits(monkeypatch):
    monkeypatch.setattr(blocks, "NUMBERS_IN_CACHE", 1)  # each replicate is a block
    network = initial_network([2, 4, 1], "tanh", initial_generators(0, 2))
    network.weights[0][0] = float("nan")
    rule, generators = replace(SGD, lr=0.05), batch_generators(0, 2)
    *_, together = train_on_cores(network, XOR, rule, generators, [0, 5, EPOCHS], cores=1)
    *_, alone = train(
        initial_network([2, 4, 1], "tanh", initial_generators(1, 1)), XOR, rule, batch_generators(1, 1), [EPOCHS]
    )
    assert content(together.block(slice(1, 2))) == content(alone)


def test_an_infinite_loss_with_finite_weights_comes_back(steps):
    network = initial_network([2, 1], "identity", initial_generators(0, 1))
    network.weights[0].fill_(1e160)
    rule = replace(SGD, lr=0.5, momentum=0.0, weight_decay=0.0)
    checkpoints = list(train(network, XOR, rule, batch_generators(0, 1), range(4)))
    assert [bool(np.isfinite(checkpoint.loss).all()) for checkpoint in checkpoints] == [False, True, True, True]
    assert len(steps) == 3


def test_a_network_without_a_number_has_no_accuracy():
    last = trained(XOR, SGD)[-1]
    assert np.isnan(last.accuracy).all()
