"""`nngeom list` shows the runs of a folder from run.json alone, in three formats, quickly."""

import csv
import io
import json
import subprocess
import sys

import pytest
from made_runs import write_run

from nngeom_cli.cli.entry import main
from nngeom_cli.store.checksums import sealed
from nngeom_cli.store.overview import overviews


def started(run, moment, **changes):
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(sealed(info | {"started": moment} | changes)))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "outputs"
    started(write_run(runs / "old", lr=0.1), "2026-01-01T10:00:00+00:00")
    started(write_run(runs / "new", lr=0.5, losses=(0.1, None, 0.3), status="diverged"), "2026-01-03T10:00:00+00:00")
    started(write_run(runs / "at work", lr=0.1, status="failed"), "2026-01-02T10:00:00")
    (write_run(runs / "broken") / "run.json").write_text("{")
    (runs / "waits" / ".hydra").mkdir(parents=True)
    return runs


def listed(*words, capsys):
    assert main(["list", *words]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_the_newest_run_comes_first_with_what_differs(folder, capsys):
    rows = [line.split() for line in listed(capsys=capsys).splitlines()]
    assert rows[0] == ["run", "status", "task", "differs", "accuracy", "age", "size"]
    assert [row[0] for row in rows[1:]] == ["new", "at", "old", "broken", "waits"]
    assert rows[1][1:5] == ["diverged", "xor", "optimizer.lr=0.5", "0.700"]
    assert (rows[3][3], rows[4][1], rows[5][1:3]) == ("optimizer.lr=0.1", "damaged", ["not", "started"])


def test_all_formats_have_the_same_runs(folder, capsys):
    as_json = json.loads(listed("outputs", "--format", "json", capsys=capsys))
    as_csv = list(csv.DictReader(io.StringIO(listed("outputs", "--format", "csv", capsys=capsys))))
    assert [row["run"] for row in as_json] == [row["run"] for row in as_csv]
    assert as_json[0]["differs"] == {"optimizer.lr": 0.5}
    assert as_csv[0]["differs"] == "optimizer.lr=0.5"
    sizes = [
        sum(path.stat().st_size for path in (folder / name).rglob("*") if path.is_file()) for name in ("new", "old")
    ]
    assert [as_json[0]["bytes"], as_json[2]["bytes"]] == sizes
    assert (as_json[0]["accuracy"], as_json[3]["started"]) == (pytest.approx(0.7), None)


def test_what_differs_is_cut_to_the_width_of_the_terminal(folder, monkeypatch, capsys):
    started(write_run(folder / "long", task={"name": "xor", "path": "p" * 300}), "2026-01-04T10:00:00+00:00")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "90")
    lines = listed(capsys=capsys).splitlines()
    assert max(map(len, lines)) <= 90
    assert any("..." in line for line in lines)


def test_texts_of_a_stranger_move_no_cursor_and_start_no_formula(folder, capsys):
    started(write_run(folder / "=1+1", task={"name": "=cmd", "path": "\x1b[2J"}), "2026-01-04T10:00:00+00:00")
    for form in ("terminal", "csv", "json"):
        out = listed("outputs", "--format", form, capsys=capsys)
        assert all(char.isprintable() for char in out.replace("\n", ""))
    (row, *_) = csv.DictReader(io.StringIO(listed("outputs", "--format", "csv", capsys=capsys)))
    assert row["task"] == "'=cmd"


def test_runs_of_different_tasks_are_compared_within_their_task(tmp_path):
    for name, task, lr in (("a", "xor", 0.1), ("b", "xor", 0.2), ("c", "moons", 0.3)):
        write_run(tmp_path / name, task={"name": task}, lr=lr)
    differs = {one.directory.name: one.differs for one in overviews([tmp_path])}
    assert differs == {"a": {"optimizer.lr": 0.1}, "b": {"optimizer.lr": 0.2}, "c": {}}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "`nngeom list` must be given a folder of runs. Got nothing, and there is no outputs here."),
        (["nowhere"], "`nowhere` must be a directory. Got none. See outputs/."),
        ([""], "`nngeom list` must be followed by folders of runs. Got nothing. Leave it out for outputs."),
        ([".", "--format", "xml"], "`--format` must be terminal, csv or json. Got xml."),
        (["--colour"], "`nngeom list` must be followed by folders of runs. Got --colour."),
    ],
    ids=str,
)
def test_wrong_words_are_one_sentence(tmp_path, monkeypatch, capsys, words, sentence):
    monkeypatch.chdir(tmp_path)
    assert main(["list", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"nngeom: {sentence}")


def test_a_list_needs_no_numpy(folder):
    code = "import sys; from nngeom_cli.cli.entry import main; main(['list']); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "False"
