"""Arrays of images as a table: their shape, their bytes, and shapes that are no images'."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from table_files import config, refusal, task_of

from nngeom_cli.config.run import config_hash
from nngeom_cli.tables.table_file import located

Y = np.arange(6) % 2
GREY = np.random.default_rng(0).integers(0, 256, (6, 4, 5), dtype=np.uint8)
COLOURED = np.random.default_rng(1).normal(size=(6, 3, 4, 5))
PATHS = {"kind": "path", "pairs": [[0, 1]], "endpoints": "class", "steps": 2, "top_k": 2}


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """Writes arrays to a file, for a run that measures along paths."""
    monkeypatch.setattr("table_files.PROBE", {**PATHS, "layers": [1], "checkpoints": []})

    def save(**arrays):
        np.savez(tmp_path / "images.npz", **arrays)
        return tmp_path / "images.npz"

    return save


def test_grey_bytes_become_numbers_from_0_to_1_and_keep_their_shape(saved):
    task = task_of(saved(X=GREY, y=Y), kind="npz", standardize=None)
    assert (task.inputs.numpy() == GREY.reshape(6, 20) / 255).all()
    assert task.image_shape == (1, 4, 5)


@pytest.mark.parametrize("dtype", ["f4", ">f8", "i2", "u2"])
def test_other_numbers_of_images_stay_as_they_are(saved, dtype):
    images = (100 * COLOURED).astype(dtype)
    task = task_of(saved(X=images, y=Y), kind="npz", standardize=None)
    assert (task.inputs.numpy().reshape(images.shape) == images).all()
    assert task.image_shape == (3, 4, 5)


def test_images_are_standardized_where_that_is_asked_for_and_columns_unless_it_is_not(saved):
    images = task_of(saved(X=COLOURED, y=Y), kind="npz", standardize=True)
    columns = task_of(saved(X=COLOURED.reshape(6, -1), y=Y), kind="npz", standardize=None)
    for task in (images, columns):
        np.testing.assert_allclose(task.inputs.std(dim=0, correction=0).numpy(), 1, rtol=1e-12)
    assert (images.image_shape, columns.image_shape) == ((3, 4, 5), None)


def test_the_columns_of_a_matrix_are_images_if_their_shape_is_given(saved):
    path = saved(X=GREY.reshape(6, 20), y=Y)
    task = task_of(path, kind="npz", standardize=None, image_shape=[4, 5])
    assert (task.inputs.numpy() == GREY.reshape(6, 20) / 255).all()
    assert task.image_shape == (1, 4, 5)
    assert task_of(path, kind="npz").image_shape is None


def test_shape_and_scale_are_saved_with_the_run_and_change_its_hash(saved):
    path = saved(X=GREY, y=Y)
    found = located(config(path, kind="npz", standardize=None), Path.cwd())
    assert (found.task.image_shape, found.task.standardize) == ([1, 4, 5], False)
    assert located(found, Path.cwd()) == found
    without = replace(found, task=replace(found.task, image_shape=None))
    assert config_hash(found) != config_hash(without)


def test_chosen_columns_of_images_are_columns(saved):
    task = task_of(saved(X=GREY, y=Y), kind="npz", columns=["X1", "X0", "X7"])
    assert (task.inputs.numpy() == GREY.reshape(6, 20)[:, [1, 0, 7]]).all()
    assert task.image_shape is None


WRONG = {
    "channels last": (
        {"X": COLOURED.transpose(0, 2, 3, 1), "y": Y},
        {},
        "Got X of shape (6, 4, 5, 3) in FILE. Put the channels first: X=X.transpose(0, 3, 1, 2).",
    ),
    "five axes": ({"X": COLOURED[None], "y": Y[:1]}, {}, "Got X of shape (1, 6, 3, 4, 5) in FILE. Save one row"),
    "no pixels": ({"X": GREY[:, :0], "y": Y}, {}, "Got X of shape (6, 0, 5) in FILE."),
    "something beside them": ({"X": GREY, "z": Y, "y": Y}, {}, "`task.columns` must be given where X holds images and"),
    "images as labels": ({"y": Y, "X": GREY}, {}, "`task.label` must be given where the last array is no vector."),
    "no labels": ({"X": GREY}, {}, "Got null for X. Save the classes with them: numpy.savez('points.npz', X=X, y=y)."),
    "another shape": (
        {"X": COLOURED, "y": Y},
        {"image_shape": [4, 5, 3]},
        "`task.image_shape` must be [3, 4, 5], that of the images in the file. Got [4,5,3].",
    ),
    "a shape of more pixels": (
        {"X": GREY.reshape(6, 20), "y": Y},
        {"image_shape": [5, 5]},
        "`task.image_shape` must be the shape of 20 pixels, as many as there are input columns. Got [5,5].",
    ),
    "a side of nothing": ({"X": GREY, "y": Y}, {"image_shape": [0, 5]}, "must be two or three positive integers"),
    "a value that is missing": (
        {"X": np.where(COLOURED > 2, np.nan, COLOURED), "y": Y},
        {},
        "`task.columns` must be columns of finite numbers. Got nan in column X",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_are_no_images_is_refused(saved, name):
    arrays, keys, said = WRONG[name]
    path = saved(**arrays)
    assert said in refusal(path, kind="npz", **keys).replace(str(path), "FILE")
