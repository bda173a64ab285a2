"""The subcommands of `nngeom`. Each imports what it needs, so that help and errors come at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nngeom_cli.cli.arguments import figures_keys, frozen_run, known_flags, run_folders
from nngeom_cli.cli.sweep_report import draw_comparison_of, report_sweep
from nngeom_cli.errors import ConfigError, DamageError, FolderError, require, say, sentence_of

if TYPE_CHECKING:
    from nngeom_cli.store.run import Run

__all__ = ["COMMANDS", "DONE", "FAILED", "INTERRUPTED", "REFUSED"]

DONE, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130  # exit codes


def run(arguments: Sequence[str]) -> int:
    """nngeom run [flags] [group=option ...] [key=value ...]"""
    from nngeom_cli.launch.application import launch

    shown = ["--resolve"] if {"--help", "-h"} & set(arguments) else []
    frozen, rest = frozen_run(arguments)
    sweep, outcomes = launch([*known_flags(rest), *shown], "nngeom run", frozen)
    if sweep is not None:
        return FAILED if report_sweep(sweep, outcomes) else DONE
    for outcome in outcomes:
        if outcome.error is not None:
            say(outcome.error)
        print(outcome.directory, flush=True)
    return FAILED if any(outcome.error for outcome in outcomes) else DONE


def figures(arguments: Sequence[str]) -> int:
    """nngeom figures RUN_OR_SWEEP... [figures.KEY=VALUE ...]

    Draws the figures of runs again, from what is saved; prints their paths. figures.curvature_convention=paper draws
    3 R, figures.band=0.3 takes a wider band; what is saved stays as it is.
    RUN is a run directory, the last line that `nngeom run` prints. Of a SWEEP whose experiment compares its runs, draws
    that figure and prints its table; of any other, the figures of its runs.
    """
    overrides, words = figures_keys(arguments)
    folders = run_folders("figures", words)

    from nngeom_cli.figures import draw_figures
    from nngeom_cli.store.layout import SWEEP
    from nngeom_cli.store.run import load_run
    from nngeom_cli.store.sweep import load_sweep
    from nngeom_cli.system.parallel import available_cores
    from nngeom_cli.system.progress import within

    cores, runs = available_cores(), []
    for folder in folders:
        if not (folder / SWEEP).exists():
            runs.append(load_run(folder))
        elif not draw_comparison_of(folder):
            sweep = load_sweep(folder)
            runs += [run for job in sweep.jobs if (run := sweep.run(job)) is not None]
    for place, run in enumerate(runs):
        with within(f"run {place + 1} of {len(runs)}" if len(runs) > 1 else ""):
            drawn = draw_figures(_as_asked(run, overrides), cores=cores)
        print(*drawn, sep="\n")
    return DONE


def resume(arguments: Sequence[str]) -> int:
    """nngeom resume RUN [optimizer.epochs=N], or nngeom resume SWEEP [hydra/launcher=NAME hydra.launcher.KEY=VALUE ...]

    Goes on with a run that was interrupted, failed or was killed, in its own directory and with its own config, from
    the newest checkpoint that is whole. The result is the same to the last bit as if it had never been interrupted.

      nngeom resume outputs/runs/xor/20260101-120000-000000-seed0
      nngeom resume RUN optimizer.epochs=4000    trains a complete run on, up to epoch 4000

    Of a sweep only the runs that are not complete go on, or begin, on its own launcher unless another is named.
    Nothing else can change: `nngeom run --from RUN KEY=VALUE` runs a changed config in a new directory.
    """
    flags = [argument for argument in arguments if argument.startswith("-")]
    (directory,) = run_folders("resume", flags or arguments[:1])
    if (directory / "sweep.json").exists():
        from nngeom_cli.launch.application import resume_sweep

        failed = report_sweep(directory.absolute(), resume_sweep(directory, arguments[1:]))
        return FAILED if failed else DONE

    from nngeom_cli.runs.resume import resume as go_on

    try:
        go_on(directory, arguments[1:])
    except KeyboardInterrupt:
        raise KeyboardInterrupt(directory.absolute()) from None
    except (ConfigError, DamageError, FolderError, FileNotFoundError):
        raise
    except Exception as error:
        say(sentence_of(error, f"The traceback is in {directory / 'job.log'}."))
        print(directory, flush=True)
        return FAILED
    print(directory, flush=True)
    return DONE


def summarize(arguments: Sequence[str]) -> int:
    """nngeom summarize DIR... [--group] [--columns KEY,...] [--format terminal|csv|markdown|json]

    One table over runs: final metrics, and the statistics of the geometry against the decision boundary, each as mean,
    standard deviation, 95 % interval of the mean and number of networks. DIR is a run, a sweep, or a folder of them.

      --group             one row for all runs that differ in their seeds only
      --columns KEY,...   config keys to show, optimizer.lr, or sections, architecture; those that vary if left out
      --format FORMAT     terminal, csv, markdown or json

    A statistic is that of the trained networks; NAME.change is its difference from the untrained ones.
    Damaged and unfinished runs are listed as such.
    """
    import argparse
    import shutil

    from nngeom_cli.analysis.summary import FORMATS, summarize_runs

    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("directories", nargs="*", type=Path)
    parser.add_argument("--group", action="store_true")
    parser.add_argument("--columns", default="")
    parser.add_argument("--format", choices=FORMATS, default="terminal")
    try:
        options, unknown = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise ConfigError(f"`nngeom summarize` must be given what it has. Got {error}.") from None
    if unknown or not options.directories:
        got = " ".join(unknown) or "nothing"
        raise ConfigError(f"`nngeom summarize` must be followed by directories of runs. Got {got}. See outputs/.")
    columns = [key for key in options.columns.split(",") if key]
    summary = summarize_runs(options.directories, grouped=options.group, columns=columns)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(summary.text(options.format, width))
    return DONE


def reproduce(arguments: Sequence[str]) -> int:
    """nngeom reproduce [--quick]

    Runs what is missing of the paper's figures, on all cores, draws them into outputs/figures, and measures each claim:
    outputs/figures/REPRODUCTION.md. Runs whose config and code are unchanged are used again.
    --quick trains for a fraction of the epochs, into outputs/figures/quick, and judges nothing.
    """
    unknown = [argument for argument in arguments if argument != "--quick"]
    if unknown:
        got = " ".join(unknown)
        raise ConfigError(f"`nngeom reproduce` must be given --quick or nothing. Got {got}. Runs: nngeom run {got}")

    from nngeom_cli.config.run import load_config
    from nngeom_cli.launch.application import composed
    from nngeom_cli.reproduction import reproduce as reproduction
    from nngeom_cli.theory.infinite_width import load_theory

    quick = bool(arguments)
    outputs = Path("outputs")
    directory = outputs / "figures" / "quick" if quick else outputs / "figures"
    configs = {name: load_config(composed(plan.words(quick))) for name, plan in reproduction.PLANS.items()}
    theory = load_theory(composed(reproduction.QUICK_THEORY if quick else (), "theory"))
    as_expected = reproduction.reproduce(configs, theory, directory, quick=quick, outputs=outputs)
    print(directory / "REPRODUCTION.md")
    return DONE if as_expected else FAILED


def animate(arguments: Sequence[str]) -> int:
    """nngeom animate RUN...

    The heatmaps of a run through training, a frame a checkpoint, as GIF; as MP4 too, where ffmpeg is installed.
    RUN is a run directory whose probe is a grid. A smooth film needs 20 checkpoints or more:

      nngeom run task=sinusoid 'probe.checkpoints=log 60'

    """
    folders = run_folders("animate", arguments)

    from nngeom_cli.figures.animation import FEW
    from nngeom_cli.figures.animation import animate as draw
    from nngeom_cli.store.run import load_run

    for run in [load_run(folder) for folder in folders]:
        for path in draw(_as_asked(run, ())):
            print(path)
        if (count := run.geometry.sizes["epoch"]) < FEW:
            say(f"{count} checkpoints make a jerky film; 'probe.checkpoints=log 60' makes a smooth one.")
    return DONE


def theory(arguments: Sequence[str]) -> int:
    """nngeom theory [KEY=VALUE ...]

    An infinitely wide layer with Gaussian weights: Omega, log volume element and Ricci scalar against the radius, and
    finite layers that approach it. Draws theory.png and theory.pdf, and writes the curves beside them as theory.nc.

      nngeom theory activation=erf d=2
      nngeom theory 'activation=[erf,monomial3]' bias_std=0 'widths=[32,512]' directory=FOLDER

    """
    from inspect import getdoc

    from nngeom_cli.groups import conf_directory
    from nngeom_cli.launch.application import composed

    if {"--help", "-h"} & set(arguments):
        print(getdoc(theory), (conf_directory() / "theory.yaml").read_text(encoding="utf-8").rstrip(), sep="\n\n")
        return DONE
    if flags := [argument for argument in arguments if argument.startswith("-")]:
        raise ConfigError(f"`nngeom theory` must be given KEY=VALUE. Got {flags[0]}. See `nngeom theory --help`.")
    values = composed(arguments, "theory")

    import shlex

    from nngeom_cli.figures.infinite_width import save_theory
    from nngeom_cli.theory.infinite_width import load_theory, theory_curves

    config = load_theory(values)
    require(config.directory[:1] != "~", "directory", "a path that needs no shell", config.directory, "Write it out.")
    command = shlex.join(["nngeom", "theory", *arguments])
    print(save_theory(theory_curves(config).assign_attrs(command=command), Path(config.directory)))
    return DONE


def _as_asked(run: Run, overrides: Sequence[str]) -> Run:
    """A run whose config is sound, with another section `figures` of it in memory if that is asked for."""
    from dataclasses import asdict, replace

    from nngeom_cli.config.run import load_config, overridden

    load_config(run.config)
    if not overrides:
        return run
    return replace(run, info=run.info | {"config": asdict(load_config(overridden(run.config, overrides)))})


COMMANDS: dict[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "run": (run, "train the networks of a config, measure their geometry, draw it"),
    "resume": (resume, "go on with a run or a sweep that was interrupted, or train a run longer"),
    "figures": (figures, "draw the figures of runs again, from what is saved"),
    "summarize": (summarize, "one table over runs, sweeps and seeds: metrics and statistics"),
    "animate": (animate, "the heatmaps of runs through training, as GIF or MP4"),
    "theory": (theory, "the geometry of an infinitely wide layer, and finite ones near it"),
    "reproduce": (reproduce, "the paper's figures again, and a verdict on each of its claims"),
}
