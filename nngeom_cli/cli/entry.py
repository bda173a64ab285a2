"""The command `nngeom`: help, completion, exit codes."""

from __future__ import annotations

import errno
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import nngeom_cli
from nngeom_cli.cli.commands import COMMANDS, DONE, FAILED, INTERRUPTED, REFUSED
from nngeom_cli.cli.parser import UsageError, command_line
from nngeom_cli.errors import (
    ConfigError,
    DamageError,
    NngeomError,
    did_you_mean,
    nearest,
    one_of,
    say,
    shown,
    system_words,
)
from nngeom_cli.synonyms import command_named
from nngeom_cli.system.surroundings import lenient_streams, own_process

__all__ = ["main"]


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
        return REFUSED if no_run or error.errno == errno.ENAMETOOLONG else FAILED
    except KeyboardInterrupt as stop:
        say(_interrupted(*stop.args))
        return INTERRUPTED


def _interrupted(directory: Path | None = None) -> str:
    """What to do after an interrupt; ends with the command, ready to be pasted."""
    if directory is None:
        return "Interrupted."
    if not any((directory / name).exists() for name in ("run.json", "sweep.json")):
        return "Interrupted before anything was saved."
    return f"Interrupted. What was done is saved. Resume with: {shlex.join(['nngeom', 'resume', str(directory)])}"


def _dispatch(words: list[str]) -> int:
    parser, parsers = command_line(
        {name: (summary, str(command.__doc__)) for name, (command, summary) in COMMANDS.items()}
    )
    try:
        options, left = parser.parse_known_args(words)
    except UsageError:
        raise _no_command(words) from None
    except SystemExit:  # help was asked for, and shown
        return DONE
    if options.version:
        print(f"nngeom {nngeom_cli.__version__}")
        return DONE
    if options.shell_completion is not None:
        from nngeom_cli.cli.completion import complete

        complete(options.shell_completion, {name: each.flags for name, each in parsers.items()})
        return DONE
    if options.command is None:
        raise _no_command(words)
    try:
        Path.cwd()
    except OSError as error:
        raise ConfigError(f"The working directory must exist. Got: {error.strerror}. Change into another.") from error
    if options.command == "run":
        options.words = left  # as they were typed, for Hydra
    elif left:  # words behind a flag, and after "--" whatever they are
        end = left.index("--") if "--" in left else len(left)
        flags = [word for word in left[:end] if word.startswith("-")]
        if flags or "words" not in options:
            parsers[options.command].refuse(" ".join(flags or left))
        options.words += left[:end] + left[end + 1 :]
    function, _ = COMMANDS[options.command]
    return function(options)


def _no_command(words: list[str]) -> ConfigError:
    """The error for words that begin with no command."""
    got = shown(words[0] if words else "")
    return ConfigError(f"`nngeom` must be followed by {one_of(COMMANDS)}. Got {got}. {_command_meant(words)}")


def _command_meant(words: list[str]) -> str:
    """A suggestion for words that begin with no command."""
    from nngeom_cli.cli.arguments import is_there, key_of_flag

    got, rest = words[0] if words else "", words[1:]
    named = command_named(got)
    if got == "help" and rest and rest[0] in COMMANDS:
        named = f"nngeom {rest[0]} --help"
    elif named == "nngeom run":
        named = shlex.join(["nngeom", "run", *rest])
    elif named and rest and named.endswith(" RUN"):
        named = f"{named[:-4]} {shlex.join(rest)}"
    elif not got.strip("-"):  # `nngeom -- run`
        named = shlex.join(["nngeom", *rest]) if rest and rest[0] in COMMANDS else None
    elif not named and got.startswith("-") and not nearest(got, ["--help", "--version"]):
        named = f"nngeom run {key_of_flag(words) or shlex.join(words)}"
    elif "=" in got:
        named = shlex.join(["nngeom", "run", *words])
    elif is_there(Path(got) / "run.json"):
        named = shlex.join(["nngeom", "figures", got])
    suggestion = did_you_mean(got, [*COMMANDS, "--help", "--version"]) or "`nngeom --help` tells what each does."
    return f"Did you mean `{named}`?" if named else suggestion


if __name__ == "__main__":
    sys.exit(main())
