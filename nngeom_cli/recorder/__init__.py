"""Records a model while a user's own loop trains it, into a run directory like that of `nngeom run`."""

from nngeom_cli.recorder.recorder import Recorder

__all__ = ["Recorder"]
