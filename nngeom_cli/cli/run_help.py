"""The help of `nngeom run`: Hydra's, with every key as it is typed, its value and its meaning instead of YAML."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from textwrap import wrap
from typing import Any

from omegaconf import OmegaConf

from nngeom_cli.config.nested import leaves
from nngeom_cli.config.sections import SECTIONS, known_keys

__all__ = ["with_meanings"]

START, END = "\nAll keys, with the values of this command:\n\n", "\nFlags\n"  # around the YAML in conf/hydra/help
INDENT, COLUMN, WIDTH = "  ", 44, 120


def with_meanings(text: str) -> str:
    """The help with its YAML as lines `key=value  meaning`; any other text unchanged.

    Args:
        text: what Hydra prints.

    Example:
        >>> print(with_meanings(f"{START}optimizer:\\n  name: sgd\\n  lr: 0.02\\n{END}").splitlines()[4])
          optimizer.lr=0.02                         step size
    """
    before, found, rest = text.partition(START)
    composed, _, after = rest.partition(END)
    lines = _lines(OmegaConf.to_container(OmegaConf.create(composed))) if found else ()
    return f"{before}{START}" + "".join(f"{line}\n" for line in lines) + f"{END}{after}" if found else text


def _lines(config: Any) -> Iterator[str]:
    """A line for each key, or two where the meaning needs them."""
    values = dict(leaves(config))
    kinds = {section: values.get(f"{section}.{schema.chooser}", "") for section, schema in SECTIONS.items()}
    meanings = {
        key.typed: key.about.meaning
        for key in known_keys()
        if key.kind == kinds.get(key.typed.rpartition(".")[0], "") or not key.kind
    }
    for key, value in values.items():
        word = f"{key}={value if isinstance(value, str) else json.dumps(value, separators=(',', ':'))}"
        word = INDENT + (shlex.quote(word) if " " in word else word)
        first, *more = wrap(meanings.get(key, ""), WIDTH - COLUMN) or [""]
        if len(word) >= COLUMN:
            yield word
            word = ""
        yield f"{word:{COLUMN}}{first}".rstrip()
        yield from (" " * COLUMN + line for line in more)
