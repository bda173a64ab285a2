"""A config names values, never code: what Hydra, or Python's logging, would import by its name is refused.

Hydra acts on its own section before the rest of a config can be checked: it makes callbacks, launchers, log handlers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nngeom_cli.errors import require

__all__ = ["refuse_foreign_code"]

PLUGINS = ("hydra.launcher._target_", "hydra.sweeper._target_")  # Hydra itself takes only its plugins there
SAMPLER = "hydra.sweeper.sampler._target_"
LOGGING = ("hydra.job_logging.", "hydra.hydra_logging.")
SECTIONS = ("hydra", "hydra.launcher", "hydra.sweeper", "hydra.job_logging", "hydra.hydra_logging")  # no interpolations
LOGGERS = (
    "colorlog.ColoredFormatter",
    "logging.FileHandler",
    "logging.Formatter",
    "logging.NullHandler",
    "logging.StreamHandler",
    "logging.handlers.RotatingFileHandler",
)
STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
MAKERS = ("_target_", "oc.create")  # an interpolation that makes a config could make one that names code
WAY_OUT = "A config of nngeom names values, never code."


def refuse_foreign_code(composed: DictConfig) -> None:
    """Looks through a composed config before anything acts on it; nothing is resolved.

    Raises:
        ConfigError: it would import or call something.
    """
    plain = OmegaConf.to_container(composed, resolve=False)
    for key, value in _leaves(plain, ""):
        name, text = key.rpartition(".")[2], str(value)
        refused = any(maker in text for maker in MAKERS) or (key in SECTIONS and value is not None)
        refused |= "oc.env" in text and not key.startswith(
            "hydra."
        )  # what a run is must not depend on its surroundings
        if name == "_target_" and key not in PLUGINS:
            refused |= key != SAMPLER or not text.startswith("optuna.samplers.") or "${" in text
        if key.startswith(LOGGING):
            refused |= name in ("class", "()") and text not in LOGGERS
            refused |= text.startswith(("ext://", "cfg://")) and text not in STREAMS
        require(not refused and not key.startswith("hydra.callbacks"), key, "left out", value, WAY_OUT)


def _leaves(tree: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Each value of a plain config with its key; that of a list's item is the list's."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from _leaves(value, f"{key}.{name}" if key else str(name))
    elif isinstance(tree, list):
        for value in tree:
            yield from _leaves(value, key)
    else:
        yield key, tree
