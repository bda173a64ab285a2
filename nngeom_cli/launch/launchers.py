"""What each launcher of conf/hydra/launcher needs so that one lost job costs no other, and cores are shared out."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from inspect import signature
from pathlib import Path
from signal import Signals, strsignal
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext

from nngeom_cli.config.footprint import least_memory
from nngeom_cli.config.run import load_config
from nngeom_cli.errors import (
    ConfigError,
    DamageError,
    FolderError,
    disk_trouble,
    one_line,
    require,
    sentence_of,
    unwritable,
)
from nngeom_cli.launch.shutdown import ended_by_signals
from nngeom_cli.quoting import quoted
from nngeom_cli.store.sweep import COMPLETE, Job, Outcome, Sweep, ending
from nngeom_cli.system.memory import lost_words
from nngeom_cli.system.parallel import available_cores
from nngeom_cli.system.programs import output_of
from nngeom_cli.system.progress import Progress
from nngeom_cli.system.writer import SWEEP_PROCESS, end_with_sweep, this_process

__all__ = ["launched", "refuse_new_cluster", "replaced"]

OF_NEW_CLUSTER = ("num_cpus", "object_store_memory")  # keys of Ray, which a cluster that is there has already
LEAST_STORE = 78_643_200  # bytes, the least that Ray takes for objects: jobs write to disk
FULL = 2**16  # bytes that are free on a disk on which a job finds no room for what it has to say
LOOK_SECONDS = 2.0  # between two looks at which jobs are over


def launched(sweeper: BasicSweeper, sweep: Sweep, jobs: Sequence[Job], start: Callable[[], Any]) -> list[Outcome]:
    """Runs jobs of a sweep on the launcher of `sweeper`.

    Args:
        sweeper: Hydra's.
        sweep: its jobs are all in the result.
        jobs: those that are to run.
        start: gives them to the launcher.

    Returns:
        How each job of the sweep ended, as it is on disk.

    Raises:
        KeyboardInterrupt: SIGINT or SIGTERM; no process is left.
    """
    launcher: Any = sweeper.launcher
    launch, errors = launcher.launch, {}
    told = set()  # jobs that say themselves why they failed

    def launch_and_listen(job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        results: Sequence[JobReturn] = launch(job_overrides, initial_job_idx=initial_job_idx)
        for number, result in enumerate(results, initial_job_idx):
            if result.status is JobStatus.FAILED:
                errors[jobs[number].directory] = str(result._return_value)
                if type(result._return_value).__module__.startswith("nngeom_cli."):
                    told.add(jobs[number].directory)
                result.status = JobStatus.COMPLETED  # lest Hydra stop the sweep and print it
        return results

    launcher.launch = launch_and_listen
    launcher.hydra_context = _Context(launcher.hydra_context, sweep)
    with ExitStack() as stack:
        stack.enter_context(_cores_shared(sweeper, len(jobs)))
        if type(launcher).__name__ in ("LocalLauncher", "SlurmLauncher"):
            folder = Path(tempfile.mkdtemp(prefix=".submitit-", dir=sweep.directory))
            launcher.params["submitit_folder"] = str(folder / "%j")  # new, since submitit opens the pickles in it
            stack.enter_context(_lost_jobs_are_results(sweep))
        if type(launcher).__name__ == "RayLauncher":
            _start_ray(launcher, sweep)
        if type(launcher).__name__ != "BasicLauncher":
            stack.enter_context(_watched(sweep, jobs))
        on_slurm = type(launcher).__name__ == "SlurmLauncher"
        stack.enter_context(ended_by_signals(sweep, lambda: _cancel(folder) if on_slurm else None))
        try:
            start()
        except Exception as error:  # joblib and Ray give up on all jobs when one of their processes is killed
            trouble = disk_trouble(error)
            full = unwritable(sweep.directory, trouble) if trouble else error
            gave_up = sentence_of(full, "`nngeom resume` goes on.")
            left = [job for job in jobs if sweep.status(job) != COMPLETE]
            at_work = [job for job in left if not trouble and sweep.status(job) in ("running", "interrupted")]
            errors |= {job.directory: gave_up for job in at_work or left}
    untold = [job for job in jobs if job.directory not in told]
    errors |= {job.directory: words for job in untold if (words := _lost(sweep, job, errors.get(job.directory, "")))}
    return [sweep.outcome(job, errors.get(job.directory)) for job in sweep.jobs]


class _Context:
    """Hydra's context for the jobs of a sweep. It goes with each job, to whatever machine, and is asked for callbacks
    before Hydra makes the job's folder: no sweep is made anew that was moved or deleted, and none written into that is
    in its place.
    """

    def __init__(self, context: HydraContext, sweep: Sweep) -> None:
        self.config_loader, self._callbacks = context.config_loader, context.callbacks
        self._directory, self._ending = sweep.directory, ending(sweep.directory)

    @property
    def callbacks(self) -> Callbacks:
        if ending(self._directory) != self._ending:
            raise FolderError(
                f"`{self._directory}` must stay where it is while jobs run. Got: it was moved or deleted."
            )
        return self._callbacks


def _lost(sweep: Sweep, job: Job, heard: str) -> str | None:
    """What became of a job whose process ended without a word; None of any other job.

    Args:
        sweep: that it belongs to.
        job: it ran.
        heard: what its launcher heard of it: joblib tells how processes ended, submitit what they printed.
    """
    try:
        run = sweep.run(job)
        if run is None or (run.info["status"], run.status) != ("running", "interrupted"):
            return None
        needed = least_memory(load_config(job.config))
    except ConfigError:
        return None
    if shutil.disk_usage(sweep.directory).free < FULL:
        return str(unwritable(sweep.directory, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
    ends = [-number for number in Signals if any(sign in heard for sign in _signs(number))]
    way_out = f"`nngeom resume {shlex.quote(str(sweep.directory))}` goes on."
    return lost_words(ends[0] if ends else None, needed, way_out)


def _signs(number: Signals) -> tuple[str, str]:
    """What joblib, and Python's faulthandler, say of a process that a signal ended."""
    return f"{number.name}(-{number.value})", f"Fatal Python error: {strsignal(number)}"


@contextmanager
def _cores_shared(sweeper: BasicSweeper, jobs: int) -> Iterator[None]:
    """As many jobs at once as there are cores, and each trains on its share of them."""
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
            launcher.joblib["initializer"] = end_with_sweep  # in a worker that has had no job yet, too
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
    ):  # the others may run jobs on machines of which this one knows nothing
        os.environ[SWEEP_PROCESS] = json.dumps(this_process())
        os.environ["PYTHONFAULTHANDLER"] = "1"  # it tells of a job that ends by a segmentation fault
    os.environ["PYTHONSAFEPATH"] = "1"  # a job imports nothing from the folder that it starts in (Python 3.11 on)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _starts_workers_with_a_call() -> bool:
    """Whether this version of joblib takes a function that its workers call first."""
    from joblib import Parallel

    return any(each.kind is each.VAR_KEYWORD for each in signature(Parallel.__init__).parameters.values())


@contextmanager
def _watched(sweep: Sweep, jobs: Sequence[Job]) -> Iterator[None]:
    """Tells how many of the jobs are over while a launcher runs them, which does not tell."""

    def end(job: Job) -> str | None:
        with suppress(DamageError):  # of which the end of the sweep tells
            return run.info.get("finished") if (run := sweep.run(job)) else None
        return None

    def ends() -> list[str | None]:
        return [end(job) for job in jobs]

    def watch() -> None:
        before = ends()  # of runs that are resumed
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


@contextmanager
def _lost_jobs_are_results(sweep: Sweep) -> Iterator[None]:
    """A job that was killed is one failed job to Hydra's submitit launcher, which would raise and forget the others."""
    from submitit.core.core import Job as SubmittedJob

    results = SubmittedJob.results

    def results_or_error(job: Any) -> list[Any]:
        try:
            return list(results(job))
        except Exception as error:
            numbers = re.findall(r"OSError: \[Errno (\d+)\]", str(error))  # with the whole traceback of the job
            trouble = disk_trouble(OSError(int(numbers[-1]), os.strerror(int(numbers[-1])))) if numbers else None
            full = unwritable(sweep.directory, trouble) if trouble else error
            sentence = sentence_of(full, f"What it printed is in {job.paths.folder}.")
            return [JobReturn(status=JobStatus.FAILED, _return_value=sentence)]

    with replaced(SubmittedJob, "results", results_or_error):
        yield


def refuse_new_cluster(launcher: Any) -> None:
    """Raises ConfigError where Ray is to join a cluster, and a key is set of one that is started."""
    if type(launcher).__name__ == "RayLauncher" and (init := launcher.ray_cfg.init).address is not None:
        for name in OF_NEW_CLUSTER:
            what = f"left out with an address, here {init.address}"
            way_out = f"`ray start --{name.replace('_', '-')}` sets it on each machine."
            require(init.get(name) is None, f"hydra.launcher.ray.init.{name}", what, init.get(name), way_out)


def _start_ray(launcher: Any, sweep: Sweep) -> None:
    """Starts Ray, or joins a cluster, before its launcher would: Ray takes SIGTERM for itself, and ours comes after.

    The processes of a cluster start in a folder of their own, so jobs get the whole path of the sweep.

    Raises:
        ConfigError: there is no such cluster.
    """
    from hydra_plugins.hydra_ray_launcher._launcher_util import start_ray

    init, directory = launcher.ray_cfg.init, sweep.directory.absolute()
    launcher.config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quoted(str(directory))}")
    try:
        start_ray(init)
    except (ConnectionError, ValueError, RuntimeError) as error:
        if init.address is None:
            raise
        raise ConfigError(
            f"`hydra.launcher.ray.init.address` must be that of a Ray cluster that is up. Got {init.address}: "
            f"{one_line(error)}. `ray start --head` starts one, `nngeom resume {shlex.quote(str(directory))}` goes on."
        ) from error


def _cancel(folder: Path) -> None:
    """Asks SLURM to end the jobs that submitit keeps in folders named by their ids."""
    ids = [path.name for path in folder.iterdir() if re.fullmatch(r"[0-9]+(_[0-9]+)?", path.name)]
    if ids:
        output_of("scancel", *ids)


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """An attribute has another value meanwhile."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
