"""Files of figures: which there are, what they carry, and what is chosen to be shown."""

import multiprocessing
import os
import signal
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import xarray as xr
from made_runs import made_run, path, plane, texts
from PIL import Image

from nngeom_cli.analysis.grid import grid_statistics
from nngeom_cli.errors import LostProcessError
from nngeom_cli.figures import draw as figures
from nngeom_cli.figures import draw_figures
from nngeom_cli.figures.input_plane import through_training
from nngeom_cli.figures.path import along_paths
from nngeom_cli.figures.selection import FinalScore, final_scores, percent, representative, stages
from nngeom_cli.figures.style import style
from nngeom_cli.store.run import load_run
from nngeom_cli.store.run_directory import RunDirectory

CONFIG = {"optimizer": {"epochs": 8}, "probe": {"checkpoints": list(range(9))}}


def test_a_folder_of_any_name_has_figures(tmp_path):
    run = made_run(Path(os.fsdecode(bytes(tmp_path) + b"/a\xff\x1b[2J")), plane(replicates=1))
    run.directory.mkdir()
    (file,) = draw_figures(run)
    assert file.is_file()
    with Image.open(file) as picture:
        assert picture.text["Run"] == r"a\udcff\x1b[2J"


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
    assert final_scores(run)[4] == FinalScore(0.9, None)
    assert "solved" not in texts(through_training(run, 1).figure)


def test_100_percent_is_said_of_all_only():
    assert [percent(a) for a in (1.0, 0.9996, 0.84, 0.125)] == ["100%", "99.9%", "84%", "12.5%"]


def levels(*values):
    return [np.array([value, np.nan]) for value in values]


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        (levels(*range(101)), [0, 20, 40, 60, 80, 100]),  # steady change
        (levels(0, 7), [0, 1]),
        (levels(3), [0]),
        (levels(0, 0, 0, 1, 2, 3, 4, 5, 5, 5, 5), [0, 3, 4, 5, 6, 10]),  # only where something happens
        (levels(0, 0, 0, 1, 2, 2, 2, 2, 2, 2, 2), [0, 3, 4, 10]),  # as few as four, if there is no more to see
        (levels(0, -1, 0, -1, 0, -1), [0, 1, 2, 3, 4, 5]),  # change counts, not where it leads
        (levels(*[2.0] * 11), [0, 2, 4, 6, 8, 10]),
        (levels(*[np.nan] * 11), [0, 2, 4, 6, 8, 10]),
    ],
)
def test_stages_of_training_lie_at_equal_steps_of_change(fields, shown):
    assert stages(fields, 4, 6) == shown


def test_figures_are_written_whole_with_what_made_them(tmp_path, fine_pictures):
    drawn = draw_figures(made_run(tmp_path, plane(epochs=(200,), replicates=1)))
    assert drawn == [tmp_path / "figures" / "grid-layer-1.png"]
    assert {p.name for p in (tmp_path / "figures").iterdir()} == {
        "checkpoints",
        *(f"grid-layer-1.{kind}" for kind in ("png", "pdf", "nc")),
    }
    with Image.open(drawn[0]) as image:
        assert image.info["dpi"] == pytest.approx((200, 200), abs=0.1)
        for key, value in {
            "Command": "nngeom run task=made",
            "ConfigHash": "c0ffee",
            "Seeds": "3",
            "Version": "nngeom 1.2.3",
        }.items():
            assert image.info[key] == value
        assert "unit 2-sphere has R = +2" in image.info["Convention"]
    pdf = drawn[0].with_suffix(".pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    for words in (b"Command: nngeom run task=made", b"ConfigHash: c0ffee", b"Seeds: 3;", b"R = +2"):
        assert words in pdf
    assert b"/Subtype /Image" in pdf
    fonts = pdf.count(b"/Type /Font /Subtype /Type0")  # editable text
    assert fonts in (2, 3)  # plain and bold; from matplotlib 3.11 on, what is beyond Latin-1 apart


def test_figures_of_several_runs_share_a_directory_and_carry_a_note(tmp_path):
    place = tmp_path / "all"
    quick = draw_figures(made_run(tmp_path / "one", path()), directory=place, name="sigmoid", note="QUICK: 1 % of it")
    draw_figures(made_run(tmp_path / "two", path()), directory=place, name="softplus")
    names = ("path-layer-1", "path-layer-1-peaks")
    assert quick == [place / f"sigmoid-{name}.png" for name in names]
    assert {file.stem for file in place.iterdir()} == {
        f"{run}-{name}" for run in ("sigmoid", "softplus") for name in names
    }
    assert not (tmp_path / "one").exists()
    with Image.open(quick[0]) as image:
        assert image.info["Title"] == "sigmoid-path-layer-1 of one"


@pytest.mark.parametrize(("draw", "geometry"), [(through_training, plane), (along_paths, path)])
def test_a_note_stands_above_everything_else_and_moves_nothing(tmp_path, draw, geometry):
    run = made_run(tmp_path, geometry())
    with style():
        plain, noted = draw(run, 1), draw(run, 1, note="QUICK: 1 % of the epochs")
        for sheet in (plain, noted):
            sheet.figure.draw_without_rendering()  # a colour bar with arrows takes its place
    (note,) = [text for text in noted.figure.texts if text.get_text().startswith("QUICK")]
    low = note.get_window_extent().y0
    others = [text for text in noted.figure.texts if text is not note]
    assert all(text.get_window_extent().y1 <= low for text in others)
    assert note.get_window_extent().y1 <= noted.figure.bbox.y1
    for one, other in zip(plain.figure.axes, noted.figure.axes, strict=True):
        inches = [axes.get_position().y0 * sheet.height for axes, sheet in ((one, plain), (other, noted))]
        assert inches[0] == pytest.approx(inches[1])


@pytest.mark.parametrize("cores", [1, 2, 9])
def test_path_figure_is_written_and_drawing_again_gives_the_same_bytes(tmp_path, cores, fine_pictures):
    run = made_run(tmp_path, path())
    drawn = draw_figures(run)
    files = [path.with_suffix(f".{kind}") for path in drawn for kind in ("png", "pdf", "nc")]
    assert drawn == [tmp_path / "figures" / f"path-layer-1{name}.png" for name in ("", "-peaks")]
    before = [file.read_bytes() for file in files]
    assert draw_figures(run, cores=cores) == drawn
    assert [file.read_bytes() for file in files] == before


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
def test_a_process_that_draws_and_is_killed_is_a_sentence_and_leaves_none(tmp_path, monkeypatch):
    run = made_run(tmp_path, path())
    monkeypatch.setattr(figures, "save", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(LostProcessError, match=r"killed \(SIGKILL\).* for lack of memory.* NNGEOM_CORES=1") as caught:
        draw_figures(run, cores=2)
    assert f"`nngeom figures {tmp_path}` draws them again." in str(caught.value)
    assert multiprocessing.active_children() == []
    monkeypatch.undo()
    assert draw_figures(run, cores=2)


def test_a_picture_that_an_earlier_version_drew_is_brought_up_to_date(tmp_path):
    (tmp_path / "figures").mkdir()
    old = tmp_path / "figures" / "plane-layer-1.png"
    old.write_text("of before")
    made = made_run(tmp_path, plane(epochs=(200,), replicates=1))
    (drawn,) = draw_figures(made)
    assert old.read_bytes() == drawn.read_bytes()
    old.unlink()
    draw_figures(made)
    assert not old.exists()


@pytest.mark.parametrize("formats", [["svg"], ["pdf", "png"]])
def test_figures_have_the_formats_that_are_asked_for(tmp_path, formats):
    made = made_run(tmp_path, plane(epochs=(200,), replicates=1))
    made.config["figures"] = {"format": formats, "checkpoints": False}
    (drawn,) = draw_figures(made)
    assert drawn.name == f"grid-layer-1.{formats[0]}"
    assert {file.suffix[1:] for file in drawn.parent.iterdir()} == {*formats, "nc"}
    before = drawn.read_bytes()
    assert draw_figures(made) == [drawn]
    assert drawn.read_bytes() == before
    if formats == ["svg"]:
        assert b"Command: nngeom run task=made" in before
        assert b"<text" in before  # that can be edited


def test_the_numbers_lie_beside_the_picture(tmp_path):
    geometry = plane(replicates=3)
    drawn = draw_figures(made_run(tmp_path, geometry))
    training, end = (xr.load_dataset(path.with_suffix(".nc"), engine="h5netcdf") for path in drawn)
    assert (training.attrs["ConfigHash"], training.attrs["shown_replicate"]) == ("c0ffee", 4)
    fields = training.log_volume_element.rename(shown_epoch="epoch")
    assert np.array_equal(fields, geometry.log_volume_element.sel(replicate=4))
    expected = grid_statistics(geometry).volume_band_contrast.sel(boundary="final")
    assert np.array_equal(training.volume_band_contrast.transpose(*expected.dims), expected)
    assert np.allclose(training.volume_band_contrast_estimate, expected.mean("replicate").transpose("layer", "epoch"))
    assert np.array_equal(end.ricci_scalar, geometry.ricci_scalar.sel(epoch=200))


@pytest.mark.parametrize(
    ("replicates", "names"),
    [
        (1, ["grid-layer-1", "grid-layer-2"]),
        (2, ["grid-layer-1", "grid-layer-1-replicates", "grid-layer-2", "grid-layer-2-replicates"]),
    ],
)
def test_each_layer_has_a_figure_through_training_and_one_of_its_replicates(tmp_path, monkeypatch, replicates, names):
    monkeypatch.setattr(figures, "save", lambda _figure, directory, name, _about, _formats: directory / name)
    drawn = draw_figures(made_run(tmp_path, plane(epochs=(0,), layers=(1, 2), replicates=replicates)))
    assert drawn == [tmp_path / "figures" / name for name in names]


def test_paths_with_a_speed_have_a_figure_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "save", lambda _figure, directory, name, _about, _formats: directory / name)
    drawn = draw_figures(made_run(tmp_path, path(speed=True)))
    assert drawn == [
        tmp_path / "figures" / name for name in ("path-layer-1", "path-layer-1-peaks", "path-layer-1-speed")
    ]


def test_paths_with_a_curvature_have_a_figure_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "save", lambda _figure, directory, name, _about, _formats: directory / name)
    drawn = draw_figures(made_run(tmp_path, path(curvature=True)))
    assert drawn[-1] == tmp_path / "figures" / "path-layer-1-curvature"
    assert len(drawn) == 3


def test_a_run_of_another_kind_is_refused(tmp_path):
    geometry = plane().assign_attrs(kind="cube")
    with pytest.raises(
        ValueError, match=r"`probe.kind` must be grid, path, geodesic, plane or data to be drawn\. Got cube\."
    ):
        draw_figures(made_run(tmp_path, geometry))


def test_drawing_changes_no_global_setting(tmp_path):
    before = dict(matplotlib.rcParams)
    with style():
        assert dict(matplotlib.rcParams) != before
    draw_figures(made_run(tmp_path, path()))
    assert dict(matplotlib.rcParams) == before


def test_figures_of_many_checkpoints_are_of_some_and_say_so(tmp_path, monkeypatch):
    geometry = plane(epochs=range(9)).assign_attrs(box=[-1, 1, -1, 1])
    made = made_run(tmp_path, geometry)
    store = RunDirectory(tmp_path, {"id": "0" * 32, "config": CONFIG, "replicates": made.info["replicates"]})
    for epoch in range(9):
        store.write_geometry(epoch, geometry.sel(epoch=epoch))
    store.history.add(made.history)
    store.write_history()
    store.write_manifest()
    store.update(status="complete")
    monkeypatch.setattr(figures, "MOST_CHECKPOINTS_DRAWN", 3)
    files = draw_figures(load_run(tmp_path))
    with xr.open_dataset(files[0].with_suffix(".nc")) as drawn:
        assert drawn.volume_band_contrast.epoch.values.tolist() == [0, 4, 8]
    sheet = through_training(load_run(tmp_path).drawable(3), 1)
    assert "3 of 9 checkpoints" in texts(sheet.figure)
