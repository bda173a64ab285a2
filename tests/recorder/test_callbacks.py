"""The callbacks of docs/guide.md with the real libraries: Lightning, and the Trainer of Hugging Face."""

import re
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits

from nngeom_cli import Recorder, load_run

PAGE = Path(__file__).parents[2] / "docs" / "guide.md"
BLOCKS = re.findall(r"^```py\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
ON_LIGHTNING, ON_TRAINER = BLOCKS
# what the libraries say of machines without an accelerator, and of themselves
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What the page has defined before: few images, so that an epoch is short."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    images, classes = load_digits(return_X_y=True)
    inputs = torch.tensor(images[:60], dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    torch.manual_seed(0)
    return {"torch": torch, "Recorder": Recorder, "inputs": inputs, "labels": torch.tensor(classes[:60])}


def states(run):
    return [torch.load(path, weights_only=True) for path in sorted((run.directory / "checkpoints").iterdir())]


def test_the_callback_of_lightning_records_a_training(names):
    pytest.importorskip("lightning")
    exec(compile(ON_LIGHTNING, str(PAGE), "exec"), names)
    run = load_run("outputs/runs/lightning")
    assert (run.status, run.geometry.epoch.values.tolist()) == ("complete", [0, 5])
    before, after = states(run)
    assert all(torch.equal(after[name], value) for name, value in names["module"].net.state_dict().items())
    assert not torch.equal(before["0.weight"], after["0.weight"])
    assert (run.directory / "figures" / "path-layer-1.png").exists()


def test_a_training_of_lightning_that_continues_completes_the_recording(names):
    lightning = pytest.importorskip("lightning")
    exec(compile(ON_LIGHTNING.partition("with Recorder(")[0], str(PAGE), "exec"), names)
    module, quiet = names["module"], {"logger": False, "enable_progress_bar": False, "devices": 1}
    options = {"layer": "1", "probe": {"kind": "path", "steps": 2}, "epochs": 3, "checkpoints": [1], "figures": False}

    def trained(epochs, start=None):
        recorder = Recorder("recording", module.net, names["inputs"], names["labels"], **options)
        with recorder as record:
            trainer = lightning.Trainer(max_epochs=epochs, callbacks=[names["RecordEpochs"](record)], **quiet)
            trainer.fit(module, names["batches"], ckpt_path=start)
            trainer.save_checkpoint("last.ckpt")
        return record

    with pytest.warns(UserWarning, match="not complete. Not measured: epoch 3"):
        trained(1)
    assert trained(3, start="last.ckpt").measured == {0, 1, 3}
    assert load_run("recording").status == "complete"


def test_the_callback_of_the_trainer_records_a_model_of_transformers(names):
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    exec(compile(ON_TRAINER, str(PAGE), "exec"), names)
    run = load_run("outputs/runs/vit")
    assert (run.status, run.geometry.epoch.values.tolist()) == ("complete", [0, 3])
    before, after = states(run)
    trained = names["vit"].state_dict()
    assert all(torch.equal(after[f"model.{name}"], value.cpu()) for name, value in trained.items())
    assert not torch.equal(before["model.classifier.weight"], after["model.classifier.weight"])
    assert run.geometry.attrs["image_shape"].tolist() == [1, 8, 8]


def test_a_training_of_the_trainer_that_continues_completes_the_recording(names):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    exec(compile(ON_TRAINER.partition("arguments =")[0], str(PAGE), "exec"), names)
    vit, options = names["vit"], {"layer": "model.classifier", "epochs": 2, "checkpoints": [1], "figures": False}

    def trained(epochs, **start):
        path = {"kind": "path", "steps": 2}
        recorder = Recorder("recording", names["Logits"](vit), names["inputs"], names["labels"], probe=path, **options)
        with recorder as record:
            arguments = transformers.TrainingArguments(
                "trainer", num_train_epochs=epochs, save_strategy="epoch", report_to=[]
            )
            callbacks = [names["RecordEpochsOfTrainer"](record)]
            transformers.Trainer(vit, arguments, train_dataset=names["examples"], callbacks=callbacks).train(**start)
        return record

    with pytest.warns(UserWarning, match="not complete. Not measured: epoch 2"):
        trained(1)
    assert trained(2, resume_from_checkpoint=True).measured == {0, 1, 2}
    assert load_run("recording").status == "complete"
