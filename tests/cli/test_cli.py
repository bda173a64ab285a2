"""The command line, typed as a newcomer would. The runner is a double, save in the last tests."""

import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from PIL import Image

from nngeom_cli import groups
from nngeom_cli.cli import entry as cli
from nngeom_cli.cli.entry import main
from nngeom_cli.config.nested import leaves
from nngeom_cli.config.sections import known_keys
from nngeom_cli.errors import ConfigError, RunError, one_of

TASKS = "circles, csv, digits, moons, npz, sinusoid, spirals or xor"


COMMANDS = one_of(cli.COMMANDS)


# ---- a run


def test_the_last_line_is_the_run_directory_and_it_holds_the_composed_config(nngeom, runner):
    code, out, err = nngeom("run", "task=sinusoid", "seed=5")
    ((config, directory, command),) = runner.runs
    assert (code, err) == (0, [])
    assert out == ["accuracy by seed", str(directory)]
    assert directory.parent == Path.cwd() / "outputs" / "runs" / "sinusoid"
    assert directory.name.endswith("-seed5")
    assert (config.task.name, config.architecture.hidden, config.seed) == ("sinusoid", [8, 8], 5)
    assert command == "nngeom run task=sinusoid seed=5"
    assert (directory / ".hydra" / "config.yaml").is_file()
    assert (directory / "job.log").is_file()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {"optimizer.name": "sgd", "optimizer.lr": 0.02, "optimizer.weight_decay": 1e-4, "optimizer.epochs": 2000}),
        (
            [],
            {"optimizer.momentum": 0.9, "optimizer.batch_size": None, "architecture.hidden": [8], "probe.kind": "grid"},
        ),
        ([], {"probe.resolution": 40, "probe.window": [-1.5, 1.5], "probe.layers": [1], "replicates": 8, "seed": 0}),
        (["task=sinusoid"], {"optimizer.lr": 0.05, "optimizer.weight_decay": 0.0, "optimizer.epochs": 150_000}),
        (["task=sinusoid"], {"task.points": 400, "architecture.activation": "sigmoid", "optimizer.momentum": 0.9}),
        (["task=digits"], {"optimizer.name": "adam", "optimizer.lr": 0.005, "optimizer.weight_decay": 0.1}),
        (["task=digits"], {"optimizer.batch_size": 12, "optimizer.epochs": 30, "architecture.hidden": [30]}),
        (["task=digits"], {"probe.kind": "path", "probe.top_k": 6, "probe.steps": 64, "dtype": "float64"}),
        (["task=digits", "probe=plane"], {"probe.kind": "plane", "probe.corners": "class", "probe.top_k": None}),
        (["architecture.hidden=[8,1,8]", "probe.layers=all"], {"probe.layers": [1, 2, 3, 4]}),
        (["task=digits", "optimizer=sgd"], {"optimizer.name": "sgd", "architecture.hidden": [30]}),
        (["optimizer=adamw"], {"optimizer.name": "adamw", "optimizer.betas": [0.9, 0.999], "task.name": "xor"}),
        (["probe.checkpoints=[0,200]"], {"probe.checkpoints": [0, 200]}),
        (["probe.checkpoints={spacing: linear, count: 3}"], {"probe.checkpoints": {"spacing": "linear", "count": 3}}),
        (["probe.checkpoints=linear 3"], {"probe.checkpoints": {"spacing": "linear", "count": 3}}),
        (["task=digits", "probe.pairs=[[3,8]]"], {"probe.pairs": [[3, 8]]}),
        (["probe=digits", "probe.pairs=[[0,1]]", "probe.top_k=2"], {"probe.kind": "path", "task.name": "xor"}),
    ],
    ids=str,
)
def test_groups_follow_the_task_and_overrides_win(nngeom, runner, words, expected):
    assert nngeom("run", *words)[0] == 0
    config = runner.runs[0][0]
    for key, value in expected.items():
        found = config
        for part in key.split("."):
            found = getattr(found, part)
        assert found == value, key


def test_a_second_run_does_not_enter_the_directory_of_the_first(nngeom, runner):
    assert nngeom("run", "hydra.run.dir=mine")[0] == 0
    code, _, err = nngeom("run", "hydra.run.dir=mine")
    assert code == 2
    assert err == [
        f"nngeom: `hydra.run.dir` must be a directory that does not exist yet. Got {Path.cwd() / 'mine'}. "
        "Leave it out for a new name."
    ]
    assert len(runner.runs) == 1


def test_a_failed_run_says_why_in_one_line_and_keeps_the_traceback_in_its_log(nngeom, runner):
    runner.failures[0] = ZeroDivisionError("first line\nsecond line")
    code, out, err = nngeom("run")
    directory = runner.runs[0][1]
    log = f"{directory / 'job.log'}"
    assert code == 1
    assert err == [f"nngeom: ZeroDivisionError: first line second line. The traceback is in {log}."]
    assert out[-1] == str(directory)
    assert "Traceback (most recent call last)" in Path(log).read_text()


def test_a_run_error_is_told_as_it_is(nngeom, runner):
    runner.failures[0] = RunError("The loss is not finite. Lower `optimizer.lr`.")
    code, _, err = nngeom("run")
    assert (code, err) == (1, ["nngeom: The loss is not finite. Lower `optimizer.lr`."])


def test_a_config_that_only_the_runner_can_refuse_is_refused_all_the_same(nngeom, runner):
    runner.failures[0] = ConfigError("`probe.pairs` must be otherwise.")
    assert nngeom("run")[0] == 2


def test_control_c_ends_with_one_line(nngeom, runner):
    runner.failures[0] = KeyboardInterrupt()
    code, _, err = nngeom("run")
    assert code == 130
    (line,) = err
    assert shlex.split(line)[-3:] == ["nngeom", "resume", str(runner.runs[0][1])]


@pytest.mark.parametrize("name", ["with space", "it's", "lr=0.02", "$HOME", "ünï", "a;b", "-m"])
@pytest.mark.parametrize("file", ["run.json", "sweep.json"])
def test_after_control_c_the_command_that_goes_on_can_be_pasted(nngeom, monkeypatch, tmp_path, name, file):
    directory = tmp_path / name
    directory.mkdir()
    (directory / file).touch()

    def interrupted(_):
        raise KeyboardInterrupt(directory)

    monkeypatch.setitem(cli.COMMANDS, "run", (interrupted, ""))
    code, out, err = nngeom("run")
    assert (code, out) == (130, [])
    pasted = err[-1].partition("Resume with: ")[2]
    done = subprocess.run(
        ["sh", "-c", f"set -- {pasted}; printf '%s\\n' \"$@\""], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["nngeom", "resume", str(directory)]


def test_resume_that_is_interrupted_says_how_to_go_on_from_anywhere(capsys, monkeypatch, tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").touch()
    monkeypatch.setattr("nngeom_cli.runs.resume.resume", interrupted)
    assert main(["resume", "run"]) == 130
    assert capsys.readouterr().err.endswith(f" nngeom resume {tmp_path / 'run'}\n")


@pytest.mark.parametrize("words", [["hydra.run.dir=file/run"], ["-m", "hydra.sweep.dir=file/sweep", "seed=0,1"]])
def test_an_output_folder_that_cannot_be_made_is_a_failure_in_one_line(nngeom, runner, words):
    Path("file").touch()
    code, out, err = nngeom("run", *words)
    assert (code, out, runner.runs) == (1, [], [])
    (line,) = err
    assert line.startswith("nngeom: `hydra.")
    assert "must be a folder that can be written. Got " in line
    assert "Not a directory" in line


# ---- a run again


@pytest.fixture
def saved(nngeom, runner):
    """The directory of a saved run of digits, with a seed of its own."""
    assert nngeom("run", "task=digits", "seed=7", "optimizer.lr=0.25", "probe.top_k=3")[0] == 0
    config, directory, _ = runner.runs.pop()
    (directory / "run.json").write_text(json.dumps({"status": "complete", "config": asdict(config)}))
    return config, directory


def test_a_saved_config_runs_again_in_a_new_directory(nngeom, runner, saved):
    config, directory = saved
    assert nngeom("run", "--from", directory)[0] == 0
    again, elsewhere, command = runner.runs.pop()
    assert again == config
    assert elsewhere != directory
    assert command == f"nngeom run --from {directory}"


def test_single_keys_of_a_saved_config_can_be_set_and_swept(nngeom, runner, saved):
    config, directory = saved
    assert nngeom("run", "-m", f"--from={directory}", "seed=1,2", "optimizer.lr=0.5")[0] == 0
    assert [run[0].seed for run in runner.runs] == [1, 2]
    assert all(run[0].optimizer == replace(config.optimizer, lr=0.5) for run in runner.runs)
    assert runner.runs[1][2] == f"nngeom run --from {directory} seed=2 optimizer.lr=0.5"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--from"], "`--from` must be followed by a run directory. Got nothing. See outputs/runs."),
        (["--from", "nowhere"], "`--from` must be followed by a run directory. Got nowhere, which does not exist. "),
        (["--from=SAVED", "--from", "other"], "`--from` must be given once. Got "),
        (["--from=SAVED", "task=xor"], "`task` must be left out with --from. Got a group, of which the run has one. "),
        (["--from=SAVED", "optimizer.momentum=0"], "`optimizer.momentum` must be left out here. Got 0. Only "),
    ],
    ids=str,
)
def test_a_saved_config_is_named_in_one_way(nngeom, runner, saved, words, sentence):
    code, out, err = nngeom("run", *(word.replace("SAVED", str(saved[1])) for word in words))
    assert (code, out, runner.runs) == (2, [], [])
    assert err[0].startswith(f"nngeom: {sentence}")
    assert len(err) == 1


def test_a_saved_config_with_an_interpolation_is_refused(nngeom, saved):
    _, directory = saved
    path = directory / "run.json"
    path.write_text(path.read_text().replace('"sigmoid"', '"${oc.env:HOME}"'))
    code, _, err = nngeom("run", "--from", directory)
    assert (code, err) == (
        2,
        [
            "nngeom: `architecture.activation` must be a plain value. Got ${oc.env:HOME}. "
            "A saved config holds no interpolations."
        ],
    )


# ---- a sweep


def test_a_sweep_runs_all_combinations_in_directories_of_their_own(nngeom, runner):
    code, out, err = nngeom("run", "-m", "task=xor,sinusoid", "seed=0,100", "optimizer.epochs=50")
    directories = [directory for _, directory, _ in runner.runs]
    assert (code, err) == (0, [])
    assert out[-1] == str(directories[0].parent)
    assert [line.split() for line in out[-6:-4]] == [
        ["job", "overrides", "status", "accuracy", "directory"],
        ["0", "task=xor", "seed=0", "complete", "0.625", "0-task=xor,seed=0"],
    ]
    assert len({directory for directory in directories if directory.is_dir()}) == 4
    assert len({directory.parent for directory in directories}) == 1
    assert directories[0].parent.parent == Path.cwd() / "outputs" / "sweeps"
    assert [directory.name for directory in directories] == [
        "0-task=xor,seed=0",
        "1-task=xor,seed=100",
        "2-task=sinusoid,seed=0",
        "3-task=sinusoid,seed=100",
    ]
    assert runner.runs[3][2] == "nngeom run task=sinusoid seed=100 optimizer.epochs=50"


def test_a_failing_job_does_not_stop_the_others(nngeom, runner):
    runner.failures = {1: RunError("The loss is not finite."), 2: ZeroDivisionError("oh")}
    code, out, err = nngeom("run", "-m", "seed=0,1,2,3")
    directories = [directory for _, directory, _ in runner.runs]
    assert code == 1
    assert [config.seed for config, _, _ in runner.runs] == [0, 1, 2, 3]
    assert [line.split()[2] for line in out[-5:-1]] == ["complete", "failed", "failed", "complete"]
    assert err == [
        "nngeom: Job 1 (seed=1): The loss is not finite.",
        f"nngeom: Job 2 (seed=2): ZeroDivisionError: oh. The traceback is in {directories[2] / 'job.log'}.",
    ]
    assert "ZeroDivisionError" in (directories[2] / "job.log").read_text()
    assert "ZeroDivisionError" not in (directories[3] / "job.log").read_text()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["optimizer.lr=0.1,-1"],
            "Job 1 (optimizer.lr=-1): `optimizer.lr` must be a positive number. Got -1.0. The paper's XOR uses 0.02.",
        ),
        (
            ["task=xor,digits", "probe=xor"],
            "Job 1 (task=digits probe=xor): `probe.kind` must be path, geodesic, plane or data for task=digits, whose "
            "inputs have 64 dimensions. Got grid. Choose probe=digits.",
        ),
        (["task=xor,nope"], f"`task` must be {TASKS}. Got nope. `nngeom run --help` lists the groups."),
        (
            ["seed=0,1", "hydra.sweep.subdir=same"],
            "`hydra.sweep.subdir` must be different for each job. Got same for seed=0 and for seed=1. "
            "Begin it with ${hydra.job.num}.",
        ),
        (
            ["architecture.activation=glob(*)"],
            "`architecture.activation` must have values to sweep over. Got glob(*), which has none. "
            "List them: architecture.activation=A,B.",
        ),
        (
            ["seed=0,1", "task=glob(z*)"],
            "`task` must have values to sweep over. Got glob(z*), which has none. List them: task=A,B.",
        ),
        (
            ["seed=range(3,3)"],
            "`seed` must have values to sweep over. Got range(3,3), which has none. "
            "List them: 1,2,3; or range(1,4), which is the same.",
        ),
        (
            ["optimizer.lr=interval(0,1)"],
            "`optimizer.lr` must have values to sweep over. Got interval(0,1), which has none. "
            "List them: 1,2,3; or range(1,4), which is the same.",
        ),
        (
            ["seed=0,1", "hydra.sweeper.max_batch_size=0"],
            "`hydra.sweeper.max_batch_size` must be at least 1. Got 0. null: all at once.",
        ),
        (
            ["experiment=width,lazy", "seed=0"],
            "`experiment` must be one experiment where it is a sweep of its own, here of architecture.hidden and "
            "architecture.parametrization. Got width,lazy. Run them one after another: "
            "nngeom run -m experiment=width seed=0 && nngeom run -m experiment=lazy seed=0",
        ),
        (
            ["experiment=figure1,lazy"],
            "`experiment` must be one experiment where it is a sweep of its own, here of architecture.output_scale. "
            "Got figure1,lazy. Run them one after another: "
            "nngeom run -m experiment=figure1 && nngeom run -m experiment=lazy",
        ),
        (
            ["device=cpu,cuda"],
            "Job 1 (device=cuda): `device` must be a device of this machine. Got cuda. Choose device=cpu.",
        ),
    ],
    ids=str,
)
def test_a_sweep_with_one_wrong_job_does_not_start(nngeom, runner, words, sentence):
    code, out, err = nngeom("run", "-m", *words)
    assert (code, out, err) == (2, [], [f"nngeom: {sentence}"])
    assert runner.runs == []
    assert list(Path.cwd().iterdir()) == []


def test_experiments_that_are_no_sweeps_can_be_swept(nngeom, runner):
    assert nngeom("run", "-m", "experiment=figure1,figure2")[0] == 0
    assert [config.task.name for config, _, _ in runner.runs] == ["xor", "sinusoid"]


def test_a_key_that_is_typed_has_the_place_of_the_experiments_own_sweep(nngeom, runner):
    assert nngeom("run", "-m", "experiment=lazy", "architecture.output_scale=2,3")[0] == 0
    assert [config.architecture.output_scale for config, _, _ in runner.runs] == [2, 3]


def test_a_single_run_of_an_experiment_that_is_a_sweep_says_so(nngeom, runner):
    code, _, err = nngeom("run", "experiment=lazy", "seed=3")
    assert code == 0
    assert err == [
        "nngeom: This is one run of a sweep over architecture.output_scale. "
        "All of it: nngeom run -m experiment=lazy seed=3"
    ]


def test_shuffled_jobs_run_in_the_directories_that_are_theirs(nngeom, runner):
    code, _, err = nngeom("run", "-m", "seed=shuffle(range(0,5))")
    assert (code, err) == (0, [])
    assert sorted(config.seed for config, _, _ in runner.runs) == list(range(5))
    for number, (config, directory, _) in enumerate(runner.runs):
        assert directory.name == f"{number}-seed={config.seed}"


# ---- wrong input

WRONG = [
    (["task=nope"], f"`task` must be {TASKS}. Got nope. `nngeom run --help` lists the groups."),
    (["task=sinusiod"], f"`task` must be {TASKS}. Got sinusiod. Did you mean `sinusoid`?"),
    (["optimizer.lrr=1"], "`optimizer.lrr` must be a key of the config. Got 1. Did you mean `optimizer.lr=1`?"),
    (["optimiser.lr=1"], "`optimiser.lr` must be a key of the config. Got 1. Did you mean `optimizer.lr=1`?"),
    (["optimzer=adam"], "`optimzer` must be a key of the config. Got adam. Did you mean `optimizer=adam`?"),
    (["epochs=100"], "`epochs` must be a key of the config. Got 100. Did you mean `optimizer.epochs=100`?"),
    (["+key=1"], "`key` must be a key of the config. Got 1. `nngeom run --help` lists all keys."),
    (["+seed=3"], "`seed` must be set without +. Got +seed=3. Write seed=3."),
    (["optimizer.lr=-1"], "`optimizer.lr` must be a positive number. Got -1.0. The paper's XOR uses 0.02."),
    (["optimizer.lr=nan"], "`optimizer.lr` must be a positive number. Got nan. The paper's XOR uses 0.02."),
    (["optimizer.lr=???"], "`optimizer.lr` must be given. Got nothing. Its default is in conf/."),
    (["optimizer.lr="], "`optimizer.lr` must be a number. Got nothing. For example 0.02 or 1e-4."),
    (["architecture.hidden=[0]"], "`architecture.hidden` must be a list of widths of at least 1. Got [0]. "),
    (["architecture.hidden=[]"], "`architecture.hidden` must be a list of at least one width. Got []. "),
    (["architecture.hidden=8"], "`architecture.hidden` must be a list of integers. Got 8. "),
    (["architecture.hidden=[8"], "`architecture.hidden` must be a value that Hydra can read. Got [8. "),
    (["architecture=[8]"], "`architecture` must be a name. Got [8]. Did you mean `'architecture.hidden=[8]'`?"),
    (["optimizer.epochs=abc"], "`optimizer.epochs` must be an integer. Got abc. "),
    (["optimizer.epochs=0"], "`optimizer.epochs` must be between 1 and 10000000000. Got 0. "),
    (["probe.checkpoints=[0,3000]"], "`probe.checkpoints` must be at most 2000, the last epoch. Got [0,3000]. "),
    (["probe.checkpoints=[-1]"], "`probe.checkpoints` must be a list of epochs, 0 or later. Got [-1]. "),
    (["device=cuda"], "`device` must be a device of this machine. Got cuda. Choose device=cpu."),
    (["device=mps", "dtype=float64"], "`dtype` must be float32 for device=mps, which has no float64. Got float64. "),
    (["task=digits", "probe.top_k=31"], "`probe.top_k` must be at most 30, the rank of the metric "),
    (["task=digits", "probe.pairs=[[3,12]]"], "`probe.pairs` must be pairs of classes of task=digits, 0 to 9. "),
    (["task=xor", "probe=digits"], "`probe.pairs` must be pairs of classes of task=xor, 0 to 1. "),
    (["optimizer=adam", "optimizer.momentum=0.9"], "`optimizer.momentum` must be left out here. Got 0.9. Only "),
    (["optimizer=adam", "+optimizer.momentum=0.9"], "`optimizer.momentum` must be left out with optimizer.name=adam. "),
    (["seed=-1"], "`seed` must be between 0 and 4294967295. Got -1. "),
    (["replicates=0"], "`replicates` must be at least 1. Got 0. "),
    (["xor"], "`xor` must be KEY=VALUE. Got no `=`. Did you mean `task=xor`?"),
    (["task=xor,sinusoid"], "`task` must be one value. Got xor,sinusoid. Run all of them with -m, "),
    (["~optimizer.lr"], "`optimizer.lr` must be given. "),
    (["~task"], "The config must be one that Hydra can compose. Got: Error resolving interpolation '${task}'"),
    (["hydra.rundir=a"], "`hydra.rundir` must be left out. Got a. Of Hydra's section only hydra.run.dir, "),
    (["hydra.launcher.jobs=2"], "`hydra.launcher.jobs` must be a key of Hydra. Got 2. "),
    (["hydra/launcher=slurm"], "`hydra/launcher` must be "),
    (["seed=${nothing}"], "`seed` must be resolvable. Got an interpolation: Interpolation key 'nothing' not found. "),
    (["--nope"], "`nngeom run` must be given flags that it has. Got unrecognized arguments: --nope. "),
    (["--config-dir", "nowhere"], "`--config-dir` must be a folder of configs. "),
    (["--experimental-rerun", "config.pickle"], "`--experimental-rerun` must be left out. "),
]


@pytest.mark.parametrize(
    ("words", "sentence"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_a_wrong_config_is_one_sentence_exit_2_and_nothing_on_disk(nngeom, runner, words, sentence):
    code, out, err = nngeom("run", *words)
    assert (code, out, runner.runs) == (2, [], [])
    (line,) = err
    assert line.startswith(f"nngeom: {sentence}")
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            [],
            f"`nngeom` must be followed by {COMMANDS}. Got nothing. `nngeom --help` tells what each does.",
        ),
        (["rnu"], f"`nngeom` must be followed by {COMMANDS}. Got rnu. Did you mean `run`?"),
        (
            ["task=xor"],
            f"`nngeom` must be followed by {COMMANDS}. Got task=xor. Did you mean `nngeom run task=xor`?",
        ),
        (["figures"], "`nngeom figures` must be followed by run directories. Got nothing. See outputs/runs."),
        (["figures", "--all"], "`nngeom figures` must be followed by run directories. Got --all. See outputs/runs."),
        ([""], f"`nngeom` must be followed by {COMMANDS}. Got nothing. `nngeom --help` tells what each does."),
        (
            ["reproduce", ""],
            "`nngeom reproduce` must be given --quick or nothing. Got nothing. See `nngeom reproduce --help`.",
        ),
        (["--"], f"`nngeom` must be followed by {COMMANDS}. Got --. `nngeom --help` tells what each does."),
        (
            ["--", "figures", "a b"],
            f"`nngeom` must be followed by {COMMANDS}. Got --. Did you mean `nngeom figures 'a b'`?",
        ),
    ],
    ids=str,
)
def test_a_wrong_command_is_one_sentence(nngeom, words, sentence):
    assert nngeom(*words) == (2, [], [f"nngeom: {sentence}"])


@pytest.mark.parametrize("words", [[], [""]], ids=str)
@pytest.mark.parametrize("command", ["figures", "animate", "resume", "summarize", "report", "watch"])
def test_inside_a_run_no_folder_does_not_mean_that_run(nngeom, command, words):
    Path("run.json").write_text('{"status": "complete"}')
    code, out, (said,) = nngeom(command, *words)
    assert (code, out) == (2, [])
    assert f"`nngeom {command}` must be followed by " in said
    assert "Got nothing." in said


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["figures"],
        ["animate"],
        ["resume"],
        ["summarize"],
        ["report"],
        ["watch"],
        ["run", "--from"],
        ["figures", "--"],
    ],
    ids=" ".join,
)
def test_a_word_that_is_too_long_for_a_name_is_refused_in_a_short_sentence(nngeom, words):
    code, out, (said,) = nngeom(*words, "y" * 5000)
    assert (code, out) == (2, [])
    assert len(said) < 500


def test_a_flag_that_is_very_long_is_refused_in_a_short_sentence(nngeom):
    code, out, (said,) = nngeom("figures", "--" + "y" * 5000)
    assert (code, out, len(said) < 500) == (2, [], True)


def test_words_after_two_dashes_are_folders_wherever_the_dashes_are(nngeom):
    said = [nngeom("summarize", *words)[2] for words in (["a", "--group", "--", "-x"], ["--group", "a", "--", "-x"])]
    assert said[0] == said[1] != []
    assert "`a` must be a directory" in said[0][0]


# ---- what only shows something


def test_help_names_each_command(nngeom):
    code, out, err = nngeom("--help")
    assert (code, err) == (0, [])
    for command in cli.COMMANDS:
        assert any(line.split()[:1] == [command] for line in out)


def test_help_of_run_shows_the_groups_and_the_composed_keys(nngeom, runner):
    code, out, err = nngeom("run", "--help", "task=digits", "seed=3")
    assert (code, err, runner.runs) == (0, [], [])
    assert any(line.startswith("optimizer: adam, adamw, ") for line in out)
    lines = [" ".join(line.split()) for line in out]
    assert any(line.startswith("seed=3 ") for line in lines)
    assert any(line.startswith("optimizer.lr=0.005 step size") for line in lines)
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("words", [["task=digits"], ["task=csv"], ["task=xor", "optimizer=adamw"], ["probe=plane"]])
def test_help_of_run_gives_each_key_as_it_is_typed_with_its_meaning(nngeom, words):
    _, shown, _ = nngeom("run", "--help", *words)
    lines = shown[shown.index("All keys, with the values of this command:") + 2 : shown.index("Flags") - 1]
    text = " ".join(" ".join(lines).replace("'", "").split())
    _, config, _ = nngeom("run", "--cfg", "job", *words)
    values = dict(leaves(OmegaConf.to_container(OmegaConf.create("\n".join(config)))))
    meanings = {}
    for key in known_keys():
        meanings.setdefault(key.typed, []).append(key.about.meaning)
    for key, value in values.items():
        typed = key + "=" + (value if isinstance(value, str) else json.dumps(value, separators=(",", ":")))
        assert any(f"{typed} {meaning}".replace("'", "") in text for meaning in meanings[key]), key


def test_cfg_job_prints_the_config_as_yaml(nngeom):
    code, out, _ = nngeom("run", "task=sinusoid", "--cfg", "job")
    assert code == 0
    assert OmegaConf.create("\n".join(out)).optimizer.epochs == 150_000


@pytest.mark.parametrize(
    "words", [["seed=3", "--cfg", "job", "seed=3"], ["seed=2", "--cfg", "job", "replicates=4", "seed=3"]], ids=" ".join
)
def test_the_last_of_several_values_of_a_key_is_taken_with_flags_between_them(nngeom, words):
    code, out, err = nngeom("run", *words)
    assert (code, err) == (0, [])
    assert "seed: 3" in out


def test_info_prints_the_defaults_list(nngeom):
    code, out, _ = nngeom("run", "--info", "defaults", "task=sinusoid")
    assert code == 0
    assert any("optimizer/sinusoid" in line for line in out)


def test_a_folder_of_ones_own_configs_is_found_and_kept_in_the_command(nngeom, runner, tmp_path):
    own = tmp_path / "own" / "experiment"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /task: sinusoid\nseed: 9\nprobe:\n  checkpoints: [0, 7]\n"
    )
    code, _, err = nngeom("run", "--config-dir", str(tmp_path / "own"), "experiment=mine", "optimizer.lr=0.1")
    ((config, _, command),) = runner.runs
    assert (code, err) == (0, [])
    assert (config.task.name, config.seed, config.probe.checkpoints) == ("sinusoid", 9, [0, 7])
    assert config.optimizer.epochs == 150_000
    assert command == f"nngeom run --config-dir {tmp_path / 'own'} experiment=mine optimizer.lr=0.1"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("nngeom ", list(cli.COMMANDS)),
        ("nngeom", list(cli.COMMANDS)),
        ("", list(cli.COMMANDS)),
        ("nngeom f", ["figures"]),
        ("nngeom re", ["resume", "report", "reproduce"]),
        ("nngeom run task=s", ["task=sinusoid", "task=spirals"]),
        ("nngeom run optimizer.mom", ["optimizer.momentum="]),
        ("nngeom run task=digits optimizer.be", ["optimizer.betas."]),
        ("nngeom run --f", ["--from"]),
        ("nngeom run task=xor --c", ["--cfg", "--config-dir"]),
        ("nngeom run --nothing", []),
        ("nngeom run -m task=s", ["task=sinusoid", "task=spirals"]),
        ("nngeom run --from RUN optimizer.mom", ["optimizer.momentum="]),
        ("nngeom run --nothing task=s", ["task=sinusoid", "task=spirals"]),
        ("nngeom run --from ", []),
        ("nngeom run --config-dir mi", []),
        ("nngeom figures --", ["--help"]),
        ("nngeom figures ", []),
        ("nngeom resume outputs/r", []),
        ("nngeom summarize --g", ["--group"]),
        ("nngeom reproduce --", ["--help", "--quick"]),
        ("nngeom measure ", []),
        ("nngeom measure a/run probe=p", ["probe=path", "probe=plane"]),
        ("nngeom measure a/run probe.res", ["probe.resolution="]),
        ("nngeom measure a/run opt", []),
        ("nngeom theory act", ["activation="]),
        ("nngeom nothing ", []),
        ("nngeom run architecture.hidden=[8 seed", []),
        ("nngeom run task=nothing seed", []),
        ("nngeom run 'task=", []),
    ],
)
def test_completion_offers_what_fits_or_nothing(nngeom, monkeypatch, line, expected):
    monkeypatch.setenv("COMP_LINE", line)
    code, out, err = nngeom("-sc", "query=bash")
    assert (code, " ".join(out).split(), err) == (0, expected, [])


def test_completion_of_fish_has_a_line_for_each_word(nngeom, monkeypatch):
    monkeypatch.setenv("COMP_LINE", "nngeom re")
    assert nngeom("-sc", "query=fish") == (0, ["resume", "report", "reproduce"], [])


def test_completion_script_is_for_nngeom(nngeom):
    code, out, _ = nngeom("-sc", "install=bash")
    assert code == 0
    assert out[-1].endswith(" nngeom")


@pytest.mark.skipif(shutil.which("nngeom") is None or shutil.which("bash") is None, reason="needs both on the path")
def test_completion_works_in_a_real_bash(tmp_path):
    """Bash calls the function that `complete` names, with the line in COMP_LINE; it answers in COMPREPLY."""
    script = """
        eval "$(nngeom -sc install=bash)"
        function=$(complete -p nngeom | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
        for line in "nngeom su" "nngeom run task=x" "nngeom run hydra/launcher=j"; do
            COMP_LINE="$line" COMP_POINT=${#line} COMP_WORDS=($line) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            COMPREPLY=()
            $function nngeom "${COMP_WORDS[COMP_CWORD]}" ""
            echo "${COMPREPLY[@]}"
        done
    """
    done = subprocess.run(["bash", "--norc", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["summarize", "task=xor", "hydra/launcher=joblib"]


def test_every_command_has_a_help_of_its_own(nngeom, runner):
    for command in cli.COMMANDS:
        code, out, err = nngeom(command, "--help")
        assert (code, err, runner.runs) == (0, [], [])
        assert out[0].removeprefix("usage: ").startswith(f"nngeom {command} ")
        assert len(out) > 3


def test_a_sweep_goes_on_with_its_own_configs_only(nngeom, runner, tmp_path):
    runner.failures[1] = ZeroDivisionError("oh")
    sweep = nngeom("run", "-m", "seed=0,1")[1][-1]
    code, out, err = nngeom("resume", sweep, "optimizer.lr=0.1")
    assert (code, out) == (2, [])
    assert err == [
        "nngeom: `optimizer.lr` must be left out when a sweep is resumed. Got optimizer.lr=0.1. "
        "Only hydra/launcher=NAME and hydra.launcher.KEY=VALUE can change."
    ]


def test_a_sweep_that_is_complete_is_not_touched(nngeom, runner):
    _, out, _ = nngeom("run", "-m", "seed=0,1")
    ran = len(runner.runs)
    assert nngeom("resume", str(Path(out[-1]).relative_to(Path.cwd()))) == (0, out[-4:], [])
    assert len(runner.runs) == ran


def test_a_launcher_that_is_not_installed_is_one_sentence(nngeom, runner, monkeypatch):
    monkeypatch.setitem(sys.modules, "hydra_plugins.hydra_ray_launcher.ray_launcher", None)
    code, out, err = nngeom("run", "-m", "hydra/launcher=ray", "seed=0,1")
    assert (code, out, runner.runs) == (2, [], [])
    assert err == [
        "nngeom: `hydra/launcher` must be one that is installed. Got one of ray. Install it: pip install 'nngeom[ray]'."
    ]


def test_configs_are_found_inside_an_installed_package_too(monkeypatch, tmp_path):
    conf = tmp_path / "nngeom_cli" / "conf"
    conf.mkdir(parents=True)
    (conf / "config.yaml").touch()
    monkeypatch.setattr(groups, "__file__", str(tmp_path / "nngeom_cli" / "groups.py"))
    assert groups.conf_directory() == conf


# ---- figures


def test_figures_prints_what_it_draws(nngeom, monkeypatch):
    monkeypatch.setattr("nngeom_cli.store.run.load_run", lambda directory: f"run in {directory}")
    monkeypatch.setattr("nngeom_cli.cli.commands._as_asked", lambda run, _: run)
    monkeypatch.setattr("nngeom_cli.figures.draw_figures", lambda run, **_: [Path(f"{run}.png")])
    for folder in ("a", "b"):
        Path(folder).mkdir()
        Path(folder, "run.json").touch()
    assert nngeom("figures", "a", "b") == (0, ["run in a.png", "run in b.png"], [])


def test_a_directory_that_is_no_run_is_refused_before_anything_is_drawn(nngeom, tmp_path):
    code, out, err = nngeom("figures", str(tmp_path), "nowhere")
    assert (code, out) == (2, [])
    assert len(err) == 1
    assert str(tmp_path) in err[0]


def test_runs_are_looked_for_where_links_lead_around_in_circles(nngeom, tmp_path):
    (tmp_path / "deep" / "run").mkdir(parents=True)
    (tmp_path / "deep" / "run" / "run.json").touch()
    for number in range(60):
        (tmp_path / f"{number}").symlink_to(".")
    code, _, (said,) = nngeom("figures", str(tmp_path))
    assert (code, said.count("a folder of 1 of them")) == (2, 1)


# ---- with the real runner


@pytest.mark.slow
def test_a_run_from_the_command_line_to_the_figures(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    small = ["optimizer.epochs=3", "replicates=2", "probe.resolution=5", "probe.checkpoints=[]", "device=cpu"]
    words = [*small, "figures.draw=false"]
    assert main(["run", *words]) == 0
    out, err = capsys.readouterr()
    directory = Path(out.splitlines()[-1])
    assert err == ""
    assert sorted(path.name for path in (directory / "geometry").iterdir()) == ["epoch-000000.nc", "epoch-000003.nc"]

    assert main(["figures", str(directory)]) == 0
    drawn = {Path(line) for line in capsys.readouterr().out.splitlines()}
    assert drawn == set((directory / "figures").glob("*.png"))
    assert drawn

    before = (directory / "run.json").read_bytes()
    assert main(["figures", str(directory), "figures.curvature_convention=paper"]) == 0
    with Image.open(capsys.readouterr().out.splitlines()[0]) as image:
        assert "|3 R|" in image.info["Convention"]
    assert main(["figures", str(directory), "figures.band=-1"]) == 2
    assert capsys.readouterr().err.startswith("nngeom: `figures.band` must be a positive number. Got -1")
    assert (directory / "run.json").read_bytes() == before
    log = (directory / "job.log").read_text()
    assert "epoch 3" in log
    assert "fontTools" not in log


# ---- in a process of its own


def test_help_and_version_import_nothing_heavy():
    code = (
        "import sys; from nngeom_cli.cli.entry import main; main(['--help']); main(['--version']); main(['nope']);"
        "print({'torch', 'hydra', 'omegaconf', 'numpy', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_sigterm_exits_130_where_nothing_is_saved():
    code = (
        "import os, signal, sys, time; from nngeom_cli.cli import entry as cli\n"
        "cli.COMMANDS['figures'] = (lambda words: (os.kill(os.getpid(), signal.SIGTERM), time.sleep(60)), '')\n"
        "sys.argv[1:] = ['figures', 'RUN']; sys.exit(cli.main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=50)
    assert (done.returncode, done.stderr) == (130, "nngeom: Interrupted.\n")


def test_an_interrupt_from_the_terminal_exits_130(tmp_path):
    program = (
        "import signal, sys, time, types\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # nohup and `&` in a script would ignore it
        "runner = types.ModuleType('nngeom_cli.runs.run')\n"
        "runner.run = lambda config, directory, *, command: (print('started', flush=True), time.sleep(60))\n"
        "sys.modules['nngeom_cli.runs.run'] = runner\n"
        "from nngeom_cli.cli.entry import main\n"
        "sys.exit(main(['run']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "started\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    (line,) = err.splitlines()
    (directory,) = (tmp_path / "outputs" / "runs" / "xor").iterdir()
    assert line == f"nngeom: Interrupted. What was done is saved. Resume with: nngeom resume {directory}"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["watch", "RUN", "--port", "x"], "`--port` must be an integer. Got x. See `nngeom watch --help`."),
        (["measure", "RUN", "--threshold", "x"], "`--threshold` must be a number. Got x. See `nngeom measure --help`."),
        (["summarize", "--sort"], "`--sort` must be followed by a value. Got nothing. See `nngeom summarize --help`."),
    ],
)
def test_a_flag_with_a_wrong_value_is_named(words, sentence, capsys):
    assert main(words) == 2
    assert capsys.readouterr().err == f"nngeom: {sentence}\n"
