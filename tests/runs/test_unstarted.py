"""A run that was ended before it had done anything is one that resume begins."""

import errno
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
from small_runs import assert_same, config, left_by_hydra

from nngeom_cli.cli.entry import main
from nngeom_cli.errors import ConfigError, DamageError, FolderError
from nngeom_cli.runs import run as runner
from nngeom_cli.runs.resume import resume
from nngeom_cli.runs.unstarted import begun, opened
from nngeom_cli.store.run import load_run

pytestmark = pytest.mark.usefixtures("one_core")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NNGEOM_CORES", "1")
        runner.run(config(), directory, command="nngeom run")
    return load_run(directory)


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), "interrupted"), (ImportError("torch"), "failed"), (None, "running")]
)
def test_a_run_that_was_ended_while_torch_was_loaded_is_one_that_resume_begins(whole, tmp_path, capsys, error, status):
    with pytest.raises(type(error)) if error else pytest.raises(SystemExit), begun(tmp_path, config(), "nngeom run"):
        assert load_run(tmp_path).status == "running"
        if error is None:  # killed: nothing is written any more
            (tmp_path / "run.json").rename(tmp_path / "kept")
            raise SystemExit
        raise error
    if error is None:
        (tmp_path / "kept").rename(tmp_path / "run.json")
    assert json.loads((tmp_path / "run.json").read_text())["status"] == status
    assert main(["summarize", str(tmp_path)]) == 0
    assert "epoch 0 of 20" in capsys.readouterr().out
    resume(tmp_path)
    assert "Starts from the beginning: the run ended before it had done anything." in capsys.readouterr().out
    assert_same(load_run(tmp_path), whole, [0, 5, 20])
    assert load_run(tmp_path).info["command"] == "nngeom run"


def test_a_run_that_has_begun_is_not_begun_again(whole, tmp_path):
    with begun(tmp_path, config(), "nngeom run"):
        runner.run(config(), tmp_path, command="nngeom run")
    with pytest.raises(ConfigError, match="must be a folder without a run"):
        runner.run(config(), tmp_path, command="nngeom run")


def test_a_run_that_has_done_nothing_keeps_its_config(tmp_path):
    with pytest.raises(KeyboardInterrupt), begun(tmp_path, config(), "nngeom run"):
        raise KeyboardInterrupt
    with pytest.raises(ConfigError, match=r"`seed` must be 3, as in the run\. Got 4\."):
        resume(tmp_path, ["seed=4"])
    with pytest.raises(ConfigError, match=r"`optimizer\.epochs` must be 20 until the run is complete"):
        resume(tmp_path, ["optimizer.epochs=40"])


def test_a_folder_in_which_hydra_only_has_written_is_a_run_that_resume_begins(whole, tmp_path):
    left_by_hydra(tmp_path, asdict(config()))
    resume(tmp_path)
    assert_same(load_run(tmp_path), whole, [0, 5, 20])
    assert load_run(tmp_path).info["command"] == "nngeom run task=xor seed=3"


def test_the_data_file_of_such_a_run_is_looked_for_where_its_command_was_typed(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "points.csv").write_text("x,y,label\n0,0,a\n0,1,b\n1,0,b\n1,1,a\n")
    task = {"name": "csv", "path": "points.csv", "columns": None, "label": None, "class_names": None, "rows": None}
    task |= {"standardize": True, "sha256": None, "test_fraction": 0.0, "label_noise": 0.0, "data_seed": 0}
    (tmp_path / "run").mkdir()
    left_by_hydra(tmp_path / "run", asdict(config()) | {"task": task}, tmp_path / "here")
    assert opened(tmp_path / "run").config["task"]["path"] == str(tmp_path / "here" / "points.csv")


@pytest.mark.parametrize("name", ["checkpoints", "geometry", "SHA256SUMS", "history.csv"])
def test_a_run_that_has_lost_its_run_json_is_not_begun_again(tmp_path, name):
    left_by_hydra(tmp_path, asdict(config()))
    (tmp_path / name).mkdir()
    with pytest.raises(DamageError, match=r"must hold run\.json\. Got the files of a run without it\. Copy it from"):
        resume(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([".hydra", name])


def without(name):
    return lambda folder: (folder / name).unlink()


def holding(name, text):
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    "spoil",
    [
        without("hydra.yaml"),
        without("overrides.yaml"),
        holding("config.yaml", ""),
        holding("config.yaml", "seed: [1"),
        holding("config.yaml", "a: &a [*a]"),
        holding("config.yaml", "seed: !!python/object/apply:os.system ['touch opened']"),
        holding("config.yaml", "- 1"),
        holding("hydra.yaml", "hydra: 3"),
        holding("hydra.yaml", "hydra: {runtime: {cwd: null}}"),
        holding("overrides.yaml", "[1, 2]"),
        holding("overrides.yaml", "\x00"),
        lambda folder: (folder / "config.yaml").write_text(
            (folder / "config.yaml").read_text().replace("seed: 3", "seed: ${oc.env:HOME}")
        ),
    ],
)
def test_what_hydra_did_not_write_is_one_sentence(tmp_path, monkeypatch, spoil):
    monkeypatch.chdir(tmp_path)
    left_by_hydra(tmp_path, asdict(config()))
    spoil(tmp_path / ".hydra")
    with pytest.raises((ConfigError, DamageError)) as caught:
        resume(tmp_path)
    assert str(caught.value).isprintable()
    assert [path.name for path in tmp_path.iterdir()] == [".hydra"]


def test_a_full_disk_at_the_first_write_is_a_sentence(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    sentence = f"`{tmp_path}` must be a folder that can be written. Got: No space left on device. Make room, then "
    with pytest.raises(FolderError) as caught, begun(tmp_path, config(), "nngeom run"):
        raise AssertionError("not reached")
    assert str(caught.value).startswith(sentence)
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_begins_what_was_killed_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def killed(*_, **__):
        raise KeyboardInterrupt

    words = ["task=xor", "optimizer.epochs=3", "probe.checkpoints=[]", "probe.resolution=4", "figures.draw=false"]
    with monkeypatch.context() as patch:
        patch.setattr(runner, "run", killed)
        assert main(["run", *words, "hydra.run.dir=here"]) == 130
    assert load_run("here").status == "interrupted"
    assert main(["resume", "here"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "here"
    assert load_run("here").status == "complete"
    assert Path("here", "run.json").exists()


TINY = ["optimizer.epochs=2", "probe.checkpoints=[]", "probe.resolution=4", "figures.draw=false", "replicates=1"]


@pytest.mark.parametrize(
    "words",
    [["run", "task=xor"], ["run", "-m", "task=xor", "seed=1,2"], ["run", "hydra.run.dir=/tmp/never/\\${a}"]],
    ids=str,
)
def test_a_folder_that_hydra_would_take_for_a_key_is_refused_before_anything_is_made(tmp_path, monkeypatch, words):
    folder = tmp_path / ("plain" if "hydra" in words[-1] else "${a}")
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert main([*words, *TINY]) == 2
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["a=b", "seed=1", "${a}", "it's", "a,b", "back\\slash"])
def test_a_run_that_was_moved_into_a_folder_of_any_name_can_be_resumed(whole, tmp_path, monkeypatch, name, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt), begun(tmp_path, config(), "nngeom run"):
        raise KeyboardInterrupt
    (tmp_path / name).mkdir()
    (tmp_path / "run.json").rename(tmp_path / name / "run.json")
    assert main(["resume", name]) == 0
    assert_same(load_run(name), whole, [0, 5, 20])
    assert main(["run", "--from", name, "hydra.run.dir=again", *TINY]) == (2 if "${" in name else 0)


@pytest.mark.parametrize(("name", "code"), [("a=b", 0), ("it's", 0), ("${a}", 2)])
def test_a_sweep_that_was_moved_goes_on_or_says_why_not(tmp_path, monkeypatch, name, code, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "-m", "seed=1,2", "hydra.sweep.dir=sweep", *TINY]) == 0
    (tmp_path / "sweep").rename(tmp_path / name)
    shutil.rmtree(tmp_path / name / "1-seed=2")
    assert main(["resume", name]) == code
    if code:
        assert "must be a folder without ${ in its path. Got " in capsys.readouterr().err
    else:
        assert load_run(f"{name}/1-seed=2").status == "complete"
