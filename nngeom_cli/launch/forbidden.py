"""A config names values, never code: refuses what would make Hydra or logging import, start or write anything.

Hydra acts on its own section before the rest of a config can be checked: it sets environment variables, makes
callbacks, launchers and log handlers, and writes into folders. So that section is nngeom's own, except for a few keys.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nngeom_cli.config.nested import leaves
from nngeom_cli.errors import require

__all__ = ["SEARCHED", "is_about_hydra", "refuse_foreign_code", "refuse_foreign_section", "refuse_foreign_words"]

SEARCHED = "hydra/sweeper=optuna"  # the only other sweeper
FOLDERS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")
TYPED = re.compile(  # what can be typed
    r"hydra/launcher|"
    r"hydra\.(run\.dir|sweep\.dir|sweep\.subdir|verbose|mode|(sweeper|launcher)\.(?!.*_target_).+)"
)
FREE = re.compile(  # what a config file can say
    r"hydra\.(run\.dir|sweep\.dir|sweep\.subdir|verbose|sweeper\.max_batch_size|sweeper\.params(\..+)?)"
)
QUEUE = re.compile(  # the same of a launcher, as names and numbers
    r"hydra\.launcher\.(n_jobs|name|partition|account|qos|constraint|comment|exclude|gres|timeout_min|cpus_per_task|"
    r"mem_gb|gpus_per_node|nodes|array_parallelism|signal_delay_s|max_num_timeout|ray\.init\.num_cpus|"
    r"ray\.remote\.num_cpus)"
)
COMPOSED = re.compile(r"hydra\.(runtime\..+|job\.override_dirname)")  # by Hydra itself
SECTIONS = ("hydra", "hydra.launcher", "hydra.sweeper")  # mappings, not interpolations
PLUGINS = ("hydra.launcher._target_", "hydra.sweeper._target_")  # Hydra itself takes only its plugins there
MAKERS = ("_target_", "oc.create")  # an interpolation that makes a config could make one that names code
REFERENCE = re.compile(r"\$\{[\w./\[\]-]+\}")  # ${task.name}
RESOLVED = re.compile(r"\$\{(now|oc\.env|hydra):[^${}]*\}")  # ${now:%Y%m%d}
WORD = re.compile(r"[\w.,:@%+/ -]*")
CHOICE = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*")
VALUES_ONLY = "A config of nngeom names values, never code."
OURS = "Of Hydra's section only hydra.run.dir, hydra.sweep.dir, hydra.sweep.subdir and hydra.launcher.KEY can be set."


def is_about_hydra(override: str) -> bool:
    """Whether an override, as typed, is one of Hydra's own section."""
    return re.match(r"[+~\s]*hydra\b", override) is not None


def refuse_foreign_words(overrides: Sequence[str]) -> None:
    """Checks overrides as typed, before a config is composed.

    Raises:
        ConfigError: an override would change what Hydra starts, loads or writes.
    """
    for override in overrides:
        typed, _, value = override.partition("=")
        key, _, package = typed.strip("+~ \t").partition("@")
        allowed = (
            not is_about_hydra(override) or override == SEARCHED or (TYPED.fullmatch(key) is not None and not package)
        )
        require(allowed and "hydra" not in re.split(r"[.:]", package), key, "left out", value or "nothing", OURS)


def refuse_foreign_code(composed: DictConfig) -> None:
    """Checks a composed config before anything acts on it; nothing is resolved.

    Raises:
        ConfigError: it would import or call something, or was read from a file outside the config folders.
    """
    plain = OmegaConf.to_container(composed, resolve=False)
    assert isinstance(plain, dict)
    choices = plain.get("hydra", {}).get("runtime", {}).get("choices", {})
    for group, chosen in choices.items():
        for choice in chosen if isinstance(chosen, list) else [chosen]:
            known = choice is None or CHOICE.fullmatch(str(choice)) is not None
            require(known, group, "the name of a config", choice, "`nngeom run --help` lists them.")
    for key, value in leaves(plain, lists="together"):
        name, text, hydra = key.rpartition(".")[2], str(value), key.startswith("hydra.")
        refused = any(maker in text for maker in MAKERS) or (name == "_target_" and key not in PLUGINS)
        refused |= (key.startswith("hydra.callbacks") or key in SECTIONS) and value is not None
        if not hydra or key.startswith(("hydra.launcher", "hydra.sweeper")):
            refused |= "${" in REFERENCE.sub("", text)  # a run must not depend on its surroundings
        elif key in FOLDERS:
            refused |= "${" in RESOLVED.sub("", REFERENCE.sub("", text))
        require(not refused, key, "left out", value, VALUES_ONLY)


def refuse_foreign_section(composed: Any, own: Any) -> None:
    """Compares Hydra's section of a config that a user's config folder may have changed with our own.

    Args:
        composed: the section, plain, nothing in it resolved.
        own: the same section without that folder.

    Raises:
        ConfigError: it differs in a key that starts, loads or writes anything.
    """
    ours, theirs = (dict(leaves(section, "hydra")) for section in (own, composed))
    for key in {**theirs, **ours}:
        value = theirs.get(key, "nothing")
        if value == ours.get(key, "nothing") or FREE.fullmatch(key) or COMPOSED.fullmatch(key):
            continue
        plain = value is None or WORD.fullmatch(str(value)) is not None
        require(QUEUE.fullmatch(key) is not None and plain, key, "left out of a folder of configs", value, OURS)
