"""`nngeom measure FOLDER --model ... --data ...`: a user's own state_dicts, measured with a user's own file."""

import shutil

import pytest
import torch
from test_recorder import POINTS, flat_net, looped, recorder

from nngeom_cli import load_run
from nngeom_cli.cli.entry import main

FILE = """
import torch
from beside import SIZE
def make_model():
    return torch.nn.Sequential(torch.nn.Linear(2, SIZE), torch.nn.LayerNorm(6), torch.nn.Linear(6, 2))
def make_data():
    points = torch.rand(10, 2, generator=torch.Generator().manual_seed(2))
    return points, torch.arange(10) % 2
def broken():
    raise RuntimeError("no weights here")
def nothing():
    return None
def one():
    return torch.rand(10, 2), torch.rand(10)
def leaves():
    raise SystemExit
"""
OWN = ["--model", "net.py:make_model", "--data", "net.py:make_data", "--layer", "1"]
PATH = {"kind": "path", "steps": 3}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(FILE)
    (tmp_path / "beside.py").write_text("SIZE = 6")
    return tmp_path


@pytest.fixture
def recording(here):
    model = flat_net()
    options = {"inputs": POINTS, "labels": torch.arange(10) % 2, "layer": "1", "probe": PATH, "epochs": 3}
    looped(recorder(here / "recording", model, checkpoints=[1], **options), model, range(4))
    return load_run(here / "recording")


@pytest.fixture
def states(recording, here):
    """A user's own folder of the same states."""
    (here / "states").mkdir()
    for path in (recording.directory / "checkpoints").iterdir():
        shutil.copy(path, here / "states" / path.name.replace("epoch-00000", "net-v2-step"))
    return here / "states"


@pytest.mark.parametrize("folder", ["states", "recording"])
def test_saved_states_are_measured_as_they_were_in_the_loop(folder, states, recording, here, capsys):
    assert main(["measure", folder, *OWN, "probe=path", "probe.steps=3"]) == 0
    *drawn, last = capsys.readouterr().out.splitlines()
    run = load_run(last)
    assert run.status == "complete"
    assert run.geometry.drop_attrs().identical(recording.geometry.drop_attrs())
    assert run.info["measured_from"]["path"] == str(here / folder)
    assert any(line.startswith("figure ") for line in drawn)


def test_a_folder_may_have_any_name(states, here):
    states.rename(here / "lr=0.1 $x é")
    assert main(["measure", "lr=0.1 $x é", *OWN, "probe=path", "probe.steps=2", "hydra.run.dir=new $y='é"]) == 0
    assert load_run(here / "new $y='é").info["measured_from"]["path"] == str(here / "lr=0.1 $x é")


def test_it_can_be_finer_and_elsewhere(states, here):
    words = ["probe.kind=grid", "probe.resolution=3", "probe.checkpoints=[]", "--layer", "2", "hydra.run.dir=finer"]
    assert main(["measure", "states", *OWN, *words]) == 0
    geometry = load_run(here / "finer").geometry
    assert geometry.attrs["layer_names"] == "1\n2"
    assert geometry.epoch.values.tolist() == [0, 3]
    assert geometry.sizes["x"] == 3
    assert main(["measure", "states", *OWN, *words]) == 0  # as after an interruption: it is complete


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["states", "--model", "net.py:make_model"], "`--data` must be given with --model"),
        (["states", *OWN, "optimizer.lr=1"], "`optimizer.lr` must be left out with --model. Got 1."),
        (["states", *OWN, "hydra.run.dir=~/there"], "`hydra.run.dir` must be a path that needs no shell. Got ~/there"),
        (["states", *OWN[:1], "net.py:leaves", *OWN[2:]], "`--model` must name code that runs"),
        (["states", *OWN[:3], "net.py:leaves", *OWN[4:]], "`--data` must name code that runs"),
        (["missing", *OWN], "must be followed by one folder"),
        ([".", *OWN], "that of epoch 0 and others"),
        (["states", *OWN, "probe=plan"], "Did you mean"),
        (["states", *OWN, "probe.checkpoints=[2]"], "among the epochs that were saved, 0, 1, 3. Got [2]"),
        (["states", *OWN, "--layer", "fc"], "`--layer` must be a name of"),
        (["states", *OWN, "--layer", "1"], "`--layer` must be a name of"),
        (["states", *OWN, "hydra.run.dir=states"], "`hydra.run.dir` must be a new or empty folder"),
        (["states", *OWN, "--threshold", "nan"], "`--threshold` must be"),
        (["states", *OWN[:3], "net.py:one", *OWN[4:]], "`labels of --data` must be classes, integers from 0"),
        (["states", *OWN[:1], "net.py", *OWN[2:]], "`--model` must be FILE.py:FUNCTION"),
        (["states", *OWN[:1], "net.py:make", *OWN[2:]], "`--model` must be the name of a function in net.py"),
        (["states", *OWN[:1], "net.py:broken", *OWN[2:]], "Got RuntimeError: no weights here"),
        (["states", *OWN[:1], "net.py:nothing", *OWN[2:]], "`--model` must be a function that returns a module"),
        (
            ["states", *OWN[:3], "net.py:nothing", *OWN[4:]],
            "a function that returns inputs and labels",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_command_is_refused_in_a_sentence_and_leaves_nothing(words, told, states, here, capsys):
    before = sorted(path.name for path in here.iterdir())
    capsys.readouterr()
    assert main(["measure", *words]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert told in error
    assert sorted(path.name for path in here.iterdir()) == before


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"weight": torch.ones(2)}, "must be a state_dict of the model"),
        ([1], "must be a state_dict, or a list of them"),
    ],
)
def test_a_file_of_something_else_is_refused(content, told, states, here, capsys):
    torch.save(content, states / "net-v2-step7.pt")
    assert main(["measure", "states", *OWN]) == 2
    assert told in capsys.readouterr().err
    (states / "net-v2-step7.pt").write_bytes(b"import os")
    assert main(["measure", "states", *OWN]) == 2
    assert "must hold a state_dict" in capsys.readouterr().err
    assert not (here / "outputs").exists()


def test_states_in_safetensors_are_measured(states, recording, here, capsys):
    library = pytest.importorskip("safetensors.torch")
    for path in list(states.iterdir()):
        library.save_file(torch.load(path, weights_only=True), path.with_suffix(".safetensors"))
        path.unlink()
    assert main(["measure", "states", *OWN, "probe=path", "probe.steps=3"]) == 0
    run = load_run(capsys.readouterr().out.splitlines()[-1])
    assert run.geometry.drop_attrs().identical(recording.geometry.drop_attrs())
    (states / "net-v2-step3.safetensors").write_bytes(b"import os")
    assert main(["measure", "states", *OWN]) == 2
    assert "must hold a state_dict" in capsys.readouterr().err


@pytest.mark.parametrize(("typed", "threshold"), [([], 0.25), (["--threshold", "0"], 0)])
def test_a_recording_is_measured_with_its_threshold_unless_another_is_given(typed, threshold, here, capsys):
    (here / "net.py").write_text(FILE.replace("Linear(6, 2)", "Linear(6, 1)"))
    model = flat_net(outputs=1)
    options = {"inputs": POINTS, "labels": torch.arange(10) % 2, "layer": "1", "probe": PATH, "epochs": 1}
    looped(recorder(here / "recording", model, checkpoints=[], threshold=0.25, **options), model, range(2))
    assert main(["measure", "recording", *OWN, "probe=path", "probe.steps=3", *typed]) == 0
    assert load_run(capsys.readouterr().out.splitlines()[-1]).config["recorded"]["threshold"] == threshold
