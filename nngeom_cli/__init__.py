"""nngeom: how training shapes the Riemannian geometry of neural network feature maps."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nngeom_cli.launch.calling import run
    from nngeom_cli.recorder import Recorder
    from nngeom_cli.store.run import load_run
    from nngeom_cli.store.sweep import load_sweep

    __version__: str

__all__ = ["Recorder", "__version__", "load_run", "load_sweep", "run"]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    """The public names, each imported when it is first used, so that `nngeom --help` does not wait for pandas."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "__version__":
        from importlib.metadata import version

        return version("nngeom")
    if name == "Recorder":
        from nngeom_cli import recorder

        return recorder.Recorder
    if name == "run":
        from nngeom_cli.launch import calling

        return calling.run
    from nngeom_cli import store

    return getattr(store, name)
