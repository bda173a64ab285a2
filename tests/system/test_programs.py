"""What other programs, and Python itself, find in the folder that one stands in."""

import os
import stat
import subprocess
import sys

import pytest

from nngeom_cli.runs import provenance
from nngeom_cli.system.programs import clean_environment, output_of, program

PRINT = "#!/bin/sh\nenv\n"


def made(path, script=PRINT):
    path.write_text(script)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.parametrize("path", ["", ".", "bin", "./bin", ":", "bin:."])
def test_a_program_is_not_taken_from_a_folder_that_is_named_by_where_one_stands(tmp_path, monkeypatch, path):
    (tmp_path / "bin").mkdir()
    made(tmp_path / "tool")
    made(tmp_path / "bin" / "tool")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", path)
    assert program("tool") is None
    assert output_of("tool") is None
    monkeypatch.setenv("PATH", f"{path}:{tmp_path / 'bin'}")
    assert program("tool") == str(tmp_path / "bin" / "tool")


def test_a_program_gets_a_few_variables_only(tmp_path, monkeypatch):
    made(tmp_path / "tool", "#!/bin/sh\n/usr/bin/env\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LD_LIBRARY_PATH", f":relative:{tmp_path}")
    for name in ("LD_PRELOAD_", "GIT_DIR", "BASH_ENV", "PYTHONSTARTUP"):
        monkeypatch.setenv(name, "mine")
    said = output_of("tool", GIVEN="too")
    assert said is not None
    found = dict(line.split("=", 1) for line in said.splitlines())
    assert found["PATH"] == str(tmp_path)
    assert found["LD_LIBRARY_PATH"] == str(tmp_path)
    assert (found["GIVEN"], found["LC_ALL"]) == ("too", "C")
    assert "mine" not in found.values()
    with clean_environment():
        assert "GIT_DIR" not in os.environ
    assert os.environ["GIT_DIR"] == "mine"


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 3\n", "#!/nowhere\n", "\x00"])
def test_a_program_that_fails_says_nothing(tmp_path, monkeypatch, script):
    made(tmp_path / "tool", script)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert output_of("tool") is None


@pytest.mark.skipif(program("git") is None, reason="git is not installed")
@pytest.mark.parametrize("key", ["core.fsmonitor", "core.hooksPath"])
def test_git_starts_nothing_that_a_repository_names(tmp_path, monkeypatch, key):
    package = tmp_path / "nngeom_cli"
    package.mkdir()
    (package / "provenance.py").touch()
    (tmp_path / "hooks").mkdir()
    for name in ("hook", "hooks/post-index-change"):
        made(tmp_path / name, f"#!/bin/sh\ntouch {tmp_path / 'called'}\n")
    value = tmp_path / ("hook" if key == "core.fsmonitor" else "hooks")
    alone = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    user = ["-c", "user.name=a", "-c", "user.email=b"]
    for words in (["init"], ["add", "."], [*user, "commit", "-m", "x"], ["config", key, str(value)]):
        subprocess.run(["git", *words], cwd=tmp_path, env=alone, check=True, capture_output=True)
    (package / "provenance.py").write_text("changed")
    monkeypatch.setattr(provenance, "__file__", str(package / "runs" / "provenance.py"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    found = provenance.git_commit()
    assert found is not None
    assert (len(found["commit"]), found["dirty"]) == (40, True)
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize("module", ["", ".animation"])  # the package comes before any module of it
def test_a_matplotlibrc_of_the_folder_is_not_read(tmp_path, module):
    (tmp_path / "matplotlibrc").write_text("font.size: 77\nanimation.ffmpeg_path: ./evil\n")
    code = f"import sys; sys.path = [*filter(None, sys.path)]; import nngeom_cli.figures{module}, matplotlib, os; "
    code += "print(matplotlib.rcParams['font.size'], matplotlib.rcParams['animation.ffmpeg_path'], os.getcwd())"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["10.0", "ffmpeg", str(tmp_path)]


def test_a_command_that_nngeom_starts_imports_nothing_from_the_folder(tmp_path):
    from nngeom_cli.reproduction.reproduce import COMMAND

    for name in ("random", "json", "gc", "argparse"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(77)\n")
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "--version"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout[:7]) == (0, "nngeom ")


@pytest.mark.parametrize("path", [".", "", ".:{}:", "bin::{}"])
def test_a_process_of_our_own_starts_no_program_of_the_folder_that_it_stands_in(path, tmp_path, monkeypatch):
    """Matplotlib looks for fonts with fc-list, Python for the processor with uname."""
    made(tmp_path / "some-tool")
    code = (
        "import os, shutil; from nngeom_cli.system.surroundings import own_process; own_process();"
        "assert shutil.which('some-tool') is None; assert all(map(os.path.isabs, os.environ['PATH'].split(os.pathsep)))"
    )
    environment = os.environ | {"PATH": path.format(tmp_path / "other")}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
