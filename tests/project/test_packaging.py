"""What a user installs: the wheel is complete without the checkout, and the metadata agree with each other."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

import nngeom_cli

ROOT = Path(__file__).parents[2]


def test_citation_changelog_and_package_agree_on_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    latest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1]
    assert citation["version"] == latest == version("nngeom") == nngeom_cli.__version__


def test_the_citation_has_what_its_schema_requires():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    paper = citation["preferred-citation"]
    assert citation["cff-version"] == "1.2.0"  # whose required keys these are
    assert {"authors", "cff-version", "message", "title"} <= citation.keys()
    assert {"authors", "title", "type"} <= paper.keys()
    assert {person.keys() >= {"given-names", "family-names"} for person in paper["authors"]} == {True}
    (ours,) = citation["authors"]
    assert ours.keys() == {"name"}
    for file in ("LICENSE", "pyproject.toml"):
        assert ours["name"] in (ROOT / file).read_text(encoding="utf-8")
    assert paper["identifiers"][0]["value"].removeprefix("arXiv:") in paper["url"]
    assert f'Paper = "{paper["url"]}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


SMALL = ["optimizer.epochs=2", "replicates=1", "probe.resolution=10", "probe.checkpoints=[]"]


def build(target, tree, directory):
    """The archive that the tree's build backend makes, without asking the network for anything."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(directory)]
    subprocess.run(command, cwd=tree, capture_output=True, check=True)
    (archive,) = directory.iterdir()
    return archive


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The source distribution."""
    directory = tmp_path_factory.mktemp("source")
    shutil.unpack_archive(build("sdist", ROOT, tmp_path_factory.mktemp("sdist")), directory)
    (tree,) = directory.iterdir()
    return tree


@pytest.fixture(scope="module")
def wheel(unpacked, tmp_path_factory):
    """As pip makes it from the source distribution."""
    return build("wheel", unpacked, tmp_path_factory.mktemp("wheel"))


@pytest.mark.skipif(not (ROOT / ".git").exists() or shutil.which("git") is None, reason="needs a checkout")
def test_the_source_distribution_is_the_whole_checkout(unpacked):
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")[:-1]
    there = [name for name in listed if (ROOT / name).is_file()]
    assert there
    assert [name for name in there if not (unpacked / name).is_file()] == []


def test_the_wheel_holds_every_module_and_config(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "nngeom_cli").rglob("*.py")}
    configs = {f"nngeom_cli/{path.relative_to(ROOT)}" for path in (ROOT / "conf").rglob("*.yaml")}
    pages = {str(path.relative_to(ROOT)) for path in (ROOT / "nngeom_cli" / "pages" / "browser").iterdir()}
    assert modules | configs | pages | {"nngeom_cli/py.typed"} <= names
    assert len(pages) > 3
    assert not any(name.startswith(("tests/", "conf/")) for name in names)


@pytest.mark.slow
def test_the_wheel_runs_away_from_the_checkout(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "nngeom_cli", "run", "task=xor", *SMALL],
        cwd=home,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run = Path(done.stdout.splitlines()[-1])
    assert run.is_relative_to(home)
    assert str(tmp_path / "installed") in (run / ".hydra" / "hydra.yaml").read_text(encoding="utf-8")
