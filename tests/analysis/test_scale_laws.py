"""Statistics in other units: which stay, and by exactly how much the absolute ones shift.

Features c Phi: log V of d dimensions gains d log c, log |R| loses 2 log c, lengths are multiplied by c.
Inputs c x, with box, band and planes in the same unit: log V loses d log c, everything else stays.
"""

import math

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import examples, image_planes, path, plane

from nngeom_cli.analysis.data import data_statistics
from nngeom_cli.analysis.grid import grid_statistics
from nngeom_cli.analysis.path import path_statistics
from nngeom_cli.analysis.plane import plane_statistics
from nngeom_cli.geometry import measure

BAND = 0.2
FACTORS = st.floats(min_value=1e-3, max_value=1e3)
MEASURES = {"grid": grid_statistics, "path": path_statistics, "plane": plane_statistics, "data": data_statistics}


def generic(geometry, names, seed=0):
    """With noise on some variables, so that no two values are equal but for rounding."""
    rng = np.random.default_rng(seed)
    return geometry.assign({name: geometry[name] + 0.3 * rng.normal(size=geometry[name].shape) for name in names})


def grid():
    geometry = generic(plane(epochs=(0, 10), replicates=3), ["log_volume_element"])
    tilt = 0.03 * geometry.x + 0.017 * geometry.y  # no place is as far from the boundary as another one
    return geometry.assign(margin=geometry.margin + tilt).assign_attrs(box=[-0.4, 1.3, -1.0, 1.1])


VOLUME = ["log_effective_volume_element"]
MADE = {
    "grid": grid(),
    "path": generic(path(pairs=3, replicates=2, speed=True), VOLUME),
    "plane": generic(image_planes(replicates=2), [*VOLUME, "log_volume_element", "entropy"]),
    "data": generic(examples(replicates=3, curved=True), VOLUME),
}


def in_other_units(geometry, features, inputs):
    """The geometry of features times one number, of inputs times another."""
    shift = math.log(features) - math.log(inputs)  # of log V in each dimension
    changed = {
        "log_volume_element": lambda values: values + 2 * shift,
        "log_effective_volume_element": lambda values: values + geometry.attrs["top_k"] * shift,
        "ricci_scalar": lambda values: values / features**2,
        "ricci_scalar_error": lambda values: values / features**2,
        "speed": lambda values: values * features,
        "corner_place": lambda values: values * inputs,
    }
    other = geometry.assign({name: change(geometry[name]) for name, change in changed.items() if name in geometry})
    if "x" in geometry.coords:
        other = other.assign_coords(x=geometry.x * inputs, y=geometry.y * inputs)
    if "box" in geometry.attrs:
        other = other.assign_attrs(box=[inputs * end for end in geometry.attrs["box"]])
    return other


def statistics_of(kind, geometry, inputs=1.0):
    return grid_statistics(geometry, band=BAND * inputs) if kind == "grid" else MEASURES[kind](geometry)


def expected(kind, name, values, geometry, features, inputs):
    """What a statistic is in the other units."""
    absolute = name.endswith(("_mean", "_at_change", "_by_class")) and not name.startswith(("local_rank", "particip"))
    if name == "length":
        return values * features
    if not absolute:
        return values
    if name.startswith("curvature"):
        return values - 2 * math.log(features)
    effective = kind in ("path", "data") or name.startswith("effective")
    return values + (geometry.attrs["top_k"] if effective else 2) * (math.log(features) - math.log(inputs))


def check(kind, base, other, geometry, features, inputs, error):
    assert set(base) == set(other)
    for name in map(str, base):
        wanted = expected(kind, name, base[name].astype(float), geometry, features, inputs)
        xr.testing.assert_allclose(other[name].astype(float), wanted, rtol=error, atol=error)


@pytest.mark.parametrize("kind", MADE)
@settings(max_examples=8)
@given(features=FACTORS, inputs=FACTORS)
def test_contrasts_and_ranks_know_no_units_and_means_shift_by_their_logarithms(kind, features, inputs):
    geometry = MADE[kind]
    base = statistics_of(kind, geometry)
    other = statistics_of(kind, in_other_units(geometry, features, inputs), inputs)
    check(kind, base, other, geometry, features, inputs, 1e-9)


def measured(features, inputs):
    """The geometry of c Phi(u / k) on the grid u = k x, with margins in closed form."""
    axis = torch.linspace(-1.2, 1.2, 9, dtype=torch.float64)
    x = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)

    def scaled(u):
        p = u / inputs
        angles = torch.stack([p[0] + 0.31 * p[1] + 0.1, 1.3 * p[1] - 0.2, 0.87 * p[0] - p[1] + 0.37])  # no symmetry
        return features * torch.sin(angles)

    found = measure(scaled, inputs * x, ("log_volume_element", "ricci_scalar", "ricci_scalar_error"))
    dims = ("epoch", "layer", "replicate", "y", "x")
    arrays = {name: (dims, values.numpy()[None, None, None]) for name, values in found.items()}
    margin = x[..., 1] - 0.4 * torch.sin(2 * x[..., 0]) + 0.05
    arrays["margin"] = (("epoch", "replicate", "y", "x"), margin.numpy()[None, None])
    places = {"x": inputs * axis.numpy(), "y": inputs * axis.numpy(), "epoch": [0], "layer": [1], "replicate": [0]}
    return xr.Dataset(arrays, places, {"kind": "grid", "box": [inputs * end for end in (-1, 1.1, -1, 0.9)]})


@pytest.mark.parametrize(("features", "inputs"), [(3.0, 1.0), (1.0, 100.0), (0.02, 0.3)])
def test_the_statistics_of_a_measured_map_obey_the_same_laws(features, inputs):
    geometry = measured(1.0, 1.0)
    other = statistics_of("grid", measured(features, inputs), inputs)
    check("grid", statistics_of("grid", geometry), other, geometry, features, inputs, 1e-8)
