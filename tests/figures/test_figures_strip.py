"""What is on a strip is the statistic of the run: the figure is asked for its artists."""

import numpy as np
import pytest
from made_runs import made_run, plane, texts

from nngeom_cli.analysis.bootstrap import over_replicates
from nngeom_cli.analysis.grid import grid_statistics
from nngeom_cli.figures.input_plane import through_training
from nngeom_cli.figures.output import metadata
from nngeom_cli.figures.style import style

KINDS = ("rank_correlation", "band_contrast", "band_mean")
TITLES = [f"{field}_{kind}" for field in ("volume", "curvature") for kind in KINDS]


def strip_axes(figure):
    return [axes for axes in figure.axes if axes.get_xlabel() == "epoch"]


def lines(axes, count):
    return [line.get_ydata() for line in axes.lines if len(line.get_ydata()) == count]


def test_strips_hold_each_replicate_the_mean_and_its_interval(tmp_path):
    geometry = plane(replicates=8)
    figure = through_training(made_run(tmp_path, geometry), 1).figure
    numbers = grid_statistics(geometry, band=0.15).sel(boundary="final", layer=1)
    for axes, name in zip(strip_axes(figure), TITLES, strict=True):
        *replicates, mean, _, _, _, stages = lines(axes, 3)
        assert np.array_equal(replicates, numbers[name].transpose("replicate", "epoch"))
        over = over_replicates(numbers[name], np.random.default_rng(0))
        assert np.array_equal(mean, over.estimate)
        assert np.array_equal(stages, np.zeros(3))
        band, control = axes.collections[0].get_paths()[0].get_extents(), axes.patches[0].get_extents()
        assert (band.ymin, band.ymax) == pytest.approx((over.low.values.min(), over.high.values.max()))
        control = control.transformed(axes.transData.inverted())
        assert (control.ymin, control.ymax) == pytest.approx((over.low.values[0], over.high.values[0]))
    assert "mean of 8 replicates, 95% interval" in texts(figure)
    assert "untrained (epoch 0)" in texts(figure)


def test_strips_hold_the_mean_of_each_control_and_so_do_the_numbers_beside_them(tmp_path):
    geometry = plane(replicates=4).assign_attrs(box=[-0.2, 1.4, -1, 1])  # the circle has no symmetry of this box
    sheet = through_training(made_run(tmp_path, geometry), 1)
    numbers = grid_statistics(geometry, band=0.15).sel(layer=1).mean("replicate")
    for axes, name in zip(strip_axes(sheet.figure), TITLES, strict=True):
        *_, other, mirrored, rotated, _ = lines(axes, 3)
        drawn = {"other": other, "mirrored": mirrored, "rotated": rotated}
        for control, values in drawn.items():
            np.testing.assert_allclose(values, numbers[name].sel(boundary=control))
            np.testing.assert_array_equal(sheet.data[f"{name}_{control}"].sel(layer=1), values)
            low, high = axes.get_ylim()
            assert low <= values.min() <= values.max() <= high
    words = texts(sheet.figure)
    assert "boundaries of others" in words
    assert "mirrored boundary (same line)" not in words


@pytest.mark.parametrize("replicates", [1, 3])
def test_the_legend_says_which_control_is_the_boundary_itself_and_has_none_that_there_is_not(tmp_path, replicates):
    words = texts(through_training(made_run(tmp_path, plane(replicates=replicates)), 1).figure)
    assert "mirrored boundary (same line)" in words
    assert "rotated boundary (same line)" in words
    assert ("boundaries of others" in words) == (replicates > 1)


def test_the_band_is_the_one_of_the_config(tmp_path):
    geometry = plane()
    run = made_run(tmp_path, geometry)
    run.config = {"figures": {"curvature_convention": "geometric", "band": 0.4}}
    figure = through_training(run, 1).figure
    expected = grid_statistics(geometry, band=0.4).volume_band_contrast.sel(boundary="final", layer=1, replicate=3)
    axes = strip_axes(figure)[1]
    assert np.array_equal(lines(axes, 3)[0], expected)
    assert "within 0.4 of final boundary" in texts(figure)


def test_the_papers_form_is_the_magnitudes_of_volume_and_three_times_the_curvature_and_says_so(tmp_path):
    run = made_run(tmp_path, plane())
    images = [axes.images[0] for axes in through_training(run, 1).figure.axes if axes.images][:6]
    volumes = run.geometry.log_volume_element.sel(layer=1, replicate=4)
    run.config = {"figures": {"curvature_convention": "paper", "band": 0.15}}
    figure = through_training(run, 1).figure
    pairs = zip(images, [axes.images[0] for axes in figure.axes if axes.images], strict=True)
    for place, (image, papers) in enumerate(pairs):
        drawn = np.exp(volumes.isel(epoch=place)) if place < 3 else abs(3 * image.get_array())
        assert np.array_equal(papers.get_array(), drawn)
        assert papers.norm.vmin >= 0
    titles = ("volume element", "magnitude of the Ricci scalar, in the paper's convention")
    assert {text.get_text() for text in figure.texts}.issuperset(titles)
    assert "V = √(det g)" in texts(figure)
    assert "|3 R|, the paper's convention" in texts(figure)
    assert "R = +2" not in texts(figure)
    assert "V and |3 R|" in metadata(run)["Convention"]


def test_a_flat_layer_is_flat_in_the_papers_form_too(tmp_path):
    geometry = plane(hidden=2)
    geometry["ricci_scalar"] *= 0.0
    run = made_run(tmp_path, geometry)
    run.config = {"figures": {"curvature_convention": "paper", "band": 0.15}}
    assert "flat: the feature map is a local diffeomorphism" in texts(through_training(run, 1).figure)


def test_a_volume_too_large_for_a_number_is_missing_in_the_papers_form(tmp_path):
    geometry = plane()
    geometry["log_volume_element"][:, :, :, 0, 0] = 1000.0
    run = made_run(tmp_path, geometry)
    run.config = {"figures": {"curvature_convention": "paper", "band": 0.15}}
    assert "3 grey" in texts(through_training(run, 1).figure)


def test_an_undefined_statistic_says_why(tmp_path):
    geometry = plane()
    geometry["margin"] = abs(geometry.margin) + 1
    figure = through_training(made_run(tmp_path, geometry), 1).figure
    assert texts(figure).count("undefined in 6 of 6 measurements: no boundary in the window (6)") == 6


def test_a_flat_layer_has_no_strip_of_its_curvature(tmp_path):
    geometry = plane(hidden=2)
    geometry["ricci_scalar"] *= 0.0
    assert len(strip_axes(through_training(made_run(tmp_path, geometry), 1).figure)) == 3


@pytest.mark.parametrize(
    ("epochs", "replicates"), [((0,), 1), ((0,), 3), ((0, 200), 12), ((7,), 12), (range(0, 1100, 11), 3)]
)
def test_strips_of_any_run_lie_on_the_sheet_and_apart(tmp_path, epochs, replicates):
    run = made_run(tmp_path, plane(epochs=epochs, replicates=replicates))
    with style():
        figure = through_training(run, 1).figure
        figure.draw_without_rendering()
    axes = strip_axes(figure)
    boxes = [one.get_tightbbox() for one in axes]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y0 >= 0 for box in boxes)
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[i + 1 :])
    ticks = [label.get_window_extent() for label in axes[0].get_xticklabels() if label.get_text()]
    assert not any(one.overlaps(other) for i, one in enumerate(ticks) for other in ticks[i + 1 :])
    assert ("untrained" in texts(figure)) == (len(epochs) > 1)


@pytest.mark.parametrize("epochs", [(0,), (0, 10), (0, 10, 200), (0, 5, 10, 50, 100, 200)])
def test_the_legend_fits_the_sheet_whatever_its_width(tmp_path, epochs):
    with style():
        figure = through_training(made_run(tmp_path, plane(epochs=epochs, replicates=8)), 1).figure
        figure.draw_without_rendering()
        assert figure.legends[0].get_window_extent().x1 <= figure.bbox.x1
