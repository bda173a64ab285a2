"""What a tracker is told of a run, and that no tracker costs a run."""

import json
import os
import re
import signal
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from made_runs import examples, geodesics, image_planes, path, plane, write_run
from small_runs import PROBED, assert_same, config, drawn

from nngeom_cli.analysis.run_statistics import statistics_of
from nngeom_cli.cli.entry import main
from nngeom_cli.config.run import config_hash
from nngeom_cli.errors import RunError
from nngeom_cli.runs import run as runner
from nngeom_cli.runs.resume import resume
from nngeom_cli.store.run import load_run
from nngeom_cli.store.run_directory import RunDirectory
from nngeom_cli.trackers import tracker as trackers
from nngeom_cli.trackers.statistics import statistics_by_epoch

RUN = {"probe__checkpoints": PROBED, "probe__layers": [1, 2]}
PLUGIN = """
import json

class Lines:
    failing = ""

    def __init__(self):
        self.calls = []

    def _told(self, call, *about):
        if call == self.failing:
            raise OSError(28, "No space left on device")
        self.calls.append([call, *about])
        with (self.directory / "tracker.jsonl").open("a") as file:
            file.write(json.dumps([call, *about]) + "\\n")

    def start(self, run):
        self.directory = run.directory
        self._told("start", run.info["id"], run.config["seed"])

    def scalars(self, epoch, values):
        self._told("scalars", epoch, dict(values))

    def figures(self, paths):
        self._told("figures", [path.name for path in paths])

    def end(self, status):
        self._told("end", status)
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """A package with a tracker, installed as a folder on Python's path."""
    folder = tmp_path_factory.mktemp("installed")
    (folder / "lines_tracker.py").write_text(PLUGIN)
    about = folder / "lines_tracker-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lines-tracker\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[nngeom.trackers]\nlines = lines_tracker:Lines\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        trackers.known.cache_clear()
        yield sys.modules.get("lines_tracker") or __import__("lines_tracker")
    trackers.known.cache_clear()


def made(directory, **changes):
    directory.mkdir()
    runner.run(config(**RUN | {"tracker": "lines"} | changes), directory, command="nngeom run")
    return load_run(directory)


@pytest.fixture(scope="module")
def untracked(tmp_path_factory):
    return made(tmp_path_factory.mktemp("untracked") / "run", tracker=None)


@pytest.fixture(scope="module")
def tracked(plugin, tmp_path_factory):
    return made(tmp_path_factory.mktemp("tracked") / "run")


def told(run):
    """The calls of each sitting."""
    calls = [eval(line, {"NaN": np.nan}) for line in (run.directory / "tracker.jsonl").read_text().splitlines()]
    starts = [place for place, (call, *_) in enumerate(calls) if call == "start"]
    return [calls[first:last] for first, last in zip(starts, [*starts[1:], len(calls)], strict=True)]


def scalars(calls):
    """Each name's values by epoch; none may come twice."""
    found = {}
    for _, epoch, values in (call for call in calls if call[0] == "scalars"):
        for name, value in values.items():
            assert epoch not in found.setdefault(name, {}), f"{name} twice at {epoch}"
            found[name][epoch] = value
    return found


def test_a_tracker_of_an_installed_package_is_told_the_history_to_the_last_bit(tracked):
    (calls,) = told(tracked)
    assert calls[0] == ["start", tracked.info["id"], 3]
    assert calls[-1] == ["end", "complete"]
    found, history = scalars(calls), tracked.history
    for score in ("loss", "accuracy"):
        table = history.pivot_table(index="epoch", columns="replicate", values=score)
        for seed in (3, 4):
            assert found[f"{score}/seed-{seed}"] == table[seed].to_dict()
        assert found[f"{score}/mean"] == pytest.approx(table.mean(axis=1).to_dict(), rel=1e-15)


def test_its_statistics_are_those_of_the_run_at_each_checkpoint(tracked):
    found = scalars(told(tracked)[0])
    volumes = tracked.geometry.log_volume_element.sel(layer=1, x=slice(-1, 1), y=slice(-1, 1)).mean(["x", "y"])
    for seed in (3, 4):
        expected = volumes.sel(replicate=seed)  # the points near the data
        each = found[f"volume_mean.layer1/seed-{seed}"]
        assert sorted(each) == PROBED
        for epoch in PROBED:
            assert each[epoch] == pytest.approx(expected.sel(epoch=epoch).item(), rel=1e-12)


LAYERS = plane(epochs=(0, 10, 200), layers=(1, 2), replicates=3).assign_attrs(box=[-1, 1, -1, 1])
GEOMETRIES = {"grid": LAYERS, "path": path(pairs=2, replicates=3), "plane": image_planes(replicates=3)}
GEOMETRIES |= {"data": examples(replicates=3), "geodesic": geodesics(replicates=3)}


@pytest.mark.parametrize("kind", GEOMETRIES)
def test_statistics_have_the_names_and_values_of_summarize(kind, tmp_path):
    run = load_run(write_run(tmp_path / "run", GEOMETRIES[kind], losses=(0.1, 0.2, None)))
    epochs = run.geometry.epoch.values.tolist()
    found = {epoch: (values, seeds) for epoch, values, seeds in statistics_by_epoch(run, band=0.15)}
    expected = statistics_of(run, np.array([True, True, False]))  # the third has diverged
    names = {name for name in expected if f"{name}.change" in expected}
    assert sorted(found) == epochs
    for values, seeds in found.values():
        assert (set(values), seeds) == (names, [3, 4])
    finite = 0
    for name in names:
        first, last = (found[epoch][0][name] for epoch in (epochs[0], epochs[-1]))
        after, change = (expected[key][:2] for key in (name, f"{name}.change"))
        if np.isfinite(after).all():  # of some pairs only: the others are left out here
            np.testing.assert_allclose(last, after.mean(axis=1), rtol=1e-12)
            finite += 1
            if np.isfinite(change).all():
                np.testing.assert_allclose(last - first, change.mean(axis=1), rtol=1e-9, atol=1e-9)
    assert finite >= 3


def test_the_tracker_of_the_guide_writes_what_it_is_told(tracked, monkeypatch, tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "guide.md").read_text(encoding="utf-8")
    (block,) = (code for code in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S) if "class Lines" in code)
    names = {}
    exec(block, names)
    entry = SimpleNamespace(load=lambda: names["Lines"])
    monkeypatch.setattr(trackers, "known", lambda: {"lines": entry})
    run = made(tmp_path / "run")
    first, *rest = map(json.loads, (run.directory / "tracker" / "lines.jsonl").read_text().splitlines())
    assert first == {"id": run.info["id"], "lr": 0.02}
    of_it = [["scalars", line.pop("epoch"), line] for line in rest[:-1]]
    assert [*of_it, ["end", rest[-1]["status"]]] == told(tracked)[0][1:]


def test_it_changes_nothing_of_the_run(tracked, untracked):
    assert_same(tracked, untracked)
    assert tracked.info["config_hash"] == untracked.info["config_hash"]
    assert config_hash(config(tracker="lines")) == config_hash(config())


def interrupted(directory, monkeypatch, epoch):
    """A run that got a SIGTERM when it had just written the checkpoint of `epoch`."""
    write = RunDirectory.write_checkpoint

    def write_and_stop(store, checkpoint, kept):
        write(store, checkpoint, kept)
        if checkpoint.epoch == epoch:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "write_checkpoint", write_and_stop)
        with pytest.raises(KeyboardInterrupt):
            made(directory)


def test_each_sitting_tells_all_from_the_first_epoch_on(tracked, monkeypatch, tmp_path, capsys):
    interrupted(tmp_path / "run", monkeypatch, 10)
    resume(tmp_path / "run")
    resumed = load_run(tmp_path / "run")
    first, second = told(resumed)
    assert first[-1] == ["end", "interrupted"]
    assert first[0] == second[0]  # the same id
    assert second[1:] == told(tracked)[0][1:]
    resume(tmp_path / "run", ["optimizer.epochs=30"])
    longer = scalars(told(load_run(tmp_path / "run"))[2])
    assert longer["loss/mean"].keys() == set(load_run(tmp_path / "run").history.epoch)
    assert max(longer["volume_mean.layer1/mean"]) == 30


@pytest.mark.parametrize("call", ["start", "scalars", "figures", "end"])
def test_a_tracker_that_fails_costs_one_sentence_and_not_the_run(
    call, plugin, untracked, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(plugin.Lines, "failing", call)
    monkeypatch.setattr(runner, "drawing", lambda: drawn)
    run = made(tmp_path / "run", figures__draw=call == "figures")
    assert_same(run, untracked)
    (sentence,) = [line for line in capsys.readouterr().err.splitlines() if "tracker" in line]
    assert sentence.startswith("warning: tracker=lines failed, and is told no more of this run, which goes on: OSError")
    if call in ("scalars", "figures"):
        assert told(run)[0][-1] == ["end", "failed"]


def test_a_tracker_that_is_no_longer_installed_does_not_keep_a_run_from_being_resumed(
    plugin, untracked, monkeypatch, tmp_path, capsys
):
    interrupted(tmp_path / "run", monkeypatch, 5)
    monkeypatch.setattr(trackers, "known", lambda: {})
    resume(tmp_path / "run")
    assert_same(load_run(tmp_path / "run"), untracked)
    assert "tracker=lines failed" in capsys.readouterr().err


def test_networks_that_diverge_are_told_while_they_are_finite(plugin, tmp_path):
    with pytest.raises(RunError):
        made(tmp_path / "run", optimizer__lr=1e200)
    run = load_run(tmp_path / "run")
    (calls,) = told(run)
    assert calls[-1] == ["end", "diverged"]
    assert all(np.isfinite(value) for values in scalars(calls).values() for value in values.values())
    assert set(scalars(calls)["loss/mean"]) < set(run.history.epoch)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("tensorbord", "mlflow or tensorboard, or null. Got tensorbord. Did you mean `tensorboard`?"),
        ("3", "`tracker` must be tensorboard, mlflow, an installed tracker, or null. Got 3."),
        ("broken", "`tracker` must be one that can be imported. Got broken: No module named 'not_there'."),
    ],
)
def test_a_tracker_that_is_not_there_is_refused_before_anything_is_written(
    name, sentence, monkeypatch, tmp_path, capsys
):
    monkeypatch.chdir(tmp_path)
    if name == "broken":
        entry = EntryPoint(name, "not_there:Tracker", trackers.GROUP)
        monkeypatch.setattr(trackers, "known", lambda: {name: entry})
    for words in (["run", "task=xor"], ["run", "-m", "seed=0,1", "task=xor"]):
        assert main([*words, f"tracker={name}"]) == 2
        assert sentence in capsys.readouterr().err
    assert not list(Path().iterdir())
