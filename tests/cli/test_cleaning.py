"""`nngeom clean` drops checkpoints and nothing else, asks first, and always leaves a run that can be read."""

import io
import os
import shutil
import sys

import pytest
from made_runs import write_run
from small_runs import config

from nngeom_cli import load_run
from nngeom_cli.cli.entry import main
from nngeom_cli.errors import ConfigError
from nngeom_cli.runs.run import run as train
from nngeom_cli.store import cleaning
from nngeom_cli.store.cleaning import clean
from nngeom_cli.store.run_directory import RunDirectory
from nngeom_cli.store.sweep import Job, Sweep
from nngeom_cli.system.writer import sole_writer

NEEDED = "` must have its checkpoints. Got a run from which `nngeom clean` dropped them. "


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    directory = tmp_path_factory.mktemp("trained") / "run"
    directory.mkdir()
    train(config(), directory, command="nngeom run")
    return directory


@pytest.fixture
def run(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, "run")
    return tmp_path / "run"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def contents(directory):
    return {path.relative_to(directory): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_checkpoints_go_and_all_else_stays(run, capsys):
    before, geometry, history = contents(run), load_run(run).geometry.load(), load_run(run).history
    capsys.readouterr()
    assert main(["clean", "run", "--yes"]) == 0
    out, err = capsys.readouterr()
    size = sum(len(content) for path, content in before.items() if path.parts[0] == "checkpoints")
    assert out.splitlines() == [f"run: 3 checkpoints, {size / 1000:.3g} kB"]
    assert err == f"nngeom: Dropped 3 checkpoints of 1 run, {size / 1000:.3g} kB.\n"
    after = contents(run)
    assert not (run / "checkpoints").exists()
    changed = {path for path in before if after.get(path) != before[path]}
    assert {path.parts[0] for path in changed} == {"checkpoints", "run.json", "SHA256SUMS"}
    found = load_run(run)
    assert found.geometry.identical(geometry)
    assert found.history.equals(history)
    assert main(["clean", "run", "--yes"]) == 0
    assert capsys.readouterr().err == "nngeom: There is nothing to drop.\n"
    assert contents(run).keys() == after.keys() | {path for path in contents(run) if path.name == ".lock"}


def test_what_reads_works_afterwards_and_what_needs_weights_says_so(run, capsys):
    assert main(["clean", "run", "--yes"]) == 0
    for command in ("figures", "animate", "summarize", "list"):
        assert main([command, "run"]) == 0
    capsys.readouterr()
    for words in (
        ["resume", "run"],
        ["measure", "run", "probe.resolution=5"],
        ["resume", "run", "optimizer.epochs=90"],
    ):
        assert main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line == f"nngeom: `run{NEEDED}`nngeom run --from run` trains it again, in a new directory."
    for ask in (lambda: load_run(run).parameters(20), lambda: load_run(run).feature_map(20, 1)):
        with pytest.raises(ConfigError, match="must have its checkpoints"):
            ask()
    assert main(["run", "--from", "run", "hydra.run.dir=again"]) == 0


@pytest.mark.parametrize("cut", ["run.json", "SHA256SUMS", "first file", "second file"])
def test_a_run_that_was_cut_off_while_it_was_cleaned_can_be_read_and_cleaned_again(run, monkeypatch, cut):
    unlink, files = os.unlink, []

    def stop(*_, **__):
        raise KeyboardInterrupt

    def stop_late(name, **options):
        files.append(name)
        if len(files) > (cut == "second file"):
            raise KeyboardInterrupt
        unlink(name, **options)

    geometry = load_run(run).geometry.load()
    with monkeypatch.context() as patch:
        if cut == "run.json":
            patch.setattr(RunDirectory, "update", stop)
        elif cut == "SHA256SUMS":
            patch.setattr(RunDirectory, "write_manifest", stop)
        else:
            patch.setattr(cleaning.os, "unlink", stop_late)
        with pytest.raises(KeyboardInterrupt):
            clean(run)
    half = load_run(run)
    half.look_through()
    assert half.geometry.identical(geometry)
    assert main(["summarize", "run"]) == 0
    assert main(["clean", "run", "--yes"]) == 0
    assert not (run / "checkpoints").exists()
    assert load_run(run).geometry.identical(geometry)


@pytest.mark.parametrize(
    ("answer", "dropped"), [("y\n", True), ("yes\n", True), ("n\n", False), ("", False), ("\n", False)]
)
def test_it_asks_and_only_a_yes_is_one(run, monkeypatch, capsys, answer, dropped):
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert main(["clean", "run"]) == 0
    assert "Drop 3 checkpoints of 1 run" in capsys.readouterr().err
    assert (run / "checkpoints").exists() is not dropped


def test_a_dry_run_drops_nothing(run, capsys):
    before = contents(run)
    assert main(["clean", "run", "--dry-run", "--yes"]) == 0
    assert "Would drop 3 checkpoints" in capsys.readouterr().err
    assert contents(run) == before


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_a_run_that_has_not_ended_is_refused(tmp_path, monkeypatch, capsys, status):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nngeom_cli.store.run_info.is_gone", lambda _: False)
    write_run(tmp_path / "run", status=status)
    before = contents(tmp_path)
    assert main(["clean", "run", "--yes"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"nngeom: `run` must be a run that has ended. Got one that is {status}. ")
    assert contents(tmp_path) == before


def test_where_nobody_can_be_asked_yes_must_be_given(run, monkeypatch, capsys):
    before = contents(run)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert main(["clean", "run"]) == 2
    assert "`nngeom clean` must be given --yes where it cannot ask." in capsys.readouterr().err
    assert contents(run) == before


def test_another_writer_a_link_and_damage_that_only_checkpoints_repair_are_refused(run, tmp_path, capsys):
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(run / "checkpoints", elsewhere)
    before = contents(run)
    pid = os.fork()
    if pid == 0:
        with sole_writer(run):
            (tmp_path / "locked").touch()
            while not (tmp_path / "over").exists():
                pass
        os._exit(0)
    while not (tmp_path / "locked").exists():
        pass
    assert main(["clean", "run", "--yes"]) == 2
    (tmp_path / "over").touch()
    os.waitpid(pid, 0)
    assert "must have one writer at a time" in capsys.readouterr().err
    file = run / "geometry" / "epoch-000020.nc"
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    assert main(["clean", "run", "--yes"]) == 2
    assert "`nngeom resume run` repairs it." in capsys.readouterr().err
    file.write_bytes(content)
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").symlink_to(elsewhere)
    assert main(["clean", "run", "--yes"]) == 2
    assert "must be a file or folder itself. Got a link" in capsys.readouterr().err
    assert len(list(elsewhere.iterdir())) == 3
    assert {name for name in before if name.parts[0] != "checkpoints"} <= contents(run).keys()


def test_of_a_sweep_the_runs_that_have_ended_are_cleaned(run, tmp_path, capsys):
    names = ["run", "failed", "damaged", "waits"]
    write_run(tmp_path / "failed", status="failed")
    write_run(tmp_path / "damaged")
    (tmp_path / "damaged" / "history.csv").write_text("")
    Sweep(tmp_path, "basic", [Job(name, [], "nngeom run", {}) for name in names]).write()
    assert main(["clean", ".", "run", "--yes"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[0].startswith("run: 3 checkpoints")
    said = [line for line in err.splitlines() if "must" in line]
    assert len(said) == 2
    assert said[0].startswith("nngeom: Left alone: `failed` must be a run that has ended.")
    assert "damaged/history.csv` must be as the run wrote it" in said[1]
    assert not (run / "checkpoints").exists()
