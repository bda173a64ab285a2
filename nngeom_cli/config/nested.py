"""Nested values with dotted keys: what configs, run.json and checkpoints are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

__all__ = ["leaves"]


def leaves(
    tree: Any, key: str = "", *, lists: Literal["whole", "numbered", "together"] = "whole"
) -> Iterator[tuple[str, Any]]:
    """Each value below nested mappings, with its dotted key.

    Args:
        tree: mappings in mappings.
        key: of the tree itself, before the keys of its values.
        lists: whether a list is a value, or each of its items is one: under its own number, or under the list's key.

    Example:
        >>> tree = {"seed": 0, "probe": {"kind": "grid", "layers": [1, 2]}}
        >>> dict(leaves(tree))
        {'seed': 0, 'probe.kind': 'grid', 'probe.layers': [1, 2]}
        >>> list(leaves(tree["probe"], "probe", lists="numbered"))[1:]
        [('probe.layers.0', 1), ('probe.layers.1', 2)]
    """
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from leaves(value, f"{key}.{name}" if key else str(name), lists=lists)
    elif isinstance(tree, list) and lists != "whole":
        for number, value in enumerate(tree):
            yield from leaves(value, f"{key}.{number}" if lists == "numbered" else key, lists=lists)
    else:
        yield key, tree
