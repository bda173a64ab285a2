"""The command `nngeom`: help, completion, exit codes."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from nngeom_cli.cli.commands import COMMANDS, DONE, FAILED, INTERRUPTED, REFUSED
from nngeom_cli.errors import ConfigError, DamageError, NngeomError, did_you_mean, nearest, one_of, say, system_words
from nngeom_cli.synonyms import command_named
from nngeom_cli.system.surroundings import lenient_streams, own_process

__all__ = ["main"]

FLAGS = ("--help", "--version")
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
    except NngeomError as error:
        say(str(error))
        return REFUSED if isinstance(error, ConfigError | DamageError) else FAILED
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
        from nngeom_cli.cli.completion import complete

        complete(words, list(COMMANDS))
        return DONE
    if not words or words[0] not in COMMANDS:
        got = words[0] if words else "nothing"
        raise ConfigError(f"`nngeom` must be followed by {one_of(COMMANDS)}. Got {got}. {_command_meant(words)}")
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


def _command_meant(words: list[str]) -> str:
    """What is likely meant by words that begin with no command."""
    from nngeom_cli.cli.arguments import key_of_flag

    got, rest = words[0] if words else "", words[1:]
    named = command_named(got)
    if got == "help" and rest and rest[0] in COMMANDS:
        named = f"nngeom {rest[0]} --help"
    elif named == "nngeom run":
        named = shlex.join(["nngeom", "run", *rest])
    elif named and rest and named.endswith(" RUN"):
        named = f"{named[:-4]} {shlex.join(rest)}"
    elif not named and got.startswith("-") and not nearest(got, FLAGS):
        named = f"nngeom run {key_of_flag(words) or shlex.join(words)}"
    elif "=" in got:
        named = shlex.join(["nngeom", "run", *words])
    elif (Path(got) / "run.json").is_file():
        named = shlex.join(["nngeom", "figures", got])
    way_out = did_you_mean(got, [*COMMANDS, *FLAGS]) or "`nngeom --help` tells what each does."
    return f"Did you mean `{named}`?" if named else way_out


if __name__ == "__main__":
    sys.exit(main())
