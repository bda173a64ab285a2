"""The paper's claims: what is measured for each, with which controls, and what is said of the numbers."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from made_runs import made_run, path, plane

from nngeom_cli.analysis.bootstrap import Estimate, proportion
from nngeom_cli.analysis.grid import grid_statistics
from nngeom_cli.reproduction.claims import CLAIMS, TITLES, Claim, Result, solved
from nngeom_cli.reproduction.measured import Measured, over_networks, proportion_difference, share_beyond
from nngeom_cli.reproduction.report import report_lines, write_tables
from nngeom_cli.reproduction.reproduce import PLANS, as_expected
from nngeom_cli.reproduction.summary import SHORT, summary
from nngeom_cli.reproduction.verdict import NEGATIVE, POSITIVE, Finding, Part, judged, verdict

# ---- verdicts


@pytest.mark.parametrize(
    ("expected", "interval", "word"),
    [
        (POSITIVE, (0.1, 0.9), "holds"),
        (POSITIVE, (-0.1, 0.9), "undecided"),
        (POSITIVE, (-0.9, -0.1), "outside"),
        (POSITIVE, (0.0, 0.9), "undecided"),
        (POSITIVE, (-0.9, 0.0), "outside"),
        (POSITIVE, (0.0, 0.0), "outside"),
        (POSITIVE, (0.4, 0.4), "undecided"),
        (POSITIVE, (math.nan, math.nan), "undecided"),
        (NEGATIVE, (-0.9, -0.1), "holds"),
        (NEGATIVE, (-0.9, 0.1), "undecided"),
        (NEGATIVE, (0.1, 0.9), "outside"),
        (NEGATIVE, (-0.4, -0.4), "undecided"),
        ((0.3, 0.6), (0.3, 0.6), "holds"),
        ((0.3, 0.6), (0.5, 0.9), "undecided"),
        ((0.3, 0.6), (0.1, 0.9), "undecided"),
        ((0.3, 0.6), (0.61, 0.9), "outside"),
        ((0.3, 0.6), (0.1, 0.29), "outside"),
        ((0.3, 0.6), (0.4, 0.4), "undecided"),
        (None, (0.1, 0.9), ""),
    ],
)
def test_an_interval_holds_inside_the_range_only_and_agrees_with_nothing_if_it_has_no_width(expected, interval, word):
    assert judged(Part("rise", Estimate(sum(interval) / 2, *interval, 8), expected)) == word


def part(name, low, high, expected=POSITIVE, note=""):
    return Part(name, Estimate((low + high) / 2, low, high, 8), expected, note)


HOLDS, UNDECIDED, OUTSIDE = part("a", 1, 2), part("b", -1, 2), part("c", -2, -1)


@pytest.mark.parametrize(
    ("parts", "finding", "word", "deciding"),
    [
        ([HOLDS, HOLDS], None, "holds", []),
        ([HOLDS, UNDECIDED], None, "undecided", ["b"]),
        ([HOLDS, UNDECIDED], Finding("known"), "undecided", ["b"]),
        ([HOLDS, UNDECIDED, OUTSIDE], None, "off", ["c"]),
        ([HOLDS, UNDECIDED, OUTSIDE], Finding("known"), "differs", ["c"]),
        ([HOLDS, replace(OUTSIDE, expected=None)], None, "holds", []),
        ([replace(HOLDS, expected=None)], None, "not judged", []),
        ([replace(HOLDS, expected=None)], Finding("known"), "not judged", []),
    ],
)
def test_a_statement_holds_if_all_that_is_expected_of_it_does(parts, finding, word, deciding):
    assert verdict(parts, finding) == (word, deciding)


# ---- measures


@pytest.fixture(scope="module")
def on_plane():
    geometry = plane(epochs=(0, 10, 200), replicates=8)
    return Measured(made_run(Path("made"), geometry, solved=[True] * 6 + [False] * 2))


def by_name(run, name, area, expected, level=False, centre="mean"):
    return {each.name: each for each in run.parts(name, area, expected, level=level, centre=centre)}


def test_a_statistic_comes_untrained_trained_and_as_paired_differences_from_before_and_from_each_control(on_plane):
    parts = by_name(on_plane, "volume_band_contrast", "square", POSITIVE, level=True)
    values = grid_statistics(on_plane.geometry).volume_band_contrast.isel(layer=0)
    own = values.sel(boundary="final")
    assert parts["untrained"].obtained.value == pytest.approx(own.sel(epoch=0).mean().item())
    assert parts["trained"].obtained.value == pytest.approx(own.sel(epoch=200).mean().item())
    paired = over_networks(own.sel(epoch=200, drop=True) - own.sel(epoch=0, drop=True))
    assert parts["trained minus untrained"].obtained == paired
    for control, name in (
        ("other", "minus other networks' boundaries"),
        ("mirrored", "minus mirrored boundary"),
        ("rotated", "minus boundary turned by 180°"),
    ):
        theirs = values.sel(boundary=control)
        assert parts[name].obtained == over_networks((own - theirs).sel(epoch=200, drop=True))


@pytest.mark.parametrize("level", [True, False])
def test_the_trained_value_is_judged_where_the_reading_is_about_its_level(on_plane, level):
    parts = by_name(on_plane, "volume_band_mean", "square", NEGATIVE, level=level)
    assert parts["untrained"].expected is None
    assert parts["trained"].expected == (NEGATIVE if level else None)
    assert parts["trained minus untrained"].expected == NEGATIVE


def test_a_mean_over_the_area_is_shown_before_and_after_and_judged_by_nothing(on_plane):
    parts = by_name(on_plane, "volume_mean", "square", None)
    assert list(parts) == ["untrained", "trained", "trained minus untrained"]
    assert {each.expected for each in parts.values()} == {None}


def test_a_control_that_is_the_networks_own_line_is_not_counted_and_without_any_other_nothing_is_decided(on_plane):
    circles = by_name(on_plane, "volume_band_contrast", "square", POSITIVE)
    mirrored = circles["minus mirrored boundary"]
    assert (mirrored.expected, mirrored.note) == (None, "not counted, the same line: 100% of its band")
    assert "a control that counts" in verdict(list(circles.values()))[1]
    geometry = on_plane.geometry
    aside = geometry.assign(margin=geometry.margin * 0 + geometry.x - 0.6)
    lines = by_name(Measured(made_run(Path("made"), aside)), "volume_band_contrast", "square", POSITIVE)
    others, mirrored = (lines[f"minus {name}"] for name in ("other networks' boundaries", "mirrored boundary"))
    assert (others.expected, others.note) == (None, "not counted, the same line: 100% of its band")
    assert (mirrored.expected, mirrored.note) == (POSITIVE, "")
    assert "a control that counts" not in lines


def test_the_window_reaches_past_the_square(on_plane):
    assert on_plane.window.attrs["points"] == 25 * 25 > on_plane.square.attrs["points"]


def test_a_peak_is_compared_with_the_middle_of_the_path_and_with_untrained_networks_at_their_own_changes():
    run = Measured(made_run(Path("made"), path(pairs=3, replicates=4)))
    changes = 20 + 5 * np.arange(4)
    assert np.array_equal(run.middle_to_change.transpose("pair", "replicate"), [abs(changes - 32)] * 3)
    parts = by_name(run, "peak_distance", "path", NEGATIVE, centre="median")
    assert parts["trained"].obtained.value == 0
    assert parts["minus middle of the path as peak"].obtained.value == np.median(-abs(changes - 32))
    assert parts["minus middle of the path as peak"].expected == NEGATIVE
    own = run.path.peak_distance.sel(boundary="own").isel(epoch=0)
    assert parts["minus untrained at its own changes"].obtained.value == -float(own.median())
    assert "minus middle of the path as peak" not in by_name(run, "change_excess", "path", POSITIVE)


@pytest.mark.parametrize(("side", "count"), [(POSITIVE, 3), (NEGATIVE, 1)])
def test_the_networks_that_change_as_stated_are_counted_by_the_median_of_their_paths(side, count):
    values = xr.DataArray([[1, 1, -9], [1, 1, 1], [-1, -1, 9], [2, 2, 2], [math.nan] * 3], dims=("replicate", "pair"))
    assert share_beyond(values, side) == proportion(count, 4)


def test_proportions_have_wilsons_interval():
    found = proportion(8, 8)
    assert (found.value, found.n) == (1, 8)
    assert (found.low, found.high) == pytest.approx((0.675592, 1), abs=1e-6)  # Wilson 1927: 8 / (8 + 1.96^2)
    assert math.isnan(proportion(0, 0).low)


@pytest.mark.parametrize(
    ("ours", "theirs", "interval"),
    [  # Newcombe 1998, table II, method 10
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((10, 10), (0, 10), (0.6075, 1.0)),
    ],
)
def test_a_difference_of_proportions_has_newcombes_interval(ours, theirs, interval):
    found = proportion_difference(proportion(*ours), proportion(*theirs))
    assert (found.low, found.high) == pytest.approx(interval, abs=5e-5)


def test_the_share_of_solved_networks_is_a_proportion(on_plane):
    assert solved(on_plane) == proportion(6, 8)


# ---- claims


def test_each_run_has_claims_and_a_title_and_each_claim_a_run():
    assert {claim.run for claim in CLAIMS} == {*PLANS, "theory"} == TITLES.keys() == SHORT.keys()


@pytest.mark.parametrize("run", PLANS)
def test_each_statement_about_volume_or_curvature_is_read_in_both_ways(run):
    subjects = {"volume"} | ({"curvature"} if run == "figure2" or "width8" in run else set())
    for subject in subjects:
        for area in {claim.area for claim in CLAIMS if (claim.run, claim.subject) == (run, subject) and claim.area}:
            read = {claim.reading for claim in CLAIMS if (claim.run, claim.subject, claim.area) == (run, subject, area)}
            assert read >= {"relative", "absolute"}
        main = [claim.reading for claim in CLAIMS if (claim.run, claim.subject) == (run, subject) and claim.main]
        assert sorted(reading for reading in main if reading != "check") == ["absolute", "relative"]


def test_a_claim_on_a_plane_is_asked_in_the_square_and_over_the_window_alike():
    square, window = (
        {(claim.run, claim.subject, claim.reading, claim.statistic) for claim in CLAIMS if claim.area == area}
        for area in ("square", "window")
    )
    assert square == window


# ---- what is said


def claim(run="figure2", reading="relative", subject="volume", area="square", main=True, finding=None):
    return Claim(run, reading, f"Said of {run}.", "rise, nats", lambda _: [], subject, area, main, finding)


KNOWN, PROOF = Finding("It is known why."), Finding("It is proved why.", proved=True)
RESULTS = [
    Result(claim(), [replace(HOLDS, expected=None), HOLDS], "holds", []),
    Result(claim(area="window", main=False), [UNDECIDED], "undecided", ["b"]),
    Result(claim("figure1-sigmoid", finding=KNOWN), [OUTSIDE], "differs", ["c"]),
    Result(claim("figure3-sigmoid", "absolute", area="path"), [OUTSIDE], "off", ["c"]),
    Result(claim("theory", "check", "", "", finding=PROOF), [OUTSIDE], "differs", ["c"]),
    Result(claim("figure2", "shown", main=False), [replace(HOLDS, expected=None)], "not judged", []),
]
RUNS = {"figure2": {"command": "nngeom run experiment=figure2", "config_hash": "c0ffee" * 4, "wall_seconds": 3.0}}
DRAWN = {
    "figure2": {"files": ["figure2-made.png"]},
    "theory": {"command": "nngeom theory", "files": ["theory.png"]},
}


def lines(quick=False):
    about = {name: info | {"networks": 8} for name, info in RUNS.items()}
    return "\n".join(report_lines(RESULTS, about, DRAWN, quick))


def test_only_a_claim_that_is_off_makes_the_exit_code_1():
    assert not as_expected(RESULTS)
    assert as_expected([result for result in RESULTS if result.word != "off"])
    assert {result.word for result in RESULTS} == {"holds", "undecided", "differs", "off", "not judged"}


def test_the_summary_is_five_sentences_that_name_each_reading_and_what_does_not_hold():
    sentences = summary(RESULTS)
    assert len(sentences) == 5
    assert "holds for sinusoid; does not hold for XOR [2, 2, 1] sigmoid; by another statistic" in sentences[0]
    assert sentences[0].endswith("undecided for sinusoid.")
    assert sentences[1].endswith("off for digits sigmoid.")
    assert sentences[4].endswith("not so: Said of theory.")


def test_the_page_has_the_reading_each_control_and_the_verdict_with_what_decides_it():
    whole = lines()
    assert "| reading | statistic | expected | a | verdict |" in whole
    assert "| relative | rise, nats | > 0 | -1.5 [-2, -1] (n = 8) | differs: c |" in whole
    assert "| relative | rise, nats | > 0 | 0.5 [-1, 2] | undecided: b |" in whole
    assert "| shown | rise, nats |  | 1.5 [1, 2] | not judged |" in whole
    assert "- After the numbers were seen: It is known why." in whole
    assert "- Proved: It is proved why." in whole
    assert "`nngeom run experiment=figure2`" in whole
    assert "- theory: `nngeom theory`. [theory.png](theory.png)" in whole


def test_a_quick_look_judges_nothing():
    quick = lines(quick=True)
    assert "QUICK" in quick
    assert not any(f"| {word}" in quick for word in ("holds", "differs", "undecided", "off"))
    assert "It is known why." not in quick


def test_the_file_for_programs_has_each_part_with_its_interval_and_verdict(tmp_path):
    write_tables(RESULTS, {}, {}, tmp_path, quick=False)
    listed = json.loads((tmp_path / "REPRODUCTION.json").read_text())["claims"]
    assert [one["verdict"] for one in listed] == [result.word for result in RESULTS]
    (undecided,) = listed[1]["parts"]
    assert undecided["obtained"] == {"value": 0.5, "low": -1, "high": 2, "n": 8}
    assert (undecided["expected"], undecided["verdict"]) == ([0, None], "undecided")
    assert (listed[2]["finding"], listed[2]["proved"], listed[4]["proved"]) == (KNOWN.text, False, True)
