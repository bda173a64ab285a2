"""Whether a grid is fine enough to show a field."""

import numpy as np
import pytest

from nngeom_cli.analysis.sampling import MOST_FLIPS, sign_flips, undersampled_words


@pytest.mark.parametrize(("points", "lines"), [(40, 1), (40, 3), (200, 3)])
def test_the_share_of_flips_counts_the_lines_that_cross_a_grid(points, lines):
    x = np.linspace(-1, 1, points)
    R = np.prod([x - place for place in np.linspace(-0.61, 0.63, lines)], axis=0) * np.ones((points, 1))
    assert sign_flips(R) == lines * points / (2 * points * (points - 1))
    assert sign_flips(R) < MOST_FLIPS


def test_the_share_falls_as_one_over_the_points_of_a_side():
    def share(points):
        x, y = np.meshgrid(*[np.linspace(-1, 1, points)] * 2)
        return sign_flips(np.sin(9 * x) * np.cos(7 * y + x))

    assert share(320) / share(80) == pytest.approx(79 / 319, rel=0.05)


def test_half_of_the_neighbours_differ_in_noise():
    noise = np.random.default_rng(0).normal(size=(3, 60, 60))
    assert sign_flips(noise) == pytest.approx(0.5, abs=0.02)
    assert undersampled_words(sign_flips(noise), 60).startswith("under-sampled: R differs in sign between 5")


def test_points_without_a_number_or_a_reliable_digit_do_not_count():
    R = np.array([[1.0, -1.0], [1.0, 1.0]])
    assert sign_flips(R) == 2 / 4
    for gone in (0.0, np.nan, np.inf):
        assert sign_flips(np.array([[1.0, gone], [1.0, 1.0]])) == 0.0
    assert sign_flips(R, error=np.array([[0.0, 0.2], [0.0, 0.0]])) == 0.0
    assert sign_flips(np.zeros((4, 4))) == sign_flips(np.ones((1, 1))) == 0.0
