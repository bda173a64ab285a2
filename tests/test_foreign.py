"""A user's folder of configs can choose values; what would import or call something is refused before it does."""

import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from nngeom_cli.errors import ConfigError
from nngeom_cli.foreign import refuse_foreign_code

OPENS = "{_target_: builtins.open, file: called, mode: w}"
HANDLER = "{class: pathlib.Path.touch, self: called}"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (f"hydra: {{callbacks: {{mine: {OPENS}}}}}", "hydra.callbacks.mine._target_"),
        (f"hydra: {{launcher: {{mine: {OPENS}}}}}", "hydra.launcher.mine._target_"),
        (f"hydra: {{sweeper: {{sampler: {OPENS}}}}}", "hydra.sweeper.sampler._target_"),
        (f"hydra: {{job_logging: {{handlers: {{mine: {HANDLER}}}}}}}", "hydra.job_logging.handlers.mine.class"),
        ("hydra: {hydra_logging: {formatters: {mine: {(): os.getcwd}}}}", "hydra.hydra_logging.formatters.mine.()"),
        ("hydra: {job_logging: {mine: 'ext://os.environ'}}", "hydra.job_logging.mine"),
        (f"hydra: {{launcher: '${{mine}}'}}\nmine: {OPENS}", "hydra.launcher"),
        ("hydra: {launcher: {mine: '${oc.create:\"{_target_: os.getcwd}\"}'}}", "hydra.launcher.mine"),
        (f"task: {OPENS}", "task._target_"),
        ("task: {points: '${oc.env:SECRET}'}", "task.points"),
        (f"probe: [{OPENS}]", "probe._target_"),
    ],
)
def test_whatever_names_code_is_refused_with_its_key(text, key):
    with pytest.raises(ConfigError) as caught:
        refuse_foreign_code(OmegaConf.create(text))
    assert str(caught.value).startswith(f"`{key}` must be left out. Got ")


@pytest.mark.parametrize(
    "text",
    [
        "hydra: {launcher: {_target_: hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher, n_jobs: 2}}",
        "hydra: {sweeper: {sampler: {_target_: optuna.samplers.TPESampler, seed: 1}}}",
        "hydra: {job_logging: {handlers: {file: {class: logging.FileHandler, filename: '${hydra.job.name}'}}}}",
        "hydra: {run: {dir: '${oc.env:SCRATCH}/runs'}, callbacks: {}, hydra_logging: null}",
    ],
)
def test_what_hydra_needs_is_let_through(text):
    refuse_foreign_code(OmegaConf.create(text))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"hydra: {{callbacks: {{mine: {OPENS}}}}}", "nngeom: `hydra.callbacks.mine._target_` must be left out. Got "),
        (
            f"hydra: {{job_logging: {{handlers: {{mine: {HANDLER}}}}}}}",
            "nngeom: `hydra.job_logging.handlers.mine.class`",
        ),
        ("seed: !!python/object/apply:builtins.open [called, w]", "nngeom: The config must be one that Hydra can "),
        ("seed: ${oc.env:SECRET}", "nngeom: `seed` must be left out. Got ${oc.env:SECRET}. "),
    ],
)
@pytest.mark.slow
def test_a_malicious_folder_of_configs_calls_nothing_and_leaves_nothing(tmp_path, text, sentence):
    (tmp_path / "theirs" / "experiment").mkdir(parents=True)
    (tmp_path / "theirs" / "experiment" / "bad.yaml").write_text(f"# @package _global_\n{text}\n")
    words = ["run", "--config-dir", "theirs", "experiment=bad"]
    done = subprocess.run(
        [sys.executable, "-m", "nngeom_cli.cli", *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(sentence)
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]
