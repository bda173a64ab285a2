"""docs/troubleshooting.md quotes what the code says: a sentence that is rewritten there is rewritten here."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"```text\n(.*?)\n```", PAGE, flags=re.DOTALL)
# `require` joins a key, a constraint, a value and a suggestion; elsewhere a value may stand anywhere
JOINTS = re.compile(r"layer … is |…|` must be |\. Got:? |, then |[:.] |`")
LEAST = 8  # characters of a piece that says something


@cache
def said():
    """Every text of the package, each value a `…`, one text a line or more."""
    texts = []
    for path in sorted((ROOT / "nngeom_cli").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                texts.append("".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values))
    return "\n".join(texts)


def pieces(quoted):
    return [piece.strip(" .:,(") for piece in JOINTS.split(quoted) if len(piece.strip(" .:,(")) >= LEAST]


@pytest.mark.parametrize("quoted", QUOTED, ids=lambda quoted: quoted[:60])
def test_a_quoted_sentence_is_one_that_the_code_says(quoted):
    assert pieces(quoted)
    for piece in pieces(quoted):
        assert piece in said(), piece
