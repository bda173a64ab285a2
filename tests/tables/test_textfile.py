"""Tables as text: what people's programs write is read as it was meant, or refused in one sentence."""

import bz2
import gzip
import lzma
from dataclasses import replace

import numpy as np
import pytest
from table_files import TABLE, config, pinned, refused, task_of, zipped

from nngeom_cli.errors import ConfigError
from nngeom_cli.tables import records
from nngeom_cli.tables.table_file import read_table

INPUTS = [[1.5, 2.0], [3.0, 4.25], [5.0, 6.0], [7.0, 8.0]]
HEADLESS = TABLE.partition("\n")[2]
EUROPEAN = "x;y;animal\n1,5;2;dog\n3;4,25;cat\n5;6;dog\n7;8;cat\n"
CROWD = "1.5,2,cat\n3,4.25,cat\n5,6,dog\n7,8,dog\n"


def table(tmp_path, content, **keys):
    path = tmp_path / "points.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return task_of(path, **keys)


SAME = {
    "as pandas writes it": TABLE,
    "without names": HEADLESS,
    "words in capitals": TABLE.replace("x,y,animal", '"X","Y","ANIMAL"'),
    "an index without a name": ",x,y,animal\n" + "".join(f"{n},{r}\n" for n, r in enumerate(HEADLESS.splitlines())),
    "an index that was read and written again": "Unnamed: 0,x,y,animal\n"
    + "".join(f"{n},{r}\n" for n, r in enumerate(HEADLESS.splitlines())),
    "tabs": TABLE.replace(",", "\t"),
    "bars": TABLE.replace(",", "|"),
    "spaces": TABLE.replace(",", "   "),
    "spaces and tabs": TABLE.replace(",", " \t "),
    "commas and spaces": TABLE.replace(",", ", "),
    "spaces, commas and spaces": TABLE.replace(",", " , "),
    "decimal commas": EUROPEAN,
    "decimal commas without names": EUROPEAN.partition("\n")[2],
    "decimal commas and tabs": EUROPEAN.replace(";", "\t"),
    "decimal commas and spaces": EUROPEAN.replace(";", " "),
    "decimal commas in quotation marks": TABLE.replace("1.5", '"1,5"').replace("4.25", '"4,25"'),
    "Excel's first line": "sep=;\n" + EUROPEAN,
    "Excel's first line, of Windows": "sep=;\r\n" + EUROPEAN.replace("\n", "\r\n"),
    "Excel's first line for commas": '"sep=,"\n' + TABLE,
    "empty rows of a spreadsheet": TABLE + ",,\n,,\n",
    "lines of Windows": TABLE.replace("\n", "\r\n"),
    "lines of the old Macintosh": TABLE.replace("\n", "\r"),
    "no last line break": TABLE.rstrip(),
    "blank lines": "\n\n" + TABLE.replace("\n", "\n\n \t\n"),
    "a separator at each end": TABLE.replace("\n", ",\n"),
    "a separator at the end of the examples": "x,y,animal\n" + HEADLESS.replace("\n", ",\n"),
    "empty columns of a spreadsheet": TABLE.replace("\n", ",,,\n"),
    "a separator at the end without names": HEADLESS.replace("\n", ",\n"),
    "a comment above": "# made by me, 2020\n" + TABLE,
    "comments above": "# made by me\n#\n% with pleasure\n" + TABLE,
    "comments between": TABLE.replace("5,6", "# 3,4,dog\n  # no, not that\n5,6"),
    "names in a comment": "# made by me\n# x,y,animal\n" + HEADLESS,
    "names in a comment, spaces": "# x y animal\n" + HEADLESS.replace(",", " "),
    "R's row names": '"x" "y" "animal"\n'
    + "".join(f'"{n}" {row}\n' for n, row in enumerate(HEADLESS.replace(",", " ").splitlines(), 1)),
    "R's row names of some rows": '"x","y","animal"\n'
    + "".join(f'"{n * 7}",{row}\n' for n, row in enumerate(HEADLESS.splitlines(), 1)),
    "R's row names, words": "x,y,animal\n" + "".join(f"r{n},{row}\n" for n, row in enumerate(HEADLESS.splitlines())),
    "all in quotation marks": '"' + TABLE.strip().replace(",", '","').replace("\n", '"\n"') + '"\n',
    "signs and exponents": TABLE.replace("1.5", "+15e-1").replace("5,6", "5.E0,.6e+1"),
    "gz": gzip.compress(TABLE.encode()),
    "two gz in one": gzip.compress(TABLE[:20].encode()) + gzip.compress(TABLE[20:].encode()),
    "bz2": bz2.compress(TABLE.encode()),
    "xz": lzma.compress(TABLE.encode()),
    "zip": zipped(**{"points.csv": TABLE, "__MACOSX/points.csv": "?"}),
    "gz of UTF-16": gzip.compress(TABLE.encode("utf-16")),
    "UTF-8 with its mark": TABLE.encode("utf-8-sig"),
    "UTF-16": TABLE.encode("utf-16"),
    "UTF-16, most significant byte first": b"\xfe\xff" + TABLE.encode("utf-16-be"),
    "UTF-32": TABLE.encode("utf-32"),
}


@pytest.mark.parametrize("content", SAME.values(), ids=SAME)
def test_a_table_is_the_same_however_it_is_written(tmp_path, content):
    task = table(tmp_path, content)
    assert task.inputs.tolist() == INPUTS
    assert task.labels.tolist() == [1, 0, 1, 0]


HEADERS = {  # what is typed, names, whether the first line has them, rows
    HEADLESS: ({}, ["0", "1", "2"], False, 4),
    "0,1,label\n" + HEADLESS: ({}, ["0", "1", "label"], True, 4),
    "0,1,2,kind\n1,2,3,0\n1,3,2,1\n2,3,1,0\n2,2,2,1\n": ({"columns": ["0", "2"]}, ["0", "2", "kind"], True, 4),
    "x,y,l\n1,2,0\n3,4,1\n": ({}, ["x", "y", "l"], True, 2),
    "1,2,0\n3,4,1\n": ({}, ["0", "1", "2"], False, 2),
    "dog,1,2\ncat,3,4\ndog,5,6\ncat,7,8\n": ({"label": "0"}, ["1", "2", "0"], False, 4),
    "animal,0,1\ndog,1,2\ncat,3,4\ndog,5,6\ncat,7,8\n": ({"label": "animal"}, ["0", "1", "animal"], True, 4),
    "?,0,2,dog\n1,2,3,cat\n3,4,5,dog\n5,6,7,cat\n": ({"columns": ["1", "2"]}, ["1", "2", "3"], False, 4),
    "# 1.5 2 3\n1 2 0\n3 4 1\n": ({}, ["0", "1", "2"], False, 2),
}


@pytest.mark.parametrize("text", HEADERS, ids=lambda text: text.splitlines()[0])
def test_the_first_line_is_taken_for_what_it_is(tmp_path, text):
    keys, names, header, rows = HEADERS[text]
    path = tmp_path / "points.csv"
    path.write_text(text)
    task = pinned(path, **keys)
    assert ([*task.columns, task.label], task.header, task.rows) == (names, header, rows)
    assert len(read_table(task)[0]) == rows


IN_DOUBT = {
    "all numbers that count from 1": "1,2,3\n0.5,1,0\n1.5,2,1\n2,3,0\n3,4,1\n",
    "all numbers that count from 0": "0,1,2\n0.5,1,0\n1.5,2,1\n2,3,0\n3,4,1\n",
    "a word found nowhere else": "1.5,2,emu\n" + HEADLESS,
    "years, or numbers": "2019,2020,animal\n" + HEADLESS,
    "a letter O for a zero": "1.O,2,dog\n" + HEADLESS,
    "a letter O for a zero, one input": "1.O,dog\n2,cat\n3,dog\n4,cat\n",
    "words and numbers": "x,3,animal\n" + HEADLESS,
    "a name that is a class": "x,y,dog\n" + HEADLESS,
}


@pytest.mark.parametrize("text", IN_DOUBT.values(), ids=IN_DOUBT)
def test_a_first_line_that_can_be_both_is_not_guessed(tmp_path, text):
    said = refused(tmp_path, text)
    first, _, rest = text.partition("\n")
    assert said.startswith("`task.header` must be true or false where the first line of points.csv can be names or an")
    assert f"Got null. It is {first}." in said
    keys = {"header": True, "columns": first.split(",")[:1]}
    (tmp_path / "points.csv").write_text(text)
    with pytest.raises(ConfigError, match=r"whose inputs have 1 dimensions"):  # all else is right
        pinned(tmp_path / "points.csv", **keys)
    task = replace(config(tmp_path / "points.csv", columns=["a"]).task, **keys)
    assert len(read_table(task)[0]) == rest.count("\n")


@pytest.mark.parametrize("first", ["2010,2011,2012", "1.5,2.5,3.5", "7,8,9"])
def test_a_first_line_of_numbers_whose_label_is_found_nowhere_else_is_not_guessed(tmp_path, first):
    rows = "".join(f"{n}.5,{n},{n % 2}\n" for n in range(20))
    said = refused(tmp_path, f"{first}\n{rows}")
    assert said.startswith("`task.header` must be true or false where the first line of points.csv can be names or an")
    assert len(table(tmp_path, f"{first}\n{rows}", header=True).inputs) == 20
    assert len(table(tmp_path, f"{first}\n{rows}", header=False).inputs) == 21
    assert len(table(tmp_path, f"# x,y,l\n{first}\n{rows}").inputs) == 21  # the names are there


def test_of_two_rare_labels_none_is_a_name(tmp_path):
    rows = "".join(f"{n}.5,{n},{n % 2}\n" for n in range(20))
    assert len(table(tmp_path, f"7,8,9\n{rows}8,9,10\n").inputs) == 22


def test_a_class_far_below_shows_that_the_first_line_is_no_header(tmp_path):
    lines = [f"{n}.5,{n},{'ab'[n % 2]}\n" for n in range(1000)]
    text = "".join(["0,1,emu\n", *lines, "3,4,emu\n"])
    assert "Got null for a line with emu, which is also a label." in refused(tmp_path, text)
    assert len(table(tmp_path, text, header=False).inputs) == 1002


def test_all_digits_of_a_number_are_read(tmp_path):
    values = np.random.default_rng(0).normal(size=(500, 2)) * 10.0 ** np.random.default_rng(1).integers(
        -300, 300, (500, 1)
    )
    text = "".join(f"{x!r},{y!r},{n % 2}\n" for n, (x, y) in enumerate(values.tolist()))
    assert (table(tmp_path, text).inputs.numpy() == values).all()


def test_true_and_false_are_inputs_of_1_and_0(tmp_path):
    text = "x,y,animal\nTrue,2,dog\nfalse,4,cat\nFALSE,2,dog\ntrue,4,cat\n"
    assert table(tmp_path, text).inputs[:, 0].tolist() == [1, 0, 0, 1]


def test_quotation_marks_hold_separators_line_breaks_and_comments(tmp_path):
    text = 'note,x,y,animal\n"a, b\n# c",1,2,"cat, wild"\nd,3,4,dog\n"""e""",5,6,"cat, wild"\nf,7,8,dog\n'
    task = table(tmp_path, text, columns=["x", "y"])
    assert task.inputs.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert task.labels.tolist() == [0, 1, 0, 1]


WRONG = {
    "": "it has no line of data.",
    "# nothing\n\n": "it has no line of data.",
    "x\n1\n2\n": "no separator splits its lines.",
    "x,\n1,\n2,\n": "it has one column.",
    "x,y,l\n1,2,a\n1,2,3,b\n": "line 3 has 4 cells, most have 3.",
    "x,y,l\n1,2,a\n1,2\n": "line 3 has 2 cells, most have 3.",
    TABLE + HEADLESS * 100 + "1,2\n": "line 406 has 2 cells, not 3.",
    "My own table\n" + TABLE: "line 1 has 1 cell, most have 3.",
    "sepal length,sepal width,kind\n" + HEADLESS + "1,2\n": "line 6 has 2 cells, most have 3.",
    'x,y,l\n1,2,"a\n1,2,b\n': "line 3 ends in a cell that is too long, or has misplaced quotation marks.",
    "y,l\n1.5,2,a\n2.5,3,b\n": "the first line has 2 cells, the others have 3.",
    "y,l\n1,2,a\n1,3,b\n": "the first line has 2 cells, the others have 3.",
    "1" * 200_000 + ",2,a\n": "line 1 ends in a cell that is too long, or has misplaced quotation marks.",
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: repr(text[:40]))
def test_text_that_is_no_table_is_refused(tmp_path, text):
    constraint = "`task.path` must be text with at least two columns, the same number in each row. Got FILE: "
    assert refused(tmp_path, text) == (
        f"{constraint}{WRONG[text]} Correct it, or put # before a line that is not an example."
    )


CELLS = {
    "1,,a": "Got nothing in column y, line 2.",
    "1,   ,a": "Got nothing in column y, line 2.",
    "1,nan,a": "Got nan in column y, line 2.",
    "1,NA,a": "Got NA in column y, line 2.",
    "1,-inf,a": "Got -inf in column y, line 2.",
    "1e400,2,a": "Got 1e400 in column x, line 2.",
    "1_000,2,a": "Got 1_000 in column x, line 2.",
    "0x10,2,a": "Got 0x10 in column x, line 2.",
    "١٢,2,a": "Got ١٢ in column x, line 2.",
    "−1,2,a": "Got −1 in column x, line 2.",
    "$5,2,a": "Got $5 in column x, line 2.",
    "5%,2,a": "Got 5% in column x, line 2.",
    "2020-01-01,2,a": "Got 2020-01-01 in column x, line 2.",
    "1 234,2,a": "Got 1 234 in column x, line 2.",
    "1.234.567,2,a": "Got 1.234.567 in column x, line 2.",
    '"1,234.5",2,a': "Got 1,234.5 in column x, line 2.",
    '"1,234,567",2,a': "Got 1,234,567 in column x, line 2.",
    "TRUE,2,a": "Got TRUE in column x, line 2.",
    "#DIV/0!,2,a": "Got #DIV/0! in column x, line 2.",
    " #n/a ,2,a": "Got #n/a in column x, line 2.",
    "1,2,a\nx,y,l": "Got x in column x, line 3.",
    "1,2,a\n# a comment\n\nq,2,b": "Got q in column x, line 5.",
}


@pytest.mark.parametrize("row", CELLS)
def test_a_cell_that_is_no_finite_number_is_refused_with_its_line(tmp_path, row):
    said = refused(tmp_path, f"x,y,l\n{row}\n3,4,b\n5,6,a\n7,8,b\n")
    assert said.startswith(f"`task.columns` must be columns of finite numbers. {CELLS[row]} ")


MARKS = {  # never a number whose mark can mean two things
    "x;y;l\n1.234,5;2;a\n3;4;b\n": "Got 1.234,5 in column x, line 2. Write all numbers with one decimal mark",
    "x;y;l\n1,5;2;a\n3.5;4;b\n": "Got 3.5 in column x, line 3. Write all numbers with one decimal mark",
    "x;y;l\n1,234;2;a\n3;4;b\n": "a decimal comma cannot be a thousands separator. Got 1,234, and no number that",
    "x;y;l\n1.234;2;a\n3;4;b\n": "a decimal point cannot be a thousands separator. Got 1.234, and no number that",
    'x,y,l\n"1,234",2,a\n3,4,b\n': "a decimal comma cannot be a thousands separator. Got 1,234, and",
    "1,5 a\n2,5 b\n1,5 a\n3,5 b\n": "Got 1,5 a, which can be split at commas and at spaces. Separate",
}


@pytest.mark.parametrize("text", MARKS)
def test_a_mark_that_can_mean_two_things_is_not_guessed(tmp_path, text):
    assert MARKS[text] in refused(tmp_path, text)


@pytest.mark.parametrize("number", ["0,234", "1,23", "1234,567", "1,234e1", "-12,5"])
def test_one_number_tells_that_commas_are_decimal(tmp_path, number):
    text = f"x;y;l\n{number};2;a\n1,234;4;b\n"
    assert table(tmp_path, text).inputs[:, 0].tolist() == [float(number.replace(",", ".")), 1.234]


@pytest.mark.parametrize("number", ["0.234", "1.23", "1234.567", "1.234e1", "-.5"])
def test_one_number_tells_that_points_are_decimal_between_semicolons(tmp_path, number):
    assert table(tmp_path, f"x;y;l\n1.234;4;b\n{number};2;a\n").inputs[:, 0].tolist() == [1.234, float(number)]


def test_a_decimal_comma_far_below_is_read_as_the_others(tmp_path):
    rows = [f"{n};{n};{'ab'[n % 2]}\n" for n in range(5000)]
    task = table(tmp_path, "".join(["x;y;l\n", *rows, "1,5;2;a\n"]))
    assert task.inputs[-1].tolist() == [1.5, 2]
    assert task.inputs[4999].tolist() == [4999, 4999]


def test_a_column_of_words_may_be_the_classes(tmp_path):
    text = "l,x,y\n" + "".join(f"{'ab'[n % 2]},{n}.5,{n}\n" for n in range(8))
    assert refused(tmp_path, text).endswith(" Name other columns, or, if it holds the classes: task.label=l")
    assert table(tmp_path, text, label="l").inputs.shape == (8, 2)


NAMES = "`task.path` must be a table whose columns have different names. Got"
PLAIN = "plain text, without control characters or ${. Got"
COMMENTS = "`task.path` must be a table whose comments are not examples (FILE). Got"
COLUMNS = {
    "x,x,l\n1,2,a\n3,4,b\n": f"{NAMES} [x,x,l].",
    "x,${y},l\n1,2,a\n3,4,b\n": f"`task.columns` must be {PLAIN} ${{y}}.",
    '"x\n",y,"k\na"\n1,2,a\n3,4,b\n': f"`task.label` must be {PLAIN} k\\na.",
    "x,,l\n1,2,a\n3,4,b\n": "`task.path` must be a table with a name for each column. Got [x,nothing,l].",
    "x,y,\n1,2,a\n3,4,b\n": "`task.path` must be a table with a name for each column. Got [x,y,nothing].",
    "x,y,l\n": "`task.path` must be a table with at least one row of numbers. Got FILE.",
    "x,y,z,l\n1,2,3,a\n4,5,6,b\n": "`probe.kind` must be path, geodesic, plane or data for task=csv, whose inputs have "
    "3 dimensions.",
    "x,y,c0,c1\n1,2,1,0\n3,4,0,1\n1,2,0,1\n3,4,1,0\n": "`task.label` must be given where the last columns have a "
    "single 1 in each row, as one-hot labels have. Got [c0,c1].",
    "#a,1,2\nb,3,4\na,5,6\nb,7,8\n": f"{COMMENTS} #a,1,2 in line 1.",
    "l,x,y\n#a,1,2\nb,3,4\n#a,5,6\nb,7,8\n": f"{COMMENTS} #a,1,2 in line 2.",
}


@pytest.mark.parametrize("text", COLUMNS)
def test_columns_that_cannot_be_used_are_refused(tmp_path, text):
    assert refused(tmp_path, text, **({"label": "l"} if text[0] == "l" else {})).startswith(COLUMNS[text])


@pytest.mark.parametrize("name", ["CDF", "RDX", "PAR1", "BZh", "MATLAB", "Rar!"])
def test_a_name_of_a_column_is_not_taken_for_another_format(tmp_path, name):
    assert table(tmp_path, TABLE.replace("x,", f"{name},")).inputs.tolist() == INPUTS


def test_many_columns_are_read_soon(tmp_path):
    """A search through all names for each name would take minutes."""
    row = ",".join(map(str, range(30_000)))
    text = ",".join(f"gene{n}" for n in range(30_000)) + ",kind\n" + f"{row},a\n{row},b\n"
    assert "whose inputs have 30000 dimensions" in refused(tmp_path, text)


def test_a_line_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "LONGEST_LINE", 1000)
    assert "line 1 has more than 1000 characters" in refused(tmp_path, "," * 2000)
