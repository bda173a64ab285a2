"""What a user's own file calls its columns and classes, as figures may show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nngeom_cli.errors import printable

if TYPE_CHECKING:
    from nngeom_cli.store.run import Run

__all__ = ["Names", "drawable_text", "names_of"]

LONGEST = 18  # characters of a name in a figure
AXES = ("x₁", "x₂")


@dataclass(frozen=True)
class Names:
    """Names of the inputs of two-dimensional data, and of classes; a class without one is its number.

    Example:
        >>> Names(classes=["inner", "outer"]).of_class(1), Names().of_class(1)
        ('outer', '1')
    """

    axes: tuple[str, str] = AXES
    classes: Sequence[str] = ()

    def of_class(self, label: float) -> str:
        """The name of a class, or its number."""
        known = float(label).is_integer() and 0 <= label < len(self.classes)
        return self.classes[int(label)] if known else f"{label:g}"


def names_of(run: Run) -> Names:
    """The names that a run's config has, from a file of the user's."""
    task = run.config.get("task", {})
    columns, classes = (
        [drawable_text(str(name)) for name in task.get(key) or []] for key in ("columns", "class_names")
    )
    if len(columns) != len(AXES):
        return Names(classes=classes)
    unit = " (standardized)" if task.get("standardize") else ""
    return Names((f"{columns[0]}{unit}", f"{columns[1]}{unit}"), classes)


def drawable_text(text: str, most: int = LONGEST) -> str:
    """A user's text for a figure: no control characters, no mathematics, no more than `most` characters.

    Example:
        >>> drawable_text("$x$ of\\tthe petals of an iris")
        '\\\\$x\\\\$ of\\\\tthe petal…'
    """
    text = printable(text)
    short = text if len(text) <= most else f"{text[: most - 1].rstrip()}…"
    return short.replace("$", r"\$")
