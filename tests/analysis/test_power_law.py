"""Power laws over settings: where one fits, its rate and interval; where none does, the slopes between settings."""

import numpy as np
import pytest
from scipy.linalg import null_space
from scipy.stats import f

from nngeom_cli.analysis.power_law import power_law

WIDTHS = np.array([8.0, 16, 32, 64, 128])


def rng(seed=0):
    return np.random.default_rng(seed)


def crossed(n, random, law=lambda x: -0.75 * np.log(x), of_seed=0.3, own=0.3):
    """Each of n seeds at each width, with a deviation that its networks share and one of each network."""
    logs = law(WIDTHS) + of_seed * random.normal(size=(n, 1)) + own * random.normal(size=(n, len(WIDTHS)))
    return np.tile(WIDTHS, n), np.exp(logs).ravel(), np.repeat(np.arange(n), len(WIDTHS))


def nested(n, random):
    """n seeds of each width's own."""
    x = np.repeat(WIDTHS, n)
    return x, np.exp(-0.75 * np.log(x) + 0.3 * random.normal(size=len(x))), np.arange(len(x))


def bent(x):
    return -0.75 * np.log(x) - 0.15 * (np.log(x) - np.log(8)) ** 2


@pytest.mark.parametrize("made", [crossed, nested])
def test_the_interval_of_a_rate_holds_it_as_often_as_it_says(made):
    random = rng()
    rates = [found.rate for _ in range(60) if (found := power_law(*made(10, random), random).fitted)]
    inside = sum(rate.low < -0.75 < rate.high for rate in rates)
    assert 0.85 * len(rates) < inside <= len(rates)  # 95 % expected


def test_local_rates_are_slopes_between_mean_logarithms():
    x, y, seeds = crossed(8, rng())
    means = np.log(y).reshape(8, -1).mean(axis=0)
    slopes = [local.rate.value for local in power_law(x, y, seeds, rng()).local]
    assert slopes == pytest.approx(np.diff(means) / np.diff(np.log(WIDTHS)), rel=1e-9)


def test_what_the_networks_of_a_seed_share_does_not_blur_a_rate():
    x, y, seeds = crossed(12, rng(), of_seed=3.0, own=0.05)
    together = power_law(x, y, seeds, rng()).local[0].rate
    apart = power_law(x, y, np.arange(len(x)), rng()).local[0].rate
    assert together.value == apart.value
    assert apart.high - apart.low > 20 * (together.high - together.low)


def test_p_is_hotellings_of_the_bends_of_each_seed():
    x, y, seeds = crossed(16, rng(3))
    bends = np.log(y).reshape(16, -1) @ null_space(np.stack([np.ones(5), np.log(WIDTHS)]))
    covariance = np.cov(bends.T) / 16
    t2 = bends.mean(axis=0) @ np.linalg.solve(covariance, bends.mean(axis=0))
    assert power_law(x, y, seeds, rng()).ranges[0].p == pytest.approx(f.sf(t2 * 13 / (3 * 15), 3, 13), rel=1e-6)


def test_the_rate_of_least_chi2_is_the_intercept_of_slopes_on_bends():
    x, y, seeds = crossed(16, rng(3))
    logs = np.log(y).reshape(16, -1)
    slopes = np.polyfit(np.log(WIDTHS), logs.T, 1)[0]
    bends = logs @ null_space(np.stack([np.ones(5), np.log(WIDTHS)]))
    intercept = np.linalg.lstsq(np.column_stack([np.ones(16), bends]), slopes, rcond=None)[0][0]
    found = power_law(x, y, seeds, rng()).fitted
    assert (found.start, found.end) == (8, 128)
    assert found.rate.value == pytest.approx(intercept, rel=1e-6)


def test_a_bend_is_no_power_law_and_its_range_has_no_interval():
    law = power_law(*crossed(16, rng(), bent, own=0.05), rng())
    assert law.ranges[0].p < 1e-6
    assert np.isnan([law.ranges[0].rate.low, law.ranges[0].rate.high]).all()
    assert law.fitted is None or law.fitted.start > 8
    assert all(np.isfinite(local.rate.low) for local in law.local)


def test_the_range_is_the_longest_up_to_the_largest_setting_that_chi2_allows():
    x, y, seeds = crossed(16, rng(1), lambda x: np.where(x < 20, 0, -0.75 * np.log(x / 16)), own=0.05)
    law = power_law(x, y, seeds, rng())
    assert [found.start for found in law.ranges] == [8, 16, 32]
    assert law.fitted.start == 16
    assert law.ranges[0].p < 0.05 <= law.ranges[1].p


def test_too_few_seeds_to_tell_allow_no_power_law():
    law = power_law(*crossed(4, rng()), rng())  # 3 degrees of freedom, 3 bends
    assert np.isnan(law.ranges[0].p)
    assert np.isfinite(law.ranges[-1].p)
    assert law.fitted is None or law.fitted.start > 8


def test_one_network_at_each_place_has_slopes_and_no_interval():
    law = power_law(np.array([1.0, 2, 4]), np.array([8.0, 4, 2]), np.arange(3), rng())
    assert [local.rate.value for local in law.local] == pytest.approx([-1, -1])
    assert np.isnan([[local.rate.low, local.rate.high] for local in law.local]).all()
    assert law.fitted is None


@pytest.mark.parametrize("places", [[], [2.0, 2.0]])
def test_a_slope_needs_two_places(places):
    law = power_law(np.array(places), np.ones(len(places)), np.arange(len(places)), rng())
    assert (law.local, law.ranges, law.fitted) == ([], [], None)


def test_networks_without_a_positive_value_are_left_out():
    x, y, seeds = crossed(8, rng())
    y[::7] = [np.nan, 0.0, -1.0, np.inf, np.nan, 0.0][: len(y[::7])]
    kept = np.isfinite(y) & (y > 0)
    whole, less = power_law(x, y, seeds, rng()), power_law(x[kept], y[kept], seeds[kept], rng())
    assert str(whole) == str(less)
    assert whole.local[0].rate.n < 16


def test_networks_that_do_not_differ_follow_a_law_or_do_not():
    x, seeds = np.repeat([1.0, 2, 4], 3), np.tile(np.arange(3), 3)
    assert power_law(x, 5 / x, seeds, rng()).fitted.rate.value == pytest.approx(-1)
    assert power_law(x, 5 / x + (x == 2), seeds, rng()).fitted is None


def test_settings_that_nearly_agree_have_a_steep_rate_and_no_traceback():
    x, y = np.repeat([2.0, 2.0001], 4), np.array([1, 2, 1, 2, 0.5, 0.25, 0.5, 0.25])
    (found,) = power_law(x, y, np.arange(8), np.random.default_rng(0)).local
    assert found.rate.value < -1000
    assert found.factor == np.inf
