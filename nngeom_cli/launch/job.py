"""One job of `nngeom run` or `nngeom resume SWEEP`. Launchers pickle these functions by name."""

from __future__ import annotations

import logging
import shlex
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from nngeom_cli.config.loader import load_config
from nngeom_cli.config.run import Config
from nngeom_cli.config.task import FileConfig
from nngeom_cli.errors import ConfigError, DamageError, JobError, printable, sentence_of
from nngeom_cli.launch.saved_config import FROZEN
from nngeom_cli.launch.shutdown import is_stopped
from nngeom_cli.runs.origin import MEASURED, measured_again
from nngeom_cli.runs.unstarted import begun
from nngeom_cli.store.layout import INFO, SWEEP
from nngeom_cli.store.run import load_run
from nngeom_cli.store.sweep import load_sweep
from nngeom_cli.system.held_folder import RESUME, held
from nngeom_cli.system.process import end_with_sweep
from nngeom_cli.system.progress import quietly, within
from nngeom_cli.system.surroundings import lenient_streams, replaced
from nngeom_cli.tables.table_file import located

__all__ = ["command_of", "job", "measuring_job", "resumed_job"]

ON_ONE_TERMINAL = ("joblib", "ray")  # launchers whose jobs share one terminal

log = logging.getLogger(__name__)


def job(composed: DictConfig) -> None:
    """Runs one job in the directory that Hydra made for it. Errors go to its job.log with their traceback."""
    end_with_sweep()
    settings = HydraConfig.get()
    directory = Path(settings.runtime.output_dir)
    with _told_plainly(settings), _requeued_by_cluster(), _progress_of(settings):
        if settings.mode is RunMode.MULTIRUN:
            print(printable(f"job {settings.job.num}: {' '.join(settings.overrides.task)}"), flush=True)
        try:
            config = located(_checked(composed, settings), Path(settings.runtime.cwd))
            if (directory / INFO).exists():  # a cluster requeued the job
                from nngeom_cli.runs.resume import resume

                resume(directory)
            else:
                _begin(directory, config, command_of(settings))
        except Exception:
            log.exception("The run failed.")
            raise


def measuring_job(composed: DictConfig) -> None:
    """Measures a run again in the directory that Hydra made for it."""
    settings = HydraConfig.get()
    directory = Path(settings.runtime.output_dir)
    with _told_plainly(settings):
        try:
            config, command = located(load_config(composed), Path(settings.runtime.cwd)), command_of(settings)
            origin = measured_again(load_run(settings.job.name), config)
            with held(directory, RESUME), begun(directory, config, command, measured_from=origin):
                from nngeom_cli.runs.measure import measure

                measure(config, directory, origin, command=command)
        except Exception:
            log.exception("The run failed.")
            raise


def _checked(composed: DictConfig, settings: HydraConf) -> Config:
    """The config of a job; its data file is the one that was there when the sweep was checked."""
    config = load_config(composed)
    if settings.mode is not RunMode.MULTIRUN or not isinstance(config.task, FileConfig):
        return config
    sweep = Path(settings.sweep.dir)
    if (sweep / SWEEP).exists():
        frozen = {job.directory: job.config for job in load_sweep(sweep).jobs}
        return load_config(frozen[settings.sweep.subdir]) if settings.sweep.subdir in frozen else config
    return config


def resumed_job(composed: DictConfig) -> None:
    """Resumes one run of a sweep in its own directory and with its own config, or starts it if it had not started."""
    end_with_sweep()
    settings = HydraConfig.get()
    directory = Path(settings.runtime.output_dir)
    with _told_plainly(settings), _requeued_by_cluster(), _progress_of(settings, composed.directory):
        print(printable(f"job {composed.directory}"), flush=True)
        from nngeom_cli.runs.report import job_log
        from nngeom_cli.runs.resume import resume

        try:
            if (directory / INFO).exists():
                resume(directory)
                return
            (frozen,) = (job for job in load_sweep(settings.sweep.dir).jobs if job.directory == composed.directory)
            with job_log(directory):
                _begin(directory, load_config(frozen.config), frozen.command)
        except (ConfigError, DamageError):  # a user's mistake in a command, but the reason of a failure in a job
            with job_log(directory):
                log.exception("The run failed.")
            raise


def _begin(directory: Path, config: Config, command: str) -> None:
    """Starts a run; run.json is written before torch is imported."""
    with held(directory, RESUME), begun(directory, config, command):
        from nngeom_cli.runs.run import run

        run(config, directory, command=command)


def _progress_of(settings: HydraConf, name: str = "") -> AbstractContextManager[None]:
    """How a job shows its progress: under its name or number, or not at all where jobs share a terminal."""
    if settings.mode is not RunMode.MULTIRUN:
        return nullcontext()
    return (
        quietly()
        if settings.runtime.choices["hydra/launcher"] in ON_ONE_TERMINAL
        else within(f"job {name or settings.job.num}")
    )


@contextmanager
def _told_plainly(settings: HydraConf) -> Iterator[None]:
    """Turns errors inside the block into ones that can be pickled and read anywhere.

    An interrupt ends a single run, and a sweep that runs in this process; elsewhere, only the job that received it.
    """
    swept = settings.mode is RunMode.MULTIRUN
    if swept and is_stopped(Path(settings.sweep.dir)):
        raise JobError("It was not started: the sweep was interrupted.")
    try:
        with lenient_streams(), replaced(logging, "raiseExceptions", False):  # a full disk cuts the log short, no more
            yield
    except KeyboardInterrupt:
        if swept and settings.runtime.choices["hydra/launcher"] != "basic":
            raise JobError("It was interrupted.") from None
        raise
    except (ConfigError, DamageError):
        raise
    except Exception as error:
        log_file = Path(settings.runtime.output_dir) / "job.log"
        raise JobError(sentence_of(error, f"The traceback is in {log_file}.")) from None


@contextmanager
def _requeued_by_cluster() -> Iterator[None]:
    """On SIGUSR2, which SLURM sends before a time limit or preemption, saves the run, then submitit requeues it.

    submitit's own handler, installed before the job starts, would end the process in the middle of a step.
    """
    requeue = signal.getsignal(signal.SIGUSR2)
    if not callable(requeue):
        yield
        return
    told = False

    def save(*_: Any) -> None:
        nonlocal told
        told = True
        signal.raise_signal(signal.SIGTERM)

    signal.signal(signal.SIGUSR2, save)
    try:
        yield
    except KeyboardInterrupt:
        if told:
            requeue(signal.SIGUSR2, None)
        raise
    finally:
        signal.signal(signal.SIGUSR2, requeue)


def command_of(settings: HydraConf) -> str:
    """The command that repeats this job's run alone."""
    if settings.job.config_name == MEASURED:
        chosen = [f"probe={name}" for name in [settings.runtime.choices.get("probe")] if name is not None]
        keys = [word for word in settings.overrides.task if not word.startswith("probe=")]
        return shlex.join(["nngeom", "measure", settings.job.name, *chosen, *keys])
    words = ["nngeom", "run"]
    for source in settings.runtime.config_sources:
        if source.provider == "command-line":
            words += ["--config-dir", source.path]
    if settings.job.config_name == FROZEN:
        words += ["--from", settings.job.name]
    return shlex.join([*words, *settings.overrides.task])
