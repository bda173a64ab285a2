"""The fingerprint of the code: it changes with what a result depends on, and with nothing else."""

import re
import textwrap

import pytest

from nngeom_cli.runs.code_fingerprint import PACKAGE, PROBE, TRAINING, run_source, source_hash

FILES = {
    "measuring/__init__.py": "",
    "measuring/area.py": '''
        """About the module."""
        import math

        LIMIT = 3  # of what?

        class Circle:
            """About circles."""

            def area(self, x: float) -> float:
                """About areas.

                At length.
                """
                return math.pi * x**2 + LIMIT

            def name(self):
                return f"a # {self!r}"
    ''',
    "measuring/deep/volume.py": "def volume(x):\n    return x**3\n",
    "drawing/colours.py": "RED = 1\n",
    "schedule.py": "def epochs():\n    return [0]\n",
}
ROOTS = "measuring", "schedule.py"


@pytest.fixture
def toy(tmp_path):
    """`toy(file=(old, new))`: the hash of a package whose `file` was edited."""
    count = iter(range(100))

    def hashed(file=None, old="", new=""):
        package = tmp_path / str(next(count)) / "toy"
        for name, text in FILES.items():
            text = textwrap.dedent(text)
            if name == file:
                assert old in text
                text = text.replace(old, new)
            (package / name).parent.mkdir(parents=True, exist_ok=True)
            (package / name).write_text(text)
        return source_hash(*ROOTS, package=package)

    return hashed


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("measuring/area.py", "LIMIT = 3", "LIMIT = 4", True),
        ("measuring/area.py", "x**2", "x**3", True),
        ("measuring/area.py", '"a # {', '"b # {', True),
        ("measuring/area.py", '# {self!r}"', '# {self}"', True),
        ("measuring/deep/volume.py", "x**3", "x**4", True),
        ("measuring/deep/volume.py", "    return", "    x = 1\n    return", True),
        ("measuring/__init__.py", "", "X = 1", True),
        ("schedule.py", "[0]", "[1]", True),
        ("drawing/colours.py", "1", "2", False),
        ("measuring/area.py", "# of what?", "# of all", False),
        ("measuring/area.py", "  # of what?", "", False),
        ("measuring/area.py", '"""About the module."""\n', "", False),
        ("measuring/area.py", "About areas.\n", "In other words.\n\n\n", False),
        ("measuring/area.py", "About circles", "About # circles", False),
    ],
    ids=lambda value: str(value).splitlines()[0] if value else "none",
)
def test_a_hash_changes_with_the_code_of_its_parts_and_with_nothing_else(toy, file, old, new, changed):
    assert (toy() != toy(file, old, new)) is changed


def test_the_same_code_has_the_same_hash_wherever_it_lies_and_on_any_python(toy):
    assert toy() == "a827c2d6efc43b86e485bf93c9d3b4a30297fcd72649540dde3289c34308096b"


def test_a_part_that_was_renamed_is_an_error():
    with pytest.raises(FileNotFoundError):
        source_hash("no_such")


def test_what_probes_take_of_config_beyond_its_schemas_is_in_their_fingerprint():
    texts = [path.read_text(encoding="utf-8") for path in (PACKAGE / "probes").glob("*.py")]
    taken = {name for text in texts for name in re.findall(r"from nngeom_cli\.config\.(\w+) import", text)}
    assert {f"config/{name}.py" for name in taken - {"probe"}} == {part for part in PROBE if part.startswith("config/")}


def test_training_and_probe_have_fingerprints_of_code_that_is_there():
    assert all((PACKAGE / part).exists() for part in (*TRAINING, *PROBE))
    training, probe = run_source().values()
    assert len(training) == len(probe) == 64
    assert training != probe
