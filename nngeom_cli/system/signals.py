"""SIGINT and SIGTERM, which end a run once its work is saved."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

__all__ = ["Stop", "stop_on_signal"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ECHO_SECONDS = 0.5


class Stop:
    """Whether SIGINT or SIGTERM has requested a stop.

    Attributes:
        requested: a signal has come; code that saves work checks this between two steps.
    """

    def __init__(self) -> None:
        self.requested = False
        self._patient = True
        self._since = 0.0

    def at_once(self) -> None:
        """Makes a signal, or one that has come already, raise KeyboardInterrupt at once: there is nothing to save."""
        self._patient = False
        if self.requested:
            raise KeyboardInterrupt

    def handle(self, number: int, _: FrameType | None) -> None:
        """The signal handler. The second signal ends the process as if there were no handler.

        One that follows at once is an echo: `timeout` and some schedulers send it to a process and to its group.
        """
        if not self.requested:
            self.requested, self._since = True, time.monotonic()
            if not self._patient:
                raise KeyboardInterrupt
        elif time.monotonic() - self._since > ECHO_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


@contextlib.contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Makes SIGINT and SIGTERM request a stop, which comes once the work is saved; a second one stops at once."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():  # only the main thread gets signals
        yield stop
        return
    before = {number: signal.signal(number, stop.handle) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
