"""`Recorder`: a model in a user's own loop, measured as scheduled, left alone, resumed after any end."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from nngeom_cli import Recorder, load_run
from nngeom_cli.cli.entry import main
from nngeom_cli.errors import ConfigError
from nngeom_cli.geometry import ModuleFeatureMap, log_effective_volume_element, ricci_scalar
from nngeom_cli.store.run_directory import RunDirectory

PLANE = {"kind": "plane", "resolution": 3}
X = torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(1))
Y = torch.arange(12) % 3


class Sine(torch.nn.Module):
    def forward(self, x):
        return torch.sin(3 * x)


def small_net(seed=0, outputs=3):
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3), Sine(), torch.nn.Flatten(),
        torch.nn.Linear(12, 5), torch.nn.LayerNorm(5), torch.nn.Linear(5, outputs),
    )  # fmt: skip


def flat_net(seed=0, outputs=2):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.LayerNorm(6), torch.nn.Linear(6, outputs))


POINTS = torch.rand(10, 2, generator=torch.Generator().manual_seed(2))


def trained(model):
    """One epoch, from a generator of its own."""
    model.train()
    for values in model.parameters():
        values.data.mul_(0.9)
    model(X if model[0].weight.ndim == 4 else POINTS)


def recorder(directory, model=None, **options):
    settings = {"layer": "4", "probe": PLANE, "epochs": 6, "checkpoints": [2], "figures": False} | options
    return Recorder(directory, model or small_net(), settings.pop("inputs", X), settings.pop("labels", Y), **settings)


def looped(record, model, epochs=range(7), **scores):
    with record:
        for epoch in epochs:
            if epoch:
                trained(model)
            record(epoch, **scores)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A recording that was never interrupted."""
    directory, model = tmp_path_factory.mktemp("recorded") / "whole", small_net()
    looped(recorder(directory, model), model, loss=0.5)
    return load_run(directory)


def assert_same(run, whole):
    assert run.status == whole.status == "complete"
    assert run.geometry.drop_attrs().identical(whole.geometry.drop_attrs())
    assert (run.directory / "history.csv").read_bytes() == (whole.directory / "history.csv").read_bytes()


def test_it_measures_where_the_schedule_says_and_writes_a_run(whole):
    assert whole.geometry.epoch.values.tolist() == [0, 2, 6]
    assert whole.geometry.attrs["layer_names"] == "4"
    assert whole.geometry.attrs["widths"].tolist() == [16, 5, 3]
    assert whole.history.epoch.tolist() == list(range(7))
    assert whole.history.loss.tolist() == [0.5] * 7
    assert [row["replicate"] for row in whole.replicates] == [0]
    assert sorted(path.name for path in (whole.directory / "checkpoints").iterdir()) == [
        f"epoch-{epoch:06d}.pt" for epoch in (0, 2, 6)
    ]


def test_what_it_writes_is_the_geometry_of_the_saved_state(whole):
    model = small_net()
    model.load_state_dict(torch.load(whole.directory / "checkpoints" / "epoch-000002.pt", weights_only=True))
    feature_map = ModuleFeatureMap(model, "4", (1, 4, 4))
    here = whole.geometry.sel(epoch=2, layer=1, replicate=0, plane=0).isel(x=2, y=1)
    corners = torch.from_numpy(whole.geometry.corner.values[0])
    across = corners[1] - corners[0]
    first = across / across.norm()
    second = (corners[2] - corners[0]) - ((corners[2] - corners[0]) @ first) * first
    plane = torch.stack([first, second / second.norm()])
    place = torch.tensor([float(here.x), float(here.y)], dtype=torch.float64)
    R = ricci_scalar(feature_map.restricted_to(corners.mean(dim=0), plane), place)
    assert float(here.ricci_scalar) == pytest.approx(R.item(), rel=1e-6)
    x = corners.mean(dim=0) + place @ plane
    volume = log_effective_volume_element(feature_map, x, whole.geometry.attrs["top_k"])
    assert float(here.log_effective_volume_element) == pytest.approx(volume.item(), rel=1e-9)
    outputs = model.double().eval()(x.reshape(1, 1, 4, 4))[0].detach()
    assert int(here.predicted_class) == int(outputs.argmax())
    assert float(here.margin) == pytest.approx(float(outputs.topk(2).values.diff().abs()), rel=1e-9)


def test_the_model_its_mode_and_the_random_numbers_are_left_alone(tmp_path):
    model = small_net().train()
    before = {name: values.clone() for name, values in model.state_dict().items()}
    state = torch.get_rng_state()
    with pytest.warns(UserWarning, match="not complete"), recorder(tmp_path / "run", model) as record:
        assert record(0)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())
    assert {values.dtype for values in model.parameters()} == {torch.float32}


def test_other_commands_take_it(whole, tmp_path, capsys):
    assert main(["figures", str(whole.directory), "figures.band=0.3"]) == 0
    assert main(["summarize", str(whole.directory)]) == 0
    assert "\nwhole  1 " in capsys.readouterr().out
    for words in (["resume"], ["run", "--from"], ["measure"]):
        assert main([*words, str(whole.directory)]) == 2
        assert "Run the script again that wrote it" in capsys.readouterr().err
    with pytest.raises(ValueError, match="weights_only=True"):
        whole.parameters(2)


def test_a_grid_of_two_inputs_has_pictures_and_a_film(tmp_path, capsys):
    model = flat_net()
    record = recorder(
        tmp_path / "flat", model, inputs=POINTS, labels=torch.arange(10) % 2, layer=["1", ""],
        probe={"kind": "grid", "resolution": 4}, epochs=2, checkpoints="linear 2", figures=True,
    )  # fmt: skip
    looped(record, model, range(3))
    assert [path.name for path in record.figures] == ["grid-layer-1.png", "grid-layer-2.png"]
    assert main(["animate", str(tmp_path / "flat")]) == 0
    run = load_run(tmp_path / "flat")
    assert run.geometry.attrs["layer_names"] == "1\n"
    assert "flat" in run.geometry.attrs["task"]


@pytest.mark.parametrize(("points", "count"), [(5, 5), ("all", 12)])
def test_the_examples_themselves_can_be_measured(points, count, tmp_path):
    probe = {"kind": "data", "points": points}
    with recorder(tmp_path / "run", probe=probe, epochs=1, checkpoints=[], figures=True) as record:
        record(0)
        record(1)
    geometry = load_run(tmp_path / "run").geometry
    assert geometry.sizes["point"] == count
    assert geometry.attrs["top_k"] == 5
    assert record.figures


def test_several_models_are_replicates(tmp_path):
    models = [small_net(seed) for seed in (0, 1)]
    with recorder(tmp_path / "two", models, epochs=1, checkpoints=[], seed=5) as record:
        for epoch in range(2):
            record(epoch, loss=[torch.tensor(0.5, requires_grad=True), 0.25], accuracy=torch.tensor([0.75, 1.0]))
    run = load_run(tmp_path / "two")
    assert run.geometry.replicate.values.tolist() == [5, 6]
    assert run.history.query("epoch == 1").loss.tolist() == [0.5, 0.25]
    assert [row["solved"] for row in run.replicates] == [False, True]
    states = torch.load(tmp_path / "two" / "checkpoints" / "epoch-000001.pt", weights_only=True)
    assert [set(state) for state in states] == [set(model.state_dict()) for model in models]
    alone = recorder(tmp_path / "one", models[1], epochs=1, checkpoints=[])
    with alone as record:
        record(0)
        record(1)
    difference = load_run(tmp_path / "one").geometry.isel(replicate=0) - run.geometry.isel(replicate=1)
    assert float(abs(difference.log_volume_element).max()) < 1e-12


def test_loss_and_accuracy_are_measured_where_they_are_not_given(tmp_path):
    model = small_net()
    with recorder(tmp_path / "run", model, epochs=2, checkpoints=[]) as record:
        record(0)
        record(1, loss=7.0)
        record(2, accuracy=0.5)
    history = load_run(tmp_path / "run").history.set_index("epoch")
    outputs = model.double().eval()(X.double()).detach()
    assert history.loss[0] == pytest.approx(float(torch.nn.functional.cross_entropy(outputs, Y)), rel=1e-9)
    assert history.accuracy[0] == pytest.approx(float((outputs.argmax(dim=1) == Y).double().mean()))
    assert history.loss[1] == 7.0
    assert np.isnan(history.accuracy[1])
    assert history.accuracy[2] == 0.5


def test_a_single_output_is_compared_with_the_threshold(tmp_path):
    model = small_net(outputs=1)
    with recorder(tmp_path / "run", model, labels=Y % 2, epochs=1, checkpoints=[], threshold=0.1) as record:
        record(0)
        record(1)
    here = load_run(tmp_path / "run").geometry.sel(epoch=0, replicate=0, plane=0)
    assert ((here.margin > 0) == here.predicted_class).all()


def test_float32_is_measured_as_it_is_if_asked_for(tmp_path):
    with recorder(tmp_path / "run", dtype=None, epochs=1, checkpoints=[]) as record:
        record(0)
        record(1)
    assert load_run(tmp_path / "run").config["dtype"] == "float32"


def test_colours_and_greys_are_drawn_as_images(tmp_path, monkeypatch):
    from nngeom_cli.figures import image

    shapes, draw = set(), image.as_image
    monkeypatch.setattr(image, "as_image", lambda *given: shapes.add(draw(*given).shape) or draw(*given))
    for channels in (1, 2, 3):
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16 * channels, 4), torch.nn.LayerNorm(4))
        record = recorder(
            tmp_path / f"{channels}", model, inputs=X.repeat(1, channels, 1, 1), layer="2",
            epochs=1, checkpoints=[], figures=True,
        )  # fmt: skip
        with record:
            record(0)
            record(1)
    assert shapes == {(4, 4), (4, 4, 3)}


@pytest.mark.parametrize("stop", [RuntimeError("no memory"), KeyboardInterrupt()])
@pytest.mark.parametrize("after", [0, 3, 5])
def test_one_that_was_stopped_is_completed_by_a_second_process(after, stop, whole, tmp_path):
    model = small_net()
    with pytest.raises(type(stop)), recorder(tmp_path / "run", model) as record:  # noqa: PT012
        for epoch in range(7):
            if epoch:
                trained(model)
            record(epoch, loss=0.5)
            if epoch == after:
                raise stop
    assert load_run(tmp_path / "run").status in ("failed", "interrupted")
    again, model = recorder(tmp_path / "run", small_net()), small_net()
    again = recorder(tmp_path / "run", model)
    looped(again, model, loss=0.5)
    assert_same(load_run(tmp_path / "run"), whole)


def test_the_loop_may_go_on_from_its_own_checkpoint(whole, tmp_path):
    model = small_net()
    with pytest.warns(UserWarning, match="Not measured: epoch 6"):
        looped(recorder(tmp_path / "run", model), model, range(5), loss=0.5)
    assert load_run(tmp_path / "run").status == "interrupted"
    record = recorder(tmp_path / "run", model)
    with record:
        assert record.measured == {0, 2}
        for epoch in (5, 6):
            trained(model)
            record(epoch, loss=0.5)
    run = load_run(tmp_path / "run")
    assert run.geometry.drop_attrs().identical(whole.geometry.drop_attrs())


def test_other_parameters_than_those_that_were_measured_are_refused(whole, tmp_path):
    model = small_net(seed=1)
    with pytest.warns(UserWarning, match="not complete"):
        looped(recorder(tmp_path / "run"), small_net(), range(1))
    with pytest.raises(ConfigError, match="must be given the model that was measured"):
        looped(recorder(tmp_path / "run", model), model, range(1))


def test_a_complete_recording_is_only_compared(whole, tmp_path):
    before = (whole.directory / "run.json").read_bytes()
    model = small_net()
    looped(recorder(whole.directory, model), model, loss=0.5)
    assert (whole.directory / "run.json").read_bytes() == before


@pytest.mark.parametrize("file", ["geometry/epoch-000002.nc", "checkpoints/epoch-000006.pt"])
def test_what_is_damaged_is_measured_again(file, whole, tmp_path):
    model = small_net()
    looped(recorder(tmp_path / "run", model), model, loss=0.5)
    (tmp_path / "run" / file).write_bytes(b"damaged")
    model = small_net()
    looped(recorder(tmp_path / "run", model), model, loss=0.5)
    assert_same(load_run(tmp_path / "run"), whole)


def test_after_kill_9_the_second_process_completes_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        import os, sys
        import torch
        from nngeom_cli import Recorder
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.LayerNorm(6), torch.nn.Linear(6, 2))
        points = torch.rand(10, 2)
        with Recorder("run", model, points, torch.arange(10) % 2, layer="1", epochs=4, checkpoints=[1, 2],
                      probe={"kind": "path", "steps": 3}, figures=False) as record:
            for epoch in range(5):
                if epoch:
                    model[0].weight.data.mul_(0.9)
                record(epoch)
                if epoch == 2 and sys.argv[1:]:
                    os.kill(os.getpid(), 9)
        """)
    )
    surroundings = os.environ | {"OMP_NUM_THREADS": "1"}
    killed = subprocess.run([sys.executable, script, "kill"], cwd=tmp_path, env=surroundings, check=False)
    assert killed.returncode == -signal.SIGKILL
    run = load_run(tmp_path / "run")
    assert run.status == "interrupted"
    assert run.geometry.epoch.values.tolist() == [0, 1, 2]
    subprocess.run([sys.executable, script], cwd=tmp_path, env=surroundings, check=True)
    assert load_run(tmp_path / "run").geometry.epoch.values.tolist() == [0, 1, 2, 4]
    assert load_run(tmp_path / "run").status == "complete"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"model": torch.relu}, "`model` must be a torch.nn.Module"),
        ({"inputs": torch.rand(12)}, "`inputs` must be examples"),
        ({"inputs": "no"}, "`inputs` must be a tensor or an array"),
        ({"inputs": X * float("nan")}, "`inputs` must be finite"),
        ({"inputs": torch.utils.data.TensorDataset(X, Y)}, "next(iter(DataLoader("),
        ({"labels": np.array(["cat", "dog", "owl"])[Y]}, "return_inverse=True"),
        ({"labels": torch.eye(3)[Y]}, "labels.argmax(1)"),
        ({"layer": 4}, "`layer` must be a name"),
        ({"checkpoints": 5}, "`checkpoints` must be log N, linear N or a list of epochs. Got 5"),
        ({"checkpoints": [0.5]}, "`checkpoints` must be log N"),
        ({"labels": Y[:5]}, "`labels` must be one class for each of the 12 inputs"),
        ({"labels": Y - 1}, "`labels` must be classes"),
        ({"labels": Y + 0.5}, "`labels` must be classes"),
        ({"labels": Y + 1}, "`labels` must be at most 2, as the model has 3 outputs"),
        ({"layer": []}, "`layer` must be a name"),
        ({"layer": ["4", "4"]}, "`layer` must be a name"),
        ({"layer": "fc"}, "layer"),
        ({"epochs": 0}, "`optimizer.epochs` must be between 1"),
        ({"epochs": 2.5}, "`optimizer.epochs` must be an integer"),
        ({"checkpoints": [9]}, "`checkpoints` must be at most 6, the last epoch"),
        ({"checkpoints": "often"}, "`probe.checkpoints` must be"),
        ({"probe": "plan"}, "`probe` must be"),
        ({"probe": {"resolution": 4}}, "`probe.resolution`"),
        ({"probe": {"kind": "plane", "layers": [1]}}, "`probe.layers` must be left out"),
        ({"probe": {"kind": "plane", "resolutoin": 4}}, "Did you mean"),
        ({"probe": {"kind": "plane", "top_k": 9}}, "`probe.top_k` must be at most 5"),
        ({"probe": {"kind": "plane", "triples": [[0, 1, 9]]}}, "`probe.triples` must be triples of classes, 0 to 2"),
        ({"probe": "grid"}, "`probe` must be path, geodesic, plane or data"),
        ({"probe": {"kind": "data", "split": "test"}}, "`probe.split` must be train"),
        ({"dtype": torch.float16}, "dtype"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_argument_is_refused_before_anything_is_written(changed, told, tmp_path):
    with pytest.raises((ValueError, TypeError)) as caught:
        recorder(tmp_path / "run", **changed)
    assert told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"layer": "5"}, "`recorded.layers` must be [4], as in the recording"),
        ({"probe": PLANE | {"resolution": 5}}, "`probe.resolution` must be 3, as in the recording"),
        ({"inputs": X + 1}, "`recorded.data` must be"),
        ({"epochs": 9}, "`optimizer.epochs` must be 6"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_recording_in_the_same_directory_is_refused(changed, told, whole):
    before = sorted(path.name for path in whole.directory.iterdir())
    with pytest.raises(ConfigError) as caught, recorder(whole.directory, name="whole", **changed):
        pass
    assert told in str(caught.value)
    assert sorted(path.name for path in whole.directory.iterdir()) == before


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="must be a new or empty folder"), recorder(tmp_path):
        pass
    with pytest.raises(ConfigError, match="must be a path that needs no shell"):
        recorder("~/there")
    RunDirectory(tmp_path / "run", {"config": {"optimizer": {}}}).update(status="complete")
    with pytest.raises(ConfigError, match="must be a recording"), recorder(tmp_path / "run"):
        pass
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "complete"


def test_calls_in_the_wrong_place_are_refused(tmp_path):
    record = recorder(tmp_path / "run")
    with pytest.raises(ConfigError, match="inside"):
        record(0)
    with pytest.raises(ConfigError, match="`epoch` must be an integer from 0 to 6"), record:
        record(7)
    with pytest.raises(ConfigError, match="`loss` must be one number"), recorder(tmp_path / "other") as record:
        record(0, loss=[1, 2])


def test_two_processes_cannot_record_into_one_directory(tmp_path):
    first = recorder(tmp_path / "run")
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_recorder import recorder
try:
    recorder({str(tmp_path / "run")!r}).__enter__()
except ValueError as error:
    print(error)
"""
    with pytest.warns(UserWarning, match="not complete"), first:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "one writer at a time" in done.stdout


def test_a_single_output_with_threshold_0_is_a_logit(tmp_path):
    model, labels = small_net(outputs=1), Y % 2
    with recorder(tmp_path / "run", model, labels=labels, epochs=1, checkpoints=[], threshold=0) as record:
        record(0)
        record(1)
    run = load_run(tmp_path / "run")
    logits = model.double().eval()(X.double())[:, 0].detach()
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels.double())
    assert run.history.loss[0] == pytest.approx(float(loss), rel=1e-9)
    here = run.geometry.sel(epoch=0, replicate=0, plane=0)
    assert (here.entropy > 0.1).all()  # a logit near 0 is a probability near 1/2
    probability = 1 / (1 + np.exp(-here.margin))
    expected = -probability * np.log(probability) - (1 - probability) * np.log(1 - probability)
    np.testing.assert_allclose(here.entropy, expected, rtol=1e-9)


def test_another_threshold_is_another_recording(tmp_path):
    model = small_net(outputs=1)
    options = {"labels": Y % 2, "epochs": 1, "checkpoints": []}
    with recorder(tmp_path / "run", model, threshold=0.1, **options) as record:
        record(0)
        record(1)
    with pytest.raises(ValueError, match=r"`recorded.threshold` must be 0.1, as in the recording"):
        recorder(tmp_path / "run", model, threshold=0.2, **options).__enter__()


def test_epochs_may_be_integers_of_numpy(tmp_path):
    with recorder(tmp_path / "run", epochs=1, checkpoints=[]) as record:
        assert [record(epoch) for epoch in np.arange(2)] == [True, True]
    assert load_run(tmp_path / "run").status == "complete"


def test_the_feature_map_of_a_recording_is_that_of_the_users_model(whole):
    with pytest.raises(ValueError, match=r"epoch-000006.pt' into your model, and take ModuleFeatureMap"):
        whole.feature_map(epoch=6, layer=1)


@pytest.mark.parametrize("loss", ["0.5", [0.5, [0.5]], [0.5, 0.5], {"train": 0.5}, []], ids=str)
def test_a_loss_that_is_no_number_is_refused_in_a_sentence(loss, tmp_path):
    with pytest.raises(ValueError, match="`loss` must be one number"), recorder(tmp_path / "run") as record:
        record(0, loss=loss)


@pytest.mark.filterwarnings("ignore:The feature map uses:UserWarning")
def test_the_prediction_is_a_layer_of_a_recording_if_the_outputs_are_logits(tmp_path):
    model = flat_net(outputs=1)
    options = {"layer": ["1", "prediction"], "inputs": POINTS, "labels": Y[:10] % 2, "epochs": 1, "checkpoints": []}
    grid = {"kind": "grid", "resolution": 3}
    with pytest.raises(ConfigError, match=r"`layer` must be .* no logit. Got prediction. A logit has threshold=0"):
        recorder(tmp_path / "run", model, probe=grid, **options)
    looped(recorder(tmp_path / "run", model, probe=grid, threshold=0.0, **options), model, range(2))
    last = load_run(tmp_path / "run").geometry.isel(epoch=-1, replicate=0)
    assert last.layer.values.tolist() == [1, 3]
    x = torch.tensor([last.x.values[1], last.y.values[2]]).requires_grad_()
    logit = model.double().eval()(x[None])[0, 0]
    (slope,) = torch.autograd.grad(logit, x)
    p = torch.sigmoid(logit)
    expected = (p * (1 - p)).log() / 2 + slope.norm().log()
    assert last.log_volume_element.sel(layer=3)[2, 1].item() == pytest.approx(expected.item(), abs=1e-9)
    assert recorder(tmp_path / "alone", flat_net(), probe=grid, **options | {"layer": "prediction"}).due == [0, 1]
