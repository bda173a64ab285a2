"""A user's own table: what is read is what was written, and what cannot be used is refused in one sentence."""

import hashlib
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import torch
from table_files import WORDS, X, config, refusal, task_of, written

from nngeom_cli.cli.entry import main
from nngeom_cli.config.loader import load_config
from nngeom_cli.config.run import config_hash
from nngeom_cli.errors import ConfigError
from nngeom_cli.store.run import load_run
from nngeom_cli.store.sweep import Sweep
from nngeom_cli.tables import table_file as datafile
from nngeom_cli.tables.table_file import located
from nngeom_cli.tables.unpacking import content_of
from nngeom_cli.tasks.make import make_task


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
    saved = asdict(located(config(written(tmp_path / "points.csv")), tmp_path))
    make_task(load_config(saved).task)
    written(tmp_path / "points.csv", shift=1)
    with pytest.raises(ConfigError, match=r"`task\.path` must be the file of task\.sha256.*which has changed"):
        make_task(load_config(saved).task)


def test_a_file_that_changed_in_its_last_seconds_is_not_taken_from_memory(tmp_path, monkeypatch):
    path = written(tmp_path / "points.csv")
    monkeypatch.setattr(datafile, "_state", lambda status: (status.st_size,))  # as on a drive with coarse times
    assert task_of(path).inputs[0, 0] == 0.5
    path.write_text(path.read_text().replace("0.5", "0.6"))
    assert task_of(path).inputs[0, 0] == 0.6


@pytest.fixture
def reads(monkeypatch):
    """The files that are read from here on; files count as old at once."""
    paths = []

    def counted(path):
        paths.append(path)
        return content_of(path)

    monkeypatch.setattr(datafile, "content_of", counted)
    monkeypatch.setattr(datafile, "SETTLED", -1)
    return paths


def test_a_file_is_read_once_while_it_stays_as_it_is(tmp_path, reads):
    path = written(tmp_path / "points.csv")
    for test_fraction in (0.0, 0.25):
        for _ in range(2):
            pinned = located(config(path, test_fraction=test_fraction), tmp_path).task
        make_task(pinned)
    assert reads == [path]
    written(path, shift=1)
    assert task_of(path).inputs[0, 0] == 1.5
    assert reads == [path, path]


def test_what_a_task_does_to_its_inputs_does_not_reach_the_next_one(tmp_path, reads):
    path = written(tmp_path / "points.csv")
    task = task_of(path)
    task.inputs.zero_()
    task.labels.zero_()
    assert (task_of(path).inputs.numpy() == X).all()
    assert task_of(path).labels.tolist() == [1, 0, 1, 0]
    assert reads == [path]


def test_the_table_is_of_the_bytes_that_were_hashed(tmp_path, monkeypatch):
    path = written(tmp_path / "points.csv")

    def overtaken(path):
        content, status = content_of(path)
        written(path, shift=1)  # between reading and parsing
        return content, status

    monkeypatch.setattr(datafile, "content_of", overtaken)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    pinned = located(config(path), tmp_path).task
    assert pinned.sha256 == before
    with pytest.raises(ConfigError, match="which has changed"):
        make_task(pinned)


@pytest.mark.parametrize("path", ["nowhere.csv", "a\0b", "~nobody-of-this-name/points.csv", "x" * 5000, "loop"])
def test_a_path_that_leads_nowhere_is_refused(tmp_path, path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ConfigError, match=r"`task\.path` must be a CSV file that can be read\. Got .*"):
        located(config(path), tmp_path)


# As version 0.1.0 wrote them before it had task.header: the file, what was found in it, and the hash of the config.
OLD = {
    "named": ("x,y,animal\n0.5,-1.0,dog\n2.0,3.5,cat\n1000.0,0.001,dog\n-4.0,0.0,cat\n", ["x", "y"], "animal", 4),
    "numbered": ("0,1,2\n1,2,0\n3,4,1\n5,6,1\n7,8,0\n1,1,2\n", ["0", "1"], "2", 6),
    "first row lost": ("1.5,2,dog\n1,2,cat\n3,4,dog\n5,6,cat\n7,8,dog\n", ["1.5", "2"], "dog", 4),
    "commented": ("# x y animal\n0.5 -1 dog\n2 3.5 cat\n1000 0.001 dog\n-4 0 cat\n", ["x", "y"], "animal", 4),
}


@pytest.mark.parametrize("name", OLD)
def test_a_run_from_before_the_key_header_reads_its_file_as_it_did(tmp_path, name):
    text, columns, label, rows = OLD[name]
    path = tmp_path / "points.csv"
    path.write_text(text)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    names = ["0", "1", "2"] if name == "numbered" else ["cat", "dog"]
    saved = config(path, columns=columns, label=label, class_names=names, rows=rows, sha256=digest)
    assert len(make_task(saved.task).inputs) == rows
    pinned = located(saved, tmp_path)
    assert len(make_task(pinned.task).inputs) == rows
    assert isinstance(pinned.task.header, bool)


def test_a_table_with_other_rows_than_the_run_had_is_refused(tmp_path):
    pinned = located(config(written(tmp_path / "points.csv")), tmp_path).task
    with pytest.raises(ConfigError, match=r"`task\.rows` must be 4, the rows of .*\. Got 5\."):
        make_task(replace(pinned, rows=5))


def test_the_hash_of_a_config_is_the_one_from_before_the_key_header():
    saved = config("/points.csv", columns=["x", "y"], label="l", class_names=["a", "b"], rows=4, sha256="0" * 64)
    assert saved.task.header is None
    assert config_hash(saved) == "0cdc8ac13e2178ffe48e0386dbc6859c2b0298adea92903dbe1efc572c729014"
    assert config_hash(replace(saved, task=replace(saved.task, header=True))) != config_hash(saved)


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


def test_a_newcomers_file_becomes_heatmaps_with_one_command(points, capsys, reads):
    assert main(["run", "task=csv", "task.path=points.csv", "task.test_fraction=0.2", *SMALL]) == 0
    out = capsys.readouterr().out.splitlines()
    run = load_run(out[-1])
    assert reads == [points / "points.csv"]
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
        "directory. Relative paths start in the folder where the command is typed.\n"
    )
    assert [path.name for path in points.iterdir()] == ["points.csv"]


def test_a_file_that_changes_after_a_sweep_was_checked_is_in_none_of_its_runs(points, capsys, monkeypatch):
    write = Sweep.write

    def overtaken(sweep):
        write(sweep)
        with (points / "points.csv").open("a") as file:
            file.write("0,0,ant\n")

    monkeypatch.setattr(Sweep, "write", overtaken)
    assert main(["run", "-m", "task=csv", "task.path=points.csv", "seed=0,8", *SMALL]) == 1
    said = "".join(capsys.readouterr())
    assert said.count("which has changed") == 2
    assert not list(points.glob("outputs/**/run.json"))


@pytest.mark.slow
def test_a_million_rows_train_in_mini_batches(points, capsys):
    random = np.random.default_rng(0)
    values = random.normal(size=(10**4, 2))
    frame = pd.DataFrame(values, columns=["x", "y"]).assign(l=(values[:, 0] > 0).astype(int))
    rows = frame.to_csv(index=False, header=False, float_format="%.4f")
    (points / "large.csv").write_text("x,y,l\n" + 100 * rows)
    words = ["optimizer.epochs=1", "optimizer.batch_size=4096", "architecture.hidden=[4]", "figures.draw=false"]
    assert main(["run", "task=csv", "task.path=large.csv", *SMALL[1:], *words]) == 0
    run = load_run(capsys.readouterr().out.splitlines()[-1])
    assert run.config["task"]["rows"] == 10**6
    assert "input" not in run.geometry
    assert run.history.accuracy.iloc[-1] > 0.9
