"""The checks before a run or a sweep gets its directory, and the making of that directory."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from itertools import chain, islice
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict

from nngeom_cli.config.cost import LONG_SECONDS, cost, require_disk, time_in_words
from nngeom_cli.config.footprint import require_memory
from nngeom_cli.config.installed import plugins_of, refuse_shared_names
from nngeom_cli.config.loader import load_config
from nngeom_cli.config.run import Config
from nngeom_cli.errors import ConfigError, FolderError, require, say
from nngeom_cli.groups import conf_directory
from nngeom_cli.launch.folder_names import folder_names
from nngeom_cli.launch.job import command_of
from nngeom_cli.quoting import pasted, quoted
from nngeom_cli.store.sweep import Job, is_inside
from nngeom_cli.system.atomic import refuse_interpolation
from nngeom_cli.system.memory import in_words
from nngeom_cli.system.progress import Progress
from nngeom_cli.system.surroundings import replaced
from nngeom_cli.tables.table_file import located
from nngeom_cli.trackers.tracker import make_tracker

__all__ = [
    "checked",
    "checked_jobs",
    "claimed_directory",
    "refuse_no_values",
    "run_directory",
    "told_of_cost",
    "told_of_sweep",
]

MOST_JOBS = 100_000  # all are composed and checked before the first one runs


def checked(composed: DictConfig, *, local: bool, here: bool = True) -> Config:
    """The config of a job, checked as far as this machine can.

    Args:
        composed: of the job.
        local: whether it runs in this process, so that its device can be checked.
        here: whether it runs on this machine, so that its memory can be checked.
    """
    config = load_config(OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"]))
    config = located(config, Path.cwd())
    refuse_shared_names(config)
    if here:
        require_memory(config)
        if config.tracker is not None:
            make_tracker(config.tracker)
    if local and plugins_of(config):
        from nngeom_cli.launch.trial import try_plugins

        try_plugins(config)
    if local:
        if config.figures.draw:
            import_module("nngeom_cli.figures")  # as the job will do: matplotlib may refuse to start
        if config.device in ("cuda", "mps"):
            from nngeom_cli.training.device import resolve_device

            resolve_device(config.device)
    return config


def checked_jobs(sweeper: Any, arguments: Sequence[str]) -> tuple[list[Job], list[list[str]]]:
    """The jobs of a sweep and the overrides of each, the name of its folder among them, once each config is checked.

    Raises:
        ConfigError: a config is wrong, no job is left, two share a directory, or an experiment's own sweep is lost.
    """
    config, loader = sweeper.config, sweeper.hydra_context.config_loader
    swept = [f"{key}={value}" for key, value in sweeper.params.items()]
    overrides = OverridesParser.create(config_loader=loader).parse_overrides([*swept, *arguments])
    at_once = sweeper.max_batch_size
    require(at_once is None or at_once > 0, "hydra.sweeper.max_batch_size", "at least 1", at_once, "null: all at once.")
    count = math.prod(map(_values, overrides))
    require(
        count <= MOST_JOBS, "-m", f"at most {MOST_JOBS} jobs in a sweep", f"{count} or more", "Sweep over fewer values."
    )
    batch = [list(words) for words in chain.from_iterable(sweeper.split_arguments(overrides, None))]
    jobs: dict[str, Job] = {}
    names = folder_names(batch) if _subdir(config) == _subdir(OmegaConf.load(conf_directory() / "config.yaml")) else []
    launcher = type(sweeper.launcher).__name__
    here = launcher in ("BasicLauncher", "JoblibLauncher", "LocalLauncher")

    def check(number: int) -> None:
        typed = " ".join(batch[number])
        composed = loader.load_sweep_config(config, batch[number])
        _refuse_lost_sweep(composed, sweeper, overrides)
        try:
            found = checked(composed, local=launcher == "BasicLauncher", here=here)
        except ConfigError as error:
            raise ConfigError(f"Job {number} ({typed}): {error}" if len(batch) > 1 else str(error)) from error
        with open_dict(composed):
            composed.hydra.job.num = number
            composed.hydra.job.id = str(number)
        directory = names[number] if names else _selected(composed, "hydra.sweep.subdir")
        suggestion = "Name a folder of the sweep, for example ${hydra.job.num}."
        require(is_inside(directory), "hydra.sweep.subdir", "a folder in the sweep's own", directory, suggestion)
        if directory in jobs:
            raise ConfigError(
                f"`hydra.sweep.subdir` must be different for each job. Got {directory} for "
                f"{' '.join(jobs[directory].overrides)} and for {typed}. Begin it with ${{hydra.job.num}}."
            )
        jobs[directory] = Job(directory, batch[number], command_of(composed.hydra), asdict(found))

    check(0)  # it pays for the imports, which would spoil the estimate of the time left
    with Progress("config", len(batch), done=1) as progress:
        for number in range(1, len(batch)):
            check(number)
            progress.update(number + 1, "checked before the first job starts")
    named = [[f"hydra.sweep.subdir={quoted(name)}"] for name in names] or [[] for _ in batch]
    return list(jobs.values()), [[*words, *name] for words, name in zip(batch, named, strict=True)]


def _subdir(config: Any) -> Any:
    """How the folders of jobs are named, unresolved."""
    return OmegaConf.to_container(config.hydra.sweep, resolve=False)["subdir"]  # type: ignore[call-overload, index]


def _values(override: Override) -> int:
    """How many values an override sweeps over, counted up to MOST_JOBS + 1; none is refused."""
    if not override.is_sweep_override():
        return 1
    return refuse_no_values(override)


def refuse_no_values(override: Override) -> int:
    """How many values a sweep over a list has, counted up to MOST_JOBS + 1; none is refused."""
    count = (
        sum(1 for _ in islice(override.sweep_string_iterator(), MOST_JOBS + 1)) if override.is_discrete_sweep() else 0
    )
    if count == 0:
        key, typed = override.get_key_element(), str(override.input_line).partition("=")[2]
        suggestion = (
            f"List them: {key}=A,B." if "glob" in typed else "List them: 1,2,3; or range(1,4), which is the same."
        )
        raise ConfigError(f"`{key}` must have values to sweep over. Got {typed}, which has none. {suggestion}")
    return count


def _refuse_lost_sweep(composed: DictConfig, sweeper: Any, overrides: Sequence[Override]) -> None:
    """Refuses an experiment with a sweep of its own as one value of another sweep: its own would be lost."""
    lost = {key: value for key, value in _own_sweep(composed).items() if sweeper.params.get(key) != value}
    if not lost:
        return
    names = [name for each in overrides if each.key_or_group == "experiment" for name in each.sweep_string_iterator()]
    rest = [str(each.input_line) for each in overrides if each.key_or_group != "experiment"]
    commands = [shlex.join(["nngeom", "run", "-m", f"experiment={name}", *rest]) for name in names]
    raise ConfigError(
        f"`experiment` must be one experiment where it is a sweep of its own, here of {' and '.join(lost)}. "
        f"Got {','.join(names) or 'several'}. Run them one after another: {' && '.join(commands)}"
    )


def told_of_sweep(composed: DictConfig) -> None:
    """Tells the user if a single run is started of an experiment that is a sweep."""
    if own := _own_sweep(composed):
        command = command_of(composed.hydra).replace("nngeom run", "nngeom run -m", 1)
        say(f"This is one run of a sweep over {' and '.join(own)}. All of it: {command}")


def told_of_cost(config: Config, directory: Path) -> None:
    """Tells the user how long a run will take if that is long.

    Raises:
        ConfigError: the disk under its directory has too little room.
    """
    require_disk(config, directory.absolute())
    takes = cost(config)
    if takes.seconds > LONG_SECONDS:
        say(
            f"This takes about {time_in_words(takes.seconds)} of one core, {in_words(takes.memory)} of memory or more, "
            f"and about {in_words(takes.disk)} of disk."
        )


def run_directory(composed: DictConfig) -> str:
    """The directory that a single run will have, as its config names it."""
    return _selected(composed, "hydra.run.dir")


def _own_sweep(composed: DictConfig) -> dict[str, str]:
    return dict(composed.hydra.sweeper.get("params") or {})


def claimed_directory(composed: DictConfig, key: str) -> Path:
    """Makes the directory that `key` names; it must not exist yet."""
    named = _selected(composed, key)
    if named.startswith("~"):  # a folder named ~ would be a trap
        raise ConfigError(f"`{key}` must be a path that needs no shell. Got {named}. Type: {pasted(key, named)}")
    directory = Path(named).absolute()
    refuse_interpolation(key, directory)
    refuse_interpolation("the working folder", Path.cwd())
    try:
        directory.mkdir(parents=True)
    except FileExistsError:
        raise ConfigError(
            f"`{key}` must be a directory that does not exist yet. Got {directory}. Leave it out for a new name."
        ) from None
    except OSError as error:
        raise FolderError(
            f"`{key}` must be a folder that can be written. Got {directory}: {error.strerror}. Set {key}=FOLDER."
        ) from error
    return directory


def _selected(composed: DictConfig, key: str) -> str:
    """A value of Hydra's own section, resolved as Hydra resolves it in the job."""
    with replaced(HydraConfig.instance(), "cfg", composed):
        return str(OmegaConf.select(composed, key))
