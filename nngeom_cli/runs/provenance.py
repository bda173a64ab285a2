"""Where, with what and at what cost a run was made."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import resource
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from nngeom_cli.config.installed import plugins_of
from nngeom_cli.config.recorded import RecordedConfig
from nngeom_cli.config.run import Config, config_hash
from nngeom_cli.errors import disk_trouble, unwritable
from nngeom_cli.runs.code_fingerprint import run_source
from nngeom_cli.store.layout import CHECKPOINTS, FIGURES, GEOMETRY
from nngeom_cli.store.run_directory import RunDirectory
from nngeom_cli.system.atomic import remove_leftovers
from nngeom_cli.system.held_folder import trouble_of
from nngeom_cli.system.process import this_process
from nngeom_cli.system.programs import output_of

__all__ = ["Meter", "provenance", "recorded", "timestamp"]

# git runs no program that a repository or the system configures, and writes nothing
GIT_SETTINGS = ("core.fsmonitor=false", f"core.hooksPath={os.devnull}", "core.pager=cat", "protocol.allow=never")
GIT_VARIABLES = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}


def provenance(config: Config | RecordedConfig, device: torch.device) -> dict[str, Any]:
    """A new id, config, versions, commit and device, for run.json."""
    own = {"python": platform.python_version(), "torch": str(torch.__version__)}  # with the build: +cpu, +cu130
    plugins = plugins_of(config)
    return {
        "id": uuid.uuid4().hex,
        "config": asdict(config),
        "config_hash": config_hash(asdict(config)),
        "source": run_source(plugins),
        "versions": own | {name: version(name) for name in ("nngeom", "numpy", "hydra-core")},
        **({"plugins": {f"{plugin.kind} {plugin.name}": plugin.origin for plugin in plugins}} if plugins else {}),
        "git": git_commit(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }


def git_commit() -> dict[str, Any] | None:
    """Commit of the checkout that this code runs from, and whether it was changed since; None outside a checkout."""
    root = Path(__file__).parent.parent.parent
    if not (root / ".git").exists():
        return None
    settings = (*GIT_SETTINGS, f"safe.directory={root}")  # whoever owns it: it is the code that is running
    git = ["git", "-C", str(root), *(word for setting in settings for word in ("-c", setting))]
    commit = output_of(*git, "rev-parse", "HEAD", **GIT_VARIABLES)
    changes = output_of(*git, "status", "--porcelain", "--untracked-files=no", **GIT_VARIABLES)
    return None if commit is None or changes is None else {"commit": commit, "dirty": bool(changes)}


def timestamp() -> str:
    """Now, in ISO format, UTC."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat()


@contextlib.contextmanager
def recorded(store: RunDirectory) -> Iterator[None]:
    """Records in run.json that a run is running, then how it ended and what it cost."""
    meter = Meter(store.info)
    try:
        own = (store.directory, store.directory / GEOMETRY, store.directory / CHECKPOINTS)
        remove_leftovers(*own, alone=True)
        remove_leftovers(store.directory / FIGURES)
        store.update(status="running", process=this_process(), error=None, finished=None)
        yield
        store.require_files()
        status = "diverged" if "diverged" in store.info else "complete"
        store.update(status=status, finished=timestamp(), **meter.reading())
    except BaseException as error:
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        with contextlib.suppress(OSError):  # unrecorded, the run counts as interrupted
            cause = trouble_of(store.directory) or error
            what = f"{type(cause).__name__}: {cause}".rstrip(": ")
            store.follow()
            store.update(status=status, error=what, finished=timestamp(), **meter.reading())
        if trouble := disk_trouble(error):
            raise unwritable(store.directory, trouble) from error
        raise


class Meter:
    """The cost of a run so far, with its earlier sittings as far as run.json has them."""

    def __init__(self, info: Mapping[str, Any]) -> None:
        self.wall = time.monotonic() - info.get("wall_seconds", 0)
        self.cpu = cpu_seconds() - info.get("cpu_seconds", 0)
        self.peak = info.get("peak_memory_mib", 0)

    def reading(self) -> dict[str, float]:
        """Wall time, CPU time of all processes (training ones included), and peak memory of the largest process."""
        usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return {
            "wall_seconds": round(time.monotonic() - self.wall, 3),
            "cpu_seconds": round(cpu_seconds() - self.cpu, 3),
            "peak_memory_mib": round(max(self.peak, *(usage.ru_maxrss / unit for usage in usages)), 1),
        }


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
