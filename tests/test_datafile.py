"""A user's own table: what is read is what was written, and what cannot be used is refused in one sentence."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from nngeom_cli.cli import main
from nngeom_cli.config import load_config
from nngeom_cli.datafile import located
from nngeom_cli.errors import ConfigError
from nngeom_cli.store import load_run
from nngeom_cli.tasks import make_task

X = np.array([[0.5, -1.0], [2.0, 3.5], [1e3, 1e-3], [-4.0, 0.0]])
WORDS = ["dog", "cat", "dog", "cat"]


def config(path, *, kind="csv", **task):
    keys = {"columns": None, "label": None, "class_names": None, "standardize": False, "rows": None, "sha256": None}
    sgd = {"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0, "epochs": 1, "batch_size": None}
    grid = {"kind": "grid", "layers": [1], "resolution": 5, "window": None, "checkpoints": []}
    return load_config(
        {
            "task": {"name": kind, "path": str(path), **keys, **task},
            "architecture": {"hidden": [4], "activation": "tanh"},
            "optimizer": sgd,
            "probe": grid,
            "seed": 0,
            "replicates": 1,
            "device": "cpu",
            "dtype": "float64",
        }
    )


def task_of(path, **keys):
    return make_task(located(config(path, **keys), Path.cwd()).task)


def refusal(path, **keys):
    with pytest.raises(ConfigError) as caught:
        located(config(path, **keys), Path.cwd())
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
def test_points_and_words_come_back_as_they_were_written(tmp_path, separator):
    path = tmp_path / "points.csv"
    pd.DataFrame({"x": X[:, 0], "y": X[:, 1], "animal": WORDS}).to_csv(path, sep=separator, index=False)
    task = task_of(path)
    assert (task.inputs.numpy() == X).all()
    assert task.labels.tolist() == [1, 0, 1, 0]
    assert task.outputs == 2


def test_columns_and_label_are_chosen_by_name_and_classes_by_order(tmp_path):
    path = tmp_path / "points.csv"
    pd.DataFrame({"animal": WORDS, "x": X[:, 0], "name": list("abcd"), "y": X[:, 1]}).to_csv(path, index=False)
    task = task_of(path, label="animal", columns=["y", "x"], class_names=["dog", "cat"])
    assert (task.inputs.numpy() == X[:, ::-1]).all()
    assert task.labels.tolist() == [0, 1, 0, 1]


def test_a_file_without_names_has_numbered_columns(tmp_path):
    path = tmp_path / "points.txt"
    np.savetxt(path, np.column_stack([X, [7, 3, 7, 3]]))
    pinned = located(config(path), tmp_path).task
    assert (pinned.columns, pinned.label, pinned.class_names) == (["0", "1"], "2", ["3", "7"])
    assert (make_task(pinned).inputs.numpy() == X).all()
    assert task_of(path, label=2, columns=[1, 0]).inputs.tolist() == X[:, ::-1].tolist()


def test_the_index_that_pandas_writes_is_no_input(tmp_path):
    path = tmp_path / "points.csv"
    pd.DataFrame({"x": X[:, 0], "y": X[:, 1], "animal": WORDS}).to_csv(path)
    assert located(config(path), tmp_path).task.columns == ["x", "y"]


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([10, 9, 10, 9], ["9", "10"]),
        ([1.0, 0.0, 1.0, 0.0], ["0", "1"]),
        ([True, False, True, False], ["False", "True"]),
        (["NA", "FR", "NA", "FR"], ["FR", "NA"]),
        ([0.5, -0.5, 0.5, -0.5], ["-0.5", "0.5"]),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["csv", "npz"])
def test_any_labels_become_classes(tmp_path, labels, names, kind):
    path = tmp_path / "points"
    if kind == "csv":
        pd.DataFrame({"x": X[:, 0], "y": X[:, 1], "l": labels}).to_csv(path, index=False)
    else:
        with path.open("wb") as file:
            np.savez(file, X=X, l=np.array(labels))
    pinned = located(config(path, kind=kind), tmp_path).task
    assert pinned.class_names == names
    assert make_task(pinned).labels.tolist() == [1, 0, 1, 0]
    assert (make_task(pinned).inputs.numpy() == X).all()


def test_standardized_columns_have_mean_0_and_deviation_1_over_the_training_examples(tmp_path):
    path = tmp_path / "points.csv"
    values = np.random.default_rng(0).normal([5, -2, 1], [100, 0.1, 0], (40, 3))
    pd.DataFrame(values).assign(l=[0, 1] * 20).to_csv(path, index=False)
    chosen = {"columns": ["0", "2"], "test_fraction": 0.25}
    task, raw = task_of(path, standardize=True, **chosen), task_of(path, **chosen)
    assert task.inputs.mean(dim=0).abs().max() < 1e-12
    assert task.inputs.std(dim=0, correction=0).tolist() == pytest.approx([1, 0])
    shift, scale = raw.inputs.mean(dim=0), raw.inputs.std(dim=0, correction=0)
    torch.testing.assert_close(task.test[0][:, 0], ((raw.test[0] - shift) / scale)[:, 0])


WRONG = {
    "": "`task.path` must be a table. Got {path}, whose first line is empty.",
    "x,y,l\n": "`task.path` must have at least one row of numbers. Got {path} with none.",
    "x,y,l\n1,2,a\n1,2,3,b\n": "`task.path` must be text with equally many columns in each row. Got {path}: "
    "Expected 3 fields in line 3, saw 4.",
    "x,y,l\n1,2,a\n1,2\n": "`task.label` must be a column with a class in each row. Got nothing in column l, row 2.",
    "x,y,l\n1,,a\n1,2,b\n": "`task.columns` must be columns of finite numbers. Got nothing in column y, row 1.",
    "x,y,l\n1,2,a\n1,nan,b\n": "`task.columns` must be columns of finite numbers. Got nan in column y, row 2.",
    "x,y,l\n1,2,a\n1,inf,b\n": "`task.columns` must be columns of finite numbers. Got inf in column y, row 2.",
    "x,y,l\n1,2,a\nabc,2,b\n": "`task.columns` must be columns of finite numbers. Got abc in column x, row 2.",
    "x,y,l\n1,2,a\n3,4,a\n": "`task.label` must be a column of two classes or more, each of several rows. "
    "Got one value in the 2 rows of column l.",
    "x,y,l\n1,2,.1\n3,4,.2\n5,6,.3\n": "`task.label` must be a column of two classes or more, each of several rows. "
    "Got 3 different values in the 3 rows of column l.",
    "x,x,l\n1,2,a\n3,4,b\n": "`task.path` must be a table with different names of columns. Got [x,x,l].",
    "x\n1\n2\n": "`task.path` must be a table of at least two columns. Got [x].",
    "\xff\xfe\x00": "`task.path` must be text with equally many columns in each row. Got {path}: ",
    "x,y,z,l\n1,2,3,a\n4,5,6,b\n": "`probe.kind` must be path or plane for task=csv, whose inputs have 3 dimensions. "
    "Got grid. Choose probe=path.",
}


@pytest.mark.parametrize("text", WRONG, ids=repr)
def test_a_malformed_csv_is_refused_in_one_sentence(tmp_path, text):
    path = tmp_path / "points.csv"
    path.write_bytes(text.encode("latin-1"))
    assert refusal(path).startswith(WRONG[text].format(path=path))


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        (
            {"X": X, "y": [0, 1, 0]},
            "`task.path` must be arrays with equally many rows, at least one. Got {X0: 4, X1: 4",
        ),
        ({"X": X[None], "y": [0]}, "`task.path` must hold vectors and matrices. Got X of shape (1, 4, 2)"),
        ({"X": X * 1j, "y": [0, 1, 0, 1]}, "`task.path` must hold numbers and strings. Got X of type complex128"),
        ({"X": np.array([None, 1])}, "`task.path` must be a file of numpy.savez, of numbers and strings only. Got "),
        ({}, "`task.path` must be arrays with equally many rows, at least one. Got {}."),
    ],
    ids=["lengths", "shape", "complex", "objects", "empty"],
)
def test_a_malformed_npz_is_refused_in_one_sentence(tmp_path, arrays, sentence):
    path = tmp_path / "points.npz"
    np.savez(path, **arrays)
    assert refusal(path, kind="npz").startswith(sentence)


def test_a_file_that_is_no_npz_is_refused(tmp_path):
    path = tmp_path / "points.npz"
    path.write_text("hello")
    assert refusal(path, kind="npz").startswith(
        "`task.path` must be a file of numpy.savez, of numbers and strings only."
    )


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"label": "anmal"}, "`task.label` must name columns of points.csv. Got anmal. Did you mean `animal`?"),
        ({"columns": ["q"]}, "`task.columns` must name columns of points.csv. Got q. points.csv has [x,y,animal]."),
        ({"class_names": ["dog", "emu"]}, "`task.class_names` must have every value of column animal. Got [dog,emu] "),
    ],
    ids=str,
)
def test_names_that_the_file_does_not_have_are_refused(tmp_path, keys, sentence):
    path = tmp_path / "points.csv"
    pd.DataFrame({"x": X[:, 0], "y": X[:, 1], "animal": WORDS}).to_csv(path, index=False)
    assert refusal(path, **keys).startswith(sentence)


def test_keys_that_contradict_each_other_are_refused_without_the_file():
    for keys, key in [
        ({"columns": []}, "task.columns"),
        ({"columns": ["x", "x"]}, "task.columns"),
        ({"columns": ["x"], "label": "x"}, "task.label"),
        ({"class_names": ["a"]}, "task.class_names"),
        ({"rows": 0}, "task.rows"),
        ({"path": None}, "task.path"),
    ]:
        with pytest.raises(ConfigError, match=f"`{key}` must be"):
            replace(config("nowhere.csv").task, **keys)


def test_a_changed_file_is_refused(tmp_path):
    path = tmp_path / "points.csv"
    frame = pd.DataFrame({"x": X[:, 0], "y": X[:, 1], "animal": WORDS})
    frame.to_csv(path, index=False)
    saved = asdict(located(config(path), tmp_path))
    make_task(load_config(saved).task)
    frame.assign(x=frame.x + 1).to_csv(path, index=False)
    with pytest.raises(ConfigError, match=r"`task\.path` must be the file of task\.sha256.*which has changed"):
        make_task(load_config(saved).task)


def test_other_tasks_have_nothing_to_locate(tmp_path):
    plain = replace(config("points.csv"), task=load_config(XOR).task)
    assert located(plain, tmp_path) is plain


XOR = {
    **asdict(config("points.csv")),
    "task": {"name": "xor"},
}


@pytest.fixture
def points(tmp_path, monkeypatch):
    """A folder with points.csv, three classes of two dimensions, in which commands are typed."""
    random = np.random.default_rng(0)
    labels = np.arange(90) % 3
    centres = np.array([[0, 0], [200, 0], [0, 4]])[labels]
    frame = pd.DataFrame(centres + random.normal(0, [20, 0.4], (90, 2)), columns=["length", "mass"])
    frame.assign(kind=np.array(["ant", "bee", "cow"])[labels]).to_csv(tmp_path / "points.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


SMALL = ["optimizer.epochs=3", "replicates=2", "probe.resolution=5", "probe.checkpoints=[]", "device=cpu"]


def test_a_newcomers_file_becomes_heatmaps_with_one_command(points, capsys):
    assert main(["run", "task=csv", "task.path=points.csv", "task.test_fraction=0.2", *SMALL]) == 0
    out = capsys.readouterr().out.splitlines()
    run = load_run(out[-1])
    assert "class 0 = ant, 1 = bee, 2 = cow" in out
    assert any(line.startswith("test accuracy by seed  0: ") for line in out)
    assert len(list((run.directory / "figures").glob("*.png"))) == 2
    task = run.config["task"]
    assert (task["path"], task["columns"]) == (str(points / "points.csv"), ["length", "mass"])
    assert len(task["sha256"]) == 64
    assert list(run.history.columns) == ["epoch", "replicate", "loss", "accuracy", "test_loss", "test_accuracy"]
    row = run.info["replicates"][0]
    assert row["test_accuracy"] == run.history.query("epoch == 3 and replicate == 0").test_accuracy.item()
    low, high = run.geometry.input.values.min(axis=0), run.geometry.input.values.max(axis=0)
    np.testing.assert_allclose([run.geometry.x[0], run.geometry.y[0]], low - (high - low) / 4)


def test_a_missing_file_is_refused_before_anything_is_written(points, capsys):
    assert main(["run", "task=csv", "task.path=pionts.csv"]) == 2
    assert capsys.readouterr().err == (
        f"nngeom: `task.path` must be a CSV file that can be read. Got {points / 'pionts.csv'}: No such file or "
        "directory. A relative path starts where the command is typed.\n"
    )
    assert [path.name for path in points.iterdir()] == ["points.csv"]


@pytest.mark.slow
def test_a_million_rows_train_in_mini_batches(points, capsys):
    random = np.random.default_rng(0)
    values = random.normal(size=(10**6, 2))
    frame = pd.DataFrame(values, columns=["x", "y"]).assign(l=(values[:, 0] > 0).astype(int))
    frame.to_csv("large.csv", index=False, float_format="%.4f")
    words = ["optimizer.epochs=1", "optimizer.batch_size=4096", "architecture.hidden=[4]"]
    assert main(["run", "task=csv", "task.path=large.csv", *SMALL[1:], *words]) == 0
    run = load_run(capsys.readouterr().out.splitlines()[-1])
    assert run.config["task"]["rows"] == 10**6
    assert "input" not in run.geometry
    assert run.history.accuracy.iloc[-1] > 0.9
