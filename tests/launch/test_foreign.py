"""What a folder of configs or a word of the command line could have Hydra start, load or write."""

import subprocess
import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from nngeom_cli.cli.entry import main
from nngeom_cli.errors import ConfigError
from nngeom_cli.launch.application import launch
from nngeom_cli.launch.forbidden import refuse_foreign_code, refuse_foreign_section, refuse_foreign_words
from nngeom_cli.quoting import quoted

OPENS = "{_target_: builtins.open, file: called, mode: w}"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (f"hydra: {{callbacks: {{mine: {OPENS}}}}}", "hydra.callbacks.mine._target_"),
        (f"hydra: {{launcher: {{mine: {OPENS}}}}}", "hydra.launcher.mine._target_"),
        (f"hydra: {{sweeper: {{sampler: {OPENS}}}}}", "hydra.sweeper.sampler._target_"),
        (f"hydra: {{launcher: '${{mine}}'}}\nmine: {OPENS}", "hydra.launcher"),
        ("hydra: {launcher: {mine: '${oc.create:\"{_target_: os.getcwd}\"}'}}", "hydra.launcher.mine"),
        (
            "a: '{_tar'\nb: 'get_: os.getcwd}'\nhydra: {launcher: {mine: '${oc.decode:${a}${b}}'}}",
            "hydra.launcher.mine",
        ),
        ("hydra: {run: {dir: '${oc.decode:${a}}'}}", "hydra.run.dir"),
        ("hydra: {run: {dir: '${${a}:x}'}}", "hydra.run.dir"),
        (f"task: {OPENS}", "task._target_"),
        ("task: {points: '${oc.env:SECRET}'}", "task.points"),
        ("task: {points: '${${a}:SECRET}'}\na: oc.env", "task.points"),
        ("seed: '${oc.decode:\"$\\{oc.env:SECRET\\}\"}'", "seed"),
        (f"probe: [{OPENS}]", "probe._target_"),
    ],
)
def test_whatever_names_code_or_reads_the_environment_is_refused_with_its_key(text, key):
    with pytest.raises(ConfigError) as caught:
        refuse_foreign_code(OmegaConf.create(text))
    assert str(caught.value).startswith(f"`{key}` must be left out. Got ")


@pytest.mark.parametrize("choice", ["../../outside", "/etc/hosts", "a/../../b", ".hidden", "", "a\nb", "${x}"])
def test_a_group_is_chosen_by_a_name_that_stays_in_its_folder(choice):
    config = OmegaConf.create({"hydra": {"runtime": {"choices": {"task": "xor", "probe": choice}}}})
    with pytest.raises(ConfigError, match="`probe` must be the name of a config"):
        refuse_foreign_code(config)


@pytest.mark.parametrize(
    "text",
    [
        "hydra: {launcher: {_target_: hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher, n_jobs: 2}}",
        "hydra: {run: {dir: '${oc.env:SCRATCH}/runs/${task.name}/${now:%Y%m%d}'}, callbacks: {}, job_logging: null}",
        "hydra: {runtime: {choices: {task: xor, experiment: null, hydra/launcher: ray, probe: mine/grid-2}}}",
        "task: {name: moons}\nprobe: {window: '${task.name}'}",
    ],
)
def test_what_hydra_needs_is_let_through(text):
    refuse_foreign_code(OmegaConf.create(text))


STARTS = {  # what a word or a file of configs could start, load or write
    "hydra.job.env_set.LD_PRELOAD": "evil.so",
    "hydra.job.env_copy": "[PATH]",
    "hydra.job.chdir": "true",
    "hydra.output_subdir": "../..",
    "hydra.job_logging.handlers.file.filename": "victim",
    "hydra.job_logging.root.handlers": "[]",
    "hydra.hydra_logging.version": "2",
    "hydra.callbacks.mine": "1",
    "hydra.sweep.mode": "777",
    "hydra.runtime.output_dir": "victim",
    "hydra.searchpath": "[pkg://antigravity]",
    "hydra.overrides.hydra": "[hydra.job.chdir=true]",
    "hydra.help.template": "x",
}


@pytest.mark.parametrize(
    "word",
    [
        *(f"{key}={value}" for key, value in STARTS.items()),
        "+hydra.job.env_set.PATH=.",
        "++hydra.job.chdir=true",
        "~hydra.job",
        " hydra.job.chdir=true",
        "hydra={job: {chdir: true}}",
        "hydra/job_logging=default",
        "hydra/sweeper=basic",
        "hydra/launcher@x=basic",
        "+task@hydra.job.env_set=xor",
        "task@_global_.hydra.job=xor",
        "hydra.launcher._target_=os.getcwd",
        "hydra.launcher.mine._target_=os.getcwd",
    ],
)
def test_a_word_cannot_change_what_hydra_starts_loads_or_writes(word):
    with pytest.raises(ConfigError, match="must be left out"):
        refuse_foreign_words([word])


def test_words_of_the_documentation_are_let_through():
    words = ["hydra/launcher=joblib", "hydra.launcher.ray.init.address=auto", "hydra.sweeper.max_batch_size=2"]
    words += ["hydra.run.dir=a=b", "hydra.sweep.dir='a b'", "hydra.sweep.subdir=${hydra.job.num}", "hydra.verbose=true"]
    refuse_foreign_words([*words, "+hydra.launcher.stderr_to_stdout=true", "task=xor", "~experiment", "hydration=1"])


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """`theirs(text)` makes a folder of configs with an experiment `bad`, and asks Hydra to show what comes of it."""
    monkeypatch.chdir(tmp_path)

    def shown(text, *words):
        (tmp_path / "theirs" / "experiment").mkdir(parents=True)
        (tmp_path / "theirs" / "experiment" / "bad.yaml").write_text(f"# @package _global_\n{text}\n")
        return launch(["--config-dir", "theirs", "--cfg", "hydra", "experiment=bad", *words], "nngeom run")

    return shown


def nested(key, value):
    """A key and its value as a mapping of YAML."""
    for name in reversed(key.split(".")):
        value = f"{{{name}: {value}}}"
    return value


@pytest.mark.parametrize(
    "key", sorted(set(STARTS) - {"hydra.runtime.output_dir", "hydra.sweep.mode", "hydra.searchpath"})
)
def test_a_file_cannot_change_what_hydra_starts_loads_or_writes(theirs, key):
    with pytest.raises(ConfigError) as caught:
        theirs(f"hydra: {nested(key.removeprefix('hydra.'), STARTS[key])}")
    assert str(caught.value).startswith((f"`{key}` must be left out", "`hydra.job.env_set.PATH` must be left out"))


@pytest.mark.parametrize(
    "launcher",
    [
        "{setup: [touch called]}",
        "{additional_parameters: {prolog: x}}",
        '{name: "x\\ntouch called"}',
        "{mem_gb: '$(x)'}",
    ],
)
def test_a_file_cannot_give_a_cluster_shell_lines(theirs, launcher):
    words = ["hydra/launcher=submitit_slurm"]
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    with pytest.raises(ConfigError, match=r"`hydra\.launcher\..*must be left out of a folder of configs"):
        theirs(f"hydra: {{launcher: {launcher}}}", *words)


def test_a_launcher_is_one_of_ours(theirs, tmp_path):
    (tmp_path / "theirs" / "hydra" / "launcher").mkdir(parents=True)
    target = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
    (tmp_path / "theirs" / "hydra" / "launcher" / "mine.yaml").write_text(f"_target_: {target}\nextra: 1\n")
    with pytest.raises(ConfigError, match=r"`hydra/launcher` must be basic, .*Got mine"):
        theirs("seed: 1", "hydra/launcher=mine")


def test_a_file_can_name_folders_its_sweep_and_the_queue_of_a_cluster(theirs, capsys):
    theirs("hydra: {run: {dir: 'runs/${now:%Y}'}, sweeper: {params: {seed: '1,2'}}, sweep: {subdir: '${seed}'}}")
    assert "seed: 1,2" in capsys.readouterr().out
    ours = {"hydra": {"launcher": {"partition": None, "mem_gb": 4}}}
    refuse_foreign_section({"launcher": {"partition": "gpu-2,long", "mem_gb": 64}}, ours["hydra"])


@pytest.mark.parametrize("flag", ["--config-name", "--config-path", "-cn", "-cp"])
def test_the_main_config_is_ours(flag, capsys):
    assert main(["run", flag, "pkg://antigravity"]) == 2
    assert capsys.readouterr().err.startswith("nngeom: `--config-")


def test_a_folder_of_the_theory_is_no_search_path(capsys):
    assert main(["theory", "hydra.searchpath=[pkg://antigravity]"]) == 2
    assert capsys.readouterr().err.startswith("nngeom: `hydra.searchpath` must be left out")


@given(st.text(st.sampled_from("a'\\,${}=\"[] \t#é/.")))
def test_a_value_that_is_quoted_stands_for_itself(text):
    (override,) = OverridesParser.create().parse_overrides([f"key={quoted(text)}"])
    assert not override.is_sweep_override()
    assert override.value().replace("\\${", "${") == text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hydra: {job: {env_set: {LD_PRELOAD: evil.so}}}", "nngeom: `hydra.job.env_set.LD_PRELOAD` must be left out "),
        ("seed: !!python/object/apply:builtins.open [called, w]", "nngeom: The config must be one that Hydra can "),
        ("seed: ${oc.env:SECRET}", "nngeom: `seed` must be left out. Got ${oc.env:SECRET}. "),
    ],
)
def test_a_malicious_folder_of_configs_calls_nothing_and_leaves_nothing(tmp_path, text, sentence):
    (tmp_path / "theirs" / "experiment").mkdir(parents=True)
    (tmp_path / "theirs" / "experiment" / "bad.yaml").write_text(f"# @package _global_\n{text}\n")
    words = ["run", "--config-dir", "theirs", "experiment=bad"]
    done = subprocess.run(
        [sys.executable, "-m", "nngeom_cli", *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(sentence)
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]
