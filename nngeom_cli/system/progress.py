"""The progress of work, shown on stderr: as a bar on a terminal, elsewhere as a line now and then."""

from __future__ import annotations

import contextlib
import math
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any, ClassVar

from nngeom_cli.errors import say

__all__ = ["Progress", "quietly", "within"]

FIRST, EVERY, SHARE = 5.0, 10.0, 0.05  # seconds before the first line; between two, or this share of the time so far
BAR_DELAY = 0.5  # seconds before a bar is shown


class _Clock:
    """When the current work began, when a line was last written, and what encloses the work."""

    around: ClassVar[list[str]] = []
    depth = 0
    began = 0.0
    said = -EVERY
    quiet = False


@contextlib.contextmanager
def within(words: str) -> Iterator[None]:
    """Starts every line inside the block with `words`: `job 3`."""
    before, _Clock.around = _Clock.around, [*_Clock.around, *filter(None, [words])]
    with _counted():
        try:
            yield
        finally:
            _Clock.around = before


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Shows nothing inside the block: other processes write to the same terminal."""
    before, _Clock.quiet = _Clock.quiet, True
    try:
        yield
    finally:
        _Clock.quiet = before


@contextlib.contextmanager
def _counted() -> Iterator[None]:
    if _Clock.depth == 0:
        _Clock.began = time.monotonic()
    _Clock.depth += 1
    try:
        yield
    finally:
        _Clock.depth -= 1


def _is_shown() -> bool:
    """Whether progress may be shown, and stderr can show it."""
    return not _Clock.quiet and sys.stderr is not None and not sys.stderr.closed


def _in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in shell.config


def _bar(notebook: bool) -> Any:
    """tqdm's bar: in a notebook its own, or text where ipywidgets is missing, of which tqdm would warn."""
    if not notebook:
        from tqdm import tqdm

        return tqdm
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm as of_notebook

    return of_notebook


class Progress:
    """Work in steps that are counted. Nothing is shown for work of a few seconds.

    Args:
        unit: what is counted, `epoch`.
        total: how many there are.
        done: how many of them are done already.
        lines: never a bar: other processes write to the same terminal.

    Example:
        >>> with Progress("figure", 3) as progress:
        ...     for figure in range(3):
        ...         progress.update(figure + 1)
    """

    def __init__(self, unit: str, total: int, done: int = 0, *, lines: bool = False) -> None:
        self.unit, self.total, self.first, self.lines = unit, total, done, lines
        self.bar: Any = None

    def __enter__(self) -> Progress:
        self.began = time.monotonic()
        self.stack = contextlib.ExitStack()
        self.stack.enter_context(_counted())
        notebook = _in_notebook()
        if _is_shown() and (notebook or sys.stderr.isatty()) and not self.lines:
            self.bar = self.stack.enter_context(
                _bar(notebook)(
                    desc=", ".join(_Clock.around) or None,
                    total=self.total,
                    initial=self.first,
                    unit=self.unit,
                    delay=BAR_DELAY,
                    dynamic_ncols=True,
                    leave=False,
                )
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def update(self, done: int, words: str = "") -> None:
        """Shows the progress, if it is time to.

        Args:
            done: how many steps are done.
            words: what else to show, `loss 0.31`.
        """
        if self.bar is not None:
            self.bar.set_postfix_str(words, refresh=False)
            self.bar.update(done - self.bar.n)
        elif _is_shown():
            now = time.monotonic()
            running, seconds = now - _Clock.began, now - self.began
            due = running >= FIRST and now - _Clock.said >= max(EVERY, SHARE * running)
            if due and self.left(done, seconds) >= FIRST:
                _Clock.said = now
                with contextlib.suppress(OSError):  # nobody reads it any more, which is no reason to end
                    say(self.line(done, words, seconds))

    def left(self, done: int, seconds: float) -> float:
        """Seconds that the rest will take at the pace of the `seconds` until now; infinite if nothing is done.

        Example:
            >>> Progress("epoch", 900, done=100).left(300, seconds=20.0)
            60.0
        """
        return seconds * (self.total - done) / (done - self.first) if done > self.first else math.inf

    def line(self, done: int, words: str, seconds: float) -> str:
        """The line shown after so many seconds.

        Example:
            >>> Progress("epoch", 900).line(300, "loss 0.31", seconds=20.0)
            '300 of 900 epochs, loss 0.31, about 40 s left'
        """
        left = self.left(done, seconds)
        rest = f"about {duration(left)} left" if left < math.inf else f"after {duration(seconds)}"
        return ": ".join(
            [*_Clock.around, ", ".join(filter(None, [f"{done} of {self.total} {self.unit}s", words, rest]))]
        )


def duration(seconds: float) -> str:
    """A time in words, to about two digits.

    Example:
        >>> duration(3), duration(42), duration(400), duration(9000)
        ('5 s', '40 s', '7 min', '2.5 h')
    """
    if seconds < 100:
        return f"{max(5, 5 * round(seconds / 5))} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
