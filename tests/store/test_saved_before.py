"""Runs that were saved by the version before the packages: they load, draw, summarize and go on."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from nngeom_cli import load_run
from nngeom_cli.analysis.summary import summarize_runs
from nngeom_cli.figures import draw_figures
from nngeom_cli.geometry import log_effective_volume_element, ricci_scalar
from nngeom_cli.runs.resume import resume

SAVED = Path(__file__).parent / "saved_before_packages.zip"  # of commit a9c6334, without .hydra
EPOCHS = {"xor": 20, "digits": 4}


@pytest.fixture
def saved(tmp_path):
    shutil.unpack_archive(SAVED, tmp_path)
    return tmp_path


@pytest.mark.parametrize("task", EPOCHS)
def test_a_run_of_the_version_before_loads_and_draws(saved, task, monkeypatch):
    monkeypatch.setattr("nngeom_cli.figures.output.DPI", 40)
    run = load_run(saved / task)
    assert run.status == "complete"
    assert run.history.epoch.max() == run.geometry.epoch.max() == EPOCHS[task]
    assert all(path.stat().st_size > 1000 for path in draw_figures(run))


def test_runs_of_the_version_before_are_summarized(saved):
    summary = summarize_runs([saved], grouped=False, columns=[])
    table = summary.text("csv")
    assert table.count("complete") == 2
    assert "damaged" not in table


def test_networks_of_the_version_before_have_the_geometry_that_it_measured(saved):
    run = load_run(saved / "xor")
    measured = run.geometry.sel(epoch=20, layer=1)
    R = ricci_scalar(run.feature_map(20, 1), np.stack(np.meshgrid(measured.x, measured.y), axis=-1)).numpy()
    assert np.all(abs(R - measured.ricci_scalar) <= measured.ricci_scalar_error)
    run = load_run(saved / "digits")
    measured = run.geometry.sel(epoch=4, layer=1)
    start, end = measured.endpoint.isel(end=0).values, measured.endpoint.isel(end=1).values
    x = start[:, None] + np.linspace(0, 1, 9)[:, None] * (end - start)[:, None]
    volume = log_effective_volume_element(run.feature_map(4, 1), x, top_k=4).numpy()
    assert np.allclose(volume.swapaxes(0, 1), measured.log_effective_volume_element)


@pytest.mark.parametrize("task", EPOCHS)
def test_a_run_of_the_version_before_is_trained_on(saved, task, capsys):
    directory, epochs = saved / task, EPOCHS[task]
    before = load_run(directory).geometry
    resume(directory)
    assert capsys.readouterr().out == "The run is complete: nothing is left to do.\n"
    resume(directory, [f"optimizer.epochs={epochs + 2}"])
    assert "The code of training and probe has changed since the run began" in capsys.readouterr().out
    run = load_run(directory)
    assert (run.status, run.info["resumed"][-1]["epoch"]) == ("complete", epochs)
    assert run.geometry.epoch.values.tolist() == [0, epochs, epochs + 2]
    assert run.geometry.sel(epoch=[0, epochs]).equals(before)
