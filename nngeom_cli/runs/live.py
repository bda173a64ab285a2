"""Pictures of checkpoints while training goes on, drawn by a process that takes only time that nobody else wants."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import time
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from nngeom_cli.config.run import Config
from nngeom_cli.store.arrays import read_dataset
from nngeom_cli.store.layout import CHECKPOINTS, FIGURES, INFO, geometry_name
from nngeom_cli.store.run import joined, load_run
from nngeom_cli.system.atomic import refuse_link
from nngeom_cli.system.parallel import FORKS
from nngeom_cli.system.process import end_with_parent

__all__ = ["LivePictures", "live_pictures"]

START_SECONDS = 2.0  # a shorter run has its pictures at the end only
MOST_KEPT = 30  # checkpoints from which the scales are taken until they are known for good
KINDS = ("grid", "plane", "path")


class LivePictures:
    """Hands checkpoints to the drawing process, which begins once training takes long enough.

    Whatever happens to that process, training goes on; at the end all pictures are drawn again, on common scales.
    """

    def __init__(self, config: Config) -> None:
        self.place = 0 if config.figures.replicate is None else config.figures.replicate - config.seed
        self.seed, self.convention = config.seed + self.place, config.figures.curvature_convention
        self.asked = FORKS and config.figures.draw and config.figures.checkpoints and config.probe.kind in KINDS
        self.began = time.monotonic()
        self.waiting: list[tuple[str, int, float]] = []
        self.process: BaseProcess | None = None
        self.sender: Connection | None = None

    def add(self, directory: Path, epoch: int, loss: float) -> None:
        """A checkpoint was measured; its picture follows some time later.

        Args:
            directory: of the run, now.
            epoch: of the checkpoint.
            loss: of the shown replicate.
        """
        if not self.asked:
            return
        self.waiting.append((str(directory), epoch, loss))
        if time.monotonic() - self.began < START_SECONDS:
            return
        if self.process is None:
            self._start()
        assert self.sender is not None
        try:
            for item in self.waiting:
                self.sender.send(item)
        except OSError:  # that process has ended, or does not read
            self.asked = False
        self.waiting.clear()

    def close(self) -> None:
        """Ends the process, whatever it is doing."""
        if self.process is not None and self.sender is not None:
            self.process.kill()
            self.process.join()
            self.sender.close()

    def _start(self) -> None:
        fork = multiprocessing.get_context("fork")
        receiver, self.sender = fork.Pipe(duplex=False)
        os.set_blocking(self.sender.fileno(), False)  # training never waits for a picture
        arguments = (receiver, self.seed, self.convention, os.getpid())
        self.process = fork.Process(target=draw_as_they_come, args=arguments, daemon=True)
        collected = gc.get_freeze_count() == 0
        if collected:
            gc.freeze()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)  # it touches no lock of another thread
            self.process.start()
        if collected:
            gc.unfreeze()
        receiver.close()


@contextlib.contextmanager
def live_pictures(config: Config) -> Iterator[LivePictures]:
    """Pictures of the checkpoints of a run, until the block ends."""
    pictures = LivePictures(config)
    try:
        yield pictures
    finally:
        pictures.close()


def draw_as_they_come(receiver: Connection, seed: int, convention: str, parent: int) -> None:
    """Runs in the drawing process: draws what has come, on the scales of all that came before."""
    end_with_parent(parent)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent decides
    os.nice(19)  # beside busy processes it takes a hundredth of their time
    with contextlib.suppress(Exception):  # a full disk, a moved folder: what is wrong is said where it matters
        draw_all(receiver, seed, convention)


def draw_all(receiver: Connection, seed: int, convention: str) -> None:
    """Draws until the other end is closed."""
    import xarray as xr

    from nngeom_cli.figures.checkpoints import Pictures, write_picture
    from nngeom_cli.figures.naming import names_of
    from nngeom_cli.figures.style import style

    kept: list[xr.Dataset] = []
    while True:
        news = [receiver.recv()]
        with contextlib.suppress(EOFError):  # the last has come
            while receiver.poll():
                news.append(receiver.recv())
        measured = [(epoch, loss, read_dataset(Path(place) / geometry_name(epoch))) for place, epoch, loss in news]
        directory = Path(news[-1][0])
        if not (directory / INFO).is_file():
            return
        run = load_run(directory, verify=False)
        target = directory / FIGURES
        for folder in (target, target / CHECKPOINTS):
            refuse_link(folder)
        kept = [*kept, *(dataset for *_, dataset in measured)]
        kept = [*kept[:1], *kept[1:][-(MOST_KEPT - 1) :]]
        with style():
            pictures = Pictures(joined(kept), seed, convention, names_of(run))
            for epoch, loss, dataset in reversed(measured):
                picture = pictures.draw(dataset, f"epoch {epoch}, loss {loss:.3g} (scales not final)")
                write_picture(picture, target, epoch, {"Run": directory.name})
