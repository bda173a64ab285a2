"""What large sweeps and runs cost: a job, a checkpoint and a figure, among few and among many.

python benchmarks/scale.py [sweep] [history] [outputs] [figures] [verification]

Seconds are CPU time of the process; memory is the peak resident memory of a separate process.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from timing import machine

JOBS = (10, 60)
CHECKPOINTS, REPLICATES = (20, 200), 200
DRAWN, NETWORKS = 200, 20
RUNS, ROUNDS = 100, 5
SIDES, WIDTH = (40, 400), 1024


def sweep() -> None:
    """What each additional job of a sweep costs before the first one starts."""
    from nngeom_cli.errors import ConfigError
    from nngeom_cli.launch import application as launching

    check, seconds = launching.checked_jobs, []

    def timed(*arguments: object) -> object:
        start = time.process_time()
        check(*arguments)  # type: ignore[arg-type]
        seconds.append(time.process_time() - start)
        raise ConfigError("checked")

    launching.checked_jobs = timed  # type: ignore[assignment]
    for jobs in (2, *JOBS):  # imports come with the first
        with contextlib.suppress(ConfigError):
            launching.launch(["-m", "task=xor", f"seed={','.join(map(str, range(jobs)))}"], "nngeom run")
    _, few, many = seconds
    print(f"sweep: {1000 * (many - few) / (JOBS[1] - JOBS[0]):.0f} ms a job to check")


def history() -> None:
    """What a checkpoint costs to write, except for its parameters and its geometry."""
    from nngeom_cli.store.run_directory import RunDirectory
    from nngeom_cli.training.checkpoint import Checkpoint

    def seconds(checkpoints: int) -> float:
        with tempfile.TemporaryDirectory() as directory:
            store = RunDirectory(Path(directory), {"id": "0" * 32})
            start = time.process_time()
            for epoch in range(checkpoints):
                scores = np.random.default_rng(epoch).random((2, REPLICATES))
                checkpoint = Checkpoint(epoch, scores[0], scores[1], [np.zeros((2, 2))], {}, np.zeros(2))
                store.add_history(checkpoint, list(range(REPLICATES)))
                store.write_checkpoint(checkpoint, range(checkpoints))
            return (time.process_time() - start) / checkpoints

    few, many = map(seconds, CHECKPOINTS)
    print(f"history: {1000 * few:.0f} ms a checkpoint of {CHECKPOINTS[0]}, {1000 * many:.0f} ms of {CHECKPOINTS[1]}")


def outputs() -> None:
    """Peak memory for the outputs of wide networks on a grid."""
    for side in SIDES:
        command = [sys.executable, __file__, "outputs-at", str(side)]
        memory = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        print(f"outputs: 8 networks of {WIDTH} units at {side} x {side} points: {memory}", flush=True)


def outputs_at(side: int) -> None:
    from nngeom_cli.training.loop import initial_generators
    from nngeom_cli.training.network import initial_network

    network = initial_network([2, WIDTH, 1], "sigmoid", initial_generators(0, 8))
    network.outputs(torch.rand(side**2, 2, dtype=torch.float64))
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def measured_run(directory: Path, checkpoints: int, replicates: int) -> Path:
    """A run of XOR with that many measured checkpoints, one epoch's numbers with some noise; not trained."""
    from nngeom_cli.config.loader import load_config
    from nngeom_cli.config.schedule import checkpoint_epochs
    from nngeom_cli.launch.application import composed
    from nngeom_cli.runs.context import prepare
    from nngeom_cli.runs.provenance import provenance
    from nngeom_cli.store.run_directory import RunDirectory
    from nngeom_cli.training.checkpoint import Checkpoint

    words = ["task=xor", f"replicates={replicates}", f"optimizer.epochs={checkpoints - 1}"]
    config = load_config(composed([*words, f"probe.checkpoints='linear {checkpoints}'"]))
    context = prepare(config, torch.device("cpu"), [config.optimizer.epochs])
    geometry = context.probe(context.network)
    directory.mkdir(parents=True)
    store = RunDirectory(directory, {"command": "nngeom run", **provenance(config, torch.device("cpu"))})
    rng = np.random.default_rng(0)
    for epoch in checkpoint_epochs(config.probe.checkpoints, config.optimizer.epochs):
        scores = rng.random((2, replicates))
        store.add_history(Checkpoint(epoch, scores[0], scores[1], [], {}, np.empty(0)), context.seeds)
        noise = {name: geometry[name] + 0.1 * rng.standard_normal() for name in ("log_volume_element", "margin")}
        store.write_geometry(epoch, geometry.assign(noise))
    store.write_history()
    store.write_manifest()
    rows = [{"replicate": one, "loss": 0.1, "accuracy": 1.0, "solved": True} for one in context.seeds]
    store.update(status="complete", replicates=rows)
    return directory


def figures() -> None:
    """What drawing a run of many checkpoints costs, including reading it."""
    from nngeom_cli.figures import draw_figures
    from nngeom_cli.store.run import load_run

    with tempfile.TemporaryDirectory() as folder:
        directory = measured_run(Path(folder) / "run", DRAWN, NETWORKS)
        start = time.process_time()
        draw_figures(load_run(directory))
        print(f"figures: {time.process_time() - start:.0f} s for {DRAWN} checkpoints of {NETWORKS} replicates")


def verification() -> None:
    """`load_run(...).geometry` of a run and `nngeom summarize` of many, with and without verification, in turns."""
    from nngeom_cli.analysis.summary import summarize_runs
    from nngeom_cli.store import run as runs
    from nngeom_cli.store.run import described, load_run

    def call(function: Callable[..., object], verify: bool, directory: Path, **_: bool) -> object:
        return function(directory, verify=verify)

    def read(directory: Path, verify: bool) -> None:
        _ = load_run(directory, verify=verify).geometry

    def summed(directory: Path, verify: bool) -> None:
        for function in (load_run, described):
            setattr(runs, function.__name__, partial(call, function, verify))
        summarize_runs([directory]).text("terminal")

    os.environ["XDG_CACHE_HOME"] = "/dev/null"  # every row is read
    with tempfile.TemporaryDirectory() as folder:
        one, of_many = measured_run(Path(folder) / "run", 11, 8), Path(folder) / "many"
        measured_run(of_many / "0", 2, 8)
        for number in range(1, RUNS):
            shutil.copytree(of_many / "0", of_many / str(number))
        cases = {"load_run of 11 checkpoints": (read, one), f"summarize of {RUNS} runs": (summed, of_many)}
        for name, (command, directory) in cases.items():
            seconds: dict[bool, list[float]] = {True: [], False: []}
            for _ in range(ROUNDS):
                for verify in seconds:
                    start = time.process_time()
                    command(directory, verify)
                    seconds[verify].append(time.process_time() - start)
            ratio = statistics.median(seconds[True]) / statistics.median(seconds[False])
            print(f"verification: {name}: {ratio:.2f} times the time without", flush=True)


PARTS = {part.__name__: part for part in (sweep, history, outputs, figures, verification)}


def main(names: list[str]) -> None:
    if names[:1] == ["outputs-at"]:
        outputs_at(int(names[1]))
        return
    torch.set_num_threads(1)
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name in names or PARTS:
            PARTS[name]()
        os.chdir("/")


if __name__ == "__main__":
    main(sys.argv[1:])
