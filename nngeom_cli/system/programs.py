"""Other programs: found in folders that PATH names by an absolute path, started with a few known variables."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

__all__ = ["clean_environment", "output_of", "program"]

PATHS = ("PATH", "LD_LIBRARY_PATH")  # lists of folders; an empty or relative one depends on the working directory
KEPT = (*PATHS, "HOME", "LOGNAME", "SLURM_CLUSTERS", "SLURM_CONF", "SLURM_JWT", "TMPDIR", "USER")
SECONDS = 60


def program(name: str) -> str | None:
    """The absolute path of a program; None if no folder that PATH names by an absolute path has it."""
    return shutil.which(name, path=_environment().get("PATH", ""))


def output_of(name: str, *words: str, **variables: str) -> str | None:
    """What a program prints; None if it does not exist, fails or takes more than a minute.

    Args:
        name: of the program.
        words: its arguments.
        variables: of its environment, besides those of `KEPT`.
    """
    path = program(name)
    if path is None:
        return None
    environment = _environment() | {"LC_ALL": "C"} | variables
    try:
        done = subprocess.run(
            [path, *words], stdin=subprocess.DEVNULL, capture_output=True, check=True, env=environment, timeout=SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace").strip()


@contextlib.contextmanager
def clean_environment() -> Iterator[None]:
    """Gives what other libraries start inside the block the same environment."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(_environment())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    for name in set(PATHS) & set(kept):
        kept[name] = os.pathsep.join(folder for folder in kept[name].split(os.pathsep) if Path(folder).is_absolute())
    return {name: value for name, value in kept.items() if value}
