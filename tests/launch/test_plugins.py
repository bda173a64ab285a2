"""What other packages add, when something is wrong with it or it is missing: one sentence, and nothing on disk."""

import sys

import pytest
from plugin_packages import visible, written

import nngeom_cli
from nngeom_cli.cli import main
from nngeom_cli.geometry import Activation, check_activation, get_activation
from nngeom_cli.plugins import PluginError, plugin_names

SMALL = ["optimizer.epochs=2", "replicates=1", "probe.checkpoints=[]", "device=cpu", "probe.resolution=4"]
SMALL += ["figures.draw=false"]
TASK = """
from dataclasses import dataclass
from typing import ClassVar

from nngeom_cli.config.task import TaskSection


@dataclass(frozen=True)
class Line(TaskSection, kind="{name}"):
    inputs: ClassVar[int] = 2
    outputs: ClassVar[int] = 2
    classes: ClassVar[int] = 2
    size: ClassVar[int] = {size}
    kept: ClassVar[int] = 0
    like: ClassVar[str] = "{like}"

    def make(self):
        import torch

        from nngeom_cli.tasks.task import Task

        {before}
        return Task("line", torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.{dtype}), torch.tensor({labels}), 2)
"""
SOUND = {"name": "line", "size": 2, "like": "moons", "before": "", "dtype": "float64", "labels": "[0, 1]"}
ACTIVATION = "from nngeom_cli.geometry import get_activation\n\nTANH = get_activation('tanh')\n"


def line(**changes):
    return TASK.format(**SOUND | changes)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs a package of one file in this process."""
    monkeypatch.chdir(tmp_path)
    entered = []

    def install(kind, name, attribute, text, package="nngeom-line", module="line_of_points"):
        folder = tmp_path / package
        written(folder, package, {kind: {name: f"{module}:{attribute}"}}, {f"{module}.py": text})
        entered.append(visible(folder))
        entered[-1].__enter__()
        return folder

    yield install
    for each in reversed(entered):
        each.__exit__(None, None, None)


def refused(words, capsys):
    """What is said of a command that exits with 2 and makes nothing."""
    assert main(["run", *words, *SMALL]) == 2
    assert not list(_outputs())
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    return said[0]


def _outputs():
    from pathlib import Path

    return Path("outputs").rglob("run.json")


WRONG = {
    "cannot be imported": ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
    "fails while it is imported": ("1 / 0", "ZeroDivisionError: division by zero"),
    "lacks the name": ("", "AttributeError: module 'line_of_points' has no attribute 'Line'"),
    "is no section": ("class Line: pass", "must be a dataclass of TaskSection"),
    "has another kind": (line(name="lines"), "must be a dataclass of TaskSection"),
    "makes no sizes": (line().replace("    size:", "    count:"), "must be a dataclass of TaskSection"),
    "has the name of ours": (line(name="xor"), "task xor is nngeom_cli.config.task.XorConfig already"),
    "fails when it is made": (line(before="raise OSError('no data')"), "OSError: no data"),
    "makes something else": (line(before="return 1"), "must make a `Task`. Got int"),
    "has other sizes": (line(size=3), "of (3, 2), (3,), 2. Got (2, 2), (2,), 2"),
    "has another dtype": (line(dtype="float32"), "finite inputs in float64. Got float32"),
    "has labels beyond its classes": (line(labels="[0, 2]"), "labels 0 to 1 in int64"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_task_that_is_wrong_is_named_in_a_sentence(what, package, capsys):
    text, expected = WRONG[what]
    package("task", "line", "Line", text)
    said = refused(["task=line"], capsys)
    assert expected in said
    assert "line_of_points:Line, entry point line in nngeom.tasks of the package nngeom-line 1.0" in said


def test_a_package_that_cannot_be_imported_breaks_no_other_run(package, capsys):
    package("task", "line", "Line", "1 / 0")
    package("activation", "curve", "CURVE", "1 / 0", "nngeom-curve", "curve_of_points")
    assert main(["run", "task=xor", *SMALL]) == 0
    assert main(["run", "--help"]) == 0
    assert "task: circles, csv, digits, line, moons" in capsys.readouterr().out
    assert not {"line_of_points", "curve_of_points"} & set(sys.modules)


def test_a_sound_task_runs_with_the_network_of_another(package):
    package("task", "line", "Line", line(like="spirals"))
    run = nngeom_cli.run(["task=line", *SMALL])
    assert (
        run.config["architecture"]["hidden"]
        == nngeom_cli.run(["task=spirals", *SMALL]).config["architecture"]["hidden"]
    )
    assert sorted(run.info["source"]) == ["probe", "task line", "training"]


def test_names_are_of_one_package(package, capsys):
    package("task", "line", "Line", line())
    package("task", "line", "Line", line(), "nngeom-other", "other_line")
    assert "Got nngeom-line 1.0 and nngeom-other 1.0. Uninstall all but one." in refused(["task=line"], capsys)


@pytest.mark.parametrize(("kind", "word"), [("task", "task=xor"), ("activation", "architecture.activation=tanh")])
def test_a_name_that_nngeom_has_is_refused(kind, word, package, capsys):
    name = word.partition("=")[2]
    package(kind, name, "THING", "THING = 1")
    said = refused([word], capsys)
    assert f"`{name}` must be the {kind} of nngeom alone." in said
    assert "nngeom-line 1.0" in said


def test_a_task_with_the_name_of_an_optimizer_is_refused(package, capsys):
    package("task", "adam", "Line", line(name="adam"))
    assert "must be a name that no optimizer has" in refused(["task=adam"], capsys)


def test_an_activation_that_is_none_is_named_in_a_sentence(package, capsys):
    package("activation", "curve", "CURVE", "CURVE = abs")
    said = refused(["architecture.activation=curve"], capsys)
    assert (
        "`curve` must be an `Activation` of that name. Got builtin_function_or_method from line_of_points:CURVE" in said
    )
    with pytest.raises(PluginError, match="nngeom-line"):
        get_activation("curve")
    assert main(["theory", "activation=curve"]) == 2
    assert "nngeom-line 1.0" in capsys.readouterr().err


def test_an_activation_has_the_name_of_its_entry_point(package, capsys):
    package("activation", "curve", "TANH", ACTIVATION)
    assert "Got Activation from line_of_points:TANH" in refused(["architecture.activation=curve"], capsys)


def test_misspelt_names_are_found_among_those_of_packages(package, capsys):
    package("task", "line", "Line", line())
    package("activation", "curve", "CURVE", "", "nngeom-curve", "curve_of_points")
    assert refused(["task=lime"], capsys).endswith("Did you mean `line`?")
    assert refused(["architecture.activation=curva"], capsys).endswith("Did you mean `curve`?")


def test_a_run_is_read_without_its_package(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "site", "nngeom-line", {"task": {"line": "line_of_points:Line"}}, {"line_of_points.py": line()})
    with visible(tmp_path / "site"):
        run = nngeom_cli.run(["task=line", *SMALL])
        run.feature_map(epoch=2, layer=1)
        capsys.readouterr()
    assert "line" not in plugin_names("task")
    missing = "task line of the package nngeom-line 1.0 is not"
    for command in ("summarize", "list", "figures", "report"):
        assert main([command, str(run.directory)]) == 0, command
        said = capsys.readouterr().err
        assert said.count(missing) == (command in ("figures", "report"))
    for command in ("resume", "measure"):
        assert main([command, str(run.directory)]) == 2, command
        assert missing in capsys.readouterr().err
    with pytest.raises(ValueError, match=missing):
        run.feature_map(epoch=2, layer=1)


def test_resuming_says_that_the_code_of_a_package_changed(package, capsys):
    folder = package("task", "line", "Line", line())
    run = nngeom_cli.run(["task=line", *SMALL])
    with (folder / "line_of_points.py").open("a") as file:
        file.write("# another line\n")
    assert main(["resume", str(run.directory), "optimizer.epochs=3"]) == 0
    assert "The code of task line has changed since the run began" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"first": lambda z: z}, "the same first derivative"),
        ({"derivatives": lambda z: (z, z)}, "the first derivative of its value"),
        ({"derivatives": lambda z: (2 * z, z)}, "the second derivative of its value"),
        ({"derivatives": lambda z: (2 * z, (2 * z)[:1])}, "of the shape and dtype of z"),
        ({"odd": True}, "a mirror image"),
    ],
)
def test_the_check_of_an_activation_finds_what_is_wrong(change, expected):
    square = {"value": lambda z: z**2, "first": lambda z: 2 * z, "odd": False}
    square["derivatives"] = lambda z: (2 * z, 2 + 0 * z)
    check_activation(Activation("square", **square))
    with pytest.raises(ValueError, match=expected):
        check_activation(Activation("square", **square | change))


@pytest.mark.parametrize("name", ["identity", "relu", "gelu", "silu", "sin", "monomial5", "arccosine2"])
def test_the_check_finds_nothing_wrong_with_ours(name):
    check_activation(get_activation(name))
