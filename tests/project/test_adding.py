"""docs/adding.md, followed to the letter: the package that it makes, in this process and installed by pip."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from plugin_packages import visible, written

import nngeom_cli
from nngeom_cli.geometry import check_activation, get_activation
from nngeom_cli.plugins import GROUPS
from nngeom_cli.store.run import load_run

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## An? (\w+)\n(.*?)(?=^## |\Z)", PAGE, flags=re.DOTALL | re.MULTILINE))
FILES = dict(re.findall(r"`([\w/.]+\.(?:py|toml))`:\n\n```\w+\n(.*?)```", PAGE, flags=re.DOTALL))
SMALL = ["optimizer.epochs=2", "replicates=2", "probe.checkpoints=[]", "device=cpu", "probe.resolution=6"]


def entry_points():
    """Those of the page's pyproject.toml, by kind."""
    groups = re.findall(r'^\[project\.entry-points\."(.*?)"\]\n((?:.+\n)+)', FILES["pyproject.toml"], re.MULTILINE)
    kinds = {group: kind for kind, group in GROUPS.items()}
    return {kinds[group]: dict(re.findall(r'^(\w+) = "(.*)"$', lines, re.MULTILINE)) for group, lines in groups}


def words(section):
    """Of the section's command."""
    (command,) = re.findall(r"```sh\nnngeom run (.*?)\n```", SECTIONS[section])
    return shlex.split(command)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    files = {file: text for file, text in FILES.items() if file.endswith(".py")}
    written(folder, "nngeom-shapes", entry_points(), {"nngeom_shapes/__init__.py": "", **files})
    with visible(folder):
        yield folder


def follow(section, tmp_path, monkeypatch, *more):
    monkeypatch.chdir(tmp_path)
    return nngeom_cli.run([*words(section), *SMALL, *(more or ("figures.draw=false",))])


def test_every_section_has_its_entry_point_and_its_file():
    assert set(entry_points()) == set(SECTIONS)
    for entries in entry_points().values():
        for place in entries.values():
            assert place.partition(":")[0].replace(".", "/") + ".py" in FILES


def test_a_task_is_added(shapes, tmp_path, monkeypatch):
    run = follow("task", tmp_path, monkeypatch)
    assert run.geometry.attrs["task"] == "checkerboard"
    assert run.info["plugins"] == {"task checkerboard": "nngeom-shapes 1.0"}
    right, upper = (run.geometry.input.values > 0).T
    assert (run.geometry.label.values == (right != upper)).all()  # 2 x 2 squares
    assert run.config["architecture"]["hidden"] == [16, 16]  # as moons


def test_an_activation_is_added(shapes, tmp_path, monkeypatch):
    run = follow("activation", tmp_path, monkeypatch)
    assert run.config["architecture"]["activation"] == "bump"
    first = run.parameters(2)[0].numpy()[0]  # (8, 3)
    x, y = run.geometry.x.values[1], run.geometry.y.values[4]
    z = first @ [x, y, 1]
    jacobian = (-z * np.exp(-(z**2) / 2))[:, None] * first[:, :2] / np.sqrt(8)
    expected = np.linalg.slogdet(jacobian.T @ jacobian)[1] / 2
    measured = run.geometry.log_volume_element.isel(layer=0, replicate=0, x=1, y=4).sel(epoch=2)
    assert measured.item() == pytest.approx(expected, rel=1e-9)


def test_its_derivatives_are_checked_as_the_page_says(shapes):
    check_activation(get_activation("bump"))
    assert get_activation("bump").value(torch.zeros(1)).item() == 1


@pytest.mark.slow
def test_pip_installs_the_package_of_the_page(tmp_path):
    """With its real build, into a folder of its own."""
    package, site = tmp_path / "nngeom-shapes", tmp_path / "site"
    for file, text in {"nngeom_shapes/__init__.py": "", **FILES}.items():
        (package / file).parent.mkdir(parents=True, exist_ok=True)
        (package / file).write_text(text, encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(site), str(package)], check=True, capture_output=True)
    both = [*words("task"), *words("activation"), *SMALL, "figures.draw=false"]
    done = subprocess.run(
        [sys.executable, "-m", "nngeom_cli", "run", *both],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(site)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run = load_run(tmp_path / done.stdout.splitlines()[-1])
    assert set(run.info["plugins"].values()) == {"nngeom-shapes 1.0"}
