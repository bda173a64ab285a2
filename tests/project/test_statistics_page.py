"""docs/statistics.md defines each statistic that the code can print, and no other."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_runs import examples, geodesics, image_planes, made_run, path, plane

from nngeom_cli.analysis.columns import FEW, MEANINGS
from nngeom_cli.analysis.data import data_statistics
from nngeom_cli.analysis.geodesic import geodesic_statistics
from nngeom_cli.analysis.grid import grid_statistics
from nngeom_cli.analysis.networks import networks
from nngeom_cli.analysis.path import path_statistics
from nngeom_cli.analysis.plane import plane_statistics
from nngeom_cli.analysis.statistic import BOUNDARIES, CONTROLS, REASONS
from nngeom_cli.cli.entry import main
from nngeom_cli.experiments import depth
from nngeom_cli.experiments.agreement import COLUMNS
from nngeom_cli.experiments.compare import EXPERIMENTS
from nngeom_cli.experiments.magnify import COLUMNS as PENALIZED
from nngeom_cli.store.history import SCORES

PAGE = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text(encoding="utf-8")
KINDS = {
    "grid": lambda: grid_statistics(plane()),
    "path": lambda: path_statistics(path(speed=True)),
    "plane": lambda: plane_statistics(image_planes()),
    "data": lambda: data_statistics(examples(curved=True, robust=True)),
    "geodesic": lambda: geodesic_statistics(geodesics()),
}
SECTIONS = {"grid": "Grids", "path": "Paths", "plane": "Planes", "data": "Examples", "geodesic": "Geodesics"}
ABOUT = {"estimate", "low", "high", "n", "factor", "start", "end", "statistic", "of"}
ABOUT |= {"epoch", "p", "p_holm", "detectable"}


def section(title):
    return re.split(r"^## ", PAGE.partition(f"\n## {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text):
    """The cells of each table row."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def named(text):
    """What the first cells of a table name."""
    return {name for first, *_ in rows(text) for name in re.findall(r"`(\w+)`", first)}


def headings(text):
    return dict(re.findall(r"^### (\w+)\n\n(.*?)(?=^##|\Z)", text, re.DOTALL | re.MULTILINE))


def settings():
    architecture = {"hidden": [8], "parametrization": "standard", "output_scale": 1.0, "activation": "erf"}
    return {"architecture": architecture, "optimizer": {"weight_decay": 0.0}}


def networks_table(tmp_path):
    run = made_run(tmp_path, plane())
    run.config = settings()
    return networks([run])


def test_each_statistic_has_its_definition_and_each_definition_its_statistic(tmp_path):
    measured = [measure() for measure in KINDS.values()]
    statistics = {str(name) for one in measured for name in one if f"{name}_undefined" in one}
    counts = {str(name) for one in measured for name in one} - statistics - {f"{name}_undefined" for name in statistics}
    assert set(headings(PAGE)) == statistics | set(SCORES) | {"solved"}
    assert named(section("Points that are left out")) | named(section("By class")) == counts


@pytest.mark.parametrize("kind", KINDS)
def test_each_definition_names_the_unit_what_0_means_and_its_controls(kind):
    statistics = KINDS[kind]()
    defined = headings(section(SECTIONS[kind]))
    for name in (str(name) for name in statistics if f"{name}_undefined" in statistics and name in defined):
        words = defined[name]
        same = re.match(r"`(\w+)` with|The same for", words)
        if same:
            continue
        asks = "boundary" in statistics[name].dims
        assert "ontrol" in words, name
        assert all(f"`{control}`" in words for control in CONTROLS[kind] if asks), name
        assert "nats" in words if statistics[name].attrs["units"] == "nats" else "0" in words, name


@pytest.mark.parametrize("kind", BOUNDARIES)
def test_each_boundary_and_each_reason_is_explained(kind):
    column = 1 + list(BOUNDARIES).index(kind)
    explained = {row[0].strip("`") for row in rows(section("Controls")) if row[column]} - {"boundary"}
    assert explained == set(BOUNDARIES[kind])
    assert all(re.search(rf"`{reason}`\s\(", PAGE) for reason in REASONS if reason != "defined")


def plain(name):
    """A column without what says of whom it is: before training, what training added, a control."""
    control = (
        r"(_(over_|minus_)?(other|mirrored|rotated|task|middle)|_over_closeness|(?<=error_\d{4})_change)?(_gain)?$"
    )
    return re.sub(rf"^initial_|_gain$|{control}", "", name.removeprefix("initial_")).removesuffix("_gain")


def test_the_tables_of_experiments_have_the_columns_that_are_defined(tmp_path):
    table = networks_table(tmp_path)
    of_columns, of_rows = section("Tables of the experiments").split("A row of `NAME.csv`")
    defined = named(of_columns) | set(headings(PAGE))
    assert {plain(name) for name in table} <= defined
    columns = set(table) | {"distance_to_infinite_width"} | set(COLUMNS) | set(PENALIZED)
    rng, size = np.random.default_rng(0), 40
    many = pd.DataFrame({name: rng.exponential(size=size) for name in sorted(columns)})
    settings = np.repeat([8, 64, 128, 256], 10)
    many = many.assign(width=settings, output_scale=settings, activation="erf", epoch=10)
    many = many.assign(parametrization=np.tile(["standard", "ntk"], 20), weight_decay=0.0, seed=np.tile(range(10), 4))
    many = many.assign(strength=np.tile([0.0, 0.1], 20), where="boundary", data_seed=np.repeat(range(20), 2))
    ends = ("", *(f"_{control}" for control in CONTROLS["path"]))
    asked = [f"{name}{end}" for name in depth.MEASURES[:3] for end in ends]
    deep = pd.DataFrame(
        {name: rng.exponential(size=16) for name in [*asked, "volume_mean", "loss", "accuracy", "test_accuracy"]}
    )
    deep = deep.assign(
        network="residual", layer=[1, 2] * 8, epoch=([0] * 2 + [30] * 2) * 4, seed=np.repeat(range(4), 4)
    )
    deep = deep.assign(layer_name=deep.layer.astype(str))
    statistics = set()
    for name, experiment in EXPERIMENTS.items():
        found = experiment.statistics(deep if name == "depth" else many, np.random.default_rng(0))
        assert set(found) <= ABOUT
        statistics |= set(found.statistic)
    kinds = {kind.strip("` ") for kind, *_ in rows(of_rows)} - {"row"}
    of = {row: max((kind for kind in kinds if row.startswith(kind)), key=len, default="") for row in statistics}
    assert set(of.values()) == kinds
    words = {plain(word) for row, kind in of.items() for word in re.findall(r"\w+", row.removeprefix(kind))}
    plain_words = {*["of", "in", "with", "boundary", "the", "last", "hidden", "layer", "minus", "first"]}
    assert words <= defined | plain_words | {*CONTROLS["grid"]}
    assert named(of_columns) <= {plain(name) for name in {*columns, *deep}} | words


def test_columns_help_says_what_each_statistic_is_in_its_unit(capsys):
    assert main(["summarize", "--columns", "help"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.split("\n\n")[0].splitlines()]
    assert {line[0] for line in lines} == set(headings(PAGE)) == set(MEANINGS)
    for measure in KINDS.values():
        statistics = measure()
        for name in (str(name) for name in statistics if f"{name}_undefined" in statistics):
            unit = statistics[name].attrs["units"]
            assert MEANINGS[name][0] == ("" if unit.startswith("feature") else unit), name
    assert set(FEW) <= set(MEANINGS)
    assert main(["summarize", "--help"]) == 0
    text = capsys.readouterr().out
    assert "docs/statistics.md" in text
    assert "--columns help" in text
