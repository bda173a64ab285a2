"""Tables in Markdown show each cell as it is, whatever is written there."""

import re
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nngeom_cli.analysis.text_table import aligned, in_csv, literal, markdown
from nngeom_cli.errors import printable
from nngeom_cli.tables.cells import looks_like_number, number_of

MARKUP = [
    "|",
    "\\",
    "`",
    "*",
    "_",
    "<",
    ">",
    "[",
    "]",
    "(",
    "^",
    "~",
    "&amp;",
    "$",
    "#",
    "://",
    "www.",
    "\n",
    "\x1b[31m",
]
CELL = st.lists(st.sampled_from([*MARKUP, "a", "1", " "])).map("".join)


def cells(row):
    """The cells of a row as a Markdown reader finds them: parted by bare bars, a backslash before a sign goes."""
    bars = [match.start() for match in re.finditer(r"\\.|\|", row) if match[0] == "|"]
    parts = [row[start + 1 : end].strip() for start, end in pairwise(bars)]
    return [re.sub(r"\\(?=[^\w\s]|_)(.)", r"\1", part) for part in parts]


@given(st.lists(st.tuples(CELL, CELL), min_size=1))
def test_cells_are_read_back_as_they_were(rows):
    head, line, *others = markdown([("run", "note"), *rows]).split("\n")
    assert (cells(head), line) == (["run", "note"], "|---|---|")
    assert [cells(row) for row in others] == [[printable(cell).strip() for cell in row] for row in rows]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", r"a\|b"),
        (r"a\|b", r"a\\\|b"),
        ("a\nb", r"a\\nb"),
        ("\x1b[31mred", r"\\x1b[31mred"),
        ("`code`", r"\`code\`"),
        ("*a* **b** _c_ __d__", r"\*a\* \*\*b\*\* \_c\_ \_\_d\_\_"),
        ("~~gone~~ $x$", r"\~\~gone\~\~ \$x\$"),
        ("<script> &amp;", r"\<script> \&amp;"),
        ("![a](b) [^1]", r"![a\](b) \[^1]"),
        ("https://a.b/c_ WWW.a.b", r"https\://a.b/c\_ WWW\.a.b"),
    ],
)
def test_markup_is_text(text, shown):
    assert literal(text) == shown


@pytest.mark.parametrize("text", ["log_volume_element", "0.25 ± 0 [0.25, 0.25]", "-inf", "#1", "a.b=1e-3", "> 1", "é"])
def test_plain_words_and_numbers_stay_as_they_are(text):
    assert literal(text) == text


ESCAPES = "\x1b]0;title\x07\x1b[2J\r\x9b31m\u202e\n"


def test_a_cell_of_any_table_is_text_that_moves_no_cursor():
    for form in (aligned, markdown):
        shown = form([("head", ESCAPES), (ESCAPES, "1")])
        assert all(char.isprintable() for char in shown.replace("\n", ""))
        assert r"\x1b]0;title\x07" in shown.replace(r"\\", "\\")


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "=", "-", "\N{FULLWIDTH EQUALS SIGN}1", "-0x1"]
)
def test_a_text_of_a_csv_file_is_no_formula(text):
    assert in_csv(text) == f"'{text}"


@pytest.mark.parametrize(
    "value", [-1.5, True, None, "-1.5", "+2", "-1e-05", "-.5", "-inf", "xor", " =1", "1=1", "", [1]]
)
def test_numbers_and_other_texts_of_a_csv_file_stay_as_they_are(value):
    assert in_csv(value) == value


def test_control_characters_of_a_csv_file_are_written_out():
    assert in_csv("\t=1") == r"\t=1"
    assert in_csv("\r\n@x") == r"\r\n@x"


@pytest.mark.parametrize("read", [in_csv, number_of, looks_like_number])
def test_digits_without_an_end_are_looked_at_once(read):
    before = time.process_time()
    read("-" + "1" * 100_000 + "x")
    assert time.process_time() - before < 1
