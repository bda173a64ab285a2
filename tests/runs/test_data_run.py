"""`probe=data` from the command on: run, its geometry lost and measured again, elsewhere too, summarized, no film."""

import json

import pytest
from made_runs import examples

from nngeom_cli import load_run
from nngeom_cli.cli.entry import main
from nngeom_cli.runs.report import remarks

SHORT = [
    "probe=data",
    "optimizer.epochs=4",
    "probe.checkpoints=[2]",
    "replicates=2",
    "figures.draw=false",
    "device=cpu",
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_at_test_examples_says_what_it_found_and_is_summarized_but_not_filmed(folder, capsys):
    words = ["task=moons", "task.points=40", "task.test_fraction=0.4", "probe.split=test", "probe.points=all"]
    assert main(["run", *words, *SHORT, "hydra.run.dir=run"]) == 0
    printed = capsys.readouterr().out
    assert "layer 1 at 16 test examples: rank correlation of log volume element with the margin " in printed
    geometry = load_run(folder / "run").geometry
    assert geometry.sizes["point"] == 16
    assert geometry.epoch.values.tolist() == [0, 2, 4]
    assert main(["summarize", "run", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["metrics"]["effective_volume_margin"]["n"] == 2
    assert main(["animate", "run"]) == 2
    assert "`nngeom animate` must be given a run with probe.kind=grid. Got data." in capsys.readouterr().err


def test_a_run_whose_geometry_is_lost_measures_the_same_again(folder):
    words = ["task=digits", "probe.points=20", "optimizer.batch_size=600"]
    assert main(["run", *words, *SHORT, "hydra.run.dir=run"]) == 0
    whole = load_run(folder / "run").geometry
    (folder / "run" / "geometry" / "epoch-000002.nc").unlink()
    assert main(["resume", "run"]) == 0
    assert load_run(folder / "run").geometry.identical(whole)


def test_a_run_along_paths_is_measured_again_at_its_examples(folder):
    words = ["task=digits", "optimizer.batch_size=600", *SHORT[1:], "probe.steps=2"]
    assert main(["run", *words, "hydra.run.dir=run"]) == 0
    again = ["probe=data", "probe.points=10", "figures.draw=false", "hydra.run.dir=again"]
    assert main(["measure", "run", *again]) == 0
    geometry = load_run(folder / "again").geometry
    assert geometry.attrs["kind"] == "data"
    assert geometry.sizes["point"] == 10


def test_a_run_whose_replicates_all_diverge_says_nothing_of_examples(folder, capsys):
    words = ["task=xor", "optimizer.lr=1e200", *SHORT]
    assert main(["run", *words, "hydra.run.dir=run"]) == 1
    assert "rank correlation" not in capsys.readouterr().out


def test_curvature_that_would_take_minutes_is_said_to_be_left_out():
    narrow, wide = (examples().isel(epoch=-1).assign_attrs(widths=[64, width, 10]) for width in (63, 64))
    assert remarks(narrow) == []
    (said,) = remarks(wide)
    assert "at most 16 dimensions" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["task=xor", "probe.split=test"], "`probe.split` must be train where task=xor keeps no examples"),
        (["task=digits", "probe.points=0"], "`probe.points` must be at least 1"),
        (["task=digits", "probe.top_k=31"], "`probe.top_k` must be at most 30"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_made(words, said, folder, capsys):
    assert main(["run", *words, "probe=data"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert list(folder.iterdir()) == []
