"""docs/geometry.md: its code runs, in order, and does what the page says."""

import re
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
import torch
from small_runs import config

from nngeom_cli.runs.run import run

PAGE = Path(__file__).parents[2] / "docs" / "geometry.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_first_block_is_twenty_lines_or_so():
    assert len([line for line in BLOCKS[0].splitlines() if line.strip()]) <= 20


@pytest.mark.slow
def test_the_page_runs_from_model_to_picture(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved = tmp_path / "outputs" / "runs" / "xor" / "..."  # by the name that the page gives it
    saved.mkdir(parents=True)
    run(config(optimizer__epochs=2000, probe__checkpoints=[]), saved, command="")
    mpl.use("Agg")
    with torch.random.fork_rng():
        names = {}
        for block in BLOCKS:
            exec(compile(block, str(PAGE), "exec"), names)
    plt.close("all")
    assert (tmp_path / "ricci.png").stat().st_size > 10_000
    accuracy = ((names["model"](names["inputs"]) > 0) == names["labels"].bool()).double().mean()
    assert accuracy > 0.95
    assert names["scalar"].isfinite().double().mean() > 0.9
    assert names["curvature"].isfinite().all()
    assert names["leading"].shape == (5, 6)
    assert names["scalar_at"].isfinite().all()
    assert names["directions"].shape == (2, 2)
    assert names["limit"][0].shape == (31,)
    assert names["of_networks"].isfinite().all()
    assert torch.allclose(names["elsewhere"], names["elsewhere"].mT)


def test_geometry_imports_torch_and_numpy_only():
    code = (
        "import sys, torch, numpy; before = set(sys.modules)\n"
        "import nngeom_cli.geometry\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)\n"
        "assert new <= {'nngeom_cli', 'torch', 'numpy'}, new"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
