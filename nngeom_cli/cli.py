"""The command `nngeom`. Each subcommand imports what it needs, so that help and errors come at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from nngeom_cli.errors import ConfigError, FolderError, did_you_mean, one_of

__all__ = ["main"]

DONE, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130


def run(arguments: Sequence[str]) -> int:
    """nngeom run [flags] [group=option ...] [key=value ...]"""
    from nngeom_cli.job import launch

    shown = ["--resolve"] if {"--help", "-h"} & set(arguments) else []
    outcomes = launch([*_known_flags(arguments), *shown], "nngeom run")
    failures = [outcome for outcome in outcomes if outcome.error is not None]
    for outcome in failures:
        where = f"Job {outcomes.index(outcome)} ({outcome.overrides}): " if len(outcomes) > 1 else ""
        _say(where + _sentence(outcome.error, f"The traceback is in {outcome.directory / 'job.log'}."))
    for outcome in outcomes:
        print(outcome.directory, flush=True)
    if len(outcomes) == 1 and failures and isinstance(failures[0].error, ConfigError):
        return REFUSED
    return FAILED if failures else DONE


def figures(arguments: Sequence[str]) -> int:
    """nngeom figures RUN...

    Draws the figures of runs again, from what is saved; prints their paths.
    RUN is a run directory, the last line that `nngeom run` prints.
    """
    from inspect import getdoc

    flags = [argument for argument in arguments if argument.startswith("-")]
    if {"--help", "-h"} & set(flags):
        print(getdoc(figures))
        return DONE
    if flags or not arguments:
        got = " ".join(flags) or "nothing"
        raise ConfigError(f"`nngeom figures` must be followed by run directories. Got {got}. See outputs/runs.")

    from nngeom_cli.figures import draw_figures
    from nngeom_cli.store import load_run

    try:
        for run in [load_run(argument) for argument in arguments]:
            for path in draw_figures(run):
                print(path)
    except FileNotFoundError as error:
        raise ConfigError(str(error)) from error
    return DONE


def resume(arguments: Sequence[str]) -> int:
    """nngeom resume RUN [optimizer.epochs=N]

    Goes on with a run that was interrupted, failed or was killed, in its own directory and with its own config, from
    the newest checkpoint that is whole. The result is the same to the last bit as if it had never been interrupted.

      nngeom resume outputs/runs/xor/20260101-120000-000000-seed0
      nngeom resume RUN optimizer.epochs=4000    trains a complete run on, up to epoch 4000

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

    from nngeom_cli.resuming import resume as go_on

    directory = Path(arguments[0])
    try:
        go_on(directory, arguments[1:])
    except FileNotFoundError as error:
        raise ConfigError(str(error)) from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt(directory) from None
    except (ConfigError, FolderError):
        raise
    except Exception as error:
        _say(_sentence(error, f"The traceback is in {directory / 'job.log'}."))
        print(directory, flush=True)
        return FAILED
    print(directory, flush=True)
    return DONE


COMMANDS: dict[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "run": (run, "train the networks of a config, measure their geometry, draw it"),
    "resume": (resume, "go on with a run that was interrupted, or train it longer"),
    "figures": (figures, "draw the figures of runs again, from what is saved"),
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

    from nngeom_cli.job import launch

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


def _sentence(error: BaseException | None, otherwise: str) -> str:
    """An error as one line: our own are written to be one; others need their type, and where to read on."""
    if type(error).__module__.startswith("nngeom_cli."):
        return str(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())}. {otherwise}"


def _say(sentence: str) -> None:
    print(f"nngeom: {sentence}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
