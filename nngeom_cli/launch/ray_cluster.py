"""Ray: a cluster that is started here, or one that is joined."""

from __future__ import annotations

import shlex
from typing import Any

from nngeom_cli.errors import ConfigError, one_line, require
from nngeom_cli.launch.hydra_patches import START_RAY
from nngeom_cli.quoting import quoted
from nngeom_cli.store.sweep import Sweep

__all__ = ["refuse_new_cluster", "start_ray"]

OF_NEW_CLUSTER = ("num_cpus", "object_store_memory")  # keys of Ray, which a cluster that is there has already


def refuse_new_cluster(launcher: Any) -> None:
    """Raises ConfigError where Ray is to join a cluster, and a key is set of one that is started."""
    if type(launcher).__name__ == "RayLauncher" and (init := launcher.ray_cfg.init).address is not None:
        for name in OF_NEW_CLUSTER:
            what = f"left out with an address, here {init.address}"
            way_out = f"`ray start --{name.replace('_', '-')}` sets it on each machine."
            require(init.get(name) is None, f"hydra.launcher.ray.init.{name}", what, init.get(name), way_out)


def start_ray(launcher: Any, sweep: Sweep) -> None:
    """Starts Ray, or joins a cluster, before its launcher would: Ray takes SIGTERM for itself, and ours comes after.

    The processes of a cluster start in a folder of their own, so jobs get the whole path of the sweep.

    Raises:
        ConfigError: there is no such cluster.
    """
    init, directory = launcher.ray_cfg.init, sweep.directory.absolute()
    launcher.config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quoted(str(directory))}")
    try:
        START_RAY.now()(init)
    except (ConnectionError, ValueError, RuntimeError) as error:
        if init.address is None:
            raise
        raise ConfigError(
            f"`hydra.launcher.ray.init.address` must be that of a Ray cluster that is up. Got {init.address}: "
            f"{one_line(error)}. `ray start --head` starts one, `nngeom resume {shlex.quote(str(directory))}` goes on."
        ) from error
