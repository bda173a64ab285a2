"""Pictures of a run, drawn from what it saved: no training, no torch."""

from nngeom_cli.figures import rc  # noqa: F401  (before anything imports matplotlib)
from nngeom_cli.figures.draw import draw_figures

__all__ = ["draw_figures"]
