"""`nngeom_cli.run`: a run started from Python, with the checks of the command, that leaves the caller's Hydra alone."""

from __future__ import annotations

import re
import shlex
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from omegaconf import DictConfig
from omegaconf.basecontainer import BaseContainer

from nngeom_cli.errors import RunError, require
from nngeom_cli.launch.application import composed
from nngeom_cli.launch.checks import checked, claimed_directory, run_directory, told_of_cost
from nngeom_cli.quoting import quoted
from nngeom_cli.runs.report import job_log
from nngeom_cli.runs.unstarted import begun
from nngeom_cli.store.run import FINISHED, Run, load_run
from nngeom_cli.system.held_folder import RESUME, held
from nngeom_cli.system.surroundings import replaced

__all__ = ["run"]

DIRECTORY = "hydra.run.dir"
SUGGESTION = '{"task": "xor", "optimizer.epochs": 200}'
WORD = re.compile(r"[A-Za-z_][\w./-]*")  # needs no quotes
LITERALS = ("null", "true", "false", "nan", "inf")  # words that Hydra takes for something else
_alone = threading.Lock()


def run(overrides: Mapping[str, Any] | Sequence[str] = ()) -> Run:
    """Starts a run in this process, as `nngeom run` does, and returns it when it has ended.

    Everything is checked before anything is written. The caller's settings stay as they are: Hydra's, logging,
    warnings, signals, threads of torch, random numbers, the working folder. A process makes one run at a time: of
    several threads, one waits for the other.

    Args:
        overrides: keys of a config, as typed, with their values, `{"task": "xor", "optimizer.epochs": 200}`; or the
            words of the command, `["task=xor", "optimizer.epochs=200"]`. `hydra.run.dir` names the run's directory,
            which must be new.

    Returns:
        The run, complete or diverged.

    Raises:
        ConfigError: (a ValueError) a key or value is wrong, or means a sweep: call it once for each value, or use
            `nngeom run -m`.
        FolderError: (an OSError) the directory cannot be written.
        LostProcessError: a process that trained or drew was killed; `nngeom resume` continues the run.
        KeyboardInterrupt: it was interrupted and saved; `nngeom resume` continues it.

    Example:
        >>> made = run({"task": "xor", "optimizer.epochs": 200})    # doctest: +SKIP
        >>> made.geometry.ricci_scalar.sel(epoch=200, layer=1).mean("replicate")    # doctest: +SKIP
    """
    words = _words(overrides)
    with _alone:
        with _own_hydra():
            whole = composed(words, hydra_too=True)
            _refuse_sweep(whole, words)
            config = checked(whole, local=True)
            told_of_cost(config, Path(run_directory(whole)))
            directory = claimed_directory(whole, DIRECTORY)
        command = shlex.join(["nngeom", "run", *words])
        with held(directory, RESUME), job_log(directory), begun(directory, config, command):
            from nngeom_cli.runs.run import run as train

            try:
                train(config, directory, command=command)
            except RunError:
                if load_run(directory).status not in FINISHED:
                    raise  # else replicates diverged, which the run itself says
        return load_run(directory)


def _refuse_sweep(whole: DictConfig, words: Sequence[str]) -> None:
    """Refuses an experiment that is a sweep, unless its own keys have one value each."""
    swept = dict(whole.hydra.sweeper.get("params") or {})
    left = [key for key in swept if not any(word.startswith(f"{key}=") for word in words)]
    command = shlex.join(["nngeom", "run", "-m", *words])
    require(not left, "experiment", "one run in Python", f"a sweep over {' and '.join(left)}", f"`{command}` runs it.")


def _words(overrides: Mapping[str, Any] | Sequence[str]) -> list[str]:
    """The words of the command that mean the same."""
    listed = isinstance(overrides, Mapping | Sequence) and not isinstance(overrides, str)
    require(listed, "overrides", "a dict, or a list of words", overrides, f"For example {SUGGESTION}.")
    if isinstance(overrides, Mapping):
        words = [f"{key}={_typed(str(key), value)}" for key, value in overrides.items()]
    else:
        words = list(overrides)
    for word in words:
        typed = isinstance(word, str) and re.match(r"[+~]*[^-=+~].*=", word) is not None
        require(typed, "overrides", "KEY=VALUE", word, f"For example {SUGGESTION}.")
        key = word.partition("=")[0].strip("+~ ")
        about_hydra = re.match(r"hydra\b", key) is not None and key != DIRECTORY
        require(not about_hydra, key, "left out in Python", word.partition("=")[2], f"Only {DIRECTORY} can be set.")
    return words


def _typed(key: str, value: Any) -> str:
    """A value of Python as Hydra reads it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Path):
        return quoted(str(value))
    if isinstance(value, str):
        return value if WORD.fullmatch(value) and value.lower() not in LITERALS else quoted(value)
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        return repr(float(value))
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_typed(key, item)}" for name, item in value.items()) + "}"
    listed = isinstance(value, list | tuple | range)
    require(listed, key, "a number, a text, null, a list or a dict", type(value).__name__, "Convert it.")
    return "[" + ",".join(_typed(key, item) for item in value) + "]"


@contextmanager
def _own_hydra() -> Iterator[None]:
    """Inside the block Hydra is as in a new process; afterwards the caller's is as it was, in use or not."""
    Plugins.instance()  # which registers its configs once in a process
    others = {kind: one for kind, one in Singleton._instances.items() if kind not in (GlobalHydra, HydraConfig)}
    with (
        replaced(Singleton, "_instances", others),
        replaced(BaseContainer, "_resolvers", dict(BaseContainer._resolvers)),
    ):
        yield
