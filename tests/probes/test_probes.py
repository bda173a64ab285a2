"""Probes against the geometry library and the network, asked point by point."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from nngeom_cli.analysis.path import path_statistics
from nngeom_cli.config.probe import GridConfig, PathConfig, PlaneConfig
from nngeom_cli.config.task import DigitsConfig, SinusoidConfig, XorConfig
from nngeom_cli.errors import ConfigError
from nngeom_cli.geometry import log_effective_volume_element, log_volume_element, pullback_metric, ricci_scalar
from nngeom_cli.probes.labelled import example_rows
from nngeom_cli.probes.make import make_probe
from nngeom_cli.tasks.make import make_task
from nngeom_cli.tasks.task import Task
from nngeom_cli.training.loop import initial_generators
from nngeom_cli.training.network import initial_network

GRID = GridConfig(kind="grid", layers=[1, 2], checkpoints=[0], resolution=5, window=[-1.5, 1.5])
PATH = PathConfig(
    kind="path", layers=[1], checkpoints=[0], pairs=[[0, 1], [3, 8]], endpoints="class", steps=64, top_k=6
)
PLANE = PlaneConfig(
    kind="plane",
    layers=[1],
    checkpoints=[0],
    triples=[[0, 6, 8], [1, 4, 7]],
    corners="class",
    resolution=5,
    reach=1.2,
    top_k=6,
)


def network_for(task, hidden, replicates=2, **options):
    widths = [task.dimension, *hidden, task.outputs]
    return initial_network(widths, "sigmoid", initial_generators(7, replicates), **options)


@pytest.fixture(scope="module")
def grid():
    task = make_task(SinusoidConfig("sinusoid", points=50, data_seed=0))
    network = network_for(task, [5, 4])
    return task, network, make_probe(GRID, task, seed=7)(network)


@pytest.fixture(scope="module")
def path():
    task = make_task(DigitsConfig("digits"))
    network = network_for(task, [30])
    return task, network, make_probe(PATH, task, seed=7)(network)


def test_grid_values_are_those_of_the_labelled_point(grid):
    _, network, measured = grid
    place = {"x": 0.75, "y": -1.5, "replicate": 8}
    x = torch.tensor([0.75, -1.5], dtype=torch.float64)
    for layer in (1, 2):
        feature_map = network.feature_map(layer)
        here = measured.sel(**place, layer=layer)
        assert here.log_volume_element.item() == pytest.approx(log_volume_element(feature_map, x)[1].item(), rel=1e-10)
        assert here.ricci_scalar.item() == pytest.approx(ricci_scalar(feature_map, x)[1].item(), rel=1e-8)
        eigenvalues = torch.linalg.eigvalsh(pullback_metric(feature_map, x)[1])
        assert here.condition_number.item() == pytest.approx((eigenvalues[-1] / eigenvalues[0]).item(), rel=1e-8)
    margin = network.outputs(x[None])[1, :, 0] @ torch.tensor([-1.0, 1.0], dtype=torch.float64)
    assert measured.margin.sel(**place).item() == pytest.approx(margin.item(), rel=1e-12)
    assert measured.predicted_class.sel(**place).item() == (margin > 0).item()


def test_grid_carries_its_labels_and_the_training_set(grid):
    task, _, measured = grid
    assert measured.ricci_scalar.dims == ("layer", "replicate", "y", "x")
    assert measured.replicate.values.tolist() == [7, 8]
    assert measured.x.values.tolist() == [-1.5, -0.75, 0, 0.75, 1.5]
    assert (measured.input.values == task.inputs.numpy()).all()
    assert measured.attrs["widths"] == [2, 5, 4, 2]
    box = [task.inputs[:, 0].min(), task.inputs[:, 0].max(), task.inputs[:, 1].min(), task.inputs[:, 1].max()]
    assert measured.attrs["box"] == [value.item() for value in box]


def test_a_large_training_set_is_not_stored_beside_the_grid():
    task = make_task(SinusoidConfig("sinusoid", points=1001, data_seed=0))
    assert "input" not in make_probe(GRID, task, 0)(network_for(task, [5, 4]))


def test_path_walks_from_one_image_to_the_other_in_steps_of_1_64(path):
    task, network, measured = path
    first, last = measured.endpoint.sel(pair=1).values
    assert (first == task.inputs[(task.labels == 3).nonzero()[0, 0]].numpy()).all()
    assert (last == task.inputs[(task.labels == 8).nonzero()[0, 0]].numpy()).all()
    assert measured.endpoint_class.values.tolist() == [[0, 1], [3, 8]]
    x = torch.tensor(first + 17 / 64 * (last - first))
    here = measured.sel(pair=1, replicate=8, step=17)
    expected = log_effective_volume_element(network.feature_map(1), x, 6)[1].item()
    assert here.log_effective_volume_element.item() == pytest.approx(expected, rel=1e-10)
    assert here.predicted_class.item() == network.outputs(x[None])[1, :, 0].argmax().item()
    assert measured.sizes["step"] == 65


def test_path_keeps_one_eigenvalue_more_than_it_multiplies(path):
    _, network, measured = path
    assert measured.sizes["k"] == 7
    x = torch.tensor(measured.endpoint.values[0, 0])
    eigenvalues = torch.linalg.eigvalsh(pullback_metric(network.feature_map(1), x)[0]).flip(0)[:7]
    here = measured.spectrum.sel(pair=0, replicate=7, layer=1, step=0)
    np.testing.assert_allclose(here, eigenvalues, rtol=1e-8)


def test_eigenvalues_past_the_rank_are_zero_and_past_the_dimension_absent():
    task = make_task(XorConfig("xor"))
    config = PathConfig(kind="path", layers=[1], checkpoints=[0], pairs=[[0, 1]], endpoints="class", steps=4, top_k=1)
    narrow = make_probe(config, task, 0)(network_for(task, [1]))
    assert narrow.spectrum.sizes["k"] == 2
    assert (narrow.spectrum.isel(k=1) == 0).all()
    wide = PathConfig(kind="path", layers=[1], checkpoints=[0], pairs=[[0, 1]], endpoints="class", steps=4, top_k=2)
    assert make_probe(wide, task, 0)(network_for(task, [8])).spectrum.sizes["k"] == 2


def test_squared_speed_is_the_metric_in_the_direction_of_the_path(path):
    _, network, measured = path
    assert measured.speed.dims == ("layer", "pair", "replicate", "step")
    for pair, step in ((0, 0), (1, 17), (1, 64)):
        start, end = torch.tensor(measured.endpoint.sel(pair=pair).values)
        v = end - start
        metric = pullback_metric(network.feature_map(1), start + step / 64 * v)
        speed = measured.speed.sel(layer=1, pair=pair, step=step).values
        np.testing.assert_allclose(speed**2, torch.einsum("a,rab,b->r", v, metric, v), rtol=1e-10)


def test_curvature_of_a_path_is_that_of_its_image_in_feature_space(path):
    """kappa^2 = (|a|^2 |v|^2 - (v . a)^2) / |v|^6, literally."""
    _, network, measured = path
    assert measured.path_curvature.dims == ("layer", "pair", "replicate", "step")
    for pair, step in ((0, 0), (1, 17), (1, 64)):
        start, end = torch.tensor(measured.endpoint.sel(pair=pair).values)
        line = network.feature_map(1).restricted_to(start, (end - start)[None])
        jet = line.jet(torch.tensor([[step / 64]], dtype=torch.float64), second=True)
        v, a = jet.jacobian[:, :, 0, 0] / jet.unit[:, 0], jet.hessian[:, :, 0, 0] / jet.unit[:, 0] ** 2
        squared = (a.square().sum(1) * v.square().sum(1) - (v * a).sum(1) ** 2) / v.square().sum(1) ** 3
        curvature = measured.path_curvature.sel(layer=1, pair=pair, step=step).values
        np.testing.assert_allclose(curvature**2, squared, rtol=1e-7)


def test_length_of_a_path_under_a_linear_map_is_the_distance_of_the_images():
    task = make_task(DigitsConfig("digits"))
    widths = [task.dimension, 30, task.outputs]
    network = initial_network(widths, "identity", initial_generators(7, 2))
    measured = make_probe(PATH, task, seed=7)(network)
    statistics = path_statistics(measured.expand_dims("epoch"))
    first, second = torch.tensor(measured.endpoint.values).unbind(dim=1)
    feature_map = network.feature_map(1)
    distance = (feature_map(second) - feature_map(first)).norm(dim=-1)  # (replicates, pairs)
    np.testing.assert_allclose(statistics.length.sel(epoch=0, layer=1).T, distance, rtol=1e-12)


def test_every_layer_of_a_path_is_measured_as_if_it_were_the_only_one():
    task = make_task(DigitsConfig("digits"))
    network = network_for(task, [12, 8, 9])
    together = make_probe(replace(PATH, layers=[1, 2, 3, 4]), task, seed=7)(network)
    for layer in (1, 2, 3, 4):
        alone = make_probe(replace(PATH, layers=[layer]), task, seed=7)(network)
        xr.testing.assert_allclose(together.sel(layer=[layer]), alone, rtol=1e-9)


def test_endpoints_may_be_rows_of_the_training_set():
    task = make_task(DigitsConfig("digits"))
    config = PathConfig(kind="path", layers=[1], checkpoints=[0], pairs=[[17, 4]], endpoints="index", steps=2, top_k=6)
    measured = make_probe(config, task, 0)(network_for(task, [30]))
    assert measured.endpoint_index.values.tolist() == [[17, 4]]
    assert (measured.endpoint.values[0] == task.inputs[[17, 4]].numpy()).all()


def test_a_class_without_an_input_is_refused():
    task = make_task(SinusoidConfig("sinusoid", points=1, data_seed=0))
    config = PathConfig(kind="path", layers=[1], checkpoints=[0], pairs=[[0, 1]], endpoints="class", steps=4, top_k=1)
    with pytest.raises(ConfigError, match=r"`probe.pairs` must name classes of the training set"):
        make_probe(config, task, 0)


def test_a_float32_network_is_probed_in_float32_and_stored_in_float64():
    task = make_task(SinusoidConfig("sinusoid", points=50, data_seed=0))
    measured = make_probe(GRID, task, 7)(network_for(task, [5, 4], dtype=torch.float32))
    assert measured.log_volume_element.dtype == np.float64
    assert np.isfinite(measured.log_volume_element).all()


def test_the_layer_past_the_hidden_ones_is_the_linear_output():
    task = make_task(DigitsConfig("digits"))
    network = network_for(task, [7, 5])
    x = task.inputs[:3]
    outputs = network.outputs(x).mT / 10**0.5
    torch.testing.assert_close(network.feature_map(3)(x), outputs)


@pytest.fixture(scope="module")
def plane():
    task = make_task(DigitsConfig("digits"))
    network = network_for(task, [30])
    return task, network, make_probe(PLANE, task, seed=7)(network)


def frame_of(measured, number):
    """Origin and directions of a plane, solved for from the places of its corners."""
    corners, places = measured.corner.values[number], measured.corner_place.values[number]
    solved = np.linalg.lstsq(np.column_stack([places, np.ones(3)]), corners, rcond=None)[0]
    return torch.tensor(solved[2]), torch.tensor(solved[:2])


def test_coordinates_of_a_plane_are_orthonormal_so_that_distances_are_true(plane):
    task, _, measured = plane
    for number, triple in enumerate(PLANE.triples):
        _, directions = frame_of(measured, number)
        np.testing.assert_allclose(directions @ directions.T, np.eye(2), atol=1e-12)
        images = [task.inputs[(task.labels == label).nonzero()[0, 0]].numpy() for label in triple]
        places = measured.corner_place.values[number]
        for one, other in ((0, 1), (1, 2), (2, 0)):
            distance = np.linalg.norm(images[one] - images[other])
            assert np.linalg.norm(places[one] - places[other]) == pytest.approx(distance, rel=1e-12)
        np.testing.assert_allclose(places.sum(axis=0), 0, atol=1e-10)  # about the centroid
        assert np.abs(places).max() < measured.x.max()


def test_values_on_a_plane_are_those_of_the_image_there(plane):
    _, network, measured = plane
    assert measured.ricci_scalar.dims == ("layer", "plane", "replicate", "y", "x")
    feature_map = network.feature_map(1)
    here = measured.sel(replicate=8, layer=1).isel(plane=1, y=1, x=3)
    origin, directions = frame_of(measured, 1)
    place = torch.tensor([here.x.item(), here.y.item()], dtype=torch.float64)
    image = origin + place @ directions
    restricted = feature_map.restricted_to(origin, directions)
    expected = log_effective_volume_element(feature_map, image, 6)[1].item()
    assert here.log_effective_volume_element.item() == pytest.approx(expected, rel=1e-9)
    metric = directions @ pullback_metric(feature_map, image)[1] @ directions.T
    assert here.log_volume_element.item() == pytest.approx(0.5 * metric.logdet().item(), rel=1e-9)
    assert here.ricci_scalar.item() == pytest.approx(ricci_scalar(restricted, place)[1].item(), rel=1e-6)
    logits = network.outputs(image[None])[1, :, 0]
    assert here.predicted_class.item() == logits.argmax().item()
    assert here.entropy.item() == pytest.approx(torch.distributions.Categorical(logits=logits).entropy().item())
    best, second = logits.sort(descending=True).values[:2]
    assert here.margin.item() == pytest.approx((best - second).item(), rel=1e-9)


def test_every_layer_of_a_plane_has_a_curvature_where_two_units_are_left():
    task = make_task(DigitsConfig("digits"))
    everything = replace(PLANE, layers=[1, 2, 3], top_k=4)
    measured = make_probe(everything, task, 7)(network_for(task, [9, 3]))
    assert np.isfinite(measured.ricci_scalar).all()
    assert np.isfinite(measured.log_effective_volume_element.sel(layer=1)).all()
    assert (measured.log_effective_volume_element.sel(layer=[2, 3]) == -np.inf).all()


def test_inputs_on_one_line_span_no_plane():
    inputs = torch.tensor([[0.0, 0.0, 1.0], [1.0, 1.0, 1.0], [3.0, 3.0, 1.0]], dtype=torch.float64)
    task = Task("made", inputs, torch.tensor([0, 1, 2]), outputs=3)
    with pytest.raises(ConfigError, match=r"`probe.triples` must name three inputs that are not on one line\. Got the"):
        make_probe(replace(PLANE, triples=[[0, 1, 2]]), task, 0)


def test_a_class_that_a_triple_repeats_gives_its_next_input():
    inputs = torch.eye(5, dtype=torch.float64)
    task = Task("made", inputs, torch.tensor([1, 0, 1, 0, 1]), outputs=2)
    assert example_rows(task, [[1, 0, 1], [0, 1, 0], [1, 1, 1]], "class", "triples", "corners").tolist() == [
        [0, 1, 2],
        [1, 0, 3],
        [0, 2, 4],
    ]
    with pytest.raises(ConfigError, match=r"with enough inputs\. Got 0 three times, which has 2\. Choose corners with"):
        example_rows(task, [[0, 0, 0]], "class", "triples", "corners")


def test_a_class_without_an_input_spans_no_plane():
    task = make_task(SinusoidConfig("sinusoid", points=1, data_seed=0))
    with pytest.raises(ConfigError, match=r"`probe.triples` must name classes .* with `probe.corners=index`"):
        make_probe(replace(PLANE, triples=[[0, 1, 2]]), task, 0)
