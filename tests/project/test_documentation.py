"""README and docs: their links lead somewhere, their commands and their code run.

In a page, a path that ends in `/...` stands for the run or the sweep that the page's earlier commands made, and
`nngeom run` is shortened here. Pictures are drawn of the README's runs; elsewhere by the commands that only draw.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import FEWER_SETTINGS

from nngeom_cli.cli.entry import main

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
FOLLOWED = ROOT / "docs" / "adding.md"  # tests/project/test_adding.py puts its code where it belongs
FILES = re.compile(r"`([\w/]+\.yaml)`,\n\n```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)  # that the reader writes
RUN = "outputs/runs/xor/..."
OUTSIDE = {"source", "eval", "git", "pip"}  # what a shell or another program does is not ours to test


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def commands(page):
    lines = "".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def anchors(page):
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def name(page):
    return str(page.relative_to(ROOT))


@pytest.fixture(autouse=True)
def joblib_ends():
    """Its processes wait for more work for minutes; other tests count processes."""
    yield
    if loky := sys.modules.get("joblib.externals.loky"):
        loky.get_reusable_executor().shutdown(wait=True)


@pytest.fixture(scope="module")
def xor_run(tmp_path_factory):
    """What `make run` makes, with few networks and points and without the pictures."""
    folder = tmp_path_factory.mktemp("readme") / "run"
    few = ["replicates=2", "probe.resolution=10", "probe.checkpoints=[10]", "figures.draw=false"]
    assert main(["run", "task=xor", *few, f"hydra.run.dir={folder}"]) == 0
    return str(folder)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        linked = page.parent / file if file else page
        assert linked.exists(), f"{name(page)} links to {target}"
        assert not anchor or anchor in anchors(linked), f"{name(page)} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_programs_of_shell_blocks_are_known(page):
    for program, *words in commands(page):
        assert program in {"nngeom", "make"} | OUTSIDE, f"{name(page)}: {program}"
        if program == "make":
            assert words[0] in TARGETS, f"{name(page)}: make {words[0]}"


def shortened(words, draw):
    """The words of a run with few epochs, networks and points, of theory with few networks."""
    if words[0] == "resume":
        return [re.sub(r"^optimizer\.epochs=.*", "optimizer.epochs=9", word) for word in words]
    if words[0] == "theory":
        return [*words, "widths=[8,16]", "networks=2"]
    if words[0] != "run" or {"--from", "--help", "--cfg"} & set(words):
        return words
    along_lines = "task=digits" in words and not {"probe=plane", "probe=data"} & set(words)
    points = {"probe.steps": "8"} if along_lines else {"probe.resolution": "10"}
    points = {"probe.points": "20"} if "probe=data" in words else points
    points = {"probe.segments": "8"} if "probe=geodesic" in words else points
    short = {"optimizer.epochs": "6", "replicates": "2", "probe.checkpoints": "[3]"} | points
    if not draw:
        short["figures.draw"] = "false"
    given = dict(word.partition("=")[::2] for word in words if "=" in word)
    if given.get("experiment") in FEWER_SETTINGS:
        fewer = dict(word.partition("=")[::2] for word in FEWER_SETTINGS[given["experiment"]])
        if {"probe.points", "probe.steps"} & set(fewer):  # it has no grid
            short.pop("probe.resolution", None)
        short = fewer | short
    return [word for word in words if "=" not in word] + [f"{key}={value}" for key, value in (given | short).items()]


def not_yet_run(page):
    """Its commands, without those that an earlier page has too, unless a later one goes on with what they make."""
    earlier = [words for other in PAGES[: PAGES.index(page)] for words in commands(other)]
    listed = [words for words in commands(page) if words[0] == "nngeom"]
    for place, words in enumerate(listed):
        goes_on = any(word.endswith("/...") for later in listed[place:] for word in later)
        if goes_on or words not in earlier:
            yield words[1:]


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if page != FOLLOWED and commands(page)], ids=name)
def test_shell_commands_run(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "points.csv").write_text("x,y,class\n" + "0,0,a\n1,0,b\n2,1,a\n0,3,b\n" * 5)  # the reader's own
    for file, content in FILES.findall(page.read_text(encoding="utf-8")):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text(content)
    made = {}
    for words in not_yet_run(page):
        kind = "sweeps" if {"-m", "--multirun"} & set(words) else "runs"
        words = [made[re.search("runs|sweeps", word)[0]] if word.endswith("/...") else word for word in words]
        words = shortened(words, draw=page.name == "README.md" and kind == "runs")
        code = main(words)
        printed, said = capsys.readouterr()
        assert code == 0, f"nngeom {' '.join(words)}\n{printed}{said}"
        output = printed.splitlines()
        if words[0] == "run" and Path(output[-1]).is_dir():
            made[kind] = output[-1]


@pytest.mark.slow
def test_python_blocks_of_each_page_run_in_order(tmp_path, xor_run):
    """Each page with names of its own, all in one process."""
    for page in PAGES:
        if page != FOLLOWED and (code := blocks(page, "python")):
            (tmp_path / name(page).replace("/", "-")).write_text(
                "\n".join(code).replace(RUN, xor_run), encoding="utf-8"
            )
    pages = [path.name for path in tmp_path.iterdir()]
    assert {"README.md", "docs-geometry.md"} <= set(pages)
    code = "import matplotlib, runpy\nmatplotlib.use('Agg')\n" + "\n".join(
        f"runpy.run_path({page!r})" for page in pages
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
