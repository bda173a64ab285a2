"""The probe that a config names: on a grid, on straight or shortest paths, on planes through inputs, at examples."""

from __future__ import annotations

from nngeom_cli.config.probe import PREDICTION, GeodesicConfig, GridConfig, PathConfig, PlaneConfig, ProbeConfig
from nngeom_cli.probes.data import data
from nngeom_cli.probes.geodesic import geodesics
from nngeom_cli.probes.grid import grid
from nngeom_cli.probes.labelled import Probe
from nngeom_cli.probes.path import path
from nngeom_cli.probes.plane import plane
from nngeom_cli.probes.prediction import WithPrediction
from nngeom_cli.tasks.task import Task

__all__ = ["make_probe"]


def make_probe(config: ProbeConfig, task: Task, seed: int) -> Probe:
    """The probe that a configuration names; replicate r is labelled by its own seed, `seed` + r."""
    probe = _probe(config, task, seed)
    return (lambda model: probe(WithPrediction(model, task.loss))) if PREDICTION in config.layers else probe


def _probe(config: ProbeConfig, task: Task, seed: int) -> Probe:
    if isinstance(config, GridConfig):
        return grid(config, task, seed)
    if isinstance(config, PathConfig):
        return path(config, task, seed)
    if isinstance(config, GeodesicConfig):
        return geodesics(config, task, seed)
    return plane(config, task, seed) if isinstance(config, PlaneConfig) else data(config, task, seed)
