"""What is written is what is read; a file is whole or absent."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
import xarray as xr

from nngeom_cli.errors import DamageError
from nngeom_cli.store import run as store_module
from nngeom_cli.store.run import load_run
from nngeom_cli.store.run_directory import RunDirectory
from nngeom_cli.system import process
from nngeom_cli.system.atomic import written_whole
from nngeom_cli.system.process import is_gone, this_process
from nngeom_cli.training.checkpoint import Checkpoint

ROW = {"replicate": 0, "loss": 1e300, "accuracy": None, "solved": False, "test_loss": 1}


def checkpoint(epoch):
    generator = torch.Generator().manual_seed(epoch)
    weights = [torch.randn(2, 3, 4, generator=generator, dtype=torch.float64).numpy() for _ in range(2)]
    return Checkpoint(
        epoch,
        loss=np.array([1 / 3, math.pi]) / (epoch + 1),
        accuracy=np.array([0.5, 1.0]),
        weights=weights,
        optimizer={"velocity": [2 * layer for layer in weights]},
        generators=np.stack([generator.get_state().numpy()] * 2),
    )


def dataset(epoch):
    values = np.arange(2 * 2 * 3 * 3, dtype=float).reshape(2, 2, 3, 3) + epoch
    return xr.Dataset(
        {
            "ricci_scalar": (("layer", "replicate", "y", "x"), values, {"convention": "unit 2-sphere has R = +2"}),
            "input": (("point", "feature"), np.eye(2)),
        },
        coords={"replicate": [5, 6], "layer": [1, 2], "x": [-1.0, 0, 1], "y": [-1.0, 0, 1]},
        attrs={"kind": "grid", "widths": [2, 8, 1]},
    )


def begun(directory, probed=()):
    """The store of a run that is measured at the epochs `probed`."""
    config = {"seed": 5, "optimizer": {"epochs": max(probed, default=1)}, "probe": {"checkpoints": list(probed)}}
    store = RunDirectory(directory, {"id": "0" * 32, "config": config})
    store.update(status="running")
    return store


@pytest.fixture
def run(tmp_path):
    store = begun(tmp_path, [0, 10, 200_000])
    for epoch in (0, 10, 200_000):
        store.add_history(checkpoint(epoch), [5, 6])
        store.write_geometry(epoch, dataset(epoch))
        store.write_checkpoint(checkpoint(epoch), kept=[0, 10, 200_000])
    store.update(status="complete")
    return load_run(tmp_path)


def test_first_and_last_checkpoint_are_those_of_the_whole(run):
    xr.testing.assert_identical(run.first_and_last, run.geometry.isel(epoch=[0, -1]))


@pytest.mark.parametrize(
    ("most", "files", "epochs"),
    [(10, 10, range(10)), (4, 10, [0, 3, 6, 9]), (2, 10, [0, 9]), (10, 3, [0, 4, 9]), (10, 0, [0, 9])],
)
def test_a_picture_of_many_checkpoints_reads_some_the_first_and_the_last_among_them(
    tmp_path, monkeypatch, most, files, epochs
):
    store = begun(tmp_path, range(10))
    for epoch in range(10):
        store.add_history(checkpoint(epoch), [5, 6])
        store.write_geometry(epoch, dataset(epoch))
        store.write_checkpoint(checkpoint(epoch), kept=range(10))
    store.update(status="complete")
    read, read_dataset = [], store_module.read_dataset
    monkeypatch.setattr(store_module, "read_dataset", lambda path: read.append(path) or read_dataset(path))
    size = (tmp_path / "geometry" / "epoch-000000.nc").stat().st_size
    run = load_run(tmp_path)
    some = run.drawable(most, room=files * size)
    assert some.geometry.epoch.values.tolist() == list(epochs)
    assert len(read) == len(epochs)
    assert some.thinned == (10 if len(epochs) < 10 else 0)
    xr.testing.assert_identical(some.geometry, run.geometry.sel(epoch=list(epochs)))


def test_each_row_of_the_history_is_made_text_once(tmp_path, monkeypatch):
    rows, to_csv = [], pd.DataFrame.to_csv

    def counted(table, *arguments, **options):
        rows.append(len(table))
        return to_csv(table, *arguments, **options)

    monkeypatch.setattr(pd.DataFrame, "to_csv", counted)
    store = begun(tmp_path, range(20))
    for epoch in range(20):
        store.add_history(checkpoint(epoch), [5, 6])
        store.write_checkpoint(checkpoint(epoch), kept=range(20))
    assert sum(rows) == 40
    assert (tmp_path / "history.csv").read_bytes() == to_csv(store.history.table(), index=False).encode()
    assert len(load_run(tmp_path).history) == 40


def test_geometry_is_joined_along_epoch_and_labelled(run):
    R = run.geometry.ricci_scalar
    assert R.dims == ("epoch", "layer", "replicate", "y", "x")
    assert (
        R.sel(epoch=200_000, layer=2, replicate=6, x=1, y=-1).item() == dataset(200_000).ricci_scalar.values[1, 1, 0, 2]
    )
    assert R.attrs["convention"] == "unit 2-sphere has R = +2"
    assert list(run.geometry.attrs["widths"]) == [2, 8, 1]


def test_arrays_without_replicates_are_not_repeated_along_epoch(run):
    assert run.geometry.input.dims == ("point", "feature")


def test_history_is_read_back_to_the_last_digit(run):
    row = run.history.query("epoch == 10 and replicate == 6").iloc[0]
    assert row.loss == math.pi / 11
    assert list(run.history.columns) == ["epoch", "replicate", "loss", "accuracy"]


def test_parameters_are_read_back_bit_for_bit(run):
    for saved, written in zip(run.parameters(10), checkpoint(10).weights, strict=True):
        assert torch.equal(saved, torch.from_numpy(written))


def test_parameters_of_an_epoch_that_was_not_saved_name_those_that_were(run):
    with pytest.raises(FileNotFoundError, match=r"Got 7\. Choose from 0, 10, 200000\."):
        run.parameters(7)


def test_checkpoint_holds_optimizer_and_generators_as_plain_arrays(run):
    with np.load(run.directory / "checkpoints" / "epoch-000010.npz", allow_pickle=False) as arrays:
        assert (arrays["optimizer.velocity.1"] == 2 * checkpoint(10).weights[1]).all()
        assert arrays["generators"].dtype == np.uint8


def test_update_keeps_what_was_said_before(run):
    assert (run.status, run.config["seed"]) == ("complete", 5)
    assert json.loads((run.directory / "run.json").read_text())["config"] == run.config


@pytest.mark.parametrize(
    "change",
    [
        lambda part: part.assign_coords(x=[-1.0, 0, 2]),
        lambda part: part.isel(replicate=[0]),
        lambda part: part.drop_vars("ricci_scalar"),
        lambda part: part.rename(ricci_scalar="R"),
    ],
)
def test_checkpoints_of_different_arrays_are_refused_in_a_sentence(tmp_path, change):
    """Somebody has made them so, checksums and all."""
    store = RunDirectory(tmp_path)
    store.write_geometry(0, dataset(0))
    store.write_geometry(10, change(dataset(10)))
    store.update(status="interrupted")
    with pytest.raises(DamageError, match="files with different arrays"):
        assert load_run(tmp_path, verify=False).geometry


def test_epochs_of_seven_digits_come_after_those_of_six(tmp_path):
    store = begun(tmp_path, [0, 999_999, 1_000_000])
    for epoch in (0, 999_999, 1_000_000):
        store.add_history(checkpoint(epoch), [5, 6])
        store.write_geometry(epoch, dataset(epoch))
        store.write_checkpoint(checkpoint(epoch), kept=[0, 999_999, 1_000_000])
    run = load_run(tmp_path)
    assert run.geometry.epoch.values.tolist() == [0, 999_999, 1_000_000]
    with pytest.raises(FileNotFoundError, match=r"Choose from 0, 999999, 1000000\."):
        run.parameters(7)


def test_one_checkpoint_has_an_epoch_axis_too(tmp_path):
    store = begun(tmp_path, [0, 10])
    store.write_geometry(0, dataset(0))
    store.write_manifest()
    assert load_run(tmp_path).geometry.ricci_scalar.sizes["epoch"] == 1
    assert load_run(tmp_path).first_and_last.epoch.values.tolist() == [0, 0]


def test_of_the_checkpoints_that_are_not_kept_the_last_two_stay(tmp_path):
    store = begun(tmp_path)
    for epoch in range(8):
        store.add_history(checkpoint(epoch), [5, 6])
        store.write_checkpoint(checkpoint(epoch), kept=[0, 3])
    names = [f"epoch-{epoch:06d}.npz" for epoch in (0, 3, 6, 7)]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == names
    head, *lines, history = (tmp_path / "SHA256SUMS").read_text().splitlines()
    assert head.startswith(f"# nngeom run {'0' * 32}, checksum ")
    assert [line.split("/")[1] for line in lines] == names
    assert history.endswith("  history.csv")


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_the_manifest_is_one_that_sha256sum_reads(run):
    done = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=run.directory, capture_output=True)
    assert done.returncode == 0
    assert done.stdout.count(b": OK") == 7


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", r"must hold JSON\. Got: Expecting value"),
        ("[" * 100_000, "must hold JSON"),
        ("[]", "must hold one of the statuses running, complete, diverged, interrupted, failed"),
        ('{"status": "fine"}', "must hold one of the statuses"),
        ('{"status": "complete", "config": [1]}', r"config` must be a mapping\. Got \[1\]"),
        ('{"status": "complete", "wall_seconds": true}', r"wall_seconds` must be a number\. Got true"),
        ('{"status": ["complete"]}', "must hold one of the statuses"),
        (
            '{"status": "complete", "config": ' + 500 * '{"a":' + "1" + 501 * "}",
            "must hold JSON. Got: it is nested too deeply",
        ),
        ('{"status": "complete", "wall_seconds": 1e999}', "wall_seconds` must be a number. Got inf"),
        ('{"status": "complete", "wall_seconds": ' + "9" * 5000 + "}", "must hold JSON"),
        ('{"status": "complete", "git": {"commit": 5, "dirty": true}}', "git` must be a mapping with commit, a string"),
        ('{"status": "complete", "git": [1]}', "git` must be"),
        (
            '{"status": "complete", "replicates": [1]}',
            "replicates` must be a list, each item a mapping with replicate,",
        ),
        ('{"status": "complete", "replicates": [{"accuracy": 1}]}', "replicates` must be"),
        ('{"status": "complete", "versions": {"nngeom": {}}}', "versions` must be a mapping, each value a string"),
        ('{"status": "complete", "command": 5}', "command` must be a string. Got 5"),
        ('{"status": "running", "process": {"host": "a", "pid": "b", "started": null}}', "process` must be"),
        ('{"status": "running", "process": {}}', "process` must be"),
        ('{"status": "complete", "resumed": [{"at": "now"}]}', "resumed` must be"),
        ('{"status": "complete", "extended_from": [true]}', "extended_from` must be a list, each item an integer"),
        ('{"status": "complete", "error": {"a": 1}}', "error` must be a string"),
        (r'{"status": "complete", "id": "\ud800"}', "id` must be a word"),
        (r'{"status": "complete", "id": "a\n0 b"}', "id` must be a word"),
        ('{"status": "complete", "wall_seconds": ' + "9" * 400 + "}", "wall_seconds` must be a number"),
        ('{"status": "complete", "config": {"lr": NaN}}', "config` must be a mapping"),
        (json.dumps({"status": "complete", "config": {"a" * 200: 1}}), "config` must be a mapping"),
        (json.dumps({"status": "complete", "config": {"a": dict.fromkeys(map(str, range(2000)))}}), "config` must be"),
        (json.dumps({"status": "complete", "replicates": [ROW | {"=1+1": 2}]}), "replicates` must be a list"),
        ('{"status": "complete", "x": [' + "[]," * 4_000_000 + "1]}", "must hold JSON. Got: it has more than"),
    ],
)
def test_a_damaged_run_json_is_refused_in_a_sentence(tmp_path, text, sentence):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(DamageError, match=sentence):
        load_run(tmp_path)


def test_a_running_run_whose_process_is_gone_reads_as_interrupted(tmp_path):
    store = RunDirectory(tmp_path)
    store.update(status="running", process=this_process())
    assert load_run(tmp_path).status == "running"
    store.update(process=this_process() | {"started": "long ago"})
    assert load_run(tmp_path).status == "interrupted"
    store.update(process=this_process() | {"started": "long ago", "host": "elsewhere"})
    assert load_run(tmp_path).status == "running"
    store.update(process=None)
    assert load_run(tmp_path).status == "interrupted"


def test_a_process_is_known_by_its_start_whatever_the_clock_says(monkeypatch):
    known = this_process()
    assert known == this_process()
    created, booted = psutil.Process.create_time, psutil.boot_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: created(process) + 3600)  # somebody sets it
    monkeypatch.setattr(psutil, "boot_time", lambda: booted() + 3600)
    assert not is_gone(known)
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: created(process) + 3601)  # another of its number
    assert is_gone(known)


def test_a_process_that_ended_is_gone_before_it_is_buried():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        known = this_process() | {"pid": child.pid, "started": process._start(child.pid)}
        assert not is_gone(known)
        child.stdin.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert is_gone(known)
    assert is_gone(known)


@pytest.mark.skipif(not Path("/proc/self/comm").exists(), reason="a process has a file for its name on Linux only")
def test_a_process_may_have_any_bytes_as_its_name():
    name = Path("/proc/self/comm")
    before = name.read_bytes()
    try:
        name.write_bytes(b"\xff) Z 1")
        assert not is_gone(this_process())
    finally:
        name.write_bytes(before)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("old")

    def write_half():
        with written_whole(path) as temporary:
            temporary.write_text("new, but only ha")
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        write_half()
    assert [p.name for p in tmp_path.iterdir()] == ["history.csv"]
    assert path.read_text() == "old"


def test_a_written_file_can_be_read_by_others_as_the_umask_says(tmp_path):
    with written_whole(tmp_path / "a.txt") as temporary:
        temporary.write_text("a")
    (tmp_path / "b.txt").write_text("b")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode


def test_a_directory_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="must be a run directory"):
        load_run(tmp_path)


def test_a_run_that_was_not_probed_yet_says_so(tmp_path):
    begun(tmp_path)
    with pytest.raises(FileNotFoundError, match="Got none"):
        _ = load_run(tmp_path).geometry


@pytest.mark.parametrize(
    ("losses", "since"),
    [
        ([0.5, 0.4, math.nan, math.nan], 20),
        ([0.5, math.inf, 0.4, math.nan], 30),  # came back once
        ([math.nan] * 4, 0),
        ([0.5, math.nan, math.inf, math.nan], 10),
        ([0.5, 0.4, 0.3, 0.2], None),
        ([0.5, math.nan, 0.3, 0.2], None),
    ],
)
def test_a_replicate_diverged_at_the_first_epoch_after_its_last_finite_loss(tmp_path, losses, since):
    store = RunDirectory(tmp_path)
    for epoch, loss in zip(range(0, 40, 10), losses, strict=True):
        store.history.add(pd.DataFrame({"epoch": epoch, "replicate": [3, 4], "loss": [loss, 0.1], "accuracy": 0.5}))
    assert store.divergence(30) == (None if since is None else [{"replicate": 3, "epoch": since}])


def test_history_of_a_diverged_replicate_keeps_its_nan(tmp_path):
    store = begun(tmp_path)
    broken = Checkpoint(1, np.array([np.nan, 1.0]), np.array([0.5, 0.5]), [], {}, np.empty(0))
    store.add_history(broken, [0, 1])
    store.write_checkpoint(broken, kept=[])
    history = load_run(tmp_path).history
    assert isinstance(history, pd.DataFrame)
    assert np.isnan(history.loss[0])
    assert store.divergence(1) == [{"replicate": 0, "epoch": 1}]


def test_reading_geometry_needs_no_torch(run):
    code = f"""
import sys
from nngeom_cli.store.run import load_run
print(load_run({str(run.directory)!r}).geometry.ricci_scalar.shape, "torch" in sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(3, 2, 2, 3, 3) False"


def test_a_row_of_a_replicate_has_the_scores_that_a_run_gives(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"status": "complete", "replicates": [ROW]}))
    assert load_run(tmp_path, verify=False).info["replicates"] == [ROW]


@pytest.mark.parametrize(
    "config",
    [
        {"optimizer": {"epochs": 200_000.5}, "probe": {"checkpoints": [0, 10]}},
        {"optimizer": {"epochs": True}, "probe": {"checkpoints": [0, 10]}},
        {"optimizer": {"epochs": 200_000}, "probe": {"checkpoints": {"spacing": "log", "count": "9" * 9}}},
        {"optimizer": {"epochs": 200_000}, "probe": {"checkpoints": {"spacing": "log", "count": 10**9}}},
        {"optimizer": {"epochs": 200_000}, "probe": {"checkpoints": [0, -5]}},
        {"optimizer": {"epochs": 200_000}, "probe": {"checkpoints": [0, [5]]}},
    ],
    ids=str,
)
def test_epochs_that_no_run_is_measured_at_are_refused_in_a_sentence(run, config):
    RunDirectory(run.directory, run.info).update(config=config)
    with pytest.raises(DamageError, match="config` must say when the run is measured"):
        load_run(run.directory).geometry  # noqa: B018


def test_a_history_has_the_columns_that_a_run_writes(tmp_path):
    (tmp_path / "history.csv").write_text("epoch,replicate,loss,accuracy,=1+1\n0,0,1,1,1\n")
    with pytest.raises(DamageError, match="must have columns epoch, replicate, loss, accuracy"):
        store_module.Run(tmp_path, {}).history  # noqa: B018


def everything_of(directory):
    run = load_run(directory)
    return run.history, run.geometry


@pytest.mark.parametrize("name", ["SHA256SUMS", "history.csv", "geometry/epoch-000010.nc"])
def test_a_file_that_memory_cannot_hold_is_refused_unread(run, name):
    with (run.directory / name).open("r+b") as file:
        file.truncate(2**42)  # takes no room
    with pytest.raises(DamageError, match="must be as the run wrote it"):
        everything_of(run.directory)
