"""Completion in a shell: ours for commands, flags and keys of theory, Hydra's for the words of `nngeom run`.

Where nothing is offered the shell completes the names of files and folders.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence

from nngeom_cli.errors import ConfigError, NngeomError
from nngeom_cli.groups import theory_keys

__all__ = ["complete"]

SHELLS = ("bash", "fish", "zsh")
FLAGS = {
    "run": ("--cfg", "--config-dir", "--from", "--help", "--hydra-help", "--info", "--multirun", "--resolve"),
    "summarize": ("--columns", "--format", "--group", "--help"),
    "reproduce": ("--help", "--quick"),
}
HELP = ("--help",)
OF_HYDRA = ("-m", "--multirun")  # flags that change what Hydra offers
BEFORE_A_FOLDER = ("--config-dir", "-cd", "--from")


def complete(words: Sequence[str], commands: Sequence[str]) -> None:
    """Prints the script that makes a shell complete our lines, or what can follow the line in COMP_LINE.

    Raises:
        ConfigError: neither is asked for.
    """
    asked, _, shell = "".join(words[1:2]).partition("=")
    if len(words) != 2 or asked not in ("install", "uninstall", "query") or shell not in SHELLS:
        got = " ".join(words[1:]) or "nothing"
        raise ConfigError(
            f"`{words[0]}` must be followed by install=SHELL, uninstall=SHELL or query=SHELL. Got {got}. "
            "For example install=bash, fish or zsh."
        )
    if asked != "query":
        from nngeom_cli.launch.application import launch

        launch(words, "nngeom")
        return
    if offers := _offers(os.environ.get("COMP_LINE", ""), shell, commands):
        print(*offers, sep="\n" if shell == "fish" else " ")


def _offers(line: str, shell: str, commands: Sequence[str]) -> list[str]:
    typed = line.split()
    current = typed.pop() if typed and not line.endswith(" ") else ""
    if len(typed) < 2:
        return [command for command in commands if command.startswith(current)] if typed else list(commands)
    command = typed[1]
    if current.startswith("-"):
        return [flag for flag in FLAGS.get(command, HELP) if flag.startswith(current)]
    if command == "run" and typed[-1] not in BEFORE_A_FOLDER:
        return _of_hydra(typed[2:], current, shell)
    if command == "theory":
        return [f"{key}=" for key in theory_keys() if key.startswith(current)]
    return []


def _of_hydra(typed: Sequence[str], current: str, shell: str) -> list[str]:
    """What Hydra offers for a word of `nngeom run`; a half-typed line is no error."""
    from nngeom_cli.launch.application import launch

    words = [word for word in typed if word in OF_HYDRA or ("=" in word and not word.startswith("-"))]
    before = os.environ.get("COMP_LINE", "")
    os.environ["COMP_LINE"] = " ".join(["nngeom", *words, current])
    try:
        with contextlib.redirect_stdout(io.StringIO()) as offered, contextlib.redirect_stderr(io.StringIO()):
            launch(["-sc", f"query={shell}"], "nngeom")
    except (NngeomError, SystemExit):
        return []
    finally:
        os.environ["COMP_LINE"] = before
    return offered.getvalue().split()
