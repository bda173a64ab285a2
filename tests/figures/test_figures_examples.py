"""What is drawn of examples is what was measured there: the figures are asked for their artists."""

import numpy as np
import pytest
from made_runs import examples, made_run, texts
from matplotlib.colors import to_hex

from nngeom_cli.analysis.bootstrap import over_replicates
from nngeom_cli.analysis.data import data_statistics
from nngeom_cli.figures import draw_figures
from nngeom_cli.figures.example_classes import by_class
from nngeom_cli.figures.examples import at_examples
from nngeom_cli.figures.style import CLASS_COLOURS, DPI, style


def panels_of(figure):
    return [axes for axes in figure.axes if axes.get_xlabel().endswith(("trained network", "(nats)"))]


def dots_of(axes):
    """Places, colours and whether they are ringed, in the order of their places."""
    right, wrong = axes.collections
    places = np.concatenate([right.get_offsets(), wrong.get_offsets()])
    colours = [to_hex(colour[:3]) for part in (right, wrong) for colour in part.get_facecolor()]
    order = np.lexsort(places.T)
    ringed = np.arange(len(places)) >= len(right.get_offsets())
    return places[order], np.array(colours)[order], ringed[order]


def test_dots_are_the_examples_of_one_network_before_and_after_training(tmp_path):
    geometry = examples(replicates=3)
    panels = panels_of(at_examples(made_run(tmp_path, geometry), 1).figure)
    seed = geometry.sel(replicate=4, layer=1)  # the first that solved the task
    last = seed.isel(epoch=-1)
    for number, (what, epoch) in enumerate([("margin", 0), ("margin", 30), ("entropy", 0), ("entropy", 30)]):
        places, colours, ringed = dots_of(panels[number])
        x, y = abs(last[what].values), seed.log_effective_volume_element.sel(epoch=epoch).values
        order = np.lexsort([x, y])
        assert np.allclose(places, np.stack([x, y], axis=1)[order])
        assert colours.tolist() == [CLASS_COLOURS[label] for label in geometry.true_class.values[order]]
        assert ringed.tolist() == (last.predicted_class != last.true_class).values[order].tolist()
        assert panels[number].get_ylim() == panels[0].get_ylim()
    assert [panel.get_xlim() for panel in panels[::2]] == [panel.get_xlim() for panel in panels[1::2]]


def test_each_panel_is_headed_by_the_correlation_and_its_controls(tmp_path):
    geometry = examples(replicates=8)
    words = texts(at_examples(made_run(tmp_path, geometry), 1).figure)
    numbers = data_statistics(geometry).sel(layer=1)
    for epoch, state in ((0, "untrained"), (30, "trained")):
        for what in ("margin", "entropy"):
            for name, boundary, head in (
                (f"effective_volume_{what}", "final", f"{state}: "),
                (f"effective_volume_{what}_within", "final", "within classes: "),
                (f"effective_volume_{what}", "other", f"control, {what} of other networks: "),
            ):
                values = numbers[name].sel(boundary=boundary, epoch=epoch)
                over = over_replicates(values, np.random.default_rng(0))
                shown = f"{over.estimate:.2f} [{over.low:.2f}, {over.high:.2f}]"
                assert head + shown.replace("-", "\N{MINUS SIGN}") in words


def test_distances_from_the_boundary_have_panels_and_a_strip_of_their_own(tmp_path):
    geometry = examples(replicates=3, robust=True)
    sheet = at_examples(made_run(tmp_path, geometry), 1)
    panels = [axes for axes in sheet.figure.axes if axes.get_xlabel().startswith("adversarial distance")]
    last = geometry.sel(replicate=4, epoch=30)
    for axes, epoch in zip(panels, (0, 30), strict=True):
        places, _, _ = dots_of(axes)
        x, y = last.adversarial_distance.values, geometry.sel(replicate=4, layer=1, epoch=epoch)
        y = y.log_effective_volume_element.values
        assert np.allclose(places, np.stack([x, y], axis=1)[np.lexsort([x, y])])
    numbers = data_statistics(geometry).effective_volume_robustness.sel(layer=1, boundary="final", epoch=30)
    assert f"{numbers.mean():.2f}".replace("-", "\N{MINUS SIGN}") in texts(sheet.figure)
    assert "effective_volume_robustness" in sheet.data


def test_one_network_has_neither_an_interval_nor_another_to_compare_with(tmp_path):
    words = texts(at_examples(made_run(tmp_path, examples(replicates=1), solved=[True]), 1).figure)
    assert "control" not in words
    assert "[" not in words


def test_strips_hold_the_statistics_of_every_replicate(tmp_path):
    geometry = examples(epochs=(0, 10, 30), replicates=3)
    sheet = at_examples(made_run(tmp_path, geometry), 1)
    strips = [axes for axes in sheet.figure.axes if axes.get_xlabel() == "epoch"]
    numbers = data_statistics(geometry).sel(layer=1)
    names = [f"effective_volume_{name}" for name in ("margin", "entropy", "wrong_contrast", "mean")]
    for axes, name in zip(strips, names, strict=True):
        values = numbers[name].sel(boundary="final") if "boundary" in numbers[name].dims else numbers[name]
        drawn = [line.get_ydata() for line in axes.lines if len(line.get_ydata()) == 3][:3]
        assert np.array_equal(drawn, values.transpose("replicate", "epoch"))
        assert np.array_equal(sheet.data[name].sel(layer=1).transpose("epoch", "replicate"), values)
        if "boundary" in numbers[name].dims:
            other = numbers[name].sel(boundary="other").mean("replicate")
            assert any(np.allclose(line.get_ydata(), other) for line in axes.lines if len(line.get_ydata()) == 3)
            np.testing.assert_allclose(sheet.data[f"{name}_other"].sel(layer=1), other)
    assert "predictions of others" in texts(sheet.figure)


def test_columns_are_the_means_of_classes_and_of_errors(tmp_path):
    geometry = examples(replicates=3)
    sheet = by_class(made_run(tmp_path, geometry), 1)
    axes = sheet.figure.axes[0]
    numbers = data_statistics(geometry).sel(layer=1)
    expected = [numbers.effective_volume_by_class.isel({"class": label}) for label in range(3)]
    expected += [numbers.effective_volume_mean]
    expected += [numbers[f"effective_volume_{name}_mean"].sel(boundary="final") for name in ("right", "wrong")]
    dots = [line.get_ydata() for line in axes.lines if line.get_marker() == "."]
    assert len(dots) == 12
    for column, values in enumerate(expected):
        assert np.array_equal(dots[2 * column], values.sel(epoch=0))
        assert np.array_equal(dots[2 * column + 1], values.sel(epoch=30))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "2", "all", "right", "wrong"]


def test_images_are_those_with_the_least_and_the_most_volume(tmp_path):
    geometry = examples(replicates=3)
    images = [axes for axes in by_class(made_run(tmp_path, geometry), 1).figure.axes if axes.get_label() == "image"]
    assert len(images) == 2 * 14
    for row, epoch in enumerate((0, 30)):
        here = geometry.sel(replicate=4, layer=1, epoch=epoch)
        order = np.argsort(here.log_effective_volume_element.values)
        for axes, point in zip(images[14 * row : 14 * (row + 1)], [*order[:7], *order[-7:]], strict=True):
            assert np.array_equal(axes.images[0].get_array(), here.input.values[point].reshape(8, 8))
            frame = to_hex(axes.spines["left"].get_edgecolor())
            assert frame == CLASS_COLOURS[int(here.predicted_class[point])]


@pytest.mark.parametrize("make", [at_examples, by_class])
@pytest.mark.parametrize("epochs", [(0,), (10, 30), (0, 30)])
@pytest.mark.parametrize(
    ("replicates", "classes", "points", "image"),
    [(1, 1, 1, True), (2, 2, 3, False), (8, 10, 60, True), (2, 20, 60, False), (3, 30, 60, True)],
)
def test_words_lie_on_the_sheet_and_not_on_each_other(tmp_path, make, epochs, replicates, classes, points, image):
    geometry = examples(epochs, replicates=replicates, classes=classes, points=points, image=image)
    with style():
        figure = make(made_run(tmp_path, geometry), 1, note="a note").figure
        figure.set_dpi(DPI)  # letters are wider in a PNG than on a screen
        figure.draw_without_rendering()
    boxes = [axes.get_tightbbox() for axes in figure.axes] + [text.get_window_extent() for text in figure.texts]
    boxes += [legend.get_window_extent() for legend in figure.legends]
    assert min(min(box.x0, box.y0) for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= figure.bbox.width
    assert max(box.y1 for box in boxes) <= figure.bbox.height
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[i + 1 :])
    assert ("untrained" in texts(figure)) == (0 in epochs)


@pytest.mark.parametrize(
    ("entropy", "form"),
    [(np.geomspace(1e-9, 1, 30), "log"), (np.linspace(1, 2, 30), "linear"), (np.zeros(30), "linear")],
)
def test_entropies_that_are_mostly_tiny_have_a_logarithmic_axis(tmp_path, entropy, form):
    geometry = examples()
    geometry = geometry.assign(entropy=geometry.entropy * 0 + entropy)
    panel = panels_of(at_examples(made_run(tmp_path, geometry), 1).figure)[-1]
    assert panel.get_xscale() == form
    low, high = panel.get_xlim()
    assert low < high
    places = np.concatenate([part.get_offsets() for part in panel.collections])[:, 0]
    assert (places >= low).all()
    assert len(places) == 30


def test_a_bottleneck_is_said_to_have_no_volume(tmp_path):
    geometry = examples()
    geometry["log_effective_volume_element"][:] = -np.inf
    geometry.attrs["widths"] = [64, 3, 10]
    run = made_run(tmp_path, geometry)
    words = texts(at_examples(run, 1).figure)
    assert "a bottleneck: width 3, so the metric has rank 3 < 6 and volume 0" in words
    assert "the volume is 0 or unknown at 60 of 60 dots" in words
    assert "undefined" in words
    by_class(run, 1)


def test_networks_that_err_nowhere_have_no_rings_and_an_empty_column(tmp_path):
    geometry = examples(replicates=3)
    geometry["predicted_class"][:] = geometry.true_class
    run = made_run(tmp_path, geometry)
    words = texts(at_examples(run, 1).figure)
    assert "predicted wrong" not in words
    assert "undefined in 6 of 6 measurements: all predictions right, or all wrong (6)" in words
    dots = [line.get_ydata() for line in by_class(run, 1).figure.axes[0].lines if line.get_marker() == "."]
    assert np.isnan(dots[-1]).all()


def test_examples_that_were_too_many_to_store_have_no_images(tmp_path):
    figure = by_class(made_run(tmp_path, examples().drop_vars("input")), 1).figure
    assert [axes for axes in figure.axes if axes.get_label() == "image"] == []


def test_each_layer_has_two_figures_with_their_numbers(tmp_path):
    drawn = draw_figures(made_run(tmp_path, examples(layers=(1, 2))))
    assert [path.stem for path in drawn] == [
        f"data-layer-{layer}{which}" for layer in (1, 2) for which in ("", "-classes")
    ]
    assert all(path.with_suffix(".nc").is_file() for path in drawn)
