"""Variables, streams and folders as they are on other machines: ignored, understood, or refused in a sentence."""

import errno
import os
import pty
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from made_runs import plane
from processes import apart_from_progress

from nngeom_cli.cli.entry import main
from nngeom_cli.config.loader import load_config
from nngeom_cli.errors import ConfigError
from nngeom_cli.launch.application import composed
from nngeom_cli.runs.run import run
from nngeom_cli.system.parallel import available_cores

SMALL = ["optimizer.epochs=2", "replicates=1", "probe.resolution=3", "probe.checkpoints=[]", "figures.draw=false"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run on disk that can be drawn."""
    directory = tmp_path_factory.mktemp("made") / "run"
    directory.mkdir()
    run(load_config(composed(SMALL)), directory, command="nngeom run")
    return directory


def nngeom(*words, folder, environment=(), shell=None, module="nngeom_cli"):
    """The command in a process of its own; `shell` is what follows it on a shell's line."""
    command = [sys.executable, "-m", module, *map(str, words)]
    if shell:
        command = ["bash", "-o", "pipefail", "-c", f'"$@" {shell}', "bash", *command]
    return subprocess.run(
        command, cwd=folder, env=os.environ | dict(environment), capture_output=True, text=True, check=False
    )


# ---- variables


@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_number_of_cores_is_an_unset_one(value, monkeypatch):
    monkeypatch.delenv("NNGEOM_CORES", raising=False)
    all_of_them = available_cores()
    monkeypatch.setenv("NNGEOM_CORES", value)
    assert available_cores() == all_of_them


WRONG_CORES = ["0", "-1", "abc", "1.5", "4(x2)", "1e3", "$SLURM_CPUS_PER_TASK", "9" * 5000, "²"]
READ_CORES = [["run", "-m", *SMALL, "seed=0,1"], ["figures", "RUN"], ["resume", "RUN"], ["reproduce", "--quick"]]


@pytest.mark.parametrize(
    ("value", "words"),
    [*((value, ["run", *SMALL]) for value in WRONG_CORES), *(("0", words) for words in READ_CORES)],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else value[:9],
)
def test_a_wrong_number_of_cores_is_one_sentence_and_nothing_on_disk(
    value, words, saved, monkeypatch, tmp_path, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NNGEOM_CORES", value)
    before = sorted(saved.rglob("*"))
    assert main([str(saved) if word == "RUN" else word for word in words]) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"nngeom: `NNGEOM_CORES` must be a number of cores, at least 1. Got {value[:9]}")
    assert (out, err.count("\n")) == ("", 1)
    assert list(tmp_path.iterdir()) == []
    assert sorted(saved.rglob("*")) == before


def test_a_wrong_number_of_cores_does_not_hide_the_help(monkeypatch, capsys):
    monkeypatch.setenv("NNGEOM_CORES", "abc")
    assert main(["run", "--help"]) == 0


@pytest.mark.parametrize(
    "environment",
    [
        {"MPLBACKEND": "module://matplotlib_inline.backend_inline"},
        {"MPLBACKEND": "nonsense", "MATPLOTLIBRC": "/nowhere", "HOME": "/dev/null", "XDG_CONFIG_HOME": "/dev/null"},
        {
            "TQDM_NCOLS": "abc",
            "COLUMNS": "abc",
            "TERM": "nonsense",
            "SOURCE_DATE_EPOCH": "yesterday",
            "NNGEOM_CORES": "",
            "LC_ALL": "C",
            "MPLBACKEND": "",
        },
    ],
    ids=lambda environment: " ".join(environment),
)
def test_surroundings_of_other_programs_do_no_harm(environment, saved, tmp_path):
    done = nngeom("figures", saved, folder=tmp_path, environment=environment)
    assert done.returncode == 0, done.stderr
    assert [Path(line).name for line in done.stdout.splitlines()] == ["grid-layer-1.png"]


def test_settings_of_matplotlib_that_it_cannot_read_are_one_sentence_and_nothing_on_disk(tmp_path):
    (tmp_path / "settings").write_bytes(b"\x80\xff\n")
    words = ["run", *SMALL, "figures.draw=true"]
    done = nngeom(*words, folder=tmp_path, environment={"MATPLOTLIBRC": str(tmp_path / "settings")})
    assert (done.returncode, done.stdout) == (2, "")
    assert "nngeom: matplotlib's settings must let it start. Got: 'utf-8' codec" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["settings"]


@pytest.mark.slow
def test_the_tests_pass_in_the_surroundings_of_a_notebook_a_hook_and_a_cluster():
    tests = [
        "tests/figures/test_figures_style.py",
        "tests/runs/test_runner.py::test_the_commit_is_that_of_the_checkout_and_none_elsewhere",
    ]
    surroundings = {
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "GIT_DIR": "/nowhere",
        "NNGEOM_CORES": "abc",
        "COLUMNS": "20",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], env=os.environ | surroundings, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


# ---- streams


@pytest.mark.parametrize(
    "shell",
    ["2>&-", "1>&-", ">&- 2>&- <&-", "| true", "2>&1 | true", "2>/dev/full"],
)
def test_nobody_who_listens_is_no_failure(shell, saved, tmp_path):
    done = nngeom("summarize", saved, folder=tmp_path, shell=shell)
    assert (done.returncode, done.stderr) == (0, "")
    if shell.startswith("2>") and "|" not in shell:
        assert done.stdout.startswith("run ")


def test_a_wrong_config_is_refused_without_a_place_to_say_so(tmp_path):
    done = nngeom("run", "lr=1", folder=tmp_path, shell="2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


def test_help_is_cut_short_by_head_and_nothing_is_said(tmp_path):
    done = nngeom("run", "--help", folder=tmp_path, shell="| head -1")
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)


def test_a_run_whose_listener_has_gone_runs_to_its_end(tmp_path):
    done = nngeom("run", "-m", *SMALL, "seed=0,1", "hydra.sweep.dir=sweep", folder=tmp_path, shell="| true")
    assert (done.returncode, apart_from_progress(done.stderr)) == (0, "")
    for name in ("0-seed=0", "1-seed=1"):
        assert '"status": "complete"' in (tmp_path / "sweep" / name / "run.json").read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize(
    "command", ["summarize SAVED", "theory widths=[] points=2", "run --help", "--help", "-sc query=bash"]
)
def test_output_that_is_lost_on_a_full_disk_is_told(command, saved, tmp_path):
    words = command.replace("SAVED", str(saved)).split()
    done = nngeom(*words, folder=tmp_path, shell=">/dev/full", environment={"COMP_LINE": "nngeom ru"})
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        apart_from_progress(done.stderr)
        == "nngeom: `stdout` must take what is printed. Got: No space left on device. Send it elsewhere.\n"
    )


def test_text_that_a_stream_cannot_write_is_written_as_it_can(saved, tmp_path):
    done = nngeom("summarize", saved, folder=tmp_path, environment={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("module", ["nngeom_cli", "nngeom_cli.cli.entry"])
def test_the_package_is_the_command(module, tmp_path):
    assert nngeom("--version", folder=tmp_path, module=module).stdout.startswith("nngeom ")


# ---- folders


def test_a_working_directory_that_is_gone_is_one_sentence(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gone").mkdir()
    os.chdir("gone")
    Path("../gone").resolve().rmdir()
    for words in (["run"], ["figures", "x"], ["summarize", "."], ["theory"]):
        assert main(words) == 2
        assert capsys.readouterr().err == (
            "nngeom: The working directory must exist. Got: No such file or directory. Change into another.\n"
        )
    assert main(["--help"]) == 0


@pytest.mark.parametrize("words", [["figures", "RUN"], ["animate", "RUN"], ["theory", "directory=RUN/figures"]])
@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT])
def test_a_folder_that_cannot_be_written_is_one_sentence(words, number, saved, monkeypatch, capsys):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    monkeypatch.setattr("nngeom_cli.theory.infinite_width.theory_curves", lambda _: plane().assign_attrs(seed=0))
    monkeypatch.setattr("nngeom_cli.figures.animation.FFMpegWriter.isAvailable", lambda: False)
    assert main([word.replace("RUN", str(saved)) for word in words]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"nngeom: `{saved}/figures` must be a file or folder that can be used. ")
    assert f"Got: {os.strerror(number)}. " in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("words", [["figures", "RUN"], ["animate", "RUN"], ["theory", "directory=RUN/figures"]])
def test_a_file_in_place_of_a_folder_is_one_sentence(words, saved, monkeypatch, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(saved, run, ignore=shutil.ignore_patterns("figures"))
    (run / "figures").touch()
    monkeypatch.setattr("nngeom_cli.theory.infinite_width.theory_curves", lambda _: plane().assign_attrs(seed=0))
    assert main([word.replace("RUN", str(run)) for word in words]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"nngeom: `{run}/figures` must be a file or folder that can be used. Got: ")


def test_an_error_of_the_system_while_hydra_starts_is_not_said_of_the_config(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)

    def broken(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", "conf/config.yaml")

    monkeypatch.setattr("hydra._internal.config_loader_impl.ConfigLoaderImpl._load_configuration_impl", broken)
    assert main(["run"]) == 1
    assert capsys.readouterr().err.startswith("nngeom: `conf/config.yaml` must be a file or folder that can be used. ")


def test_cores_are_refused_from_python_too(monkeypatch):
    monkeypatch.setenv("NNGEOM_CORES", "0")
    with pytest.raises(ConfigError, match="NNGEOM_CORES"):
        available_cores()


def test_what_is_printed_moves_no_cursor_of_a_terminal():
    """The name of a folder, or of a class, can hold what sets a terminal's title; a file gets it as it is."""
    code = """
from nngeom_cli.errors import say
from nngeom_cli.system.surroundings import lenient_streams
with lenient_streams():
    print("a\\x1b[2J\\x9b\\tb", "é")
    print()
say("\\x1b]0;x\\x07")
"""
    ours, theirs = pty.openpty()
    words = [sys.executable, "-c", code]
    done = subprocess.run(
        words, stdout=theirs, stderr=subprocess.PIPE, check=True, env=os.environ | {"LC_ALL": "C.UTF-8"}
    )
    os.close(theirs)
    assert os.read(ours, 1000).decode().replace("\r\n", "\n") == "a\\x1b[2J\\x9b\\tb é\n\n"
    assert done.stderr == b"nngeom: \\x1b]0;x\\x07\n"
    done = subprocess.run(words, capture_output=True, check=True, env=os.environ | {"LC_ALL": "C.UTF-8"})
    assert done.stdout.decode() == "a\x1b[2J\x9b\tb é\n\n"
