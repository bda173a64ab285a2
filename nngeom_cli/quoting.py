"""Text that stands for itself: in Hydra's grammar, where most signs mean something, and on a shell's line."""

from __future__ import annotations

import contextlib
import re
import shlex
from pathlib import Path

__all__ = ["pasted", "quoted", "unresolved"]

PLAIN = r"[A-Za-z0-9_./:+-]+"  # what Hydra and a shell take as it is


def quoted(text: str) -> str:
    """A value for Hydra that is this text, whatever is in it.

    Example:
        >>> print(quoted("out/lr=0.02"), quoted('5" (wide)'))
        "out/lr=0.02" "5\\" (wide)"
    """
    text = re.sub(r'(\\*)"', lambda found: 2 * found[1] + r"\"", unresolved(text))
    text = re.sub(r"(\\+)\Z", lambda found: 2 * found[1], text)
    return f'"{text}"'


def unresolved(text: str) -> str:
    """A value for OmegaConf that is this text: what looks like an interpolation is none.

    Example:
        >>> print(unresolved("runs/${seed}"))
        runs/\\${seed}
    """
    return re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + r"\${", text)


def pasted(key: str, value: str) -> str:
    """`key=value` as a word that can be pasted into a shell's line, and that Hydra reads as this value.

    Example:
        >>> print(pasted("hydra.run.dir", "out/lr=0.02"), pasted("seed", "3"))
        'hydra.run.dir="out/lr=0.02"' seed=3
    """
    if value.startswith("~"):  # which a shell replaces at the start of a word only
        with contextlib.suppress(RuntimeError):  # nobody of that name
            value = str(Path(value).expanduser())
    return shlex.quote(f"{key}={value if re.fullmatch(PLAIN, value) else quoted(value)}")
