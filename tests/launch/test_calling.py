"""`nngeom_cli.run`: the run of the command, with its checks, that leaves the caller's process as it was."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from small_runs import assert_same

import nngeom_cli
from nngeom_cli.cli.entry import main
from nngeom_cli.errors import ConfigError, RunError
from nngeom_cli.store.run import load_run
from nngeom_cli.store.sweep import load_sweep

SMALL = {
    "task": "xor",
    "architecture.hidden": [4],
    "optimizer.epochs": 6,
    "replicates": np.int64(2),
    "probe.resolution": 5,
    "probe.checkpoints": (2,),
    "figures.draw": False,
    "device": "cpu",
}
WORDS = ["task=xor", "architecture.hidden=[4]", "optimizer.epochs=6", "replicates=2", "probe.resolution=5"]
WORDS += ["probe.checkpoints=[2]", "figures.draw=false", "device=cpu"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NNGEOM_CORES", "1")
    return tmp_path


def test_it_is_the_run_of_the_command_to_the_last_bit(capsys):
    assert main(["run", *WORDS, "hydra.run.dir=typed"]) == 0
    for overrides in (SMALL | {"hydra.run.dir": Path("made")}, [*WORDS, "hydra.run.dir=listed"]):
        made = nngeom_cli.run(overrides)
        typed = load_run("typed")
        assert made.config == typed.config
        assert_same(made, typed, epochs=[0, 2, 6])
    assert load_run("made").info["command"].startswith("nngeom run task=xor 'architecture.hidden=[4]'")
    assert (Path("made") / "job.log").exists()
    assert main(["resume", "made", "optimizer.epochs=8"]) == 0


def test_without_a_directory_it_has_the_commands_own_name():
    made = nngeom_cli.run(SMALL | {"seed": 5})
    assert made.directory.parent == Path.cwd() / "outputs" / "runs" / "xor"
    assert made.directory.name.endswith("-seed5")


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"optimizer.lr": -1}, "`optimizer.lr` must be a positive number. Got -1.0."),
        ({"tsak": "xor"}, "`tsak` must be a key of the config. Got xor. Did you mean `task=xor`?"),
        ({"seed": "0,1"}, "`seed` must be an integer. Got 0,1."),
        ({"task": "csv", "task.path": "${oc.env:HOME}"}, "`task.path` must be"),
        (["seed=0,1"], "`seed` must be one value. Got 0,1."),
        ({"experiment": "width"}, "`experiment` must be one run in Python. Got a sweep over architecture.hidden"),
        (["--cfg"], "`overrides` must be KEY=VALUE. Got --cfg."),
        (["-m", "seed=0,1"], "`overrides` must be KEY=VALUE. Got -m."),
        ([3], "`overrides` must be KEY=VALUE. Got 3."),
        ({"": 3}, "`overrides` must be KEY=VALUE. Got =3."),
        ("task=xor", "`overrides` must be a dict, or a list of words. Got task=xor."),
        ({"hydra.launcher": "joblib"}, "`hydra.launcher` must be left out in Python. Got joblib."),
        ({"hydra.job.chdir": True}, "`hydra.job.chdir` must be left out in Python. Got true."),
        ({"seed": object()}, "`seed` must be a number, a text, null, a list or a dict. Got object."),
        ({"hydra.run.dir": "."}, "`hydra.run.dir` must be a directory that does not exist yet."),
        ({"hydra.run.dir": "~/x"}, "`hydra.run.dir` must be a path that needs no shell. Got ~/x."),
    ],
    ids=lambda value: re.sub(" at 0x[0-9a-f]+", "", str(value)),  # the same in each process
)
def test_a_wrong_override_is_the_same_sentence_and_nothing_on_disk(here, overrides, sentence):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        nngeom_cli.run(overrides)
    assert isinstance(caught.value, ConfigError)
    assert str(caught.value).startswith(sentence)
    assert list(here.iterdir()) == []


def test_texts_lists_and_dicts_arrive_as_they_are(runner, monkeypatch):
    Path("my data, $x=1.csv").write_text("x,y,class\n0,0,a\n1,1,b\n")
    given = {"task": "csv", "task.path": "my data, $x=1.csv", "task.header": True, "task.columns": ["x", "y"]}
    given |= {"probe.checkpoints": "log 3", "optimizer.lr": np.float64(0.5), "optimizer.batch_size": None}
    with pytest.raises(Exception, match="config"):  # the double of a run writes none into run.json
        nngeom_cli.run(given).config["x"]
    ((found, *_),) = runner.runs
    assert (found.task.path, found.task.columns) == (str(Path.cwd() / "my data, $x=1.csv"), ["x", "y"])
    assert (found.task.header, found.optimizer.lr, found.optimizer.batch_size) == (True, 0.5, None)
    assert (found.probe.checkpoints["spacing"], found.probe.checkpoints["count"]) == ("log", 3)


def test_a_run_that_diverges_is_returned_and_one_that_fails_raises(monkeypatch, runner):
    lost = {"architecture.activation": "monomial3", "optimizer.lr": 1e9, "optimizer.epochs": 30}
    runner.failures = {0: RunError("It failed.")}
    with pytest.raises(RunError, match="It failed"):
        nngeom_cli.run(SMALL)
    monkeypatch.undo()
    monkeypatch.setenv("NNGEOM_CORES", "1")
    made = nngeom_cli.run(SMALL | lost | {"hydra.run.dir": str(runner.runs[0][1].parent / "lost")})
    assert made.status == "diverged"


def hydra_state():
    resolvers = sorted(name for name in ("now", "hydra", "mine", "python_version") if OmegaConf.has_resolver(name))
    store = repr(ConfigStore.instance().repo)
    return GlobalHydra.instance().hydra, HydraConfig.instance().cfg, resolvers, store, sys.argv[:]


@pytest.mark.parametrize("overrides", [SMALL, {"optimizer.lr": -1}], ids=["complete", "refused"])
def test_an_owner_of_hydra_keeps_it(tmp_path, overrides):
    """Whoever calls from an application of Hydra's own, with resolvers and a config of theirs."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "config.yaml").write_text("mine: 1\n")
    OmegaConf.register_new_resolver("mine", lambda: 7, replace=True)
    try:
        with hydra.initialize_config_dir(str(tmp_path / "theirs"), version_base="1.3"):
            HydraConfig.instance().cfg = OmegaConf.create({"hydra": {"job": {"name": "theirs"}}})
            before = hydra_state()
            if overrides is SMALL:
                assert nngeom_cli.run(overrides).status == "complete"
            else:
                with pytest.raises(ConfigError):
                    nngeom_cli.run(overrides)
            after = hydra_state()
            assert all(one is other for one, other in zip(before[:2], after[:2], strict=True))
            assert before[2:] == after[2:]
            assert hydra.compose("config").mine == 1
            assert OmegaConf.create({"x": "${mine:}"}).x == 7
    finally:
        HydraConfig.instance().cfg = None
        OmegaConf.clear_resolver("mine")


def test_runs_of_several_threads_are_made_one_after_another():
    made, threads = {}, torch.get_num_threads()

    def make(seed):
        made[seed] = nngeom_cli.run(SMALL | {"seed": seed, "hydra.run.dir": f"of-{seed}"})

    workers = [threading.Thread(target=make, args=[seed]) for seed in (0, 10)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    alone = nngeom_cli.run(SMALL | {"seed": 10, "hydra.run.dir": "alone"})
    assert_same(made[10], alone, epochs=[0, 2, 6])
    assert made[0].status == "complete"
    assert torch.get_num_threads() == threads


def test_a_kernels_own_backend_of_matplotlib_breaks_neither_run_nor_command(tmp_path):
    """Figures go to files; the backend of a notebook's kernel need not even be installed."""
    program = f"""
import nngeom_cli, os, sys, warnings
warnings.simplefilter("error")
made = nngeom_cli.run({ {**SMALL, "replicates": 2, "figures.draw": True} })
import matplotlib
assert ".png" in {{path.suffix for path in (made.directory / "figures").iterdir()}}
assert "data:image/png" in made._repr_html_()
assert os.environ["MPLBACKEND"] == "module://not_there.backend_inline"
assert matplotlib.rcParams._get_backend_or_none() in (None, "module://not_there.backend_inline")
from nngeom_cli.cli import main
assert main(["figures", str(made.directory)]) == main(["animate", str(made.directory)]) == 0
"""
    backend = {"MPLBACKEND": "module://not_there.backend_inline", "NNGEOM_CORES": "1"}
    environment = {**os.environ, **backend}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr


# ---- what a notebook shows


def test_a_notebook_shows_scores_and_picture_of_a_run(here):
    made = nngeom_cli.run(SMALL)
    page = made._repr_html_()
    assert "<b>xor, complete</b>" in page
    assert page.count("<tr>") == 3
    assert f"<td>{made.replicates[1]['loss']:.4g}</td>" in page
    assert "<img" not in page
    assert repr(made) == f"Run(directory={made.directory!r}, thinned=0, chosen=None)"
    (made.directory / "figures").mkdir()
    (made.directory / "figures" / "a.png").write_bytes(b"<script>")
    (here / "secret.png").write_bytes(b"\x89PNG\r\n\x1a\nsecret")
    (made.directory / "figures" / "b.png").symlink_to(here / "secret.png")
    assert "<img" not in made._repr_html_()
    (made.directory / "figures" / "plane-layer-1.png").write_bytes(b"\x89PNG\r\n\x1a\nmine")
    assert '<img src="data:image/png;base64,iVBORw0KGgptaW5l" alt="plane-layer-1.png"' in made._repr_html_()


def test_a_notebook_shows_the_jobs_of_a_sweep(capsys, runner):
    assert main(["run", "-m", "seed=0,1", "hydra.sweep.dir=sweep"]) == 0
    page = load_sweep("sweep")._repr_html_()
    assert page.count("<tr>") == 3
    assert "<td>seed=1</td><td>complete</td><td>0.625</td><td>1-seed=1</td>" in page


def test_texts_of_a_stranger_are_text_in_a_notebook(here):
    made = nngeom_cli.run(SMALL | {"hydra.run.dir": "<script>alert(1)<"})
    task = {"name": "<img src=x onerror=alert(1)>\x1b[2J"}
    hostile = type(made)(made.directory, made.info | {"config": {"task": task}, "status": "failed"})
    page = hostile._repr_html_()
    assert "<script" not in page
    assert "<img" not in page
    assert "\x1b" not in page
    assert "&lt;script&gt;" in page
