"""The paper's figures: what is run again, what is drawn again."""

import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import small_runs
from made_runs import made_run, plane

from nngeom_cli.cli.entry import main
from nngeom_cli.config.loader import load_config
from nngeom_cli.config.run import config_hash
from nngeom_cli.errors import ConfigError, DamageError
from nngeom_cli.figures import draw as figures
from nngeom_cli.groups import conf_directory
from nngeom_cli.launch.application import composed
from nngeom_cli.reproduction import earlier_runs
from nngeom_cli.reproduction import reproduce as reproduction
from nngeom_cli.reproduction.claims import CLAIMS, share_of_printed
from nngeom_cli.reproduction.earlier_runs import matching_runs, require_measured
from nngeom_cli.reproduction.report import as_code
from nngeom_cli.reproduction.reproduce import (
    PLANS,
    QUICK_THEORY,
    draw_missing,
    draw_missing_theory,
    figures_before,
)
from nngeom_cli.runs import run as runner
from nngeom_cli.runs.code_fingerprint import run_source
from nngeom_cli.store.checksums import sealed
from nngeom_cli.store.run import load_run
from nngeom_cli.theory.infinite_width import load_theory

FIGURES = sorted(path.stem for path in (conf_directory() / "experiment").glob("figure*.yaml"))


# ---- the experiments


@pytest.mark.parametrize("name", FIGURES)
def test_an_experiment_of_the_paper_composes_and_its_header_names_the_command(name):
    config = load_config(composed([f"experiment={name}"]))
    header = (conf_directory() / "experiment" / f"{name}.yaml").read_text(encoding="utf-8").split("defaults:")[0]
    assert f"nngeom run experiment={name}" in header
    assert "Expected:" in header
    assert config.replicates >= 8
    assert f"experiment={name}" in {plan.overrides[0] for plan in PLANS.values()}


def test_the_experiments_have_the_papers_numbers():
    one, wide, two, three = (load_config(composed([f"experiment={name}"])) for name in FIGURES)
    assert (one.architecture.hidden, wide.architecture.hidden, two.architecture.hidden) == ([2], [8], [8, 8])
    assert (one.optimizer.epochs, two.optimizer.epochs, three.optimizer.epochs) == (2000, 150_000, 30)
    assert (three.architecture.hidden, three.probe.top_k, three.optimizer.batch_size) == ([30], 6, 12)
    assert len({tuple(pair) for pair in three.probe.pairs}) == 20


# ---- what is run again


@pytest.fixture
def outputs(tmp_path):
    """`outputs(name, config, **changes)` leaves a run.json of a complete run, with changes."""

    def leave(folder, config, **changes):
        info = {"status": "complete", "config": asdict(config), "config_hash": config_hash(config)}
        info |= {"source": run_source()} | changes
        directory = tmp_path / "runs" / "any" / folder
        directory.mkdir(parents=True)
        (directory / "run.json").write_text(json.dumps(info))
        return directory

    return leave


def configs():
    return {name: load_config(composed(plan.words(quick=False))) for name, plan in PLANS.items()}


def test_a_complete_run_of_the_same_config_and_code_is_used_again_the_newest_first(outputs, tmp_path):
    config = configs()["figure2"]
    outputs("1", config)
    newest = outputs("2", config)
    assert matching_runs(configs(), tmp_path) == {"figure2": newest}


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "interrupted"},
        {"source": {"training": "other", "probe": "other"}},
        {"source": {"training": run_source()["training"]}},
        {"source": None},
        {"config_hash": "other"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_any_other_run_is_not(outputs, tmp_path, changes):
    outputs("1", configs()["figure2"], **changes)
    assert matching_runs(configs(), tmp_path) == {}


def test_a_run_that_only_claims_the_hash_of_a_config_is_not(outputs, tmp_path):
    wanted = configs()
    directory = outputs("1", wanted["figure2"])
    info = json.loads((directory / "run.json").read_text())
    other = asdict(wanted["figure1-sigmoid"])
    (directory / "run.json").write_text(json.dumps(sealed(info | {"id": "theirs", "config": other})))
    assert matching_runs(wanted, tmp_path) == {}
    (directory / "run.json").write_text(json.dumps(sealed(info | {"id": "theirs"})))
    assert matching_runs(wanted, tmp_path) == {"figure2": directory}


def test_damaged_runs_are_said_and_left_alone(outputs, tmp_path, capsys):
    wanted = configs()
    whole = outputs("1", wanted["figure2"])
    for number, content in enumerate(("", "[1]", '{"status": "complete", "id": "1"}'), start=2):
        (outputs(str(number), wanted["figure2"]) / "run.json").write_text(content)
    assert matching_runs(wanted, tmp_path) == {"figure2": whole}
    assert capsys.readouterr().err.count("/run.json` must ") == 3


def test_editing_a_value_makes_the_run_of_that_config_go_again_and_no_other(outputs, tmp_path):
    mine = configs()
    for name, config in mine.items():
        outputs(name, config)
    assert matching_runs(mine, tmp_path).keys() == PLANS.keys()
    mine["figure2"] = replace(mine["figure2"], seed=1)
    assert matching_runs(mine, tmp_path).keys() == PLANS.keys() - {"figure2"}


@pytest.mark.parametrize("part", ["training", "probe"])
def test_editing_the_code_of_a_run_makes_all_go_again(outputs, tmp_path, monkeypatch, part):
    for name, config in configs().items():
        outputs(name, config)
    edited = earlier_runs.run_source() | {part: "edited"}
    monkeypatch.setattr(earlier_runs, "run_source", lambda: edited)
    assert matching_runs(configs(), tmp_path) == {}


def test_the_quick_runs_are_others():
    whole = {config_hash(config) for config in configs().values()}
    quick = {config_hash(load_config(composed(plan.words(quick=True)))) for plan in PLANS.values()}
    assert len(whole) == len(quick) == len(PLANS)
    assert not whole & quick


# ---- what is drawn again


@pytest.fixture
def drawing(tmp_path, monkeypatch):
    """`drawing(quick)` draws a made run of each plan and returns the names that were drawn."""
    drawn = []

    def draw_figures(run, *, directory, name, note, cores):
        drawn.append((name, note))
        for kind in ("png", "pdf"):
            (directory / f"{name}-made.{kind}").write_text("")
        return [directory / f"{name}-made.png"]

    def draw_as_in_the_paper(_run, directory, name, _note):
        for kind in ("png", "pdf"):
            (directory / f"{name}-paper.{kind}").write_text("")
        return directory / f"{name}-paper.png"

    monkeypatch.setattr(reproduction, "draw_figures", draw_figures)
    monkeypatch.setattr(reproduction, "draw_as_in_the_paper", draw_as_in_the_paper)
    runs = {name: made_run(Path(name), plane()) for name in PLANS}

    def draw_again(quick=False):
        drawn.clear()
        figures = draw_missing(runs, tmp_path, figures_before(tmp_path), quick)
        (tmp_path / "REPRODUCTION.json").write_text(json.dumps({"figures": figures}))
        return list(drawn)

    return draw_again, runs


def test_figures_are_drawn_once_and_a_deleted_one_again(drawing, tmp_path):
    draw_again, _ = drawing
    assert [name for name, _ in draw_again()] == list(PLANS)
    assert draw_again() == []
    (tmp_path / "figure2-made.pdf").unlink()
    assert draw_again() == [("figure2", None)]
    assert draw_again() == []


@pytest.mark.parametrize("content", ["", "[]", '{"figures": 1}', '{"figures": {"figure2": {"files": 1}}}', "[" * 10**5])
def test_a_damaged_record_of_what_was_drawn_draws_all_again(drawing, tmp_path, content):
    draw_again, _ = drawing
    draw_again()
    (tmp_path / "REPRODUCTION.json").write_text(content)
    assert [name for name, _ in draw_again()] == list(PLANS)


def test_the_figures_of_another_run_are_drawn_again_and_so_are_all_when_their_code_changes(drawing, monkeypatch):
    draw_again, runs = drawing
    draw_again()
    runs["figure2"] = made_run(Path("another"), plane())
    assert [name for name, _ in draw_again()] == ["figure2"]
    monkeypatch.setattr(reproduction, "source_hash", lambda *_: "edited")
    assert [name for name, _ in draw_again()] == list(PLANS)


def test_each_quick_figure_says_so(drawing):
    draw_again, _ = drawing
    assert all(note.startswith("QUICK: ") for _, note in draw_again(quick=True))


def test_the_theory_is_drawn_once_and_wide_networks_have_a_third_of_the_printed_curvature(tmp_path, capsys):
    config = load_theory(composed(QUICK_THEORY, "theory"))
    curves, drawn = draw_missing_theory(config, tmp_path, {}, quick=True)
    share = share_of_printed(curves)
    assert (share.n, share.value) == (4, pytest.approx(1 / 3, rel=0.1))
    assert share.low < 1 / 3 < share.high < 1
    assert capsys.readouterr().out == "drawing theory\n"
    assert draw_missing_theory(config, tmp_path, {"theory": drawn}, quick=True)[1] == drawn
    assert capsys.readouterr().out == ""
    content = (tmp_path / "theory.nc").read_bytes()
    (tmp_path / "theory.nc").write_bytes(content[:-100] + bytes([content[-100] ^ 1]) + content[-99:])
    again, _ = draw_missing_theory(config, tmp_path, {"theory": drawn}, quick=True)
    assert capsys.readouterr().out == "drawing theory\n"
    assert again.identical(curves)
    draw_missing_theory(replace(config, seed=1), tmp_path, {"theory": drawn}, quick=True)
    assert capsys.readouterr().out == "drawing theory\n"


# ---- the quick look


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_a_quick_plan_composes_and_measures_what_the_whole_one_does(plan):
    whole, quick = (load_config(composed(plan.words(short))) for short in (False, True))
    assert quick.optimizer.epochs < whole.optimizer.epochs
    assert replace(quick.probe, checkpoints=[], **pairs(quick)) == replace(whole.probe, checkpoints=[], **pairs(quick))
    assert (quick.task, quick.architecture) == (whole.task, whole.architecture)


def pairs(config):
    return {"pairs": config.probe.pairs} if config.probe.kind == "path" else {}


SHORTER = {"optimizer.epochs": "5", "probe.checkpoints": "[0,2]", "replicates": "2"}


def shorter(plan):
    """A plan whose quick run is quicker still."""
    points = {"probe.steps": "6"} if "experiment=figure3" in plan.overrides else {"probe.resolution": "8"}
    given = dict(word.split("=", 1) for word in plan.quick)
    return replace(plan, quick=tuple(f"{key}={value}" for key, value in (given | SHORTER | points).items()))


def first_sheet(sheets):
    return lambda run: dict(list(sheets(run).items())[:1])


@pytest.mark.slow
def test_reproduce_quick_does_what_is_missing_and_on_a_second_call_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))  # its runs are processes of their own
    for kind, sheets in figures.SHEETS.items():  # tests/figures draws all of them
        monkeypatch.setitem(figures.SHEETS, kind, first_sheet(sheets))
    for name, plan in PLANS.items():
        monkeypatch.setitem(PLANS, name, shorter(plan))
    for name in list(PLANS)[2:]:  # a process takes longer to start than to run
        assert main(["run", *PLANS[name].words(quick=True), "figures.draw=false"]) == 0
    capsys.readouterr()
    assert main(["reproduce", "--quick"]) == 0
    first = capsys.readouterr().out
    assert first.startswith(f"{len(PLANS) - 2} of {len(PLANS)} runs exist; 2 to do")
    assert first.count("nngeom run") == 2
    folder = tmp_path / "outputs" / "figures" / "quick"
    assert first.splitlines()[-1] == "outputs/figures/quick/REPRODUCTION.md"
    table = json.loads((folder / "REPRODUCTION.json").read_text())
    assert len(table["claims"]) == len(CLAIMS)
    assert all(list(folder.glob(f"{name}-*.pdf")) for name in PLANS)
    assert main(["reproduce", "--quick"]) == 0
    second = capsys.readouterr().out
    assert "nngeom run" not in second
    assert "drawing" not in second


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "null",
        '{"figures": 3}',
        '{"figures": {"figure2": 3}}',
        '{"figures": {"figure2": {"files": [3]}}}',
        '{"figures": {"figure2": {"files": "abc"}}}',
        '{"figures": {"figure2": {"files": ["../../outside.png"]}}}',
        '{"figures": {"figure2": {"files": ["/etc/hosts"]}}}',
        '{"figures": {"figure2": {"files": ["a](http:b.png"]}}}',
        '{"figures": {"figure2": {"files": ["' + 5000 * "a" + '.png"]}}}',
        '{"figures": {"figure2": {"files": [""]}}}',
        "[" * 1000,
    ],
)
def test_a_table_that_somebody_else_wrote_names_no_figure_elsewhere(tmp_path, text):
    (tmp_path / "REPRODUCTION.json").write_text(text)
    assert figures_before(tmp_path) == {}


@pytest.mark.parametrize(
    "text", ["[]", '{"status": "complete", "source": [1]}', '{"status": "complete", "config_hash": []}']
)
def test_a_run_that_somebody_else_wrote_is_passed_over(tmp_path, text, capsys):
    (tmp_path / "runs" / "xor" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "xor" / "a" / "run.json").write_text(text)
    assert matching_runs(configs(), tmp_path) == {}
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_pipe_in_the_place_of_a_run_is_passed_over(tmp_path, capsys):
    (tmp_path / "runs" / "xor" / "a").mkdir(parents=True)
    os.mkfifo(tmp_path / "runs" / "xor" / "a" / "run.json")
    assert matching_runs({}, tmp_path) == {}
    assert "must be a run directory" in capsys.readouterr().err


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """A run that somebody else made, and its config."""
    mine, directory = small_runs.config(optimizer__epochs=2, probe__checkpoints=[]), tmp_path_factory.mktemp("theirs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NNGEOM_CORES", "1")
        runner.run(mine, directory, command="nngeom run")
    return load_run(directory), mine


def without_scores(info):
    return info | {"replicates": [row | {"accuracy": None} for row in info["replicates"]]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda mine, info: (replace(mine, seed=mine.seed + 1), info), "other replicates"),
        (lambda mine, info: (replace(mine, replicates=9), info), "other replicates"),
        (lambda mine, info: (mine, info | {"replicates": []}), "other replicates"),
        (lambda mine, info: (replace(mine, probe=replace(mine.probe, layers=[2])), info), "other layers"),
        (lambda mine, info: (replace(mine, probe=replace(mine.probe, kind="path")), info), "a probe of another kind"),
        (lambda mine, info: (mine, without_scores(info)), "no scores"),
        (lambda mine, info: (mine, {key: info[key] for key in info if key != "wall_seconds"}), "no command or time"),
    ],
)
def test_a_run_whose_config_says_one_thing_and_its_numbers_another_is_refused(theirs, change, words):
    run, mine = theirs
    require_measured(run, mine)
    asked, info = change(mine, run.info)
    with pytest.raises(DamageError, match=rf"must hold what a run of its config measures\. Got {words}\. Move it"):
        require_measured(replace(run, info=info), asked)


@pytest.mark.parametrize("command", ["nngeom run `id`", "nngeom run\n# Holds"])
def test_a_command_that_somebody_else_wrote_stays_in_its_line(command):
    assert as_code("nngeom run task=xor") == "`nngeom run task=xor`"
    assert "\n" not in as_code(command)
    assert as_code(command).replace("\\`", "").count("`") in (0, 2)


def test_figures_do_not_go_through_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "figures").symlink_to("elsewhere")
    for quick in (True, False):
        directory = tmp_path / "figures" / "quick" if quick else tmp_path / "figures"
        with pytest.raises(ConfigError, match="must be a file or folder itself"):
            reproduction.reproduce({}, None, directory, quick=quick, outputs=tmp_path)
    assert list((tmp_path / "elsewhere").iterdir()) == []
