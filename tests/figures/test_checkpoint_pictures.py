"""A picture of each checkpoint, on common scales, drawn beside training and again at its end."""

import multiprocessing
import os
import signal

import numpy as np
import pytest
from made_runs import examples, image_planes, made_run, path, plane, write_run
from matplotlib.colors import to_rgb
from PIL import Image
from small_runs import config

from nngeom_cli.errors import ConfigError
from nngeom_cli.figures import draw_figures
from nngeom_cli.figures.checkpoints import Pictures
from nngeom_cli.figures.naming import Names
from nngeom_cli.figures.style import BOUNDARY_COLOUR, MISSING_COLOUR, style
from nngeom_cli.runs import live
from nngeom_cli.runs.live import draw_all
from nngeom_cli.runs.run import run
from nngeom_cli.store.run import load_run


def pixels(picture):
    return np.asarray(picture, dtype=int)


def near(picture, colour):
    return (abs(pixels(picture) - np.round(255 * np.array(to_rgb(colour)))).sum(axis=-1) < 30).sum()


@pytest.mark.parametrize("geometry", [plane, path, image_planes])
def test_each_checkpoint_has_a_picture_and_drawing_again_gives_the_same_bytes(tmp_path, geometry):
    made = made_run(tmp_path, geometry(epochs=(0, 10, 200)))
    made.config["probe"] = {"corners": "index"}
    drawn = draw_figures(made)
    folder = tmp_path / "figures" / "checkpoints"
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == [f"epoch-{epoch:06d}.png" for epoch in (0, 10, 200)]
    assert not {*files} & {*drawn}
    before = [file.read_bytes() for file in files]
    assert len({*before}) == 3
    with Image.open(files[0]) as picture:
        assert picture.info["Command"] == "nngeom run task=made"
    draw_figures(made)
    assert [file.read_bytes() for file in files] == before


def test_they_can_be_left_out_and_a_run_at_examples_has_none(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    made = made_run(tmp_path / "a", plane())
    made.config["figures"] = {"checkpoints": False}
    draw_figures(made)
    draw_figures(made_run(tmp_path / "b", examples(epochs=(0, 30))))
    assert not [*tmp_path.glob("*/figures/checkpoints")]


def test_a_link_in_their_place_is_refused(tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "checkpoints").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="checkpoints"):
        draw_figures(made_run(tmp_path, plane()))


def test_a_picture_shows_its_own_checkpoint(tmp_path):
    geometry = plane(epochs=(0, 200))
    for name in ("log_volume_element", "ricci_scalar"):
        geometry[name].loc[{"epoch": 200, "x": slice(None, 0)}] = np.nan
    geometry["margin"].loc[{"epoch": 0}] = 1.0
    with style():
        pictures = Pictures(geometry, 3, "geometric", Names())
        first, last, again = (pictures.draw(geometry.sel(epoch=epoch), f"epoch {epoch}") for epoch in (0, 200, 0))
    assert np.array_equal(pixels(first), pixels(again))  # nothing of one stays on the next
    assert near(first, MISSING_COLOUR) * 50 < near(last, MISSING_COLOUR)
    assert near(first, BOUNDARY_COLOUR) == 0 < near(last, BOUNDARY_COLOUR)


def test_the_drawing_process_draws_what_has_come_until_it_is_left(tmp_path):
    directory = write_run(tmp_path / "run", plane(epochs=(0, 10, 200)), losses=(0.1, 0.2))
    receiver, sender = multiprocessing.Pipe(duplex=False)
    for epoch in (0, 10):
        sender.send((str(directory), epoch, 0.25))
    sender.close()
    with pytest.raises(EOFError):
        draw_all(receiver, 3, "geometric")
    files = sorted((directory / "figures" / "checkpoints").iterdir())
    assert [file.name for file in files] == ["epoch-000000.png", "epoch-000010.png"]
    draw_figures(load_run(directory))
    assert len([*files[0].parent.iterdir()]) == 3


@pytest.mark.skipif(not live.FORKS, reason="processes are forked on Linux only")
def test_training_goes_on_whatever_becomes_of_the_drawing_process(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "START_SECONDS", -1.0)
    monkeypatch.setattr(live, "draw_all", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    run(config(figures__draw=True), tmp_path, command="test")
    assert load_run(tmp_path).status == "complete"
    assert multiprocessing.active_children() == []
    assert len([*(tmp_path / "figures" / "checkpoints").iterdir()]) == 3
