"""Curves of an infinitely wide layer, and finite layers that approach it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from made_runs import texts

from nngeom_cli.errors import ConfigError
from nngeom_cli.figures.infinite_width import draw_theory, save_theory
from nngeom_cli.figures.style import style
from nngeom_cli.geometry import InfiniteWidth
from nngeom_cli.launch.application import composed
from nngeom_cli.theory.infinite_width import TheoryConfig, load_theory, theory_curves

SMALL = TheoryConfig(["erf", "softplus"], 2, 1.3, 0.4, 2.0, 4, [8, 512], 6, 0, "")


@pytest.fixture(scope="module")
def curves():
    return theory_curves(SMALL).assign_attrs(command="nngeom theory")


@pytest.mark.parametrize("d", [2, 5])
def test_the_curves_of_erf_are_the_papers_closed_forms_put_right(d):
    curves = theory_curves(replace(SMALL, activation=["erf"], d=d, widths=[])).sel(activation="erf")
    sigma, zeta, r = SMALL.weight_std, SMALL.bias_std, curves.radius.values
    s = sigma**2 * r**2 + zeta**2
    omega = math.log(2 * sigma**2 / math.pi) - np.log(1 + 2 * s) / 2  # (B.26)
    volume = d / 2 * math.log(2 * sigma**2 / math.pi) + math.log(2 * zeta**2 + 1) / 2 - (d + 2) / 4 * np.log(1 + 2 * s)
    R = -math.pi * (d - 1) * (d + 2) * sigma**2 * r**2 / (2 * (2 * zeta**2 + 1) * np.sqrt(1 + 2 * s))  # (B.28) / 3
    np.testing.assert_allclose(curves.omega, omega, rtol=1e-12)
    np.testing.assert_allclose(curves.log_volume_element, volume, rtol=1e-12)
    np.testing.assert_allclose(curves.ricci_scalar, R, rtol=1e-12)


@pytest.mark.parametrize("quantity", ["omega", "log_volume_element", "ricci_scalar"])
def test_wide_layers_lie_nearer_to_the_limit_than_narrow_ones(curves, quantity):
    error = abs(curves[f"finite_{quantity}"] - curves[quantity]).median(("network", "radius"))
    assert (error.sel(width=512) < 0.5 * error.sel(width=8)).all()


def test_the_curvature_of_wide_layers_is_ours_and_not_three_times_that(curves):
    ratio = (curves.finite_ricci_scalar / curves.ricci_scalar).sel(activation="erf", width=512)
    assert ratio.median().item() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["activation=relu"], "activation"),
        (["activation=[erf,tnh]"], "activation"),
        (["activation=null"], "activation"),
        (["activation=[]"], "activation"),
        (["d=1"], "d"),
        (["d=2.0"], "d"),
        (["weight_std=0"], "weight_std"),
        (["bias_std=-1"], "bias_std"),
        (["radius=.inf"], "radius"),
        (["points=1"], "points"),
        (["depth=0"], "depth"),
        (["depth=2.5"], "depth"),
        (["widths=[1]"], "widths"),
        (["networks=1"], "networks"),
        (["seed=-1"], "seed"),
        (["directory=null"], "directory"),
        (["dimension=2"], "dimension"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_is_wrong_is_said_in_one_sentence_that_begins_with_the_key(overrides, key):
    with pytest.raises(ConfigError, match=rf"^`{key}` must be [^\n]* Got [^\n]*[.?]$"):
        load_theory(composed(overrides, "theory"))


def test_one_activation_needs_no_brackets():
    assert load_theory(composed(["activation=erf", "widths=[]"], "theory")).activation == ["erf"]
    assert load_theory(composed(["activation=arccosine2"], "theory")).activation == ["arccosine2"]


def test_the_figure_says_what_it_shows(curves):
    with style():
        sheet = draw_theory(curves)
    words = texts(sheet.figure)
    for part in ("erf", "softplus", "width 8", "width 512", "infinite width", "3 R", "d = 2", "6 finite layers"):
        assert part in words
    assert len(sheet.figure.axes) == 6


def test_the_curves_lie_beside_the_figure(curves, tmp_path):
    assert save_theory(curves, tmp_path) == tmp_path / "theory.png"
    assert (tmp_path / "theory.pdf").stat().st_size > 1000
    xr.testing.assert_equal(xr.load_dataset(tmp_path / "theory.nc", engine="h5netcdf"), curves)


DEEP = replace(SMALL, activation=["erf", "tanh"], widths=[16, 256], networks=12, depth=3)


@pytest.fixture(scope="module")
def over_depth():
    return theory_curves(DEEP).assign_attrs(command="nngeom theory depth=3")


@pytest.mark.parametrize("quantity", ["omega", "log_volume_element", "ricci_scalar"])
def test_with_a_depth_the_curves_are_those_of_each_layer_and_wide_networks_lie_near_them(over_depth, quantity):
    for layer in (1, 2, 3):
        limit = InfiniteWidth("tanh", DEEP.weight_std, DEEP.bias_std, DEEP.d, layer)
        found = over_depth[quantity].sel(activation="tanh", layer=layer).item()
        assert found == getattr(limit, quantity)(DEEP.radius).item()
    assert over_depth[f"finite_{quantity}"].dims == ("activation", "width", "network", "layer")
    error = abs(over_depth[f"finite_{quantity}"] - over_depth[quantity]).median(("network", "layer", "activation"))
    assert error.sel(width=256) < 0.6 * error.sel(width=16)


def test_the_finite_networks_of_a_depth_are_those_of_their_seed(over_depth):
    again = theory_curves(replace(DEEP, activation=["tanh"], widths=[256], networks=2))
    np.testing.assert_array_equal(
        again.finite_ricci_scalar.sel(activation="tanh", width=256),
        over_depth.finite_ricci_scalar.sel(activation="tanh", width=256)[:2],
    )


def test_the_figure_of_a_depth_says_what_it_shows(over_depth, tmp_path):
    with style():
        sheet = draw_theory(over_depth)
    words = texts(sheet.figure)
    for part in ("erf", "tanh", "width 256", "infinite width", "3 layers", "|x| = 2", "12 finite networks", "95 %"):
        assert part in words
    assert "3 R" not in words
    assert [axes.get_xlabel() for axes in sheet.figure.axes[-3:]] == ["layer"] * 3
    assert save_theory(over_depth, tmp_path) == tmp_path / "theory.png"


def test_a_depth_whose_numbers_leave_the_range_of_floats_is_drawn_where_they_do_not():
    curves = theory_curves(replace(SMALL, activation=["monomial3"], widths=[8], networks=2, radius=9.0, depth=7))
    assert not np.isfinite(curves.log_volume_element).all()
    with style():
        draw_theory(curves)
