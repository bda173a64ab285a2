"""SIGINT and SIGTERM, which end what is running once it is saved."""

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
    """What SIGINT and SIGTERM ask for.

    Attributes:
        requested: a signal has come. Who saves work looks at this between two steps.
    """

    def __init__(self) -> None:
        self.requested = False
        self._patient = True
        self._since = 0.0

    def at_once(self) -> None:
        """From now on a signal, or one that has come already, raises KeyboardInterrupt: there is nothing to save."""
        self._patient = False
        if self.requested:
            raise KeyboardInterrupt

    def handle(self, number: int, _: FrameType | None) -> None:
        """The signal handler. The second signal ends the process as if nobody had listened.

        One that comes at once is the first again: `timeout` and some schedulers send it to a process and to its group.
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
    """SIGINT and SIGTERM ask for an end, which comes when the work is saved; a second one ends at once."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():  # signals are not for it
        yield stop
        return
    before = {number: signal.signal(number, stop.handle) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
