"""Geometry that somebody else wrote is what a run measures, or is refused before it is drawn."""

import numpy as np
import pytest
import xarray as xr
from made_runs import examples, image_planes, made_run, path, plane

from nngeom_cli.errors import ConfigError, DamageError
from nngeom_cli.figures import draw_figures
from nngeom_cli.figures.animation import animate
from nngeom_cli.store.measured import ARRAYS, check_measured

MADE = {
    "grid": plane(),
    "path": path(speed=True, curvature=True),
    "plane": image_planes(),
    "data": examples(curved=True),
}
for kind, geometry in MADE.items():
    MADE[kind] = geometry.assign_attrs({"kind": kind, "top_k": 6} if kind == "plane" else {})


def names(kind):
    return [line.strip(" []").split()[0] for line in ARRAYS[kind].strip().splitlines()]


EACH = [(kind, name) for kind, geometry in MADE.items() for name in names(kind) if name in geometry]


@pytest.mark.parametrize("kind", MADE)
def test_what_a_run_measures_is_let_through(kind, tmp_path):
    check_measured(MADE[kind], tmp_path)


@pytest.mark.parametrize(("kind", "name"), EACH)
def test_each_array_that_is_drawn_has_its_dimensions_and_numbers(kind, name, tmp_path):
    geometry = MADE[kind]
    array = geometry[name].variable.to_base_variable()
    spoilt = [
        array.astype(str),
        array.astype(complex),
        xr.Variable(("other", *array.dims[1:]), array.values),
        xr.Variable(("other", *array.dims), array.values[None]),
        *([array.transpose(*reversed(array.dims))] if array.ndim > 1 else []),
    ]
    for changed in spoilt:
        with pytest.raises(DamageError, match="must hold the geometry that a run measures"):
            check_measured(geometry.drop_vars(name).assign({name: changed}), tmp_path)
    if f"[{name} " not in ARRAYS[kind]:
        with pytest.raises(DamageError):
            check_measured(geometry.drop_vars(name), tmp_path)


WRONG = {
    "kind": [None, 3],
    "task": [None, 3, np.array([1, 2]), "x " * 100, "\x1b[2J", "a\nb"],
    "activation": [None, 3],
    "widths": [None, "2-8-1", [2], [2, 0, 1], [2.5, 8, 1], [[2, 8], [8, 1]]],
    "box": [None, "box", [1, 2, 3], [1, 2, 3, np.nan]],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values], ids=str)
def test_each_attribute_that_is_drawn_is_of_its_type(key, value, tmp_path):
    geometry = plane()
    geometry.attrs = {name: kept for name, kept in geometry.attrs.items() if name != key}
    if value is not None:
        geometry.attrs[key] = value
    run = made_run(tmp_path, geometry)
    refused = ConfigError if key == "kind" else DamageError  # a kind that has no figure may be one of another version
    for draw in (draw_figures, animate):
        with pytest.raises(refused):
            draw(run)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [[8, 9], [0, 64], [64], "8x8", [8.5, 8]])
def test_an_image_has_as_many_pixels_as_the_inputs(shape, tmp_path):
    with pytest.raises(DamageError):
        check_measured(MADE["path"].assign_attrs(image_shape=shape), tmp_path)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("epoch", [0, 0, 10]),
        ("epoch", [-1, 0, 10]),
        ("epoch", [0.0, 10.0, 20.5]),
        ("replicate", [3, 3]),
        ("replicate", ["a", "b"]),
        ("layer", [0]),
        ("layer", [5]),
        ("x", np.zeros(25)),
        ("x", np.arange(25.0)[::-1]),
        ("y", np.full(25, np.nan)),
    ],
    ids=str,
)
def test_coordinates_are_those_of_a_run(name, values, tmp_path):
    with pytest.raises(DamageError):
        check_measured(plane().assign_coords({name: values}), tmp_path)


@pytest.mark.parametrize("changes", [{"steps": 0}, {"steps": 65}, {"top_k": 0}, {"top_k": -3}], ids=str)
def test_the_numbers_of_a_path_fit_its_arrays(changes, tmp_path):
    with pytest.raises(DamageError):
        check_measured(MADE["path"].assign_attrs(changes), tmp_path)


@pytest.mark.parametrize(
    "changes",
    [{"split": "both"}, {"split": 3}, {"top_k": 0}, {"rank_tolerance": np.nan}, {"examples": [1, 2]}],
    ids=str,
)
def test_what_is_said_of_examples_is_what_a_run_says(changes, tmp_path):
    with pytest.raises(DamageError):
        check_measured(MADE["data"].assign_attrs(changes), tmp_path)
    with pytest.raises(DamageError, match="curvatures without errors"):
        check_measured(MADE["data"].drop_vars("ricci_scalar_error"), tmp_path)


def test_images_that_are_not_stored_have_the_pixels_of_the_first_layer(tmp_path):
    geometry = MADE["data"].drop_vars("input")
    check_measured(geometry, tmp_path)
    with pytest.raises(DamageError, match="Got image_shape"):
        check_measured(geometry.assign_attrs(image_shape=[8, 9]), tmp_path)


def test_a_logarithm_that_no_volume_has_is_refused(tmp_path):
    geometry = plane()
    geometry["log_volume_element"][0, 0, 0, 0, :2] = [np.nan, -np.inf]
    check_measured(geometry, tmp_path)
    geometry["log_volume_element"][0, 0, 0, 0, 0] = -1e308
    with pytest.raises(DamageError):
        check_measured(geometry, tmp_path)


def test_a_missing_coordinate_is_told(tmp_path):
    with pytest.raises(DamageError, match="Got epoch"):
        check_measured(plane().drop_vars("epoch"), tmp_path)
    with pytest.raises(DamageError, match="inputs without labels"):
        check_measured(plane().drop_vars("label"), tmp_path)
    with pytest.raises(DamageError, match="Got kind None"):
        check_measured(xr.Dataset(), tmp_path)


@pytest.mark.parametrize(
    ("kind", "dimension"),
    [("grid", "replicate"), ("grid", "point"), ("path", "pair"), ("plane", "x"), ("data", "point")],
)
def test_nothing_is_drawn_of_nothing(kind, dimension, tmp_path):
    with pytest.raises(DamageError):
        check_measured(MADE[kind].isel({dimension: slice(0)}), tmp_path)
