"""A run that has done nothing yet. run.json is written before torch is loaded, so that a killed run can be resumed."""

from __future__ import annotations

import contextlib
import io
import shlex
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from nngeom_cli.config.loader import load_config
from nngeom_cli.config.run import Config, config_hash
from nngeom_cli.errors import DamageError, disk_trouble, one_line, unwritable
from nngeom_cli.runs.origin import MEASURED
from nngeom_cli.store.layout import INFO
from nngeom_cli.store.run import Run, described
from nngeom_cli.store.run_directory import RunDirectory
from nngeom_cli.store.run_info import refuse_lost
from nngeom_cli.system.atomic import read_whole
from nngeom_cli.system.held_folder import trouble_of
from nngeom_cli.system.process import this_process
from nngeom_cli.tables.table_file import located

__all__ = ["begun", "is_unstarted", "opened"]

HYDRA = ".hydra"
LARGEST_YAML = 2**20  # bytes, which Python reads in a few seconds


@contextlib.contextmanager
def begun(directory: Path, config: Config, command: str, **more: Any) -> Iterator[None]:
    """Writes run.json, and records in it what goes wrong before the run really starts.

    Args:
        directory: of the run, without a run.json.
        config: of the run.
        command: how to repeat it, for the record.
        more: what else run.json says.

    Raises:
        DamageError: the directory holds files of a run without run.json.
        FolderError: the directory cannot be written.
    """
    refuse_lost(directory)
    info = {"id": uuid.uuid4().hex, "command": command, "config": asdict(config), "config_hash": config_hash(config)}
    store = RunDirectory(directory, info | more)
    try:
        store.update(status="running", process=this_process())
    except OSError as error:
        if trouble := disk_trouble(error):
            resumable = (directory / HYDRA / "overrides.yaml").is_file()  # the last file that Hydra writes
            then = f"`nngeom resume {shlex.quote(str(directory))}` starts it" if resumable else ""
            raise unwritable(directory, trouble, then) from error
        raise
    try:
        yield
    except BaseException as error:
        with contextlib.suppress(OSError, DamageError):  # unrecorded, the run counts as interrupted
            cause = trouble_of(directory) or error
            store.follow()
            if is_unstarted(described(store.directory, verify=True)):
                status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
                store.update(status=status, error=f"{type(cause).__name__}: {cause}".rstrip(": "))
        raise


def is_unstarted(run: Run) -> bool:
    """Whether a run has done nothing yet."""
    return "started" not in run.info


def opened(directory: Path) -> Run:
    """A run to resume, read from its run.json, which is checked, or else from what Hydra wrote before it.

    Raises:
        FileNotFoundError: the directory holds no run.
        DamageError: its run.json, or what Hydra wrote, is damaged or lost.
    """
    try:
        return described(directory, verify=True)
    except FileNotFoundError:
        if not (directory / HYDRA / "config.yaml").is_file():
            raise
    settings = {name: _plain(directory / HYDRA / f"{name}.yaml") for name in ("config", "hydra", "overrides")}
    try:
        plain = {str(key): value for key, value in settings["config"].items()}
        folder = Path(settings["hydra"]["hydra"]["runtime"]["cwd"])
        command = shlex.join(["nngeom", "run", *settings["overrides"]])
        job = settings["hydra"]["hydra"].get("job", {})
    except (AttributeError, KeyError, TypeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise DamageError(f"`{directory / HYDRA}` must be what Hydra writes. Got {what}. Run it again.") from error
    if job.get("config_name") == MEASURED:  # which run was to be measured is not in these files
        raise DamageError(
            f"`{directory}` must hold a run that has begun. Got one of `nngeom measure` without {INFO}. "
            "Type that command again."
        )
    config = located(load_config(plain), folder)
    info = {"status": "interrupted", "config": asdict(config), "config_hash": config_hash(config), "command": command}
    return Run(directory, info)


def _plain(path: Path) -> Any:
    """The content of a YAML file, with nothing in it resolved.

    Aliases are refused: Hydra writes none, and with them a few lines can stand for more values than memory holds.
    """
    try:
        text = read_whole(path, LARGEST_YAML)
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise ValueError("it has aliases")
        return OmegaConf.to_container(OmegaConf.load(io.BytesIO(text)), resolve=False)
    except Exception as error:  # of any kind: several libraries read what anyone may have written
        raise DamageError(f"`{path}` must be what Hydra writes. Got: {one_line(error)}. Run it again.") from error
