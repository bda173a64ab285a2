"""A saved run's config as a primary config of Hydra, for `nngeom run --from RUN`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from nngeom_cli.config.loader import load_config
from nngeom_cli.quoting import unresolved
from nngeom_cli.store.run import load_run
from nngeom_cli.system.atomic import refuse_interpolation

__all__ = ["FROZEN", "frozen_config"]

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
    refuse_interpolation("--from", directory.resolve())
    values = asdict(load_config(load_run(directory).config))
    main = OmegaConf.to_container(OmegaConf.load(conf / "config.yaml"), resolve=False)
    assert isinstance(main, dict)
    defaults = [entry for entry in main["defaults"] if "override" in str(entry)]
    hydra = main["hydra"]
    name = unresolved(str(directory.resolve()))  # from which a job builds its command
    hydra["job"] = {**hydra.get("job", {}), "name": name}
    return {"defaults": [*defaults, "_self_"], **values, "hydra": hydra}
