"""The fingerprint of the code: it changes with what a result depends on, and with nothing else."""

import ast
import textwrap
from pathlib import Path

import pytest

from nngeom_cli.config.probe import PROBES
from nngeom_cli.runs import code_fingerprint as source
from nngeom_cli.runs.code_fingerprint import run_source, source_hash

PACKAGE = Path(source.__file__).parent.parent

FILES = {
    "__init__.py": "",
    "measuring.py": '''
        """About the module."""
        from toy.shapes import area, volume as size
        import math

        LIMIT = 3

        def one(x: float) -> float:
            """About one."""
            return area(x) + LIMIT

        def two(x):
            from toy.late import helper
            return helper(size(x))
    ''',
    "shapes/__init__.py": "from toy.shapes.plane import area, circle\nfrom toy.shapes.space import volume\n",
    "shapes/plane.py": "def area(x):\n    return x * circle\n\ncircle = 3\nunused = 7\n",
    "shapes/space.py": "TABLE = {}\nTABLE['cube'] = 1\n\ndef volume(x):\n    return TABLE['cube'] * x\n",
    "late.py": "from toy import constants\nfrom toy.errors import refuse\ndef helper(x):\n"
    "    refuse(x)\n    return x + constants.C\n",
    "constants.py": "C = 1\n",
    "errors.py": "def refuse(x):\n    pass\n",
}


@pytest.fixture
def toy(tmp_path):
    """`toy(file=(old, new))`: the hashes of `one` and `two` in a package whose `file` was edited."""
    count = iter(range(100))

    def hashes(file=None, old="", new=""):
        package = tmp_path / str(next(count)) / "toy"
        for name, text in FILES.items():
            text = textwrap.dedent(text)
            if name == file:
                assert old in text
                text = text.replace(old, new)
            (package / name).parent.mkdir(parents=True, exist_ok=True)
            (package / name).write_text(text)
        return source_hash(["measuring.one"], package), source_hash(["measuring.two"], package)

    return hashes


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("measuring.py", "LIMIT = 3", "LIMIT = 4", "one"),
        ("measuring.py", "helper(size(x))", "2 * helper(size(x))", "two"),
        ("measuring.py", "area, volume", "circle as area, volume", "one"),
        ("shapes/plane.py", "circle = 3", "circle = 4", "one"),
        ("shapes/space.py", "return TABLE", "return 2 * TABLE", "two"),
        ("shapes/space.py", "TABLE = {}", "TABLE = {'ball': 2}", "two"),
        ("constants.py", "C = 1", "C = 2", "two"),
        ("shapes/plane.py", "unused = 7", "unused = 8", ""),
        ("errors.py", "pass", "raise ValueError(x)", ""),
        ("measuring.py", '"""About one."""', '"""In other words."""', ""),
        ("measuring.py", '"""About the module."""', "# nothing", ""),
        ("measuring.py", "return area(x) + LIMIT", "return (area(x) +  # because\n        LIMIT)", ""),
    ],
    ids=lambda value: str(value).splitlines()[0] if value else "none",
)
def test_a_hash_changes_with_what_its_root_reaches_and_with_nothing_else(toy, file, old, new, changed):
    before, after = toy(), toy(file, old, new)
    assert [name for name, a, b in zip(("one", "two"), before, after, strict=True) if a != b] == changed.split()


def test_the_same_code_has_the_same_hash_wherever_it_lies(toy):
    assert toy() == toy()


def test_a_root_that_was_renamed_is_an_error():
    with pytest.raises(LookupError, match=r"`probes\.no_such` must be a definition of nngeom_cli"):
        source_hash(["probes.no_such"])


def test_runs_depend_on_the_geometry_that_they_measure():
    grid, path = (source.reached([f"probes.{kind}.{kind}"]) for kind in ("grid", "path"))
    assert "geometry.quantities.ricci_scalar" in grid
    assert "geometry.layers.layer_spectra" in path
    assert "geometry.layers.layer_spectra" not in grid
    elsewhere = ("geometry.infinite", "errors", "config.general", "figures")
    for reached in (grid, path):
        assert {"geometry.feature_maps.MLPFeatureMap", "geometry.frame.Frame"} <= reached.keys()
        assert not any(name.startswith(elsewhere) for name in reached)


def test_runs_depend_on_data_start_order_and_steps():
    reached = source.reached(source.TRAINING)
    for name in (
        "tasks.toy.sinusoid",
        "training.network.initial_network",
        "training.batches.Batches",
        "training.optimizers.Optimizer",
        "training.loop.train",
    ):
        assert name in reached
    assert run_source("grid").keys() == {"training", "probe"}


@pytest.mark.parametrize("kind", PROBES)
def test_each_kind_of_probe_has_a_fingerprint(kind):
    assert len(run_source(kind)["probe"]) == 64


def test_the_package_imports_itself_by_name_as_the_fingerprint_assumes():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                assert not any(alias.name.startswith("nngeom_cli") for alias in node.names), path.name
