"""Whatever stands in run.json, history.csv, a config or a data file: it is read, or refused in one printable line."""

import copy
import dataclasses
import io
import json
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_runs import config
from table_files import config as table

from nngeom_cli.config.loader import load_config
from nngeom_cli.config.run import Config, config_hash
from nngeom_cli.errors import ConfigError, DamageError
from nngeom_cli.runs.resume import changed_config
from nngeom_cli.store.run import Run, load_run
from nngeom_cli.store.run_info import STATUSES
from nngeom_cli.tables.table_file import located, read_table

PLAIN = dataclasses.asdict(config())
INFO = {"status": "complete", "config": PLAIN, "config_hash": config_hash(config()), "wall_seconds": 1.5}
HISTORY = "epoch,replicate,loss,accuracy\n0,3,0.25,0.5\n0,4,0.75,0.5\n1,3,0.125,1.0\n1,4,nan,0.5\n"

WORDS = st.sampled_from(
    ["", "???", "${seed}", "${oc.env:HOME}", "!!python/name:os.system", "_target_", "nan", "\n", "é"]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS
JSON = st.recursive(
    LEAVES, lambda x: st.lists(x, max_size=3) | st.dictionaries(WORDS | st.text(max_size=6), x, max_size=3)
)


def places(tree, path=()):
    """The path of each value in a tree of dicts."""
    for key, value in tree.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from places(value, (*path, key))


@st.composite
def changed(draw, tree):
    """A tree with a few of its values replaced, taken away or added to."""
    tree = copy.deepcopy(tree)
    for path in draw(st.lists(st.sampled_from(list(places(tree))), min_size=1, max_size=2)):
        section = tree
        for key in path[:-1]:
            section = section.get(key) if isinstance(section, dict) else None
        if isinstance(section, dict):
            action = draw(st.sampled_from(["replace", "remove", "add"]))
            if action == "remove":
                section.pop(path[-1], None)
            else:
                section[path[-1] if action == "replace" else draw(WORDS)] = draw(JSON)
    return tree


@st.composite
def damaged(draw, text):
    """Text or bytes with a few of its characters replaced, and perhaps cut off."""
    content = bytearray(text.encode() if isinstance(text, str) else text)
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(content) - 1))
        content[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
        content = content or bytearray(b" ")
    return bytes(content[: draw(st.integers(0, len(content)))] if draw(st.booleans()) else content)


def assert_one_line(error):
    assert str(error).isprintable()


def check_config(plain):
    try:
        assert isinstance(load_config(plain), Config)
    except ConfigError as error:
        assert_one_line(error)


def check_info(directory, content):
    (directory / "run.json").write_bytes(content)
    try:
        run = load_run(directory, verify=False)
        assert run.status in STATUSES
        load_run(directory)
        assert isinstance(changed_config(run, []), Config)
    except (ConfigError, DamageError) as error:
        assert_one_line(error)


def check_history(directory, content):
    (directory / "history.csv").write_bytes(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.ParserWarning)
            history = Run(directory, {}).history
        assert history.epoch.dtype.kind == "i"
        assert history.loss.dtype.kind == "f"
    except DamageError as error:
        assert_one_line(error)


def check_table(path, content):
    path.write_bytes(content)
    try:
        task = located(table(path, kind=path.suffix[1:]), path.parent).task
        inputs, classes = read_table(task)
        assert np.isfinite(inputs).all()
        assert len(inputs) == len(classes) == task.rows
        assert set(classes.tolist()) <= set(range(task.classes))
    except ConfigError as error:
        assert_one_line(error)


def many(examples):
    return settings(max_examples=examples, suppress_health_check=list(HealthCheck))


ROWS = "".join(f"{x},{x / 2},{'ab'[x % 2]}\n" for x in range(8))
TABLES = [f"x,y,l\n{ROWS}", ROWS.replace(",", ";").replace(".", ","), f"# x y l\n{ROWS}".replace(",", " ")]
FEW, MANY = 150, 10_000


@many(FEW)
@given(changed(PLAIN))
def test_some_configs(plain):
    check_config(plain)


@many(FEW)
@given(damaged(json.dumps(INFO)) | changed(INFO).map(lambda info: json.dumps(info).encode()))
def test_some_run_json(tmp_path_factory, content):
    check_info(tmp_path_factory.getbasetemp(), content)


@many(FEW)
@given(damaged(HISTORY))
def test_some_history_csv(tmp_path_factory, content):
    check_history(tmp_path_factory.getbasetemp(), content)


@many(FEW)
@given(st.sampled_from(TABLES).flatmap(damaged))
def test_some_tables_of_text(tmp_path_factory, content):
    check_table(tmp_path_factory.getbasetemp() / "points.csv", content)


@many(FEW)
@given(st.data())
def test_some_tables_of_arrays(tmp_path_factory, data):
    buffer = io.BytesIO()
    np.savez(buffer, X=np.arange(16.0).reshape(8, 2), y=np.arange(8) % 2)
    content = data.draw(damaged(buffer.getvalue()))
    check_table(tmp_path_factory.getbasetemp() / "points.npz", content)


@pytest.mark.exhaustive
@many(MANY)
@given(st.sampled_from(TABLES).flatmap(damaged))
def test_ten_thousand_tables_of_text(tmp_path_factory, content):
    check_table(tmp_path_factory.getbasetemp() / "points.csv", content)


@pytest.mark.exhaustive
@many(MANY)
@given(changed(PLAIN))
def test_ten_thousand_configs(plain):
    check_config(plain)


@pytest.mark.exhaustive
@many(MANY)
@given(damaged(json.dumps(INFO)) | changed(INFO).map(lambda info: json.dumps(info).encode()))
def test_ten_thousand_run_json(tmp_path_factory, content):
    check_info(tmp_path_factory.getbasetemp(), content)


@pytest.mark.exhaustive
@many(MANY)
@given(damaged(HISTORY))
def test_ten_thousand_history_csv(tmp_path_factory, content):
    check_history(tmp_path_factory.getbasetemp(), content)
