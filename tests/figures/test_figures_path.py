"""What is on a path figure is what was measured and predicted: the figure is asked for its artists."""

import io
import itertools

import numpy as np
import pytest
from made_runs import made_run, path, texts
from matplotlib.colors import to_hex, to_rgb

from nngeom_cli.figures.path import along_paths, class_colour, first_change
from nngeom_cli.figures.path_words import SPEED
from nngeom_cli.figures.style import (
    style,
)


def curves_of(axes):
    return [lines for lines in axes.collections if str(lines.get_label()).startswith("replicate")]


def test_line_has_at_each_step_the_colour_of_the_predicted_class(tmp_path):
    geometry = path(pairs=2)
    figure = along_paths(made_run(tmp_path, geometry), 1).figure
    for pair, axes in enumerate(figure.axes):
        curves = curves_of(axes)
        assert len(curves) == 2
        for replicate, curve in enumerate(curves):
            one = geometry.isel(epoch=-1, pair=pair, replicate=replicate, layer=0)
            assert [to_hex(c) for c in curve.get_colors()] == [class_colour(c) for c in one.predicted_class.values]
            middles = np.array([segment[1] for segment in curve.get_segments()])
            assert np.array_equal(middles[:, 0], np.arange(65) / 64)
            assert np.array_equal(middles[:, 1], one.log_effective_volume_element.values)


def test_the_axis_of_a_path_says_what_its_numbers_are(tmp_path):
    axes = along_paths(made_run(tmp_path, path()), 1).figure.axes[0]
    assert [float(label.get_text()) for label in axes.get_xticklabels()] == [0, 0.25, 0.5, 0.75, 1]
    assert "fraction" in axes.get_xlabel()


def test_pieces_of_a_line_join(tmp_path):
    pieces = curves_of(along_paths(made_run(tmp_path, path()), 1).figure.axes[0])[0].get_segments()
    assert all(np.array_equal(one[-1], other[0]) for one, other in itertools.pairwise(pieces))


def test_untrained_controls_are_black_and_grey_and_their_own_values(tmp_path):
    geometry = path(replicates=3)
    axes = along_paths(made_run(tmp_path, geometry), 1).figure.axes[0]
    controls = [line for line in axes.lines if str(line.get_label()).startswith("untrained")]
    assert len(controls) == 3
    for replicate, line in enumerate(controls):
        red, green, blue = to_rgb(line.get_color())
        assert red == green == blue
        values = geometry.log_effective_volume_element.isel(epoch=0, layer=0, pair=0, replicate=replicate)
        assert np.array_equal(line.get_ydata(), values)
    assert to_rgb(controls[0].get_color()) == (0, 0, 0)


def test_a_run_that_was_probed_once_has_no_controls(tmp_path):
    figure = along_paths(made_run(tmp_path, path(epochs=(0,))), 1).figure
    assert "untrained" not in texts(figure)


def test_inset_images_are_the_ends_and_the_first_changed_one(tmp_path):
    geometry = path(pairs=2)
    figure = along_paths(made_run(tmp_path, geometry), 1).figure
    for pair, axes in enumerate(figure.axes):
        insets = {inset.get_label(): inset for inset in axes.child_axes}
        assert list(insets) == ["step 0", "step 64", "step 25"]  # seed 4, the first that solved the task
        start, end = geometry.endpoint.values[pair].reshape(2, 8, 8)
        for name, share in (("step 0", 0), ("step 64", 1), ("step 25", 25 / 64)):
            drawn = insets[name].images[0].get_array()
            assert np.array(drawn) == pytest.approx(start + share * (end - start))
        lefts = [insets[name].get_position().x0 for name in ("step 0", "step 25", "step 64")]
        rights = [insets[name].get_position().x1 for name in ("step 0", "step 25", "step 64")]
        assert rights[0] < lefts[1] < rights[1] < lefts[2]


@pytest.mark.parametrize("change", [1, 63, 64])
def test_inset_images_never_cover_each_other(tmp_path, change):
    geometry = path()
    geometry["predicted_class"][...] = np.where(np.arange(65) >= change, 7, 0)
    axes = along_paths(made_run(tmp_path, geometry), 1).figure.axes[0]
    boxes = [inset.get_position() for inset in axes.child_axes]
    assert len(boxes) == (2 if change == 64 else 3)
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[i + 1 :])


def test_a_prediction_that_never_changes_is_said(tmp_path):
    geometry = path()
    geometry["predicted_class"][...] = 3
    figure = along_paths(made_run(tmp_path, geometry), 1).figure
    assert "always predicted: 3" in texts(figure)
    assert len(figure.axes[0].child_axes) == 2


def test_inset_images_lie_below_every_curve(tmp_path):
    figure = along_paths(made_run(tmp_path, path(pairs=6)), 1).figure
    for axes in figure.axes:
        lowest = min(segment[:, 1].min() for curve in curves_of(axes) for segment in curve.get_segments())
        bottom = axes.transAxes.inverted().transform(axes.transData.transform((0, lowest)))[1]
        tops = [(i.get_position().y1 - axes.get_position().y0) / axes.get_position().height for i in axes.child_axes]
        assert max(tops) < bottom


def test_inputs_that_are_no_images_have_no_insets(tmp_path):
    (axes,) = along_paths(made_run(tmp_path, path(image=False)), 1).figure.axes
    assert axes.child_axes == []


def test_panel_title_names_classes_and_dataset_rows(tmp_path):
    figure = along_paths(made_run(tmp_path, path(pairs=2)), 1).figure
    assert figure.axes[1].get_title() == "class 1 to class 8  (inputs 102, 103)"


@pytest.mark.parametrize("pairs", [1, 2, 3, 4, 5, 6])
def test_each_pair_has_a_panel_with_its_words_on_the_sheet(tmp_path, pairs):
    with style():
        figure = along_paths(made_run(tmp_path, path(pairs=pairs)), 1).figure
        figure.draw_without_rendering()
    assert len(figure.axes) == pairs
    boxes = [axes.get_tightbbox() for axes in figure.axes] + [legend.get_window_extent() for legend in figure.legends]
    assert min(min(box.x0, box.y0) for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= figure.bbox.width
    assert max(box.y1 for box in boxes) <= figure.bbox.height
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[i + 1 :])


def test_first_change_of_a_constant_prediction_is_none():
    assert first_change([4, 4, 4]) is None
    assert first_change([4, 2, 4]) == 1


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_path_whose_volumes_are_not_finite_is_drawn(tmp_path, value):
    geometry = path()
    geometry["log_effective_volume_element"][...] = value
    figure = along_paths(made_run(tmp_path, geometry), 1).figure
    figure.savefig(io.BytesIO(), dpi=50)
    assert "volume is 0 or unknown at 260 of 260 points" in texts(figure)
    assert "no value at epoch" in texts(figure)


def test_speed_is_drawn_from_zero_without_images_and_its_integral_is_said(tmp_path):
    geometry = path(pairs=2, speed=True)
    figure = along_paths(made_run(tmp_path, geometry), 1, curve=SPEED).figure
    for pair, axes in enumerate(figure.axes):
        assert axes.get_ylim()[0] == 0
        assert not axes.child_axes
        for curve in curves_of(axes):
            assert {segment[1][1] for segment in curve.get_segments()} == {2.0 + pair}
        words = axes.get_title().replace("\n", " ")
        assert f"mean length {2 + pair} (untrained {1 + pair}), 14% of it in the 14% of the path near a change" in words


def test_length_without_a_change_of_prediction_says_nothing_of_one(tmp_path):
    geometry = path(speed=True, epochs=(30,))
    geometry["predicted_class"][...] = 0
    (axes,) = along_paths(made_run(tmp_path, geometry), 1, curve=SPEED).figure.axes
    assert axes.get_title().endswith("mean length 2")


def test_a_bottleneck_is_named_in_place_of_curves(tmp_path):
    geometry = path().assign_attrs(widths=[64, 4, 10])
    geometry["log_effective_volume_element"][...] = -np.inf
    figure = along_paths(made_run(tmp_path, geometry), 1).figure
    assert "a bottleneck: width 4, so the metric has rank 4 < 6 and volume 0" in texts(figure)
    assert len(figure.axes[0].get_yticks()) == 0
