"""A run of which a file is lost, cut short, changed or exchanged: whoever reads it has right numbers, or refuses."""

import contextlib
import json
import multiprocessing
import random
import shutil
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from small_runs import assert_same, config

from nngeom_cli.analysis.networks import networks
from nngeom_cli.analysis.summary import summarize_runs
from nngeom_cli.cli.entry import main
from nngeom_cli.errors import DamageError
from nngeom_cli.runs import run as runner
from nngeom_cli.runs.resume import resume
from nngeom_cli.store.checksums import checksum
from nngeom_cli.store.run import load_run
from nngeom_cli.store.sweep import Job, Sweep, load_sweep

pytestmark = pytest.mark.usefixtures("one_core")

PROBED = [0, 5, 10, 20]
FILES = [
    "run.json",
    "history.csv",
    "SHA256SUMS",
    *(f"geometry/epoch-{epoch:06d}.nc" for epoch in PROBED),
    *(f"checkpoints/epoch-{epoch:06d}.npz" for epoch in PROBED),
]
SOME = ["run.json", "history.csv", "SHA256SUMS", FILES[4], FILES[6], FILES[8]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A complete run, drawn and animated, and another one that differs in its seed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NNGEOM_CORES", "1")
        made = []
        for seed in (3, 7):
            directory = tmp_path_factory.mktemp(f"seed{seed}") / "run"
            directory.mkdir()
            runner.run(config(probe__checkpoints=PROBED, seed=seed), directory, command="nngeom run")
            made.append(directory)
    assert main(["figures", str(made[0])]) == main(["animate", str(made[0])]) == 0
    return made


@pytest.fixture
def copy(runs, tmp_path):
    return Path(shutil.copytree(runs[0], tmp_path / "run"))


def damages(name, other, flips, chance):
    """Ways to damage a file of a run, each a function of its path, by their names."""

    def flip(place):
        def flipped(path):
            content = bytearray(path.read_bytes())
            content[place // 8] ^= 1 << place % 8
            path.write_bytes(content)

        return flipped

    def cut(share):
        return lambda path: path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    ways = {
        "missing": Path.unlink,
        "empty": cut(0),
        "without its last bytes": lambda path: path.write_bytes(path.read_bytes()[:-7]),
        "truncated": cut(chance.random()),
        "of another run": lambda path: shutil.copy(other / name, path),
    }
    if "epoch" in name:
        ways["of another epoch"] = lambda path: shutil.copy(next(p for p in path.parent.iterdir() if p != path), path)
    bits = 8 * (other / name).stat().st_size
    return ways | {f"bit {place} flipped": flip(place) for place in (chance.randrange(bits - 80) for _ in range(flips))}


def parameters(directory):
    run = load_run(directory)
    return {epoch: run.parameters(epoch) for epoch in PROBED}


READERS = {
    "history": lambda directory: load_run(directory).history,
    "geometry": lambda directory: load_run(directory).geometry,
    "first_and_last": lambda directory: load_run(directory).first_and_last,
    "parameters": parameters,
    "info": lambda directory: load_run(directory).info,
}


def equal(left, right):
    if isinstance(left, xr.Dataset):
        return left.identical(right)
    if isinstance(left, dict) and 0 in left:
        return all(torch.equal(a, b) for epoch in PROBED for a, b in zip(left[epoch], right[epoch], strict=True))
    return left.equals(right) if hasattr(left, "equals") else left == right


def check_readers(copy, right):
    for name, read in READERS.items():
        try:
            found = read(copy)
        except (DamageError, FileNotFoundError) as error:
            sentence = str(error)
            assert f"`{copy}" in sentence and " must " in sentence, name  # noqa: PT018
        else:
            assert equal(found, right[name]), name


def check_summary(copy, right):
    (row,) = json.loads(summarize_runs([copy]).text("json"))
    if row["status"] == "complete":
        assert row["metrics"] == right["summary"]
    else:
        assert row["status"] == "damaged"
        assert all(metric["n"] == 0 for metric in row["metrics"].values())


def check_pictures(copy, right, capsys):
    for command in ("figures", "animate"):
        for path in (copy / "figures").rglob("*.*"):
            path.unlink()
        capsys.readouterr()
        code = main([command, str(copy)])
        said = capsys.readouterr().err
        assert code in (0, 2)
        assert code == 0 or (said.startswith("nngeom: `") and said.count("\n") == 1)
        for name, content in drawn(copy).items():
            assert content == right["pictures"][name], name


def drawn(directory):
    """What was drawn: numbers of figures, which are labelled, and films."""
    figures = directory / "figures"
    return {path.name: path.read_bytes() for path in figures.iterdir() if path.suffix in (".gif", ".png")}


def check_resume(copy, whole):
    before = {name: (copy / name).read_bytes() if (copy / name).exists() else None for name in FILES}
    try:
        resume(copy)
    except (DamageError, FileNotFoundError):
        after = {name: (copy / name).read_bytes() if (copy / name).exists() else None for name in FILES}
        assert before == after
    else:
        assert_same(load_run(copy), load_run(whole), PROBED)


@pytest.fixture(scope="module")
def right(runs):
    """What is right: the numbers of the undamaged run."""
    values = {name: read(runs[0]) for name, read in READERS.items()}
    (row,) = json.loads(summarize_runs([runs[0]]).text("json"))
    return values | {"summary": row["metrics"], "pictures": drawn(runs[0])}


def spoilt(copy, runs, name, flips, chance):
    """Damages a file of `copy` in each way, one after the other."""
    whole = (copy / name).read_bytes()
    for how, damage in damages(name, runs[1], flips, chance).items():
        damage(copy / name)
        if not (copy / name).exists() or (copy / name).read_bytes() != whole:
            yield how
        (copy / name).write_bytes(whole)


@pytest.mark.parametrize("name", SOME)
def test_a_damaged_file_gives_right_numbers_or_a_refusal(name, runs, copy, right):
    for how in spoilt(copy, runs, name, 1, random.Random(name)):
        if how in ("missing", "of another run", "of another epoch") or how.startswith("bit"):
            check_readers(copy, right)
            if how != "missing":
                check_summary(copy, right)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        *((name, "missing") for name in SOME),
        *((name, "of another run") for name in ("run.json", "SHA256SUMS", FILES[6])),
        *((name, "truncated") for name in ("history.csv", FILES[4])),
    ],
)
def test_resume_repairs_a_damaged_file_or_leaves_the_run_as_it_is(name, how, runs, copy):
    damages(name, runs[1], 0, random.Random(name))[how](copy / name)
    check_resume(copy, runs[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["history.csv", "geometry/epoch-000005.nc"])
def test_figures_and_films_of_a_damaged_run_are_right_or_refused(name, runs, copy, right, capsys):
    damages(name, runs[1], 0, random.Random(0))["without its last bytes"](copy / name)
    check_pictures(copy, right, capsys)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("history.csv", lambda run: run.history),
        ("geometry/epoch-000005.nc", lambda run: run.geometry),
        ("geometry/epoch-000005.nc", lambda run: run.first_and_last),
        ("checkpoints/epoch-000005.npz", lambda run: run.parameters(5)),
    ],
)
def test_a_lost_file_is_named_with_what_repairs_it(name, read, copy):
    (copy / name).unlink()
    run = load_run(copy)
    with pytest.raises(DamageError) as caught:
        read(run)
    assert str(caught.value) == (
        f"`{copy / name}` must be as the run wrote it. Got: it is missing. "
        f"Copy it again, or `nngeom resume {copy}` repairs it."
    )
    (row,) = json.loads(summarize_runs([copy]).text("json"))
    assert (row["status"], row["note"]) == ("damaged", str(caught.value))


def test_without_verifying_what_is_there_is_read(copy):
    shutil.copy(copy / "geometry/epoch-000000.nc", copy / "geometry/epoch-000010.nc")
    (copy / "geometry/epoch-000005.nc").unlink()
    (copy / "SHA256SUMS").unlink()
    lines = (copy / "history.csv").read_text().splitlines(keepends=True)
    (copy / "history.csv").write_text("".join(lines[:5]))
    (copy / "run.json").write_text((copy / "run.json").read_text().replace("0.02", "0.03"))
    run = load_run(copy, verify=False)
    assert run.geometry.epoch.values.tolist() == [0, 0, 20]
    assert len(run.history) == 4
    assert run.config["optimizer"]["lr"] == 0.03
    assert run.parameters(5)


def from_before(directory):
    """Makes a run one that was saved before run.json had an id."""
    info = json.loads((directory / "run.json").read_text())
    (directory / "run.json").write_text(json.dumps({key: info[key] for key in info if key not in ("id", "checksum")}))
    for path in (directory / "checkpoints").iterdir():
        with np.load(path) as arrays:
            kept = {name: arrays[name] for name in arrays.files if name != "run"}
        np.savez(path, **kept)
    paths = sorted(directory.glob("*/epoch-*"))
    lines = [f"{checksum(path)}  {path.relative_to(directory)}\n" for path in paths]
    (directory / "SHA256SUMS").write_text("".join(lines))
    return directory


def test_a_run_from_before_there_were_ids_is_read_and_checked_as_far_as_it_can_be(runs, copy):
    before = from_before(copy)
    assert_same(load_run(before), load_run(runs[0]), PROBED)
    for name in ("geometry/epoch-000005.nc", "checkpoints/epoch-000010.npz"):
        damages(name, runs[1], 0, random.Random(0))["of another epoch"](before / name)
    with pytest.raises(DamageError, match="its checksum is wrong"):
        _ = load_run(before).geometry
    resume(before)
    assert_same(load_run(before), load_run(runs[0]), PROBED)
    assert "id" not in load_run(before).info
    (before / "geometry" / "epoch-000005.nc").unlink()
    (before / "SHA256SUMS").write_text((before / "SHA256SUMS").read_text().replace("geometry/epoch-000005.nc", "gone"))
    with pytest.raises(DamageError, match="it is not in the manifest"):
        _ = load_run(before).geometry
    path = before / "run.json"
    path.write_text(path.read_text().replace('"lr": 0.02', '"lr": 0.03'))
    with pytest.raises(DamageError, match="its checksum is wrong"):
        load_run(before)


@pytest.mark.parametrize("key", ["id", "checksum"])
def test_a_run_does_not_become_one_from_before_by_losing_lines(copy, key):
    path = copy / "run.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in info.items() if name != key}))
    with pytest.raises(DamageError, match="its checksum is wrong"):
        load_run(copy)
    path.write_text(json.dumps({name: value for name, value in info.items() if name not in ("id", "checksum")}))
    with pytest.raises(DamageError, match="SHA256SUMS` must be as the run wrote it"):
        load_run(copy)
    path.write_text(json.dumps(info))
    manifest = copy / "SHA256SUMS"
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(DamageError, match="its own checksum is wrong"):
        load_run(copy)


def test_a_run_is_read_while_it_is_at_work_without_a_word_of_damage(tmp_path):
    directory = tmp_path / "run"
    directory.mkdir()
    many = config(probe__checkpoints={"spacing": "linear", "count": 9}, optimizer__epochs=40, checkpoint_seconds=0)
    working = multiprocessing.get_context("fork").Process(
        target=partial(runner.run, many, directory, command="nngeom run")
    )
    seen = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pytest's threads hold no lock that matters here
        working.start()
    while working.is_alive():
        with contextlib.suppress(FileNotFoundError):  # nothing was written yet
            run = load_run(directory)
            seen.append((run.history, run.first_and_last))
        (row,) = json.loads(summarize_runs([tmp_path]).text("json")) if (directory / "run.json").exists() else ({},)
        assert row.get("status") != "damaged"
    whole = load_run(directory)
    assert whole.status == "complete"
    assert len({len(history) for history, _ in seen}) > 1
    for history, ends in seen:
        pd.testing.assert_frame_equal(history, whole.history[: len(history)])
        last = ends.isel(epoch=-1)
        assert last.ricci_scalar.identical(whole.geometry.ricci_scalar.sel(epoch=last.epoch))


def test_a_run_that_is_extended_after_it_was_loaded_is_not_called_damaged(copy):
    before = load_run(copy)
    resume(copy, ["optimizer.epochs=40"])
    assert before.geometry.epoch.values.tolist() == PROBED
    assert before.history.epoch.max() == 40


def test_a_sweep_with_a_damaged_run_says_so_and_compares_nothing(runs, tmp_path):
    words = ["experiment=lazy"]
    for name, directory in zip("ab", runs, strict=True):
        shutil.copytree(directory, tmp_path / name)
    sweep = Sweep(tmp_path, "basic", [Job(name, words, "nngeom run experiment=lazy", {}) for name in "ab"])
    sweep.write()
    damages("run.json", runs[1], 0, random.Random(0))["truncated"](tmp_path / "a" / "run.json")
    assert [sweep.status(job) for job in sweep.jobs] == ["damaged", "complete"]
    assert sweep.outcome(sweep.jobs[0]).error.startswith(f"`{tmp_path / 'a' / 'run.json'}` must hold JSON")
    assert main(["figures", str(tmp_path)]) == 2
    shutil.copy(runs[0] / "run.json", tmp_path / "a")
    (tmp_path / "a" / "geometry" / "epoch-000020.nc").unlink()
    with pytest.raises(DamageError, match=r"epoch-000020\.nc` must be as the run wrote it\. Got: it is missing"):
        networks([sweep.run(job) for job in sweep.jobs])


def test_a_sweep_whose_jobs_were_changed_is_refused_and_one_from_before_is_read(tmp_path):
    Sweep(tmp_path, "basic", [Job("a", [], "nngeom run", {"seed": 3})]).write()
    path = tmp_path / "sweep.json"
    content = json.loads(path.read_text())
    path.write_text(path.read_text().replace('"seed": 3', '"seed": 7'))
    with pytest.raises(DamageError, match="content that does not fit its checksum"):
        load_sweep(tmp_path)
    path.write_text(json.dumps({"launcher": content["launcher"], "jobs": content["jobs"]}))
    assert load_sweep(tmp_path).jobs[0].config == {"seed": 3}


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FILES)
def test_every_damage_of_a_file_for_whoever_reads(name, runs, copy, right):
    for _ in spoilt(copy, runs, name, 50, random.Random(name)):
        check_readers(copy, right)
        check_summary(copy, right)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FILES)
def test_every_damage_of_a_file_for_pictures(name, runs, copy, right, capsys):
    for _ in spoilt(copy, runs, name, 3, random.Random(name)):
        check_pictures(copy, right, capsys)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FILES)
def test_every_damage_of_a_file_for_resume(name, runs, copy, tmp_path):
    for number, _ in enumerate(spoilt(copy, runs, name, 50, random.Random(name))):
        victim = Path(shutil.copytree(copy, tmp_path / str(number)))
        check_resume(victim, runs[0])
        shutil.rmtree(victim)
