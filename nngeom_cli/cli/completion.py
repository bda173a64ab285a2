"""Shell completion: ours for commands, flags and keys of theory; Hydra's for the words of `nngeom run`.

If nothing is offered, the shell completes file names.
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
FLAGS_OF_HYDRA = ("--cfg", "--config-dir", "--help", "--hydra-help", "--info", "--multirun", "--resolve")
OF_HYDRA = ("-m", "--multirun")  # flags that change Hydra's offers
OF_MEASURE = ("probe", "figures.", "device=")  # what `nngeom measure` takes of the words of `nngeom run`
BEFORE_A_FOLDER = ("--config-dir", "-cd", "--from")


def complete(asked: str, flags: dict[str, list[str]]) -> None:
    """Prints the completion script of a shell, or what can follow the line in COMP_LINE.

    Args:
        asked: what follows -sc.
        flags: of each command.

    Raises:
        ConfigError: `asked` is neither.
    """
    what, _, shell = asked.partition("=")
    if what not in ("install", "uninstall", "query") or shell not in SHELLS:
        raise ConfigError(
            f"`-sc` must be followed by install=SHELL, uninstall=SHELL or query=SHELL. Got {asked or 'nothing'}. "
            "For example install=bash, fish or zsh."
        )
    if what != "query":
        from nngeom_cli.launch.application import launch

        launch(["-sc", asked], "nngeom")
        return
    if offers := _offers(os.environ.get("COMP_LINE", ""), shell, flags):
        print(*offers, sep="\n" if shell == "fish" else " ")


def _offers(line: str, shell: str, flags: dict[str, list[str]]) -> list[str]:
    typed = line.split()
    current = typed.pop() if typed and not line.endswith(" ") else ""
    if len(typed) < 2:
        return [command for command in flags if command.startswith(current)] if typed else list(flags)
    command = typed[1]
    if current.startswith("-"):
        known = [*flags.get(command, []), *(FLAGS_OF_HYDRA if command == "run" else [])]
        return sorted(flag for flag in known if flag.startswith(current))
    if command == "run" and typed[-1] not in BEFORE_A_FOLDER:
        return _of_hydra(typed[2:], current, shell)
    if command == "measure" and len(typed) > 2:
        return [offer for offer in _of_hydra(typed[3:], current, shell) if offer.startswith(OF_MEASURE)]
    if command == "theory":
        return [f"{key}=" for key in theory_keys() if key.startswith(current)]
    return []


def _of_hydra(typed: Sequence[str], current: str, shell: str) -> list[str]:
    """Hydra's offers for a word of `nngeom run`; a half-typed line is no error."""
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
