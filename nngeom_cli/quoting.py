"""Quotes text for Hydra's grammar and for a shell."""

from __future__ import annotations

import contextlib
import re
import shlex
from pathlib import Path

__all__ = ["pasted", "quoted", "unresolved"]

PLAIN = r"[A-Za-z0-9_./:+-]+"  # what needs no quotes, neither for Hydra nor for a shell


def quoted(text: str) -> str:
    """`text` as a quoted value for Hydra, whatever characters it has.

    Example:
        >>> print(quoted("out/lr=0.02"), quoted('5" (wide)'))
        "out/lr=0.02" "5\\" (wide)"
    """
    text = re.sub(r'(\\*)"', lambda found: 2 * found[1] + r"\"", unresolved(text))
    text = re.sub(r"(\\+)\Z", lambda found: 2 * found[1], text)
    return f'"{text}"'


def unresolved(text: str) -> str:
    """`text` for OmegaConf with interpolations escaped.

    Example:
        >>> print(unresolved("runs/${seed}"))
        runs/\\${seed}
    """
    return re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + r"\${", text)


def pasted(key: str, value: str) -> str:
    """`key=value` as one word for a shell that Hydra reads as this value.

    Example:
        >>> print(pasted("hydra.run.dir", "out/lr=0.02"), pasted("seed", "3"))
        'hydra.run.dir="out/lr=0.02"' seed=3
    """
    if value.startswith("~"):  # a shell expands it only at the start of a word
        with contextlib.suppress(RuntimeError):  # no such user
            value = str(Path(value).expanduser())
    return shlex.quote(f"{key}={value if re.fullmatch(PLAIN, value) else quoted(value)}")
