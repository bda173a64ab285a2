"""nngeom: how training shapes the Riemannian geometry of neural network feature maps."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nngeom_cli.store.run import load_run
    from nngeom_cli.store.sweep import load_sweep

__all__ = ["load_run", "load_sweep"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nngeom_cli import store  # first when it is wanted: `nngeom --help` waits for no pandas

    return getattr(store, name)
