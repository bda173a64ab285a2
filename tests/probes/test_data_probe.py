"""What is measured at examples is what the singular values of the literal Jacobian and the literal outputs say."""

from dataclasses import replace

import numpy as np
import pytest
import reference
import torch
import xarray as xr

from nngeom_cli.config.probe import MOST_CURVED, DataConfig
from nngeom_cli.config.task import DigitsConfig, MoonsConfig, XorConfig
from nngeom_cli.probes import data as module
from nngeom_cli.probes.data import chosen_rows
from nngeom_cli.probes.make import make_probe
from nngeom_cli.tasks.make import make_task
from nngeom_cli.tasks.task import Task
from nngeom_cli.training.loop import initial_generators
from nngeom_cli.training.network import initial_network

DATA = DataConfig(kind="data", layers=[1], checkpoints=[0], split="train", points=12, top_k=None, rank_tolerance=0.3)
PHI = {"sigmoid": torch.sigmoid, "relu": torch.relu, "tanh": torch.tanh}
DIGITS, MOONS = make_task(DigitsConfig("digits")), make_task(MoonsConfig("moons", points=40, noise=0.1, data_seed=0))


def network_for(task, hidden, activation="sigmoid", replicates=2, **options):
    widths = [task.dimension, *hidden, task.outputs]
    return initial_network(widths, activation, initial_generators(7, replicates), **options)


def random_task(dimension, classes=3, points=30):
    random = torch.Generator().manual_seed(3)
    inputs = torch.randn(points, dimension, dtype=torch.float64, generator=random)
    return Task("made", inputs, torch.arange(points) % classes, outputs=classes)


def literal(network, replicate, layer, phi):
    """The features after `layer` as a bare callable, and the outputs."""
    weights = [matrix[replicate, :, :-1] for matrix in network.weights]
    biases = [matrix[replicate, :, -1] for matrix in network.weights]
    features = reference.network_function(weights[:layer], biases[:layer], phi)

    def outputs(point):
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            point = phi(weight @ point + bias)
        return weights[-1] @ point + biases[-1]

    return features, outputs


CASES = {
    "n < d": (DIGITS, [30], "sigmoid", [1], None, 6),
    "n = d, two layers": (random_task(4), [4, 6], "tanh", [2, 1], None, 4),
    "n > d": (random_task(3), [7], "sigmoid", [1], 2, 2),
    "relu": (random_task(5), [4], "relu", [1], 2, 2),
    "n far below d": (random_task(300), [20], "tanh", [1], None, 6),
    "past a bottleneck": (random_task(5), [2, 6], "tanh", [1, 2], None, 2),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_example_has_what_its_literal_jacobian_says(case):
    task, hidden, activation, layers, top_k, taken = case
    network = network_for(task, hidden, activation)
    config = replace(DATA, layers=layers, top_k=top_k)
    measured = make_probe(config, task, seed=7)(network)
    assert measured.attrs["top_k"] == taken
    assert measured.log_effective_volume_element.dims == ("layer", "replicate", "point")
    for place, replicate, layer in np.ndindex(12, 2, len(layers)):
        here = measured.isel(point=place, replicate=replicate, layer=layer)
        point = task.inputs[int(here.example)]
        features, outputs = literal(network, replicate, layers[layer], PHI[activation])
        values = torch.linalg.svdvals(torch.func.jacrev(features)(point))
        leading = torch.nn.functional.pad(values.square(), (0, task.dimension))[: min(taken + 1, task.dimension)]
        np.testing.assert_allclose(here.spectrum, leading, rtol=1e-8, atol=1e-18)
        with np.errstate(divide="ignore"):
            log_volume = np.log(leading[:taken].numpy()).sum() / 2
        if (values[:taken] <= 1e-13 * values[0]).any():  # J has a lower rank, up to rounding
            log_volume = -np.inf
        assert here.log_effective_volume_element.item() == pytest.approx(log_volume, rel=1e-9)
        assert here.local_rank.item() == (values > 0.3 * values[0]).sum()
        eigenvalues = values.square()
        participation = eigenvalues.sum() ** 2 / eigenvalues.square().sum()
        assert here.participation_ratio.item() == pytest.approx(participation.item(), rel=1e-9, nan_ok=True)
        logits = outputs(point)
        best, second = logits.sort(descending=True).values[:2]
        margin = best - second if len(logits) > 2 else logits[1] - logits[0]
        assert here.margin.item() == pytest.approx(margin.item(), rel=1e-9)
        entropy = torch.distributions.Categorical(logits=logits).entropy()
        assert here.entropy.item() == pytest.approx(entropy.item(), rel=1e-9)
        assert here.predicted_class.item() == logits.argmax()
        assert here.true_class.item() == task.labels[int(here.example)]


def test_volume_and_curvature_are_measured_where_a_layer_has_them():
    task = random_task(3)
    network = network_for(task, [7, 3, 2])
    measured = make_probe(replace(DATA, layers=[1, 2, 3], points=4), task, seed=7)(network)
    features, _ = literal(network, 1, 1, torch.sigmoid)
    for here in (measured.isel(point=place, replicate=1).sel(layer=1) for place in range(4)):
        point = task.inputs[int(here.example)]
        assert here.ricci_scalar.item() == pytest.approx(reference.scalar(features, point).item(), rel=1e-6)
        assert 0 < here.ricci_scalar_error.item() < 1e-6 * abs(here.ricci_scalar.item())
        volume = reference.metric(features, point).logdet().item() / 2
        assert here.log_volume_element.item() == pytest.approx(volume, rel=1e-9)
    assert (measured.ricci_scalar.sel(layer=2) == 0).all()  # n = d
    assert measured.ricci_scalar.sel(layer=3).isnull().all()  # n < d
    wide = measured.sel(layer=[1, 2])
    xr.testing.assert_allclose(wide.log_volume_element, wide.log_effective_volume_element.rename("log_volume_element"))
    assert np.isneginf(measured.log_volume_element.sel(layer=3)).all()


@pytest.mark.parametrize(("dimension", "width"), [(5, 4), (MOST_CURVED + 1, MOST_CURVED + 5)])
def test_nothing_is_said_of_curvature_that_is_not_there_or_would_take_minutes(dimension, width):
    task = random_task(dimension)
    measured = make_probe(replace(DATA, points=2), task, seed=7)(network_for(task, [width]))
    assert "ricci_scalar" not in measured
    assert "log_volume_element" not in measured
    assert np.isfinite(measured.log_effective_volume_element).all()


def test_each_class_has_its_share_evenly_spaced_through_its_rows():
    labels = torch.tensor([0] * 70 + [1] * 20 + [2] * 10)[torch.randperm(100, generator=torch.manual_seed(0))]
    rows = chosen_rows(labels, 20)
    assert torch.equal(rows, rows.unique())
    assert labels[rows].bincount().tolist() == [14, 4, 2]
    for label in range(3):
        places = torch.isin((labels == label).nonzero()[:, 0], rows).nonzero()[:, 0].diff()
        assert places.min() == places.max() == 5
    assert torch.equal(chosen_rows(labels, 100), torch.arange(100))
    assert chosen_rows(labels, 1).tolist() == [int((labels == 0).nonzero()[0])]


def test_labels_in_turn_do_not_hide_a_class():
    assert chosen_rows(torch.arange(1000) % 2, 500).remainder(2).bincount().tolist() == [250, 250]


@pytest.mark.parametrize(("points", "count"), [(None, 1797), (1797, 1797), (5000, 1797), (1, 1)])
def test_at_most_as_many_examples_as_there_are(points, count):
    measured = make_probe(replace(DATA, points=points), DIGITS, 7)(network_for(DIGITS, [4], replicates=1))
    assert measured.sizes["point"] == count
    assert measured.attrs["examples"] == 1797


def test_test_examples_are_those_that_are_kept():
    task = make_task(MoonsConfig("moons", points=40, noise=0.1, data_seed=0, test_fraction=0.3))
    measured = make_probe(replace(DATA, split="test", points=None), task, 7)(network_for(task, [5]))
    inputs, labels = task.test
    assert (measured.input.values == inputs.numpy()).all()
    assert (measured.true_class.values == labels.numpy()).all()
    assert measured.attrs["split"] == "test"
    assert measured.example.attrs["long_name"].endswith("among the test examples")


def test_values_do_not_depend_on_how_many_points_are_measured_at_once(monkeypatch):
    config = replace(DATA, layers=[1, 2], points=30)
    network = network_for(DIGITS, [9, 8])
    whole = make_probe(config, DIGITS, 7)(network)
    monkeypatch.setattr(module, "EIGENVALUES_AT_ONCE", 1)
    xr.testing.assert_allclose(make_probe(config, DIGITS, 7)(network), whole, rtol=1e-12)


def test_examples_that_take_much_room_are_not_stored(monkeypatch):
    monkeypatch.setattr(module, "MOST_STORED", 12 * 64)
    network = network_for(DIGITS, [4])
    assert "input" in make_probe(DATA, DIGITS, 7)(network)
    assert "input" not in make_probe(replace(DATA, points=13), DIGITS, 7)(network)


def test_a_dead_layer_has_rank_0_no_volume_and_no_participation_ratio():
    network = network_for(MOONS, [4], "relu")
    network.weights[0][0, :, -1] = -100.0  # no unit of the first network is active
    measured = make_probe(replace(DATA, top_k=2), MOONS, 7)(network)
    dead, alive = (measured.isel(replicate=replicate) for replicate in (0, 1))
    assert (dead.local_rank == 0).all()
    assert np.isneginf(dead.log_effective_volume_element).all()
    assert dead.participation_ratio.isnull().all()
    assert alive.participation_ratio.notnull().any()


def test_a_network_without_numbers_has_none_at_examples():
    network = network_for(DIGITS, [5])
    network.weights[0][0] = torch.nan
    lost = make_probe(DATA, DIGITS, 7)(network).isel(replicate=0)
    for name in ("log_effective_volume_element", "local_rank", "participation_ratio", "margin", "entropy"):
        assert lost[name].isnull().all(), name


@pytest.mark.parametrize("scale", [1e-90, 1e90])
def test_a_participation_ratio_does_not_depend_on_the_unit_of_length(scale):
    task = random_task(4)
    network = network_for(task, [6], "identity")
    before = make_probe(DATA, task, 7)(network)
    network.weights[0].mul_(scale)
    after = make_probe(DATA, task, 7)(network)
    xr.testing.assert_allclose(after.participation_ratio, before.participation_ratio, rtol=1e-10)
    xr.testing.assert_equal(after.local_rank, before.local_rank)
    shift = after.log_effective_volume_element - before.log_effective_volume_element
    np.testing.assert_allclose(shift, 4 * np.log(scale), rtol=1e-10)


def test_a_network_in_float32_is_measured_in_it_and_stored_in_float64():
    single, double = (network_for(DIGITS, [30], dtype=dtype) for dtype in (torch.float32, torch.float64))
    double.load([weights.double().numpy() for weights in single.weights])
    measured, exact = (make_probe(DATA, DIGITS, 7)(network) for network in (single, double))
    assert measured.log_effective_volume_element.dtype == np.float64
    off = abs(measured.log_effective_volume_element - exact.log_effective_volume_element)
    assert 0 < off.max() < 1e-3


def test_a_task_with_one_output_has_examples_too():
    task = make_task(XorConfig("xor"))
    measured = make_probe(replace(DATA, points=None), task, 7)(network_for(task, [8], replicates=1))
    assert measured.sizes == {"point": 4, "replicate": 1, "layer": 1, "k": 2, "feature": 2}
    assert measured.attrs["top_k"] == 2
