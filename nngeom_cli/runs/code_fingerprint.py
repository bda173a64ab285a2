"""A fingerprint of the code that a result depends on, so that it is used again only while that code is the same.

It goes from definition to definition, not from file to file: what a root uses, what that uses, and so on within the
package. A change to the curvature leaves the runs alone that measure only a spectrum.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["run_source", "source_hash"]

PACKAGE = Path(__file__).parent.parent
# They refuse a value or pass it; what they pass is in the hash of the config.
REFUSING = {"errors", "config.unknown_key", "config.general", "config.probe"}

TRAINING = (
    "tasks.make.make_task",
    "training.network.initial_network",
    "training.loop.initial_generators",
    "training.loop.batch_generators",
    "training.loop.history_epochs",
    "config.run.checkpoint_epochs",
    "training.blocks.train_on_cores",
)


def run_source(kind: str) -> dict[str, str]:
    """Hashes of the code under the numbers of a run, as run.json keeps them.

    Args:
        kind: of its probe, grid or path.

    Returns:
        `training` and `probe`, the latter with the geometry that it measures.

    Example:
        >>> grid, path = run_source("grid"), run_source("path")
        >>> grid["training"] == path["training"], grid["probe"] == path["probe"]
        (True, False)
    """
    return {"training": source_hash(TRAINING), "probe": source_hash([f"probes.{kind}.{kind}"])}


def source_hash(roots: Sequence[str], package: Path = PACKAGE) -> str:
    """SHA-256 of all definitions that `roots` reach; comments, docstrings and layout do not count.

    Args:
        roots: definitions of the package, "probes.grid.grid".
        package: its folder.

    Returns:
        64 hexadecimal digits.

    Raises:
        LookupError: the package has no such definition.
    """
    digest = hashlib.sha256()
    for definition, statements in sorted(reached(roots, package).items()):
        name = definition.rpartition(".")[2]
        digest.update(f"{definition} {[text(statement, name) for statement in statements]}\n".encode())
    return digest.hexdigest()


def reached(roots: Sequence[str], package: Path = PACKAGE) -> dict[str, list[ast.stmt]]:
    """The definitions that `roots` reach, "geometry.frame.scalar", each with the statements that bind it."""
    found: dict[str, list[ast.stmt]] = {}
    waiting = list(roots)
    while waiting:
        definition = waiting.pop()
        module, _, name = definition.rpartition(".")
        if definition in found or module in REFUSING:
            continue
        bound = bindings(package, module)
        if name not in bound:
            raise LookupError(f"`{definition}` must be a definition of {package.name}. Got none. Was it renamed?")
        found[definition] = bound[name]
        for statement in bound[name]:
            for node in uses(statement):
                if isinstance(node, ast.ImportFrom):
                    waiting += imported(node, package, name if node is statement else None)
                elif node.id in bound:
                    waiting.append(f"{module}.{node.id}")
    return found


@functools.cache
def text(statement: ast.stmt, name: str) -> str:
    """A statement as it bears on one of the names that it binds."""
    if isinstance(statement, ast.ImportFrom):
        return f"{statement.module} {[alias.name for alias in statement.names if name in (alias.name, alias.asname)]}"
    return ast.dump(statement)


@functools.cache
def uses(statement: ast.stmt) -> list[ast.ImportFrom | ast.Name]:
    return [node for node in ast.walk(statement) if isinstance(node, ast.ImportFrom | ast.Name)]


def imported(node: ast.ImportFrom, package: Path, name: str | None) -> Iterator[str]:
    """The definitions of the package that an import brings: the one that it binds to `name`; all of them if None."""
    first, _, module = (node.module or "").partition(".")
    for alias in node.names if first == package.name else []:
        if name in (None, alias.asname or alias.name):
            if alias.name in bindings(package, module):
                yield f"{module}.{alias.name}"
            else:  # a whole module
                whole = f"{module}.{alias.name}".lstrip(".")
                yield from (f"{whole}.{definition}" for definition in bindings(package, whole))


@functools.cache
def bindings(package: Path, module: str) -> dict[str, list[ast.stmt]]:
    """The names that a module binds at its top level, each with the statements that do it, without docstrings."""
    folder = package.joinpath(*module.split("."))
    path = next(path for path in (folder / "__init__.py", folder.with_suffix(".py")) if path.is_file())
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    bound: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        for name in bound_by(statement):
            bound.setdefault(name, []).append(statement)
    return bound


def bound_by(statement: ast.stmt) -> set[str]:
    """The names that a statement binds or may change."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    parts: list[ast.AST] = [statement]
    if isinstance(statement, ast.Assign):
        parts = list(statement.targets)
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
        parts = [statement.target]
    nodes = [node for part in parts for node in ast.walk(part)]
    aliases = {node.asname or node.name.partition(".")[0] for node in nodes if isinstance(node, ast.alias)}
    return aliases | {node.id for node in nodes if isinstance(node, ast.Name)}
