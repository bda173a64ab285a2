"""The files of a run and of a sweep, written and read back."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nngeom_cli.store.run import Run, load_run
    from nngeom_cli.store.sweep import load_sweep

__all__ = ["Run", "load_run", "load_sweep"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nngeom_cli.store import run, sweep  # imported on first use: the other modules here are lighter

    return getattr(sweep if name == "load_sweep" else run, name)
