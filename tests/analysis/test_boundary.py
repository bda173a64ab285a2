"""The boundary lies where the margin is zero; distances are those of a slow twin."""

import itertools

import numpy as np
import pytest
import xarray as xr

from nngeom_cli.analysis import boundary as module
from nngeom_cli.analysis.boundary import boundary_of, decision_boundary, distance_to_boundary, prediction_boundary

AXIS = np.linspace(-1.5, 1.5, 61)
X, Y = np.meshgrid(AXIS, AXIS)


def length(lines):
    return sum(np.hypot(*np.diff(line, axis=0).T).sum() for line in lines)


def slow_distance(point, lines, samples=20_001):
    """Nearest of many points on each segment."""
    t = np.linspace(0, 1, samples)[:, None]
    segments = [(a, b) for line in lines for a, b in itertools.pairwise(line)]
    return min(np.hypot(*(a + t * (b - a) - point).T).min() for a, b in segments)


@pytest.mark.parametrize("radius", [0.3, 0.8, 1.4])
def test_boundary_of_a_disc_has_its_circumference(radius):
    lines = decision_boundary(radius**2 - X**2 - Y**2, AXIS, AXIS)
    assert len(lines) == 1
    assert np.array_equal(lines[0][0], lines[0][-1])
    assert length(lines) == pytest.approx(2 * np.pi * radius, rel=(0.05 / radius) ** 2 / 4)
    assert np.hypot(*lines[0].T) == pytest.approx(radius, rel=(0.05 / radius) ** 2 / 4)


def test_boundary_of_a_linear_margin_is_exact():
    (line,) = decision_boundary(2 * X - 3 * Y + 0.25, AXIS, AXIS)
    assert 2 * line[:, 0] - 3 * line[:, 1] + 0.25 == pytest.approx(0, abs=1e-14)
    assert length([line]) == pytest.approx(3 * np.sqrt(1 + 4 / 9), rel=1e-12)


def test_first_axis_of_the_margin_is_y():
    (line,) = decision_boundary(Y[:, :31] - 0.5, AXIS[:31], AXIS)
    assert line[:, 1] == pytest.approx(0.5)
    assert (line[:, 0].min(), line[:, 0].max()) == (-1.5, 0.0)


def test_boundary_pieces_are_separate_polylines():
    assert len(decision_boundary(X**2 - 1, AXIS, AXIS)) == 2


@pytest.mark.parametrize("margin", [np.ones_like(X), -np.ones_like(X), np.full_like(X, np.nan), np.zeros_like(X)])
def test_margin_of_one_sign_has_no_boundary(margin):
    assert decision_boundary(margin, AXIS, AXIS) == []


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_boundary_leaves_out_cells_that_are_not_finite(bad):
    margin = X.copy() + 0.01
    margin[30, 30] = bad
    lines = decision_boundary(margin, AXIS, AXIS)
    assert len(lines) == 2
    assert length(lines) == pytest.approx(3 - 2 * 0.05)


def test_a_grid_of_one_row_has_no_boundary():
    assert decision_boundary(X[:1], AXIS, AXIS[:1]) == []


def test_margin_on_another_grid_is_refused():
    with pytest.raises(ValueError, match=r"`margin` must have the shape \(61, 31\).*Got \(31, 61\)"):
        decision_boundary(X[:31], AXIS[:31], AXIS)


@pytest.mark.parametrize("margin", [X * Y - 0.3, Y - np.sin(4 * X), 0.5 - np.hypot(X, Y)])
def test_distance_equals_a_brute_force_twin(margin):
    lines = decision_boundary(margin[::6, ::6], AXIS[::6], AXIS[::6])
    points = np.random.default_rng(0).uniform(-2, 2, (12, 2))
    assert distance_to_boundary(points, lines) == pytest.approx([slow_distance(p, lines) for p in points], abs=1e-6)


def test_distance_to_a_circle_is_the_difference_of_radii():
    lines = decision_boundary(1 - X**2 - Y**2, AXIS, AXIS)
    distance = distance_to_boundary(np.stack([X, Y], axis=-1), lines)
    assert distance.shape == X.shape
    assert distance == pytest.approx(abs(np.hypot(X, Y) - 1), abs=1e-3)


def test_distance_inside_and_beyond_a_segment():
    segment = [np.array([[0.0, 0.0], [2.0, 0.0]])]
    assert distance_to_boundary([[1.0, 3.0], [-3.0, 4.0], [5.0, -4.0], [2.0, 0.0]], segment).tolist() == [3, 5, 5, 0]


def test_distance_to_a_segment_without_length_is_that_to_its_point():
    assert distance_to_boundary([3.0, 4.0], [np.zeros((2, 2))]) == 5


def test_distance_to_no_boundary_is_infinite():
    assert np.isinf(distance_to_boundary(np.zeros((3, 4, 2)), [])).all()


def test_chunks_never_change_a_distance(monkeypatch):
    lines = decision_boundary(X * Y - 0.3, AXIS, AXIS)
    points = np.stack([X, Y], axis=-1)
    whole = distance_to_boundary(points, lines)
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", 1)
    assert np.array_equal(distance_to_boundary(points[:3], lines), whole[:3])


def test_regions_of_linear_outputs_meet_on_straight_lines():
    axis = np.linspace(-1, 1, 22)
    x, y = np.meshgrid(axis, axis)
    outputs = np.stack([x, -0.5 * x + y, -0.5 * x - y])  # equal, and greatest, on rays at 60, 180 and 300 degrees
    best, second = np.sort(outputs, axis=0)[::-1][:2]
    lines = prediction_boundary(best - second, outputs.argmax(axis=0), axis, axis)
    vertices = np.concatenate(lines)
    vertices = vertices[np.hypot(*vertices.T) > 0.2]  # away from the cell where three regions meet
    values = np.sort([vertices[:, 0], vertices @ [-0.5, 1], vertices @ [-0.5, -1]], axis=0)
    assert values[2] - values[1] == pytest.approx(0, abs=1e-12)
    for end in ([2 / 3, 1.0], [2 / 3, -1.0], [-1.0, 0.0]):
        assert distance_to_boundary(end, lines) < 1e-12


def test_two_classes_have_the_boundary_of_their_margin():
    axis = np.linspace(-1, 1, 12)
    margin = axis[:, None] - 0.3 * np.sin(3 * axis)
    for signed in (margin, abs(margin)):
        lines = prediction_boundary(signed, margin > 0, axis, axis)
        assert np.array_equal(np.concatenate(lines), np.concatenate(decision_boundary(margin, axis, axis)))


def test_the_boundary_of_saved_geometry_counts_all_its_classes():
    axis = np.linspace(-1, 1, 12)
    margin = np.broadcast_to(abs(abs(axis) - 0.5), (12, 12))
    predicted = np.broadcast_to(np.searchsorted([-0.5, 0.5], axis), (12, 12))
    geometry = xr.Dataset(
        {"margin": (("x", "y"), margin.T), "predicted_class": (("x", "y"), predicted.T)}, {"x": axis, "y": axis}
    )
    vertices = np.concatenate(boundary_of(geometry))
    assert sorted(set(vertices[:, 0].round(12))) == [-0.5, 0.5]
    assert boundary_of(geometry.drop_vars("predicted_class")) == []


def test_one_predicted_class_has_no_boundary():
    assert prediction_boundary(np.ones((3, 3)), np.full((3, 3), 4), [0, 1, 2], [0, 1, 2]) == []
