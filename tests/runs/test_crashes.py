"""Killed at every moment that touches the disk, and on a full disk: what is resumed is what was never interrupted."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from functools import partial

import psutil
import pytest
from disk import Disk, ends_in_a_process, fill
from processes import apart_from_progress, nngeom, started
from small_runs import assert_same, config

from nngeom_cli.cli.entry import main
from nngeom_cli.config.footprint import least_memory
from nngeom_cli.config.loader import load_config
from nngeom_cli.errors import LostProcessError
from nngeom_cli.runs import run as runner
from nngeom_cli.runs.resume import resume
from nngeom_cli.store.run import load_run
from nngeom_cli.system.memory import in_words
from nngeom_cli.training import blocks
from nngeom_cli.training.loop import train

pytestmark = pytest.mark.usefixtures("one_core")

SIGMOID = {"hidden": [4, 3], "activation": "sigmoid"}
NUMBERS = {
    "seed": 1,
    "replicates": 2,
    "device": "cpu",
    "dtype": "float64",
    "checkpoint_seconds": 0,
    "figures": {"draw": False},
}
MEMORY = "killed (SIGKILL), most likely by the system for lack of memory"
STEP = {"lr": 0.05, "weight_decay": 1e-3, "epochs": 4}
CONFIGS = {
    "xor": config(optimizer__epochs=4, probe__checkpoints=[0, 3], checkpoint_seconds=0),
    "sinusoid": load_config(
        {
            "task": {"name": "sinusoid", "points": 30, "data_seed": 0},
            "architecture": SIGMOID,
            "optimizer": {"name": "sgd", "momentum": 0.9, "batch_size": None} | STEP,
            "probe": {"kind": "grid", "layers": [2], "resolution": 5, "window": [-1.5, 1.5], "checkpoints": [0, 3]},
        }
        | NUMBERS
    ),
    "digits": load_config(
        {
            "task": {"name": "digits"},
            "architecture": SIGMOID,
            "optimizer": {"name": "adam", "betas": [0.9, 0.999], "eps": 1e-8, "batch_size": 200} | STEP,
            "probe": {
                "kind": "path",
                "layers": [1],
                "pairs": [[0, 1]],
                "endpoints": "class",
                "steps": 4,
                "top_k": 2,
                "checkpoints": [0, 3],
            },
        }
        | NUMBERS
    ),
}


def run_or_resume(name, directory):
    if (directory / "run.json").exists():
        resume(directory)
    else:
        runner.run(CONFIGS[name], directory, command="nngeom run")


@pytest.fixture(scope="module")
def whole(request, tmp_path_factory):
    """Runs that were never interrupted, with the number of times that they touched the disk."""
    runs = {}
    for name, settings in CONFIGS.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NNGEOM_CORES", "1")
            directory = tmp_path_factory.mktemp(name)  # first: it touches the disk itself
            disk = Disk(patch, 10**9, fill)
            runner.run(settings, directory, command="nngeom run")
        runs[name] = load_run(directory), disk.count
    return runs


def killed_everywhere(name, whole, folder, step, offset=0):
    run, touches = whole[name]
    assert touches > 50
    for last in range(1 + offset, touches + 1, step):
        directory = folder / f"{name}-{last}"
        directory.mkdir()
        assert not ends_in_a_process(last, partial(run_or_resume, name, directory))
        ends_in_a_process(1 + last % 17, partial(run_or_resume, name, directory))
        run_or_resume(name, directory)
        assert_same(load_run(directory), run, epochs=[0, 3, 4])
        assert not list(directory.rglob(".half-*"))
        shutil.rmtree(directory)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_killed_at_a_few_moments_and_again_in_resuming(name, whole, tmp_path):
    killed_everywhere(name, whole, tmp_path, step=29, offset=list(CONFIGS).index(name))


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", CONFIGS)
def test_killed_at_every_moment_and_again_in_resuming(name, whole, tmp_path):
    killed_everywhere(name, whole, tmp_path, step=1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
@pytest.mark.parametrize(("number", "why"), [(signal.SIGKILL, MEMORY), (signal.SIGUSR1, "ended by SIGUSR1 (User defi")])
def test_a_run_whose_process_is_killed_says_what_it_needed_and_goes_on(number, why, whole, tmp_path, monkeypatch):
    def dying(*arguments):
        for checkpoint in train(*arguments):
            yield checkpoint
            if checkpoint.epoch == 3:
                os.kill(os.getpid(), number)

    with monkeypatch.context() as patch:
        patch.setenv("NNGEOM_CORES", "2")
        patch.setattr(blocks, "train", dying)
        with pytest.raises(LostProcessError) as caught:
            runner.run(CONFIGS["xor"], tmp_path, command="nngeom run")
    said = str(caught.value)
    assert said.startswith("A worker process was ")
    assert why in said
    assert f"`nngeom resume {tmp_path}` continues it." in said
    assert (in_words(least_memory(CONFIGS["xor"])) in said) == (number == signal.SIGKILL)
    assert load_run(tmp_path).status == "failed"
    assert said in load_run(tmp_path).info["error"]
    resume(tmp_path)
    assert_same(load_run(tmp_path), whole["xor"][0], epochs=[0, 3, 4])


# ---- with the real command, in processes of its own


@pytest.mark.slow
def test_a_real_full_disk_and_a_read_only_one_end_in_a_sentence_and_resume_goes_on(small_disk):
    mounted, again = small_disk
    directory = mounted(1000) / "run"
    words = ["optimizer.epochs=100", "replicates=2", "figures.draw=false"]  # 2 MB
    done = nngeom("run", "task=xor", *words, f"hydra.run.dir={directory}")
    assert done.returncode == 1
    assert apart_from_progress(done.stderr) == (
        f"nngeom: `{directory}` must be a folder that can be written. Got: No space left on device. "
        f"Make room, then `nngeom resume {directory}` continues it.\n"
    )
    kept = sorted((directory / "checkpoints").iterdir())
    assert kept
    assert not list(directory.rglob(".half-*"))
    again("ro")
    done = nngeom("resume", directory)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"nngeom: `{directory}` must be a folder that can be written. Got: Read-only file")
    again("rw,size=100m")
    done = nngeom("resume", directory)
    assert (done.returncode, apart_from_progress(done.stderr)) == (0, "")
    assert load_run(directory).status == "complete"


@pytest.mark.exhaustive
def test_killed_at_random_times_a_real_run_ends_as_one_that_was_not(tmp_path):
    words = ["task=digits", "optimizer.epochs=12", "replicates=4", "checkpoint_seconds=0.1", "probe.pairs=[[3,8]]"]
    assert nngeom("run", *words, f"hydra.run.dir={tmp_path / 'whole'}").returncode == 0
    whole, directory = load_run(tmp_path / "whole"), tmp_path / "killed"
    chance, kills = random.Random(0), 0
    while not (directory / "run.json").exists() or load_run(directory).status != "complete":
        begun = any((directory / name).exists() for name in ("run.json", ".hydra/overrides.yaml"))
        if not begun:
            shutil.rmtree(directory, ignore_errors=True)
        arguments = ["resume", directory] if begun else ["run", *words, f"hydra.run.dir={directory}"]
        try:
            done = nngeom(*arguments, timeout=chance.uniform(0.1, 6) + kills / 2)
        except subprocess.TimeoutExpired:  # subprocess kills with SIGKILL
            kills += 1
        else:
            assert done.returncode == 0, done.stderr
    assert kills
    assert_same(load_run(directory), whole, epochs=whole.geometry.epoch.values.tolist())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_ends_with_130_and_an_honest_status(tmp_path, number):
    directory = tmp_path / "run"
    process = started(directory, "optimizer.epochs=10000000")
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (
        said.splitlines()[-1] == f"nngeom: Interrupted. What was done is saved. Resume with: nngeom resume {directory}"
    )
    assert load_run(directory).status == "interrupted"
    assert json.loads((directory / "run.json").read_text())["status"] == "interrupted"
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


PIPED = {"stderr": subprocess.PIPE, "text": True}


def reached(directory):
    return max(int(path.stem[6:]) for path in (directory / "checkpoints").glob("epoch-*.npz"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
def test_a_stopped_run_goes_on_where_it_was_and_a_stopped_process_does_not_keep_it_from_ending(tmp_path):
    """Ctrl-Z and `fg`; then SIGTERM, with one of the processes that train stopped alone."""
    directory, again = tmp_path / "run", tmp_path / "again"
    process = started(directory, "optimizer.epochs=40000", "replicates=2", "checkpoint_seconds=0.1")
    os.killpg(process.pid, signal.SIGSTOP)
    time.sleep(0.1)  # until it has come to each of them
    before = reached(directory)
    time.sleep(0.5)
    assert reached(directory) == before
    os.killpg(process.pid, signal.SIGCONT)
    while reached(directory) == before:
        assert process.poll() is None
        time.sleep(0.02)
    psutil.Process(process.pid).children()[0].suspend()
    process.terminate()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (
        said.splitlines()[-1] == f"nngeom: Interrupted. What was done is saved. Resume with: nngeom resume {directory}"
    )
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    run = load_run(directory)
    assert run.status == "interrupted"
    assert before < run.history.epoch.max() < 40000
    resume(directory)
    again.mkdir()
    runner.run(load_config(run.config), again, command="nngeom run")
    assert_same(load_run(directory), load_run(again), epochs=[0, 40000])


@pytest.mark.slow
def test_of_two_processes_on_one_directory_exactly_one_wins(tmp_path):
    directory = tmp_path / "run"
    process = started(directory, "optimizer.epochs=60000", "replicates=1")
    process.kill()
    process.communicate()
    assert load_run(directory).status == "interrupted"
    command = [sys.executable, "-m", "nngeom_cli", "resume", str(directory)]
    both = {process.pid: process for process in (subprocess.Popen(command, **PIPED) for _ in range(2))}
    while (first := json.loads((directory / "run.json").read_text())["process"]["pid"]) not in both:
        assert any(process.poll() is None for process in both.values())
        time.sleep(0.02)
    winner = both.pop(first)
    winner.send_signal(signal.SIGSTOP)  # it is at work for as long as the other takes to start
    (loser,) = both.values()
    _, said = loser.communicate()
    winner.send_signal(signal.SIGCONT)
    winner.communicate()
    assert (winner.returncode, loser.returncode) == (0, 2)
    assert said.startswith(f"nngeom: `{directory}` must have one writer at a time. Got a second one, while process ")
    assert load_run(directory).status == "complete"


@pytest.mark.slow
def test_twenty_runs_that_start_in_the_same_second_have_twenty_directories(tmp_path, runner):
    together = time.time() + 2
    children = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for _ in range(20):
            if not (child := os.fork()):
                time.sleep(max(0, together - time.time()))
                os._exit(main(["run"]))
            children.append(child)
    assert {os.waitpid(child, 0)[1] for child in children} == {0}
    assert len(list((tmp_path / "outputs" / "runs" / "xor").iterdir())) == 20
