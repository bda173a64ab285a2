"""The command `nngeom`: help, completion, exit codes."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

from nngeom_cli.commands import COMMANDS, DONE, FAILED, INTERRUPTED, REFUSED
from nngeom_cli.errors import ConfigError, FolderError, did_you_mean, one_of, say

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
        arguments: what follows `nngeom`; sys.argv if None.

    Returns:
        The exit code: 0 done, 1 a run failed, 2 the command or its config was wrong, 130 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    gc.set_threshold(50_000)  # imports and figures make objects by the hundred thousand, and little garbage
    try:
        return _dispatch(words)
    except ConfigError as error:
        say(str(error))
        return REFUSED
    except FolderError as error:
        say(str(error))
        return FAILED
    except BrokenPipeError:  # nobody reads any more: `nngeom summarize outputs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt as stop:
        say(f"Interrupted. What was measured until then is in {stop.args[0]}." if stop.args else "Interrupted.")
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
    command, _ = COMMANDS[words[0]]
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
    return DONE


if __name__ == "__main__":
    sys.exit(main())
