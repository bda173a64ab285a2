"""Intervals hold the truth as often as docs/statistics.md says, and it says what benchmarks/coverage.py simulates."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("coverage_tables", ROOT / "benchmarks" / "coverage.py")
TABLES = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(TABLES)

PAGE = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([^|]+) \| ([^|]+) \|((?: *\d+: [01]\.\d+ \|)+)", PAGE, flags=re.MULTILINE)
STATED = {
    (kind, data, int(n)): float(p) for kind, data, cells in ROWS for n, p in re.findall(r"(\d+): ([\d.]+)", cells)
}
SIMULATED = [key for key in STATED if key[0] in TABLES.KINDS]
TRIALS = 60
Z = norm.isf(1e-5)  # so that one of a hundred cells is off by chance once in a thousand runs


def test_the_page_has_the_coverage_of_each_kind_of_interval():
    expected = {
        (kind, data, n)
        for kind, (_, sizes, kinds) in TABLES.KINDS.items()
        for data in kinds
        for n in TABLES.SIZES[sizes]
    }
    assert set(SIMULATED) == expected
    proportions = {key: p for key, p in STATED.items() if key not in expected}
    assert len(proportions) == len(TABLES.PROPORTIONS) * len(TABLES.SIZES["proportion"])
    for (_, data, n), stated in proportions.items():
        assert stated == pytest.approx(TABLES.of_proportion(float(data.removeprefix("p = ")), n), abs=6e-4)


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", list(TABLES.KINDS))
def test_an_interval_holds_the_truth_as_often_as_the_page_says(kind):
    rng = np.random.default_rng(1)
    for _, data, n in (key for key in SIMULATED if key[0] == kind):
        held, of = TABLES.simulated(kind, data, n, TRIALS, rng)
        stated = STATED[kind, data, n]
        p = min(max((held + stated * TABLES.TRIALS) / (of + TABLES.TRIALS), 0.01), 0.99)
        error = (p * (1 - p) * (1 / of + 1 / TABLES.TRIALS)) ** 0.5
        assert abs(held / of - stated) <= Z * error, (data, n)


@pytest.mark.parametrize("kind", ["mean of replicates", "local rate between two settings"])
def test_intervals_of_normal_data_hold_the_truth_in_93_to_97_of_100_from_16_seeds_on(kind):
    for n in (16, 24, 50):
        if (stated := STATED.get((kind, "normal", n))) is not None:
            assert 0.93 <= stated <= 0.97
