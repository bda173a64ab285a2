"""Writes docs/config.md, every key that a run can set, from where the keys are declared: `make keys`."""

from __future__ import annotations

from pathlib import Path

from nngeom_cli.config.general import NumbersConfig
from nngeom_cli.config.loader import type_in_words
from nngeom_cli.config.sections import SECTIONS, known_keys
from nngeom_cli.errors import one_of

HEAD = """\
# Every key of a config

What a run can set, as `key=value` or in a file of [conf/](../conf/). A value of the wrong type or outside its range is
refused before anything is made. `nngeom run --help` shows the values of a command.

`make keys` writes this page from the declarations in `nngeom_cli/config/`.
"""
TABLE = "\n| key | type | range | meaning | only with |\n|---|---|---|---|---|\n"


def page() -> str:
    """The page: a table for each section, and one for the keys that are in none."""
    kinds: dict[tuple[str, ...], list[str]] = {}
    for key in known_keys():
        section, _, name = key.typed.rpartition(".")
        root = SECTIONS.get(section, NumbersConfig)
        ranges = [one_of(root.schemas)] if name == root.chooser else [each.must_be for each in key.about.ranges]
        row = (section, f"`{key.typed}`", type_in_words(key.field.type)[0], "; ".join(ranges), key.about.meaning)
        kinds.setdefault(row, []).append(key.kind)
    text = HEAD
    for section in (*SECTIONS, ""):
        root = SECTIONS.get(section, NumbersConfig)
        text += f"\n## {f'`{section}`' if section else 'In no section'}\n{TABLE}"
        for (of, *cells), names in kinds.items():
            if of == section:
                only = "" if names == list(root.schemas) else ", ".join(names)
                text += "| " + " | ".join([*cells, only]) + " |\n"
    return text


if __name__ == "__main__":
    (Path(__file__).parent / "config.md").write_text(page(), encoding="utf-8")
