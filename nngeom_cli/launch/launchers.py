"""Runs the jobs of a sweep on Hydra's launchers: cores are shared out, and a job that dies costs no other job."""

from __future__ import annotations

import json
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from inspect import signature
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext

from nngeom_cli.errors import (
    DamageError,
    FolderError,
    NngeomError,
    disk_trouble,
    sentence_of,
    unwritable,
)
from nngeom_cli.launch.lost_jobs import lost_jobs_are_results, words_of_lost
from nngeom_cli.launch.ray_cluster import start_ray
from nngeom_cli.launch.shutdown import ended_by_signals
from nngeom_cli.store.sweep import COMPLETE, Job, Outcome, Sweep, ending
from nngeom_cli.system.parallel import available_cores
from nngeom_cli.system.process import SWEEP_PROCESS, end_with_sweep, this_process
from nngeom_cli.system.programs import output_of
from nngeom_cli.system.progress import Progress

__all__ = ["launched"]

LEAST_STORE = 78_643_200  # bytes, the smallest object store that Ray accepts: jobs write to disk
LOOK_SECONDS = 2.0  # between two counts of finished jobs


def launched(sweeper: Any, sweep: Sweep, jobs: Sequence[Job], start: Callable[[], Any]) -> list[Outcome]:
    """Runs jobs of a sweep on the launcher of `sweeper`.

    Args:
        sweeper: Hydra's.
        sweep: the whole sweep.
        jobs: the jobs to run.
        start: hands them to the launcher.

    Returns:
        How each job of the sweep ended, according to the disk.

    Raises:
        KeyboardInterrupt: on SIGINT or SIGTERM, when no process is left.
    """
    launcher: Any = sweeper.launcher
    launch, errors = launcher.launch, {}
    told = set()  # jobs that reported themselves why they failed

    def launch_and_listen(job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        results: Sequence[JobReturn] = launch(job_overrides, initial_job_idx=initial_job_idx)
        for number, result in enumerate(results, initial_job_idx):
            if result.status is JobStatus.FAILED:
                errors[jobs[number].directory] = str(result._return_value)
                if isinstance(result._return_value, NngeomError):
                    told.add(jobs[number].directory)
                result.status = JobStatus.COMPLETED  # so that Hydra neither stops the sweep nor prints it
        return results

    launcher.launch = launch_and_listen
    launcher.hydra_context = _Context(launcher.hydra_context, sweep)
    with ExitStack() as stack:
        stack.enter_context(_cores_shared(sweeper, len(jobs)))
        if type(launcher).__name__ in ("LocalLauncher", "SlurmLauncher"):
            folder = Path(tempfile.mkdtemp(prefix=".submitit-", dir=sweep.directory))
            launcher.params["submitit_folder"] = str(
                folder / "%j"
            )  # a new folder, since submitit unpickles what it finds in it
            stack.enter_context(lost_jobs_are_results(sweep))
        if type(launcher).__name__ == "RayLauncher":
            start_ray(launcher, sweep)
        if type(launcher).__name__ != "BasicLauncher":
            stack.enter_context(_watched(sweep, jobs))
        on_slurm = type(launcher).__name__ == "SlurmLauncher"
        stack.enter_context(ended_by_signals(sweep, lambda: _cancel(folder) if on_slurm else None))
        try:
            start()
        except Exception as error:  # joblib and Ray give up all jobs when one of their processes is killed
            trouble = disk_trouble(error)
            full = unwritable(sweep.directory, trouble) if trouble else error
            gave_up = sentence_of(full, "`nngeom resume` continues it.")
            left = [job for job in jobs if sweep.status(job) != COMPLETE]
            at_work = [job for job in left if not trouble and sweep.status(job) in ("running", "interrupted")]
            errors |= {job.directory: gave_up for job in at_work or left}
    for job in jobs:
        if job.directory not in told and (words := words_of_lost(sweep, job, errors.get(job.directory, ""))):
            errors[job.directory] = words
    return [sweep.outcome(job, errors.get(job.directory)) for job in sweep.jobs]


class _Context:
    """Hydra's context for the jobs of a sweep. It travels with each job to any machine. Hydra asks it for callbacks
    before it makes the job's folder, so it can refuse if the sweep was moved, deleted or replaced.
    """

    def __init__(self, context: HydraContext, sweep: Sweep) -> None:
        self.config_loader, self._callbacks = context.config_loader, context.callbacks
        self._directory, self._ending = sweep.directory, ending(sweep.directory)

    @property
    def callbacks(self) -> Any:
        if ending(self._directory) != self._ending:
            raise FolderError(
                f"`{self._directory}` must stay where it is while jobs run. Got: it was moved or deleted."
            )
        return self._callbacks


@contextmanager
def _cores_shared(sweeper: Any, jobs: int) -> Iterator[None]:
    """Runs as many jobs at once as there are cores; each trains on its share of them."""
    launcher: Any = sweeper.launcher
    kind, cores = type(launcher).__name__, available_cores()
    at_once = min(cores, jobs)
    if kind == "BasicLauncher":
        at_once = 1
    elif kind == "JoblibLauncher":
        if launcher.joblib["n_jobs"] > 0:
            at_once = min(launcher.joblib["n_jobs"], jobs)
        launcher.joblib["n_jobs"] = at_once
        if _starts_workers_with_a_call():
            launcher.joblib["initializer"] = end_with_sweep  # also in a worker that has had no job yet
    elif kind == "LocalLauncher":
        if sweeper.max_batch_size is None:
            sweeper.max_batch_size = at_once
        at_once = sweeper.max_batch_size
    share = str(max(1, cores // at_once))
    if kind == "RayLauncher":
        share = str(launcher.ray_cfg.remote.num_cpus)
        init = launcher.ray_cfg.init
        init.runtime_env = {"env_vars": {"NNGEOM_CORES": share}}
        if init.address is None:
            init.num_cpus = init.num_cpus or cores
            init.object_store_memory = init.object_store_memory or LEAST_STORE
    before = dict(os.environ)
    os.environ["NNGEOM_CORES"] = share
    if kind in (
        "JoblibLauncher",
        "LocalLauncher",
    ):  # the others may run jobs on other machines
        os.environ[SWEEP_PROCESS] = json.dumps(this_process())
        os.environ["PYTHONFAULTHANDLER"] = "1"  # it reports a segmentation fault of a job
    os.environ["PYTHONSAFEPATH"] = "1"  # a job imports nothing from its working folder (from Python 3.11 on)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _starts_workers_with_a_call() -> bool:
    """Whether this version of joblib has an initializer for its workers."""
    from joblib import Parallel

    return any(each.kind is each.VAR_KEYWORD for each in signature(Parallel.__init__).parameters.values())


@contextmanager
def _watched(sweep: Sweep, jobs: Sequence[Job]) -> Iterator[None]:
    """Shows how many jobs have finished while a launcher runs them; launchers show nothing."""

    def end(job: Job) -> str | None:
        with suppress(DamageError):  # which is reported when the sweep ends
            return run.info.get("finished") if (run := sweep.run(job)) else None
        return None

    def ends() -> list[str | None]:
        return [end(job) for job in jobs]

    def watch() -> None:
        before = ends()  # for runs that are resumed
        with Progress("job", len(jobs), lines=True) as progress:
            while not over.wait(LOOK_SECONDS):
                pairs = zip(ends(), before, strict=True)
                progress.update(sum(now is not None and now != earlier for now, earlier in pairs))

    over, watcher = threading.Event(), threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _cancel(folder: Path) -> None:
    """Asks SLURM to cancel the jobs of submitit, whose folders are named by their ids."""
    ids = [path.name for path in folder.iterdir() if re.fullmatch(r"[0-9]+(_[0-9]+)?", path.name)]
    if ids:
        output_of("scancel", *ids)
