"""Jobs of a sweep whose process died without a message: why, as far as the disk and the launcher tell."""

from __future__ import annotations

import errno
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from signal import Signals, strsignal
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from nngeom_cli.config.footprint import least_memory
from nngeom_cli.config.loader import load_config
from nngeom_cli.errors import ConfigError, DamageError, disk_trouble, sentence_of, unwritable
from nngeom_cli.launch.hydra_patches import JOINED_JOBS
from nngeom_cli.store.sweep import Job, Sweep
from nngeom_cli.system.memory import lost_words

__all__ = ["lost_jobs_are_results", "words_of_lost"]

FULL = 2**16  # free bytes below which a job could not even write its error message


def words_of_lost(sweep: Sweep, job: Job, heard: str) -> str | None:
    """Why a job died whose process left no message; None for any other job.

    Args:
        sweep: the job's sweep.
        job: one that ran.
        heard: what its launcher reported: joblib how processes ended, submitit what they printed.
    """
    try:
        run = sweep.run(job)
        if run is None or (run.info["status"], run.status) != ("running", "interrupted"):
            return None
        needed = least_memory(load_config(job.config))
    except (ConfigError, DamageError):
        return None
    if shutil.disk_usage(sweep.directory).free < FULL:
        return str(unwritable(sweep.directory, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
    ends = [-number for number in Signals if any(sign in heard for sign in _signs(number))]
    suggestion = f"`nngeom resume {shlex.quote(str(sweep.directory))}` continues it."
    return lost_words(ends[0] if ends else None, needed, suggestion)


def _signs(number: Signals) -> tuple[str, str]:
    """How joblib and Python's faulthandler report a process that a signal ended."""
    return f"{number.name}(-{number.value})", f"Fatal Python error: {strsignal(number)}"


@contextmanager
def lost_jobs_are_results(sweep: Sweep) -> Iterator[None]:
    """Inside the block, a killed job is one failed job; Hydra's submitit launcher would raise and lose the others."""
    results = JOINED_JOBS.now()

    def results_or_error(job: Any) -> list[Any]:
        try:
            if sweep.launcher == "submitit_local":
                job.wait()
                if not job.paths.result_pickle.exists():  # submitit waits for it still, as on a disk that is shared
                    raise RuntimeError(f"It has not produced any output. {job.stderr() or ''}".rstrip())
            return list(results(job))
        except Exception as error:
            numbers = re.findall(r"OSError: \[Errno (\d+)\]", str(error))  # with the whole traceback of the job
            trouble = disk_trouble(OSError(int(numbers[-1]), os.strerror(int(numbers[-1])))) if numbers else None
            full = unwritable(sweep.directory, trouble) if trouble else error
            sentence = sentence_of(full, f"What it printed is in {job.paths.folder}.")
            return [JobReturn(status=JobStatus.FAILED, _return_value=sentence)]

    with JOINED_JOBS.replaced(results_or_error):
        yield
