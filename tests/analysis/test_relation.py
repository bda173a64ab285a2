"""Rank correlations between settings and within them: their values, intervals, p and what they could have shown."""

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from nngeom_cli.analysis.relation import detectable_correlation, grouped_rank_correlation, holm, permutation_p


def rng(seed=0):
    return np.random.default_rng(seed)


def networks(settings=10, seeds=12, *, between=0.0, within=0.0, random=None):
    """x, y, settings and seeds; effects of settings, and of seeds within them, correlate as asked."""
    random = random or rng()

    def pair(shape, rho):
        x, y = random.normal(size=(2, *shape))
        return x, rho * x + np.sqrt(1 - rho**2) * y

    (a, b), (c, d) = pair((settings, 1), between), pair((settings, seeds), within)
    setting, seed = np.indices((settings, seeds))
    return (3 * a + c).ravel(), (3 * b + d).ravel(), setting.ravel(), seed.ravel()


def test_between_settings_it_is_spearmans_of_their_mean_ranks():
    x, y, settings, seeds = networks(between=0.7)
    means = [rankdata(values).reshape(10, 12).mean(axis=1) for values in (x, y)]
    found = grouped_rank_correlation(x, y, settings, seeds, within=False, rng=rng())
    assert found.value == pytest.approx(spearmanr(*means).statistic, rel=1e-12)
    assert found.low < found.value < found.high


def test_within_one_setting_it_is_spearmans():
    x, y, settings, seeds = networks(settings=1, seeds=40, within=0.5)
    found = grouped_rank_correlation(x, y, settings, seeds, within=True, rng=rng())
    assert found.value == pytest.approx(spearmanr(x, y).statistic, rel=1e-12)
    assert permutation_p(x, y, settings, seeds, within=True, rng=rng()) == pytest.approx(
        spearmanr(x, y).pvalue, abs=0.01
    )


def test_differences_between_settings_count_for_nothing_within_them():
    x, y, settings, seeds = networks(settings=30, between=0.99)
    assert grouped_rank_correlation(x, y, settings, seeds, within=False, rng=rng()).low > 0.8
    within = grouped_rank_correlation(x, y, settings, seeds, within=True, rng=rng())
    assert within.low < 0 < within.high


def test_seeds_that_share_their_luck_in_all_settings_count_once():
    x, y, settings, seeds = networks(settings=20, within=0.0)
    luck = np.arange(12.0), np.array([6.0, 3, 9, 0, 4, 11, 1, 8, 5, 2, 10, 7])  # rank correlation 0.19
    x, y = (values + 5 * shared[seeds] for values, shared in zip((x, y), luck, strict=True))
    together = grouped_rank_correlation(x, y, settings, seeds, within=True, rng=rng())
    apart = grouped_rank_correlation(x, y, settings, np.arange(len(x)), within=True, rng=rng())
    assert together.value == pytest.approx(apart.value)
    assert together.high - together.low > 3 * (apart.high - apart.low)
    p, naive = (permutation_p(x, y, settings, of, within=True, rng=rng()) for of in (seeds, np.arange(len(x))))
    assert naive < 0.02 < 0.2 < p


def test_p_is_small_as_rarely_as_it_says_where_there_is_no_relation():
    random = rng(2)
    p = []
    for _ in range(120):
        x, y, settings, seeds = networks(settings=5, seeds=8, random=random)
        shared = random.normal(size=(2, 8))
        p.append(permutation_p(x + shared[0, seeds], y + shared[1, seeds], settings, seeds, within=True, rng=random))
    assert 0.0 < np.mean(np.array(p) < 0.05) < 0.13  # 0.05 expected
    assert 0.4 < np.mean(p) < 0.6


def test_one_setting_has_no_interval_over_settings():
    found = grouped_rank_correlation(*np.arange(10.0).reshape(2, 5), np.zeros(5), np.arange(5), within=False, rng=rng())
    assert np.isnan([found.low, found.high]).all()


def test_networks_without_a_value_are_left_out():
    x, y = np.array([1.0, 2, np.nan, 4]), np.array([1.0, 3, 2, 4])
    one, seeds = np.zeros(4), np.arange(4)
    assert grouped_rank_correlation(x, y, one, seeds, within=True, rng=rng()).n == 3
    nothing = grouped_rank_correlation(x * np.nan, y, one, seeds, within=True, rng=rng())
    assert (nothing.n, np.isnan(nothing.value)) == (0, True)
    for function in (permutation_p, lambda *of, **more: detectable_correlation(*of, tests=1, **more)):
        assert np.isnan(function(x * np.nan, y, one, seeds, within=True, rng=rng()))


@pytest.mark.parametrize("within", [True, False])
def test_numbers_that_do_not_vary_are_related_to_nothing(within):
    x, y, settings, seeds = networks()
    assert np.isnan(grouped_rank_correlation(x, 0 * y, settings, seeds, within=within, rng=rng()).value)
    assert np.isnan(permutation_p(x, 0 * y, settings, seeds, within=within, rng=rng()))
    assert np.isnan(detectable_correlation(x, 0 * y, settings, seeds, within=within, tests=1, rng=rng()))


def test_a_correlation_of_the_size_that_can_be_detected_is_found_four_times_in_five():
    random, found = rng(1), []
    least = detectable_correlation(*networks(settings=6, seeds=10), within=True, tests=10, rng=rng())
    assert 0.1 < least < 0.9
    rho = 2 * np.sin(np.pi * least / 6)  # Pearson's of normal numbers with that rank correlation
    for _ in range(100):
        data = networks(settings=6, seeds=10, within=rho, random=random)
        found.append(permutation_p(*data, within=True, rng=random) <= 0.05 / 10)
    assert 0.65 < np.mean(found) < 0.95


def test_more_tests_and_fewer_seeds_detect_less():
    def detected(seeds, tests):
        return detectable_correlation(*networks(seeds=seeds), within=True, tests=tests, rng=rng())

    assert detected(16, 1) < detected(16, 60) < detected(6, 60)


def test_holm_is_the_textbooks():
    p = np.array([0.01, 0.04, np.nan, 0.03, 0.005])
    assert holm(p).tolist() == pytest.approx([0.03, 0.06, np.nan, 0.06, 0.02], nan_ok=True)
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]
