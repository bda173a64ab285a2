"""What an interval says of a statement: it holds, it does not, or the interval is too wide to say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from nngeom_cli.analysis.bootstrap import Estimate

__all__ = ["NEGATIVE", "POSITIVE", "Finding", "Part", "Range", "Verdict", "judged", "verdict"]

Range: TypeAlias = tuple[float, float]
Verdict: TypeAlias = Literal["holds", "undecided", "differs", "off", "not judged"]

POSITIVE, NEGATIVE = (0.0, math.inf), (-math.inf, 0.0)


@dataclass(frozen=True)
class Part:
    """A number that belongs to a statement.

    Attributes:
        name: what it is, "trained minus untrained".
        obtained: the number with its interval.
        expected: where it lies if the statement is true; None if it is shown and not judged.
        note: what is said beside it.
    """

    name: str
    obtained: Estimate
    expected: Range | None = None
    note: str = ""


@dataclass(frozen=True)
class Finding:
    """Why a number is not what the paper says.

    Attributes:
        text: the reason.
        proved: whether it follows from the definitions; if not, it was written after the number was seen.
    """

    text: str
    proved: bool = False


def judged(part: Part) -> Literal["holds", "undecided", "outside", ""]:
    """Whether the interval lies in the expected range (`holds`), beside it (`outside`), or across its end.

    A range with an infinite end is open. An interval of no width, or none, agrees with nothing: `undecided`. Empty
    where nothing is expected.

    Example:
        >>> [judged(Part("rise", Estimate(0.5, low, 0.9, 8), POSITIVE)) for low in (0.1, -0.1)]
        ['holds', 'undecided']
        >>> judged(Part("rise", Estimate(-0.5, -0.9, -0.1, 8), POSITIVE))
        'outside'
    """
    if part.expected is None:
        return ""
    (low, high), found = part.expected, part.obtained
    is_open = math.isinf(low) or math.isinf(high)
    if found.high < low or found.low > high or (is_open and (found.high <= low or found.low >= high)):
        return "outside"
    inside = low < found.low and found.high < high if is_open else low <= found.low and found.high <= high
    return "holds" if inside and found.low < found.high else "undecided"


def verdict(parts: Sequence[Part], finding: Finding | None = None) -> tuple[Verdict, list[str]]:
    """The verdict on a statement, and the names of the parts that decide it if it does not hold.

    It holds if all its parts do. If one lies outside, it is `differs` where the reason is known, else `off`. Without
    any part of which something is expected it is `not judged`.
    """
    words = {part.name: judged(part) for part in parts if part.expected is not None}
    outside, undecided = ([name for name, each in words.items() if each == word] for word in ("outside", "undecided"))
    if outside:
        return "differs" if finding else "off", outside
    if undecided:
        return "undecided", undecided
    return "holds" if words else "not judged", []
