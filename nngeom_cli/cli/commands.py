"""The subcommands of `nngeom`. Each imports what it needs when it is called, so that help is fast."""

from __future__ import annotations

import io
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from nngeom_cli.cli.arguments import figures_keys, frozen_run, is_there, known_flags, measured_keys, run_folders
from nngeom_cli.cli.cleaning import clean
from nngeom_cli.cli.comparing import compare
from nngeom_cli.cli.listing import list_runs
from nngeom_cli.cli.page_commands import report, watch
from nngeom_cli.cli.sweep_report import draw_comparison_of, report_sweep
from nngeom_cli.errors import ConfigError, DamageError, FolderError, did_you_mean, one_of, require, say, sentence_of

if TYPE_CHECKING:
    from nngeom_cli.store.run import Run
    from nngeom_cli.store.sweep import Outcome

__all__ = ["COMMANDS", "DONE", "FAILED", "INTERRUPTED", "REFUSED"]

DONE, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130  # exit codes


def run(options: Namespace) -> int:
    """nngeom run [flags] [group=option ...] [key=value ...]"""
    from nngeom_cli.launch.application import launch
    from nngeom_cli.launch.forbidden import SEARCHED

    words = options.words
    if SEARCHED in words:
        words = [f"hydra.sweeper.{word}" if word.startswith("objective=") else word for word in words]
    frozen = frozen_run(options.saved, words) if options.saved else None
    if {"--help", "-h"} & set(words):
        from nngeom_cli.cli.run_help import with_meanings

        with redirect_stdout(io.StringIO()) as help_text:
            launch([*known_flags(words), "--resolve"], "nngeom run", frozen)
        print(with_meanings(help_text.getvalue()), end="")
        return DONE
    from nngeom_cli.cli.dry_run import print_plan

    plan = print_plan if options.dry_run else None
    sweep, outcomes = launch(known_flags(words), "nngeom run", frozen, planned=plan)
    if sweep is not None:
        return FAILED if report_sweep(sweep, outcomes) else DONE
    return _told(outcomes)


def _told(outcomes: Sequence[Outcome]) -> int:
    """Prints where single runs are, and what went wrong."""
    for outcome in outcomes:
        if outcome.error is not None:
            say(outcome.error)
        print(outcome.directory, flush=True)
    return FAILED if any(outcome.error for outcome in outcomes) else DONE


def figures(options: Namespace) -> int:
    """nngeom figures RUN_OR_SWEEP... [figures.KEY=VALUE ...]

    Draws the figures of runs again, from what is saved, and prints their paths. figures.curvature_convention=paper
    draws V and |3 R| as the paper does, figures.band=0.3 takes a wider band; what is saved stays as it is.

    RUN is a run directory, the last line that `nngeom run` prints. For a SWEEP whose experiment compares its runs,
    draws that figure and prints its table; for any other sweep, the figures of its runs.
    """
    overrides, words = figures_keys(options.words)
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


def measure(options: Namespace) -> int:
    """nngeom measure RUN [probe=NAME] [probe.KEY=VALUE ...] [hydra.run.dir=FOLDER] [--model ... --data ... --layer ...]

    Measures a complete run again from its checkpoints, at other layers, places or resolutions, without training. The
    result is a new run, which `figures`, `summarize`, `animate` and `resume` take; its directory is the last line.

    Without a name, its own probe is changed; the epochs are those of its checkpoints, or some of them with
    probe.checkpoints=[0,200]. figures.KEY=VALUE and device=NAME can be set too; all else is as in RUN.

    With --model, RUN is a recording, or a folder of state_dicts of your own with the epoch in their names, epoch-0.pt.
    The functions of --model and --data are run: name files that you trust.
    """
    if options.model or options.data or options.layer:
        return _measure_states(options)
    from nngeom_cli.launch.application import launch
    from nngeom_cli.store.run import load_run

    settings, words = measured_keys(options.words)
    (folder, *others) = run_folders("measure", words)
    if others or (folder / "sweep.json").exists():
        got = f"{folder} and {others[0]}" if others else f"{folder}, a sweep"
        raise ConfigError(f"`nngeom measure` must be followed by one run directory. Got {got}. Name one run.")
    _, outcomes = launch(settings, "nngeom measure", measured=load_run(folder))
    return _told(outcomes)


def _measure_states(options: Namespace) -> int:
    """`nngeom measure` of a user's own state_dicts."""
    for flag, given in (("--model", options.model), ("--data", options.data), ("--layer", options.layer)):
        require(bool(given), flag, "given with --model, --data and --layer", "nothing", "All three belong together.")
    settings = [word for word in options.words if "=" in word and not is_there(Path(word))]
    for key, _, value in (word.partition("=") for word in settings):
        known = key in ("probe", "hydra.run.dir") or key.startswith("probe.")
        require(known, key, "left out with --model", value, "Keys of probe, and hydra.run.dir, can be set.")
    folders = [word for word in options.words if word not in settings]
    one = len(folders) == 1 and Path(folders[0]).is_dir()
    require(one, "nngeom measure", "followed by one folder", folders or "nothing", "Name that of the state_dicts.")

    from nngeom_cli.recorder.measuring import measure_states

    record = measure_states(Path(folders[0]), options.model, options.data, options.layer, settings, options.threshold)
    for path in record.figures:
        print(f"figure {path}")
    print(record.directory, flush=True)
    return DONE


def resume(options: Namespace) -> int:
    """nngeom resume RUN [optimizer.epochs=N], or nngeom resume SWEEP [hydra/launcher=NAME hydra.launcher.KEY=VALUE ...]

    Resumes a run that was interrupted, failed or was killed, in its own directory and with its own config, from the
    newest checkpoint that is whole. The result is the same to the last bit as if it had never been interrupted.
    optimizer.epochs=4000 trains a complete run further, up to epoch 4000.

    Of a sweep only the runs that are not complete are resumed or started, on its own launcher unless another is named.
    Nothing else can change: `nngeom run --from RUN KEY=VALUE` runs a changed config in a new directory.
    """
    name, *overrides = options.words or [""]
    (directory,) = run_folders("resume", [name])
    if (directory / "sweep.json").exists():
        from nngeom_cli.launch.application import resume_sweep

        failed = report_sweep(directory.absolute(), resume_sweep(directory, overrides))
        return FAILED if failed else DONE

    from nngeom_cli.runs.resume import resume as go_on

    try:
        go_on(directory, overrides)
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


def summarize(options: Namespace) -> int:
    """nngeom summarize DIR... [--columns NAME,...] [--sort NAME] [--group] [--format FORMAT]

    One table over runs: scores, and the statistics of the geometry against the decision boundary, each as the mean over
    the networks [95 % interval of the mean]. DIR is a run, a sweep, or a folder of them. Damaged and unfinished runs
    are listed as such.

    The terminal and Markdown show a few columns, a terminal as many as fit; csv and json have all, with standard
    deviations. --columns chooses others by name or pattern, --columns all shows all, and --columns help says what each
    is. docs/statistics.md defines them: formula, unit, what 0 means, what they have to beat.
    """
    import shutil

    from nngeom_cli.analysis.columns import definitions
    from nngeom_cli.analysis.summary import FORMATS, summarize_runs

    if options.columns == "help":
        print(definitions())
        return DONE
    if not all(options.words or [""]):
        raise ConfigError("`nngeom summarize` must be followed by directories of runs. Got nothing. See outputs/.")
    suggestion = did_you_mean(options.format, FORMATS) or "Leave it out for a table in the terminal."
    require(options.format in FORMATS, "--format", one_of(FORMATS), options.format, suggestion)
    summary = summarize_runs(
        [Path(word) for word in options.words],
        grouped=options.group,
        columns=[name for name in options.columns.split(",") if name],
        sort=options.sort,
        reverse=options.reverse,
    )
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(summary.text(options.format, width), flush=True)
    if options.format == "terminal" and width:
        say(summary.about(width))
    return DONE


def reproduce(options: Namespace) -> int:
    """nngeom reproduce [--quick]

    Runs what is missing of the paper's figures, on all cores, draws them into outputs/figures, and measures each claim
    in its relative and its absolute reading, with controls: outputs/figures/REPRODUCTION.md. Runs whose config and code
    are unchanged are used again. The exit code is 1 if a number is off: its interval excludes what is expected, for no
    known reason.
    """
    from nngeom_cli.config.loader import load_config
    from nngeom_cli.launch.application import composed
    from nngeom_cli.reproduction import reproduce as reproduction
    from nngeom_cli.theory.infinite_width import load_theory

    quick = options.quick
    outputs = Path("outputs")
    directory = outputs / "figures" / "quick" if quick else outputs / "figures"
    configs = {name: load_config(composed(plan.words(quick))) for name, plan in reproduction.PLANS.items()}
    theory = load_theory(composed(reproduction.QUICK_THEORY if quick else (), "theory"))
    as_expected = reproduction.reproduce(configs, theory, directory, quick=quick, outputs=outputs)
    print(directory / "REPRODUCTION.md")
    return DONE if as_expected else FAILED


def animate(options: Namespace) -> int:
    """nngeom animate RUN...

    The heatmaps of a run through training, one frame a checkpoint, as GIF; as MP4 too, where ffmpeg is installed.
    RUN is a run directory whose probe is a grid. A smooth film needs 20 checkpoints or more:

      nngeom run task=sinusoid 'probe.checkpoints=log 60'
    """
    folders = run_folders("animate", options.words)

    from nngeom_cli.figures.animation import FEW
    from nngeom_cli.figures.animation import animate as draw
    from nngeom_cli.store.run import load_run

    for run in [load_run(folder) for folder in folders]:
        for path in draw(_as_asked(run, ())):
            print(path)
        if (count := run.geometry.sizes["epoch"]) < FEW:
            say(f"{count} checkpoints make a jerky film; 'probe.checkpoints=log 60' makes a smooth one.")
    return DONE


def theory(options: Namespace) -> int:
    """nngeom theory [KEY=VALUE ...]

    An infinitely wide layer with Gaussian weights: Omega, log volume element and Ricci scalar against the radius, and
    finite layers that approach it; with depth=5, in each of five layers at |x| = radius. Draws theory.png and
    theory.pdf, and writes the curves beside them as theory.nc.
    """
    from nngeom_cli.launch.application import composed

    values = composed(options.words, "theory")

    import shlex

    from nngeom_cli.figures.infinite_width import save_theory
    from nngeom_cli.theory.infinite_width import load_theory, theory_curves

    config = load_theory(values)
    require(config.directory[:1] != "~", "directory", "a path that needs no shell", config.directory, "Write it out.")
    command = shlex.join(["nngeom", "theory", *options.words])
    print(save_theory(theory_curves(config).assign_attrs(command=command), Path(config.directory)))
    return DONE


def _as_asked(run: Run, overrides: Sequence[str]) -> Run:
    """The run with its config checked, and with `overrides` of the section figures applied in memory."""
    from dataclasses import replace

    from nngeom_cli.config.loader import overridden
    from nngeom_cli.config.recorded import read_saved

    read_saved(run.info)
    if not overrides:
        return run
    asked = run.info | {"config": overridden(run.config, overrides)}
    return replace(run, info=asked | {"config": read_saved(asked)})


COMMANDS: dict[str, tuple[Callable[[Namespace], int], str]] = {
    "run": (run, "train the networks of a config, measure their geometry, draw it"),
    "measure": (measure, "measure a run again from its checkpoints, elsewhere or more finely"),
    "resume": (resume, "resume a run or a sweep that was interrupted, or train a run longer"),
    "figures": (figures, "draw the figures of runs again, from what is saved"),
    "report": (report, "a run or a sweep as one HTML file, to look at and to send"),
    "watch": (watch, "the same page while a run is running, refreshed as checkpoints appear"),
    "summarize": (summarize, "one table over runs, sweeps and seeds: metrics and statistics"),
    "compare": (compare, "runs side by side: configs, statistics with intervals of differences, figures"),
    "list": (list_runs, "the runs in a folder: status, task, what differs, accuracy, age, size"),
    "clean": (clean, "drop the checkpoints of runs that have ended, keep their geometry"),
    "animate": (animate, "the heatmaps of runs through training, as GIF or MP4"),
    "theory": (theory, "the geometry of an infinitely wide layer, and finite ones near it"),
    "reproduce": (reproduce, "the paper's figures again, and a verdict on each of its claims"),
}
