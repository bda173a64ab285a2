"""Wrong words lead on: what is suggested can be pasted into a shell, and works."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from nngeom_cli.cli.entry import COMMANDS
from nngeom_cli.quoting import pasted, quoted

NAMES = [
    "lr=0.02",
    "a b",
    " a ",
    "é",
    "日本",
    "a,b",
    "[x]",
    "{x}",
    "(1)",
    "it's",
    'q"x',
    "a;b&c",
    "#x",
    "a\\b",
    "$x",
    "!x",
    "a:b=c",
    "<x>",
]


def suggested(line):
    """What a sentence says to type, as the words that a shell makes of it."""
    found = re.search(r"Did you mean `(?:nngeom )?(.+)`\?$", line) or re.search(r"(?:Type|brackets): (.+)$", line)
    return shlex.split(found[1])


# ---- text that stands for itself


def read(word):
    """The value that Hydra and OmegaConf read from `key=value`."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    value = OverridesParser.create().parse_override(word).value()
    return OmegaConf.create({"key": value, "x": "resolved"}).key


@given(st.text(st.sampled_from("\\\"'${x}a=,[]()~é\t :#")) | st.text(st.characters(exclude_categories=["C"])))
def test_hydra_reads_quoted_text_as_it_is(text):
    assert read(f"key={quoted(text)}") == text
    if not text.startswith("~"):
        (word,) = shlex.split(pasted("key", text))
        assert str(read(word)) == text or re.fullmatch(r"[\w.+:/-]+", text, re.ASCII)


PATHS = [("hydra.run.dir", name) for name in NAMES]
PATHS += [("hydra.sweep.dir", name) for name in ("lr=0.02", " a ", "日本", "[x]", "it's", "a\\b")]


@pytest.mark.parametrize(("key", "name"), PATHS)
def test_a_path_works_as_it_is_or_as_is_suggested(nngeom, runner, name, key):
    words = ["run", *(["-m", "seed=0,1"] if key == "hydra.sweep.dir" else [])]
    code, out, err = nngeom(*words, f"{key}=out/{name}")
    if code:
        (line,) = err
        assert (code, out, runner.runs) == (2, [], [])
        assert line.startswith(f"nngeom: `{key}` must be ")
        code, out, err = nngeom(*words, *suggested(line))
    assert (code, err) == (0, [])
    assert Path(out[-1]) == Path.cwd() / "out" / name.rstrip()
    assert Path(out[-1]).is_dir()


@pytest.mark.parametrize("name", sorted({*NAMES} - {" a "}))
def test_a_data_file_works_as_it_is_or_as_is_suggested(nngeom, runner, name):
    Path(f"{name}.csv").write_text("x,y,class\n" + "0,0,a\n1,0,b\n2,1,a\n0,3,b\n" * 2)
    words = ["run", "task=csv"]
    code, _, err = nngeom(*words, f"task.path={name}.csv")
    if code:
        (line,) = err
        code, _, err = nngeom(*words, *suggested(line))
    assert (code, err) == (0, [])
    assert runner.runs[-1][0].task.path == str(Path.cwd() / f"{name}.csv")


def test_words_that_the_shell_tore_apart_are_put_together(nngeom, runner):
    Path("my own (1) file.csv").write_text("x,y,class\n" + "0,0,a\n1,0,b\n2,1,a\n0,3,b\n" * 2)
    _, _, err = nngeom("run", "task=csv", "task.path=my", "own", "(1)", "file.csv", "seed=3")
    assert nngeom("run", "task=csv", *suggested(err[0]), "seed=3")[0] == 0
    assert runner.runs[-1][0].task.path == str(Path.cwd() / "my own (1) file.csv")
    _, _, err = nngeom("run", "probe.checkpoints=log", "60")
    assert nngeom("run", *suggested(err[0]))[0] == 0


@pytest.mark.parametrize("key", ["hydra.run.dir", "task.path"])
def test_the_users_home_is_written_out(nngeom, runner, monkeypatch, key):
    monkeypatch.setenv("HOME", str(Path.cwd() / "my home"))
    code, _, err = nngeom("run", f"{key}=~/x")
    assert code == 2
    assert suggested(err[0]) == [f'{key}="{Path.cwd()}/my home/x"']


@pytest.mark.parametrize("words", [["run", 'hydra.run.dir="~/x"'], ["theory", 'directory="~/x"']])
def test_no_folder_is_named_like_the_users_home(nngeom, runner, words):
    code, _, err = nngeom(*words)
    assert code == 2
    assert "must be a path that needs no shell. Got ~/x. " in err[0]
    assert list(Path.cwd().iterdir()) == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small run, complete."""
    from nngeom_cli.config.loader import load_config
    from nngeom_cli.launch.application import composed
    from nngeom_cli.runs.run import run

    directory = tmp_path_factory.mktemp("whole")
    small = ["optimizer.epochs=2", "replicates=1", "probe.resolution=3", "probe.checkpoints=[]", "figures.draw=false"]
    run(load_config(composed(small)), directory, command="nngeom run")
    return directory


@pytest.mark.parametrize("name", ["figures.band=0.3", "it's $HOME, [é~#]", "seed=1,2"])
def test_a_run_in_a_folder_of_any_name_can_be_used_again(whole, name, monkeypatch, tmp_path, capsys):
    from nngeom_cli.cli.entry import main
    from nngeom_cli.store.run import load_run

    monkeypatch.chdir(tmp_path)
    shutil.copytree(whole, name)
    assert main(["resume", name]) == 0
    assert main(["figures", name]) == 0
    assert main(["animate", name]) == 0
    assert main(["summarize", name]) == 0
    capsys.readouterr()
    assert main(["run", "--from", name, "optimizer.epochs=3", "hydra.run.dir=again"]) == 0
    assert shlex.split(load_run("again").info["command"])[3:5] == [str(tmp_path / name), "optimizer.epochs=3"]


# ---- what others call our commands, keys and values

LEADS_ON = [  # what is typed, what is suggested
    ("help", "--help"),
    ("help run", "run --help"),
    ("version", "--version"),
    ("--versoin", "--version"),
    ("ls", "list"),
    ("results", "summarize outputs"),
    ("train task=xor", "run task=xor"),
    ("fit", "run"),
    ("plot RUN", "figures RUN"),
    ("draw", "figures RUN"),
    ("-m task=xor,moons", "run -m task=xor,moons"),
    ("--epochs 100", "run optimizer.epochs=100"),
    ("task=xor seed=3", "run task=xor seed=3"),
    ("RUN", "figures RUN"),
    ("figurs RUN", "figures"),
    ("run --epochs 100", "optimizer.epochs=100"),
    ("run --learning_rate 0.1", "optimizer.lr=0.1"),
    ("run --learning-rate=0.1 task=xor", "optimizer.lr=0.1"),
    ("run task=xor --batch-size 10", "optimizer.batch_size=10"),
    ("run --hidden 8,8", "architecture.hidden=[8,8]"),
    ("run --seed 3", "seed=3"),
    ("run --gpu", "device=cuda"),
    ("run --exp figure1", "experiment=figure1"),
    ("run --output_dir 'my out'", "'hydra.run.dir=\"my out\"'"),
    ("run --dryrun", "--dry-run"),
    ("run lr=0.1", "optimizer.lr=0.1"),
    ("run epochs=10", "optimizer.epochs=10"),
    ("run width=16", "architecture.hidden=[16]"),
    ("run hidden=16", "architecture.hidden=[16]"),
    ("run hidden=16,8", "architecture.hidden=[16,8]"),
    ("run depth=3", "architecture.hidden=[8,8,8]"),
    ("run seeds=0,1,2", "-m seed=0,1,2"),
    ("run -m seeds=0,1,2", "-m seed=0,1,2"),
    ("run task=xor -m seeds=0,1,2", "-m seed=0,1,2"),
    ("run RUN", "run --from RUN"),
    ("run seeds=5", "seed=0 replicates=5"),
    ("run n_seeds=5", "seed=0 replicates=5"),
    ("run batch_size=10", "optimizer.batch_size=10"),
    ("run wd=0.1", "optimizer.weight_decay=0.1"),
    ("run activation=swish", "architecture.activation=silu"),
    ("run model.width=16", "architecture.hidden=[16]"),
    ("run optimizer.learning_rate=1", "optimizer.lr=1"),
    ("run optimizer.hidden=[4]", "architecture.hidden=[4]"),
    ("run dataset=moons", "task=moons"),
    ("run tâsk=xor", "task=xor"),
    ("run xor", "task=xor"),
    ("run figure2", "experiment=figure2"),
    ("run points.csv", "task=csv task.path=points.csv"),
    ("run task=data/points.npz", "task=npz task.path=data/points.npz"),
    ("run task=XOR", "xor"),
    ("run task=two_moons", "moons"),
    ("run architecture.activation=swish", "silu"),
    ("run architecture.activation=ReLU", "relu"),
    ("run architecture.activation=leaky_relu", "softplus"),
    ("run optimizer=rmsprop", "adam"),
    ("run optimizer=SGD", "sgd"),
    ("run device=gpu", "cuda"),
    ("run dtype=double", "float64"),
    ("run experiment=fig1", "figure1"),
    ("run hydra/launcher=slurm", "submitit_slurm"),
    ("run 'architecture.hidden=(8,8)'", "architecture.hidden=[8,8]"),
    ("run architecture.hidden=8,8", "architecture.hidden=[8,8]"),
    ("run 'task.columns=[länge,breite]'", '\'task.columns=["länge","breite"]\''),
    ("theory activation=relu", "softplus"),
    ("theory width=[16]", "widths=[16]"),
    ("theory activation=erf,sin", "activation=[erf,sin]"),
    ("theory widths=8,16", "widths=[8,16]"),
    ("theory dimension=3", "d=3"),
    ("theory sigma=2", "weight_std=2"),
    ("figures RUN band=0.3", "figures.band=0.3"),
    ("figures RUN convention=paper", "figures.curvature_convention=paper"),
]


@pytest.mark.parametrize(("line", "expected"), LEADS_ON, ids=lambda text: text)
def test_a_wrong_word_leads_on(nngeom, runner, line, expected):
    (Path.cwd() / "RUN").mkdir()
    Path("RUN/run.json").write_text('{"status": "complete"}')
    code, out, err = nngeom(*shlex.split(line))
    assert (code, out, runner.runs, len(err)) == (2, [], [], 1)
    assert suggested(err[0]) == shlex.split(expected)


@pytest.mark.parametrize(
    ("line", "clues"),
    [
        ("run task=mnist", ["digits", "task=npz task.path=FILE"]),
        ("run task=iris", ["task=csv"]),
        ("run seed = 3", ["seed=VALUE"]),
        ("run 'optimizer.lr=1 seed=3'", ["a word of its own"]),
        ("run optimizer.lr=0,1", ["-m", "optimizer.lr=0.1"]),
        ("run optimizer.epochs=1,000", ["-m", " optimizer.epochs=1000."]),
        ("run -m 'seed=range(0,1000000000)'", ["`-m` must be at most 100000 jobs in a sweep"]),
        ("run -m 'seed=range(0,1000)' 'replicates=range(1,1000)'", ["Got 999000 or more."]),
        ("run -m --cfg job", ["`--cfg` must be left out with -m"]),
        ("run seed=1,2 -m --info config", ["`--info` must be left out with -m"]),
        ("run task=xor -m seed=1,b", ["Job 1 (task=xor seed=b): `seed` must be an integer"]),
        ("run seed=x --config-dir . task=moons replicates=b -m", ["`seed` must be an integer"]),
        ("run --foo 3", ["--foo", "nngeom run --help"]),
        ("figures RUN lr=3", ["nngeom run --from RUN lr=3"]),
        ("figures nowhere", ["nowhere", "outputs/runs"]),
        ("animate RUN/run.json", ["a file"]),
        ("-sc", ["install=bash"]),
        ("-sc install=tcsh", ["install=tcsh", "fish"]),
    ],
    ids=lambda text: text if isinstance(text, str) else "",
)
def test_a_wrong_word_is_explained(nngeom, runner, line, clues):
    (Path.cwd() / "RUN").mkdir()
    Path("RUN/run.json").write_text('{"status": "complete"}')
    code, out, err = nngeom(*shlex.split(line))
    assert (code, out, runner.runs, len(err)) == (2, [], [], 1)
    for clue in clues:
        assert clue in err[0]


def test_a_folder_that_cannot_be_searched_holds_no_runs(nngeom, runner, monkeypatch):
    def unreadable(path, pattern):
        raise OSError(22, "Invalid argument", str(path / pattern))  # as of /proc

    Path("folder").mkdir()
    monkeypatch.setattr(Path, "glob", unreadable)
    code, _, err = nngeom("figures", "folder")
    assert (code, len(err)) == (2, 1)
    assert "Got folder without run.json." in err[0]


@pytest.mark.parametrize("command", ["figures", "animate", "resume", "run --from"])
def test_a_folder_of_runs_names_the_newest(nngeom, runner, command):
    import os

    for number, name in enumerate(["xor/old", "xor/b c", "moons/d", "moons/new"]):
        run = Path("outputs/runs", name)
        run.mkdir(parents=True)
        (run / "run.json").write_text('{"status": "complete"}')
        os.utime(run / "run.json", (number, number))
    code, _, err = nngeom(*command.split(), "outputs/runs")
    assert code == 2
    names = shlex.split(err[0].rpartition("The newest: ")[2])
    assert names == ["outputs/runs/moons/new", "outputs/runs/moons/d", "outputs/runs/xor/b c"]


def test_every_synonym_names_what_there_is(nngeom, runner):
    from nngeom_cli import synonyms
    from nngeom_cli.config.architecture import ACTIVATIONS, PARAMETRIZATIONS
    from nngeom_cli.config.general import DEVICES, DTYPES
    from nngeom_cli.config.unknown_key import key_meant
    from nngeom_cli.groups import conf_directory

    fixed = {
        "architecture.activation": [*ACTIVATIONS, "monomial2", "monomial3"],
        "architecture.parametrization": PARAMETRIZATIONS,
        "device": DEVICES,
        "dtype": DTYPES,
    }
    for command in synonyms.COMMANDS.values():
        assert command.split()[1] in (*COMMANDS, "--help", "--version")
    for word, key in synonyms.KEYS.items():
        name = key.partition("=")[0]
        assert word == synonyms.plain(word)
        assert name.startswith(("-", "hydra")) or key_meant(name) == name, key
    for key, values in synonyms.VALUES.items():
        choices = fixed.get(key) or [path.stem for path in (conf_directory() / key).glob("*.yaml")]
        for word, value in values.items():
            assert word == synonyms.plain(word)
            assert value in choices, (key, value)
