"""The example in the help of each command is what the command prints, but for numbers and the lengths of columns."""

import re
import shlex
import shutil
import sys

import pytest

from nngeom_cli.cli.entry import COMMANDS, main

SHORT = ["optimizer.epochs=20", "probe.checkpoints=[]", "probe.resolution=10"]
NUMBER = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")
STRONGEST = re.compile(r"\((untrained|other|mirrored|rotated)\)")  # which control it is follows from the numbers


def help_of(command, capsys):
    assert main([command, "--help"]) == 0
    return capsys.readouterr().out


def examples(text):
    """Each command that is shown, with the lines that follow it."""
    for _, command, output in re.findall(r"^( +)\$ (.*)((?:\n(?:\1.*)?)*)", text, re.MULTILINE):
        yield shlex.split(command), [line.strip() for line in output.splitlines() if line.strip()]


def shape(lines, folder):
    """The words of lines, without numbers: how a table is cut depends on how long those are."""
    plain = (NUMBER.sub("N", STRONGEST.sub("", line.replace(f"{folder}/", "/home/ada/"))) for line in lines)
    words = (word for line in plain for word in line.split())
    return sorted(word for word in words if re.search("[a-z]{2}", word) and word not in ("run", "xor", "min"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of the example of `run`."""
    folder = tmp_path_factory.mktemp("examples")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["run", "task=xor", "hydra.run.dir=xor", *SHORT]) == 0
        wide = ["architecture.hidden=[16]", "figures.draw=false", "hydra.run.dir=wide"]
        assert main(["run", "task=xor", *wide, *SHORT]) == 0
    return folder


@pytest.fixture
def here(made, tmp_path):
    """A copy of it, in which one of the other examples goes on."""
    return shutil.copytree(made, tmp_path / "examples")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_has_an_example_of_it(command, capsys):
    (((program, shown, *_), output),) = examples(help_of(command, capsys))
    assert (program, shown) == ("nngeom", command)
    assert output


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in ("reproduce", "watch")])
def test_the_example_of_a_command_prints_what_its_help_shows(command, here, monkeypatch, capsys):
    monkeypatch.chdir(here)
    (((_, *words), shown),) = examples(help_of(command, capsys))
    if command == "run":
        words = [word.replace("hydra.run.dir=xor", "hydra.run.dir=again") for word in words] + SHORT
        shown = [line.replace("/xor", "/again") for line in shown]
    words = [re.sub(r"^optimizer\.epochs=2500", "optimizer.epochs=30", word) for word in words]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    assert main(words) == 0
    assert shape(capsys.readouterr().out.splitlines(), here) == shape(shown, here)
