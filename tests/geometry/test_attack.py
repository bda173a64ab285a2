"""Random networks made to break the numerics, against several hundred digits."""

import math
import random
from itertools import pairwise

import exact
import mpmath
import pytest
import torch

from nngeom_cli.geometry import MLPFeatureMap, measure


def graded(weight, bias, pick, normal):
    return weight * torch.exp(4 * normal(len(weight), 1)), bias


def parallel(weight, bias, pick, normal):
    columns = weight.clone()
    columns[:, 1] = columns[:, 0] * (1 + 10 ** pick.uniform(-9, -1) * normal(len(weight)))
    return columns, bias


def duplicated(weight, bias, pick, normal):
    return torch.cat([weight[:-1], weight[:1]]), torch.cat([bias[:-1], bias[:1]])


def dead(weight, bias, pick, normal):
    alive = (torch.arange(len(weight)) != pick.randrange(len(weight))).to(weight)
    return weight * alive[:, None], bias


def saturated(weight, bias, pick, normal):
    return weight, bias + pick.choice([-1, 1]) * pick.uniform(5, 30)


def plain(weight, bias, pick, normal):
    return weight, bias


WAYS = (plain, graded, parallel, duplicated, dead, saturated)


def hostile_network(seed):
    """d in 2..3, one or two layers of up to six units, weights and biases over decades, spoilt in one of `WAYS`."""
    pick, generator = random.Random(seed), torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    d, depth = pick.choice([2, 2, 3]), pick.choice([1, 2])
    widths = [d, *[pick.randint(d, 6) for _ in range(depth - 1)], pick.randint(d + 1, 6)]
    weights, biases = [], []
    for inputs, outputs in pairwise(widths):
        weight = 10 ** pick.uniform(-3, 1) * normal(outputs, inputs) / inputs**0.5
        weight, bias = pick.choice(WAYS)(weight, 10 ** pick.uniform(-2, 1) * normal(outputs), pick, normal)
        weights.append(weight)
        biases.append(bias)
    return weights, biases, pick.choice(list(exact.ACTIVATIONS)), normal(d)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(4))
def test_hostile_networks_give_values_within_their_estimated_error_or_nan(block, monkeypatch):
    monkeypatch.setattr(exact, "DIGITS", 1500)
    digits = []
    for seed in range(40 * block, 40 * block + 40):
        weights, biases, activation, x = hostile_network(seed)
        measured = measure(MLPFeatureMap(weights, biases, activation), x)
        value, estimate = measured["ricci_scalar"].item(), measured["ricci_scalar_error"].item()
        condition = measured["condition_number"].item()
        if not math.isfinite(value):  # no digit is left, or R is out of range
            assert condition > 1e12, seed
            continue
        volume, scalar = exact.geometry(weights, biases, activation, x)
        error = abs(mpmath.mpf(value) - scalar)
        assert error <= 10 * mpmath.mpf(estimate) + mpmath.mpf(10) ** -300, seed
        lost = abs(mpmath.mpf(measured["log_volume_element"].item()) - volume)
        assert lost <= 1e-15 * math.sqrt(condition) + 1e-13 * (1 + abs(volume)), seed
        digits.append(scalar != 0 and error <= abs(scalar) / 10**6)
    assert len(digits) > 30
    assert sum(digits) > 20
