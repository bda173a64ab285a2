"""Starts Hydra for `nngeom run` and `nngeom resume SWEEP` so that a wrong config leaves nothing on disk.

Hydra makes a run's directory before it calls the job. So two of its inner functions are replaced by ones that check
first: the one that starts a single job, and the one that starts a sweep.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.types import TaskFunction
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from nngeom_cli.errors import ConfigError, DamageError, NngeomError, disk_trouble, require, unwritable
from nngeom_cli.groups import conf_directory
from nngeom_cli.launch.checks import (
    checked,
    checked_jobs,
    claimed_directory,
    run_directory,
    told_of_cost,
    told_of_sweep,
)
from nngeom_cli.launch.forbidden import SEARCHED, is_about_hydra
from nngeom_cli.launch.harmless import harmless_configs
from nngeom_cli.launch.hydra_errors import explained
from nngeom_cli.launch.hydra_patches import RUN_SINGLE, SPLIT, SWEEP, VALIDATE
from nngeom_cli.launch.job import command_of, job, measuring_job, resumed_job
from nngeom_cli.launch.launchers import launched
from nngeom_cli.launch.package_configs import package_configs
from nngeom_cli.launch.ray_cluster import refuse_new_cluster
from nngeom_cli.launch.saved_config import FROZEN, frozen_config, measured_config
from nngeom_cli.quoting import quoted
from nngeom_cli.runs.origin import MEASURED, measured_again
from nngeom_cli.store.layout import INFO
from nngeom_cli.store.layout import SWEEP as SWEEP_FILE
from nngeom_cli.store.run import Run
from nngeom_cli.store.sweep import COMPLETE, Job, Outcome, Sweep, load_sweep
from nngeom_cli.system.atomic import refuse_interpolation, refuse_links, unshared
from nngeom_cli.system.held_folder import RESUME, held, require_held
from nngeom_cli.system.parallel import available_cores
from nngeom_cli.system.surroundings import logging_left_alone, replaced

__all__ = ["composed", "launch", "resume_sweep"]


def launch(
    arguments: Sequence[str],
    prog: str,
    frozen: Path | None = None,
    measured: Run | None = None,
    planned: Callable[[Sequence[Job], bool], None] | None = None,
) -> tuple[Path | None, list[Outcome]]:
    """Gives `arguments` to Hydra as if `prog` were a Hydra application.

    Args:
        arguments: overrides and flags, as typed.
        prog: the name that Hydra shows for this command.
        frozen: a run whose config replaces that of conf/.
        measured: a run that is measured again; its config likewise, but for a probe that is chosen by name.
        planned: is called with the jobs, once they are checked, and whether they are a sweep; then nothing is started.

    Returns:
        The directory of the sweep, None for a single run; one outcome a job, none where Hydra only showed something
        (`--help`, `--cfg job`, ...).

    Raises:
        ConfigError: the config was refused; nothing was made on disk unless only the run itself could find the mistake.
        FolderError: the output folder cannot be made.
        KeyboardInterrupt: with the directory of the run or sweep, if it has one.
    """
    outcomes: list[Outcome] = []
    claimed: list[Path] = []
    sweeps: list[Path] = []

    def run_single(*, config: DictConfig, **rest: Any) -> JobReturn:
        available_cores()
        found = checked(config, local=True)
        if measured is not None:
            measured_again(measured, found)
        if planned is not None:
            planned([Job(run_directory(config), [], command_of(config.hydra), asdict(found))], False)
            return JobReturn(status=JobStatus.COMPLETED)
        told_of_cost(found, Path(run_directory(config)))
        told_of_sweep(config)
        claimed.append(claimed_directory(config, "hydra.run.dir"))
        with held(claimed[0], RESUME):
            result: JobReturn = run_job(config=config, **rest)
        failed = result.status is JobStatus.FAILED
        error = result._return_value if failed else None
        result.status = JobStatus.COMPLETED  # so that Hydra does not print it
        if isinstance(error, ConfigError | DamageError):
            raise error
        outcomes.append(Outcome(claimed[0], "", "failed" if failed else COMPLETE, None, str(error) if failed else None))
        return result

    def run_sweep(sweeper: Any, arguments: list[str]) -> None:
        available_cores()
        refuse_new_cluster(sweeper.launcher)
        jobs, batch = checked_jobs(sweeper, arguments)
        if planned is not None:
            planned(jobs, True)
            return
        claimed.append(claimed_directory(sweeper.config, "hydra.sweep.dir"))
        sweep = Sweep(claimed[0], sweeper.config.hydra.runtime.choices["hydra/launcher"], jobs)
        sweeps.append(sweep.directory)
        with (
            held(sweep.directory, RESUME),
            SPLIT.replaced(lambda _, size: list(sweeper.split_overrides_to_chunks(batch, size)), on=sweeper),
            VALIDATE.replaced(lambda _: None, on=sweeper),
        ):
            sweep.write()
            outcomes.extend(launched(sweeper, sweep, jobs, lambda: plain_sweep(sweeper, arguments)))

    def run_search(sweeper: Any, arguments: list[str]) -> None:
        from nngeom_cli.launch.search import search, settings_of

        available_cores()
        refuse_new_cluster(sweeper.launcher)
        about = settings_of(sweeper, arguments)
        if planned is not None:
            raise ConfigError("`--dry-run` must be left out with hydra/sweeper=optuna, whose jobs follow from results.")
        claimed.append(claimed_directory(sweeper.config, "hydra.sweep.dir"))
        sweep = Sweep(claimed[0], sweeper.config.hydra.runtime.choices["hydra/launcher"], [], about)
        sweeps.append(sweep.directory)
        with held(sweep.directory, RESUME):
            sweep.write()
            outcomes.extend(search(sweeper, sweep))

    Plugins.instance()  # it creates the classes of sweepers and launchers again, so it must come before they are used
    run_job = RUN_SINGLE.now()
    plain_sweep = SWEEP.now()
    name, task = "config", job
    if frozen is not None:
        name = FROZEN
        ConfigStore.instance().store(FROZEN, frozen_config(frozen, conf_directory()))
    elif measured is not None:
        name, task = MEASURED, measuring_job
        chosen = any(word.startswith("probe=") for word in arguments)
        ConfigStore.instance().store(MEASURED, measured_config(measured, conf_directory(), chosen=chosen))
    with (
        RUN_SINGLE.replaced(run_single),
        SWEEP.replaced(run_sweep),
        _searching(arguments, run_search),
    ):
        _start(task, name, arguments, prog, claimed)
    return (sweeps[0] if sweeps else None), outcomes


def resume_sweep(directory: Path, overrides: Sequence[str]) -> list[Outcome]:
    """Resumes the runs of a sweep that are not complete, on the launcher that it was started with.

    Args:
        directory: of the sweep.
        overrides: of the launcher only: hydra/launcher=NAME, hydra.launcher.KEY=VALUE.

    Returns:
        One outcome a job, complete ones too.

    Raises:
        FileNotFoundError: the directory holds no sweep.
        ConfigError: an override is not about the launcher, or the sweep leads out of its folder.
        DamageError: sweep.json is damaged.
        KeyboardInterrupt: with the directory.
    """
    sweep = load_sweep(directory.absolute())
    for override in overrides:
        if not override.startswith(("hydra/launcher=", "hydra.launcher.", "hydra.sweeper.max_batch_size=")):
            raise ConfigError(
                f"`{override.partition('=')[0]}` must be left out when a sweep is resumed. Got {override}. "
                "Only hydra/launcher=NAME and hydra.launcher.KEY=VALUE can change."
            )
    refuse_links(sweep.directory)
    for folder in (sweep.directory, Path.cwd()):
        refuse_interpolation("nngeom resume", folder)
    left = [job for job in sweep.jobs if sweep.status(job) != COMPLETE]
    outcomes: list[Outcome] = []
    if not left:
        return _search_on(directory, overrides) if sweep.search else [sweep.outcome(job) for job in sweep.jobs]

    claimed: list[Path] = []

    def run_left(sweeper: Any, arguments: list[str]) -> Any:
        refuse_new_cluster(sweeper.launcher)
        claimed.append(sweep.directory)
        unshared(sweep.directory / "multirun.yaml")  # which Hydra writes in place
        outcomes.extend(launched(sweeper, sweep, left, lambda: plain_sweep(sweeper, arguments)))

    arguments = [
        f"hydra/launcher={quoted(sweep.launcher)}",
        *overrides,
        f"hydra.sweep.dir={quoted(str(sweep.directory))}",
        "directory=" + ",".join(quoted(job.directory) for job in left),
    ]
    Plugins.instance()
    plain_sweep = SWEEP.now()
    with held(sweep.directory, RESUME), SWEEP.replaced(run_left):  # from here on, since Hydra takes a second to compose
        _start(resumed_job, "resume", arguments, "nngeom resume", claimed)
    return _search_on(directory, overrides) if sweep.search else outcomes


def _search_on(directory: Path, overrides: Sequence[str]) -> list[Outcome]:
    """Continues a search whose jobs so far have ended."""
    sweep = load_sweep(directory.absolute())
    assert sweep.search is not None
    outcomes: list[Outcome] = []

    def run_search(sweeper: Any, _: list[str]) -> None:
        from nngeom_cli.launch.search import search

        claimed.append(sweep.directory)
        outcomes.extend(search(sweeper, sweep))

    claimed: list[Path] = []
    arguments = [
        "-m",
        SEARCHED,
        f"hydra/launcher={quoted(sweep.launcher)}",
        *overrides,
        f"hydra.sweep.dir={quoted(str(sweep.directory))}",
        *sweep.search["words"],
    ]
    for word in sweep.search["words"]:
        require(
            not is_about_hydra(word), str(sweep.directory / SWEEP_FILE), "without words for Hydra", word, "Repair it."
        )
    Plugins.instance()
    with held(sweep.directory, RESUME), _searching(arguments, run_search):
        _start(job, "config", arguments, "nngeom run", claimed)
    return outcomes


def _searching(arguments: Sequence[str], run: Callable[[Any, list[str]], None]) -> AbstractContextManager[None]:
    """Inside the block Hydra has our sweeper, if a command asks for it; it needs libraries that others do without."""
    if SEARCHED not in arguments:
        return nullcontext()
    from nngeom_cli.launch.search import searching

    return searching(run)


def _start(task: TaskFunction, config_name: str, arguments: Sequence[str], prog: str, claimed: list[Path]) -> None:
    """Runs Hydra's main; its errors become ours until a directory is claimed."""
    main = hydra.main(version_base="1.3", config_path=str(conf_directory()), config_name=config_name)(task)
    try:
        with (
            _own_launchers(),
            package_configs(),
            harmless_configs(),
            replaced(sys, "argv", [prog, *arguments]),
            logging_left_alone(),
            _held_folders_left_alone(),
            _full_errors() as debugging,
        ):
            main()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(*claimed) from None
    except SystemExit as end:
        if end.code:
            raise
    except NngeomError:
        raise
    except Exception as error:
        if claimed and (trouble := disk_trouble(error)):  # Hydra writes there before the job does
            if not any((claimed[0] / name).exists() for name in (INFO, SWEEP_FILE)):
                shutil.rmtree(claimed[0], ignore_errors=True)  # so that the same command can be typed again
            raise unwritable(claimed[0], trouble) from error
        of_the_system = isinstance(error, OSError) and not isinstance(error, HydraException)
        if debugging or claimed or of_the_system:
            raise
        raise explained(error, arguments) from error


def composed(overrides: Sequence[str], config_name: str = "config", *, hydra_too: bool = False) -> DictConfig:
    """The config that a command with these overrides would have, with Hydra's own section or not. Nothing is started.

    Raises:
        ConfigError: they cannot be composed.
    """
    Plugins.instance()
    with (
        _own_launchers(),
        package_configs(),
        hydra.initialize_config_dir(str(conf_directory()), version_base="1.3"),
        harmless_configs(),
    ):
        try:
            return hydra.compose(config_name, list(overrides), return_hydra_config=hydra_too)
        except (HydraException, OmegaConfBaseException) as error:
            raise explained(error, overrides, config_name) from error


@contextmanager
def _own_launchers() -> Iterator[None]:
    """Inside the block the plugins' configs of our launchers are away: Hydra would merge them with ours, and warn."""
    launchers = ConfigStore.instance().repo["hydra"]["launcher"]
    names = [file.name for file in (conf_directory() / "hydra" / "launcher").glob("*.yaml")]
    theirs = {name: launchers.pop(name) for name in names if name in launchers}
    try:
        yield
    finally:
        launchers.update(theirs)


@contextmanager
def _held_folders_left_alone() -> Iterator[None]:
    """Inside the block, Hydra and submitit make no folder inside one that was moved or deleted."""
    mkdir = Path.mkdir

    def mkdir_in_place(path: Path, *rest: Any, **options: Any) -> None:
        require_held(path)
        mkdir(path, *rest, **options)

    with replaced(Path, "mkdir", mkdir_in_place):
        yield


@contextmanager
def _full_errors() -> Iterator[bool]:
    """Makes Hydra raise its errors instead of printing them; yields whether the user had asked for that."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield before == "1"
    finally:
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before
