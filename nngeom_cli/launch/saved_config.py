"""The config of a saved run as a primary config of Hydra, so that `nngeom run --from RUN` runs it again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from nngeom_cli.config.run import load_config
from nngeom_cli.quoting import unresolved
from nngeom_cli.store.run import load_run
from nngeom_cli.system.atomic import refuse_interpolation

__all__ = ["FROZEN", "frozen_config"]

FROZEN = "frozen"  # its name among Hydra's configs


def frozen_config(directory: Path, conf: Path) -> dict[str, Any]:
    """What `conf`/config.yaml says about directories and logging, around the plain values of a run.

    Groups are not chosen again: those of today may hold other values. Single keys can be set, as in any config.

    Args:
        directory: of the run.
        conf: the folder of nngeom's configs.

    Raises:
        FileNotFoundError: the directory holds no run.
        ConfigError: its config is none of this version's.
        DamageError: the run is damaged.
    """
    refuse_interpolation("--from", directory.resolve())
    values = asdict(load_config(load_run(directory).config))
    main = OmegaConf.to_container(OmegaConf.load(conf / "config.yaml"), resolve=False)
    assert isinstance(main, dict)
    defaults = [entry for entry in main["defaults"] if "override" in str(entry)]
    hydra = main["hydra"]
    name = unresolved(str(directory.resolve()))  # where a job finds its command
    hydra["job"] = {**hydra.get("job", {}), "name": name}
    return {"defaults": [*defaults, "_self_"], **values, "hydra": hydra}
