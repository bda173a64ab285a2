"""The limit of infinite width beside untrained networks: wide ones approach it, where their weights are Gaussian."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_runs import config
from test_probes import GRID, PLANE, network_for

from nngeom_cli.analysis.limit import at_infinite_width
from nngeom_cli.analysis.run_rows import read_row
from nngeom_cli.config.probe import PREDICTION
from nngeom_cli.config.task import DigitsConfig, SinusoidConfig
from nngeom_cli.figures.statistic_strip import strip_keys
from nngeom_cli.figures.strips import grid_strips
from nngeom_cli.geometry import InfiniteWidth, MLPFeatureMap, measure
from nngeom_cli.probes.make import make_probe
from nngeom_cli.runs.run import run
from nngeom_cli.store.run import load_run
from nngeom_cli.tasks.make import make_task

SINUSOID = make_task(SinusoidConfig("sinusoid", points=50, data_seed=0))
DIGITS = make_task(DigitsConfig("digits"))


def near(found, limit, replicates):
    """Whether the limit lies within four standard errors of the mean over networks, and no farther than a tenth."""
    mean, error = found.mean("replicate"), found.std("replicate") / np.sqrt(replicates)
    return bool(((abs(mean - limit) < 4 * error + 0.02) & (abs(mean - limit) < 0.1)).all())


@pytest.mark.slow
def test_wide_gaussian_networks_approach_the_limit_on_grids_and_on_planes():
    network = network_for(SINUSOID, [1000, 500], replicates=6, parametrization="ntk")
    measured = make_probe(replace(GRID, layers=[1, 2], resolution=3), SINUSOID, seed=7)(network)
    assert near(measured.log_volume_element, measured.limit_log_volume_element, 6)
    images = network_for(DIGITS, [1000], replicates=6, parametrization="ntk")
    on_plane = make_probe(replace(PLANE, layers=[1], triples=[[0, 6, 8]], resolution=3), DIGITS, seed=7)(images)
    assert near(on_plane.log_volume_element, on_plane.limit_log_volume_element, 6)


@pytest.mark.slow
def test_uniform_weights_of_two_inputs_have_another_limit():
    # a sum of two uniform numbers and a bias is not Gaussian: variances alone do not decide
    x = torch.tensor([[1.2, -0.4]]).double()
    network = network_for(SINUSOID, [40_000], replicates=4)
    found = measure(network.feature_map(1), x, ("log_volume_element",))["log_volume_element"]
    same_variances = InfiniteWidth("sigmoid", 6**-0.5, 6**-0.5, 2).log_volume_element(x.norm(dim=1))
    assert abs(found.mean() - same_variances) > 5 * found.std()
    assert network.describe().initial == ()
    measured = make_probe(GRID, SINUSOID, seed=7)(network_for(SINUSOID, [5, 4]))
    assert "limit_log_volume_element" not in measured


def test_on_a_plane_the_limit_is_that_of_the_metric_of_all_inputs():
    network = network_for(DIGITS, [5, 4], replicates=1, parametrization="ntk")
    measured = make_probe(replace(PLANE, layers=[2, 3], triples=[[0, 6, 8]], resolution=3), DIGITS, seed=7)(network)
    corners = torch.tensor(measured.corner.values[0])
    first = corners[1] - corners[0]
    first = first / first.norm()
    second = corners[2] - corners[0]
    second = second - (second @ first) * first
    directions = torch.stack([first, second / second.norm()])
    place = torch.tensor([measured.x.values[2], measured.y.values[0]])
    x = corners.mean(dim=0) + place @ directions
    weights, biases = zip(*network.describe().initial, strict=True)
    whole = InfiniteWidth("sigmoid", weights, biases, dimension=64, depth=2).metric(x)
    expected = (directions @ whole @ directions.T).logdet() / 2
    found = measured.limit_log_volume_element.sel(layer=2).values[0, 0, 2]
    assert found == pytest.approx(expected.item(), abs=1e-9)
    assert measured.limit_log_volume_element.sel(layer=3).isnull().all()  # the output is not wide


def test_a_stack_whose_first_layer_differs_is_one_of_other_inputs():
    # W_1 x with variance 1/d is W x' at x' = x / sqrt(d); the metric gains the factor 1/d, R stays
    r = torch.linspace(0.1, 2, 5, dtype=torch.float64)
    one = InfiniteWidth("tanh", [0.5, 1.3, 1.3], [0.4, 0.4, 0.4], dimension=3, depth=3)
    other = InfiniteWidth("tanh", 1.3, 0.4, dimension=3, depth=3)
    scale = 0.5 / 1.3
    expected = other.log_volume_element(scale * r) + 3 * np.log(scale)
    assert torch.allclose(one.log_volume_element(r), expected, rtol=0, atol=1e-12)
    assert torch.allclose(one.ricci_scalar(r), other.ricci_scalar(scale * r), rtol=1e-10)
    assert torch.allclose(one.circle_curvature(r), other.circle_curvature(scale * r), rtol=1e-12)
    x, y = torch.tensor([[0.3, 0.5, -1.0], [1.0, 0.2, 0.1]]).double()
    assert torch.allclose(one.kernel(x, y), other.kernel(scale * x, scale * y), rtol=1e-12)
    with pytest.raises(ValueError, match=r"`bias_std` must be a number, or one for each of the 2 layers\. Got 3"):
        InfiniteWidth("tanh", 1.0, [0.1, 0.2, 0.3], dimension=2, depth=2)
    with pytest.raises(TypeError, match="`weight_std` must be a number, or one for each layer"):
        InfiniteWidth("tanh", [1.0, "2"], 0.1, dimension=2, depth=2)


def test_biases_of_later_layers_count_in_their_place():
    generator = torch.Generator().manual_seed(0)
    width, x = 3000, torch.tensor([0.8, 0.3]).double()
    stds = [(0.9, 0.2), (1.4, 0.7)]
    weights, biases = [], []
    for (sigma, zeta), into in zip(stds, (2, width), strict=True):
        scale = sigma if into == 2 else sigma / np.sqrt(into)
        weights.append(scale * torch.randn(width, into, generator=generator, dtype=torch.float64))
        biases.append(zeta * torch.randn(width, generator=generator, dtype=torch.float64))
    found = measure(MLPFeatureMap(weights, biases, "tanh"), x, ("log_volume_element",))["log_volume_element"]
    limit = InfiniteWidth("tanh", *zip(*stds, strict=True), dimension=2, depth=2).log_volume_element(x.norm())
    exchanged = InfiniteWidth("tanh", [0.9, 1.4], [0.7, 0.2], dimension=2, depth=2).log_volume_element(x.norm())
    assert abs(found - limit) < 0.06 < abs(limit - exchanged)


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    directory = tmp_path_factory.mktemp("limit")
    moons = {"name": "moons", "points": 40, "noise": 0.1}
    made = config(task=moons, architecture__parametrization="ntk", probe__layers=[1, PREDICTION], probe__window=None)
    run(made, directory, command="nngeom run task=moons")
    return load_run(directory)


def test_the_limit_stands_beside_the_untrained_control_in_tables_and_strips(limited):
    geometry = limited.geometry
    values = read_row(limited.directory).values
    replaced = at_infinite_width(limited.first_and_last)
    assert np.array_equal(replaced.log_volume_element[0, 0, 1], geometry.limit_log_volume_element[0])
    inside = replaced.isel(epoch=0, layer=0, replicate=0).log_volume_element
    low_x, high_x, low_y, high_y = geometry.attrs["box"]
    box = inside.where((inside.x >= low_x) & (inside.x <= high_x) & (inside.y >= low_y) & (inside.y <= high_y))
    assert np.ravel(values["volume_mean.layer1.infinite_width"])[0] == pytest.approx(float(box.mean()), rel=1e-12)
    assert np.isnan(values["volume_mean.prediction.infinite_width"]).all()
    strips = grid_strips(geometry, [1], 0.15, [0])
    expected = np.mean(values["volume_band_contrast.layer1.infinite_width"])
    assert strips["log_volume_element", 1][1].limit == pytest.approx(expected, rel=1e-12)
    assert "untrained, at infinite width" in {key.get_label() for key in strip_keys(strips)}
