"""What nngeom replaces in Hydra and submitit, and what it calls of their internals: each with the reason.

No other file reaches into them. `tests/launch/test_hydra_patches.py` says which of these a newer version has changed.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from operator import attrgetter
from typing import Any

from nngeom_cli.system.surroundings import replaced

__all__ = [
    "CHOOSE_FILES",
    "COMMAND_PARSER",
    "INTERNALS",
    "JOINED_JOBS",
    "LOAD",
    "MERGE_FILES",
    "PARSED_COMMAND",
    "RUN_SINGLE",
    "SEARCH_PATH",
    "SINGLE_KEYS",
    "SPLIT",
    "START_RAY",
    "SWEEP",
    "VALIDATE",
    "Internal",
]


@dataclass(frozen=True)
class Internal:
    """A function or method of another package that its authors may change without notice.

    Args:
        module: that holds it.
        name: in the module, `Class.method` or `function`.
        parameters: as they were when this was written.
        seen: the package and the newest version that it was seen in.
        reason: why we need it.
    """

    module: str
    name: str
    parameters: tuple[str, ...]
    seen: str
    reason: str

    def now(self) -> Any:
        """What stands there now."""
        return attrgetter(self.name)(import_module(self.module))

    def replaced(self, value: Any, *, on: Any = None) -> AbstractContextManager[None]:
        """Inside the block, `value` stands there; for one object alone if it is given as `on`."""
        owner, _, attribute = self.name.rpartition(".")
        if on is None:
            module = import_module(self.module)
            on = attrgetter(owner)(module) if owner else module
        return replaced(on, attribute, value)

    def change(self) -> str:
        """What is no longer as it was seen, in words; empty if nothing."""
        try:
            parameters = tuple(signature(self.now()).parameters)
        except (ImportError, AttributeError) as error:
            return f"{self.module} has no {self.name} any more ({error}). It was seen in {self.seen}. {self.reason}"
        if parameters == self.parameters:
            return ""
        return f"{self.name} takes {parameters}, and took {self.parameters} in {self.seen}. {self.reason}"


HYDRA, SUBMITIT, RAY = "hydra-core 1.3.8", "submitit 1.5.4", "hydra-ray-launcher 1.2.2"
_LOADER, _SWEEPER = "hydra._internal.config_loader_impl", "hydra._internal.core_plugins.basic_sweeper"

RUN_SINGLE = Internal(
    "hydra._internal.hydra",
    "run_job",
    ("task_function", "config", "job_dir_key", "job_subdir_key", "hydra_context", "configure_logging"),
    HYDRA,
    "Hydra makes the folder of a run before it calls the job: a config is checked first, and its folder claimed.",
)
SWEEP = Internal(
    _SWEEPER,
    "BasicSweeper.sweep",
    ("self", "arguments"),
    HYDRA,
    "All jobs of a sweep are checked before the first one starts, and sweep.json is written.",
)
SPLIT = Internal(
    _SWEEPER,
    "BasicSweeper.split_arguments",
    ("overrides", "max_batch_size"),
    HYDRA,
    "The jobs that were checked are those that run.",
)
VALIDATE = Internal(
    _SWEEPER,
    "BasicSweeper.validate_batch_is_legal",
    ("self", "batch"),
    HYDRA,
    "It would compose each job again, after our checks have.",
)
LOAD = Internal(
    _LOADER,
    "ConfigLoaderImpl.load_configuration",
    ("self", "config_name", "overrides", "run_mode", "from_shell", "validate_sweep_overrides"),
    HYDRA,
    "Hydra acts on its own section (env_set, callbacks, logging) before a job could check it.",
)
SEARCH_PATH = Internal(
    _LOADER,
    "ConfigLoaderImpl._process_config_searchpath",
    ("self", "config_name", "parsed_overrides", "repo"),
    HYDRA,
    "It would add folders that a config names to those that configs are read from.",
)
CHOOSE_FILES = Internal(
    _LOADER,
    "create_defaults_list",
    ("repo", "config_name", "overrides_list", "prepend_hydra", "skip_missing"),
    HYDRA,
    "It depends on the groups that are chosen alone, and is done once for all jobs of a sweep.",
)
SINGLE_KEYS = Internal(
    "hydra._internal.defaults_list",
    "Overrides",
    ("repo", "overrides_list"),
    HYDRA,
    "It tells the overrides of single keys from those that choose groups.",
)
MERGE_FILES = Internal(
    _LOADER,
    "ConfigLoaderImpl._compose_config_from_defaults_list",
    ("self", "defaults", "repo"),
    HYDRA,
    "Files are read and merged once for all jobs of a sweep.",
)
COMMAND_PARSER = Internal(
    "hydra._internal.utils", "get_args_parser", (), HYDRA, "It knows Hydra's flags, so that wrong ones get a sentence."
)
PARSED_COMMAND = Internal(
    "hydra._internal.utils", "get_args", ("args",), HYDRA, "It says which flags are set, so that some are refused."
)
JOINED_JOBS = Internal(
    "submitit.core.core",
    "Job.results",
    ("self",),
    SUBMITIT,
    "It raises for a job that was killed, and Hydra's launcher would forget the results of all others.",
)
START_RAY = Internal(
    "hydra_plugins.hydra_ray_launcher._launcher_util",
    "start_ray",
    ("init_cfg",),
    RAY,
    "Ray is started before its launcher would, since it takes SIGTERM for itself and our handler comes after.",
)
INTERNALS = [thing for thing in list(vars().values()) if isinstance(thing, Internal)]
