"""Colours and scales: apart for every eye, and safe for every field."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from nngeom_cli.figures.scales import linear_norm, magnitude_norm, symmetric_log_norm, symmetric_log_ticks
from nngeom_cli.figures.style import CLASS_COLOURS, CURVATURE_COLOURS, control_colours


def test_outliers_do_not_stretch_a_linear_scale():
    values = np.append(np.linspace(0, 1, 1000), [1e6])
    assert linear_norm(values).vmax < 1.01


def test_a_constant_field_has_a_scale_around_it():
    norm = linear_norm(np.full(9, -3.0))
    assert (norm.vmin, norm.vmax) == (-3.5, -2.5)
    assert symmetric_log_norm(np.full(9, -3.0)).vmax == 3


def test_a_field_without_values_has_no_scale():
    assert linear_norm(np.full(4, np.nan)) is None
    assert symmetric_log_norm(np.array([0.0, np.nan, np.inf])) is None


@pytest.mark.parametrize("values", [[1e-3, 1, 1e3], [-5.0], [1e29, -1e20], [1e-290, 1e-300]])
def test_ticks_of_the_signed_scale_are_powers_of_ten_within_its_limits(values):
    norm = symmetric_log_norm(np.array(values))
    ticks, labels = symmetric_log_ticks(norm)
    assert 3 <= len(ticks) == len(labels) <= 7
    assert ticks == sorted(ticks)
    assert ticks[-1] <= norm.vmax * (1 + 1e-9)
    assert np.diff(norm(np.array(ticks))).min() > 0.08
    assert np.array_equal(ticks, -np.array(ticks[::-1]))


def test_the_scale_of_magnitudes_begins_at_zero_and_so_do_its_ticks():
    norm = magnitude_norm(np.array([1e-3, 1, 1e3]))
    ticks, labels = symmetric_log_ticks(norm)
    assert (norm.vmin, norm(0.0), norm(1e3)) == (0, 0, 1)
    assert (ticks[0], labels[0]) == (0, "0")
    assert len(ticks) == len(labels) >= 3
    assert magnitude_norm(np.zeros(3)) is None


SIMULATIONS = {  # Machado et al. 2009, severity 1, on linear RGB
    "none": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
    "tritan": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]]
    ),
}


def cielab(colours, simulation="none"):
    rgb = np.array([to_rgb(colour) for colour in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ SIMULATIONS[simulation].T, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    ratio = linear @ to_xyz.T / [0.9505, 1.0, 1.089]
    x, y, z = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


@pytest.mark.parametrize("simulation", SIMULATIONS)
def test_class_colours_stay_apart_for_the_colour_blind(simulation):
    colours = cielab(CLASS_COLOURS, simulation)
    apart = np.linalg.norm(colours[:, None] - colours, axis=-1)
    assert len(CLASS_COLOURS) == 20
    assert apart[:10, :10][np.triu_indices(10, 1)].min() > 24
    assert apart[np.triu_indices(20, 1)].min() > 16


@pytest.mark.parametrize("simulation", ["none", "protan", "deutan"])
def test_class_colours_stay_apart_from_the_controls(simulation):
    between = cielab(CLASS_COLOURS, simulation)[:, None] - cielab(control_colours(8), simulation)
    assert np.linalg.norm(between, axis=-1).min() > 15


def test_curvature_colours_are_perceptually_uniform_and_symmetric_in_lightness():
    lab = cielab(CURVATURE_COLOURS(np.linspace(0, 1, 17)))
    steps = np.linalg.norm(np.diff(lab, axis=0), axis=1)
    assert steps == pytest.approx(steps.mean(), rel=0.08)
    assert lab[:, 0] == pytest.approx(lab[::-1, 0], abs=2.5)
