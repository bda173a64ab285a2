"""What is on the plane through three inputs is what was measured there."""

import io
from itertools import chain

import numpy as np
import pytest
from made_runs import AXIS, image_planes, made_run, plane, texts
from matplotlib.colors import to_hex

from nngeom_cli.analysis.plane import plane_statistics
from nngeom_cli.figures import draw as figures
from nngeom_cli.figures import draw_figures
from nngeom_cli.figures.input_plane import on_image_plane, through_training
from nngeom_cli.figures.strips import plane_strips
from nngeom_cli.figures.style import CLASS_COLOURS, REGION_COLOURS


def rows_of(figure, columns):
    panels = [axes for axes in figure.axes if axes.images and axes.get_label() != "image"]
    assert len(panels) % columns == 0
    return [panels[start : start + columns] for start in range(0, len(panels), columns)]


def insets_of(axes):
    return [child for child in axes.child_axes if child.get_label() == "image"]


def test_a_row_for_each_quantity_shows_it_as_it_was_measured(tmp_path):
    geometry = image_planes()
    figure = on_image_plane(made_run(tmp_path, geometry), 1, 1).figure
    rows = rows_of(figure, columns=2)
    names = ["predicted_class", "entropy", "log_effective_volume_element", "log_volume_element", "ricci_scalar"]
    assert len(rows) == len(names) + 1
    for name, row in zip([*names, "ricci_scalar"], rows, strict=True):
        values = geometry[name].isel(plane=1).sel(replicate=4)
        values = values.sel(layer=1) if "layer" in values.dims else values
        values = abs(values) if row is rows[-1] else values
        for axes, epoch in zip(row, (0, 30), strict=True):
            measured = values.sel(epoch=epoch)
            measured = measured - measured.mean() if name.startswith("log") else measured
            assert np.allclose(axes.images[0].get_array(), measured, rtol=1e-12, atol=1e-12)


def test_regions_have_the_colours_of_their_classes_and_are_named(tmp_path):
    axes = rows_of(on_image_plane(made_run(tmp_path, image_planes()), 0, 1).figure, columns=2)[0][0]
    image = axes.images[0]
    for label in range(3):
        assert to_hex(image.cmap(image.norm(label))) == to_hex(REGION_COLOURS(label))
    words = texts(axes.figure)
    assert all(f"predicted class {label}" in words for label in range(3))
    assert "predicted class 3" not in words


def test_red_lines_lie_where_two_outputs_are_equal_and_greatest(tmp_path):
    rows = rows_of(on_image_plane(made_run(tmp_path, image_planes()), 0, 1).figure, columns=2)
    for axes in chain(*rows):
        (lines,) = [lines for lines in axes.collections if lines.get_label() == "decision boundary"]
        vertices = np.concatenate(lines.get_segments())
        vertices = vertices[np.hypot(*vertices.T) > 0.3]  # away from the point where three regions meet
        angles = np.arctan2(vertices[:, 1], vertices[:, 0]) + 0.1
        between = np.pi / 3 + 2 * np.pi / 3 * np.arange(3)  # of seed 4
        assert np.cos(angles[:, None] - between).max(axis=1) == pytest.approx(1, abs=1e-3)
        assert np.cos(angles[:, None] - between).max(axis=0) == pytest.approx(1, abs=1e-3)


def test_images_lie_at_their_places_in_frames_of_their_classes(tmp_path):
    geometry = image_planes()
    figure = on_image_plane(made_run(tmp_path, geometry), 1, 1).figure
    figure.savefig(io.BytesIO(), dpi=50)  # lays out the insets
    first, *others = rows_of(figure, columns=2)
    for axes in first:
        insets = insets_of(axes)
        for inset, place, image, label in zip(
            insets, geometry.corner_place.values[1], geometry.corner.values[1], (2, 1, 0), strict=True
        ):
            assert np.array_equal(inset.images[0].get_array(), image.reshape(8, 8))
            assert to_hex(inset.spines["left"].get_edgecolor()) == CLASS_COLOURS[label]
            box = inset.get_window_extent()
            centre = axes.transData.inverted().transform([(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2])
            assert centre == pytest.approx(place, abs=0.02)
    assert not any(insets_of(axes) for row in others for axes in row)
    for axes in chain(*others):
        (points,) = [dots for dots in axes.collections if dots.get_label() == "inputs"]
        np.testing.assert_allclose(points.get_offsets(), geometry.corner_place.values[1])


def test_inputs_that_are_no_images_are_points(tmp_path):
    figure = on_image_plane(made_run(tmp_path, image_planes(image=False)), 0, 1).figure
    assert not any(insets_of(axes) for axes in figure.axes)
    assert "plane through inputs 0, 1, 2 of classes 0, 1, 2" in texts(figure)


@pytest.mark.parametrize(
    ("corners", "layers", "names"),
    [
        ("class", (1,), ["plane-0-1-2-layer-1", "plane-2-1-0-layer-1"]),
        ("index", (1, 2), [f"plane-{rows}-layer-{layer}" for rows in ("0-1-2", "3-4-5") for layer in (1, 2)]),
    ],
)
def test_figures_are_named_by_the_inputs(tmp_path, monkeypatch, corners, layers, names):
    run = made_run(tmp_path, image_planes(layers=layers))
    run.config = {"probe": {"corners": corners}}
    monkeypatch.setattr(figures, "save", lambda _figure, directory, name, _about, _formats: directory / name)
    assert draw_figures(run) == [tmp_path / "figures" / name for name in names]


def test_a_layer_without_the_rank_says_so_in_its_own_figure(tmp_path):
    geometry = image_planes(layers=(1, 2, 3))
    geometry["log_effective_volume_element"].loc[{"layer": 3}] = -np.inf
    figure = on_image_plane(made_run(tmp_path, geometry), 0, 3).figure
    words = texts(figure)
    assert len(rows_of(figure, columns=2)) == 5
    assert words.count("a bottleneck: width 3, so the metric has rank 3 < 6 and volume 0") == 1
    assert "layer 3 (output)" in words
    assert "log volume element of the map restricted to the plane minus its mean (nats)" in words


def test_the_correlations_with_entropy_stand_under_the_curvature(tmp_path):
    geometry = image_planes(replicates=3)
    rng = np.random.default_rng(0)
    for name in ("entropy", "log_effective_volume_element"):
        geometry[name][...] = rng.normal(size=geometry[name].shape)
    figure = on_image_plane(made_run(tmp_path, geometry), 1, 1).figure
    numbers = plane_statistics(geometry).sel(boundary="final", layer=1).isel(plane=1)
    strips = [axes for axes in figure.axes if axes.get_xlabel() == "epoch"]
    lowest = min(axes.get_position().y0 for axes in chain(*rows_of(figure, columns=2)))
    for axes, name in zip(strips, ("effective_volume", "volume", "curvature"), strict=True):
        drawn = [line.get_ydata() for line in axes.lines if len(line.get_ydata()) == 2][:3]
        assert np.array_equal(drawn, numbers[f"{name}_entropy"].transpose("replicate", "epoch"))
        assert axes.get_position().y1 < lowest


def test_a_flat_layer_has_its_correlations_under_the_volume(tmp_path):
    geometry = image_planes(layers=(1, 2))
    geometry["ricci_scalar"].loc[{"layer": 2}] = 0.0
    strips = plane_strips(geometry, 0, [1, 2], [0, 30])
    assert set(strips) == {("ricci_scalar", 1), ("log_volume_element", 2)}


@pytest.mark.parametrize("elsewhere", [np.nan, 1e-9])
def test_the_strips_of_a_curvature_that_is_0_wherever_it_has_a_digit_lie_under_the_volume(tmp_path, elsewhere):
    geometry = image_planes()
    geometry[["ricci_scalar", "ricci_scalar_error"]] *= 0.0
    geometry["ricci_scalar"].loc[{"x": AXIS[:3]}] = elsewhere
    geometry["ricci_scalar_error"].loc[{"x": AXIS[:3]}] = 1.0
    figure = on_image_plane(made_run(tmp_path, geometry), 0, 1).figure
    assert sum(axes.get_xlabel() == "epoch" for axes in figure.axes) == 3


def test_a_bottleneck_is_named_in_place_of_a_row(tmp_path):
    geometry = plane(layers=(1, 2), hidden=8).assign_attrs(widths=[2, 8, 1, 1])
    geometry["log_volume_element"].loc[{"layer": 2}] = -np.inf
    geometry["ricci_scalar"].loc[{"layer": 2}] = np.nan
    run = made_run(tmp_path, geometry)
    narrow, wide = (through_training(run, layer).figure for layer in (2, 1))
    words = texts(narrow)
    assert words.count("a bottleneck: width 1, so the metric has rank 1 < 2 and volume 0") == 2
    assert "grey" not in words
    assert "no value" not in words
    assert len(rows_of(narrow, columns=3)) == 0
    assert len(rows_of(wide, columns=3)) == 3
    assert AXIS[0] == wide.axes[0].images[0].get_extent()[0] + 0.0625
