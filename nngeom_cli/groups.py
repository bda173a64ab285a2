"""The folder of configs and its groups."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["GROUPS", "conf_directory", "group_of", "theory_keys"]

GROUPS = (
    "task",
    "experiment",
    "optimizer",
    "probe",
    "architecture",
)  # an option in several groups belongs to the first


def conf_directory() -> Path:
    """The folder of configs: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parent
    return next(folder for folder in (package.parent / "conf", package / "conf") if (folder / "config.yaml").is_file())


def group_of(option: str) -> str | None:
    """The group that has an option.

    Example:
        >>> group_of("xor"), group_of("figure2"), group_of("adam"), group_of("nope")
        ('task', 'experiment', 'optimizer', None)
    """
    files = conf_directory()
    return next((group for group in GROUPS if option in {path.stem for path in (files / group).glob("*.yaml")}), None)


def theory_keys() -> list[str]:
    """The keys of `nngeom theory`."""
    return re.findall(r"^(\w+):", (conf_directory() / "theory.yaml").read_text(encoding="utf-8"), re.MULTILINE)
