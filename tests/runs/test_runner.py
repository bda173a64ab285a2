"""One run, from config to run directory."""

import json
import math
import os
import shutil
import subprocess

import numpy as np
import pytest
import torch
from small_runs import config

from nngeom_cli import figures
from nngeom_cli.errors import ConfigError, RunError
from nngeom_cli.runs import context, provenance
from nngeom_cli.runs import run as runner
from nngeom_cli.runs.code_fingerprint import run_source
from nngeom_cli.store.checkpoints import read_checkpoint
from nngeom_cli.store.run import load_run
from nngeom_cli.training.device import resolve_device


def test_a_run_leaves_a_complete_directory(tmp_path, capsys):
    runner.run(config(figures__draw=True), tmp_path, command="nngeom run task=xor")
    run = load_run(tmp_path)
    assert run.status == "complete"
    assert run.info["command"] == "nngeom run task=xor"
    assert run.config["optimizer"]["epochs"] == 20
    assert [row["replicate"] for row in run.info["replicates"]] == [3, 4]
    assert run.geometry.epoch.values.tolist() == [0, 5, 20]
    assert run.history.epoch.unique().tolist() == list(range(21))
    assert run.parameters(20)[0].shape == (2, 4, 3)
    pictures = list((tmp_path / "figures").glob("*.png"))
    assert pictures
    printed = capsys.readouterr().out
    assert "accuracy by seed  3: 0." in printed
    assert "of 2 replicates solved the task" in printed
    assert all(str(picture) in printed for picture in pictures)


def test_the_loss_of_each_measured_epoch_is_in_the_history_however_long_the_run(tmp_path):
    for name, checkpoints in (("few", []), ("more", [7, 123])):
        long = config(optimizer__epochs=400, probe__checkpoints=checkpoints, probe__resolution=2)
        (tmp_path / name).mkdir()
        runner.run(long, tmp_path / name, command="")
    few, more = (load_run(tmp_path / name).history for name in ("few", "more"))
    assert set(more.epoch) - set(few.epoch) == {7, 123}
    assert more[~more.epoch.isin([7, 123])].reset_index(drop=True).equals(few)
    checkpoint = read_checkpoint(tmp_path / "more" / "checkpoints" / "epoch-000123.npz")[0]
    assert more[more.epoch == 123].loss.tolist() == checkpoint.loss.tolist()


LAZY = {"architecture__output_scale": 30.0, "optimizer__weight_decay": 0.0}
ADAM = {"optimizer": {"name": "adam", "lr": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "epochs": 20, "batch_size": None}}


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        (ADAM | LAZY, ["adam divides each gradient by its size"]),
        (LAZY | {"optimizer__weight_decay": 0.1}, ["optimizer.weight_decay=0.1 moves the weights"]),
        (ADAM | LAZY | {"optimizer__weight_decay": 0.1}, ["adam", "weight_decay=0.1"]),
        (LAZY, []),
        (LAZY | {"architecture__output_scale": 1.0, "optimizer__weight_decay": 0.1}, []),
        (LAZY | {"architecture__output_scale": None, "optimizer__weight_decay": 0.1}, []),
    ],
)
def test_a_run_warns_once_where_its_output_scale_does_not_make_it_lazy(changes, reasons, tmp_path, capsys):
    runner.run(config(**changes), tmp_path, command="")
    assert load_run(tmp_path).status == "complete"
    warnings = [line for line in capsys.readouterr().err.splitlines() if "architecture.output_scale" in line]
    assert len(warnings) == bool(reasons)
    assert all(reason in line for line in warnings for reason in reasons)


def test_figures_can_be_left_for_later(tmp_path, capsys):
    runner.run(config(), tmp_path, command="")
    assert load_run(tmp_path).status == "complete"
    assert not (tmp_path / "figures").exists()
    assert "figure" not in capsys.readouterr().out


def test_saved_metrics_are_those_of_the_saved_parameters(tmp_path):
    runner.run(config(), tmp_path, command="")
    run = load_run(tmp_path)
    first, second = run.parameters(20)
    inputs, labels = [(-1, -1), (-1, 1), (1, -1), (1, 1)], [0, 1, 1, 0]
    for replicate, row in enumerate(run.info["replicates"]):
        losses = []
        for x, label in zip(inputs, labels, strict=True):
            hidden = torch.sigmoid(first[replicate] @ torch.tensor([*x, 1.0], dtype=torch.float64))
            output = second[replicate] @ torch.cat([hidden, torch.ones(1, dtype=torch.float64)])
            losses.append((output.item() - label) ** 2)
        assert row["loss"] == pytest.approx(np.mean(losses), rel=1e-12)
        last = run.history.query(f"epoch == 20 and replicate == {row['replicate']}").iloc[0]
        assert last.loss == row["loss"]


def test_curvature_of_two_hidden_units_is_exactly_zero_and_said_to_be(tmp_path, caplog):
    runner.run(config(architecture__hidden=[2]), tmp_path, command="")
    assert (load_run(tmp_path).geometry.ricci_scalar == 0).all()
    assert "layer 1 is flat: the feature map is a local diffeomorphism of R^2 (R = 0)" in caplog.text


def test_a_wide_linear_layer_is_flat_but_not_called_a_diffeomorphism(tmp_path, caplog):
    linear = config(architecture__hidden=[8], architecture__activation="identity")
    runner.run(linear, tmp_path, command="")
    assert "layer 1 is flat: R = 0 at every point" in caplog.text


def test_points_without_curvature_are_counted(tmp_path, caplog):
    saturated = config(architecture__activation="relu", probe__window=[-1e3, 1e3], architecture__hidden=[3])
    runner.run(saturated, tmp_path, command="")
    missing = int(np.isnan(load_run(tmp_path).geometry.ricci_scalar.sel(epoch=20)).sum())
    assert 0 < missing < 72
    assert f"layer 1: no curvature at {missing} of 72 points, J is rank deficient there" in caplog.text


def test_bottlenecks_are_named_with_the_layer_that_makes_them(tmp_path, caplog):
    narrow = config(architecture__hidden=[8, 1, 8], probe__layers="all")
    runner.run(narrow, tmp_path, command="")
    geometry = load_run(tmp_path).geometry
    assert geometry.layer.values.tolist() == [1, 2, 3, 4]
    assert np.isfinite(geometry.ricci_scalar.sel(layer=1)).all()
    assert (geometry.log_volume_element.sel(layer=[2, 3, 4]) == -np.inf).all()
    notes = [record.message for record in caplog.records if "bottleneck" in record.message]
    assert notes == [
        "layer 2 is a bottleneck: width 1, so the metric has rank 1 < 2 and volume 0",
        "layer 3 is past a bottleneck: layer 2 has width 1, so the metric has rank 1 < 2 and volume 0",
        "layer 4 (output) is past a bottleneck: layer 2 has width 1, so the metric has rank 1 < 2 and volume 0",
    ]


def test_replicate_is_the_run_of_its_own_seed(tmp_path):
    (tmp_path / "both").mkdir()
    (tmp_path / "second").mkdir()
    runner.run(config(), tmp_path / "both", command="")
    runner.run(config(seed=4, replicates=1), tmp_path / "second", command="")
    both, second = load_run(tmp_path / "both"), load_run(tmp_path / "second")
    for together, alone in zip(both.parameters(20), second.parameters(20), strict=True):
        assert torch.equal(together[1], alone[0])
    np.testing.assert_allclose(
        both.geometry.ricci_scalar.sel(replicate=4), second.geometry.ricci_scalar.sel(replicate=4), rtol=1e-9
    )
    # the networks are the same to the last bit; a volume element may differ by rounding, one part in 2^52 a few times
    np.testing.assert_allclose(
        both.geometry.log_volume_element.sel(replicate=4),
        second.geometry.log_volume_element.sel(replicate=4),
        rtol=1e-12,
    )


def test_a_diverged_run_keeps_what_it_measured_and_says_which(tmp_path):
    with pytest.raises(RunError, match=r"of 2 replicates is not finite at the end \(seed 3 at epoch 2, 4 at epoch 2\)"):
        runner.run(
            config(optimizer__lr=1e6, optimizer__epochs=200, architecture__activation="monomial3"),
            tmp_path,
            command="",
        )
    run = load_run(tmp_path)
    assert run.status == "diverged"
    assert run.info["replicates"][0]["loss"] is None
    assert not run.info["replicates"][0]["solved"]
    assert math.isfinite(run.geometry.log_volume_element.sel(epoch=0).mean())


DIVERGING = {"optimizer__lr": 1e6, "architecture__activation": "monomial3"}


def broken_at_first(monkeypatch, replicate):
    """One replicate begins with a weight that is NaN."""
    make = context.untrained

    def untrained(*arguments, **options):
        network = make(*arguments, **options)
        network.weights[0][replicate, 0, 0] = math.nan
        return network

    monkeypatch.setattr(context, "untrained", untrained)


def test_of_a_run_that_diverged_the_cause_is_said_and_not_that_points_have_no_curvature(tmp_path, capsys, caplog):
    with pytest.raises(RunError):
        runner.run(config(**DIVERGING), tmp_path, command="")
    out = capsys.readouterr().out
    assert "no curvature" not in out + caplog.text
    assert "accuracy by seed  3: diverged  4: diverged\n" in out
    assert "0 of 2 replicates solved the task (accuracy of at least 1); 2 diverged\n" in out
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert ["not finite at the end (seed 3 at epoch 2, 4 at epoch 2)" in warning for warning in warnings] == [True]


def test_a_replicate_that_diverged_spoils_no_number_of_the_others(tmp_path, monkeypatch, capsys, caplog):
    caplog.set_level("INFO")
    broken_at_first(monkeypatch, 0)
    with pytest.raises(RunError, match=r"1 of 2 replicates is not finite at the end \(seed 3 at epoch 0\)"):
        runner.run(config(), tmp_path, command="")
    assert "nan" not in (capsys.readouterr().out + caplog.text).lower()
    assert "loss of 1 of 2 replicates not finite" in caplog.text
    assert "rank deficient" not in caplog.text
    first, second = load_run(tmp_path).info["replicates"]
    assert (first["loss"], first["accuracy"], first["solved"]) == (None, None, False)
    assert math.isfinite(second["loss"] + second["accuracy"])


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), "interrupted"), (OSError("No space left on device"), "failed")]
)
def test_a_broken_run_says_how_it_ended(tmp_path, monkeypatch, error, status):
    def broken(_, cores):
        raise error

    monkeypatch.setattr(figures, "draw_figures", broken)
    with pytest.raises(type(error)):
        runner.run(config(figures__draw=True), tmp_path, command="")
    info = json.loads((tmp_path / "run.json").read_text())
    assert info["status"] == status
    assert type(error).__name__ in info["error"]


def test_a_device_that_is_not_there_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"`device` must be a device of this machine\. Got cuda"):
        runner.run(config(device="cuda"), tmp_path, command="")
    assert list(tmp_path.iterdir()) == []


def test_auto_takes_the_gpu_if_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto").type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto").type == "cuda"


@pytest.mark.parametrize("commit", [{"commit": "c0ffee", "dirty": False}, None], ids=["checkout", "no checkout"])
def test_provenance_names_versions_config_and_commit(tmp_path, monkeypatch, commit):
    monkeypatch.setattr(provenance, "git_commit", lambda: commit)
    runner.run(config(), tmp_path, command="nngeom run")
    info = load_run(tmp_path).info
    assert info["versions"]["torch"] == torch.__version__
    assert len(info["config_hash"]) == 64
    assert info["source"] == run_source()
    assert info["device"] == "cpu"
    assert info.get("git") == commit
    assert info["started"] <= info["finished"]


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_is_that_of_the_checkout_and_none_elsewhere(tmp_path, monkeypatch):
    def git(*words):
        return subprocess.run(["git", *words], cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()

    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "nngeom_cli" / "runs" / "provenance.py"))
    (tmp_path / "tracked").touch()
    assert provenance.git_commit() is None
    git("init")
    assert provenance.git_commit() is None  # nothing is committed
    git("add", "tracked")
    git("-c", "user.name=n", "-c", "user.email=e", "commit", "-m", "first")
    (tmp_path / "untracked").touch()
    assert provenance.git_commit() == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    (tmp_path / "tracked").write_text("changed")
    assert provenance.git_commit()["dirty"]
