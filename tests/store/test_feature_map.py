"""From a saved run to the library: the feature map of a checkpoint measures what the run measured."""

import numpy as np
import pytest
import torch
from small_runs import config

from nngeom_cli import load_run
from nngeom_cli.errors import DamageError
from nngeom_cli.geometry import log_effective_volume_element, log_volume_element, ricci_scalar
from nngeom_cli.runs.run import run as train_and_measure
from nngeom_cli.store.checkpoints import read_weights

HIDDEN = [5, 4]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """`runs(**changes)` -> a saved run, made once."""
    known = {}

    def saved(**changes):
        key = str(sorted(changes.items()))
        if key not in known:
            known[key] = tmp_path_factory.mktemp("run")
            settings = {"architecture__hidden": HIDDEN, "probe__layers": [1, 2], "optimizer__epochs": 5} | changes
            train_and_measure(config(**settings), known[key], command="")
        return load_run(known[key])

    return saved


@pytest.mark.parametrize("layer", [1, 2])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("output_scale", [None, 10.0])
@pytest.mark.parametrize("parametrization", ["standard", "ntk"])
def test_a_feature_map_of_a_saved_run_gives_what_the_run_measured(runs, parametrization, output_scale, dtype, layer):
    run = runs(architecture__parametrization=parametrization, architecture__output_scale=output_scale, dtype=dtype)
    measured = run.geometry.sel(epoch=5, layer=layer)
    points = np.stack(np.meshgrid(measured.x, measured.y), axis=-1)
    x = torch.tensor(points, dtype=getattr(torch, dtype))
    feature_map = run.feature_map(5, layer)
    volume, R = log_volume_element(feature_map, x).numpy(), ricci_scalar(feature_map, x).numpy()
    assert np.allclose(volume, measured.log_volume_element, rtol=1e-5, equal_nan=True)
    assert np.array_equal(np.isnan(R), np.isnan(measured.ricci_scalar))
    assert np.all(np.nan_to_num(abs(R - measured.ricci_scalar)) <= np.nan_to_num(measured.ricci_scalar_error))


def test_a_feature_map_has_all_replicates_in_their_order(runs):
    run, alone = runs(), runs(seed=4, replicates=1)
    x = torch.rand(3, 7, 2, dtype=torch.float64)
    assert ricci_scalar(run.feature_map(5, 1), x).shape == (2, 3, 7)
    assert run.geometry.replicate.values.tolist() == [3, 4]
    assert torch.equal(log_volume_element(run.feature_map(5, 2), x)[1:], log_volume_element(alone.feature_map(5, 2), x))


def test_a_feature_map_of_a_path_gives_the_effective_volume_that_was_measured(runs):
    probe = {
        "kind": "path",
        "layers": [1],
        "checkpoints": [0],
        "pairs": [[0, 1]],
        "endpoints": "class",
        "top_k": 2,
        "steps": 6,
    }
    run = runs(probe=probe)
    measured = run.geometry.sel(epoch=0, layer=1, pair=0)
    start, end = torch.tensor(measured.endpoint.values)
    x = start + torch.linspace(0, 1, 7, dtype=torch.float64)[:, None] * (end - start)
    volume = log_effective_volume_element(run.feature_map(0, 1), x, top_k=2)
    assert np.allclose(volume, measured.log_effective_volume_element)


def test_the_output_is_the_layer_past_the_last_hidden_one(runs):
    run, x = runs(), torch.zeros(1, 2, dtype=torch.float64)
    weights = run.parameters(5)[2]
    expected = weights[:, :, :-1] @ run.feature_map(5, 2)(x).mT * 2 + weights[:, :, -1:]  # 2: the root of the width
    assert torch.allclose(run.feature_map(5, 3)(x), expected)


@pytest.mark.parametrize(
    ("epoch", "layer", "scale", "kind", "sentence"),
    [
        (7, 1, None, FileNotFoundError, r"`epoch` must be one that was saved\. Got 7\. Choose from 0, 5\."),
        (5, 4, None, ValueError, r"`layer` must be 1, 2 or 3 \(3 is the output\)\. Got 4\."),
        (5, 0, None, ValueError, r"`layer` must be 1, 2 or 3 \(3 is the output\)\. Got 0\."),
        (5, 3, 10.0, ValueError, r"`layer` must be 1 or 2 \(hidden\)\. Got 3\."),
        ("5", 1, None, FileNotFoundError, r"`epoch` must be one that was saved\. Got 5\. Choose from 0, 5\."),
        (None, 1, None, FileNotFoundError, r"`epoch` must be one that was saved\. Got null\. Choose from 0, 5\."),
    ],
)
def test_an_epoch_or_layer_that_is_not_there_is_a_sentence_with_those_that_are(
    runs, epoch, layer, scale, kind, sentence
):
    with pytest.raises(kind, match=sentence):
        runs(architecture__output_scale=scale).feature_map(epoch, layer)


def test_the_epochs_and_layers_of_what_was_measured_can_be_gone_through(runs):
    run = runs()
    for epoch in run.geometry.epoch:
        for layer in run.geometry.layer:
            measured = run.geometry.log_volume_element.sel(epoch=epoch, layer=layer)
            volume = log_volume_element(
                run.feature_map(epoch, layer), [run.geometry.x[0].item(), run.geometry.y[0].item()]
            )
            assert np.allclose(volume, measured[:, 0, 0])


def test_the_example_of_feature_map_runs(runs):
    run = runs(optimizer__epochs=6, probe__layers=[1], probe__checkpoints=[0])
    (last,) = (line for line in type(run).feature_map.__doc__.splitlines() if "ricci_scalar(" in line)
    call = last.partition(">>> ")[2].partition("#")[0].replace("2000", "6")
    assert eval(call, {"run": run, "ricci_scalar": ricci_scalar}) == (2,)


def test_a_run_without_checkpoints_says_so(runs, tmp_path):
    (tmp_path / "run.json").write_bytes((runs().directory / "run.json").read_bytes())
    with pytest.raises(FileNotFoundError, match=r"Got 5\. The run has no checkpoints\.$"):
        load_run(tmp_path, verify=False).parameters(5)


@pytest.mark.parametrize("arrays", [{"a": 1.0}, {"weights.0": 1.0}, {"weights.1": np.ones((2, 3, 4))}], ids=str)
def test_arrays_that_are_no_weights_are_damage(tmp_path, arrays):
    np.savez(tmp_path / "epoch.npz", **arrays)
    with pytest.raises(DamageError, match="must hold a checkpoint"):
        read_weights(tmp_path / "epoch.npz")
