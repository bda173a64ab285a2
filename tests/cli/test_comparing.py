"""`nngeom compare`: numbers that are paired where seeds match, figures on common scales, and a folder for both."""

import csv
import re
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from made_runs import write_run
from small_runs import config

from nngeom_cli.analysis.comparison import difference
from nngeom_cli.analysis.estimate import proportion_difference
from nngeom_cli.analysis.run_rows import read_row
from nngeom_cli.cli.comparing import _pairing
from nngeom_cli.cli.entry import main
from nngeom_cli.config.loader import load_config
from nngeom_cli.figures import comparison
from nngeom_cli.launch.application import composed
from nngeom_cli.runs.run import run as train
from nngeom_cli.store.run import load_run

PATHS = ["task=digits", "architecture.hidden=[6]", "optimizer.batch_size=100", "optimizer.epochs=2", "replicates=2"]
PATHS += ["probe.steps=6", "probe.top_k=2", "probe.pairs=[[3,8],[1,7],[0,6]]", "probe.checkpoints=[]", "device=cpu"]
RUNS = {
    "a": config,
    "b": lambda: config(architecture__hidden=[6], replicates=3),
    "finer": lambda: config(probe__resolution=9, seed=50),
    "p": lambda: load_config(composed(PATHS)),
    "q": lambda: load_config(composed([*PATHS, "optimizer.lr=0.1"])),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared")
    for name, made in RUNS.items():
        (folder / name).mkdir()
        train(replace(made(), figures=config().figures), folder / name, command="nngeom run")
    return folder


@pytest.fixture
def folder(trained, monkeypatch, tmp_path):
    monkeypatch.chdir(trained)
    return tmp_path


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("shared", "words"), [(0, "not paired"), (1, "paired by 1 seed"), (2, "paired by 2 seeds")])
def test_a_comparison_says_by_how_many_seeds_it_is_paired(shared, words):
    assert re.fullmatch(rf"{words}(: .*)?", _pairing(shared))


def test_two_runs_side_by_side(folder, capsys):
    assert main(["compare", "a", "b", f"directory={folder / 'both'}"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[-1] == str(folder / "both")
    names = {path.name for path in (folder / "both").iterdir()}
    assert names == {"config.csv", "statistics.csv"} | {
        f"{stem}.{kind}" for stem in ("training", "grid-layer-1") for kind in ("png", "pdf")
    }
    config_rows = {row["key"]: (row["A"], row["B"]) for row in table(folder / "both" / "config.csv")}
    assert config_rows == {"architecture.hidden": ("[4]", "[6]"), "replicates": ("2", "3")}
    assert "B and A are paired by 2 seeds." in out
    found = {(row["statistic"], row["run"]): row for row in table(folder / "both" / "statistics.csv")}
    rows = [read_row(trained) for trained in map(load_run("a").directory.parent.joinpath, ("a", "b"))]
    for name in ("loss", "volume_mean.change"):
        means = [np.nanmean(row.values[name]) for row in rows]
        assert float(found[name, "A"]["mean"]) == pytest.approx(means[0])
        assert float(found[name, "B"]["difference_mean"]) == pytest.approx(means[1] - means[0])
    assert found["loss", "A"]["difference_mean"] == ""
    ours, theirs = (row.estimates["solved"] for row in reversed(rows))
    assert float(found["solved", "B"]["difference_low"]) == pytest.approx(proportion_difference(ours, theirs).low)


def test_heatmaps_of_all_runs_share_their_scales_and_the_network_of_the_same_seed(folder):
    runs = [load_run(name).drawable(2) for name in ("a", "b")]
    sheet = dict(comparison.sheets(runs, ["A: a", "B: b"]))["grid-layer-1"]
    panels = [axes for axes in sheet.figure.axes if axes.images]
    assert len(panels) == 8  # two quantities, two epochs, two runs
    for four in (panels[:4], panels[4:]):
        assert len({(axes.images[0].norm.vmin, axes.images[0].norm.vmax) for axes in four}) == 1
        assert [axes.get_title().replace("\n", " ") for axes in four] == [
            *("A: a, seed 3 epoch 0", "B: b, seed 3 epoch 0"),
            *("A: a, seed 3 epoch 20", "B: b, seed 3 epoch 20"),
        ]
    shown = runs[1].geometry.log_volume_element.sel(epoch=20, layer=1, replicate=3).values
    assert np.array_equal(panels[3].images[0].get_array(), shown)


def test_curves_of_all_runs_are_in_one_panel_a_pair_with_their_means(folder, capsys):
    assert main(["compare", "p", "q", f"directory={folder / 'both'}"]) == 0
    assert (folder / "both" / "path-layer-1.png").exists()
    runs = [load_run(name).drawable(2) for name in ("p", "q")]
    sheet = dict(comparison.sheets(runs, ["A", "B"]))["path-layer-1"]
    assert len(sheet.figure.axes) == 3
    assert len({axes.get_ylim() for axes in sheet.figure.axes}) == 1
    for pair, axes in enumerate(sheet.figure.axes):
        solid = [line for line in axes.lines if line.get_linestyle() == "-"]
        for line, run in zip(solid, runs, strict=True):
            mean = run.geometry.log_effective_volume_element.sel(epoch=2, layer=1).isel(pair=pair).mean("replicate")
            assert line.get_ydata() == pytest.approx(mean.values, nan_ok=True)


def test_runs_that_are_measured_at_different_places_are_compared_in_numbers(folder, capsys):
    assert main(["compare", "a", "finer", f"directory={folder / 'both'}"]) == 0
    out, err = capsys.readouterr()
    assert err == ("nngeom: The geometry is compared in numbers only: the runs are measured at different places (x).\n")
    assert not list((folder / "both").glob("plane*"))
    assert "B and A are not paired: no seed is shared." in out


def test_more_than_two_runs_are_compared_with_the_first(folder, capsys):
    assert main(["compare", "a", "b", "finer"]) == 0
    out = capsys.readouterr().out
    assert "B - A" in out
    assert "C - A" in out
    assert out.splitlines()[-1].startswith(str(load_run("a").directory.absolute().parent / "outputs" / "comparisons"))
    shutil.rmtree("outputs")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "`nngeom compare` must be followed by run directories. Got nothing."),
        (["a"], "`nngeom compare` must be followed by 2 to 6 different runs. Got a."),
        (["a", "./a"], "`nngeom compare` must be followed by 2 to 6 different runs. Got a, a."),
        (["a", "nowhere"], "`nngeom compare` must be followed by run directories. Got nowhere, which does not exist."),
        (["a", "b", "directory=p"], "`directory` must be a folder that does not exist yet. Got "),
        (["a", "b", "directory=~/x"], "`directory` must be a path that needs no shell. Got ~/x."),
        (["a", "b", "directory=x", "directory=y"], "`directory` must be given once. Got x and y."),
        (["a", "FAILED"], "`FAILED` must be a run that has ended. Got one that is failed."),
        (["a", "DAMAGED"], "`DAMAGED/history.csv` must be as the run wrote it. Got: it is empty."),
    ],
    ids=str,
)
def test_wrong_words_are_one_sentence_and_nothing_on_disk(tmp_path, trained, monkeypatch, capsys, words, sentence):
    monkeypatch.chdir(tmp_path)
    for name in RUNS:
        (tmp_path / name).symlink_to(trained / name)
    write_run(tmp_path / "FAILED", status="failed")
    write_run(tmp_path / "DAMAGED")
    (tmp_path / "DAMAGED" / "history.csv").write_text("")
    before = set(tmp_path.rglob("*"))
    assert main(["compare", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"nngeom: {sentence}")
    assert set(tmp_path.rglob("*")) == before


def test_a_shift_that_all_seeds_share_is_certain_where_they_are_paired_and_not_where_they_are_not():
    values = dict(enumerate(np.random.default_rng(1).normal(size=12)))
    shifted = {seed: value + 0.5 for seed, value in values.items()}
    paired = difference(shifted, values)
    assert (paired.value, paired.low, paired.high) == pytest.approx((0.5, 0.5, 0.5))
    apart = difference({seed + 100: value for seed, value in shifted.items()}, values)
    assert apart.value == pytest.approx(0.5)
    assert apart.low < 0.2 < 0.8 < apart.high
    assert (paired.n, apart.n) == (12, 24)


def test_the_interval_of_many_networks_is_the_normal_one():
    rng = np.random.default_rng(2)
    ours, theirs = rng.normal(1.0, 2.0, size=400), rng.normal(0.0, 1.0, size=300)
    found = difference(dict(enumerate(ours)), dict(enumerate(theirs, 1000)))
    deviation = 1.96 * np.sqrt(ours.var(ddof=1) / 400 + theirs.var(ddof=1) / 300)
    assert (found.low, found.high) == pytest.approx(
        (found.value - deviation, found.value + deviation), abs=0.1 * deviation
    )  # 5000 resamples know the ends to about 3 % of it
    both = ours[:300] + theirs
    found = difference(dict(enumerate(both)), dict(enumerate(theirs)))
    deviation = 1.96 * np.sqrt(ours[:300].var(ddof=1) / 300)
    assert (found.low, found.high) == pytest.approx(
        (found.value - deviation, found.value + deviation), abs=0.1 * deviation
    )


@pytest.mark.parametrize(
    "values", [({}, {0: 1.0}), ({0: 1.0}, {}), ({0: 1.0}, {0: 3.0}), ({0: 1.0}, {7: 3.0})], ids=str
)
def test_too_few_networks_have_no_interval(values):
    found = difference(*values)
    assert np.isnan([found.low, found.high]).all()
    assert found.n == len({seed for of in values for seed in of}) * all(values)


def test_names_of_a_stranger_are_text_in_the_figure_and_on_the_terminal(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = ["$x$ <script>", "\x1b[2J" + "long" * 30]
    for name, of in zip(names, ("a", "b"), strict=True):
        shutil.copytree(trained / of, name)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["compare", *names, "directory=both"]) == 0
    out, _ = capsys.readouterr()
    assert "\x1b" not in out.split("table")[0]
    assert (tmp_path / "both" / "training.png").exists()
