"""hydra/sweeper=optuna finds good settings, and a search that was interrupted is resumed."""

import json

import numpy as np
import optuna
import pytest
import torch
from small_runs import config

from nngeom_cli.cli.entry import main
from nngeom_cli.runs import run as runner
from nngeom_cli.store.run import load_run
from nngeom_cli.store.sweep import load_sweep
from nngeom_cli.tasks.make import make_task
from nngeom_cli.training.loop import batch_generators, initial_generators, train
from nngeom_cli.training.network import initial_network

pytestmark = pytest.mark.usefixtures("one_core")

FEW = ["optimizer.epochs=60", "figures.draw=false", "probe.resolution=4", "probe.checkpoints=[]", "replicates=2"]
OPTUNA = ["run", "-m", "hydra/sweeper=optuna", "hydra.sweep.dir=search", *FEW]
RATES = "optimizer.lr=tag(log,interval(0.001,1000))"


def study():
    return optuna.load_study(study_name="nngeom", storage="sqlite:///search/optuna.db")


def final_loss(rate):
    """Mean loss of the same two networks, trained without a run."""
    settings = config(architecture__hidden=[8], optimizer__lr=rate, optimizer__epochs=60, seed=0)
    task = make_task(settings.task)
    network = initial_network([2, 8, 1], "sigmoid", initial_generators(0, 2), dtype=torch.float64, device="cpu")
    (*_, last) = train(network, task, settings.optimizer, batch_generators(0, 2), [60])
    return float(np.mean(last.loss))


@pytest.mark.slow
def test_twenty_trials_find_a_learning_rate_as_good_as_the_best_of_a_grid(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*OPTUNA, "task=xor", RATES, "objective=loss"]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[-1] == str(tmp_path / "search")
    assert "Best loss of " in told.err
    found = study()
    assert len(found.trials) == 20
    losses = [final_loss(float(rate)) for rate in np.geomspace(0.001, 1000, 61)]
    best = np.nanmin(losses)
    assert np.nanmedian(losses) > 3 * best  # most rates are poor, so that chance would not do
    assert found.best_value < 1.2 * best + 0.01
    assert found.best_value == pytest.approx(final_loss(found.best_params["optimizer.lr"]), rel=1e-12)


def test_an_interrupted_search_is_resumed_to_its_last_trial(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    whole = runner.train_and_draw
    started = []

    def third_is_interrupted(context, store, start):
        started.append(store.directory.name)
        if len(started) == 3:
            raise KeyboardInterrupt
        return whole(context, store, start)

    monkeypatch.setattr(runner, "train_and_draw", third_is_interrupted)
    assert main([*OPTUNA, "task=xor", RATES, "objective=accuracy", "hydra.sweeper.n_trials=5"]) == 130
    assert "nngeom resume" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    before = {name: (tmp_path / "search" / name / "run.json").read_bytes() for name in started[:2]}
    assert main(["resume", "search"]) == 0
    sweep = load_sweep(tmp_path / "search")
    assert len(sweep.jobs) == 5
    assert [job.directory for job in sweep.jobs[:3]] == started
    assert {sweep.status(job) for job in sweep.jobs} == {"complete"}
    assert all((tmp_path / "search" / name / "run.json").read_bytes() == old for name, old in before.items())
    assert [trial.state.name for trial in study().trials] == ["COMPLETE"] * 5
    accuracy = [np.mean([row["accuracy"] for row in sweep.run(job).replicates]) for job in sweep.jobs]
    assert [trial.value for trial in study().trials] == pytest.approx(accuracy)
    capsys.readouterr()
    assert main(["resume", "search"]) == 0  # nothing is left
    assert len(load_sweep(tmp_path / "search").jobs) == 5


def test_numbers_choices_and_statistics_can_be_searched_and_a_failed_trial_costs_no_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["task=xor", "optimizer.epochs=int(interval(2,9))", "architecture.hidden=[3],[4]", "optimizer.lr=0.1,1e300"]
    words += ["objective=volume_mean", "hydra.sweeper.direction=maximize", "hydra.sweeper.n_trials=6"]
    assert main([*[word for word in OPTUNA if "epochs" not in word], *words]) == 0  # a diverged run is a result
    found = study()
    assert len(found.trials) == 6
    for trial in found.trials:
        run = load_run(tmp_path / "search" / trial.user_attrs["directory"])
        assert run.config["optimizer"]["epochs"] == trial.params["optimizer.epochs"]
        assert run.config["architecture"]["hidden"] == json.loads(trial.params["architecture.hidden"])
        assert (trial.state.name == "PRUNED") == (trial.params["optimizer.lr"] == "1e+300")
    assert {trial.state.name for trial in found.trials} == {"PRUNED", "COMPLETE"}
    assert found.direction.name == "MAXIMIZE"


WRONG = [
    (["objective=loss"], "`hydra/sweeper=optuna` must be given a key that varies"),
    ([RATES], "`objective` must be a score or a statistic. Got nothing."),
    ([RATES, "objective=acuracy"], "Did you mean `accuracy`?"),
    ([RATES, "objective=volume_mean"], "`hydra.sweeper.direction` must be maximize or minimize for volume_mean."),
    ([RATES, "objective=loss", "hydra.sweeper.direction=up"], "Got up."),
    ([RATES, "objective=loss", "hydra.sweeper.n_trials=0"], "`hydra.sweeper.n_trials` must be between 1 and 100000."),
    (["optimizer.lr=tag(log,interval(0,1))", "objective=loss"], "above 0 for log. Got tag(log,interval(0,1))."),
    (["optimizer.lr=interval(2,1)", "objective=loss"], "`optimizer.lr` must be an interval from a lower to a higher"),
    (["optimizer.lr=interval(-2,-1)", "objective=loss"], "`optimizer.lr` must be a positive number."),
    (["optimizer.lr=interval(-1,1)", "objective=loss"], "`optimizer.lr` must be a positive number."),
    (["optimizer.lrr=interval(0,1)", "objective=loss"], "`optimizer.lrr` must be a key of the config."),
    ([RATES, "objective=loss", "architecture.activation=tanh,tan"], "Did you mean `tanh`?"),
    ([RATES, "objective=loss", "optimizer.epochs=-1"], "`optimizer.epochs` must be between 1"),
    ([RATES, "objective=loss", "experiment=width"], "`experiment` must be left out with hydra/sweeper=optuna"),
    ([RATES, "objective=loss", "--dry-run"], "`--dry-run` must be left out with hydra/sweeper=optuna"),
]


@pytest.mark.parametrize(
    ("words", "told"), WRONG, ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else ""
)
def test_a_wrong_search_is_refused_in_a_sentence(words, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    typed = [word for word in OPTUNA if word.partition("=")[0] not in {each.partition("=")[0] for each in words}]
    assert main([*typed, *words]) == 2
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_statistic_that_the_runs_do_not_have_ends_the_search_with_its_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["task=xor", RATES, "objective=peak_distance", "hydra.sweeper.direction=minimize"]
    assert main([*OPTUNA, *words]) == 2
    assert "`objective` must be a metric of the runs. Got peak_distance." in capsys.readouterr().err


def test_an_objective_without_the_sweeper_says_what_is_missing(capsys):
    assert main(["run", "objective=loss"]) == 2
    assert "hydra/sweeper=optuna" in capsys.readouterr().err
