"""TensorBoard: an event file in the run directory. `tensorboard --logdir outputs` shows all runs below."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from nngeom_cli.config.nested import leaves
from nngeom_cli.errors import shown
from nngeom_cli.store.layout import TRACKER
from nngeom_cli.store.run import Run
from nngeom_cli.system.atomic import refuse_link, refuse_links

__all__ = ["TensorBoard"]


class TensorBoard:
    """Scalars; the config as hyper-parameters and as text; PNG figures as images."""

    def __init__(self) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.plugins.hparams import plugin_data_pb2, summary_v2
        from tensorboard.plugins.text.summary_v2 import text_pb
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._events, self._summaries, self._hparams = event_pb2, summary_pb2, summary_v2
        self._ends, self._text, self._records = plugin_data_pb2, text_pb, RecordWriter
        self._writer: Any = None
        self._last = 0

    def start(self, run: Run) -> None:
        """Begins a new event file and empties earlier ones; a viewer that has read these forgets what they said.

        They are not removed: a viewer that is open would wait for them, and never read the new one.
        """
        folder = run.directory / TRACKER
        refuse_link(folder)
        refuse_links(folder)
        folder.mkdir(exist_ok=True)
        for path in folder.glob("events.out.tfevents.*"):
            path.unlink()
            path.touch()  # a new file: the old one may have a second name, in a backup
        now = time.time()
        path = folder / f"events.out.tfevents.{now:017.6f}.nngeom"
        self._writer = self._records(path.open("xb"))
        self._write(file_version="brain.Event:2")
        self._write(session_log=self._events.SessionLog(status=self._events.SessionLog.START))
        config = {key: value for key, value in leaves(run.config) if value is not None}
        plain = {key: value if isinstance(value, bool | int | float) else shown(value) for key, value in config.items()}
        self._write(summary=self._hparams.hparams_pb(plain, trial_id=run.info.get("id"), start_time_secs=now))
        lines = "".join(f"    {key}={shown(value)}\n" for key, value in leaves(run.config))  # indented: Markdown's code
        self._write(summary=self._text("config", f"    {run.info.get('command', '')}\n\n{lines}"))

    def scalars(self, epoch: int, values: Mapping[str, float]) -> None:
        """One record: a reader has all values of an epoch, or none."""
        scalar = self._summaries.Summary.Value
        summary = self._summaries.Summary(value=[scalar(tag=tag, simple_value=value) for tag, value in values.items()])
        self._write(step=epoch, summary=summary)
        self._last = max(self._last, epoch)

    def figures(self, paths: Sequence[Path]) -> None:
        """At the last epoch."""
        for path in paths:
            if path.suffix == ".png":
                with Image.open(path) as image:
                    width, height = image.size
                picture = self._summaries.Summary.Image(
                    height=height, width=width, colorspace=4, encoded_image_string=path.read_bytes()
                )
                value = self._summaries.Summary.Value(tag=f"figures/{path.stem}", image=picture)
                self._write(step=self._last, summary=self._summaries.Summary(value=[value]))

    def end(self, status: str) -> None:
        """Adds the status, and closes the file."""
        if self._writer is not None:
            self._write(step=self._last, summary=self._text("status", status))
            self._writer.close()

    def _write(self, **content: Any) -> None:
        self._writer.write(self._events.Event(wall_time=time.time(), **content).SerializeToString())
        self._writer.flush()
