"""What is on a heatmap is what was measured: each drawn figure is asked for its artists."""

import io
import re

import numpy as np
import pytest
from made_runs import AXIS, made_run, plane, texts
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm, SymLogNorm, to_hex
from matplotlib.patches import PathPatch

from nngeom_cli.analysis.boundary import distance_to_boundary
from nngeom_cli.errors import ConfigError
from nngeom_cli.figures import heatmap
from nngeom_cli.figures.heatmap import Field
from nngeom_cli.figures.input_plane import across_replicates, through_training
from nngeom_cli.figures.naming import Names
from nngeom_cli.figures.style import style


def heatmap_axes(figure):
    return [axes for axes in figure.axes if axes.images]


def boundary_of(axes):
    return [lines for lines in axes.collections if lines.get_label() == "decision boundary"]


def patches_of(axes, label):
    return [patch for patch in axes.patches if isinstance(patch, PathPatch) and patch.get_label() == label]


def test_red_line_lies_on_the_zero_of_the_margin(tmp_path):
    run = made_run(tmp_path, plane())
    figure = through_training(run, 1).figure
    panels = heatmap_axes(figure)
    assert len(panels) == 9
    for axes, epoch in zip(panels, [0, 10, 200] * 3, strict=True):
        (red,) = boundary_of(axes)
        assert to_hex(red.get_color()[0]) == "#e3001b"
        radius = 0.5 + 0.2 * np.log10(1 + epoch) + 0.02  # of seed 4, the first that solved the task
        vertices = np.concatenate(red.get_segments())
        assert np.hypot(*vertices.T) == pytest.approx(radius, abs=0.01)
        assert distance_to_boundary([radius, 0], red.get_segments()) < 0.01


def test_heatmap_shows_the_field_the_right_way_up(tmp_path):
    geometry = plane()
    image = heatmap_axes(through_training(made_run(tmp_path, geometry), 1).figure)[0].images[0]
    values = geometry.log_volume_element.sel(epoch=0, layer=1, replicate=4).values
    assert np.allclose(image.get_array(), values - values.mean(), atol=1e-12)
    assert image.origin == "lower"
    half = 0.5 * 3 / 24
    assert image.get_extent() == pytest.approx([-1.5 - half, 1.5 + half, -1.5 - half, 1.5 + half])


def test_colour_limits_are_common_to_a_row_to_both_figures_and_hold_all_values(tmp_path):
    geometry = plane()
    run = made_run(tmp_path, geometry)
    panels = heatmap_axes(through_training(run, 1).figure)
    rows = panels[:3], panels[3:6], panels[6:]
    for row in rows:
        assert len({axes.images[0].get_clim() for axes in row}) == 1
    replicates = heatmap_axes(across_replicates(run, 1).figure)
    for row, sister in zip(rows[:2], (replicates[:2], replicates[2:]), strict=True):
        assert {axes.images[0].get_clim() for axes in sister} == {row[0].images[0].get_clim()}
    low, high = rows[0][0].images[0].get_clim()
    log_volume = geometry.log_volume_element
    shown = [log_volume.sel(replicate=4, epoch=epoch) for epoch in (0, 10, 200)]
    centred = [values - values.mean() for values in (*shown, log_volume.sel(replicate=3, epoch=200))]
    assert low == pytest.approx(min(float(values.min()) for values in centred))
    assert high == pytest.approx(max(float(values.max()) for values in centred))


def test_the_window_ends_where_boundaries_end(tmp_path):
    geometry = plane()
    geometry["margin"] = geometry.margin * 0 + geometry.x - geometry.y / 3  # from the lower edge to the upper one
    for axes in heatmap_axes(through_training(made_run(tmp_path, geometry), 1).figure):
        assert (*axes.get_xlim(), *axes.get_ylim()) == (-1.5, 1.5, -1.5, 1.5)
        (line,) = boundary_of(axes)[0].get_segments()
        assert sorted(line[[0, -1], 1].tolist()) == [-1.5, 1.5]


def test_a_white_line_in_the_magnitude_is_where_the_curvature_changes_sign(tmp_path):
    panels = heatmap_axes(through_training(made_run(tmp_path, plane()), 1).figure)
    assert isinstance(panels[-1].images[0].norm, LogNorm)
    for axes in panels[6:]:
        (zero,) = [lines for lines in axes.collections if lines.get_label() == "zero"]
        assert np.concatenate(zero.get_segments())[:, 0] == pytest.approx(-0.3, abs=0.01)
        assert axes.images[0].get_array().min() > 0


def test_a_curvature_that_changes_faster_than_the_grid_is_called_under_sampled(tmp_path):
    geometry = plane(epochs=(0,), replicates=1)
    assert "under-sampled" not in texts(through_training(made_run(tmp_path, geometry), 1).figure)
    noise = np.random.default_rng(0).choice([-1.0, 1.0], geometry.ricci_scalar.shape)
    geometry["ricci_scalar"] = geometry.ricci_scalar * noise
    figure = through_training(made_run(tmp_path, geometry), 1).figure
    (share,) = {*re.findall(r"under-sampled: R differs in sign between (\d+)% of neighbours", texts(figure))}
    assert int(share) == pytest.approx(50, abs=4)
    assert "neighbours at 25 x 25 points, more than 10%" in texts(figure)
    assert not [lines for axes in figure.axes for lines in axes.collections if lines.get_label() == "zero"]


def test_what_was_measured_for_display_is_drawn_on_the_scales_of_the_rest(tmp_path):
    geometry = plane(epochs=(0, 200))
    run = made_run(tmp_path, geometry)
    plain = heatmap_axes(through_training(run, 1).figure)
    axis = np.linspace(-1.5, 1.5, 61)
    run.display = geometry.interp(x=axis, y=axis).sel(replicate=[4], epoch=[200])
    run.display["predicted_class"] = (run.display.margin < 0).astype(int)
    finer = heatmap_axes(through_training(run, 1).figure)
    assert [axes.images[0].get_array().shape for axes in finer] == [(25, 25), (61, 61)] * 3
    assert [axes.images[0].get_clim() for axes in finer] == [axes.images[0].get_clim() for axes in plain]
    expected = run.display.ricci_scalar.squeeze().transpose("y", "x").values
    assert np.allclose(np.ma.filled(finer[3].images[0].get_array(), 0), expected, rtol=1e-12, atol=1e-12)
    assert [axes.images[0].get_array().shape for axes in heatmap_axes(across_replicates(run, 1).figure)] == [
        (25, 25)
    ] * 4


def test_what_was_measured_of_another_replicate_is_not_drawn(tmp_path):
    geometry = plane(epochs=(0, 200))
    run = made_run(tmp_path, geometry)
    axis = np.linspace(-1.5, 1.5, 61)
    run.display = geometry.interp(x=axis, y=axis).sel(replicate=[3])
    panels = heatmap_axes(through_training(run, 1).figure)
    assert {axes.images[0].get_array().shape for axes in panels} == {(25, 25)}


def test_figures_show_the_replicate_and_the_epochs_that_are_asked_for(tmp_path):
    run = made_run(tmp_path, plane(epochs=(0, 5, 10, 200)))
    run.config["figures"] = {"replicate": 3, "epochs": [5, 200]}
    sheet = through_training(run, 1)
    assert "replicate with seed 3" in texts(sheet.figure)
    assert sheet.data.shown_epoch.values.tolist() == [5, 200]
    run.config["figures"] = {"epochs": [5, 7]}
    with pytest.raises(ConfigError, match=r"`figures.epochs` must be epochs that were measured: \[0,5,10,200\]\. Got"):
        through_training(run, 1)
    run.config["figures"] = {"replicate": 99}
    with pytest.raises(ConfigError, match=r"`figures.replicate` must be the seed .*: 3 or 4\. Got 99\."):
        through_training(run, 1)


@pytest.mark.parametrize("width", [3.4, 7.0, 12.0])
def test_a_sheet_of_any_width_holds_all_that_is_on_it(tmp_path, width):
    run = made_run(tmp_path, plane(epochs=(0, 5, 10, 20, 50, 200), replicates=7), [True] * 7)
    run.config["figures"] = {"width": width}
    with style():
        figure = through_training(run, 1).figure
        figure.set_dpi(200)
        figure.draw_without_rendering()
    assert figure.get_size_inches()[0] == pytest.approx(width)
    pixels = figure.bbox.width
    (legend,) = figure.legends
    assert legend.get_window_extent().x1 <= pixels + 1
    for text in figure.texts:
        assert text.get_window_extent().x1 <= pixels + 1


def test_axes_and_classes_have_the_names_of_the_users_file(tmp_path):
    run = made_run(tmp_path, plane(epochs=(0, 200)))
    run.config["task"] = {"columns": ["$height$", "width"], "class_names": ["inner", "outer"], "standardize": True}
    with style():
        figure = through_training(run, 1).figure
        figure.draw_without_rendering()
    words = texts(figure)
    for name in (r"\$height\$ (standardized)", "width (standardized)", "training point, class inner", "class outer"):
        assert name in words


def test_hatched_cells_lie_where_the_digits_are_lost(tmp_path):
    geometry = plane(epochs=(0,), replicates=1)
    geometry["ricci_scalar_error"][0, 0, 0, 20, 3:5] = 1e9
    (hatched,) = patches_of(heatmap_axes(through_training(made_run(tmp_path, geometry), 1).figure)[1], "unreliable")
    box = hatched.get_path().get_extents()
    assert (box.x0, box.x1) == pytest.approx((AXIS[3] - 0.0625, AXIS[4] + 0.0625))
    assert (box.y0, box.y1) == pytest.approx((AXIS[20] - 0.0625, AXIS[20] + 0.0625))


def test_curvature_is_on_a_symmetric_logarithmic_scale(tmp_path):
    norm = heatmap_axes(through_training(made_run(tmp_path, plane()), 1).figure)[3].images[0].norm
    assert isinstance(norm, SymLogNorm)
    assert norm.vmin == -norm.vmax
    assert norm(0) == 0.5


@pytest.mark.parametrize(("count", "shown"), [(1, 1), (2, 2), (6, 6), (200, 6)])
def test_at_most_six_checkpoints_first_and_last_always(tmp_path, count, shown):
    epochs = np.arange(count) * 5
    figure = through_training(made_run(tmp_path, plane(epochs=epochs)), 1).figure
    titles = [re.split("[,\n]", axes.get_title())[0] for axes in heatmap_axes(figure)[:shown]]
    assert len(heatmap_axes(figure)) == 3 * shown
    assert titles[0] == "epoch 0"
    assert titles[-1] == f"epoch {epochs[-1]}"
    assert all("loss" in axes.get_title() for axes in heatmap_axes(figure))


def test_flat_row_is_words_once_without_colour_bar(tmp_path):
    geometry = plane(hidden=2)
    geometry["ricci_scalar"] *= 0.0
    figure = through_training(made_run(tmp_path, geometry), 1).figure
    assert texts(figure).count("flat: the feature map is a local diffeomorphism of R^2 (R = 0)") == 1
    assert len(heatmap_axes(figure)) == 3
    assert "R = +2" not in texts(figure)


def test_flat_panel_among_curved_ones_says_so(tmp_path):
    geometry = plane(hidden=2)
    geometry["ricci_scalar"].loc[{"epoch": 10}] = 0.0
    figure = through_training(made_run(tmp_path, geometry), 1).figure
    assert texts(figure).count("flat: the feature map is a local diffeomorphism of R^2 (R = 0)") == 2
    assert len(heatmap_axes(figure)) == 7
    flat, _ = [axes for axes in figure.axes if any("flat:" in text.get_text() for text in axes.texts)]
    assert len(flat.get_xticks()) == len(flat.get_yticks()) == len(flat.collections) == 0


def test_flat_without_as_many_features_as_inputs_claims_no_diffeomorphism(tmp_path):
    geometry = plane(hidden=8)
    geometry["ricci_scalar"] *= 0.0
    words = texts(through_training(made_run(tmp_path, geometry), 1).figure)
    assert "flat: R = 0 at every point" in words
    assert "diffeomorphism" not in words


@pytest.mark.parametrize(
    ("elsewhere", "words"),
    [
        (np.nan, "R = 0 at every point where it is defined"),
        (1e-9, "R = 0 at every point where it has a reliable digit"),
    ],
)
def test_a_curvature_that_is_0_wherever_it_has_a_value_is_words_once_without_colour_bar(tmp_path, elsewhere, words):
    geometry = plane()
    geometry[["ricci_scalar", "ricci_scalar_error"]] *= 0.0
    geometry["ricci_scalar"].loc[{"epoch": 10, "x": AXIS[:3]}] = elsewhere
    geometry["ricci_scalar_error"].loc[{"epoch": 10, "x": AXIS[:3]}] = 1.0
    figure = through_training(made_run(tmp_path, geometry), 1).figure
    assert texts(figure).count("R = 0") == texts(figure).count(words) == 1
    assert len(heatmap_axes(figure)) == 3
    assert "R = +2" not in texts(figure)


def test_a_panel_that_is_0_wherever_it_has_a_value_is_drawn_beside_curved_ones(tmp_path):
    geometry = plane()
    geometry["ricci_scalar"].loc[{"epoch": 10}] = 0.0
    geometry["ricci_scalar"].loc[{"epoch": 10, "x": AXIS[:3]}] = np.nan
    figure = through_training(made_run(tmp_path, geometry), 1).figure
    assert len(heatmap_axes(figure)) == 9
    assert "75 grey" in texts(figure)


def test_a_volume_element_of_1_all_over_is_not_called_flat(tmp_path):
    geometry = plane()
    geometry["log_volume_element"] *= 0.0
    figure = through_training(made_run(tmp_path, geometry), 1).figure
    assert "flat" not in texts(figure)
    assert len(heatmap_axes(figure)) == 9


def test_nan_points_are_grey_and_counted(tmp_path):
    geometry = plane(epochs=(0,), replicates=1)
    for name in ("log_volume_element", "ricci_scalar", "ricci_scalar_error"):
        geometry[name][0, 0, 0, 4, 7:10] = np.nan
    figure = through_training(made_run(tmp_path, geometry), 1).figure
    for axes in heatmap_axes(figure):
        mask = np.ma.getmaskarray(axes.images[0].get_array())
        assert np.argwhere(mask).tolist() == [[4, 7], [4, 8], [4, 9]]
        (grey,) = patches_of(axes, "missing")
        box = grey.get_path().get_extents()
        assert (box.x0, box.x1) == pytest.approx((AXIS[7] - 0.0625, AXIS[9] + 0.0625))
        assert (box.y0, box.y1) == pytest.approx((AXIS[4] - 0.0625, AXIS[4] + 0.0625))
    assert texts(figure).count("(3 grey, of 625 points)") == 3
    assert "no value (Jacobian rank deficient or not finite)" in texts(figure)


def test_points_without_a_reliable_digit_are_hatched_and_counted(tmp_path):
    geometry = plane(epochs=(0,), replicates=1)
    R = geometry.ricci_scalar.values[0, 0, 0]
    geometry["ricci_scalar_error"][0, 0, 0, 2, 3] = 0.11 * abs(R[2, 3])
    geometry["ricci_scalar_error"][0, 0, 0, 2, 4] = 0.09 * abs(R[2, 4])
    figure = through_training(made_run(tmp_path, geometry), 1).figure
    volume, curvature, magnitude = heatmap_axes(figure)
    assert len(patches_of(magnitude, "unreliable")) == 1
    (hatched,) = patches_of(curvature, "unreliable")
    assert hatched.get_hatch()
    assert patches_of(volume, "unreliable") == []
    assert np.argwhere(np.ma.getmaskarray(curvature.images[0].get_array())).tolist() == [[2, 3]]
    assert "(1 hatched, of 625 points)" in texts(figure)


def test_a_value_whose_error_is_unknown_is_unreliable_but_an_exact_zero_is_not():
    shown = Field(np.array([[1.0, 0.0, np.inf]]), np.array([[np.nan, 0.0, 0.0]]))
    assert shown.unreliable.tolist() == [[True, False, False]]
    assert shown.missing.tolist() == [[False, False, True]]


def test_network_without_boundary_in_the_window_gets_no_line(tmp_path):
    geometry = plane()
    geometry["margin"] = abs(geometry.margin) + 1
    figure = through_training(made_run(tmp_path, geometry), 1).figure
    assert not any(boundary_of(axes) for axes in figure.axes)
    assert "decision boundary" not in texts(figure)
    for axes in heatmap_axes(figure):
        assert [text.get_text() for text in axes.texts] == ["no boundary"]


def test_training_points_are_drawn_by_class(tmp_path):
    axes = heatmap_axes(through_training(made_run(tmp_path, plane()), 1).figure)[0]
    dots = [dots for dots in axes.collections if not isinstance(dots, LineCollection)]
    drawn = {to_hex(d.get_facecolor()[0]): sorted(map(tuple, d.get_offsets().tolist())) for d in dots}
    assert drawn == {"#ffffff": [(-1, -1), (1, 1)], "#000000": [(-1, 1), (1, -1)]}


def test_every_replicate_is_shown_with_its_own_accuracy_and_boundary(tmp_path):
    run = made_run(tmp_path, plane(replicates=8))
    figure = across_replicates(run, 1).figure
    panels = heatmap_axes(figure)
    assert len(panels) == 16
    for replicate, axes in enumerate(panels[:8]):
        seed = 3 + replicate
        assert axes.get_title().split("\n")[0] == f"seed {seed}: {50 + 10 * (seed % 5)}%"
        radius = 0.5 + 0.2 * np.log10(201) + 0.02 * replicate
        assert np.hypot(*boundary_of(axes)[0].get_segments()[0].T) == pytest.approx(radius, abs=0.01)


@pytest.mark.parametrize(("count", "shown"), [(1, 1), (13, 13), (53, 50)])
def test_panels_do_not_overlap_and_those_left_out_are_counted(tmp_path, count, shown):
    figure = across_replicates(made_run(tmp_path, plane(epochs=(0,), replicates=count)), 1).figure
    assert len(heatmap_axes(figure)) == 2 * shown
    assert ("(the first 50 of 53)" in texts(figure)) == (count == 53)
    boxes = [axes.get_position() for axes in figure.axes]
    assert all(box.x0 >= 0 and box.x1 <= 1 and box.y0 >= 0 and box.y1 <= 1 for box in boxes)
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[i + 1 :])


@pytest.mark.parametrize("name", ["log_volume_element", "ricci_scalar", "margin"])
def test_a_run_whose_measurements_are_all_nan_is_drawn(tmp_path, name):
    geometry = plane(epochs=(0,), replicates=1)
    geometry[name][...] = np.nan
    figure = through_training(made_run(tmp_path, geometry), 1).figure
    figure.savefig(io.BytesIO(), dpi=50)
    assert ("(625 grey, of 625 points)" in texts(figure)) == (name != "margin")


def test_of_many_classes_the_first_are_in_the_legend():
    keys = [key.get_label() for key in heatmap.point_keys(np.arange(1000), Names())]
    assert keys[:2] == ["training point, class 0", "training point, class 1"]
    assert keys[-1] == f"and {1001 - len(keys)} other classes"
    assert len(keys) < 50
    assert len(heatmap.point_keys(np.arange(10), Names())) == 10
