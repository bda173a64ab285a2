"""What is on the pictures is what was measured: each drawn figure is asked for its artists."""

import io
import itertools
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.collections import LineCollection
from matplotlib.colors import SymLogNorm, to_hex, to_rgb
from matplotlib.patches import PathPatch
from PIL import Image

from nngeom_cli.boundary import distance_to_boundary
from nngeom_cli.figures import draw_figures
from nngeom_cli.figures.panel import Field
from nngeom_cli.figures.path import along_paths, class_colour, first_change
from nngeom_cli.figures.plane import across_replicates, through_training
from nngeom_cli.figures.selection import Outcome, evenly, outcomes, percent, representative
from nngeom_cli.figures.style import (
    CLASS_COLOURS,
    CURVATURE_COLOURS,
    control_colours,
    linear_norm,
    style,
    symmetric_log_norm,
    symmetric_log_ticks,
)

AXIS = np.linspace(-1.5, 1.5, 25)
DIMS = ("epoch", "layer", "replicate", "y", "x")


@dataclass
class MadeRun:
    """Looks like a run that was read back."""

    directory: Path
    geometry: xr.Dataset
    history: pd.DataFrame
    info: dict[str, Any] = field(default_factory=dict)


def made_run(directory, geometry, solved=(False, True)):
    seeds, epochs = geometry.replicate.values, geometry.epoch.values
    rows = [(e, s, 1 / (1 + e), 0.5 + 0.1 * (s % 5) * (e > 0)) for e in epochs for s in seeds]
    info = {
        "command": "nngeom run task=made",
        "config_hash": "c0ffee",
        "versions": {"nngeom": "1.2.3"},
        "replicates": [{"replicate": int(s), "solved": bool(done)} for s, done in zip(seeds, solved, strict=False)],
    }
    columns = ["epoch", "replicate", "loss", "accuracy"]
    return MadeRun(directory, geometry, pd.DataFrame(rows, columns=columns), info)


def plane(epochs=(0, 10, 200), layers=(1,), replicates=2, hidden=8):
    """Margin with a circle as boundary, whose radius grows with epoch and seed; fields in closed form."""
    shape = {"epoch": list(epochs), "layer": list(layers), "replicate": 3 + np.arange(replicates), "y": AXIS, "x": AXIS}
    epoch, layer, seed, y, x = (
        xr.DataArray(np.asarray(values, dtype=float), dims=name, coords={name: values})
        for name, values in shape.items()
    )
    radius = 0.5 + 0.2 * np.log10(1 + epoch) + 0.02 * (seed - 3)
    r = np.hypot(x, y)
    volume = (-((r - radius) ** 2) * (1 + epoch / 50) + layer).transpose(*DIMS)
    curvature = ((x + 0.3) * 10 ** (2 * y) * layer * xr.ones_like(radius)).transpose(*DIMS)
    points = np.array([[-1.0, -1], [-1, 1], [1, -1], [1, 1]])
    return xr.Dataset(
        {
            "margin": (radius - r).transpose("epoch", "replicate", "y", "x"),
            "log_volume_element": volume,
            "ricci_scalar": curvature,
            "ricci_scalar_error": 1e-12 * abs(curvature),
            "input": (("point", "feature"), points),
            "label": ("point", np.array([0, 1, 1, 0])),
        },
        attrs={"kind": "grid", "task": "made", "activation": "sigmoid", "widths": np.array([2, hidden, hidden, 1])},
    )


def path(pairs=1, replicates=2, epochs=(0, 30), image=True, steps=64):
    """Curves with a peak where the prediction changes, at step 20 + 5 * (seed - 3) of each pair."""
    seeds, step = 3 + np.arange(replicates), np.arange(steps + 1)
    change = 20 + 5 * (np.arange(replicates) % 8)
    first, second = np.arange(pairs) % 10, (np.arange(pairs) + 7) % 10
    late = step >= change[:, None]  # (replicate, step)
    predicted = np.where(late, second[:, None, None], first[:, None, None])
    trained = -20 - 0.004 * (step - change[:, None]) ** 2 - 0.1 * seeds[:, None]
    untrained = -19 + 0.2 * np.sin(step / 9 + seeds[:, None])
    curves = np.stack([trained if epoch else untrained for epoch in epochs])
    attrs = {
        "kind": "path",
        "task": "made",
        "activation": "sigmoid",
        "widths": [64, 30, 10],
        "steps": steps,
        "top_k": 6,
    }
    ends = np.random.default_rng(0).integers(0, 17, (pairs, 2, 64 if image else 2)).astype(float)
    return xr.Dataset(
        {
            "log_effective_volume_element": (
                ("epoch", "layer", "pair", "replicate", "step"),
                np.broadcast_to(curves[:, None, None], (len(epochs), 1, pairs, replicates, steps + 1)).copy(),
            ),
            "predicted_class": (
                ("epoch", "pair", "replicate", "step"),
                np.broadcast_to(predicted, (len(epochs), *predicted.shape)).copy(),
            ),
            "endpoint": (("pair", "end", "feature"), ends),
            "endpoint_class": (("pair", "end"), np.stack([first, second], axis=1)),
            "endpoint_index": (("pair", "end"), 100 + np.arange(2 * pairs).reshape(pairs, 2)),
        },
        coords={"epoch": list(epochs), "layer": [1], "replicate": seeds, "step": step},
        attrs=attrs | ({"image_shape": [8, 8]} if image else {}),
    )


def heatmap_axes(figure):
    return [axes for axes in figure.axes if axes.images]


def boundary_of(axes):
    return [lines for lines in axes.collections if lines.get_label() == "decision boundary"]


def patches_of(axes, label):
    return [patch for patch in axes.patches if isinstance(patch, PathPatch) and patch.get_label() == label]


def texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(matplotlib.text.Text)).replace("\n", " ")


# Planes


def test_red_line_lies_on_the_zero_of_the_margin(tmp_path):
    run = made_run(tmp_path, plane())
    figure = through_training(run, 1).figure
    panels = heatmap_axes(figure)
    assert len(panels) == 6
    for axes, epoch in zip(panels, [0, 10, 200] * 2, strict=True):
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
    assert np.array_equal(image.get_array(), values)
    assert image.origin == "lower"
    half = 0.5 * 3 / 24
    assert image.get_extent() == pytest.approx([-1.5 - half, 1.5 + half, -1.5 - half, 1.5 + half])


def test_colour_limits_are_common_to_a_row_and_hold_all_its_values(tmp_path):
    geometry = plane()
    panels = heatmap_axes(through_training(made_run(tmp_path, geometry), 1).figure)
    rows = panels[:3], panels[3:]
    for row in rows:
        assert len({axes.images[0].get_clim() for axes in row}) == 1
    low, high = rows[0][0].images[0].get_clim()
    values = geometry.log_volume_element.sel(replicate=4)
    assert (low, high) == (values.min(), values.max())


def test_curvature_is_on_a_symmetric_logarithmic_scale(tmp_path):
    norm = heatmap_axes(through_training(made_run(tmp_path, plane()), 1).figure)[-1].images[0].norm
    assert isinstance(norm, SymLogNorm)
    assert norm.vmin == -norm.vmax
    assert norm(0) == 0.5


@pytest.mark.parametrize(("count", "shown"), [(1, 1), (2, 2), (6, 6), (200, 6)])
def test_at_most_six_checkpoints_first_and_last_always(tmp_path, count, shown):
    epochs = np.arange(count) * 5
    figure = through_training(made_run(tmp_path, plane(epochs=epochs)), 1).figure
    titles = [axes.get_title().split("\n")[0] for axes in heatmap_axes(figure)[:shown]]
    assert len(heatmap_axes(figure)) == 2 * shown
    assert titles[0] == "epoch 0"
    assert titles[-1] == f"epoch {epochs[-1]}"
    assert "loss" in heatmap_axes(figure)[0].get_title()


def test_chosen_checkpoints_are_even():
    assert evenly(list(range(101)), 6) == [0, 20, 40, 60, 80, 100]
    assert evenly([0, 7], 6) == [0, 7]


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
    assert texts(figure).count("flat: the feature map is a local diffeomorphism of R^2 (R = 0)") == 1
    assert len(heatmap_axes(figure)) == 5


def test_flat_without_as_many_features_as_inputs_claims_no_diffeomorphism(tmp_path):
    geometry = plane(hidden=8)
    geometry["ricci_scalar"] *= 0.0
    words = texts(through_training(made_run(tmp_path, geometry), 1).figure)
    assert "flat: R = 0 at every point" in words
    assert "diffeomorphism" not in words


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
    assert texts(figure).count("(3 grey, of 625 points)") == 2
    assert "no value (rank-deficient Jacobian)" in texts(figure)


def test_points_without_a_reliable_digit_are_hatched_and_counted(tmp_path):
    geometry = plane(epochs=(0,), replicates=1)
    R = geometry.ricci_scalar.values[0, 0, 0]
    geometry["ricci_scalar_error"][0, 0, 0, 2, 3] = 0.11 * abs(R[2, 3])
    geometry["ricci_scalar_error"][0, 0, 0, 2, 4] = 0.09 * abs(R[2, 4])
    figure = through_training(made_run(tmp_path, geometry), 1).figure
    volume, curvature = heatmap_axes(figure)
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
        assert axes.get_title() == f"seed {seed}: {50 + 10 * (seed % 5)}%"
        radius = 0.5 + 0.2 * np.log10(201) + 0.02 * replicate
        assert np.hypot(*boundary_of(axes)[0].get_segments()[0].T) == pytest.approx(radius, abs=0.01)


@pytest.mark.parametrize(("count", "shown"), [(1, 1), (13, 13), (53, 50)])
def test_panels_do_not_overlap_and_those_left_out_are_counted(tmp_path, count, shown):
    figure = across_replicates(made_run(tmp_path, plane(epochs=(0,), replicates=count)), 1).figure
    assert len(heatmap_axes(figure)) == 2 * shown
    assert ("(the first of 53)" in texts(figure)) == (count == 53)
    boxes = [axes.get_position() for axes in figure.axes]
    assert all(box.x0 >= 0 and box.x1 <= 1 and box.y0 >= 0 and box.y1 <= 1 for box in boxes)
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[i + 1 :])


# Scales


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
    assert np.array_equal(ticks, -np.array(ticks[::-1]))


# Paths


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


# Which replicate, and how well


def test_representative_is_the_first_that_solved_the_task(tmp_path):
    assert representative(made_run(tmp_path, plane(replicates=4), solved=(False, False, True, True))) == 5


def test_representative_is_the_most_accurate_where_none_solved_it(tmp_path):
    run = made_run(tmp_path, plane(replicates=4), solved=(False,) * 4)
    assert representative(run) == 4  # seeds 3 to 6 have accuracies 0.8 0.9 0.5 0.6
    run.history.loc[run.history.replicate == 4, "accuracy"] = np.nan
    assert representative(run) == 3


def test_outcomes_of_an_interrupted_run_do_not_claim_success(tmp_path):
    run = made_run(tmp_path, plane())
    del run.info["replicates"]
    assert outcomes(run)[4] == Outcome(0.9, None)
    assert "solved" not in texts(through_training(run, 1).figure)


def test_100_percent_is_said_of_all_only():
    assert [percent(a) for a in (1.0, 0.9996, 0.84, 0.125)] == ["100%", "99.9%", "84%", "12.5%"]


# Colours


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
    apart = np.linalg.norm(colours[:, None] - colours, axis=-1)[np.triu_indices(10, 1)]
    assert len(CLASS_COLOURS) == 10
    assert apart.min() > 24


@pytest.mark.parametrize("simulation", ["none", "protan", "deutan"])
def test_class_colours_stay_apart_from_the_controls(simulation):
    between = cielab(CLASS_COLOURS, simulation)[:, None] - cielab(control_colours(8), simulation)
    assert np.linalg.norm(between, axis=-1).min() > 15


def test_curvature_colours_are_perceptually_uniform_and_symmetric_in_lightness():
    lab = cielab(CURVATURE_COLOURS(np.linspace(0, 1, 17)))
    steps = np.linalg.norm(np.diff(lab, axis=0), axis=1)
    assert steps == pytest.approx(steps.mean(), rel=0.08)
    assert lab[:, 0] == pytest.approx(lab[::-1, 0], abs=2.5)


# Files


def test_figures_are_written_whole_with_what_made_them(tmp_path):
    run = made_run(tmp_path, plane(epochs=(200,)))
    drawn = draw_figures(run)
    assert drawn == [tmp_path / "figures" / f"plane-layer-1{end}.png" for end in ("", "-replicates")]
    assert {p.name for p in (tmp_path / "figures").iterdir()} == {
        p.stem + end for p in drawn for end in (".png", ".pdf")
    }
    with Image.open(drawn[0]) as image:
        assert image.info["dpi"] == pytest.approx((200, 200), abs=0.1)
        for key, value in {
            "Command": "nngeom run task=made",
            "ConfigHash": "c0ffee",
            "Seeds": "3 to 4",
            "Version": "nngeom 1.2.3",
        }.items():
            assert image.info[key] == value
        assert "unit 2-sphere has R = +2" in image.info["Convention"]
    pdf = drawn[0].with_suffix(".pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    for words in (b"Command: nngeom run task=made", b"ConfigHash: c0ffee", b"Seeds: 3 to 4", b"R = +2"):
        assert words in pdf
    assert b"/Subtype /Image" in pdf


def test_path_figure_is_written_and_drawing_again_gives_the_same_bytes(tmp_path):
    run = made_run(tmp_path, path())
    (drawn,) = draw_figures(run)
    assert drawn == tmp_path / "figures" / "path-layer-1.png"
    before = [file.read_bytes() for file in (drawn, drawn.with_suffix(".pdf"))]
    draw_figures(run)
    assert [file.read_bytes() for file in (drawn, drawn.with_suffix(".pdf"))] == before


def test_every_layer_has_a_figure_and_one_replicate_needs_no_second(tmp_path):
    drawn = draw_figures(made_run(tmp_path, plane(epochs=(0,), layers=(1, 2), replicates=1)))
    assert [p.stem for p in drawn] == ["plane-layer-1", "plane-layer-2"]


@pytest.mark.parametrize("name", ["log_volume_element", "ricci_scalar", "margin"])
def test_a_run_whose_measurements_are_all_nan_is_drawn(tmp_path, name):
    geometry = plane(epochs=(0,), replicates=1)
    geometry[name][...] = np.nan
    figure = through_training(made_run(tmp_path, geometry), 1).figure
    figure.savefig(io.BytesIO(), dpi=50)
    assert ("(625 grey, of 625 points)" in texts(figure)) == (name != "margin")


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_path_whose_volumes_are_not_finite_is_drawn(tmp_path, value):
    geometry = path()
    geometry["log_effective_volume_element"][...] = value
    figure = along_paths(made_run(tmp_path, geometry), 1).figure
    figure.savefig(io.BytesIO(), dpi=50)
    assert "volume is 0 or unknown at 260 of 260 points" in texts(figure)


def test_a_run_of_another_kind_is_refused(tmp_path):
    geometry = plane().assign_attrs(kind="cube")
    with pytest.raises(ValueError, match=r"`probe.kind` must be grid or path to be drawn\. Got cube\."):
        draw_figures(made_run(tmp_path, geometry))


def test_drawing_changes_no_global_setting(tmp_path):
    before = dict(matplotlib.rcParams)
    with style():
        assert dict(matplotlib.rcParams) != before
    draw_figures(made_run(tmp_path, path()))
    assert dict(matplotlib.rcParams) == before


def test_figures_need_neither_torch_nor_pyplot():
    code = (
        "import sys, nngeom_cli.figures, nngeom_cli.boundary; print({'torch', 'matplotlib.pyplot'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
