"""The prediction as a layer: what is saved of its Fisher metric, against closed forms and the library."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_runs import config
from test_data_probe import DATA
from test_probes import GRID, PATH, PLANE, network_for

from nngeom_cli.analysis.columns import default_columns
from nngeom_cli.analysis.data import data_words
from nngeom_cli.analysis.run_rows import read_row
from nngeom_cli.config.footprint import main_arrays
from nngeom_cli.config.probe import PREDICTION
from nngeom_cli.config.task import DigitsConfig, SinusoidConfig
from nngeom_cli.errors import ConfigError
from nngeom_cli.figures.draw import draw_figures
from nngeom_cli.geometry import (
    PredictionFeatureMap,
    log_effective_volume_element,
    log_volume_element,
    metric_spectrum,
    ricci_scalar,
)
from nngeom_cli.probes.make import make_probe
from nngeom_cli.runs.run import run
from nngeom_cli.store.run import load_run
from nngeom_cli.tasks.losses import Logistic, MeanSquaredError
from nngeom_cli.tasks.make import make_task

OUTPUT, PAST = 3, 4  # numbers of the output and the prediction of networks with two hidden layers
DIGITS = make_task(DigitsConfig("digits"))
SINUSOID = make_task(SinusoidConfig("sinusoid", points=50, data_seed=0))


def expected_rank_one(network, points, margin):
    """log sqrt(p (1 - p)) |grad m| by automatic differentiation of the margin m of two classes, (replicate, point)."""
    x = points.requires_grad_()
    of_networks = margin(network.outputs(x))
    rows = []
    for m in of_networks:
        (slope,) = torch.autograd.grad(m.sum(), x, retain_graph=True)
        p = torch.sigmoid(m)
        rows.append((p * (1 - p)).log() / 2 + slope.norm(dim=1).log())
    return torch.stack(rows).detach().numpy()


class Slow:
    """Networks whose outputs autograd can differentiate."""

    def __init__(self, network):
        self.map = network.output_map()

    def outputs(self, x):
        values = x.T.expand(len(self.map.weights[0]), -1, -1)
        for weight, bias, activation in zip(self.map.weights, self.map.biases, self.map.activations, strict=True):
            values = weight @ values + bias
            values = values if activation.name == "identity" else torch.sigmoid(values)
        return values


def test_the_volume_of_a_prediction_of_two_classes_is_that_of_its_one_nonzero_eigenvalue():
    network = network_for(SINUSOID, [5, 4])
    measured = make_probe(replace(GRID, layers=[1, PREDICTION]), SINUSOID, seed=7)(network)
    assert measured.layer.values.tolist() == [1, PAST]
    points = torch.tensor(np.stack(np.meshgrid(measured.x, measured.y), axis=-1).reshape(-1, 2))
    expected = expected_rank_one(Slow(network), points, lambda o: o[:, 1] - o[:, 0])
    saved = measured.log_volume_element.sel(layer=PAST).values.reshape(2, -1)
    np.testing.assert_allclose(saved, expected, rtol=0, atol=1e-12)
    assert measured.ricci_scalar.sel(layer=PAST).isnull().all()
    assert measured.log_volume_element.sel(layer=1).identical(
        make_probe(replace(GRID, layers=[1]), SINUSOID, seed=7)(network).log_volume_element.sel(layer=1)
    )


def test_one_logit_predicts_as_two_that_differ_by_it():
    task = replace(SINUSOID, outputs=1, loss=Logistic())
    network = network_for(task, [5, 4])
    measured = make_probe(replace(GRID, layers=[PREDICTION]), task, seed=7)(network)
    points = torch.tensor(np.stack(np.meshgrid(measured.x, measured.y), axis=-1).reshape(-1, 2))
    expected = expected_rank_one(Slow(network), points, lambda o: o[:, 0])
    saved = measured.log_volume_element.sel(layer=PAST).values.reshape(2, -1)
    np.testing.assert_allclose(saved, expected, rtol=0, atol=1e-12)


def test_on_paths_planes_and_at_examples_the_saved_arrays_are_the_librarys():
    network = network_for(DIGITS, [6, 5])
    predictions = PredictionFeatureMap(network.output_map())
    path = make_probe(replace(PATH, layers=[1, PREDICTION], pairs=[[3, 8]], steps=2, top_k=6), DIGITS, seed=7)(network)
    first, last = torch.tensor(path.endpoint.values[0])
    middle = (first + last) / 2
    here = path.sel(layer=PAST).isel(pair=0, step=1)
    # the hidden layer of 5 leaves rank 5: as many eigenvalues count as there are
    np.testing.assert_allclose(here.spectrum[:, :5], metric_spectrum(predictions, middle, 5), rtol=1e-9)
    assert (here.spectrum[:, 5:] == 0).all()
    expected = log_effective_volume_element(predictions, middle, 5)
    np.testing.assert_allclose(here.log_effective_volume_element, expected, rtol=0, atol=1e-9)
    line = predictions.restricted_to(middle, (last - first)[None])
    np.testing.assert_allclose(here.speed, log_volume_element(line, torch.zeros(1).double()).exp(), rtol=1e-10)
    plane = make_probe(replace(PLANE, layers=[PREDICTION], triples=[[0, 6, 8]], resolution=3, top_k=2), DIGITS, seed=7)
    found = plane(network).isel(layer=0, plane=0, y=1, x=1)  # the origin, the centroid of the corners
    corners = torch.tensor(found.corner.values)
    directions = torch.linalg.qr((corners[1:] - corners[0]).T).Q.T
    surface = predictions.restricted_to(corners.mean(dim=0), directions)
    np.testing.assert_allclose(found.ricci_scalar, ricci_scalar(surface, torch.zeros(2).double()), rtol=1e-6)
    np.testing.assert_allclose(
        found.log_volume_element, log_volume_element(surface, torch.zeros(2).double()), rtol=0, atol=1e-9
    )
    examples = make_probe(replace(DATA, layers=[1, PREDICTION], points=3, top_k=6), DIGITS, seed=7)(network)
    x = DIGITS.inputs[examples.example.values]
    np.testing.assert_allclose(
        examples.log_effective_volume_element.sel(layer=PAST),
        log_effective_volume_element(predictions, x, 5),
        rtol=0,
        atol=1e-9,
    )
    assert "prediction (Fisher metric)" in data_words(examples)[1]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    directory = tmp_path_factory.mktemp("prediction")
    task = {"name": "moons", "points": 40, "noise": 0.1}
    run(
        config(task=task, probe__layers=[1, PREDICTION], probe__window=None), directory, command="nngeom run task=moons"
    )
    return load_run(directory)


def test_a_run_keeps_the_word_and_gives_the_feature_map_back(recorded):
    assert recorded.config["probe"]["layers"] == [1, PREDICTION]
    last = recorded.geometry.isel(epoch=-1).sel(layer=3)
    x = torch.tensor([last.x.values[2], last.y.values[4]])
    for layer in (PREDICTION, 3):
        volume = log_effective_volume_element(recorded.feature_map(20, layer), x, 1)
        np.testing.assert_allclose(last.log_volume_element[:, 4, 2], volume, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="`layer` must be 1, 2 or prediction"):
        recorded.feature_map(20, 4)


def test_its_statistics_have_a_column_and_its_figures_a_row_beside_the_hidden_layer(recorded, tmp_path):
    columns = default_columns(list(read_row(recorded.directory).values))
    assert {"volume_band_contrast.layer1", "volume_band_contrast.prediction"} <= set(columns)
    names = [path.stem for path in draw_figures(recorded, directory=tmp_path)]
    assert names == [f"grid-{layer}{sheet}" for layer in ("layer-1", "prediction") for sheet in ("", "-replicates")]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "whose output is no probability. Got [1,prediction]. The metric of the output is that of layer 2."),
        (
            {"probe__layers": [1, "predicton"]},
            "`probe.layers` must be a list of numbers of layers and prediction. Got [1,predicton].",
        ),
        ({"task": {"name": "moons", "points": 9, "noise": 0.1}, "architecture__output_scale": 2.0}, "hidden layers"),
    ],
)
def test_layers_that_are_no_prediction_are_refused(changes, words):
    with pytest.raises(ConfigError) as caught:
        config(**{"probe__layers": [1, PREDICTION]} | changes)
    assert words in str(caught.value)


def test_the_word_alone_is_a_list_of_itself():
    moons = {"name": "moons", "points": 40, "noise": 0.1}
    assert config(task=moons, probe__layers=PREDICTION).probe.layers == [PREDICTION]
    with pytest.raises(ValueError, match="must be logits"):
        MeanSquaredError().probabilities(network_for(SINUSOID, [3]).output_map())


def test_the_prediction_of_three_classes_has_at_most_two_directions():
    data = {"kind": "data", "split": "train", "points": 5, "top_k": 10, "rank_tolerance": 0.01, "checkpoints": [0]}
    digits = {"task": {"name": "digits"}, "architecture__hidden": [30]}
    with pytest.raises(ConfigError, match=r"`probe.top_k` must be at most 9, the rank"):
        config(**digits, probe=data | {"layers": [PREDICTION]})
    made = config(**digits, probe=data | {"layers": [1, PREDICTION]})
    assert made.probe.ranks([64, 30, 10]) == [30, 9]
    assert main_arrays(made)["probe.points"][0] == 2 * 8 * 5 * 2 * (2 * (11 + 3) + 3)
