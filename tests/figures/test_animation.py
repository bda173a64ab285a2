"""The film of a run: a frame a checkpoint, as GIF, and as MP4 where ffmpeg is there."""

import os
import sys

import numpy as np
import pandas as pd
import pytest
from made_runs import made_run, path, plane, texts
from PIL import Image

from nngeom_cli.cli.entry import main
from nngeom_cli.errors import ConfigError, system_words
from nngeom_cli.figures.animation import LAST, SECONDS, Film, animate
from nngeom_cli.figures.style import style


@pytest.fixture(autouse=True)
def _no_ffmpeg(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))


def test_a_gif_has_a_frame_for_each_checkpoint_and_they_differ(tmp_path):
    (file,) = animate(made_run(tmp_path, plane(epochs=(0, 10, 200))))
    assert file == tmp_path / "figures" / "animation.gif"
    with Image.open(file) as film:
        assert film.n_frames == 3
        pictures, stays = [], []
        for frame in range(3):
            film.seek(frame)
            stays.append(film.info["duration"])
            pictures.append(np.asarray(film.convert("RGB")))
    assert stays[-1] > stays[0] > 0
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[1], pictures[2])


def test_a_frame_shows_its_own_epoch_and_boundary_on_the_scales_of_all(tmp_path):
    with style():
        film = Film(made_run(tmp_path, plane(epochs=(0, 10, 200))), 1)
        shown = []
        for place in range(3):
            film.show(place)
            (image,) = film.panels[0].images
            shown.append((texts(film.sheet.figure), film.now.get_xdata()[0], image.norm.vmin, image.norm.vmax))
    for (words, line, *scale), epoch in zip(shown, (0, 10, 200), strict=True):
        assert f"epoch {epoch}" in words
        assert "seed 4" in words
        assert line == epoch
        assert scale == list(shown[0][2:])


def test_no_curvature_and_missing_values_are_said_and_not_an_error(tmp_path):
    geometry = plane(hidden=2)
    geometry["ricci_scalar"][:] = 0
    geometry["log_volume_element"][0, :, :, :5] = np.nan
    with style():
        film = Film(made_run(tmp_path, geometry), 1)
        film.show(0)
    assert "R = 0" in texts(film.sheet.figure)
    assert len(animate(made_run(tmp_path, geometry))) == 1


def test_a_film_shows_the_losses_of_those_that_were_measured_whoever_else_is_in_the_history(tmp_path):
    run = made_run(tmp_path, plane())
    with style():
        before = len(Film(run, 1).curve.lines)
        strangers = [run.history.assign(replicate=100 + number) for number in range(200)]
        run.history = pd.concat([run.history, *strangers])
        assert len(Film(run, 1).curve.lines) == before > 2


def test_a_run_of_one_checkpoint_is_told_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match=r"at least 2 checkpoints\. Got 1\. Run it again with 'probe.checkpoints"):
        animate(made_run(tmp_path, plane(epochs=(0,))))


def test_a_run_along_paths_is_told_where_it_is_drawn(tmp_path):
    with pytest.raises(ConfigError, match=r"probe\.kind=grid\. Got path\. `nngeom figures` draws that\."):
        animate(made_run(tmp_path, path()))


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for ffmpeg is a shell script")
def test_where_ffmpeg_is_there_it_gets_each_frame(tmp_path, monkeypatch):
    script = tmp_path / "ffmpeg"
    script.write_text('#!/bin/sh\nfor last; do :; done\n/bin/cat > "$last"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    gif, mp4 = animate(made_run(tmp_path, plane(epochs=(0, 10))))
    with Image.open(gif) as film:
        width, height = film.size
    frames = 2 + round(LAST / SECONDS)
    assert mp4.stat().st_size == 4 * frames * (width - width % 2) * (height - height % 2)  # ffmpeg takes even sides


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for ffmpeg is a shell script")
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo half > $last; echo 'write failed: No space left on device' >&2; exit 228", "No space left on device"),
        ("/bin/cat > /dev/null; echo 'File too large' >&2; exit 1", "File too large"),
        ("kill -XFSZ $$", "File too large"),
        ("/bin/cat > /dev/null; echo 'Unknown encoder' >&2; exit 8", "Unknown encoder"),
        ("exit 7", "exit status 7"),
        ("exec <&-; /bin/sleep 0.2; exit 0", "exit status 0"),
    ],
)
def test_where_ffmpeg_fails_that_is_a_sentence_and_the_gif_is_there(tmp_path, monkeypatch, caplog, script, said):
    (tmp_path / "ffmpeg").write_text(f"#!/bin/sh\nfor last; do :; done\n{script}\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    with pytest.raises(OSError, match=said) as caught:
        animate(made_run(tmp_path, plane(epochs=(0, 10))))
    assert f"Got: {said}. " in system_words(caught.value)
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["animation.gif"]
    assert caplog.text == ""


@pytest.mark.parametrize("words", [[], ["--fast"], ["no/such/run"]])
def test_the_command_refuses_what_is_no_run_in_one_line(words, capsys):
    assert main(["animate", *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
