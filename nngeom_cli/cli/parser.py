"""The words of the command line: subcommands, their options, their help. Words that are Hydra's are left to Hydra."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Callable
from textwrap import dedent
from typing import Any, NoReturn

from nngeom_cli.cli.examples import EXAMPLES
from nngeom_cli.errors import ConfigError, did_you_mean, shown
from nngeom_cli.groups import conf_directory

__all__ = ["Parser", "UsageError", "command_line"]

DESCRIPTION = "How training bends the input space of a neural network: metric, volume element, Ricci curvature."
EPILOG = """  nngeom run task=xor                            the last line of stdout is the run directory
  nngeom run -m task=xor,sinusoid seed=0,100     all combinations
  nngeom COMMAND --help                          more about a command

Exit codes: 0 done, 1 a run failed, 2 the command or its config was wrong, 130 interrupted."""
RUN_DIRECTORIES = ("followed by run directories", "See outputs/runs.")
TAKES = {
    "run": ("given flags that it has", "See `nngeom run --help`."),
    "measure": ("followed by one run directory", "See outputs/runs."),
    "resume": RUN_DIRECTORIES,
    "figures": RUN_DIRECTORIES,
    "report": RUN_DIRECTORIES,
    "watch": ("followed by one run directory", "See outputs/runs."),
    "summarize": ("followed by directories of runs", "See outputs/."),
    "compare": ("followed by run directories", "See `nngeom list`."),
    "list": ("followed by folders of runs", "See outputs/."),
    "clean": RUN_DIRECTORIES,
    "animate": RUN_DIRECTORIES,
    "theory": ("given KEY=VALUE", "See `nngeom theory --help`."),
    "reproduce": ("given --quick or nothing", "See `nngeom reproduce --help`."),
}  # what `nngeom COMMAND` must be, and where to look
WRONG_FLAG = re.compile(r"argument (--\S+): (?:invalid (int|float) value: (.+)|expected one argument)")


class UsageError(Exception):
    """The words name no subcommand."""


class _Layout(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=22, width=120)


class Parser(argparse.ArgumentParser):
    """argparse's parser with our errors; it lists its flags.

    Args:
        more: what its help ends with, computed when it is shown.
        options: of argparse.
    """

    def __init__(self, more: Callable[[], str] = str, **options: Any) -> None:
        self.more, self.flags = more, list[str]()
        super().__init__(formatter_class=_Layout, allow_abbrev=False, **options)

    def add_argument(self, *names: Any, **options: Any) -> argparse.Action:
        self.flags += [name for name in names if name.startswith("--")]
        return super().add_argument(*names, **options)

    def format_help(self) -> str:
        return super().format_help() + self.more()

    def error(self, message: str) -> NoReturn:
        """Raises our error instead of printing argparse's and exiting."""
        command = self.prog.rpartition(" ")[2]
        if command not in TAKES:
            raise UsageError(message)
        if wrong := WRONG_FLAG.fullmatch(message):
            flag, kind, got = wrong.groups()
            must_be = {"int": "an integer", "float": "a number"}.get(kind, "followed by a value")
            given = shown(ast.literal_eval(got)) if got else "nothing"
            raise ConfigError(f"`{flag}` must be {must_be}. Got {given}. See `nngeom {command} --help`.")
        self.refuse(message.removeprefix("argument "))

    def refuse(self, got: str) -> NoReturn:
        """Raises the error for words that this command does not take."""
        command = self.prog.rpartition(" ")[2]
        must, see = TAKES[command]
        suggestion = did_you_mean(got, self.flags) if got.startswith("-") else ""
        raise ConfigError(f"`nngeom {command}` must be {must}. Got {shown(got)}. {suggestion or see}")


def command_line(texts: dict[str, tuple[str, str]]) -> tuple[Parser, dict[str, Parser]]:
    """The parser of the command, and those of its subcommands.

    Args:
        texts: of each subcommand, one line for the list of all, and a docstring: its usage, then paragraphs.
    """
    parser = Parser(prog="nngeom", usage="nngeom COMMAND ...", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--version", action="store_true", help="show the version")
    script = 'print the completion script: eval "$(nngeom -sc install=bash)"'
    parser.add_argument("-sc", "--shell-completion", nargs="?", const="", metavar="install=bash", help=script)
    group = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    commands = {}
    for name, (summary, text) in texts.items():
        usage, _, description = dedent(f"    {text}").strip().partition("\n\n")
        commands[name] = group.add_parser(
            name,
            usage=usage,
            help=summary,
            description=description,
            epilog=EXAMPLES.get(name),
            add_help=name != "run",  # whose help is composed, with the keys of its config
            more=_theory_keys if name == "theory" else str,
        )
        if name not in ("run", "reproduce"):
            commands[name].add_argument("words", nargs="*", help=argparse.SUPPRESS)

    commands["run"].add_argument("--from", dest="saved", action="append", nargs="?", const="", metavar="RUN")
    commands["run"].add_argument("--dry-run", action="store_true")
    own = "FILE.py:FUNCTION that returns"
    measure = commands["measure"]
    measure.add_argument("--model", metavar="FILE:NAME", help=f"{own} a module; measures state_dicts of it")
    measure.add_argument("--data", metavar="FILE:NAME", help=f"{own} inputs and labels, among which places are chosen")
    measure.add_argument("--layer", action="append", metavar="NAME", help="a submodule to measure; may be repeated")
    above = "a single output above it means class 1, 0 for a logit; default: as recorded, else 0.5"
    measure.add_argument("--threshold", type=float, metavar="X", help=above)
    summarize = commands["summarize"]
    summarize.add_argument("--group", action="store_true", help="one row for all runs that differ only in their seeds")
    names = "scores, statistics and config keys to show: accuracy,'volume_*',optimizer.lr; or all, or help"
    summarize.add_argument("--columns", default="", metavar="NAME,...", help=names)
    order = "the column by which rows are sorted: scores from the best, all else from the smallest"
    summarize.add_argument("--sort", default="", metavar="NAME", help=order)
    summarize.add_argument("--reverse", action="store_true", help="the other way round")
    formats = "terminal (the default), csv, markdown or json"
    summarize.add_argument("--format", default="terminal", metavar="FORMAT", help=formats)
    listed = "terminal (the default), csv or json"
    commands["list"].add_argument("--format", default="terminal", metavar="FORMAT", help=listed)
    commands["clean"].add_argument("--dry-run", action="store_true", help="say what would be dropped, and drop nothing")
    commands["clean"].add_argument("--yes", action="store_true", help="do not ask")
    port = "the server's port; default: any that is free"
    commands["watch"].add_argument("--port", type=int, metavar="N", help=port)
    quick = "train for a fraction of the epochs, into outputs/figures/quick, and judge nothing"
    commands["reproduce"].add_argument("--quick", action="store_true", help=quick)
    return parser, commands


def _theory_keys() -> str:
    """The keys of `nngeom theory`, with what each is and its default."""
    return "\n" + (conf_directory() / "theory.yaml").read_text(encoding="utf-8")
