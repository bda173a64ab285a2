"""Statistics of planes equal slow literal twins, and what is undefined says why."""

import math

import numpy as np
import pytest
import scipy.stats
import xarray as xr

from nngeom_cli.analysis.bootstrap import over_replicates, stage_table
from nngeom_cli.analysis.plane import in_triangle, plane_statistics
from nngeom_cli.analysis.statistic import BOUNDARIES, REASONS

AXIS = np.linspace(-1.2, 1.2, 13)
CORNERS = np.array([[[-1.0, -0.5], [1.0, -0.5], [0.2, 1.0]], [[-0.7, -0.9], [0.8, -0.9], [-0.1, 1.1]]])
X, Y = np.meshgrid(AXIS, AXIS)
FIELDS = ("effective_volume", "volume", "curvature")


def planes(effective, volume, ricci, error, entropy):
    """A plane geometry from fields (epoch, layer, plane, replicate, y, x) and entropies without a layer."""
    dims = ("epoch", "layer", "plane", "replicate", "y", "x")
    names = ("log_effective_volume_element", "log_volume_element", "ricci_scalar", "ricci_scalar_error")
    arrays = {name: (dims, field) for name, field in zip(names, (effective, volume, ricci, error), strict=True)}
    arrays |= {"entropy": ((dims[0], *dims[2:]), entropy), "corner_place": (("plane", "end", "axis"), CORNERS)}
    coordinates = {"x": AXIS, "y": AXIS, "layer": 1 + np.arange(effective.shape[1])}
    return xr.Dataset(arrays, coordinates | {"epoch": np.arange(len(effective))}, {"kind": "plane"})


def random_planes(seed=0, shape=(2, 2, 2, 3)):
    rng = np.random.default_rng(seed)
    size = (*shape, 13, 13)
    effective = np.where(rng.random(size) < 0.1, -np.inf, rng.normal(size=size).round(1))
    ricci = np.where(rng.random(size) < 0.1, np.nan, rng.normal(size=size))
    ricci[rng.random(size) < 0.1] = 0.0
    error = np.abs(ricci) * 10 ** rng.uniform(-9, 0, size)
    return planes(effective, rng.normal(size=size), ricci, error, rng.exponential(size=(shape[0], *size[2:])))


def inside(corners, x, y):
    """The place is a mixture of the corners with weights of no negative one."""
    weights = np.linalg.solve(np.vstack([corners.T, np.ones(3)]), [x, y, 1.0])
    return weights.min() >= -1e-9


def test_the_triangle_holds_the_mixtures_of_its_corners():
    mask = in_triangle(random_planes()).reshape(2, 13, 13)
    assert 0 < mask.sum() < mask.size
    for plane, row, column in np.ndindex(2, 13, 13):
        assert mask[plane, row, column] == inside(CORNERS[plane], AXIS[column], AXIS[row])


def turned(entropy, corners, x, y, turn):
    """Entropy at the mixture with the weights of another corner each, linear between the four nearest grid points."""
    weights = np.linalg.solve(np.vstack([corners.T, np.ones(3)]), [x, y, 1.0])
    x, y = sum(weights[k] * corners[(k + turn) % 3] for k in range(3))
    step = AXIS[1] - AXIS[0]
    column, row = (min(int((at - AXIS[0]) / step), 11) for at in (x, y))
    s, t = (x - AXIS[column]) / step, (y - AXIS[row]) / step
    low, high = ((1 - s) * entropy[r, column] + s * entropy[r, column + 1] for r in (row, row + 1))
    return (1 - t) * low + t * high


def slow_entropies(geometry, epoch, plane, replicate, boundary):
    """What stands for the entropy at (row, column): a function for each network, or turn, that is asked."""
    entropy = geometry.entropy.isel(epoch=epoch if boundary == "own" else -1, plane=plane).values
    corners, count = CORNERS[plane], len(entropy)
    if boundary == "middle":
        solve = np.linalg.inv(np.vstack([corners.T, np.ones(3)]))
        return [lambda r, c: -sum(w * math.log(w) for w in solve @ [AXIS[c], AXIS[r], 1.0] if w > 1e-12)]
    if boundary == "rotated":
        return [lambda r, c, k=k: turned(entropy[replicate], corners, AXIS[c], AXIS[r], k) for k in (1, 2)]
    who = [(replicate + step) % count for step in range(1, count)] if boundary == "other" else [replicate]
    return [lambda r, c, one=one: entropy[one, r, c] for one in who]


@pytest.mark.parametrize("boundary", BOUNDARIES["plane"])
def test_plane_statistics_equal_their_slow_twin(boundary):
    geometry = random_planes()
    statistics = plane_statistics(geometry).sel(boundary=boundary)
    for epoch, layer, plane, replicate in np.ndindex(2, 2, 2, 3):
        cell = geometry.isel(epoch=epoch, layer=layer, plane=plane, replicate=replicate)
        names = ("log_volume_element", "log_effective_volume_element", "ricci_scalar", "ricci_scalar_error")
        volumes, effective, Rs, errors = (cell[name].values for name in names)
        asked = slow_entropies(geometry, epoch, plane, replicate, boundary)
        pairs = {name: [] for name in FIELDS}
        for row, column in np.ndindex(13, 13):
            if not inside(CORNERS[plane], AXIS[column], AXIS[row]):
                continue
            here = (row, column)
            unsure = [entropy(*here) for entropy in asked]
            R, error = float(Rs[here]), float(errors[here])
            pairs["volume"].append((float(volumes[here]), *unsure))
            if math.isfinite(effective[here]):
                pairs["effective_volume"].append((float(effective[here]), *unsure))
            if math.isfinite(R) and R != 0 and error <= 0.1 * abs(R):
                pairs["curvature"].append((math.log(abs(R)), *unsure))
        measured = statistics.isel(epoch=epoch, layer=layer, plane=plane, replicate=replicate)
        for name in FIELDS:
            values, *entropies = np.array(pairs[name]).T
            expected = np.mean([scipy.stats.spearmanr(values, entropy).statistic for entropy in entropies])
            assert measured[f"{name}_entropy"].item() == pytest.approx(expected, abs=1e-12), name
            assert measured[f"{name}_mean"].item() == pytest.approx(values.mean()), name
        left_out = sum(measured[f"curvature_{why}"].item() for why in ("missing", "zero", "unreliable"))
        assert len(pairs["curvature"]) + left_out == len(pairs["volume"])
        assert len(pairs["effective_volume"]) + measured.effective_volume_missing.item() == len(pairs["volume"])


def test_volume_that_rises_with_entropy_has_correlation_one():
    entropy = np.broadcast_to(np.exp(-(X**2)), (1, 2, 3, 13, 13))
    rising = np.broadcast_to(np.expm1(entropy)[:, None], (1, 1, 2, 3, 13, 13))
    statistics = plane_statistics(planes(rising, -rising, rising, 0 * rising, entropy))
    statistics = statistics.sel(boundary=["final", "own", "other"]).squeeze()
    assert (statistics.effective_volume_entropy == 1).all()
    assert (statistics.volume_entropy == -1).all()
    assert (statistics.curvature_entropy == 1).all()


def test_points_outside_the_triangle_change_nothing():
    geometry = random_planes()
    mask = xr.DataArray(in_triangle(geometry).reshape(2, 13, 13), dims=("plane", "y", "x"))
    names = ["log_effective_volume_element", "log_volume_element", "ricci_scalar", "entropy"]
    other = geometry.assign({name: geometry[name].where(mask, 7.0) for name in names})
    asked = ["final", "own", "other", "middle"]  # `rotated` reads the entropy between grid points, also past an edge
    one, two = (plane_statistics(each, boundaries=asked) for each in (other, geometry))
    xr.testing.assert_identical(one, two)


@pytest.mark.parametrize(
    ("change", "name", "reason"),
    [
        ({"log_effective_volume_element": -np.inf}, "effective_volume", "no_point"),
        ({"log_volume_element": 2.0}, "volume", "constant"),
        ({"entropy": 0.0}, "volume", "constant"),
        ({"ricci_scalar": 0.0, "ricci_scalar_error": 0.0}, "curvature", "flat"),
        ({"ricci_scalar": np.nan}, "curvature", "no_point"),
    ],
)
def test_a_correlation_that_is_undefined_is_nan_with_its_reason(change, name, reason):
    geometry = random_planes()
    statistics = plane_statistics(geometry.assign({key: geometry[key] * 0 + value for key, value in change.items()}))
    statistics = statistics.sel(boundary=["final", "own", "other", "rotated"])
    assert statistics[f"{name}_entropy"].isnull().all()
    assert {REASONS[flag] for flag in statistics[f"{name}_entropy_undefined"].values.flat} == {reason}


def test_planes_of_a_replicate_are_resampled_together():
    statistics = plane_statistics(random_planes(shape=(2, 1, 2, 8)))
    table = stage_table(statistics, np.random.default_rng(0))
    assert set(table.statistic) == {f"{name}_{kind}" for name in FIELDS for kind in ("entropy", "mean")}
    assert set(table.n) == {8}
    mean = statistics.volume_entropy.sel(boundary="own").isel(epoch=0, layer=0)
    row = table.query("statistic == 'volume_entropy' and boundary == 'own' and stage == 'initial'").iloc[0]
    assert row.estimate == pytest.approx(mean.mean().item())
    assert over_replicates(mean, np.random.default_rng(0)).estimate.item() == pytest.approx(row.estimate)


def test_geometry_of_another_kind_is_refused():
    with pytest.raises(ValueError, match=r"`kind` of the geometry must be plane\. Got grid"):
        plane_statistics(random_planes().assign_attrs(kind="grid"))
