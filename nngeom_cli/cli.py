"""The command `nngeom`: help, completion, exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from nngeom_cli.commands import COMMANDS, DONE, FAILED, INTERRUPTED, REFUSED
from nngeom_cli.errors import ConfigError, did_you_mean, one_of, say, system_words
from nngeom_cli.surroundings import lenient_streams, own_process

__all__ = ["main"]

HELPS_ITSELF = ("run", "theory")  # with the keys of their configs

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
        arguments: what follows `nngeom`. None: sys.argv, of a process that is the command's own, and is set up for it.

    Returns:
        The exit code: 0 done, 1 a run failed, 2 the command or its config was wrong, 130 interrupted.
    """
    if arguments is not None:
        return _exit_code(list(arguments))
    own_process()
    with lenient_streams() as troubles:
        code = _exit_code(sys.argv[1:])
    if troubles:
        say(f"`stdout` must take what is printed. Got: {troubles[0].strerror}. Send it elsewhere.")
        return code or FAILED
    return code


def _exit_code(words: list[str]) -> int:
    try:
        return _dispatch(words)
    except ConfigError as error:
        say(str(error))
        return REFUSED
    except OSError as error:
        say(system_words(error))
        no_run = isinstance(error, FileNotFoundError) and error.errno is None  # so do we say that there is none
        return REFUSED if no_run else FAILED
    except KeyboardInterrupt as stop:
        say(_interrupted(*stop.args))
        return INTERRUPTED


def _interrupted(directory: Path | None = None) -> str:
    """What to do after an interrupt, with the command at the end, ready to be copied."""
    if directory is None:
        return "Interrupted."
    if not any((directory / name).exists() for name in ("run.json", "sweep.json")):
        return "Interrupted before anything was saved."
    import shlex

    return f"Interrupted. What was done is saved. This goes on: {shlex.join(['nngeom', 'resume', str(directory)])}"


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
    command, _ = COMMANDS[words[0]]
    try:
        Path.cwd()
    except OSError as error:
        raise ConfigError(f"The working directory must exist. Got: {error.strerror}. Change into another.") from error
    if {"--help", "-h"} & set(words[1:]) and words[0] not in HELPS_ITSELF:
        from inspect import getdoc

        print(getdoc(command))
        return DONE
    return command(words[1:])


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
        os.environ["COMP_LINE"] = line
    return DONE


if __name__ == "__main__":
    sys.exit(main())
