"""The directory of a sweep: its jobs, and how each ended.

sweep.json      launcher, and each job's directory, overrides, command and whole config; written before any job starts
0-hidden=4/     a run directory
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from nngeom_cli.errors import DamageError, one_line
from nngeom_cli.store.checksums import SEAL, fits_seal, sealed
from nngeom_cli.store.html import shown_in_notebook
from nngeom_cli.store.layout import SWEEP
from nngeom_cli.system.atomic import read_json, written_whole

if TYPE_CHECKING:
    from nngeom_cli.store.run import Run

__all__ = ["COMPLETE", "Job", "Outcome", "Sweep", "ending", "is_inside", "load_sweep"]

ENDING = 100  # bytes, more than the checksum takes
SEARCH = {"words": list, "objective": str, "direction": str, "trials": int, "seed": int}
COMPLETE, MISSING, DAMAGED = "complete", "not started", "damaged"


@dataclass(frozen=True)
class Job:
    """One run of a sweep, as it was requested.

    Attributes:
        directory: its run directory, relative to the sweep's.
        overrides: as typed.
        command: the command that repeats its run, alone.
        config: the whole config, as in run.json.
    """

    directory: str
    overrides: list[str]
    command: str
    config: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        directory: its run directory.
        overrides: those that not all jobs share.
        status: of its run, or `not started`.
        accuracy: mean over replicates after the last epoch; None if the run did not get there.
        error: a sentence; None if the run is complete.
    """

    directory: Path
    overrides: str
    status: str
    accuracy: float | None
    error: str | None


@dataclass(frozen=True)
class Sweep:
    """A sweep on disk.

    Attributes:
        directory: the sweep's directory.
        launcher: name of the launcher that started it, in conf/hydra/launcher.
        jobs: its runs, in order.
        search: of a sweep whose settings are searched for, what it looks for; its jobs are those so far.
    """

    directory: Path
    launcher: str
    jobs: Sequence[Job]
    search: dict[str, Any] | None = None

    def write(self) -> None:
        """Writes sweep.json."""
        with written_whole(self.directory / SWEEP) as path:
            content: dict[str, Any] = {"launcher": self.launcher, "jobs": [asdict(job) for job in self.jobs]}
            if self.search is not None:
                content["search"] = self.search
            path.write_text(json.dumps(sealed(content), indent=2) + "\n")

    def run(self, job: Job) -> Run | None:
        """The run of a job; None if it has not started.

        Raises:
            DamageError: its files are not as the run wrote them.
        """
        from nngeom_cli.store.run import load_run  # it needs libraries that a list of jobs does without

        try:
            return load_run(self.directory / job.directory)
        except FileNotFoundError:
            return None

    def _repr_html_(self) -> str:
        """What a notebook shows: the jobs with their status and accuracy, and the figure that compares them, if any."""
        rows: list[tuple[object, ...]] = [("job", "overrides", "status", "accuracy", "directory")]
        for number, (job, end) in enumerate((job, self.outcome(job)) for job in self.jobs):
            accuracy = "" if end.accuracy is None else f"{end.accuracy:.3f}"
            rows.append((number, end.overrides, end.status, accuracy, job.directory))
        return shown_in_notebook(f"sweep of {len(self.jobs)} jobs", rows, self.directory)

    def status(self, job: Job) -> str:
        """The status of a job's run; `not started` if there is none, `damaged` if it cannot be read."""
        try:
            run = self.run(job)
        except DamageError:
            return DAMAGED
        return run.status if run else MISSING

    def outcome(self, job: Job, error: str | None = None) -> Outcome:
        """How a job ended; `error` is what its launcher reported, if anything."""
        run, damage = None, None
        try:
            run = self.run(job)
        except DamageError as found:
            damage = error = str(found)
        status = run.status if run else DAMAGED if damage else "failed" if error else MISSING
        replicates = run.info.get("replicates", []) if run else []
        accuracies = [row["accuracy"] for row in replicates if isinstance(row.get("accuracy"), float)]
        if status != COMPLETE and not error:
            error = str(run.info.get("error", "")) if run else ""
            error = f"It is {status}{f': {error}' if error else ''}."
        shared = set.intersection(*(set(job.overrides) for job in self.jobs)) if len(self.jobs) > 1 else set()
        return Outcome(
            self.directory / job.directory,
            " ".join(override for override in job.overrides if override not in shared),
            status,
            sum(accuracies) / len(accuracies) if accuracies else None,
            None if status == COMPLETE else error,
        )


def ending(directory: Path) -> bytes:
    """The end of a sweep's sweep.json, whose checksum identifies the sweep; empty if there is no such file."""
    try:
        with (directory / SWEEP).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - ENDING))
            return file.read()
    except OSError:
        return b""


def load_sweep(directory: Path | str) -> Sweep:
    """Reads a sweep. Nothing in it is trusted: job directories must lie in its own, and configs are checked when run.

    Raises:
        FileNotFoundError: the directory holds no sweep.
        DamageError: its sweep.json is not what a sweep writes.
    """
    directory = Path(directory)
    path = directory / SWEEP
    if not path.exists():
        raise FileNotFoundError(
            f"`{directory}` must be the directory of a sweep. Got one without {SWEEP}. "
            "`nngeom run -m` prints where a sweep is."
        )
    try:
        content = read_json(path)
        if not isinstance(content, dict):
            raise ValueError("not a mapping")
        if SEAL in content and not fits_seal(content):  # a sweep of an older version has none
            raise ValueError("content that does not fit its checksum")
        jobs = [Job(**job) for job in content["jobs"]]
        launcher, search = content["launcher"], content.get("search")
        if not all(_is_sound(job, directory) for job in jobs):
            raise ValueError("a job with a value of a wrong type, or a directory outside the sweep")
        if len({PurePath(job.directory) for job in jobs}) != len(jobs):  # a/b and a/./b are one
            raise ValueError("two jobs with the same directory")
        if not isinstance(launcher, str) or re.fullmatch(r"[A-Za-z]\w*", launcher) is None:
            raise ValueError(f"{launcher!r} as the name of a launcher")
        if search is not None and {key: type(value) for key, value in search.items()} != SEARCH:
            raise ValueError("a search with a key too many or too few, or a value of a wrong type")
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise DamageError(
            f"`{path}` must be what a sweep writes. Got {type(error).__name__}: {one_line(error)}. "
            "It was changed or damaged: run the jobs again, one by one."
        ) from error
    return Sweep(directory, launcher, jobs, search)


def _is_sound(job: Job, sweep: Path) -> bool:
    if not isinstance(job.config, dict) or not isinstance(job.overrides, list):
        return False
    if not all(isinstance(text, str) for text in (job.directory, job.command, *job.overrides)):
        return False
    path = PurePath(job.directory)
    below = (path, *path.parents)[:-1]  # the last one is the sweep's own
    return is_inside(job.directory) and not any((sweep / part).is_symlink() for part in below)


def is_inside(directory: str) -> bool:
    """Whether the directory that a sweep names for a job lies in the sweep's own."""
    try:
        os.fsencode(directory)
    except UnicodeEncodeError:  # no file can have such a name
        return False
    path = PurePath(directory)
    if "$" in directory or "\0" in directory:
        return False
    return not path.is_absolute() and ".." not in path.parts and path.parts != ()
