"""The canary: which of the internals that nngeom builds on another version of Hydra or submitit has changed."""

import ast
from importlib.util import find_spec
from json import JSONEncoder
from pathlib import Path

import pytest

import nngeom_cli
from nngeom_cli.launch.hydra_patches import INTERNALS, Internal

PACKAGE = Path(nngeom_cli.__file__).parent
INSIDE = ("hydra._internal", "hydra_plugins", "submitit.core")


@pytest.mark.parametrize("internal", INTERNALS, ids=lambda internal: internal.name)
def test_internals_of_other_packages_are_as_they_were_seen(internal):
    if find_spec(internal.module.partition(".")[0]) is None or (
        internal.module.startswith("hydra_plugins") and find_spec(internal.module.rpartition(".")[0]) is None
    ):
        pytest.skip("not installed: make test-launchers")
    assert not internal.change()


@pytest.mark.parametrize(
    ("module", "name", "parameters"),
    [
        ("json", "no_such_function", ()),
        ("json.no_such_module", "loads", ()),
        ("json", "JSONEncoder.no_such_method", ("self",)),
        ("json", "JSONEncoder.encode", ("self", "other")),
    ],
)
def test_a_change_is_told_with_the_name_the_version_and_the_reason(module, name, parameters):
    said = Internal(module, name, parameters, "json 1.0", "Texts are read.").change()
    assert name in said
    assert "json 1.0. Texts are read." in said


def test_a_thing_is_replaced_for_a_while_of_a_class_or_of_one_object():
    encode = Internal("json", "JSONEncoder.encode", ("self", "o"), "json 1.0", "")
    assert not encode.change()
    before, one, other = encode.now(), JSONEncoder(), JSONEncoder()
    with encode.replaced(lambda *_: "all"):
        assert one.encode([1]) == other.encode([1]) == "all"
    with encode.replaced(lambda _: "one", on=one):
        assert (one.encode([1]), other.encode([1])) == ("one", "[1]")
    assert encode.now() is before
    assert one.encode([1]) == "[1]"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_no_other_file_reaches_into_these_packages(path):
    named = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom):
            named.add(node.module)
        elif isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
    assert not [name for name in named if name.startswith(INSIDE)]
