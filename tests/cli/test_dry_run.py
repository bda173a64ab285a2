"""What a command would start is told with what it takes, and nothing is started."""

import shlex
import shutil
from types import SimpleNamespace

import pytest

from nngeom_cli.cli.entry import main
from nngeom_cli.config.cost import cost, require_disk, time_in_words
from nngeom_cli.config.loader import load_config
from nngeom_cli.errors import ConfigError
from nngeom_cli.launch import checks
from nngeom_cli.launch.application import composed

SHORT = ["optimizer.epochs=40", "probe.resolution=8", "figures.draw=false"]


def test_a_dry_run_prints_its_config_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "task=xor", "seed=7", "--dry-run", *SHORT]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {"seed=7", "task.name=xor", "'probe.window=[-1.5,1.5]'", "optimizer.batch_size=null"} <= {*lines}
    assert "One run, into outputs/runs/xor/" in lines[-1]
    assert "Nothing was started." in lines[-1]
    assert not [*tmp_path.iterdir()]


def test_the_words_of_a_dry_run_are_a_command_for_the_same_config(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    typed = ["task=digits", "architecture.hidden=[9,8]", "probe.pairs=[[3,8]]"]
    main(["run", *typed, "--dry-run"])
    words = [*shlex.split(" ".join(capsys.readouterr().out.splitlines()[:-2]))]
    chosen = [f"{group}=digits" for group in ("task", "architecture", "optimizer", "probe")]
    keys = [word for word in words if not word.startswith(("task.name", "optimizer.name", "probe.kind"))]
    assert load_config(composed([*chosen, *keys])) == load_config(composed(typed))


def test_a_dry_sweep_lists_its_jobs_with_what_differs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "-m", "seed=0,8", "architecture.hidden=[4],[500]", "--dry-run", *SHORT]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("job "))
    jobs = [line.split() for line in lines[first + 1 : first + 5]]
    assert [job[0] for job in jobs] == ["0", "1", "2", "3"]
    assert [{*job[2:4]} for job in jobs] == [
        {f"seed={seed}", f"'architecture.hidden=[{units}]'"} for seed in (0, 8) for units in (4, 500)
    ]
    assert "optimizer.epochs=40" in lines[:first]  # which all share
    assert not any(line.startswith("seed=") for line in lines[:first])
    assert lines[-1].startswith("4 jobs: about ")
    assert not [*tmp_path.iterdir()]


def test_a_wrong_job_is_refused_in_a_dry_sweep_too(capsys):
    assert main(["run", "-m", "optimizer.lr=0.1,-1", "--dry-run"]) == 2
    assert "Job 1 (optimizer.lr=-1): `optimizer.lr` must be a positive number" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["task=xor"],
        ["task=digits", "probe.steps=200", "architecture.hidden=[20,200]", "probe.layers=[1,2]"],
        ["task=digits", "probe=plane", "probe.resolution=12"],
        ["task=digits", "probe=data", "probe.points=500", "optimizer=sgd"],
    ],
    ids=" ".join,
)
def test_the_disk_that_is_told_is_what_a_run_takes_within_a_quarter(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [*words, "optimizer.epochs=1", "figures.draw=false", "replicates=4"]
    assert main(["run", *words, "hydra.run.dir=run"]) == 0
    taken = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert cost(load_config(composed(words))).disk == pytest.approx(taken, rel=0.25)


def test_more_of_everything_takes_longer():
    def seconds(*words):
        return cost(load_config(composed(["task=digits", *words]))).seconds

    base = seconds()
    for word in (
        "optimizer.epochs=60",
        "replicates=16",
        "architecture.hidden=[300]",
        "probe.steps=640",
        "probe.checkpoints=[1,2,3,4,5,6,7,8,9,10,11,12,13]",
        "optimizer.batch_size=1",
        "optimizer.volume_penalty=0.1",
    ):
        assert seconds(word) > base, word
    assert seconds("figures.draw=false") < base


def test_a_run_that_the_disk_cannot_hold_is_refused_with_its_size(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3_000_000))
    assert main(["run", "task=xor"]) == 2
    told = capsys.readouterr().err
    assert "`probe.checkpoints` must be few enough for the disk of" in told
    assert "3 MB are free" in told
    assert "about 6.74 MB" in told
    assert not [*tmp_path.iterdir()]
    config = load_config(composed(["task=xor"]))
    with pytest.raises(ConfigError, match="Lower it, the points of the probe, or replicates=8"):
        require_disk(config, tmp_path / "not" / "yet")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4_000_000))
    require_disk(config, tmp_path)  # an estimate refuses only what is certain


def test_a_long_run_says_so_before_it_starts(tmp_path, capsys):
    long = load_config(composed(["task=sinusoid", "optimizer.epochs=150000000"]))
    checks.told_of_cost(long, tmp_path)
    assert "This takes about " in (told := capsys.readouterr().err)
    assert " h of one core" in told
    checks.told_of_cost(load_config(composed(["task=sinusoid"])), tmp_path)
    assert capsys.readouterr().err == ""


def test_durations_are_told_in_the_unit_that_fits():
    assert [time_in_words(seconds) for seconds in (0, 1.4, 113, 114, 6839, 6840, 164_160)] == [
        "1 s",
        "1 s",
        "113 s",
        "2 min",
        "114 min",
        "2 h",
        "2 days",
    ]
