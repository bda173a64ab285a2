"""Labels: one class however it is written, none for what is missing, in text as in arrays."""

import numpy as np
import pytest
from table_files import config, refusal

from nngeom_cli.config.loader import load_config
from nngeom_cli.tables.table_file import located, read_table

INPUTS = np.arange(16.0).reshape(8, 2)


def written(tmp_path, labels, kind):
    """A file with a label column, each label twice."""
    path = tmp_path / f"points.{kind}"
    labels = [*labels, *labels]
    inputs = INPUTS[: len(labels)] if len(labels) <= 8 else np.tile(INPUTS, (len(labels), 1))[: len(labels)]
    if kind == "csv":
        rows = (f"{x},{y},{label}\n" for (x, y), label in zip(inputs, labels, strict=True))
        path.write_text("x,y,l\n" + "".join(rows))
    else:
        np.savez(path, X=inputs, l=np.array(labels))
    return path


KINDS = pytest.mark.parametrize("kind", ["csv", "npz"])

CLASSES = [
    ([10, 9], ["9", "10"], [1, 0]),
    ([1.0, 0.0], ["0", "1"], [1, 0]),
    ([0.5, -0.5], ["-0.5", "0.5"], [1, 0]),
    ([0.5, 1.0], ["0.5", "1.0"], [0, 1]),
    ([True, False], ["False", "True"], [1, 0]),
    (["b", "a", " b", "a  "], ["a", "b"], [1, 0, 1, 0]),
    (["1", "0", "1.0", "0e0"], ["0", "1"], [1, 0, 1, 0]),
    (["02", "01"], ["1", "2"], [1, 0]),
    (["true", "FALSE", "True", "false"], ["False", "True"], [1, 0, 1, 0]),
    (["+", "-"], ["+", "-"], [0, 1]),
    (["2-4", "1", "5+"], ["1", "2-4", "5+"], [1, 0, 2]),
    ([2**53 + 1, 2**53], ["9007199254740992", "9007199254740993"], [1, 0]),
    ([2**63 + 1, 2**63], ["9223372036854775808", "9223372036854775809"], [1, 0]),
    ([str(2**70), str(2**70 + 1)], ["1180591620717411303424", "1180591620717411303425"], [0, 1]),
    ([2e20, 1e20], ["100000000000000000000", "200000000000000000000"], [1, 0]),
    ([0.0, -0.0, 1.0], ["0", "1"], [0, 0, 1]),
    (["café", "öl"], ["café", "öl"], [0, 1]),
    (["\u00a0a", "b"], ["a", "b"], [0, 1]),
]


@KINDS
@pytest.mark.parametrize(("labels", "names", "codes"), CLASSES, ids=str)
def test_labels_become_classes(tmp_path, labels, names, codes, kind):
    path = written(tmp_path, labels, kind)
    task = located(config(path, kind=kind), tmp_path).task
    assert task.class_names == names
    assert read_table(task)[1].tolist() == [*codes, *codes]
    assert task.rows == 2 * len(labels)


MISSING = ["", "  ", "NA", "na", "N/A", "#N/A", "<NA>", "nan", "NaN", "-nan", "None", "none", "null", "NULL", "?"]
MISSING += ["n.a.", "NaT", "(null)", r"\N", ".", "1.#QNAN", "-1.#IND", "#DIV/0!", "#REF!", "#VALUE!", "#NAME?", "#NUM!"]


@KINDS
@pytest.mark.parametrize("others", [["0.0", "1.0"], ["dog", "cat"]], ids=str)
@pytest.mark.parametrize("mark", MISSING)
def test_a_missing_label_is_no_class(tmp_path, mark, others, kind):
    said = refusal(written(tmp_path, [*others, mark], kind), kind=kind)
    where = {"csv": "line 4", "npz": "row 3"}[kind]
    got = mark.strip() or "nothing"
    assert said.startswith(
        f"`task.label` must be a column with a class in each row. Got {got} in column l, {where}. Remove the row"
    )


@KINDS
@pytest.mark.parametrize("mark", ["-", "--", "inf", "-Infinity", "1e400"])
def test_among_numbers_more_is_missing(tmp_path, mark, kind):
    said = refusal(written(tmp_path, ["0", "1", mark], kind), kind=kind)
    assert said.startswith(f"`task.label` must be a column with a class in each row. Got {mark} in column l, ")


def test_not_a_number_among_floats_is_no_class(tmp_path):
    assert "Got nan in column l, row 2." in refusal(written(tmp_path, [0.0, np.nan, 1.0], "npz"), kind="npz")


@KINDS
@pytest.mark.parametrize(("mark", "other"), [("NA", "FR"), ("None", "severe"), ("?", "!"), ("NaN", "0"), ("-", "1")])
def test_a_class_may_be_called_so_if_it_is_named(tmp_path, mark, other, kind):
    path = written(tmp_path, [mark, other], kind)
    names = sorted([mark, other])
    if mark != "-":
        assert f'\'task.class_names=["{names[0]}","{names[1]}"]\'' in refusal(path, kind=kind).replace("\\", "")
    task = located(config(path, kind=kind, class_names=names), tmp_path).task
    assert task.class_names == names
    assert read_table(task)[1].tolist()[:2] == [names.index(mark), names.index(other)]


ALIKE = [("cat", "Cat"), ("é", "e\u0301"), ("a", "a\u200b"), ("new york", "new  york"), ("\uff21", "A"), ("ß", "SS")]


@KINDS
@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_classes_that_look_alike_are_not_told_apart_silently(tmp_path, one, other, kind):
    path = written(tmp_path, [one, other, "dog"], kind)
    said = refusal(path, kind=kind)
    assert said.startswith("`task.label` must be a column whose classes differ in more than how they are written. Got ")
    task = located(config(path, kind=kind, class_names=[one, other, "dog"]), tmp_path).task
    assert read_table(task)[1].tolist() == [0, 1, 2, 0, 1, 2]


@KINDS
@pytest.mark.parametrize("labels", [["01", "1", "2"], ["1", "1.0", "x"]], ids=str)
def test_numbers_that_may_be_one_class_or_two_are_refused(tmp_path, labels, kind):
    said = refusal(written(tmp_path, labels, kind), kind=kind)
    assert said.startswith("`task.label` must be a column whose classes differ in more than how they are written. Got ")


@KINDS
@pytest.mark.parametrize("label", ["a\tb", "a\x1b[31m", "${seed}", "\x7fa"])
def test_a_label_that_no_terminal_and_no_config_can_hold_is_refused(tmp_path, label, kind):
    said = refusal(written(tmp_path, [label, "b"], kind), kind=kind)
    assert said.startswith("`task.label` must be a column of plain text, without control characters or ${. Got ")


def test_a_nul_in_an_array_of_labels_is_refused(tmp_path):
    assert "Got a\\x00b in column l, row 1." in refusal(written(tmp_path, ["a\0b", "b"], "npz"), kind="npz")


@KINDS
def test_one_class_or_as_many_as_rows_are_refused(tmp_path, kind):
    constraint = "`task.label` must be a column of two classes or more, each of several rows. Got "
    assert refusal(written(tmp_path, ["a"], kind), kind=kind).startswith(f"{constraint}one value in the 2 rows")
    path = written(tmp_path, [0.1, 0.2, 0.3, 0.4], kind)
    lines = path.read_text().splitlines()[:5] if kind == "csv" else []
    if kind == "csv":
        path.write_text("\n".join(lines))
    else:
        np.savez(path, X=INPUTS[:4], l=np.array([0.1, 0.2, 0.3, 0.4]))
    assert refusal(path, kind=kind).startswith(f"{constraint}4 different values in the 4 rows of column l.")


def test_many_different_labels_are_refused_soon(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("x,y,l\n" + "".join(f"{n},{n},word{n}\n" for n in range(50_000)))
    assert "50000 different values in the 50000 rows" in refusal(path)


def test_a_class_that_a_saved_run_has_stays_one(tmp_path):
    """Runs were saved with `nan` as a class; their config says so, and their numbers stay what they were."""
    path = written(tmp_path, ["0.0", "1.0", "nan"], "csv")
    from dataclasses import asdict

    saved = asdict(located(config(path, class_names=["0.0", "1.0", "nan"]), tmp_path))
    assert read_table(load_config(saved).task)[1].tolist() == [0, 1, 2, 0, 1, 2]
