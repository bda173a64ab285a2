"""Prints the packages of nngeom_cli, lowest first, each with what it imports: `make packages`.

A level is one more than the highest level that a package imports from, so that no line names one below it.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent / "nngeom_cli"


def imports() -> dict[str, set[str]]:
    """The packages, and the modules beside them, each with those that it imports anywhere in its files."""
    found: dict[str, set[str]] = {}
    for path in sorted(ROOT.rglob("*.py")):
        part = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if part.startswith("__"):
            continue
        names = found.setdefault(part, set())
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nngeom_cli."):
                names.add(str(node.module).split(".")[1])
    return {part: names - {part} for part, names in found.items()}


def picture() -> str:
    """A line for each package: its level, its name, what it imports."""
    edges = imports()

    @cache
    def level(part: str) -> int:
        return 1 + max(map(level, edges[part]), default=0)

    order = sorted(edges, key=lambda part: (level(part), part))
    widest = max(map(len, order))
    return "\n".join(f"{level(part):2} {part:{widest}}  {' '.join(sorted(edges[part]))}".rstrip() for part in order)


if __name__ == "__main__":
    print(picture())
