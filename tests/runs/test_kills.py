"""Three hundred times killed, in real processes: a run, a sweep, an extension, drawn, with something wrong besides."""

import contextlib
import multiprocessing
import os
import random
import shutil
import sys
import time
import warnings

import psutil
import pytest
import small_figures
from processes import left_of
from small_runs import assert_same

from nngeom_cli.cli.entry import main
from nngeom_cli.figures import draw as figures
from nngeom_cli.figures.style import SETTINGS
from nngeom_cli.store.run import load_run

WORDS = ["optimizer.epochs=300", "probe.checkpoints=[0,100]", "probe.resolution=5", "replicates=2"]
WORDS += ["checkpoint_seconds=0.02", "device=cpu"]
LONGER = "optimizer.epochs=600"
COMMANDS = {  # that begins, as long as nothing is there to resume
    "run": ["run", *WORDS, "hydra.run.dir=made"],
    "sweep": ["run", "-m", *WORDS, "seed=0,5", "hydra.sweep.dir=made"],
    "extension": ["resume", "made", LONGER],
}
BEGUN = ("run.json", "sweep.json", ".hydra/overrides.yaml")
TROUBLES = ("nothing else", "moved", "full disk", "stopped worker")
KILLS = 25  # of each command with each trouble
FIRST, COLD = 0.1, 0.2  # seconds after a cold start; the share of starts that are cold
RUNS = {"run": ["."], "sweep": ["0-seed=0", "1-seed=5"], "extension": ["."]}
PATIENCE = 300  # seconds, on a machine that is busy


class Command:
    """nngeom in a process of its own: a cold start, or a fork of this one, which has imported all."""

    def __init__(self, words, folder, cold, log):
        self.words, self.folder, self.cold, self.log = words, folder, cold, log
        self.process = multiprocessing.get_context("fork").Process(target=self._work)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # pytest's threads hold no lock that matters here
            self.process.start()

    def _work(self):
        warnings.resetwarnings()
        os.setsid()
        os.chdir(self.folder)
        os.environ["NNGEOM_CORES"] = "2"
        with self.log.open("w") as file:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
            sys.stdout = sys.stderr = file
            if self.cold:
                os.execv(sys.executable, [sys.executable, small_figures.__file__, *self.words])
            figures.SHEETS["grid"] = small_figures.one_sheet
            code = main(self.words)
        os._exit(code)

    def wait(self, seconds):
        self.process.join(max(0, seconds))

    @property
    def family(self):
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def end(self):
        """Kills it, if it is still there, and returns what it ended with; of its processes none is left."""
        family = self.family
        self.process.kill()
        self.process.join()
        assert left_of(family) == []
        return self.process.exitcode

    @property
    def said(self):
        return self.log.read_text()


@pytest.fixture(autouse=True, scope="module")
def _pictures_as_a_cold_command_draws_them(as_a_user_has_them):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SETTINGS, "pdf.fonttype", as_a_user_has_them["pdf.fonttype"])
        patch.setattr("nngeom_cli.figures.output.DPI", as_a_user_has_them["DPI"])
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What each command makes when nobody kills it, and seconds that it takes from a cold start and from a warm one."""
    here, made = tmp_path_factory.mktemp("cold") / "here", {}
    here.mkdir()
    start = time.monotonic()
    command = Command(COMMANDS["run"], here, cold=True, log=here.parent / "said")
    command.wait(PATIENCE)
    assert command.end() == 0, command.said
    cold = time.monotonic() - start
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NNGEOM_CORES", "2")
        patch.setitem(figures.SHEETS, "grid", small_figures.one_sheet)
        for name in ("run", *COMMANDS):  # the first time all is imported, which a fork has then
            folder = tmp_path_factory.mktemp(name)
            if name == "extension":
                shutil.copytree(made["run"][0] / "made", folder / "made")
            patch.chdir(folder)
            start = time.monotonic()
            assert main(COMMANDS[name]) == 0
            made[name] = folder, cold, time.monotonic() - start
    check("run", here / "made", made["run"][0])
    return made


def next_words(name, made):
    """The command that goes on with what is there."""
    if name == "extension":
        return COMMANDS[name]
    if any((made / file).exists() for file in BEGUN):
        return ["resume", "made"]
    shutil.rmtree(made, ignore_errors=True)
    return COMMANDS[name]


def pictures(directory):
    return {path.name: path.read_bytes() for path in (directory / "figures").rglob("*.*")}


def check(name, made, whole):
    """It is as if nobody had killed anything."""
    for run in RUNS[name]:
        found, right = load_run(made / run), load_run(whole / "made" / run)
        assert_same(found, right, epochs=right.geometry.epoch.values.tolist())
        assert pictures(found.directory) == pictures(right.directory)
    assert not list(made.rglob(".half-*"))


class Trouble:
    """What goes wrong besides, at one moment of a command."""

    def __init__(self, name, folder, chance, disk):
        self.name, self.folder, self.chance, self.disk, self.moves = name, folder, chance, disk, 0

    def prepare(self, serious):
        if self.name == "full disk":
            _, again = self.disk
            used = shutil.disk_usage(self.folder).used // 1024
            again(f"rw,size={used + self.chance.randrange(4, 700) if serious else 10**6}k")

    def happen(self, command):
        if self.name == "moved" and (self.folder / "made").exists():
            self.moves += 1
            new = self.folder.parent / f"moved-{self.moves}"
            new.mkdir()
            (self.folder / "made").rename(new / "made")
            self.folder = new
        if self.name == "stopped worker" and (family := command.family):
            with contextlib.suppress(psutil.NoSuchProcess):
                self.chance.choice(family).suspend()

    def explains(self, code, said):
        """Whether a command that was not killed may end with this code, and these words."""
        if self.name == "moved":
            return {1: "must stay where it is" in said, 2: "must be" in said}.get(code, False)
        return self.name == "full disk" and code == 1 and "No space left on device. Make room, " in said


def killed(name, trouble, whole, folder, log, disk, kills):
    """Begins a command, kills it and goes on until it is done, and again, until it was killed so many times."""
    original, cold, warm = whole[name]
    chance, here = random.Random(f"{name} {trouble}"), folder / "here"
    while kills > 0:
        here.mkdir()
        if name == "extension":
            shutil.copytree(whole["run"][0] / "made", here / "made")
        ill = Trouble(trouble, here, chance, disk)
        code = None
        while code != 0:
            is_cold = chance.random() < COLD
            seconds = chance.uniform(FIRST, cold) if is_cold else chance.uniform(0, warm)
            ill.prepare(serious=kills > 0)
            command = Command(next_words(name, ill.folder / "made"), ill.folder, is_cold, log)
            if kills > 0:
                moment = chance.uniform(0, seconds)
                command.wait(moment)
                ill.happen(command)
                command.wait(seconds - moment)
            else:
                command.wait(PATIENCE)
            code = command.end()
            if code < 0:
                assert kills > 0, command.said  # else it hangs
                kills -= 1
            else:
                assert "Traceback" not in command.said
                assert code == 0 or ill.explains(code, command.said), (code, command.said)
        check(name, ill.folder / "made", original)
        for path in folder.iterdir():
            shutil.rmtree(path)


@pytest.fixture
def place(trouble, request, tmp_path):
    """A folder to work in, a file for what is said, and, for a full disk, how that is made larger and smaller."""
    log, folder, disk = tmp_path / "said", tmp_path / "work", None
    if trouble == "full disk":
        disk = request.getfixturevalue("small_disk")
        folder = disk[0](10**6)
    folder.mkdir(exist_ok=True)
    return folder, log, disk


@pytest.mark.exhaustive
@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_killed_ends_as_if_it_was_not(name, trouble, whole, place):
    killed(name, trouble, whole, *place, kills=KILLS)
