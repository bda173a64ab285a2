"""Pages in a real browser: no complaint, every control changes what is shown, nothing of a stranger's runs."""

import json
import re
from threading import Thread

import made_runs
import numpy as np
import pytest
from chromium import CHROMIUM, Chromium
from page_runs import saved, saved_sweep

from nngeom_cli import load_run
from nngeom_cli.figures.looks import LOOKS
from nngeom_cli.figures.scales import symmetric_log_norm
from nngeom_cli.pages.report import write_report
from nngeom_cli.pages.watch import page_server
from nngeom_cli.store.run_directory import RunDirectory

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]
NAMES = ["<script>document.title='taken'</script>", "<img src=x onerror=\"document.title='taken'\">", "$x^2$ '\"</b>"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    window = Chromium(tmp_path_factory.mktemp("browser") / "profile")
    yield window
    window.close()


def unknown(config):
    """No defaults, which takes no time."""


def opened(browser, directory, **size):
    path = write_report(directory, unknown)
    browser.open(path.as_uri(), **size)
    return load_run(directory)


def at_peace(browser):
    """Nothing was complained of, and nothing but the page itself was asked for."""
    assert browser.complaints == []
    assert {address.partition(":")[0] for address in browser.asked} <= {"file", "data", "blob"}
    assert len([address for address in browser.asked if address.startswith("file:")]) == 1


def drawn(browser, panel=0, trace=0, key="z"):
    return browser.value(f"JSON.parse(JSON.stringify(byId('view-{panel}').data[{trace}]))")[key]


def test_slider_and_menus_of_heatmaps_change_what_is_shown(browser, tmp_path):
    geometry = made_runs.plane(epochs=(0, 10, 200), layers=(1, 2), replicates=3)
    opened(browser, saved(tmp_path / "run", geometry))
    before = drawn(browser)
    field = geometry.log_volume_element.sel(epoch=200, layer=1).isel(replicate=0)
    norm = LOOKS["volume"].norm(geometry.log_volume_element.sel(layer=1).values)
    np.testing.assert_allclose(np.array(before, float), np.clip(norm(field.values), 0, 1), atol=2e-6)  # float32
    for selector, value in (("#epoch", 1), ("#replicate", 2), ("#own", True), ("#layer", 1), ("#quantity-0", 1)):
        browser.choose(selector, value)
        now = drawn(browser)
        assert now != before, selector
        before = now
    R = geometry.ricci_scalar.sel(epoch=10, layer=2).isel(replicate=2).values
    np.testing.assert_allclose(np.array(now, float), np.clip(symmetric_log_norm(R)(R), 0, 1), atol=2e-6)
    assert browser.value("byId('epoch-words').textContent") == "epoch 10 (2 of 3)"
    marker = browser.value("byId('score-plot').layout.shapes[0].x0")
    assert marker == 10 == browser.value("byId('statistic-plot').layout.shapes[0].x0")
    boundary = np.array(drawn(browser, trace=3, key="x"), float)
    assert len(boundary) > 20
    at_peace(browser)


def test_a_heatmap_is_read_with_the_pointer_and_with_the_keyboard(browser, tmp_path):
    geometry = made_runs.plane(epochs=(0, 10), replicates=1)
    opened(browser, saved(tmp_path / "run", geometry))
    browser.point_at("#view-0 .nsewdrag")
    browser.wait_for("byId('readout').textContent !== ''")
    browser.value("byId('view-0').focus()")
    browser.press("ArrowRight")
    said = browser.value("byId('readout').textContent").replace("−", "-")
    x, y, log_volume, R = map(float, re.findall(r"-?\d+\.?\d*(?:e[+-]\d+)?", said))
    there = geometry.isel(epoch=1, layer=0, replicate=0).sel(x=x, y=y, method="nearest")
    assert (log_volume, R) == pytest.approx(
        (there.log_volume_element.item(), there.ricci_scalar.item()), rel=1e-3, abs=1e-3
    )
    browser.value("byId('epoch').focus()")
    browser.press("Home")
    browser.wait_for("document.body.dataset.drawn === '0'")
    browser.value("byId('after').click()")
    browser.wait_for("document.body.dataset.drawn === '10'")
    at_peace(browser)


def test_a_path_shows_the_image_under_the_pointer_and_other_pairs(browser, tmp_path):
    geometry = made_runs.path(pairs=3, replicates=2, speed=True)
    opened(browser, saved(tmp_path / "run", geometry))
    pixels = "Array.from(document.querySelector('#images canvas').getContext('2d').getImageData(0, 0, 8, 8).data)"
    middle = browser.value(pixels)
    ends = geometry.endpoint.values
    tone = lambda values: 255 - 255 * (values - ends.min()) / (ends.max() - ends.min())  # noqa: E731
    np.testing.assert_allclose(np.reshape(middle, (64, 4))[:, 0], tone(ends[0].mean(axis=0)), atol=1)
    browser.value("byId('view-0').focus()")
    browser.press("ArrowRight")
    assert "t = 0.5156" in browser.value("byId('readout').textContent")
    assert browser.value(pixels) != middle
    curve = drawn(browser, trace=2, key="y")
    browser.choose("#epoch", 0)
    assert drawn(browser, trace=1, key="y") != curve
    browser.choose("#part", 2)
    np.testing.assert_allclose(np.reshape(browser.value(pixels), (64, 4))[:, 0], tone(ends[2].mean(axis=0)), atol=1)
    at_peace(browser)


@pytest.mark.parametrize("geometry", [made_runs.image_planes(), made_runs.examples(curved=True)], ids=["plane", "data"])
def test_planes_and_examples_show_their_images(browser, tmp_path, geometry):
    opened(browser, saved(tmp_path / "run", geometry))
    before = browser.value("byId('view-0').dataset.shown")
    browser.choose("#quantity-0", 1)
    browser.choose("#epoch", 0)
    assert browser.value("byId('view-0').dataset.shown") != before
    browser.value("byId('view-0').focus()")
    browser.press("ArrowRight")
    browser.wait_for("!byId('images').hidden && document.querySelector('#images canvas').width === 8")
    assert browser.value("byId('readout').textContent")
    at_peace(browser)


def test_scores_and_statistics_are_chosen(browser, tmp_path):
    opened(browser, saved(tmp_path / "run", made_runs.plane(epochs=(0, 10, 200), replicates=3)))
    for menu, plot in (("#score", "#score-plot"), ("#statistic", "#statistic-plot")):
        options = browser.value(f"Array.from(document.querySelector('{menu}').options, (each) => each.value)")
        seen = set()
        for option in options:
            browser.choose(menu, option)
            seen.add(json.dumps(browser.value(f"Array.from(document.querySelector('{plot}').data, (each) => each.y)")))
        assert len(seen) == len(options) > 1
    at_peace(browser)


def test_hostile_names_are_shown_as_they_are_and_do_nothing(browser, tmp_path):
    task = {"name": "csv", "path": NAMES[0], "columns": NAMES[1:3], "label": "label", "class_names": NAMES[:2]}
    task |= {"standardize": False, "rows": 4, "sha256": "0", "data_seed": 0, "test_fraction": 0.0, "label_noise": 0.0}
    opened(
        browser, saved(tmp_path / NAMES[2].replace("/", ""), made_runs.plane(epochs=(0, 10), replicates=2), task=task)
    )
    browser.point_at("#view-0 .nsewdrag")
    browser.wait_for("byId('readout').textContent !== ''")
    browser.value("document.querySelector('#replicate').add(new Option('a long name '.repeat(30)))")
    assert browser.value("document.documentElement.scrollWidth - window.innerWidth") <= 0
    text = browser.value("document.body.innerText")
    assert all(name in text for name in NAMES)
    assert "taken" not in browser.value("document.title")
    assert browser.value("document.querySelectorAll('b, img:not([src^=\"data:\"])').length") == 0
    at_peace(browser)


def test_nothing_that_is_put_into_a_page_later_runs_or_loads(browser, tmp_path):
    opened(browser, saved(tmp_path / "run", made_runs.plane(epochs=(0, 10), replicates=1)))
    browser.value("""document.body.insertAdjacentHTML("beforeend",
        "<img src='https://example.org/x.png' onerror='window.taken = 1'><iframe src='https://example.org/'></iframe>")""")
    browser.value("document.body.append(Object.assign(document.createElement('script'), { text: 'window.taken = 2' }))")
    refused = browser.value("fetch('https://example.org/').then(() => 'loaded', () => 'refused')")
    assert (refused, browser.value("window.taken ?? null")) == ("refused", None)
    assert not any("example.org" in address for address in browser.asked)
    assert sum("Content Security Policy" in json.dumps(complaint) for complaint in browser.complaints) >= 4


def test_a_sweep_shows_the_run_that_is_chosen_in_its_table(browser, tmp_path):
    runs = {"0-javascript:alert(1)": (made_runs.plane(epochs=(0, 10)), {}), "1": (made_runs.plane(epochs=(0, 20)), {})}
    path = write_report(saved_sweep(tmp_path / "sweep", runs, unstarted=["2"]), unknown)
    browser.open(path.as_uri())
    assert browser.value("byId('epoch-words').textContent") == "epoch 10 (2 of 2)"
    browser.value("document.querySelectorAll('#sweep-table button')[1].click()")
    browser.wait_for("document.body.dataset.drawn === '20'")
    assert browser.value("[byId('run').value, document.querySelectorAll('#sweep-table tbody tr').length]") == ["1", 3]
    browser.choose("#run", 0)
    browser.wait_for("document.body.dataset.drawn === '10'")
    at_peace(browser)


def test_a_run_without_a_measured_checkpoint_says_so(browser, tmp_path):
    directory = saved(tmp_path / "run", made_runs.plane(epochs=(0, 10)), status="interrupted")
    for path in (directory / "geometry").iterdir():
        path.unlink()
    (directory / "SHA256SUMS").unlink()
    (directory / "history.csv").unlink()
    path = write_report(directory, unknown)
    browser.open(path.as_uri(), ready="document.querySelector('#config-table tr') !== null")
    assert browser.value("byId('nothing').textContent") == "No checkpoint was measured yet."
    assert "interrupted: before its first checkpoint" in browser.value("byId('state').textContent")
    assert browser.value("byId('controls').hidden && byId('training').hidden")
    at_peace(browser)


def test_networks_without_numbers_have_words_in_their_place(browser, tmp_path):
    geometry = made_runs.plane(epochs=(0, 10), replicates=2)
    for name in ("log_volume_element", "ricci_scalar", "ricci_scalar_error", "margin"):
        geometry[name][{"epoch": 1, "replicate": 1}] = np.nan
    opened(browser, saved(tmp_path / "run", geometry, losses=[0.1, None], status="diverged"))
    browser.choose("#replicate", 1)
    assert "no finite value" in browser.value("byId('view-0').innerText.replaceAll('\\n', ' ')")
    assert "diverged" in browser.value("byId('state').textContent")
    at_peace(browser)


def test_a_served_page_takes_new_checkpoints_over_and_keeps_what_was_chosen(browser, tmp_path):
    whole = made_runs.plane(epochs=(0, 10, 200), replicates=3)
    directory = saved(tmp_path / "run", whole, status="running")
    run = load_run(directory)
    store = RunDirectory(directory, run.info)
    store.history.add(run.history)
    (directory / "geometry" / "epoch-000200.nc").unlink()
    for epoch in (0, 10):
        store.write_geometry(epoch, whole.sel(epoch=epoch))
    store.write_history()
    store.write_manifest()
    with page_server(directory, unknown) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        browser.open(server.address)
        assert browser.value("theView().epochs") == [0, 10]
        browser.choose("#epoch", 0)
        browser.choose("#replicate", 2)
        store.write_geometry(200, whole.sel(epoch=200))
        store.write_manifest()
        browser.wait_for("theView().epochs.length === 3")
        browser.wait_for("byId('epoch').max === '2'")
        assert browser.value("[chosen.epoch, chosen.replicate, byId('epoch').value]") == [0, 2, "0"]
        server.shutdown()
        thread.join()
    browser.wait_for("byId('live').textContent.includes('stopped')")


@pytest.mark.parametrize("geometry", [made_runs.plane(epochs=(0, 10)), made_runs.image_planes()], ids=["grid", "plane"])
def test_a_phone_shows_a_page_without_scrolling_sideways(browser, tmp_path, geometry):
    opened(browser, saved(tmp_path / "run", geometry), width=390, height=800)
    assert browser.value("document.documentElement.scrollWidth") <= 390
    assert browser.value("byId('view-0').clientWidth") > 300
    at_peace(browser)
