"""The Hydra side of `nngeom run`: the job, and Hydra started so that a wrong config leaves nothing on disk.

Hydra makes a run's directory before it calls the job. So the checks hang on two of its inner functions: the one that
starts a single job, and the one that starts a sweep. Launchers for many machines pickle `job` and run it elsewhere.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import hydra
from hydra._internal import hydra as hydra_application
from hydra._internal.core_plugins import basic_launcher, basic_sweeper
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, run_job
from hydra.errors import MissingConfigException, OverrideParseException, SearchPathException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from nngeom_cli.config import Config, load_config
from nngeom_cli.datafile import located
from nngeom_cli.errors import ConfigError, FolderError, did_you_mean, one_of
from nngeom_cli.keys import unknown_key

__all__ = ["Outcome", "conf_directory", "explained", "job", "launch"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How one job ended. `error` is None where it came to a good end."""

    directory: Path
    overrides: str
    error: Exception | None


def job(composed: DictConfig) -> None:
    """One run, in the directory that Hydra made for it. What goes wrong is in its job.log, with the traceback."""
    settings = HydraConfig.get()
    if settings.mode is RunMode.MULTIRUN:
        print(f"job {settings.job.num}: {' '.join(settings.overrides.task)}", flush=True)
    try:
        config = located(load_config(composed), Path(settings.runtime.cwd))
        from nngeom_cli.runner import run

        run(config, Path(settings.runtime.output_dir), command=_command(settings))
    except Exception:
        log.exception("The run failed.")
        raise


def launch(arguments: Sequence[str], prog: str) -> list[Outcome]:
    """Give `arguments` to Hydra, as if `prog` were a Hydra application.

    Args:
        arguments: overrides and flags, as typed.
        prog: the name that Hydra shows for this command.

    Returns:
        One outcome a job; none where Hydra only showed something (`--help`, `--cfg job`, ...).

    Raises:
        ConfigError: the config was refused; nothing was made on disk.
        FolderError: the output folder cannot be made.
        KeyboardInterrupt: with the directory of the run or sweep, if it has one.
    """
    outcomes: list[Outcome] = []
    claimed: list[Path] = []

    def run_single(*, config: DictConfig, **rest: Any) -> JobReturn:
        _check(config, local=True)
        claimed.append(_claim(config, "hydra.run.dir"))
        result = run_job(config=config, **rest)
        outcomes.append(_outcome(result))
        return result

    def run_sweep(sweeper: basic_sweeper.BasicSweeper, arguments: list[str]) -> Any:
        assert sweeper.config is not None
        assert sweeper.launcher is not None
        _check_sweep(sweeper, arguments)
        claimed.append(_claim(sweeper.config, "hydra.sweep.dir"))
        start = sweeper.launcher.launch

        def start_and_collect(job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
            results = start(job_overrides, initial_job_idx=initial_job_idx)
            outcomes.extend(_outcome(result) for result in results)
            return results

        setattr(sweeper.launcher, "launch", start_and_collect)  # noqa: B010
        return sweep(sweeper, arguments)

    Plugins.instance()  # it makes the classes of sweepers and launchers anew, so it must come before they are named
    sweep = basic_sweeper.BasicSweeper.sweep
    main = hydra.main(version_base="1.3", config_path=str(conf_directory()), config_name="config")(job)
    try:
        with (
            _replaced(hydra_application, "run_job", run_single),
            _replaced(basic_sweeper.BasicSweeper, "sweep", run_sweep),
            _replaced(sys, "argv", [prog, *arguments]),
            _full_errors() as debugging,
        ):
            main()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(*claimed) from None
    except SystemExit as end:
        if end.code:
            raise
    except (ConfigError, FolderError):
        raise
    except Exception as error:
        if debugging or claimed:
            raise
        raise explained(error) from error
    return outcomes


def _check(composed: DictConfig, *, local: bool) -> Config:
    """The config of a job, checked as far as this machine can: its data file, and its device if the job runs here."""
    config = load_config(OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"]))
    config = located(config, Path.cwd())
    if local and config.device in ("cuda", "mps"):
        from nngeom_cli.runner import resolve_device

        resolve_device(config.device)
    return config


def _check_sweep(sweeper: basic_sweeper.BasicSweeper, arguments: Sequence[str]) -> None:
    """Check the config of each job of a sweep, and that no two of them share a directory."""
    assert sweeper.hydra_context is not None
    assert sweeper.config is not None
    loader = sweeper.hydra_context.config_loader
    swept = [f"{key}={value}" for key, value in sweeper.params.items()]
    overrides = OverridesParser.create(config_loader=loader).parse_overrides([*swept, *arguments])
    jobs = list(chain.from_iterable(sweeper.split_arguments(overrides, None)))
    directories: dict[str, str] = {}
    for number, job_overrides in enumerate(jobs):
        typed = " ".join(job_overrides)
        composed = loader.load_sweep_config(sweeper.config, list(job_overrides))
        try:
            _check(composed, local=isinstance(sweeper.launcher, basic_launcher.BasicLauncher))
        except ConfigError as error:
            raise ConfigError(f"Job {number} ({typed}): {error}" if len(jobs) > 1 else str(error)) from error
        with open_dict(composed):
            composed.hydra.job.num = number
            composed.hydra.job.id = str(number)
        directory = _selected(composed, "hydra.sweep.subdir")
        if directory in directories:
            raise ConfigError(
                f"`hydra.sweep.subdir` must be different for each job. Got {directory} for {directories[directory]} "
                f"and for {typed}. Begin it with ${{hydra.job.num}}."
            )
        directories[directory] = typed


def _claim(composed: DictConfig, key: str) -> Path:
    """Make the directory that `key` names, for this process alone."""
    directory = Path(_selected(composed, key)).absolute()
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
    """A value of Hydra's own part of the config, resolved as Hydra does in the job."""
    instance = HydraConfig.instance()
    before = instance.cfg
    instance.set_config(composed)
    try:
        return str(OmegaConf.select(composed, key))
    finally:
        instance.cfg = before


def _outcome(result: JobReturn) -> Outcome:
    """Take down how a job ended. A failed one is then marked as completed, lest Hydra stop the sweep and print it."""
    assert result.hydra_cfg is not None
    failed = result.status is JobStatus.FAILED
    result.status = JobStatus.COMPLETED
    return Outcome(
        Path(result.hydra_cfg.hydra.runtime.output_dir),
        " ".join(result.overrides or []),
        result.return_value if failed else None,
    )


def _command(settings: HydraConf) -> str:
    """The command that gives this job's run again, alone."""
    words = ["nngeom", "run"]
    for source in settings.runtime.config_sources:
        if source.provider == "command-line":
            words += ["--config-dir", source.path]
    if settings.job.config_name != "config":
        words += ["--config-name", str(settings.job.config_name)]
    return shlex.join([*words, *settings.overrides.task])


def conf_directory() -> Path:
    """The folder of configs: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parent
    return next(folder for folder in (package.parent / "conf", package / "conf") if (folder / "config.yaml").is_file())


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def _full_errors() -> Iterator[bool]:
    """Make Hydra raise its errors instead of printing them; yields whether the user had asked for that."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield before == "1"
    finally:
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before


def explained(error: Exception) -> ConfigError:
    """Hydra's or OmegaConf's error about a config, in one line: key, constraint, value, a way out."""
    text = str(error)
    if isinstance(error, SearchPathException):
        return ConfigError(f"`--config-dir` must be a folder of configs. {text}. Check the path.")
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        way_out = did_you_mean(name, error.options) or "`nngeom run --help` lists the groups."
        return ConfigError(f"`{group}` must be {one_of(sorted(error.options))}. Got {name}. {way_out}")
    if isinstance(error, OverrideParseException):
        if "=" not in error.override:
            return ConfigError(f"`{error.override}` must be KEY=VALUE. Got no `=`. For example seed=1 or task=xor.")
        key, _, value = error.override.partition("=")
        return ConfigError(f"`{key}` must be a value that Hydra can read. Got {value}. Close brackets, quote = and ,.")
    if match := re.match(r"Could not override '(.+?)'\.[^+]*\+(?P<typed>[^\n]*)", text, re.DOTALL):
        return unknown_key(match[1], match["typed"].partition("=")[2])
    if match := re.match(r"Could not append to config\. An item is already at '(.+?)'\.\n.*?: '(.*?)'", text):
        return ConfigError(f"`{match[1]}` must be set without +. Got +{match[2]}. Write {match[2]}.")
    if match := re.match(r"(?:Ambiguous value for argument|Sweep parameters) '(.+?)=(.*?)'", text):
        return ConfigError(
            f"`{match[1]}` must be one value. Got {match[2]}. Run all of them with -m, or write a list: [1,2]."
        )
    lines = [*text.splitlines(), *str(error.__cause__ or "").splitlines()]
    useful = [
        line.strip().rstrip(".") for line in lines if not re.match(r"\s*(full_key|object_type|See https|$)", line)
    ]
    what = "; ".join(useful[:3]) or type(error).__name__
    return ConfigError(f"The config must be one that Hydra can compose. Got: {what}. See `nngeom run --help`.")
