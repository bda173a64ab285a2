"""One thread, so that runs can be compared bit for bit; hypothesis without a clock and luck; the command line.

What a shell, a notebook's kernel, a hook of git or a cluster exports changes no test.
"""

import json
import math
import os
import shutil
import subprocess
import sys
import types

import hypothesis
import pytest
import torch

from nngeom_cli.cli.entry import main
from nngeom_cli.errors import ConfigError
from nngeom_cli.system import progress

SURROUNDINGS = (
    "COLUMNS",
    "COMP_",
    "GIT_",
    "HYDRA_",
    "MATPLOTLIBRC",
    "MPLBACKEND",
    "NNGEOM_",
    "PYTHONDONTWRITEBYTECODE",
    "SLURM_",
    "TQDM_",
)
for variable in [name for name in os.environ if name.startswith(SURROUNDINGS)]:
    del os.environ[variable]

torch.set_num_threads(1)
progress.FIRST = math.inf  # a slow machine says no more than a fast one
hypothesis.settings.register_profile("nngeom", deadline=None, derandomize=True, database=None, print_blob=True)
hypothesis.settings.load_profile("nngeom")


class Runner(types.ModuleType):
    """A double of runs.run and training.device: takes down what it is asked to run; a seed can be told to fail."""

    def __init__(self):
        super().__init__("nngeom_cli.runs.run")
        self.runs = []
        self.failures = {}

    def run(self, config, directory, *, command):
        self.runs.append((config, directory, command))
        sys.stdout.write("accuracy by seed\n")
        failed = config.seed in self.failures
        rows = [
            {"replicate": seed, "loss": 1.0, "accuracy": 0.25 + 0.75 * seed, "solved": seed == 1} for seed in (0, 1)
        ]
        info = {"status": "failed" if failed else "complete", "replicates": rows}
        (directory / "run.json").write_text(json.dumps(info))
        if failed:
            raise self.failures[config.seed]

    def resolve_device(self, device):
        raise ConfigError(f"`device` must be a device of this machine. Got {device}. Choose device=cpu.")


@pytest.fixture(autouse=True, scope="session")
def as_a_user_has_them():
    """Pictures are coarse here: their fonts as text that can be edited take a third of their time."""
    from nngeom_cli.figures.style import DPI, SETTINGS  # and matplotlib, now that those variables are gone

    whole = {"DPI": DPI, "pdf.fonttype": SETTINGS["pdf.fonttype"]}
    with pytest.MonkeyPatch.context() as patch:
        _draw_with(patch, {"DPI": 40, "pdf.fonttype": 3})
        yield whole


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """The user's cache is neither read nor written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def one_core(monkeypatch):
    monkeypatch.setenv("NNGEOM_CORES", "1")


@pytest.fixture
def fine_pictures(as_a_user_has_them, monkeypatch):
    _draw_with(monkeypatch, as_a_user_has_them)


def _draw_with(patch, settings):
    from nngeom_cli.figures.style import SETTINGS

    patch.setitem(SETTINGS, "pdf.fonttype", settings["pdf.fonttype"])
    patch.setattr("nngeom_cli.figures.output.DPI", settings["DPI"])


@pytest.fixture
def runner(monkeypatch, tmp_path):
    double = Runner()
    for name in ("nngeom_cli.runs.run", "nngeom_cli.training.device"):
        monkeypatch.setitem(sys.modules, name, double)
    monkeypatch.chdir(tmp_path)
    return double


@pytest.fixture
def nngeom(runner, capsys):
    """`nngeom(*words)` -> exit code, lines of stdout, lines of stderr."""

    def call(*words):
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err.splitlines()

    return call


@pytest.fixture
def small_disk(tmp_path):
    """A function that mounts a disk of some kilobytes, or mounts it anew; skips where that is not allowed."""
    if shutil.which("mount") is None:
        pytest.skip("needs mount")
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(*options):
        done = subprocess.run(["mount", *options, str(folder)], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("needs the right to mount a disk")
        return folder

    yield lambda size: mount("-t", "tmpfs", "-o", f"size={size}k", "none"), lambda how: mount("-o", f"remount,{how}")
    subprocess.run(["umount", str(folder)], check=False)
