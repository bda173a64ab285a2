"""docs/adding.md, followed to the letter in a copy of the package."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nngeom_cli.store.run import load_run

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## An? (\w+)\n(.*?)(?=^## |\Z)", PAGE, flags=re.DOTALL | re.MULTILINE))
STEP = re.compile(r"`([\w/.]+\.(?:py|yaml))`(?:, below\s`([^`]+)`)?:\n\n```\w+\n(.*?)```", flags=re.DOTALL)


def steps(section):
    """File, the line below which it goes (none: the file is new), and text of each block."""
    found = [(file, anchor, text) for file, anchor, text in STEP.findall(SECTIONS[section])]
    assert len(found) == len(re.findall(r"```(?:python|yaml)\n", SECTIONS[section]))
    return found


@pytest.mark.parametrize("section", SECTIONS)
def test_fewer_than_ten_lines_go_into_files_that_are_there(section):
    lines = [line for _, anchor, text in steps(section) if anchor for line in text.splitlines() if line.strip()]
    assert 0 < len(lines) < 10


@pytest.mark.parametrize("section", SECTIONS)
def test_each_place_is_there_once(section):
    for file, anchor, _ in steps(section):
        if anchor:
            assert (ROOT / file).read_text(encoding="utf-8").splitlines().count(anchor) == 1, f"{file}: {anchor}"
        else:
            assert not (ROOT / file).exists()


def follow(section, folder):
    """The section's changes in a copy, its commands run there; the run directory."""
    for part in ("nngeom_cli", "conf"):
        shutil.copytree(ROOT / part, folder / part)
    for file, anchor, text in steps(section):
        path = folder / file
        if anchor:
            path.write_text(
                path.read_text(encoding="utf-8").replace(f"{anchor}\n", f"{anchor}\n{text}", 1), encoding="utf-8"
            )
        else:
            path.write_text(text, encoding="utf-8")
    (command,) = re.findall(r"```sh\nnngeom (.*?)\n```", SECTIONS[section])
    small = ["optimizer.epochs=2", "replicates=2", "probe.resolution=6", "probe.checkpoints=[]", "device=cpu"]
    small += [f"figures.draw={str(section == 'quantity').lower()}"]
    done = subprocess.run(
        [sys.executable, "-m", "nngeom_cli", *shlex.split(command), *small],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return load_run(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_task_is_added(tmp_path):
    geometry = follow("task", tmp_path).geometry
    assert geometry.attrs["task"] == "checkerboard"
    cells = np.floor(2 * geometry.input.values).astype(int)
    assert (cells.sum(axis=1) % 2 == geometry.label.values).all()


@pytest.mark.slow
def test_an_activation_is_added(tmp_path):
    run = follow("activation", tmp_path)
    assert run.config["architecture"]["activation"] == "bump"
    first = run.parameters(2)[0].numpy()[0]  # (8, 3)
    x, y = run.geometry.x.values[1], run.geometry.y.values[4]
    z = first @ [x, y, 1]
    jacobian = (-z * np.exp(-(z**2) / 2))[:, None] * first[:, :2] / np.sqrt(8)
    expected = np.linalg.slogdet(jacobian.T @ jacobian)[1] / 2
    measured = run.geometry.log_volume_element.isel(layer=0, replicate=0, x=1, y=4).sel(epoch=2)
    assert measured.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
def test_a_quantity_is_added_and_drawn(tmp_path):
    run = follow("quantity", tmp_path)
    np.testing.assert_allclose(run.geometry.isotropy * run.geometry.condition_number, 1, rtol=1e-12)
    assert list((run.directory / "figures").glob("*.png"))
