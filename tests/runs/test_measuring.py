"""`nngeom measure`: what is measured from saved checkpoints is what would have been measured in training."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from small_runs import PROBED, assert_same, config

from nngeom_cli.cli.entry import main
from nngeom_cli.runs import measure as measuring
from nngeom_cli.runs import run as runner
from nngeom_cli.runs.resume import resume
from nngeom_cli.store.run import load_run
from nngeom_cli.store.run_directory import RunDirectory

FINER = {"resolution": 4, "window": [-1.0, 2.0], "layers": [1, 2]}
WORDS = ["probe.resolution=4", "probe.window=[-1,2]", "probe.layers=[1,2]"]


@pytest.fixture(autouse=True)
def _one_core(monkeypatch):
    monkeypatch.setenv("NNGEOM_CORES", "1")


def made(directory, **changes):
    directory.mkdir()
    runner.run(config(**{"probe__checkpoints": PROBED} | changes), directory, command="nngeom run")
    return directory


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return made(tmp_path_factory.mktemp("measuring") / "a run")


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    """A run that had the other probe from the start."""
    probe = {f"probe__{key}": value for key, value in FINER.items()}
    return load_run(made(tmp_path_factory.mktemp("measuring") / "wanted", **probe))


@pytest.fixture
def measured(source, tmp_path, monkeypatch, capsys):
    """`measured(*words)`: exit code, stdout and stderr in lines, of a command that is typed in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def typed(*words):
        capsys.readouterr()
        code = main(["measure", *map(str, words)])
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err.splitlines()

    return typed


def test_a_run_that_is_measured_again_equals_one_that_had_the_probe_from_the_start(source, wanted, measured):
    code, told, errors = measured(source, *WORDS)
    run = load_run(told[-1])
    assert (code, errors) == (0, [])
    assert_same(run, wanted)
    assert run.config == wanted.config
    assert run.info["config_hash"] == wanted.info["config_hash"]
    assert run.directory.parent.parts[-3:] == ("outputs", "runs", "xor")


def test_the_new_run_says_from_which_one_it_came(source, measured):
    run, whence = load_run(measured(source, *WORDS)[1][-1]), load_run(source)
    about = {"id": whence.info["id"], "path": str(source), "config_hash": whence.info["config_hash"]}
    assert run.info["measured_from"] == about
    assert run.info["id"] != whence.info["id"]
    assert run.info["command"] == shlex.join(["nngeom", "measure", str(source), *WORDS])
    assert run.info["source"]["training"] == whence.info["source"]["training"]


@pytest.mark.parametrize("capability", ["default", "avx2"])
def test_planes_in_the_space_of_digits_are_the_same_to_the_last_bit(capability, tmp_path):
    shape = ["replicates=2", "architecture.hidden=[12,6]", "optimizer.epochs=2", "device=cpu", "figures.draw=false"]
    plane = ["probe=plane", "probe.resolution=3", "probe.triples=[[0,6,8]]", "probe.layers=[1,2]", "probe.top_k=3"]
    commands = [
        ["run", "task=digits", *shape, "probe.steps=2", "hydra.run.dir=path"],
        ["run", "task=digits", *shape, *plane, "probe.checkpoints=log 9", "hydra.run.dir=plane"],
        ["measure", "path", *plane, "hydra.run.dir=again"],
    ]
    code = f"from nngeom_cli.cli.entry import main\nfor words in {commands!r}:\n    assert main(words) == 0"
    surroundings = os.environ | {"ATEN_CPU_CAPABILITY": capability, "NNGEOM_CORES": "1"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=surroundings, check=True, capture_output=True)
    again, from_the_start = load_run(tmp_path / "again"), load_run(tmp_path / "plane")
    assert again.geometry.attrs["kind"] == "plane"
    assert_same(again, from_the_start, epochs=[0, 1, 2])


@pytest.mark.parametrize(("asked", "epochs"), [("[0]", [0, 20]), ("[5]", [0, 5, 20]), ("linear 2", [0, 20])])
def test_some_of_the_epochs_can_be_measured(asked, epochs, source, measured):
    run = load_run(measured(source, f"probe.checkpoints={asked}")[1][-1])
    assert run.geometry.epoch.values.tolist() == epochs
    assert run.geometry.identical(load_run(source).geometry.sel(epoch=epochs))


def test_a_run_that_was_trained_further_is_measured_at_the_epochs_of_all_its_parts(tmp_path, measured):
    source = made(tmp_path / "source", probe__checkpoints=[0, 5])
    resume(source, ["optimizer.epochs=30"])
    run = load_run(measured(source, "probe.resolution=3")[1][-1])
    assert run.geometry.epoch.values.tolist() == [0, 5, 20, 30]


def test_a_measured_run_can_be_measured_and_trained_further(source, wanted, measured, tmp_path):
    first = measured(source, "probe.layers=[2]")[1][-1]
    second = measured(first, *WORDS)[1][-1]
    assert load_run(second).geometry.identical(wanted.geometry)
    assert load_run(second).info["measured_from"]["id"] == load_run(first).info["id"]
    shutil.copytree(wanted.directory, tmp_path / "further")
    for directory in (second, tmp_path / "further"):
        assert main(["resume", str(directory), "optimizer.epochs=24"]) == 0
    assert_same(load_run(second), load_run(tmp_path / "further"), epochs=[0, 24])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "`nngeom measure` must be followed by run directories. Got nothing"),
        (["SOURCE", "SOURCE"], "`nngeom measure` must be followed by one run directory"),
        (["missing"], "missing, which does not exist"),
        (["SOURCE", "-m"], "`nngeom measure` must be followed by one run directory. Got -m"),
        (["SOURCE", "optimizer.lr=1"], "`nngeom run --from RUN optimizer.lr=1` trains again"),
        (["SOURCE", "seed=1"], "`seed` must be left out: the networks are trained"),
        (["SOURCE", "task=moons"], "`task` must be left out"),
        (["SOURCE", "+probe.x=1"], "`+probe.x` must be left out"),
        (["SOURCE", "hydra.job.name=x"], "`hydra.job.name` must be left out"),
        (["SOURCE", "probe.resolution=1"], "`probe.resolution` must be at least 2. Got 1"),
        (["SOURCE", "probe.resolution=3,4"], "`probe.resolution` must be"),
        (["SOURCE", "probe.resolutoin=3"], "Did you mean"),
        (["SOURCE", "probe=plan"], "`probe` must be circles, csv, data, digits, geodesic, moons, npz, path, plane"),
        (["SOURCE", "probe="], "`probe` must be"),
        (["SOURCE", "probe=digits"], "`probe.pairs` must be pairs of classes of task=xor"),
        (["SOURCE", "probe.layers=[3]"], "`probe.layers` must be all, or layers from 1"),
        (["SOURCE", "probe.checkpoints=[0,7]"], "among the epochs that were saved, 0, 5, 10, 20. Got [0,7,20]"),
        (["SOURCE", "probe.checkpoints=log 5"], "`probe.checkpoints` must be among the epochs that were saved"),
        (["SOURCE", "device=tpu"], "`device` must be"),
        (["SOURCE", "figures.band=-1"], "`figures.band` must be a positive number"),
        (["SOURCE", "hydra.run.dir=there"], "`hydra.run.dir` must be a directory that does not exist yet"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_is_refused_in_a_sentence_and_leaves_nothing(words, told, source, measured, tmp_path):
    (tmp_path / "there").mkdir()
    code, out, errors = measured(*[source if word == "SOURCE" else word for word in words])
    assert (code, out, len(errors)) == (2, [], 1)
    assert told in errors[0]
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.parametrize(
    ("word", "schedule"), [("[0,3]", [0, 3]), ("linear 3", {"spacing": "linear", "count": 3}), (None, None)]
)
def test_a_schedule_of_a_saved_run_can_be_replaced(word, schedule, nngeom, runner, tmp_path):
    """By a list too: the saved one is a mapping, which Hydra merges with no list."""
    words = [] if word is None else [f"probe.checkpoints={word}"]
    saved = config(probe__checkpoints={"spacing": "log", "count": 5})
    RunDirectory(tmp_path / "saved", {"config": asdict(saved)}).update(status="complete")
    code, _, errors = nngeom("run", "--from", "saved", *words)
    assert (code, errors) == (0, [])
    assert runner.runs[0][0].probe.checkpoints == (schedule or saved.probe.checkpoints)


@pytest.mark.parametrize("status", ["interrupted", "failed", "running"])
def test_a_run_that_is_not_complete_is_refused(status, source, measured, tmp_path):
    shutil.copytree(source, tmp_path / "copy")
    RunDirectory(tmp_path / "copy", load_run(source).info).update(status=status)
    code, _, (error,) = measured("copy", "probe.resolution=3")
    assert code == 2
    assert f"must be a run that is complete. Got one that is {status}" in error
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_a_checkpoint_that_is_damaged_or_lost_is_refused(source, measured, tmp_path):
    shutil.copytree(source, tmp_path / "copy")
    (tmp_path / "copy" / "checkpoints" / "epoch-000010.npz").unlink()
    code, _, (error,) = measured("copy", "probe.resolution=3")
    assert code == 2
    assert "among the epochs that were saved, 0, 5, 20" in error
    shutil.copy(source / "checkpoints" / "epoch-000005.npz", tmp_path / "copy" / "checkpoints" / "epoch-000010.npz")
    code, _, errors = measured("copy", "probe.resolution=3", "hydra.run.dir=new")
    assert code == 2
    assert "epoch-000010.npz` must be as the run wrote it" in errors[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]  # nothing was written


def test_wherever_it_is_cut_off_it_can_be_resumed_without_training(source, wanted, measured, tmp_path, monkeypatch):
    """As after kill -9: each state of the directory that a manifest or run.json ends."""
    cut, write, update = [], RunDirectory.write_manifest, RunDirectory.update

    def snapshot(store):
        cut.append(shutil.copytree(store.directory, tmp_path / f"cut{len(cut)}"))

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "write_manifest", lambda store: (write(store), snapshot(store)))
        patch.setattr(RunDirectory, "update", lambda store, **info: (update(store, **info), snapshot(store)))
        assert measured(source, *WORDS)[0] == 0
    assert len(cut) > 8
    monkeypatch.setattr("nngeom_cli.runs.repair.trained", None)  # no checkpoint is computed again
    monkeypatch.setattr("nngeom_cli.training.loop.LossGradient.__call__", None)
    for directory in cut:
        resume(directory)
        assert_same(load_run(directory), wanted)
        assert load_run(directory).info["measured_from"]["path"] == str(source)
        assert not list(directory.rglob(".half-*"))


def test_one_that_was_cut_off_before_its_checkpoints_were_copied_needs_the_other_run(
    source, wanted, measured, tmp_path, monkeypatch
):
    moved = tmp_path / "source"
    shutil.copytree(source, moved)

    def stopped(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(measuring, "read_checkpoint", stopped)
        code, _, (error,) = measured(moved, *WORDS, "hydra.run.dir=new")
    assert code == 130
    assert "Resume with: nngeom resume" in error
    moved.rename(tmp_path / "elsewhere")
    assert main(["resume", "new"]) == 2
    shutil.copytree(tmp_path / "elsewhere", moved)
    info = json.loads((moved / "run.json").read_text())
    RunDirectory(moved, info | {"id": "another"}).update()
    assert main(["resume", "new"]) == 2
    shutil.rmtree(moved)
    (tmp_path / "elsewhere").rename(moved)
    assert main(["resume", "new"]) == 0
    assert_same(load_run("new"), wanted)


def test_one_that_left_only_what_hydra_writes_is_not_trained_instead(source, measured, capsys):
    assert measured(source, *WORDS, "hydra.run.dir=new")[0] == 0
    for path in Path("new").iterdir():
        if path.name != ".hydra":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert main(["resume", "new"]) == 2
    assert "Type that command again" in capsys.readouterr().err


def test_networks_in_the_plane_are_measured_again_with_all_figures(source, measured, capsys):
    code, told, _ = measured(source, "probe.resolution=6", "figures.draw=true")
    assert code == 0
    assert any(line.startswith("figure ") for line in told)
    assert any("trained before, measured in" in line for line in told)
    assert main(["figures", told[-1]]) == main(["summarize", told[-1]]) == main(["animate", told[-1]]) == 0
