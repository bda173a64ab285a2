"""Figures of runs that diverged: what was finite is drawn, what was not is said."""

import numpy as np
import pytest
from made_runs import examples, geodesics, image_planes, made_run, path, plane, texts

from nngeom_cli.errors import ConfigError
from nngeom_cli.figures.animation import Film, animate
from nngeom_cli.figures.example_classes import by_class
from nngeom_cli.figures.examples import at_examples
from nngeom_cli.figures.geodesic import geodesics_of
from nngeom_cli.figures.input_plane import across_replicates, on_image_plane, through_training
from nngeom_cli.figures.path import along_paths
from nngeom_cli.figures.path_peaks import peak_distances
from nngeom_cli.figures.path_words import CURVATURE, SPEED, VOLUME
from nngeom_cli.figures.selection import final_scores, networks_shown, representative

EPOCHS = (0, 10, 50, 200)


def lost(geometry, since):
    """The geometry with NaN for each of some seeds, from an epoch on."""
    measured = [name for name, values in geometry.items() if {"epoch", "replicate"} <= set(values.dims)]
    for seed, epoch in since.items():
        gone = (geometry.replicate == seed) & (geometry.epoch >= epoch)
        for name in measured:
            if name != "predicted_class":
                geometry[name] = geometry[name].where(~gone)
    return geometry


def diverged(directory, geometry, since):
    """A run that is over, whose seeds of `since` lost their weights and their loss at an epoch."""
    seeds = geometry.replicate.values.tolist()
    run = made_run(directory, lost(geometry, since), solved=[seed == seeds[-1] and seed not in since for seed in seeds])
    for seed, epoch in since.items():
        run.history.loc[(run.history.replicate == seed) & (run.history.epoch >= epoch), "loss"] = np.nan
    run.info["diverged"] = [{"replicate": seed, "epoch": epoch} for seed, epoch in since.items()]
    return run


def sheets(run):
    kind = run.geometry.attrs["kind"]
    if kind == "grid":
        return [through_training(run, 1), across_replicates(run, 1)]
    if kind == "plane":
        return [on_image_plane(run, 0, 1)]
    if kind == "geodesic":
        return [geodesics_of(run, 1)]
    if kind == "data":
        return [at_examples(run, 1), by_class(run, 1)]
    return [*(along_paths(run, 1, curve=curve) for curve in (VOLUME, SPEED, CURVATURE)), peak_distances(run, 1)]


KINDS = {
    "grid": lambda: plane(EPOCHS, replicates=3),
    "plane": lambda: image_planes(EPOCHS, replicates=3),
    "path": lambda: path(2, 3, EPOCHS, speed=True, curvature=True),
    "data": lambda: examples(EPOCHS, replicates=3),
    "geodesic": lambda: geodesics(replicates=3, epochs=EPOCHS),
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_a_replicate_that_diverged_is_left_out_and_the_figure_says_so(tmp_path, make):
    run = diverged(tmp_path, make(), {4: 50})
    for sheet in sheets(run):
        said = texts(sheet.figure)
        assert "1 of 3 replicates diverged (seed 4) and is left out" in said
        assert "nan" not in said.lower()
        assert sheet.data.epoch.values.tolist()[-1:] == [200] if "epoch" in sheet.data.dims else True


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_of_a_run_that_diverged_throughout_the_finite_checkpoints_are_drawn(tmp_path, make):
    run = diverged(tmp_path, make(), {3: 10, 4: 200, 5: 200})
    for sheet in sheets(run):
        said = texts(sheet.figure)
        assert "all 3 replicates diverged: drawn up to epoch 50, the last with finite weights (2 replicates)" in said
        assert "nan" not in said.lower()
        assert 200 not in sheet.data.get("epoch", sheet.data.get("shown_epoch", np.array([]))).values


def test_a_single_replicate_that_diverged_is_drawn_until_then(tmp_path):
    run = diverged(tmp_path, plane(EPOCHS, replicates=1), {3: 200})
    assert "; the replicate diverged: drawn up to epoch 50" in texts(through_training(run, 1).figure)


def test_the_panels_of_a_replicate_are_those_at_which_it_was_finite(tmp_path):
    run = diverged(tmp_path, plane(EPOCHS, replicates=2), {3: 50, 4: 50})
    data = through_training(run, 1).data
    assert data.shown_epoch.values.tolist() == [0, 10]
    assert np.isfinite(data.log_volume_element).all()


def test_statistics_are_those_of_the_replicates_that_did_not_diverge(tmp_path):
    healthy = through_training(made_run(tmp_path, plane(EPOCHS, replicates=2)), 1).data
    sick = through_training(diverged(tmp_path, plane(EPOCHS, replicates=3), {5: 50}), 1).data
    names = [name for name in healthy if "correlation" in name or "contrast" in name]
    assert len(names) > 8
    assert sick[names].equals(healthy[names])


def test_a_replicate_whose_loss_overflows_at_the_end_is_left_out_though_its_weights_are_finite(tmp_path):
    run = diverged(tmp_path, plane(EPOCHS, replicates=3), {})
    run.info["diverged"] = [{"replicate": 5, "epoch": 200}]
    assert networks_shown(run)[0].replicate.values.tolist() == [3, 4]
    run.info["diverged"] = [{"replicate": seed, "epoch": 200} for seed in (3, 4, 5)]
    shown, words = networks_shown(run)
    assert shown.equals(run.geometry)
    assert "all 3 replicates diverged" in words


def test_a_run_that_was_interrupted_after_it_diverged_is_drawn_like_one_that_is_over(tmp_path):
    run = diverged(tmp_path, plane(EPOCHS, replicates=3), {4: 50})
    del run.info["diverged"], run.info["replicates"]
    assert networks_shown(run)[0].replicate.values.tolist() == [3, 5]


def test_a_bottleneck_is_no_divergence(tmp_path):
    geometry = plane(EPOCHS)
    geometry["log_volume_element"][:] = -np.inf
    assert networks_shown(made_run(tmp_path, geometry)) == (geometry, "")


def test_the_representative_is_one_that_did_not_diverge(tmp_path):
    run = diverged(tmp_path, plane(EPOCHS, replicates=3), {4: 50})
    run.info["replicates"] = [{"replicate": seed, "solved": False} for seed in (3, 4, 5)]
    assert representative(run) == 3  # seed 4 was the most accurate
    assert str(final_scores(run)[4]) == "diverged"


def test_more_replicates_that_diverged_than_a_title_holds_are_counted(tmp_path):
    run = diverged(tmp_path, plane(replicates=9), dict.fromkeys(range(3, 11), 10))
    assert networks_shown(run)[1] == "; 8 of 9 replicates diverged and are left out"


def test_the_losses_beside_a_film_are_on_a_scale_for_those_that_did_not_diverge(tmp_path):
    run = diverged(tmp_path, plane(EPOCHS), {4: 200})
    run.history.loc[(run.history.replicate == 4) & (run.history.epoch == 50), "loss"] = 1e199
    low, high = Film(run, 1).curve.get_ylim()
    assert low < 1 / 201 < 1 < high < 10


def test_a_film_ends_where_the_last_replicate_diverged(tmp_path):
    film = Film(diverged(tmp_path, plane(EPOCHS), {3: 200, 4: 50}), 1)
    assert film.curve.get_xlim() == (0, 50)
    assert (film.seed, film.epochs) == (3, [0, 10, 50])
    assert film.curve.get_yscale() == "log"
    with pytest.raises(ConfigError, match=r"at least 2 checkpoints\. Got 1; all 2 replicates diverged: drawn up to "):
        animate(diverged(tmp_path, plane(EPOCHS), {3: 10, 4: 10}))
