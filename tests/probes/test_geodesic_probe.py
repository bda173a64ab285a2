"""Shortest paths between examples: against closed forms, the library, and the networks asked along the paths."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_runs import geodesics as made
from small_runs import assert_same, config
from test_probes import network_for

from nngeom_cli.analysis.estimate import Estimate
from nngeom_cli.analysis.geodesic import geodesic_statistics
from nngeom_cli.analysis.run_rows import read_row
from nngeom_cli.analysis.summary import strongest_control
from nngeom_cli.config.footprint import main_arrays
from nngeom_cli.config.probe import PREDICTION, GeodesicConfig
from nngeom_cli.config.task import DigitsConfig, SinusoidConfig
from nngeom_cli.errors import ConfigError
from nngeom_cli.figures.draw import draw_figures
from nngeom_cli.geometry import ModuleFeatureMap, PredictionFeatureMap, geodesic
from nngeom_cli.pages.packing import Numbers
from nngeom_cli.pages.run_view import view_of_run
from nngeom_cli.probes.make import make_probe
from nngeom_cli.runs.report import remarks
from nngeom_cli.runs.run import run
from nngeom_cli.store.run import load_run
from nngeom_cli.tasks.make import make_task
from nngeom_cli.tasks.task import Task
from nngeom_cli.training.loop import initial_generators
from nngeom_cli.training.network import initial_network

PATHS = GeodesicConfig(
    kind="geodesic", layers=[1], checkpoints=[0], pairs=[[0, 1]], endpoints="class", segments=8, directions=None
)
SINUSOID = make_task(SinusoidConfig("sinusoid", points=50, data_seed=0))


def linear_network(replicates=2):
    return initial_network([2, 5, 2], "identity", initial_generators(7, replicates))


def test_in_a_flat_layer_the_straight_path_is_shortest_and_crosses_where_the_margin_is_0():
    task = replace(SINUSOID, labels=SINUSOID.labels)
    network = linear_network()
    network.weights[1][:, :, -1] = 0.0
    measured = make_probe(replace(PATHS, endpoints="index", pairs=[[0, 1], [2, 3], [4, 5]]), task, seed=7)(network)
    a, b = torch.tensor(measured.endpoint.values).unbind(1)
    features = network.feature_map(1)
    expected = (features(a) - features(b)).norm(dim=-1).T
    for name in ("geodesic_length", "straight_length", "chord"):
        np.testing.assert_allclose(measured[name][0], expected, rtol=1e-10)
    starts, ends = (task.loss.margin(network.outputs(x)).T for x in (a, b))
    cross = torch.where(starts * ends < 0, starts / (starts - ends), torch.nan)
    assert cross.isfinite().any()
    assert cross.isnan().any()
    for name in ("geodesic_share", "straight_share"):
        np.testing.assert_allclose(measured[name][0], cross, rtol=1e-7)
    np.testing.assert_allclose(measured.straight_place, cross, rtol=1e-7)


def test_lengths_and_points_are_the_librarys_and_paths_cross_where_the_prediction_does():
    network = network_for(SINUSOID, [6, 5])
    network.parameters.mul_(4)
    measured = make_probe(replace(PATHS, layers=[2, PREDICTION], pairs=[[0, 1]]), SINUSOID, seed=7)(network)
    a, b = torch.tensor(measured.endpoint.values[0])
    maps = {2: network.feature_map(2), 4: PredictionFeatureMap(network.output_map())}
    for layer, feature_map in maps.items():
        here = measured.sel(layer=layer).isel(pair=0)
        found = geodesic(feature_map, a, b, segments=8, directions=16)
        np.testing.assert_array_equal(here.geodesic_length, found.length)
        np.testing.assert_array_equal(here.geodesic_point, found.points)
        np.testing.assert_array_equal(here.geodesic_error, found.error)
        classes = [network.outputs(path)[r].argmax(dim=0) for r, path in enumerate(found.points)]
        np.testing.assert_array_equal(here.geodesic_class, torch.stack(classes))
    for r in range(2):
        t = measured.straight_place.values[0, r]
        around = torch.stack([torch.lerp(a, b, t + shift) for shift in (-1e-4, 0.0, 1e-4)])
        margins = SINUSOID.loss.margin(network.outputs(around))[r]
        assert (margins[0] * margins[2] < 0) if np.isfinite(t) else len(np.unique(measured.straight_class[0, r])) == 1


@pytest.mark.slow
def test_in_the_metric_of_many_classes_the_distance_is_an_arc_of_the_sphere():
    # the first layer has as many units as needed for every set of probabilities near the arc
    digits = make_task(DigitsConfig("digits"))
    network = network_for(digits, [30], replicates=1)
    paths = replace(PATHS, layers=[PREDICTION], directions=31, segments=16)
    measured = make_probe(paths, digits, seed=7)(network)
    half = PredictionFeatureMap(network.output_map())(torch.tensor(measured.endpoint.values[0]))[0] / 2
    arc = 2 * math.acos(float(half[0] @ half[1]))
    assert measured.geodesic_length.item() == pytest.approx(arc, rel=1e-4)
    assert measured.chord.item() < arc < measured.straight_length.item()


def test_a_control_within_the_class_is_another_example_about_as_far_away():
    inputs = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 2.0], [0.0, 2.9], [9.0, 0.0]]).double()
    task = Task("five", inputs, torch.tensor([0, 1, 0, 0, 2]), outputs=3)
    network = initial_network([2, 5, 3], "tanh", initial_generators(7, 1))
    measured = make_probe(replace(PATHS, pairs=[[0, 1], [1, 0]]), task, seed=7)(network)
    assert measured.within_index.values.tolist() == [3, -1]
    own = geodesic(network.feature_map(1), inputs[0], inputs[3], segments=8, directions=16)
    assert measured.within_geodesic_length.values[0, 0] == own.length
    varying = {name: array.expand_dims(epoch=[0]) for name, array in measured.items() if "replicate" in array.dims}
    numbers = geodesic_statistics(measured.assign(varying)).squeeze(("epoch", "layer", "replicate"))
    expected = float(own.length.log() - inputs[3].norm().log())
    assert numbers.geodesic_stretch.sel(boundary="within")[0].item() == pytest.approx(expected, rel=1e-12)
    assert numbers.geodesic_stretch_undefined.sel(boundary="within").values.tolist() == [0, 7]  # no_other


def test_statistics_of_made_paths_are_what_they_were_made_of():
    geometry = made()
    numbers = geodesic_statistics(geometry)
    np.testing.assert_allclose(numbers.straight_excess.sel(boundary="final"), 0.2, rtol=1e-12)
    np.testing.assert_allclose(numbers.straight_excess.sel(boundary="within"), 0.1, rtol=1e-12)
    np.testing.assert_allclose(numbers.geodesic_deviation.sel(epoch=30), 0.1, rtol=1e-12)
    expected = np.log(geometry.geodesic_length / geometry.distance).transpose(*numbers.geodesic_length.dims)
    np.testing.assert_allclose(numbers.geodesic_stretch.sel(boundary="own"), expected, rtol=1e-12)
    assert (numbers.not_converged == 0).all()
    lost = geometry.assign(geodesic_length=geometry.geodesic_length * np.nan, converged=0 * geometry.converged)
    assert geodesic_statistics(lost).geodesic_deviation.isnull().all()
    assert "4 of 4 geodesics did not converge" in " ".join(remarks(lost.isel(epoch=-1)))


def test_networks_without_numbers_have_no_paths():
    network = network_for(SINUSOID, [5, 4])
    network.weights[0][1].fill_(torch.nan)
    measured = make_probe(PATHS, SINUSOID, seed=7)(network)
    assert np.isfinite(measured.geodesic_length[0, 0, 0])
    lost = measured.isel(replicate=1)
    assert all(lost[name].isnull().all() for name in ("geodesic_length", "geodesic_share", "straight_length", "chord"))
    assert (lost.converged == 0).all()


def test_modules_of_many_inputs_are_searched_in_a_few_directions():
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.GELU(), torch.nn.Flatten(), torch.nn.Linear(4 * 18 * 18, 3), torch.nn.Tanh()
    ).double()
    x, y = torch.randn(2, 400).double()
    feature_map = ModuleFeatureMap(net, "4", (1, 20, 20))
    few, more, all_of_them = (geodesic(feature_map, x, y, segments=8, directions=k) for k in (1, 2, 10))
    assert few.length.item() == pytest.approx(few.straight.item(), rel=1e-2)
    assert few.length >= more.length >= all_of_them.length >= all_of_them.chord
    assert (all_of_them.points[[0, -1]] - torch.stack([x, y])).abs().max() < 1e-12


@pytest.fixture(scope="module")
def paths_run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("geodesic")
    probe = {"kind": "geodesic", "layers": [1, 2], "checkpoints": [0, 5], "pairs": [[0, 1]], "endpoints": "class"}
    settings = config(
        task={"name": "moons", "points": 40, "noise": 0.1}, probe=probe | {"segments": 8, "directions": None}
    )
    run(settings, directory, command="nngeom run task=moons probe=geodesic")
    return settings, load_run(directory)


def test_a_run_is_drawn_and_summarized(paths_run, tmp_path):
    _, found = paths_run
    assert [path.stem for path in draw_figures(found, directory=tmp_path)] == ["geodesic-layer-1", "geodesic-layer-2"]
    values = read_row(found.directory).values
    names = {"geodesic_stretch.layer1", "geodesic_stretch.layer1.minus_within", "straight_excess.layer2.change"}
    assert names <= set(values)
    assert "geodesic_share.layer1.minus_within" not in values
    stretch = np.log(found.geometry.geodesic_length / found.geometry.distance).isel(epoch=-1, layer=0, pair=0)
    np.testing.assert_allclose(np.ravel(values["geodesic_stretch.layer1"]), stretch, rtol=1e-12)


def test_the_same_config_measures_the_same_bits(paths_run, tmp_path):
    settings, found = paths_run
    run(settings, tmp_path, command="nngeom run task=moons probe=geodesic")
    assert_same(load_run(tmp_path), found, epochs=[0, 5, 20])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"segments": 12}, "`probe.segments` must be a multiple of 8, at most 1024. Got 12."),
        ({"directions": 0}, "`probe.directions` must be at least 1, or null. Got 0."),
        ({"pairs": [[0, 2]]}, "`probe.pairs` must be pairs of classes"),
        ({"steps": 64}, "probe.steps"),
    ],
)
def test_wrong_keys_are_refused_in_a_sentence(changes, words):
    probe = {"kind": "geodesic", "layers": [1], "checkpoints": [0], "pairs": [[0, 1]], "endpoints": "class"}
    probe |= {"segments": 8, "directions": None}
    with pytest.raises(ConfigError) as caught:
        config(probe=probe | changes)
    assert words in str(caught.value)


def test_the_memory_of_paths_grows_with_segments_and_directions_do_not_outgrow_the_inputs():
    probe = {"kind": "geodesic", "layers": [1], "checkpoints": [0], "pairs": [[0, 1]], "endpoints": "class"}
    one, other = (
        main_arrays(config(task={"name": "digits"}, probe=probe | {"segments": segments, "directions": None}))
        for segments in (8, 80)
    )
    assert other["probe.segments"][0] - one["probe.segments"][0] == 2 * 8 * 72 * 2 * 66
    assert PATHS.sought(2) == 2
    assert PATHS.sought(64) == 16


def test_a_page_of_a_run_has_the_statistics_and_says_where_the_paths_are(paths_run):
    _, found = paths_run
    view = view_of_run(found, Numbers(), lambda _: None)
    assert view["geometry"] is view["training"] is None
    assert "figures" in view["unseen"]
    assert "geodesic_stretch" in str(view["metrics"])


def test_more_stretch_is_compared_with_the_control_that_has_most_of_it():
    # lengths are in other units than distances, so the statistic may have either sign
    def told(value):
        return Estimate(value, value - 0.1, value + 0.1, 8)

    estimates = {"geodesic_stretch": told(-4.0), "geodesic_stretch.change": told(1.0)}
    estimates["geodesic_stretch.minus_within"] = told(0.3)
    assert strongest_control(estimates, "geodesic_stretch") == ("within", told(0.3))
