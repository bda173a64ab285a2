"""What is on the figure of peak distances is the statistic: the figure is asked for its artists."""

import numpy as np
import pytest
from made_runs import made_run, path, texts

from nngeom_cli.analysis.bootstrap import over_replicates
from nngeom_cli.analysis.path import path_statistics
from nngeom_cli.figures.path_peaks import peak_distances
from nngeom_cli.figures.style import LIKE_COLOUR, style


def test_dots_are_the_networks_and_bars_their_median_and_interval(tmp_path):
    geometry = path(pairs=2, replicates=8)
    geometry["predicted_class"][-1, 1, 0] = 1  # no change on the second path of the first network
    sheet = peak_distances(made_run(tmp_path, geometry), 1)
    lines = iter(sheet.figure.axes[0].lines)
    numbers = path_statistics(geometry).peak_distance.sel(boundary="final", layer=1)
    for column in (numbers.isel(pair=0), numbers.isel(pair=1), numbers):
        over = over_replicates(column, np.random.default_rng(0), "median")
        for epoch in (0, 30):
            dots, median, interval = next(lines), next(lines), next(lines)
            assert np.array_equal(dots.get_ydata(), column.sel(epoch=epoch).values.ravel(), equal_nan=True)
            assert list(median.get_ydata()) == [over.estimate.sel(epoch=epoch)] * 2
            assert list(interval.get_ydata()) == [over[name].sel(epoch=epoch) for name in ("low", "high")]
    assert "2 of 32 undefined" in texts(sheet.figure)
    assert np.array_equal(sheet.data.peak_distance, numbers, equal_nan=True)
    assert sheet.data.median_estimate.sel(column="all pairs", epoch=30) == 0


def test_controls_stand_beside_the_trained_networks_as_medians(tmp_path):
    geometry = path(pairs=3, replicates=5)
    geometry["predicted_class"][-1, 1] = np.arange(65) >= 50  # the changes on another path are elsewhere
    sheet = peak_distances(made_run(tmp_path, geometry), 1)
    drawn = [line for line in sheet.figure.axes[0].lines if line.get_color() == LIKE_COLOUR]
    numbers = path_statistics(geometry).peak_distance.sel(layer=1, epoch=30)
    for control, four in (("other", drawn[:4]), ("middle", drawn[4:])):
        values = numbers.sel(boundary=control).transpose("pair", "replicate").values
        expected = [*np.median(values, axis=1), np.median(values)]
        assert [line.get_ydata()[0] for line in four] == expected
        assert sheet.data[f"median_{control}"].values.tolist() == expected
    assert "changes on other paths" in texts(sheet.figure)
    assert "middle of the path" in texts(sheet.figure)


def test_one_path_has_no_other(tmp_path):
    sheet = peak_distances(made_run(tmp_path, path(pairs=1, replicates=5)), 1)
    assert "changes on other paths" not in texts(sheet.figure)
    assert np.isnan(sheet.data.median_other).all()


@pytest.mark.parametrize("epochs", [(0,), (30,), (0, 30)])
@pytest.mark.parametrize(("pairs", "replicates"), [(1, 1), (4, 8), (6, 50)])
def test_words_lie_on_the_sheet(tmp_path, epochs, pairs, replicates):
    with style():
        figure = peak_distances(made_run(tmp_path, path(pairs, replicates, epochs)), 1).figure
        figure.draw_without_rendering()
    (axes,), (legend,) = figure.axes, figure.legends
    boxes = [axes.get_tightbbox(), legend.get_window_extent(), figure.texts[0].get_window_extent()]
    assert min(min(box.x0, box.y0) for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= figure.bbox.width
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[i + 1 :])
    assert ("untrained (epoch 0)" in texts(figure)) == (0 in epochs)
