"""MLflow: an SQLite file beside the runs, or what MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nngeom_cli.config.nested import leaves
from nngeom_cli.errors import ConfigError, beginning_of, shown
from nngeom_cli.store.run import Run
from nngeom_cli.system.atomic import refuse_link

__all__ = ["DATABASE", "MLflow", "home_of"]

DATABASE, ARTIFACTS = "mlflow.db", "mlflow-artifacts"
OUTPUTS = "outputs"
LONGEST = 500  # characters of a parameter
MOST_PARAMS, MOST_METRICS = 100, 1000  # that MLflow takes at once
SECONDS = 5.0  # between two calls while a run trains: a call takes about 10 ms
ENDED = {"complete": "FINISHED", "diverged": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
# A run does not wait minutes for a server that is gone; a user's own values count first.
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
SILENCE = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


class MLflow:
    """Metrics; the config as parameters and as config.json; figures as artifacts; one experiment for each task."""

    def __init__(self) -> None:
        with _environment():
            import alembic  # noqa: F401
            import sqlalchemy  # noqa: F401
            from mlflow import MlflowClient
            from mlflow.entities import Metric, Param
            from mlflow.exceptions import MlflowException

        self._make, self._metric, self._param, self._refusal = MlflowClient, Metric, Param, MlflowException
        self._client: Any = None
        self._run = ""
        self._waiting: list[Any] = []
        self._sent = time.monotonic()

    def start(self, run: Run) -> None:
        """Makes an MLflow run; one that an earlier sitting made goes to MLflow's bin."""
        with _environment():
            experiment = self._connected(run)
            own = run.info.get("id", "")
            if "resumed" in run.info and re.fullmatch(r"[0-9a-f]+", own):
                for old in self._client.search_runs([experiment], f"tags.`nngeom.id` = '{own}'"):
                    self._client.delete_run(old.info.run_id)
            tags = {"nngeom.id": own, "nngeom.command": run.info.get("command", ""), "nngeom.status": "running"}
            if commit := (run.info.get("git") or {}).get("commit"):
                tags["mlflow.source.git.commit"] = commit
            made = self._client.create_run(experiment, tags=tags, run_name=run.directory.name)
            self._run = made.info.run_id
            config = list(leaves(run.config))
            for first in range(0, len(config), MOST_PARAMS):
                some = config[first : first + MOST_PARAMS]
                params = [self._param(key, beginning_of(shown(value), LONGEST)) for key, value in some]
                self._client.log_batch(self._run, params=params)
            self._client.log_dict(self._run, run.config, "config.json")

    def scalars(self, epoch: int, values: Mapping[str, float]) -> None:
        """Kept for some seconds, then sent together."""
        now = int(time.time() * 1000)
        self._waiting += [self._metric(name, value, now, epoch) for name, value in values.items()]
        if len(self._waiting) >= MOST_METRICS or time.monotonic() - self._sent > SECONDS:
            self._send()

    def figures(self, paths: Sequence[Path]) -> None:
        """Each file, in the folder `figures`."""
        with _environment():
            for path in paths:
                self._client.log_artifact(self._run, str(path), "figures")

    def end(self, status: str) -> None:
        """Sends what is left, and the status."""
        if self._run:
            self._send()
            with _environment():
                self._client.set_tag(self._run, "nngeom.status", status)
                self._client.set_terminated(self._run, ENDED[status])

    def _send(self) -> None:
        waiting, self._waiting, self._sent = self._waiting, [], time.monotonic()
        with _environment():
            for first in range(0, len(waiting), MOST_METRICS):
                self._client.log_batch(self._run, metrics=waiting[first : first + MOST_METRICS])

    def _connected(self, run: Run) -> str:
        """Connects, and returns the experiment's number: that of the run's task, made if it is new."""
        address, artifacts = os.environ.get("MLFLOW_TRACKING_URI"), None
        if not address:
            home = home_of(run.directory)
            refuse_link(home / DATABASE)
            refuse_link(home / ARTIFACTS)
            if {"?", "%"} & set(str(home)):
                raise ConfigError(f"`{home}` must be a path without ? and %, for MLflow. Got one of them. Rename it.")
            with contextlib.closing(sqlite3.connect(home / DATABASE, timeout=10)) as database:
                database.execute("BEGIN IMMEDIATE")  # MLflow would try again for minutes where it cannot write
                database.rollback()
            address, artifacts = f"sqlite:///{home / DATABASE}", (home / ARTIFACTS).as_uri()
        for noisy in ("mlflow", "alembic"):  # which say at length that they make tables
            logging.getLogger(noisy).setLevel(logging.WARNING)
        self._client = self._make(tracking_uri=address)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or str(run.config["task"]["name"])
        known = self._client.get_experiment_by_name(name)
        if known is None:
            try:
                return str(self._client.create_experiment(name, artifact_location=artifacts))
            except self._refusal:  # another job of a sweep may have made it meanwhile
                known = self._client.get_experiment_by_name(name)
                if known is None:
                    raise
        return str(known.experiment_id)


def home_of(directory: Path) -> Path:
    """The folder of the database: the nearest `outputs` above a run, else the folder that the run is in.

    Example:
        >>> home_of(Path("/ada/outputs/runs/xor/20260101-120000-000000-seed0")), home_of(Path("/ada/mine"))
        (PosixPath('/ada/outputs'), PosixPath('/ada'))
    """
    parents = directory.absolute().parents
    return next((parent for parent in parents if parent.name == OUTPUTS), parents[0])


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """MLflow reads its settings from the environment, which is left as it was: no telemetry, little patience."""
    wanted = SILENCE | {name: value for name, value in PATIENCE.items() if name not in os.environ}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
