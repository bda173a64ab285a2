"""docs/architecture.md says where to find what: each file that it names is there, and each name is defined in one."""

import ast
import re
from pathlib import Path

import pytest

from nngeom_cli.analysis.run_statistics import STATISTICS
from nngeom_cli.config.probe import ProbeSection
from nngeom_cli.figures.draw import SHEETS
from nngeom_cli.store.measured import ARRAYS, NUMBERS

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("## Where to find what")[2]
ROWS = re.findall(r"^\| (.*?) \| (.*) \|$", TABLE, flags=re.MULTILINE)[1:]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
PATH = re.compile(r"(?<![\w/.-])(?:nngeom_cli|tests|conf|docs|benchmarks)/[\w/.-]*[\w/]")
NEW = {"nngeom_cli/tasks/checkerboard.py", "conf/task/checkerboard.yaml"}  # which docs/adding.md adds
PACKAGES = PAGE.partition("## Packages")[2].partition("\n## ")[0]


def defined(path):
    """Names that a module binds at its top level, or in one of its classes."""
    names = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


@pytest.mark.parametrize(("question", "answer"), ROWS, ids=[question for question, _ in ROWS])
def test_each_file_of_an_answer_is_there_and_defines_its_names(question, answer):
    spans = re.findall(r"`([^`]+)`", answer)
    files = [ROOT / span for span in spans if "/" in span]
    assert files, question
    assert [str(file) for file in files if not file.exists()] == []
    there = set().union(*(defined(file) for file in files if file.suffix == ".py"))
    assert [name for name in spans if "/" not in name and name not in there] == []


def test_every_package_is_described():
    described = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", PACKAGES, flags=re.MULTILINE))))
    there = {path.stem for path in (ROOT / "nngeom_cli").iterdir() if not path.name.startswith("_")}
    assert described == {name for name in there if name != "py"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_in_a_page_is_there(page):
    text = page.read_text(encoding="utf-8")
    assert sorted({path for path in PATH.findall(text) if not (ROOT / path).exists()} - NEW) == []


def test_each_kind_of_probe_is_in_each_table_of_kinds_and_contributing_names_them():
    adding = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("- **A probe:**")[2].partition("\n- ")[0]
    for name, table in {"ARRAYS": ARRAYS, "NUMBERS": NUMBERS, "SHEETS": SHEETS, "STATISTICS": STATISTICS}.items():
        assert set(table) == set(ProbeSection.schemas)
        assert f"`{name}`" in adding
