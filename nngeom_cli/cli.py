"""The command `nngeom`. Each subcommand imports what it needs, so that help and errors come at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nngeom_cli.errors import ConfigError, FolderError, did_you_mean, one_of, sentence_of

if TYPE_CHECKING:
    from pathlib import Path

    from nngeom_cli.sweep import Outcome

__all__ = ["main"]

DONE, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130


def run(arguments: Sequence[str]) -> int:
    """nngeom run [flags] [group=option ...] [key=value ...]"""
    from nngeom_cli.launching import launch

    shown = ["--resolve"] if {"--help", "-h"} & set(arguments) else []
    frozen, rest = _frozen_run(arguments)
    sweep, outcomes = launch([*_known_flags(rest), *shown], "nngeom run", frozen)
    if sweep is not None:
        return _report(sweep, outcomes)
    for outcome in outcomes:
        if outcome.error is not None:
            _say(outcome.error)
        print(outcome.directory, flush=True)
    return FAILED if any(outcome.error for outcome in outcomes) else DONE


def figures(arguments: Sequence[str]) -> int:
    """nngeom figures RUN_OR_SWEEP...

    Draws the figures of runs again, from what is saved; prints their paths.
    RUN is a run directory, the last line that `nngeom run` prints. Of a SWEEP whose experiment compares its runs, draws
    that figure and prints its table; of any other, the figures of its runs.
    """
    from inspect import getdoc
    from pathlib import Path

    flags = [argument for argument in arguments if argument.startswith("-")]
    if {"--help", "-h"} & set(flags):
        print(getdoc(figures))
        return DONE
    if flags or not arguments:
        got = " ".join(flags) or "nothing"
        raise ConfigError(f"`nngeom figures` must be followed by run directories. Got {got}. See outputs/runs.")

    from nngeom_cli.cores import available_cores
    from nngeom_cli.figures import draw_figures
    from nngeom_cli.store import load_run
    from nngeom_cli.sweep import SWEEP, load_sweep

    try:
        runs = []
        for folder in map(Path, arguments):
            if not (folder / SWEEP).exists():
                runs.append(load_run(folder))
            elif not _compare(folder):
                sweep = load_sweep(folder)
                runs += [run for job in sweep.jobs if (run := sweep.run(job)) is not None]
        for run in runs:
            for path in draw_figures(run, cores=available_cores()):
                print(path)
    except FileNotFoundError as error:
        raise ConfigError(str(error)) from error
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
    from inspect import getdoc
    from pathlib import Path

    flags = [argument for argument in arguments if argument.startswith("-")]
    if {"--help", "-h"} & set(flags):
        print(getdoc(resume))
        return DONE
    if flags or not arguments or "=" in Path(arguments[0]).name:
        got = " ".join(flags) or " ".join(arguments) or "nothing"
        raise ConfigError(f"`nngeom resume` must be followed by a run directory. Got {got}. See outputs/runs.")

    directory = Path(arguments[0])
    if (directory / "sweep.json").exists():
        from nngeom_cli.launching import resume_sweep

        return _report(directory.absolute(), resume_sweep(directory, arguments[1:]))

    from nngeom_cli.resuming import resume as go_on

    try:
        go_on(directory, arguments[1:])
    except FileNotFoundError as error:
        raise ConfigError(str(error)) from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt(directory) from None
    except (ConfigError, FolderError):
        raise
    except Exception as error:
        _say(sentence_of(error, f"The traceback is in {directory / 'job.log'}."))
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
    from inspect import getdoc
    from pathlib import Path

    if {"--help", "-h"} & set(arguments):
        print(getdoc(summarize))
        return DONE

    from nngeom_cli.summary import FORMATS, summarize_runs

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
    try:
        summary = summarize_runs(options.directories, grouped=options.group, columns=columns)
    except FileNotFoundError as error:
        raise ConfigError(str(error)) from error
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(summary.text(options.format, width))
    return DONE


def reproduce(arguments: Sequence[str]) -> int:
    """nngeom reproduce [--quick]

    Runs what is missing of the paper's figures, on all cores, draws them into outputs/figures, and measures each claim:
    outputs/figures/REPRODUCTION.md. Runs whose config and code are unchanged are used again.
    --quick trains for a fraction of the epochs, into outputs/figures/quick, and judges nothing.
    """
    from inspect import getdoc

    if {"--help", "-h"} & set(arguments):
        print(getdoc(reproduce))
        return DONE
    unknown = [argument for argument in arguments if argument != "--quick"]
    if unknown:
        got = " ".join(unknown)
        raise ConfigError(f"`nngeom reproduce` must be given --quick or nothing. Got {got}. Runs: nngeom run {got}")

    from pathlib import Path

    from nngeom_cli import reproduction
    from nngeom_cli.config import load_config
    from nngeom_cli.launching import composed

    quick = bool(arguments)
    outputs = Path("outputs")
    directory = outputs / "figures" / "quick" if quick else outputs / "figures"
    configs = {name: load_config(composed(plan.words(quick))) for name, plan in reproduction.PLANS.items()}
    as_expected = reproduction.reproduce(configs, directory, quick=quick, outputs=outputs)
    print(directory / "REPRODUCTION.md")
    return DONE if as_expected else FAILED


def animate(arguments: Sequence[str]) -> int:
    """nngeom animate RUN...

    The heatmaps of a run through training, a frame a checkpoint, as GIF; as MP4 too, where ffmpeg is installed.
    RUN is a run directory whose probe is a grid. A smooth film needs 20 checkpoints or more:

      nngeom run task=sinusoid 'probe.checkpoints=log 60'

    """
    from inspect import getdoc

    flags = [argument for argument in arguments if argument.startswith("-")]
    if {"--help", "-h"} & set(flags):
        print(getdoc(animate))
        return DONE
    if flags or not arguments:
        got = " ".join(flags) or "nothing"
        raise ConfigError(f"`nngeom animate` must be followed by run directories. Got {got}. See outputs/runs.")

    from nngeom_cli.figures.animation import FEW
    from nngeom_cli.figures.animation import animate as draw
    from nngeom_cli.store import load_run

    try:
        for run in [load_run(argument) for argument in arguments]:
            for path in draw(run, quiet=not sys.stderr.isatty()):
                print(path)
            if (count := run.geometry.sizes["epoch"]) < FEW:
                _say(f"{count} checkpoints make a jerky film; 'probe.checkpoints=log 60' makes a smooth one.")
    except FileNotFoundError as error:
        raise ConfigError(str(error)) from error
    return DONE


def theory(arguments: Sequence[str]) -> int:
    """nngeom theory [KEY=VALUE ...]

    An infinitely wide layer with Gaussian weights: Omega, log volume element and Ricci scalar against the radius, and
    finite layers that approach it. Draws theory.png and theory.pdf, and writes the curves beside them as theory.nc.

      nngeom theory activation=erf d=2
      nngeom theory 'activation=[erf,monomial3]' bias_std=0 'widths=[32,512]' directory=FOLDER

    """
    from inspect import getdoc

    from nngeom_cli.launching import composed, conf_directory

    if {"--help", "-h"} & set(arguments):
        print(getdoc(theory), (conf_directory() / "theory.yaml").read_text().rstrip(), sep="\n\n")
        return DONE
    if flags := [argument for argument in arguments if argument.startswith("-")]:
        raise ConfigError(f"`nngeom theory` must be given KEY=VALUE. Got {flags[0]}. See `nngeom theory --help`.")
    values = composed(arguments, "theory")

    import shlex
    from pathlib import Path

    from nngeom_cli.figures.theory import save_theory
    from nngeom_cli.theory import load_theory, theory_curves

    config = load_theory(values)
    command = shlex.join(["nngeom", "theory", *arguments])
    print(save_theory(theory_curves(config).assign_attrs(command=command), Path(config.directory)))
    return DONE


COMMANDS: dict[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "run": (run, "train the networks of a config, measure their geometry, draw it"),
    "resume": (resume, "go on with a run or a sweep that was interrupted, or train a run longer"),
    "figures": (figures, "draw the figures of runs again, from what is saved"),
    "summarize": (summarize, "one table over runs, sweeps and seeds: metrics and statistics"),
    "animate": (animate, "the heatmaps of runs through training, as GIF or MP4"),
    "theory": (theory, "the geometry of an infinitely wide layer, and finite ones near it"),
    "reproduce": (reproduce, "the paper's figures again, and a verdict on each of its claims"),
}

HELP = """nngeom COMMAND ...

How training bends the input space of a neural network: metric, volume element, Ricci curvature.

{commands}

  nngeom run task=xor                            the last line of stdout is the run directory
  nngeom run -m task=xor,sinusoid seed=0,100     all combinations
  nngeom COMMAND --help                          more about a command

--version    show the version
-sc install=bash    print the completion script: eval "$(nngeom -sc install=bash)"

Exit codes: 0 done, 1 a run failed, 2 the command or its config was wrong, 130 interrupted."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line.

    Args:
        arguments: what follows `nngeom`; sys.argv if None.

    Returns:
        The exit code: 0 done, 1 a run failed, 2 the command or its config was wrong, 130 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(words)
    except ConfigError as error:
        _say(str(error))
        return REFUSED
    except FolderError as error:
        _say(str(error))
        return FAILED
    except BrokenPipeError:  # nobody reads any more: `nngeom summarize outputs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt as stop:
        _say(f"Interrupted. What was measured until then is in {stop.args[0]}." if stop.args else "Interrupted.")
        return INTERRUPTED


def _dispatch(words: list[str]) -> int:
    if words[:1] in (["--help"], ["-h"]):
        width = max(map(len, COMMANDS))
        print(HELP.format(commands="\n".join(f"  {name:{width}}  {what}" for name, (_, what) in COMMANDS.items())))
        return DONE
    if words == ["--version"]:
        from importlib.metadata import version

        print(f"nngeom {version('nngeom')}")
        return DONE
    if words[:1] in (["-sc"], ["--shell-completion"]):
        return _complete(words)
    if not words or words[0] not in COMMANDS:
        got = words[0] if words else "nothing"
        way_out = did_you_mean(got, COMMANDS) or "`nngeom --help` tells what each does."
        if "=" in got:
            way_out = f"Did you mean `nngeom run {got}`?"
        raise ConfigError(f"`nngeom` must be followed by {one_of(COMMANDS)}. Got {got}. {way_out}")
    return COMMANDS[words[0]][0](words[1:])


def _complete(words: list[str]) -> int:
    """Bash completion: ours for the subcommand, Hydra's after `nngeom run`."""
    from contextlib import suppress

    from nngeom_cli.launching import launch

    line = os.environ.get("COMP_LINE", "")
    typed = line.split()
    if not any(word.startswith("query=") for word in words):
        launch(words, "nngeom")
    elif len(typed) < 2 or (len(typed) == 2 and not line.endswith(" ")):
        print(*COMMANDS)
    elif typed[1] == "run":
        os.environ["COMP_LINE"] = line.replace(" run", "", 1)
        with suppress(ConfigError):  # a half-typed line is no error
            launch(words, "nngeom")
    return DONE


def _frozen_run(arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
    """The run that `--from` names, and the arguments without it."""
    from pathlib import Path

    from nngeom_cli.keys import SECTIONS

    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith("--from=") else [word])]
    if "--from" not in words:
        return None, words
    place = words.index("--from")
    named = words[place + 1 : place + 2]
    if not named or named[0].startswith("-") or not (Path(named[0]) / "run.json").is_file():
        got = " ".join(named) or "nothing"
        raise ConfigError(f"`--from` must be followed by a run directory. Got {got}. See outputs/runs.")
    rest = words[:place] + words[place + 2 :]
    for key in (word.partition("=")[0] for word in rest if "=" in word):
        if key in (*SECTIONS, "experiment"):
            way_out = f"Set single keys: {key}.NAME=VALUE."
            raise ConfigError(f"`{key}` must be left out with --from. Got a group, of which the run has one. {way_out}")
    return Path(named[0]), rest


def _known_flags(arguments: Sequence[str]) -> list[str]:
    """The arguments, if Hydra has all their flags."""
    import contextlib
    import io

    from hydra._internal.utils import get_args

    with contextlib.redirect_stderr(io.StringIO()) as complaint:
        try:
            parsed = get_args(arguments)
        except SystemExit as end:
            if not end.code:
                raise
            reason = complaint.getvalue().strip().rpartition("error: ")[2]
            raise ConfigError(
                f"`nngeom run` must be given flags that it has. Got {reason}. See `nngeom run --help`."
            ) from None
    if parsed.experimental_rerun is not None:
        raise ConfigError("`--experimental-rerun` must be left out. Got a pickle, which can run code. Name the config.")
    return list(arguments)


def _report(sweep: Path, outcomes: Sequence[Outcome]) -> int:
    """How the jobs of a sweep ended: a table on stdout and the sweep's directory as its last line, errors on stderr."""
    from nngeom_cli.tables import aligned

    failures = [outcome for outcome in outcomes if outcome.error is not None]
    for outcome in failures:
        _say(f"Job {outcomes.index(outcome)} ({outcome.overrides}): {outcome.error}")
    rows = [
        (
            str(number),
            outcome.overrides,
            outcome.status,
            "" if outcome.accuracy is None else f"{outcome.accuracy:.3f}",
            str(outcome.directory.relative_to(sweep)),
        )
        for number, outcome in enumerate(outcomes)
    ]
    print(aligned([("job", "overrides", "status", "accuracy", "directory"), *rows]))
    _compare(sweep)
    print(sweep, flush=True)
    return FAILED if failures else DONE


def _compare(directory: Path) -> bool:
    """Draws what compares the runs of a sweep and prints its table, if its experiment is one that compares them."""
    from nngeom_cli.sweep import load_sweep

    sweep = load_sweep(directory)
    if not any("experiment=" in job.command for job in sweep.jobs):  # spares other sweeps the imports
        return False

    import csv

    from nngeom_cli.figures.comparison import draw_comparison
    from nngeom_cli.store import FIGURES
    from nngeom_cli.tables import aligned

    runs = [run for job in sweep.jobs if (run := sweep.run(job)) is not None]
    drawn = draw_comparison(runs, directory / FIGURES)
    if drawn:
        with drawn[1].open(newline="") as file:
            print(aligned([[_rounded(cell) for cell in row] for row in csv.reader(file)]))
    for path in drawn:
        print(f"figure {path}" if path.suffix == ".png" else f"table {path}")
    return bool(drawn)


def _rounded(cell: str) -> str:
    """A number to three digits, anything else as it is."""
    try:
        return f"{float(cell):.3g}"
    except ValueError:
        return cell


def _say(sentence: str) -> None:
    print(f"nngeom: {sentence}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
