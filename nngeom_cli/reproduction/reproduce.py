"""The paper's figures and claims: runs what is missing, draws everything, reports what was measured for each claim."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from nngeom_cli.config.run import Config
from nngeom_cli.errors import FolderError
from nngeom_cli.figures.draw import draw_as_in_the_paper, draw_figures
from nngeom_cli.figures.infinite_width import save_theory
from nngeom_cli.reproduction.claims import CLAIMS, Result
from nngeom_cli.reproduction.earlier_runs import matching_runs, require_measured
from nngeom_cli.reproduction.measured import Measured
from nngeom_cli.reproduction.report import TABLE, write_tables
from nngeom_cli.reproduction.verdict import verdict
from nngeom_cli.runs.code_fingerprint import source_hash
from nngeom_cli.store.arrays import read_dataset
from nngeom_cli.store.checksums import checksum, fault
from nngeom_cli.store.run import Run, load_run
from nngeom_cli.system.atomic import read_json, refuse_link
from nngeom_cli.system.held_folder import held
from nngeom_cli.system.parallel import available_cores
from nngeom_cli.system.progress import Progress, within
from nngeom_cli.theory.infinite_width import TheoryConfig, theory_curves

__all__ = ["PLANS", "QUICK_THEORY", "Plan", "reproduce"]

COMMAND = (  # nngeom, which imports nothing from the folder that it starts in, as `python -m` would
    "import sys; sys.path = [*filter(None, sys.path)]; from nngeom_cli.cli.entry import main; sys.exit(main())"
)
FIGURE = re.compile(r"[\w-][\w.-]{,200}\.png", re.ASCII)  # the name of one, which becomes part of a line of Markdown
LOOK_SECONDS = 0.5  # between two checks for finished runs
SOFTPLUS = "architecture.activation=softplus"


@dataclass(frozen=True)
class Plan:
    """One of the runs behind the paper's figures.

    Attributes:
        overrides: what follows `nngeom run`.
        quick: what is added for a quick look.
        note: what each figure of the quick run says.
    """

    overrides: tuple[str, ...]
    quick: tuple[str, ...]
    note: str

    def words(self, quick: bool) -> list[str]:
        """The overrides of the whole run, or of the quick one."""
        return [*self.overrides, *(self.quick if quick else ())]


XOR = (
    ("optimizer.epochs=600", "probe.checkpoints=log 8", "replicates=8"),
    "QUICK: 600 of 2,000 epochs, 8 of 50 networks",
)
SINUSOID = (
    ("optimizer.epochs=3000", "probe.checkpoints=log 8"),
    "QUICK: 3,000 of 150,000 epochs, too few to learn it",
)
DIGITS = (
    ("optimizer.epochs=3", "probe.checkpoints=[0,1,3]", "probe.pairs=[[0,6],[1,7],[3,8],[4,9]]"),
    "QUICK: 3 of 30 epochs, 4 of 20 pairs",
)

# The longest first, so that no core waits for the last.
PLANS: dict[str, Plan] = {
    "figure2": Plan(("experiment=figure2",), *SINUSOID),
    "figure3-sigmoid": Plan(("experiment=figure3",), *DIGITS),
    "figure3-softplus": Plan(("experiment=figure3", SOFTPLUS), *DIGITS),
    "figure1-width8-sigmoid": Plan(("experiment=figure1_width8",), *XOR),
    "figure1-width8-softplus": Plan(("experiment=figure1_width8", SOFTPLUS), *XOR),
    "figure1-sigmoid": Plan(("experiment=figure1",), *XOR),
    "figure1-softplus": Plan(("experiment=figure1", SOFTPLUS), *XOR),
}

QUICK_THEORY = ("activation=[erf]", "widths=[64,1024]", "networks=4")


def reproduce(
    configs: Mapping[str, Config], theory: TheoryConfig, directory: Path, *, quick: bool, outputs: Path
) -> bool:
    """Runs what is missing, draws what is missing, writes REPRODUCTION.md and REPRODUCTION.json.

    A complete run is reused while its config and the code behind its numbers are the same; a figure, while its run and
    the code that draws it are.

    Args:
        configs: of each plan, by its name.
        theory: of the curves at infinite width.
        directory: where figures and tables go.
        quick: training stops early, and no claim is judged.
        outputs: where earlier runs are looked for.

    Returns:
        Whether no claim is off.

    Raises:
        FolderError: a run failed.
    """
    refuse_link(directory)
    refuse_link(directory.parent)  # the folder `figures`, where those of a quick look lie in it
    known = figures_before(directory)
    found = matching_runs(configs, outputs)
    missing = [name for name in PLANS if name not in found]
    print(f"{len(found)} of {len(PLANS)} runs exist; {len(missing)} to do on {available_cores()} cores", flush=True)
    found |= train_missing(missing, quick)
    runs = {name: load_run(found[name]) for name in PLANS}
    for name, run in runs.items():
        require_measured(run, configs[name])
    directory.mkdir(parents=True, exist_ok=True)
    with held(directory):
        drawn = draw_missing(runs, directory, known, quick)
        curves, drawn["theory"] = draw_missing_theory(theory, directory, known, quick)
        measured: dict[str, Any] = {name: Measured(run) for name, run in runs.items()} | {"theory": curves}
        results = [
            Result(claim, parts, *verdict(parts, claim.finding))
            for claim in CLAIMS
            for parts in [claim.measure(measured[claim.run])]
        ]
        write_tables(results, runs, drawn, directory, quick)
    return quick or as_expected(results)


def as_expected(results: Sequence[Result]) -> bool:
    """Whether no claim is off; one that is undecided, or differs for a known reason, is as expected."""
    return all(result.word != "off" for result in results)


def train_missing(names: Sequence[str], quick: bool) -> dict[str, Path]:
    """Runs plans side by side, one core each; returns their directories."""

    def one(name: str) -> Path:
        words = [*PLANS[name].words(quick), "figures.draw=false"]  # they are drawn together, beside the table
        print(f"nngeom run {' '.join(words)}\n", end="", flush=True)  # one write, so that lines stay whole
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, "run", *words],
            env=os.environ | {"NNGEOM_CORES": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = done.stderr.strip().splitlines()[-1:]  # earlier lines are its progress
            raise FolderError(f"`nngeom run {' '.join(words)}` must succeed. Got: {' '.join(said)[-300:]}")
        return Path(done.stdout.splitlines()[-1])

    with ThreadPoolExecutor(available_cores()) as pool, Progress("run", len(names)) as progress:
        running = {pool.submit(one, name): name for name in names}
        left = set(running)
        while left:
            over, left = wait(left, timeout=LOOK_SECONDS, return_when=FIRST_EXCEPTION)
            for future in over:
                future.result()  # raises what it raised
            progress.update(len(running) - len(left))
        return {name: future.result() for future, name in running.items()}


def figures_before(directory: Path) -> dict[str, dict[str, Any]]:
    """The figures in `directory` with their run and code, by the name of their plan; empty if the record is lost."""
    try:
        known = read_json(directory / f"{TABLE}.json")["figures"].items()
        listed = {name: about for name, about in known if isinstance(about["files"], list)}
        return {name: about for name, about in listed.items() if all(map(FIGURE.fullmatch, about["files"]))}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def draw_missing(
    runs: Mapping[str, Run], directory: Path, known: Mapping[str, Any], quick: bool
) -> dict[str, dict[str, Any]]:
    """Draws the figures that are missing, or whose run or drawing code has changed; returns all of them."""
    code = source_hash("analysis", "figures", "config/quantity.py")
    drawn = {}
    for name, run in runs.items():
        key = {"run": run.directory.name, "finished": run.info.get("finished"), "code": code}
        files = up_to_date(known.get(name, {}), key, directory)
        if not files:
            print(f"drawing {name}", flush=True)
            note = PLANS[name].note if quick else None
            with within(name):
                papers = draw_as_in_the_paper(run, directory, name, note)
                files = [papers, *draw_figures(run, directory=directory, name=name, note=note, cores=available_cores())]
        drawn[name] = key | {"files": [file.name for file in files]}
    return drawn


def draw_missing_theory(
    config: TheoryConfig, directory: Path, known: Mapping[str, Any], quick: bool
) -> tuple[xr.Dataset, dict[str, Any]]:
    """The curves at infinite width and their figure, made again if one is missing, or their code or config changed."""
    code = source_hash("theory", "geometry", "figures")
    command = shlex.join(["nngeom", "theory", *(QUICK_THEORY if quick else ())])
    key = {"command": command, "config": asdict(config), "code": code}
    files, data = up_to_date(known.get("theory", {}), key, directory), directory / "theory.nc"
    if not files or fault(data, known["theory"].get("data")):
        print("drawing theory", flush=True)
        note = "QUICK: one activation, 4 networks of each width" if quick else None
        files = [save_theory(theory_curves(config).assign_attrs(command=command), directory, note=note)]
    return read_dataset(data), key | {"files": [file.name for file in files], "data": checksum(data)}


def up_to_date(before: Mapping[str, Any], key: Mapping[str, Any], directory: Path) -> list[Path]:
    """The figures that were drawn with the same `key`; none if it was another, or if one of them is missing."""
    files = [directory / str(file) for file in before.get("files", [])]
    complete = all(file.exists() and file.with_suffix(".pdf").exists() for file in files)
    return files if complete and all(before.get(part) == value for part, value in key.items()) else []
