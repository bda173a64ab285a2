"""Controls that keep the geometry of the question: what they are in made cases, and where they are undefined."""

import numpy as np
import pytest
import xarray as xr
from made_runs import examples, geodesics, image_planes, path, plane

from nngeom_cli.analysis.bootstrap import over_replicates, stage_table
from nngeom_cli.analysis.data import data_statistics
from nngeom_cli.analysis.geodesic import geodesic_statistics
from nngeom_cli.analysis.grid import grid_statistics
from nngeom_cli.analysis.path import path_statistics
from nngeom_cli.analysis.plane import plane_statistics
from nngeom_cli.analysis.ranks import ranks, ranks_among
from nngeom_cli.analysis.statistic import BOUNDARIES, CONTROLS, REASONS

KINDS = {
    "grid": (grid_statistics, plane(replicates=4)),
    "path": (path_statistics, path(pairs=3, replicates=4, speed=True)),
    "plane": (plane_statistics, image_planes(replicates=4)),
    "data": (data_statistics, examples(replicates=4, curved=True)),
    "geodesic": (geodesic_statistics, geodesics(replicates=4)),
}


def statistics_of(kind, **options):
    measure, geometry = KINDS[kind]
    return measure(geometry, **options)


def names_of(statistics):
    return [name for name in statistics if f"{name}_undefined" in statistics]


def reasons(flags):
    return {REASONS[flag] for flag in np.unique(flags.values)}


@pytest.mark.parametrize("kind", BOUNDARIES)
def test_each_boundary_alone_has_the_values_that_it_has_among_all(kind):
    everything = statistics_of(kind)
    assert everything.boundary.values.tolist() == list(BOUNDARIES[kind])
    for boundary in BOUNDARIES[kind]:
        alone = statistics_of(kind, boundaries=[boundary])
        for name in names_of(everything):
            expected = everything[name].sel(boundary=[boundary]) if "boundary" in alone[name].dims else everything[name]
            xr.testing.assert_equal(alone[name], expected)


@pytest.mark.parametrize("kind", BOUNDARIES)
def test_boundaries_are_given_in_the_order_that_they_are_asked_for_and_say_whose_they_are(kind):
    last, first = list(BOUNDARIES[kind])[-1], "final"
    statistics = statistics_of(kind, boundaries=[last, first, last])
    assert statistics.boundary.values.tolist() == [last, first]
    (asking, *_) = (name for name in names_of(statistics) if "boundary" in statistics[name].dims)
    for boundary in (last, first):
        assert f"boundary={boundary}: {BOUNDARIES[kind][boundary]}" in statistics[asking].attrs["convention"]


@pytest.mark.parametrize("kind", BOUNDARIES)
@pytest.mark.parametrize(("asked", "got"), [(["mirored"], "mirored"), (["final", "owns"], "owns"), ([], "none")])
def test_a_boundary_that_there_is_not_is_refused_with_those_that_there_are(kind, asked, got):
    known = ", ".join(BOUNDARIES[kind])
    with pytest.raises(ValueError, match=rf"`boundaries` of a {kind} must be of {known}\. Got {got}\. "):
        statistics_of(kind, boundaries=asked)


@pytest.mark.parametrize("kind", [kind for kind, names in BOUNDARIES.items() if "other" in names])
def test_without_another_replicate_or_path_that_control_is_nan_and_says_why(kind):
    measure, geometry = KINDS[kind]
    alone = geometry.isel(pair=[0]) if kind == "path" else geometry.isel(replicate=[0])
    statistics = measure(alone)
    for name in names_of(statistics):
        if "boundary" in statistics[name].dims:
            other = statistics.sel(boundary="other")
            assert np.isnan(other[name]).all()
            assert reasons(other[f"{name}_undefined"]) == {"no_other"}
            assert "no_other" not in reasons(statistics[f"{name}_undefined"].drop_sel(boundary="other"))


def test_replicates_without_a_boundary_are_no_others():
    geometry = plane(replicates=4)
    geometry["margin"][:, 1] = 1.0
    some, fewer = (grid_statistics(one, boundaries=["other"]) for one in (geometry, geometry.isel(replicate=[0, 2, 3])))
    xr.testing.assert_allclose(some.volume_band_mean.isel(replicate=[0, 2, 3]), fewer.volume_band_mean)
    geometry["margin"][:] = 1.0
    none = grid_statistics(geometry, boundaries=["other"])
    assert reasons(none.volume_band_mean_undefined) == {"no_boundary"}


def test_at_most_seven_others_are_asked():
    statistics = grid_statistics(plane(replicates=12)).sel(boundary=["final", "other"])
    asked = plane(replicates=12).isel(replicate=slice(0, 8))
    of_eight = grid_statistics(asked).sel(boundary="other").isel(replicate=0)
    xr.testing.assert_allclose(
        statistics.volume_rank_correlation.sel(boundary="other").isel(replicate=0), of_eight.volume_rank_correlation
    )


def test_a_boundary_with_the_symmetry_of_a_control_is_its_own_control_and_shares_its_band():
    """A circle about the middle of the box is its own image."""
    statistics = grid_statistics(plane(replicates=3))
    for control in ("mirrored", "rotated"):
        assert (statistics.band_shared.sel(boundary=control) > 0.99).all()
        for name, error in (("volume_band_contrast", 1e-6), ("curvature_rank_correlation", 1e-3)):  # ties are rounded
            values = statistics[name]
            np.testing.assert_allclose(values.sel(boundary=control), values.sel(boundary="final"), atol=error)


@pytest.mark.parametrize(("line", "band", "expected"), [(0.1, 0.2, 0.5), (0.1, 0.4, 0.75), (0.3, 0.2, 0.0)])
def test_the_bands_of_two_upright_lines_share_what_lies_between_their_far_edges(line, band, expected):
    """Of lines at x = a and -a, with bands of half width w < 1 - a, the share is 1 - a / w, or 0."""
    geometry = plane(replicates=1)
    geometry["margin"] = (geometry.x - line + 0 * geometry.margin).transpose(*geometry.margin.dims)
    geometry = geometry.interp(x=np.linspace(-1, 1, 801))
    shared = grid_statistics(geometry, band=band).band_shared
    assert shared.sel(boundary="mirrored").values == pytest.approx(expected, abs=0.01)
    assert (shared.sel(boundary=["final", "own"]) == 1).all()
    assert shared.sel(boundary="other").isnull().all()


def test_volume_that_peaks_in_the_middle_of_each_path_is_explained_by_the_middle():
    geometry = path(pairs=2, replicates=3, epochs=(0, 30))
    volume = geometry.log_effective_volume_element
    geometry["log_effective_volume_element"] = -abs(geometry.step - 32.0) + 0 * volume
    distance = path_statistics(geometry).peak_distance
    assert (distance.sel(boundary="middle") == 0).all()
    assert (distance.sel(boundary="final") > 0).all()


@pytest.mark.parametrize("kind", BOUNDARIES)
def test_the_table_has_each_control_and_the_paired_difference_from_it(kind):
    statistics = statistics_of(kind)
    table = stage_table(statistics, np.random.default_rng(0)).set_index(["statistic", "boundary", "layer", "stage"])
    for name in names_of(statistics):
        values = statistics[name]
        if "boundary" not in values.dims:
            assert set(table.loc[name].index.get_level_values(0)) == {""}
            continue
        differences = {f"final - {control}": control for control in CONTROLS[kind]}
        assert list(dict.fromkeys(table.loc[name].index.get_level_values(0))) == [*BOUNDARIES[kind], *differences]
        for words, control in differences.items():
            trained = values.isel(epoch=-1, layer=0)
            paired = trained.sel(boundary="final", drop=True) - trained.sel(boundary=control, drop=True)
            expected = over_replicates(paired, np.random.default_rng(0))
            row = table.loc[(name, words, 1, "trained")]
            found = [row[column] for column in ("estimate", "low", "high", "n")]
            wanted = [expected[column].item() for column in ("estimate", "low", "high", "n")]
            assert found == pytest.approx(wanted, nan_ok=True)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("shared", [(4, 3), (1, 3), (1, 1)])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_ranks_among_usable_places_are_those_without_the_others(ties, shared, share):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(*shared, 50))
    values[..., :3] = np.inf  # far from a boundary that there is not
    values = values.round(1) if ties else values + np.where(np.isinf(values), 0, 1e-9 * np.arange(50))
    usable = rng.random((4, 3, 50)) < share
    expected = ranks(np.where(usable, values, np.nan))
    np.testing.assert_array_equal(np.where(usable, ranks_among(values, usable), np.nan), expected)
