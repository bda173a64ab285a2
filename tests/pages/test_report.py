"""`nngeom report`: what a page holds is what was saved, in bounds, and nothing in it can become code."""

import base64
import hashlib
import json
import re
from pathlib import Path

import made_runs
import numpy as np
import pytest
import yaml
from page_runs import held, saved, saved_sweep

from nngeom_cli import load_run
from nngeom_cli.analysis.boundary import boundary_of
from nngeom_cli.analysis.grid import grid_statistics
from nngeom_cli.cli.entry import main
from nngeom_cli.cli.page_commands import defaults_of
from nngeom_cli.figures.scales import symmetric_log_norm
from nngeom_cli.pages import run_view, sweep_view
from nngeom_cli.pages.about import CITATION
from nngeom_cli.pages.document import data_text, document
from nngeom_cli.pages.packing import Numbers
from nngeom_cli.pages.report import page_data, write_report
from nngeom_cli.pages.room import MOST_VALUES, room_for_run

ROOT = Path(__file__).parents[2]
HOSTILE = ["</script><script>alert(1)</script>", "<!--<script>", "$x^2$ \"'", "\x1b[2J\x07", "‮txt", "{{script}}"]


def unknown(config):
    """No defaults, which takes no time."""


def page(directory):
    return held(page_data(directory, unknown).text)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("runs") / "run", made_runs.plane(epochs=(0, 10, 200), replicates=3))


@pytest.fixture(scope="module")
def shown(run):
    data, array = page(run)
    return data["runs"][0], array


def test_fields_of_a_page_are_those_that_were_saved(run, shown):
    view, array = shown
    geometry = load_run(run).geometry
    for entry, name in zip(view["geometry"]["quantities"], ["log_volume_element", "ricci_scalar"], strict=False):
        fields = array(entry["values"])  # (epoch, layer, plane, replicate, y, x)
        expected = geometry[name].transpose("epoch", "layer", "replicate", "y", "x").values.astype(np.float32)
        np.testing.assert_array_equal(fields[:, :, 0], expected)
    assert view["geometry"]["x"] == geometry.x.values.tolist()
    assert view["geometry"]["epochs"] == [0, 10, 200]


def test_boundaries_of_a_page_are_those_of_the_networks(run, shown):
    view, array = shown
    boundaries = view["geometry"]["boundaries"]
    begins, vertices = boundaries["begins"], array(boundaries["vertices"])
    geometry = load_run(run).geometry
    assert boundaries["left_out"] == 0
    for place, (epoch, replicate) in enumerate(np.ndindex(3, 3)):
        expected = boundary_of(geometry.isel(epoch=epoch, replicate=replicate))
        drawn = vertices[begins[place] : begins[place + 1]]
        assert np.isnan(drawn).all(axis=1).sum() == len(expected)
        np.testing.assert_allclose(drawn[~np.isnan(drawn[:, 0])], np.concatenate(expected), rtol=1e-6, atol=1e-7)


def test_colour_scales_of_a_page_are_those_of_figures(run, shown):
    view, array = shown
    curvature = view["geometry"]["quantities"][1]
    R = load_run(run).geometry.ricci_scalar.values
    for place, values in ((array(curvature["scales"])[0, 0], R), (array(curvature["own"])[2, 0, 0, 1], R[2, 0, 1])):
        norm = symmetric_log_norm(values)
        np.testing.assert_allclose(place, [norm.vmin, norm.vmax, norm.linthresh], rtol=1e-6)


def test_statistics_of_a_page_are_those_of_the_analysis(run, shown):
    view, array = shown
    statistics = grid_statistics(load_run(run).geometry).sel(layer=1)
    for entry in view["training"]["statistics"]:
        values = statistics[entry["name"]]
        final = values.sel(boundary="final") if "boundary" in values.dims else values
        np.testing.assert_allclose(array(entry["each"]), final.transpose("replicate", "epoch"), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(array(entry["mean"]), final.mean("replicate"), rtol=1e-5, atol=1e-6)
        assert set(entry["controls"]) <= {"other", "mirrored", "rotated"}
    assert [line["name"] for line in view["metrics"]][:3] == ["loss", "accuracy", "solved"]
    assert any("[" in line["change"] for line in view["metrics"])
    assert any(
        line["control"].endswith(("(other)", "(mirrored)", "(rotated)", "(untrained)")) for line in view["metrics"]
    )


def test_points_without_a_value_and_without_a_reliable_digit_stay_apart(tmp_path):
    geometry = made_runs.plane(epochs=(0, 10), replicates=1)
    geometry.ricci_scalar[1, 0, 0, 3, 4] = np.nan
    geometry.ricci_scalar_error[1, 0, 0, 5, 6] = 1e9
    data, array = page(saved(tmp_path / "run", geometry))
    R, logarithm = data["runs"][0]["geometry"]["quantities"][1:3]
    field = array(R["values"])[1, 0, 0, 0]
    assert np.isnan(field[3, 4])
    assert field[5, 6] == np.inf
    assert np.isfinite(field).sum() == field.size - 2
    assert logarithm["logarithm"]
    assert logarithm["values"] == R["values"]  # stored once


def test_a_page_loads_nothing_and_runs_only_its_own_script(run):
    text = write_report(run, unknown).read_text(encoding="utf-8")
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', text)
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts]
    assert policy == (
        f"default-src 'none'; script-src {' '.join(hashes)}; style-src 'unsafe-inline'; img-src data: blob:; "
        "connect-src 'none'; base-uri 'none'; form-action 'none'"
    )
    assert len(scripts) == 2
    own = text.replace(scripts[0], "")  # all but plotly
    assert re.findall(r'\b(?:src|href)="(?!data:)[^"]*"', own) == []
    assert len(text) < 15_000_000


@pytest.mark.parametrize("words", HOSTILE)
def test_no_text_leaves_the_data_of_a_page(words):
    text = data_text({"name": words, words: [words]}, Numbers().text())
    assert "<" not in text
    assert text.isprintable()
    whole = document(words, text)
    assert held(whole)[0]["name"] == held(text)[0]["name"]
    assert whole.lower().count("<script") - document("", "").lower().count("<script") == 0


def test_a_run_with_hostile_names_keeps_them_as_text(tmp_path):
    task = {"name": "csv", "path": HOSTILE[0], "columns": HOSTILE[1:3], "label": "label", "class_names": HOSTILE[:2]}
    task |= {"standardize": False, "rows": 4, "sha256": "0", "data_seed": 0, "test_fraction": 0.0, "label_noise": 0.0}
    directory = saved(tmp_path / "<b>&'", made_runs.plane(epochs=(0, 10), replicates=2), task=task)
    path = write_report(directory, unknown)
    text = path.read_text(encoding="utf-8")
    data, _ = held(path)
    view = data["runs"][0]["geometry"]
    assert view["axes"] == HOSTILE[1:3]
    assert view["points"]["names"] == {"0": f"class 0, {HOSTILE[0]}", "1": f"class 1, {HOSTILE[1]}"}
    assert "alert(1)</script>" not in text
    assert "<title>&lt;b&gt;&amp;&#x27;: nngeom</title>" in text


def test_the_same_run_gives_the_same_bytes(run):
    assert page_data(run, unknown) == page_data(run, unknown)


@pytest.mark.parametrize(
    "geometry",
    [
        made_runs.path(pairs=2, speed=True, curvature=True),
        made_runs.image_planes(),
        made_runs.image_planes(image=False),
        made_runs.examples(curved=True),
        made_runs.examples(image=False),
    ],
    ids=["path", "plane", "plane of vectors", "data", "data of vectors"],
)
def test_every_probe_has_a_page(tmp_path, geometry):
    data, array = page(saved(tmp_path / "run", geometry))
    (run,) = data["runs"]
    view = run["geometry"]
    name = {"curves": "log_effective_volume_element", "examples": "log_effective_volume_element"}.get(view["kind"])
    if name:
        expected = geometry[name].transpose(
            *[dim for dim in ("epoch", "layer", "pair", "replicate", "step", "point") if dim in geometry[name].dims]
        )
        np.testing.assert_allclose(array(view["quantities"][0]["values"]), expected, rtol=1e-6)
    else:
        titles = [quantity["title"] for quantity in view["quantities"]]
        assert titles[:2] == ["predicted class", "entropy of the prediction"]
        assert (view["planes"][0]["inputs"] is not None) == ("image_shape" in geometry.attrs)
    assert run["training"]["statistics"]
    assert run["metrics"]


def test_a_large_run_is_thinned_and_the_page_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(run_view, "MOST_VALUES", 40_000)
    monkeypatch.setattr(run_view, "MOST_CHECKPOINTS", 10)
    geometry = made_runs.plane(epochs=tuple(range(0, 36, 2)), replicates=7)
    data, array = page(saved(tmp_path / "run", geometry))
    view = data["runs"][0]["geometry"]
    assert [view["epochs"][0], view["epochs"][-1]] == [0, 34]
    assert view["left_out"] == f"{len(view['epochs'])} of 18 checkpoints, {len(view['replicates'])} of 7 replicates"
    values = sum(array(quantity["values"]).size for quantity in view["quantities"] if not quantity["logarithm"])
    assert 20_000 < values <= 40_000
    assert view["networks"] == len(data["runs"][0]["training"]["seeds"]) == 7
    assert len(data["runs"][0]["training"]["epochs"]) == 10


@pytest.mark.parametrize("each", [100, 2600, 300_000, 3_000_000])
@pytest.mark.parametrize("epochs", [1, 2, 11, 50])
@pytest.mark.parametrize("networks", [1, 8, 300])
def test_what_is_shown_fits_and_has_both_ends_and_the_network_that_stands_for_the_run(each, epochs, networks):
    room = room_for_run(each, epochs, list(range(networks)), networks - 1, MOST_VALUES, "row and column")
    assert room.epochs[0] in (0, epochs - 1)
    assert room.epochs[-1] == epochs - 1
    assert networks - 1 in room.replicates
    assert room.epochs == sorted(set(room.epochs))
    assert len(room.epochs) * len(room.replicates) * each / room.every**2 <= MOST_VALUES
    assert (room.words == "") == (len(room.epochs) * len(room.replicates) == epochs * networks and room.every == 1)


@pytest.mark.parametrize("array", [[], [0.0, -0.0, 1e300, -1e300, 1e-300, np.nan, np.inf, -np.inf], [[1, 2], [3, 4]]])
def test_packed_numbers_come_back_as_float32(array):
    numbers = Numbers()
    numbers.add([7.0])
    place = numbers.add(array)
    _, read = held(json.dumps({"numbers": numbers.text()}))
    largest = np.finfo(np.float32).max
    finite = np.isfinite(array)
    expected = np.where(finite, np.clip(array, -largest, largest), array).astype(np.float32)
    np.testing.assert_array_equal(read(place), expected)


def test_the_config_begins_with_what_differs_from_the_defaults(tmp_path, capsys):
    directory = saved(tmp_path / "run", made_runs.plane(epochs=(0, 10), replicates=2))
    assert main(["report", str(directory)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == str(directory / "report.html")
    data, _ = held(directory / "report.html")
    config = data["runs"][0]["config"]
    changed = {key: (value, usual) for key, value, usual, _ in config["changed"]}
    assert changed["optimizer.epochs"] == ("10", "2000")
    assert changed["replicates"] == ("2", "8")
    assert "optimizer.lr" not in changed
    assert ["optimizer.lr", "0.02", "step size"] in config["others"]


def test_defaults_are_those_of_what_was_chosen_and_the_choice_itself_differs():
    config = {"task": {"name": "digits"}, "optimizer": {"name": "sgd"}, "probe": {"kind": "plane"}, "architecture": {}}
    usual = defaults_of(config)
    assert (usual["task"]["name"], usual["optimizer"]["name"], usual["probe"]["kind"]) == ("digits", "adam", "path")
    assert "momentum" in usual["optimizer"]  # sgd's
    assert "triples" in usual["probe"]
    assert defaults_of(config | {"recorded": {}}) is None
    assert defaults_of(config | {"task": {"name": "nosuch"}}) is None
    table = {"task": {"name": "csv"}, "optimizer": {"name": "adam"}, "probe": {"kind": "grid"}, "architecture": {}}
    assert defaults_of(table)["task"]["path"] is None


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_an_unfinished_run_is_shown_as_far_as_it_has_come(tmp_path, status):
    geometry = made_runs.plane(epochs=(0, 10), replicates=2)
    data, _ = page(saved(tmp_path / "run", geometry, status=status, error="KeyboardInterrupt"))
    (run,) = data["runs"]
    assert run["status"] in (status, "interrupted")
    assert run["metrics"] == []
    assert run["geometry"]["epochs"] == [0, 10]
    assert not run["finished"]


def test_networks_without_numbers_are_shown_as_such_and_do_not_count(tmp_path):
    geometry = made_runs.plane(epochs=(0, 10), replicates=3)
    for name in ("log_volume_element", "ricci_scalar", "ricci_scalar_error", "margin"):
        geometry[name][{"epoch": 1, "replicate": 1}] = np.nan
    data, array = page(saved(tmp_path / "run", geometry, losses=[0.1, None, 0.1], status="diverged"))
    (run,) = data["runs"]
    words = [name for _, name in run["geometry"]["replicates"]]
    assert "diverged" in words[1]
    assert run["geometry"]["first"] == 0
    assert run["training"]["seeds"] == [3, 5]
    assert np.isnan(array(run["geometry"]["quantities"][0]["values"])[1, 0, 0, 1]).all()


def test_a_flat_layer_says_why(tmp_path):
    geometry = made_runs.plane(epochs=(0, 10), replicates=2, hidden=2)
    geometry["ricci_scalar"] = 0 * geometry.ricci_scalar
    data, _ = page(saved(tmp_path / "run", geometry))
    curvature = data["runs"][0]["geometry"]["quantities"][1]
    assert curvature["words"] == ["flat: the feature map is a local diffeomorphism of R^2 (R = 0)"]


def test_a_figure_convention_holds_for_the_page_too(tmp_path):
    geometry = made_runs.plane(epochs=(0, 10), replicates=1)
    data, array = page(saved(tmp_path / "run", geometry, figures={"curvature_convention": "paper"}))
    volume, curvature, _ = data["runs"][0]["geometry"]["quantities"]
    np.testing.assert_allclose(
        array(volume["values"])[0, 0, 0, 0], np.exp(geometry.log_volume_element[0, 0, 0]), rtol=1e-6
    )
    np.testing.assert_allclose(
        array(curvature["values"])[0, 0, 0, 0], 3 * abs(geometry.ricci_scalar[0, 0, 0]), rtol=1e-6
    )


def test_the_page_of_a_sweep_has_its_runs_with_what_varies(tmp_path):
    one, other = made_runs.plane(epochs=(0, 10), replicates=2), made_runs.plane(epochs=(0, 20), replicates=1)
    strange = "javascript:alert(1) <b>"
    runs = {"0-first": (one, {}), strange: (other, {"status": "failed", "error": "no more"})}
    directory = saved_sweep(tmp_path / "sweep", runs, unstarted=["2-never"])
    (directory / strange / "figures").mkdir()
    (directory / strange / "figures" / "plane.png").write_bytes(b"a picture")
    (directory / "figures").mkdir()
    (directory / "figures" / "comparison.png").write_bytes(b"\x89PNG\r\n\x1a\n...")
    (directory / "figures" / "other.png").write_bytes(b"<svg onload=alert(1)>")
    data, array = held(write_report(directory, unknown))
    sweep, runs = data["sweep"], data["runs"]
    assert sorted(sweep["keys"]) == ["optimizer.epochs", "probe.checkpoints", "replicates"]
    assert [row["status"] for row in sweep["rows"]] == ["complete", "failed", "not started"]
    assert [row["varies"][sweep["keys"].index("optimizer.epochs")] for row in sweep["rows"]] == ["10", "20", "10"]
    assert [row["run"] for row in sweep["rows"]] == [0, 1, None]
    assert sweep["rows"][1]["figures"] == [["plane.png", "./javascript%3Aalert%281%29%20%3Cb%3E/figures/plane.png"]]
    assert "accuracy" in sweep["rows"][0]["metrics"]
    assert [picture["name"] for picture in sweep["pictures"]] == ["comparison"]
    fields = [array(run["geometry"]["quantities"][0]["values"]) for run in runs]
    for field, geometry in zip(fields, (one, other), strict=True):
        expected = geometry.log_volume_element.transpose("epoch", "layer", "replicate", "y", "x")
        np.testing.assert_allclose(field[:, :, 0], expected, rtol=1e-6)


def test_the_runs_of_a_sweep_share_the_room_of_its_page(tmp_path, monkeypatch):
    monkeypatch.setattr(run_view, "MOST_VALUES", 12_000)
    monkeypatch.setattr(sweep_view, "MOST_RUNS", 2)
    geometry = made_runs.plane(epochs=(0, 5, 10), replicates=2)
    runs = {str(number): (geometry, {}) for number in range(3)}
    data, array = held(write_report(saved_sweep(tmp_path / "sweep", runs), unknown))
    assert [row["run"] for row in data["sweep"]["rows"]] == [0, 1, None]
    values = [array(quantity["values"]).size for run in data["runs"] for quantity in run["geometry"]["quantities"][:2]]
    assert 6_000 < sum(values) <= 12_000
    assert all(run["geometry"]["left_out"] for run in data["runs"])


def test_a_damaged_run_of_a_sweep_is_a_line_with_words(tmp_path):
    geometry = made_runs.plane(epochs=(0, 10), replicates=1)
    directory = saved_sweep(tmp_path / "sweep", {"0": (geometry, {}), "1": (geometry, {})})
    (directory / "1" / "geometry" / "epoch-000010.nc").write_bytes(b"x")
    data, _ = held(write_report(directory, unknown))
    assert [row["status"] for row in data["sweep"]["rows"]] == ["complete", "damaged"]
    assert "epoch-000010.nc" in data["sweep"]["rows"][1]["note"]
    assert len(data["runs"]) == 1


def test_a_link_in_the_place_of_the_page_is_refused(tmp_path, capsys):
    directory = saved(tmp_path / "run", made_runs.plane(epochs=(0, 10), replicates=1))
    (tmp_path / "other").write_text("mine")
    (directory / "report.html").symlink_to(tmp_path / "other")
    assert main(["report", str(directory)]) == 2
    assert "report.html` must be a file or folder itself" in capsys.readouterr().err
    assert (tmp_path / "other").read_text() == "mine"


def test_damage_is_reported_and_no_page_is_written(tmp_path, capsys):
    directory = saved(tmp_path / "run", made_runs.plane(epochs=(0, 10), replicates=1))
    (directory / "geometry" / "epoch-000010.nc").write_bytes(b"x")
    assert main(["report", str(directory)]) == 2
    assert "epoch-000010.nc" in capsys.readouterr().err
    assert not (directory / "report.html").exists()


def test_the_page_cites_what_the_citation_file_names():
    paper = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["preferred-citation"]
    bibtex = "\n".join(CITATION["bibtex"])
    for text in (CITATION["text"], bibtex):
        assert paper["title"].rstrip("?") in text
        assert all(person["family-names"] in text for person in paper["authors"])
        assert paper["identifiers"][0]["value"] in text
