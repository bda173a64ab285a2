"""`nngeom clean`: drops checkpoints, which are most of a run's bytes, and keeps the geometry."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nngeom_cli.cli.arguments import run_folders
from nngeom_cli.errors import ConfigError, DamageError, FolderError, say

if TYPE_CHECKING:
    from nngeom_cli.store.cleaning import Droppable

__all__ = ["clean"]


def clean(options: Namespace) -> int:
    """nngeom clean RUN_OR_SWEEP... [--dry-run] [--yes]

    Drops the checkpoints of runs that have ended, and keeps their geometry, history and figures. `figures`,
    `summarize`, `animate` and `load_run` work as before; `resume`, `measure` and weights need what is dropped, and
    cannot bring it back: `nngeom run --from RUN` trains again. Of a SWEEP, the runs that have ended are cleaned.

    Asks first, unless --yes is given.
    """
    from nngeom_cli.store.cleaning import clean as drop
    from nngeom_cli.system.memory import in_words

    found, failed = _found(options.words)
    for one in found:
        print(f"{one.run.directory}: {_count(len(one.names), 'checkpoint')}, {in_words(one.size)}")
    count, size = sum(len(one.names) for one in found), sum(one.size for one in found)
    total = f"{_count(count, 'checkpoint')} of {_count(len(found), 'run')}, {in_words(size)}"
    if options.dry_run or count == 0:
        say(f"Would drop {total}." if count else "There is nothing to drop.")
    elif options.yes or _agreed(f"Drop {total}? They cannot be brought back."):
        for one in found:
            drop(one.run.directory)
        say(f"Dropped {total}.")
    else:
        say("Nothing was dropped.")
    return 1 if failed else 0


def _found(words: Sequence[str]) -> tuple[list[Droppable], bool]:
    """What the runs have to drop, and whether a run of a sweep could not be looked at."""
    from nngeom_cli.store.cleaning import droppable
    from nngeom_cli.store.layout import SWEEP
    from nngeom_cli.store.sweep import load_sweep

    found, failed = {}, False
    for folder in run_folders("clean", words):
        if not (folder / SWEEP).exists():
            found[folder.resolve()] = droppable(folder)
            continue
        for job in load_sweep(folder).jobs:
            path = folder / job.directory
            try:
                found[path.resolve()] = droppable(path)
            except FileNotFoundError:  # it has not started
                continue
            except ConfigError as error:
                say(f"Left alone: {error}")
            except (DamageError, FolderError) as error:
                say(str(error))
                failed = True
    return [one for one in found.values() if one.names], failed


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _agreed(question: str) -> bool:
    """Whether someone at the terminal says yes.

    Raises:
        ConfigError: nobody is there to be asked.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigError("`nngeom clean` must be given --yes where it cannot ask. Got no terminal. See --dry-run.")
    print(f"nngeom: {question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
