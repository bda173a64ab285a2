"""The network that heatmaps show is measured again on a finer grid, in the run that draws them."""

import numpy as np
import pytest
import torch
from made_runs import plane
from small_runs import config

from nngeom_cli.errors import ConfigError, DamageError
from nngeom_cli.figures.selection import representative, shown_epochs
from nngeom_cli.geometry import log_volume_element, ricci_scalar
from nngeom_cli.runs import display as module
from nngeom_cli.runs import run as runner
from nngeom_cli.runs.display import display_resolution, small
from nngeom_cli.runs.report import remarks
from nngeom_cli.runs.resume import resume
from nngeom_cli.store.run import load_run


@pytest.fixture
def undrawn(monkeypatch):
    """A run that would draw draws nothing."""
    monkeypatch.setattr(runner, "drawing", lambda: lambda *_, **__: [])


def test_it_is_what_the_library_gives_at_its_points(tmp_path, undrawn):
    settings = {"draw": True, "resolution": 11, "checkpoints": False}
    runner.run(config(figures=settings, probe__layers=[1, 2], architecture__hidden=[4, 5]), tmp_path, command="test")
    run = load_run(tmp_path)
    display = run.display
    assert display.replicate.values.tolist() == [representative(run)]
    assert display.epoch.values.tolist() == shown_epochs(run)
    assert display.sizes == {"epoch": len(display.epoch), "layer": 2, "replicate": 1, "y": 11, "x": 11}
    x, y = (display[name].values[[0, 3, 10]] for name in ("x", "y"))
    points = torch.tensor(np.stack([x, y], axis=1))
    at = [0, 3, 10]
    for layer in (1, 2):
        feature_map = run.feature_map(20, layer)
        one = display.sel(epoch=20, layer=layer).isel(replicate=0)
        place = run.geometry.replicate.values.tolist().index(int(display.replicate[0]))
        for name, quantity in (("log_volume_element", log_volume_element), ("ricci_scalar", ricci_scalar)):
            expected = quantity(feature_map, points)[place].numpy()
            assert one[name].values[at, at] == pytest.approx(expected, rel=1e-5)  # seven digits are kept
    assert (tmp_path / "display.nc").stat().st_size < 2 * 4 * 5 * display.margin.size * 3  # bytes


def test_a_run_that_is_extended_measures_what_is_shown_then(tmp_path, undrawn):
    settings = {"draw": True, "resolution": 8, "checkpoints": False, "epochs": [5, 10]}
    runner.run(config(figures=settings, probe__checkpoints=[5, 10]), tmp_path, command="test")
    assert load_run(tmp_path).display.epoch.values.tolist() == [5, 10]
    resume(tmp_path, ["optimizer.epochs=25"])
    run = load_run(tmp_path)
    assert (run.display.epoch.values.tolist(), run.geometry.epoch.values.tolist()) == ([5, 10], [0, 5, 10, 20, 25])


@pytest.mark.parametrize(
    "figures", [{"draw": False}, {"draw": True, "resolution": None}, {"draw": True, "resolution": 6}]
)
def test_nothing_is_measured_that_is_not_drawn_or_not_finer(tmp_path, undrawn, figures):
    runner.run(config(figures=figures), tmp_path, command="test")
    assert load_run(tmp_path).display is None
    assert not (tmp_path / "display.nc").exists()


def test_a_damaged_file_is_named_and_a_deleted_one_is_not_missed(tmp_path, undrawn):
    runner.run(config(figures={"draw": True, "resolution": 8}), tmp_path, command="test")
    path = tmp_path / "display.nc"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamageError, match=r"display.nc` must be as the run wrote it.* Delete it: heatmaps are drawn"):
        _ = load_run(tmp_path).display
    path.unlink()
    assert load_run(tmp_path).display is None


def test_a_curvature_that_even_the_finer_grid_misses_is_said_in_the_terminal(tmp_path, undrawn, monkeypatch, capsys):
    monkeypatch.setattr(module, "sign_flips", lambda *_: 0.31)
    runner.run(config(figures={"draw": True, "resolution": 8}), tmp_path, command="test")
    said = "layer 1 in its heatmaps is under-sampled: R differs in sign between 31% of neighbours at 8 x 8 points"
    assert said in capsys.readouterr().out


def test_wide_networks_and_many_planes_have_fewer_points():
    narrow, wide = (config(architecture__hidden=[width, width], probe__layers=[2]) for width in (10, 3000))
    assert display_resolution(narrow, 6) == 200
    assert 6 < display_resolution(wide, 6) < 50
    assert display_resolution(config(architecture__hidden=[30000] * 2, probe__layers=[2]), 6) is None


def test_numbers_beyond_float32_keep_their_sign_and_their_reliability(tmp_path, undrawn):
    runner.run(config(figures={"draw": True, "resolution": 8}), tmp_path, command="test")
    display = load_run(tmp_path).display.astype(float)
    R, error = display.ricci_scalar.copy(), display.ricci_scalar_error.copy()
    R[..., 0, :4] = [1e60, -1e60, np.nan, 0.0]
    error[..., 0, :4] = [1e58, 1e60, np.nan, 1e-9]
    kept = small(display.assign(ricci_scalar=R, ricci_scalar_error=error)).isel(epoch=0, layer=0, replicate=0, y=0)
    values, errors = kept.ricci_scalar.values[:4], kept.ricci_scalar_error.values[:4]
    assert np.sign(values[:2]).tolist() == [1, -1]
    assert np.isfinite(values).tolist() == [True, True, False, True]
    assert errors[0] / values[0] == pytest.approx(0.01, rel=1e-5)
    assert errors[1] / abs(values[1]) == pytest.approx(1, rel=1e-5)
    assert values[3] == 0 < errors[3]


def test_a_replicate_that_is_not_in_the_run_is_refused_before_training():
    with pytest.raises(ConfigError, match=r"`figures.replicate` must be between 3 and 4, the seeds .*Got 5\."):
        config(figures={"replicate": 5})


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"format": ["png", "gif"]}, "`figures.format` must be a list of png, pdf or svg. Got [png,gif]."),
        ({"format": []}, "`figures.format` must be a list of at least one format."),
        ({"format": "svg"}, "`figures.format` must be a list of formats. Got svg. A picture and a drawing"),
        ({"epochs": [20, 5]}, "`figures.epochs` must be in increasing order"),
        ({"width": 0.5}, "`figures.width` must be between 3 and 20."),
        ({"resolution": 1}, "`figures.resolution` must be between 2 and 1000, or null."),
    ],
)
def test_what_figures_cannot_be_is_a_sentence(figures, words):
    with pytest.raises(ConfigError) as caught:
        config(figures=figures)
    assert words in str(caught.value)


def test_a_config_that_was_saved_without_the_choices_has_their_defaults():
    figures = config(figures={"draw": False}).figures
    assert (figures.format, figures.width, figures.resolution, figures.replicate) == (["png", "pdf"], 7.0, 200, None)


def test_the_run_says_that_its_statistics_are_of_an_under_sampled_curvature():
    measured = plane(epochs=(5,)).isel(epoch=0)
    assert not [words for words in remarks(measured) if "under-sampled" in words]
    noise = np.random.default_rng(0).choice([-1.0, 1.0], measured.ricci_scalar.shape)
    (said,) = [
        words
        for words in remarks(measured.assign(ricci_scalar=noise * measured.ricci_scalar))
        if "under-sampled" in words
    ]
    assert said.startswith("layer 1 in the statistics is under-sampled: R differs in sign between ")
    assert said.endswith("at 25 x 25 points, more than 10%: `nngeom measure RUN probe.resolution=N` is finer")
