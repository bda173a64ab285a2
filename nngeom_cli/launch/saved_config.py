"""A saved run's config as a primary config of Hydra, for `nngeom run --from RUN` and `nngeom measure RUN`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from nngeom_cli.config.loader import load_config
from nngeom_cli.config.recorded import require_plugins
from nngeom_cli.quoting import unresolved
from nngeom_cli.store.run import Run, load_run
from nngeom_cli.system.atomic import refuse_interpolation

__all__ = ["FROZEN", "frozen_config", "measured_config"]

FROZEN = "frozen"  # its name in Hydra's config store


def frozen_config(directory: Path, conf: Path) -> dict[str, Any]:
    """The plain values of a run with what `conf`/config.yaml says about directories and logging.

    Groups are not composed again, since their files may have changed. Single keys can be set as in any config.

    Args:
        directory: of the run.
        conf: the folder of nngeom's configs.

    Raises:
        FileNotFoundError: the directory holds no run.
        ConfigError: its config is none of this version's.
        DamageError: the run is damaged.
    """
    return _composable(load_run(directory), conf, "--from", [])


def measured_config(run: Run, conf: Path, *, chosen: bool) -> dict[str, Any]:
    """As `frozen_config`; a probe that is `chosen` by name is composed, but for the run's own checkpoints.

    Raises:
        ConfigError: its config is none of this version's.
        DamageError: the run is damaged.
    """
    composed = _composable(run, conf, "nngeom measure", [{"probe": "???"}] if chosen else [])
    if chosen:
        composed["probe"] = {"checkpoints": composed["probe"]["checkpoints"]}
    return composed


def _composable(run: Run, conf: Path, key: str, groups: list[dict[str, str]]) -> dict[str, Any]:
    directory = run.directory.resolve()
    refuse_interpolation(key, directory)
    require_plugins(run.info)
    values = asdict(load_config(run.config))
    schedule = values["probe"]["checkpoints"]
    if isinstance(schedule, dict):  # in words, which a list can replace; no list can replace a mapping
        values["probe"]["checkpoints"] = f"{schedule['spacing']} {schedule['count']}"
    main = OmegaConf.to_container(OmegaConf.load(conf / "config.yaml"), resolve=False)
    assert isinstance(main, dict)
    defaults = [entry for entry in main["defaults"] if "override" in str(entry)]
    hydra = main["hydra"]
    hydra["job"] = {**hydra.get("job", {}), "name": unresolved(str(directory))}  # from which a job builds its command
    return {"defaults": [*groups, *defaults, "_self_"], **values, "hydra": hydra}
