"""The command `nngeom`: typed words to a call."""

from nngeom_cli.cli.entry import main

__all__ = ["main"]
