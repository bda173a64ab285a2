"""Ray: starting a cluster on this machine, or joining one."""

from __future__ import annotations

import shlex
from typing import Any

from omegaconf import OmegaConf

from nngeom_cli.errors import ConfigError, one_line, require
from nngeom_cli.launch.hydra_patches import START_RAY
from nngeom_cli.quoting import quoted
from nngeom_cli.store.sweep import Sweep

__all__ = ["refuse_new_cluster", "start_ray"]

OF_NEW_CLUSTER = ("num_cpus", "object_store_memory")  # keys of Ray that a running cluster has already set
NEW = "local"  # for Ray, to which no address means a cluster that was ever started here, or that of RAY_ADDRESS


def refuse_new_cluster(launcher: Any) -> None:
    """Raises ConfigError if Ray is to join a cluster and a key is set that only a new cluster takes."""
    if type(launcher).__name__ == "RayLauncher" and (init := launcher.ray_cfg.init).address is not None:
        for name in OF_NEW_CLUSTER:
            what = f"left out with an address, here {init.address}"
            suggestion = f"`ray start --{name.replace('_', '-')}` sets it on each machine."
            require(init.get(name) is None, f"hydra.launcher.ray.init.{name}", what, init.get(name), suggestion)


def start_ray(launcher: Any, sweep: Sweep) -> None:
    """Starts Ray, or joins a cluster, before its launcher does: Ray takes SIGTERM, and our handler must come after.

    Ray's workers start in folders of their own, so jobs get the absolute path of the sweep.

    Raises:
        ConfigError: no cluster runs at this address.
    """
    init, directory = launcher.ray_cfg.init, sweep.directory.absolute()
    launcher.config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quoted(str(directory))}")
    try:
        START_RAY.now()(OmegaConf.merge(init, {"address": init.address or NEW}))
    except (ConnectionError, ValueError, RuntimeError) as error:
        if init.address is None:
            raise
        raise ConfigError(
            f"`hydra.launcher.ray.init.address` must be the address of a running Ray cluster. Got {init.address}: "
            f"{one_line(error)}. `ray start --head` starts one, "
            f"`nngeom resume {shlex.quote(str(directory))}` continues the sweep."
        ) from error
