"""The table over runs, from directories written by hand: every number has a second derivation here."""

import io
import json
import math
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_runs import GRID, path, plane, write_run
from scipy.stats import binomtest

from nngeom_cli.analysis.grid import grid_statistics
from nngeom_cli.analysis.path import path_statistics
from nngeom_cli.analysis.run_rows import estimates_of
from nngeom_cli.analysis.summary import strongest_control, summarize_runs
from nngeom_cli.cli.entry import main
from nngeom_cli.errors import ConfigError
from nngeom_cli.store.checksums import sealed
from nngeom_cli.store.discovery import find_runs
from nngeom_cli.store.sweep import Job, Sweep
from nngeom_cli.system.atomic import refuse_links

PAGE = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text(encoding="utf-8")


def seeds_from(first):
    return GRID.assign_coords(replicate=first + np.arange(3))


def estimated(values):
    """The estimate of each list of numbers, one a network."""
    return estimates_of({name: np.asarray(numbers, dtype=float)[:, None] for name, numbers in values.items()})


def records(*directories, **options):
    return json.loads(summarize_runs(directories, **options).text("json"))


def test_a_row_has_mean_standard_deviation_and_number_of_networks_of_each_metric(tmp_path):
    (row,) = records(write_run(tmp_path / "run"))
    assert (row["status"], row["networks"], row["note"]) == ("complete", 3, "")
    loss = row["metrics"]["loss"]
    assert loss["mean"] == pytest.approx(0.3)
    assert loss["standard_deviation"] == pytest.approx(math.sqrt((0.2**2 + 0.1**2 + 0.3**2) / 2))
    assert loss["n"] == 3
    assert 0.1 <= loss["low"] < 0.3 < loss["high"] <= 0.6
    assert row["metrics"]["solved"]["mean"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("options", [{}, {"grouped": True}])
def test_the_share_of_networks_that_solve_the_task_has_wilsons_interval(tmp_path, options):
    (row,) = records(write_run(tmp_path / "run"), **options)
    expected = binomtest(2, 3).proportion_ci(method="wilson")
    found = row["metrics"]["solved"]
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))
    assert found["standard_deviation"] == pytest.approx(np.std([1, 1, 0], ddof=1))


def test_statistics_are_those_of_the_trained_networks_and_their_change(tmp_path):
    (row,) = records(write_run(tmp_path / "run"))
    numbers = grid_statistics(GRID).sel(boundary="final", layer=1)
    for name in ("volume_rank_correlation", "curvature_band_contrast"):
        trained, untrained = (numbers[name].sel(epoch=epoch).values for epoch in (200, 0))
        assert row["metrics"][name]["mean"] == pytest.approx(trained.mean())
        assert row["metrics"][name]["standard_deviation"] == pytest.approx(trained.std(ddof=1))
        assert row["metrics"][f"{name}.change"]["mean"] == pytest.approx((trained - untrained).mean())


def test_a_row_has_each_control_and_the_paired_difference_from_it(tmp_path):
    geometry = plane(epochs=(0, 200), replicates=3).assign_attrs(box=[-0.2, 1.4, -1, 1])  # no symmetry of the circle
    (row,) = records(write_run(tmp_path / "run", geometry))
    numbers = grid_statistics(geometry).sel(layer=1, epoch=200)
    for control in ("other", "mirrored", "rotated"):
        for name in ("volume_band_mean", "curvature_rank_correlation"):
            theirs, ours = (numbers[name].sel(boundary=which).values for which in (control, "final"))
            assert row["metrics"][f"{name}.{control}"]["mean"] == pytest.approx(theirs.mean())
            assert row["metrics"][f"{name}.minus_{control}"]["mean"] == pytest.approx((ours - theirs).mean())
            deviation = row["metrics"][f"{name}.minus_{control}"]["standard_deviation"]
            assert deviation == pytest.approx((ours - theirs).std(ddof=1))
    assert row["metrics"]["volume_mean"]["mean"] == pytest.approx(numbers.volume_mean.mean().item())
    assert {name for name in row["metrics"] if "volume_mean" in name} == {"volume_mean", "volume_mean.change"}


@pytest.mark.parametrize(
    ("name", "value", "excesses", "strongest"),
    [
        ("volume_band_contrast", 1.0, {"change": 0.5, "minus_other": 0.2, "minus_mirrored": 0.9}, "other"),
        ("volume_band_contrast", 1.0, {"change": 0.1, "minus_other": 0.2, "minus_mirrored": 0.9}, "untrained"),
        ("curvature_band_contrast", -1.0, {"change": -0.5, "minus_other": -0.2, "minus_mirrored": 0.1}, "mirrored"),
        ("peak_distance", 3.0, {"change": -9.0, "minus_other": -4.0, "minus_middle": 2.0}, "middle"),
        ("peak_distance.layer2", 3.0, {"change": -9.0, "minus_other": -4.0, "minus_middle": -6.0}, "other"),
        ("change_excess", 3.0, {"minus_other": 1.0, "minus_middle": np.nan}, "other"),
    ],
)
def test_the_strongest_control_explains_most_of_a_statistic(name, value, excesses, strongest):
    values = {name: value} | {f"{name}.{key}": excess for key, excess in excesses.items()}
    control, difference = strongest_control(estimated({key: [x - 0.01, x + 0.01] for key, x in values.items()}), name)
    assert control == strongest
    assert difference.value == pytest.approx(excesses["change" if strongest == "untrained" else f"minus_{strongest}"])
    assert difference.n == 2


@pytest.mark.parametrize(("sign", "end"), [(1, "low"), (-1, "high")])
def test_what_beats_the_strongest_control_beats_all(sign, end):
    """A small difference of all networks is clear; a larger one on the whole, of a few, is not."""
    rng = np.random.default_rng(0)
    clear, vague = 1 + 0.1 * rng.normal(size=8), 1.5 + 3 * rng.normal(size=8)
    arrays = {"x": np.full(8, 9.0), "x.minus_other": clear, "x.minus_mirrored": vague}
    control, difference = strongest_control(estimated({name: sign * values for name, values in arrays.items()}), "x")
    assert control == "mirrored"
    assert sign * getattr(difference, end) < 0


@pytest.mark.parametrize(("shared", "strongest"), [(0.7, "rotated"), (0.8, "other")])
def test_a_control_that_is_the_boundary_itself_is_not_the_strongest(shared, strongest):
    numbers = {"x": 3.0, "x.minus_other": 1.0, "x.minus_rotated": 0.1, "band_shared.rotated": shared}
    found = estimated({name: [value, value] for name, value in numbers.items()})
    assert strongest_control(found, "x")[0] == strongest
    assert strongest_control({"x": found["x"]}, "x") is None


def test_a_terminal_shows_few_columns_and_names_the_strongest_control_in_the_cell(tmp_path):
    summary = summarize_runs([write_run(tmp_path / "run")])
    head, line = summary.text("terminal").splitlines()
    assert head.split() == [
        *("run", "networks", "accuracy", "solved", "volume_band_contrast", "curvature_band_contrast"),
        *("volume_band_contrast.minus_control", "curvature_band_contrast.minus_control"),
    ]
    assert sum(line.count(f"({control})") for control in ("untrained", "other")) == 2


@pytest.mark.parametrize(("width", "left"), [(200, 0), (130, 2), (80, 3), (60, 4), (50, 5), (20, 6)], ids=str)
def test_a_terminal_shows_as_many_columns_as_fit_and_names_the_others(tmp_path, width, left):
    summary = summarize_runs([write_run(tmp_path / "run")])
    names = summary.text("terminal").split("\n")[0].split()
    lines = summary.text("terminal", width).splitlines()
    shown = [word for line in lines for word in line.split() if word in names and word != "run"]
    assert names[1:] == [*shown, *names[len(names) - left :]]
    assert len(lines) == 2
    assert all(len(line) <= width for line in lines)
    said = summary.about(width)
    assert [*re.findall(r"[\w.]+", said.partition("no room for ")[2].partition(". `")[0])] == names[len(names) - left :]
    assert "--columns all" in said


def test_the_columns_that_are_asked_for_are_shown_in_their_order_whatever_the_width(tmp_path):
    asked = ["curvature_*.minus_control", "loss", "optimizer.lr", "volume_mean"]
    summary = summarize_runs([write_run(tmp_path / "run")], columns=asked)
    expected = [f"curvature_{name}.minus_control" for name in ("rank_correlation", "band_contrast", "band_mean")]
    expected = [*expected, "loss", "volume_mean"]
    head = summary.text("terminal", width=70).splitlines()
    shown = [word for line in head for word in line.split() if word in expected]
    assert sorted(shown) == sorted(expected)
    assert summary.text("markdown").splitlines()[0].count("|") == 4 + 1 + len(expected)
    (record,) = json.loads(summary.text("json"))
    assert list(record["metrics"]) == summary.metrics
    assert record["config"] == {"optimizer.lr": 0.02}
    assert record["metrics"]["curvature_band_contrast.minus_control"]["control"] in ("other", "untrained")
    everything = summarize_runs([tmp_path / "run"], columns=["all"])
    assert set(everything.text("terminal").split()) > {"volume_band_mean.minus_mirrored", "band_shared.other"}


def test_rows_are_sorted_with_the_best_first_and_those_without_a_value_last(tmp_path):
    for name, losses, lr in (("a", (0.3, 0.3, 0.3), 0.1), ("b", (0.1, 0.1, 0.1), 10), ("c", (0.2, 0.2, 0.2), 9.0)):
        write_run(tmp_path / name, losses=losses, lr=lr)
    truncate(write_run(tmp_path / "0"))
    for sort, reverse, order in (
        *(("loss", False, "bca0"), ("loss", True, "acb0"), ("solved", False, "abc0"), ("optimizer.lr", False, "acb0")),
        *(("optimizer.lr", True, "bca0"), ("", True, "cba0"), ("", False, "0abc")),
        *(("volume_band_contrast.minus_control", False, "abc0"), ("task.name", False, "abc0")),
    ):
        rows = summarize_runs([tmp_path], sort=sort, reverse=reverse).rows
        assert "".join(row.runs[0].name for row in rows) == order, (sort, reverse)


def test_the_best_score_of_a_column_is_marked_and_no_statistic_is(tmp_path):
    write_run(tmp_path / "a", losses=(0.3, 0.3, 0.3))
    write_run(tmp_path / "b", losses=(0.9, 0.1, 0.9))
    summary = summarize_runs([tmp_path], columns=["loss", "solved", "accuracy", "volume_mean"])
    assert re.findall(r"(\S+)(?: \[.*?\])? \*(?:\s|$)", summary.text("terminal")) == ["0.3", "1", "0.7"]
    assert "* best" in summary.about()
    assert "* best" not in summarize_runs([tmp_path / "a"]).about()


def test_the_columns_of_markdown_link_to_their_definitions(tmp_path):
    for kind, geometry in {"grid": GRID, "path": path(replicates=3, speed=True)}.items():
        text = summarize_runs([write_run(tmp_path / kind, geometry)], columns=["all"]).text("markdown")
        links = re.findall(r"\[([\w.]+)\]\(docs/statistics\.md#(\w+)\)", text)
        assert len(links) > 8
        for column, anchor in links:
            assert column.split(".")[0] == anchor
            assert f"\n### {anchor}\n" in PAGE


def test_replicates_that_diverged_are_no_others(tmp_path):
    geometry = plane(epochs=(0, 200), replicates=4).assign_attrs(box=[-0.2, 1.4, -1, 1])
    (row,) = records(write_run(tmp_path / "run", geometry, losses=(0.1, None, 0.2, 0.3), status="diverged"))
    alone = grid_statistics(geometry.isel(replicate=[0, 2, 3]), boundaries=["other"]).isel(epoch=-1)
    found = row["metrics"]["volume_band_mean.other"]
    assert (found["mean"], found["n"]) == (pytest.approx(alone.volume_band_mean.mean().item()), 3)


def test_paths_are_averaged_over_pairs_and_counted_as_networks(tmp_path):
    geometry = path(pairs=2, replicates=3)
    (row,) = records(write_run(tmp_path / "run", geometry))
    distances = path_statistics(geometry).peak_distance.sel(boundary="final", layer=1, epoch=30)
    found = row["metrics"]["peak_distance"]
    assert found["n"] == 3
    assert found["mean"] == pytest.approx(distances.values.mean())


def test_layers_have_columns_of_their_own(tmp_path):
    two = plane(epochs=(0, 200), layers=(1, 2), replicates=3).assign_attrs(box=[-1, 1, -1, 1])
    (row,) = records(write_run(tmp_path / "run", two))
    assert {"volume_band_contrast.layer1", "volume_band_contrast.layer2.change"} <= set(row["metrics"])


def test_only_config_keys_that_vary_are_columns_unless_others_are_asked_for(tmp_path):
    write_run(tmp_path / "a", lr=0.1)
    write_run(tmp_path / "b", lr=0.2)
    assert [row["config"] for row in records(tmp_path)] == [{"optimizer.lr": 0.1}, {"optimizer.lr": 0.2}]
    (first, _) = records(tmp_path, columns=["task.name", "optimizer"])
    assert list(first["config"]) == ["task.name", "optimizer.name", "optimizer.lr", "optimizer.epochs"]


def test_a_column_that_no_config_has_is_refused(tmp_path):
    write_run(tmp_path / "a")
    with pytest.raises(ConfigError, match=r"Got optimizer\.lrr\. Did you mean `optimizer\.lr`\?"):
        summarize_runs([tmp_path], columns=["optimizer.lrr"])
    with pytest.raises(ConfigError, match=r"`--sort` must be one .* Got acuracy\. Did you mean `accuracy`\?"):
        summarize_runs([tmp_path], sort="acuracy")


def test_a_group_pools_the_networks_of_all_seeds_and_counts_each_once(tmp_path):
    write_run(tmp_path / "a", seeds_from(0), losses=(0.1, 0.2, 0.3))
    write_run(tmp_path / "b", seeds_from(2), losses=(0.3, 0.4, 0.5))  # seed 2 is in both runs
    write_run(tmp_path / "c", seeds_from(0), losses=(0.9, 0.9, 0.9), lr=0.5)
    first, second = records(tmp_path, grouped=True)
    assert (first["status"], first["networks"]) == ("2 complete", 5)
    assert first["metrics"]["loss"]["n"] == 5
    assert first["metrics"]["loss"]["mean"] == pytest.approx(0.3)
    assert first["metrics"]["loss"]["standard_deviation"] == pytest.approx(np.std([1, 2, 3, 4, 5], ddof=1) / 10)
    assert first["config"] == {"optimizer.lr": 0.02}
    assert (second["networks"], len(second["runs"])) == (3, 1)


def test_a_diverged_replicate_is_left_out_of_the_means_but_did_not_solve_the_task(tmp_path):
    (row,) = records(write_run(tmp_path / "run", losses=(0.1, None, 0.3), status="diverged"))
    assert row["metrics"]["loss"]["mean"] == pytest.approx(0.2)
    assert (row["metrics"]["loss"]["n"], row["metrics"]["accuracy"]["n"], row["metrics"]["solved"]["n"]) == (2, 2, 3)
    assert row["metrics"]["solved"]["mean"] == pytest.approx(2 / 3)
    assert (row["status"], row["note"]) == ("diverged", "1 of 3 replicates diverged")


def test_a_network_whose_loss_overflowed_is_in_no_statistic_though_its_geometry_is_finite(tmp_path):
    (row,) = records(write_run(tmp_path / "run", losses=(0.1, None, 0.3), status="diverged"))
    expected = grid_statistics(GRID).sel(boundary="final").isel(epoch=-1, layer=0).volume_rank_correlation.values
    found = row["metrics"]["volume_rank_correlation"]
    assert found["n"] == 2
    assert found["mean"] == pytest.approx(expected[[0, 2]].mean())


def truncate(run):
    text = (run / "run.json").read_text()
    (run / "run.json").write_text(text[: len(text) // 2])


def rewrite(run, **changes):
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(sealed(info | changes)))


DAMAGES = {
    "half a run.json": truncate,
    "an empty run.json": lambda run: (run / "run.json").write_text(""),
    "a list": lambda run: (run / "run.json").write_text("[1]"),
    "bytes": lambda run: (run / "run.json").write_bytes(b"\xff\xfe\x00"),
    "a config that is a word": lambda run: rewrite(run, config="xor"),
    "replicates that are numbers": lambda run: rewrite(run, replicates=[1, 2]),
    "no replicates": lambda run: rewrite(run, replicates=[]),
    "a loss that is a word": lambda run: rewrite(run, replicates=[{"replicate": 0, "loss": "low"}]),
    "no geometry": lambda run: shutil.rmtree(run / "geometry"),
    "a geometry without a byte": lambda run: (run / "geometry" / "epoch-000200.nc").write_bytes(b""),
    "a geometry of letters": lambda run: (run / "geometry" / "epoch-000200.nc").write_text("letters" * 999),
}


def test_damaged_runs_are_rows_that_say_so_and_the_others_are_there(tmp_path):
    for number, damage in enumerate(DAMAGES.values()):
        damage(write_run(tmp_path / str(number)))
    write_run(tmp_path / "sound")
    summary = summarize_runs([tmp_path])
    *damaged, sound = json.loads(summary.text("json"))
    assert {what: row["status"] for what, row in zip(DAMAGES, damaged, strict=True)} == dict.fromkeys(
        DAMAGES, "damaged"
    )
    assert all(row["note"] and row["metrics"]["loss"]["n"] == 0 for row in damaged)
    assert sound["metrics"]["loss"]["mean"] == pytest.approx(0.3)
    for form in ("terminal", "csv", "markdown"):
        assert summary.text(form).count("damaged") >= len(DAMAGES)
    first, *others = records(tmp_path, grouped=True)
    assert (first["status"], [row["status"] for row in others]) == ("complete", ["damaged"] * len(DAMAGES))


def test_an_unfinished_run_is_a_row_with_how_far_it_came(tmp_path):
    write_run(tmp_path / "a", status="failed", error="OSError: no\nspace")
    (row,) = records(tmp_path)
    assert (row["status"], row["note"], row["metrics"]) == ("failed", "epoch 7 of 200: OSError: no space", {})


def test_jobs_of_a_sweep_that_have_not_begun_are_rows(tmp_path):
    write_run(tmp_path / "9-xor")
    Sweep(tmp_path, "basic", [Job("9-xor", [], "", {}), Job("10-xor", [], "", {})]).write()
    assert [row["status"] for row in records(tmp_path)] == ["complete", "not started"]


def test_runs_are_found_once_and_in_the_order_of_their_numbers(tmp_path):
    for name in ("10-xor", "9-xor"):
        write_run(tmp_path / "sweep" / name)
    found = find_runs([tmp_path / "sweep" / "9-xor", tmp_path, tmp_path / "sweep"])
    assert [path.name for path in found] == ["9-xor", "10-xor"]


def test_all_formats_tell_the_same(tmp_path):
    write_run(tmp_path / "a", lr=0.1)
    write_run(tmp_path / "b", lr=0.2, losses=(0.25, 0.25, 0.25))
    summary = summarize_runs([tmp_path], columns=["loss", "volume_mean"])
    as_json = json.loads(summary.text("json"))
    as_csv = pd.read_csv(io.StringIO(summary.text("csv")))
    assert as_csv["loss.mean"].tolist() == [row["metrics"]["loss"]["mean"] for row in as_json]
    assert as_csv["optimizer.lr"].tolist() == [0.1, 0.2]
    lines = summary.text("markdown").splitlines()
    cells = [cell.strip() for cell in lines[3].split("|")]
    assert len(lines) == 4
    assert cells[1:3] == ["b", "complete"]
    assert "0.25 \\*" in cells
    head, _, last = summary.text("terminal").splitlines()
    assert head.index("loss") == last.index("0.25 *")


def test_a_table_that_is_wider_than_the_terminal_comes_in_pieces(tmp_path):
    write_run(tmp_path / "a")
    lines = (
        summarize_runs([tmp_path], columns=["volume*.minus_control", "loss"]).text("terminal", width=60).splitlines()
    )
    assert max(map(len, lines)) <= 60
    assert len([line for line in lines if line.startswith("run ")]) > 1
    assert "volume_rank_correlation" in " ".join(lines)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "`nngeom summarize` must be followed by directories of runs. Got nothing. See outputs/."),
        (["nowhere"], "`nowhere` must be a directory. Got none. See outputs/."),
        (["empty"], "`empty` must hold runs. Got none. `nngeom run` prints where a run is."),
        (
            ["empty", "--colour"],
            "`nngeom summarize` must be followed by directories of runs. Got --colour. ",
        ),
        (["empty", "--format", "xml"], "`--format` must be terminal, csv, markdown or json. Got xml. "),
    ],
    ids=str,
)
def test_wrong_words_are_one_sentence(tmp_path, monkeypatch, capsys, words, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main(["summarize", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"nngeom: {sentence}")


def test_the_command_prints_the_table_though_a_run_is_damaged(tmp_path, capsys):
    truncate(write_run(tmp_path / "a"))
    write_run(tmp_path / "b")
    assert main(["summarize", str(tmp_path), "--format", "markdown"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [line.split("|")[2].strip() for line in out.splitlines()] == ["status", "---", "damaged", "complete"]


def test_texts_of_a_stranger_are_text_in_every_form(tmp_path, capsys):
    run = write_run(
        tmp_path / "=1+1\x1b[2J", task={"name": "csv", "path": "@SUM(A1)", "=key": "-cmd"}, error="\x1b[31m"
    )
    write_run(tmp_path / "other")
    for form in ("terminal", "markdown", "csv", "json"):
        assert main(["summarize", str(tmp_path), "--columns", "task", "--format", form]) == 0
        out = capsys.readouterr().out
        assert all(char.isprintable() for char in out.replace("\n", ""))
    summary = summarize_runs([tmp_path], columns=["task"])
    table = pd.read_csv(io.StringIO(summary.text("csv")))
    assert table["task.path"].tolist()[0] == "'@SUM(A1)"
    assert table["task.=key"].tolist()[0] == "'-cmd"
    assert [str(path) for path in summary.rows[0].runs] == [str(run)]


def test_what_a_stranger_says_at_length_is_cut_short(tmp_path):
    write_run(tmp_path / "run", status="failed", error="-" + "1" * 300_000 + "x")  # which looks like a number for long
    for form in ("terminal", "markdown", "csv", "json"):
        assert len(summarize_runs([tmp_path]).text(form)) < 5000


def test_runs_are_found_in_folders_that_are_deeper_than_pythons_stack(tmp_path):
    write_run(tmp_path / "run")
    (tmp_path / ("d/" * 400)).mkdir(parents=True)
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(300)
    try:
        assert find_runs([tmp_path]) == [tmp_path / "run"]
        refuse_links(tmp_path)
    finally:
        sys.setrecursionlimit(before)


def test_networks_that_were_not_measured_are_in_no_table(tmp_path):
    run = write_run(tmp_path / "run")
    info = json.loads((run / "run.json").read_text())
    info["replicates"] += [info["replicates"][0] | {"replicate": number} for number in range(10, 50_000)]
    (run / "run.json").write_text(json.dumps(sealed(info)))
    (row,) = records(tmp_path)
    assert (row["status"], row["networks"]) == ("damaged", 0)
    assert "replicates` must be those that were measured" in row["note"]
