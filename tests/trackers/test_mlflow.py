"""tracker=mlflow, read back by MLflow's own client. `make test-trackers` runs it."""

import json
import os
import socket
import threading

import pytest
from small_runs import PROBED, config, drawn

from nngeom_cli.runs import run as runner
from nngeom_cli.runs.resume import resume
from nngeom_cli.store.run import load_run

pytest.importorskip("mlflow")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of SQLAlchemy, by MLflow


@pytest.fixture(scope="module", autouse=True)
def no_network():
    """Any connection fails, and is told here."""
    tried = []

    def connect(self, address):
        tried.append(address)
        raise OSError("no network in this test")

    names = ("PYTEST_CURRENT_TEST", "CI", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect)
        for name in names:  # of which MLflow's telemetry says nothing
            patch.delenv(name, raising=False)
        yield
    assert tried == []


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The home directory, which must stay empty."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.setenv("MPLCONFIGDIR", str(tmp_path_factory.mktemp("matplotlib")))
        yield folder


@pytest.fixture(scope="module")
def patched():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "drawing", lambda: drawn)
        yield


@pytest.fixture(scope="module")
def run(home, patched, tmp_path_factory):
    directory = tmp_path_factory.mktemp("mlflow") / "outputs" / "runs" / "xor" / "first"
    directory.mkdir(parents=True)
    environment, threads = dict(os.environ), threading.active_count()
    changes = {"probe__checkpoints": PROBED, "tracker": "mlflow", "figures__draw": True}
    runner.run(config(**changes), directory, command="nngeom run task=xor")
    assert {**os.environ, "PYTEST_CURRENT_TEST": ""} == {**environment, "PYTEST_CURRENT_TEST": ""}
    assert threading.active_count() == threads
    assert not list(home.iterdir())
    return load_run(directory)


@pytest.fixture(scope="module")
def client(run):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{run.directory.parents[2] / 'mlflow.db'}")


def found(client, status="active"):
    from mlflow.entities import ViewType

    view = {"active": ViewType.ACTIVE_ONLY, "all": ViewType.ALL}[status]
    return client.search_runs([client.get_experiment_by_name("xor").experiment_id], run_view_type=view)


def test_it_has_the_history_and_the_statistics_by_epoch(run, client):
    (tracked,) = found(client)
    for name in ("loss", "accuracy"):
        for seed, rows in run.history.groupby("replicate"):
            metrics = client.get_metric_history(tracked.info.run_id, f"{name}/seed-{seed}")
            assert {metric.step: metric.value for metric in metrics} == dict(zip(rows.epoch, rows[name], strict=True))
            assert len(metrics) == len(rows)
    volumes = client.get_metric_history(tracked.info.run_id, "volume_mean/mean")
    assert sorted(metric.step for metric in volumes) == PROBED
    expected = run.geometry.log_volume_element.sel(x=slice(-1, 1), y=slice(-1, 1)).mean().item()  # near the data
    assert sum(metric.value for metric in volumes) / len(volumes) == pytest.approx(expected, rel=1e-12)


def test_it_has_the_config_the_status_and_no_user(run, client):
    (tracked,) = found(client)
    assert tracked.data.params["optimizer.lr"] == "0.02"
    assert tracked.data.params["architecture.hidden"] == "[4]"
    assert (tracked.info.run_name, tracked.info.status, tracked.info.user_id) == ("first", "FINISHED", "unknown")
    tags = {name for name in tracked.data.tags if not name.startswith("nngeom.")}
    assert tags <= {"mlflow.runName", "mlflow.source.git.commit"}
    assert tracked.data.tags["nngeom.status"] == "complete"
    assert tracked.data.tags["nngeom.id"] == run.info["id"]
    stored = run.directory.parents[2] / "mlflow-artifacts" / tracked.info.run_id / "artifacts" / "config.json"
    assert json.loads(stored.read_text()) == run.config


def test_it_has_the_figures(run, client):
    (tracked,) = found(client)
    names = {path.name for path in (run.directory / "figures").iterdir()}
    assert {file.path for file in client.list_artifacts(tracked.info.run_id, "figures")} == {
        f"figures/{name}" for name in names
    }
    stored = run.directory.parents[2] / "mlflow-artifacts" / tracked.info.run_id / "artifacts" / "figures"
    for name in names:
        assert (stored / name).read_bytes() == (run.directory / "figures" / name).read_bytes()


def test_a_run_that_is_trained_longer_is_there_once(run, client):
    resume(run.directory, ["optimizer.epochs=30"])
    longer = load_run(run.directory)
    (tracked,) = found(client)
    losses = client.get_metric_history(tracked.info.run_id, "loss/seed-3")
    assert sorted(metric.step for metric in losses) == sorted(set(longer.history.epoch))
    assert len(found(client, "all")) == 2  # the old one is in the bin


def test_a_folder_that_cannot_be_written_costs_one_sentence_and_no_time(tmp_path, capsys):
    directory = tmp_path / "outputs" / "run"
    directory.mkdir(parents=True)
    (directory.parent / "mlflow.db").write_text("this is no database, and no MLflow can open it")
    runner.run(config(tracker="mlflow"), directory, command="nngeom run")
    assert load_run(directory).status == "complete"
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "tracker=mlflow failed" in line]
    assert "not a database" in line
    assert (directory.parent / "mlflow.db").read_text().startswith("this is no database")
