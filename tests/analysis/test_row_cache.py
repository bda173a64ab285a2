"""Rows that are kept: a table is as if all runs were read, whatever happens to their files or to what is kept."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from made_runs import GRID, path, write_run

from nngeom_cli.analysis import row_cache, run_rows, run_statistics
from nngeom_cli.analysis.bootstrap import estimate, estimates
from nngeom_cli.analysis.summary import summarize_runs
from nngeom_cli.store.checksums import sealed


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own, in which rows of files that were written just now are kept too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(row_cache, "SETTLED", 0.0)
    return tmp_path / "cache"


@pytest.fixture
def read(monkeypatch):
    """The runs that were read, and not taken from the cache."""
    runs, whole = [], run_rows._read
    monkeypatch.setattr(run_rows, "_read", lambda directory: runs.append(directory.name) or whole(directory))
    return runs


def tables(*directories, **options):
    return [summarize_runs(directories, **options).text(form) for form in ("json", "csv", "terminal")]


def test_a_second_table_is_the_same_and_reads_no_run_again(tmp_path, read):
    runs = [write_run(tmp_path / "a"), write_run(tmp_path / "b", path(pairs=2, replicates=3), lr=0.5)]
    write_run(tmp_path / "c", losses=(0.1, None, 0.3), status="diverged", lr=0.5)
    first = tables(*runs, tmp_path / "c")
    groups = tables(*runs, tmp_path / "c", grouped=True)
    assert read == ["a", "b", "c"]
    assert tables(*runs, tmp_path / "c") == first
    assert tables(*runs, tmp_path / "c", grouped=True) == groups
    assert read == ["a", "b", "c"]


def reseal(run):
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(sealed(info | {"replicates": info["replicates"][:2]})))


def same_size(run):
    file = run / "geometry" / "epoch-000200.nc"
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # as before: the time of the change of state is not


CHANGES = {
    "run.json": reseal,
    "a bit of the geometry, with the same size and time": same_size,
    "no history": lambda run: (run / "history.csv").unlink(),
    "no SHA256SUMS": lambda run: (run / "SHA256SUMS").unlink(),
    "another SHA256SUMS": lambda run: (run / "SHA256SUMS").write_text("0"),
    "a lost checkpoint": lambda run: (run / "geometry" / "epoch-000000.nc").unlink(),
    "another run in its place": lambda run: (shutil.rmtree(run), write_run(run, losses=(0.5, 0.5, 0.5))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_of_which_any_file_has_changed_is_read_again(tmp_path, read, monkeypatch, change):
    run = write_run(tmp_path / "run")
    before = tables(run)
    CHANGES[change](run)
    after = tables(run)
    assert len(read) > 1
    assert after != before
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    assert tables(run) == after


def test_a_copy_of_a_run_is_read_itself(tmp_path, read):
    run = write_run(tmp_path / "run")
    tables(run)
    shutil.copytree(run, tmp_path / "copy")
    (tmp_path / "copy" / "history.csv").unlink()
    assert "damaged" in tables(tmp_path / "copy")[0]


@pytest.mark.parametrize("what", [b"", b"{}", b"half", None])
def test_what_was_kept_and_is_no_longer_whole_counts_for_nothing(tmp_path, cache, read, what):
    run = write_run(tmp_path / "run")
    before = tables(run)
    (kept,) = (path for path in cache.rglob("*") if path.is_file())
    content = kept.read_bytes()
    kept.write_bytes(content.replace(b"complete", b"COMPLETE") if what is None else content[:90] + what)
    assert tables(run) == before
    assert len(read) == 2


def test_rows_of_other_code_are_not_taken(tmp_path, read, monkeypatch):
    run = write_run(tmp_path / "run")
    tables(run)
    monkeypatch.setattr(row_cache, "_code", lambda: "of tomorrow")
    tables(run)
    assert len(read) == 2


def test_a_run_that_was_written_just_now_or_has_not_ended_is_not_kept(tmp_path, cache, monkeypatch):
    tables(write_run(tmp_path / "runs", status="running"), write_run(tmp_path / "failed", status="failed"))
    monkeypatch.setattr(row_cache, "SETTLED", 60.0)
    tables(write_run(tmp_path / "new"))
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_no_trouble(tmp_path, monkeypatch, read):
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    run = write_run(tmp_path / "run")
    assert tables(run) == tables(run)


def test_rows_that_were_not_used_for_long_are_removed(tmp_path, cache, read):
    tables(write_run(tmp_path / "run"))
    (kept,) = (path for path in cache.rglob("*") if path.is_file())
    old = kept.with_name("old.json")
    old.write_text("")
    os.utime(old, (0, 0))
    row_cache._remove_unused.cache_clear()
    write_run(tmp_path / "run", lr=0.3) if not (tmp_path / "run").exists() else reseal(tmp_path / "run")
    tables(tmp_path / "run")
    assert kept.exists()
    row_cache._remove_unused(kept.parent)
    assert not old.exists()


def test_many_estimates_at_once_are_those_of_one_at_a_time():
    rng = np.random.default_rng(5)
    values = {name: rng.normal(size=(7, pairs)) for name, pairs in (("a", 1), ("b", 3), ("c", 1), ("d", 2))}
    values["b"][2, 1] = values["c"][4] = values["d"][[0, 3]] = np.nan
    values |= {"none": np.full((7, 1), np.nan), "one": np.where(np.arange(7)[:, None] == 2, 0.3, np.nan)}
    for name, found in estimates(values).items():
        alone = estimate(xr.DataArray(values[name], dims=["replicate", "pair"]), np.random.default_rng(0))
        for field in ("value", "low", "high", "n", "standard_deviation"):
            assert getattr(found, field) == pytest.approx(getattr(alone, field), rel=1e-12, nan_ok=True), (name, field)


def test_statistics_are_those_of_labelled_arrays(tmp_path):
    from nngeom_cli.analysis.grid import grid_statistics
    from nngeom_cli.store.run import load_run

    run = load_run(write_run(tmp_path / "run"))
    kept = np.array([True, False, True])
    found = run_statistics.statistics_of(run, kept)
    labelled = grid_statistics(GRID.isel(replicate=kept)).isel(epoch=-1, layer=0)
    theirs = labelled.volume_band_contrast.sel(boundary="mirrored").values
    assert found["volume_band_contrast.mirrored"][[0, 2], 0] == pytest.approx(theirs, nan_ok=True)
    assert np.isnan(found["volume_band_contrast.mirrored"][1])
    assert Path(run.directory).name == "run"
