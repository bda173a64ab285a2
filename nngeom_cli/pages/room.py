"""Which checkpoints and replicates of a run a page of bounded size shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

__all__ = ["MOST_VALUES", "Cells", "Room", "evenly", "room_for_run"]

MOST_VALUES = 1_400_000  # of fields on one page: 7.5 MB at most, beside 5 MB of plotly
Cells: TypeAlias = Literal["row and column", "step", "example"]  # what can be left out between two others
FEWEST = ((12, 8), (5, 4), (2, 1))  # checkpoints and replicates that are kept as long as possible


@dataclass(frozen=True)
class Room:
    """What is shown, by places along the axes of the geometry.

    Attributes:
        epochs: checkpoints, the first and the last among them.
        replicates: networks.
        every: of rows and columns, steps or examples each so-many-th is shown.
        words: what is not; empty if everything is shown.
    """

    epochs: list[int]
    replicates: list[int]
    every: int
    words: str


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of the places 0, 1, ..., count - 1, evenly spaced, the first and the last among them.

    Example:
        >>> evenly(9, 3), evenly(2, 5), evenly(4, 1)
        ([0, 4, 8], [0, 1], [3])
    """
    if count <= most:
        return list(range(count))
    if most < 2:
        return [count - 1]
    return sorted({round(place * (count - 1) / (most - 1)) for place in range(most)})


def room_for_run(
    each: int, epochs: int, seeds: Sequence[int], first: int, most: int, cells: Cells, measured: int = 0
) -> Room:
    """What of a run fits into `most` values.

    Args:
        each: values of one network at one checkpoint.
        epochs: checkpoints that were read.
        seeds: of the replicates.
        first: the seed that is shown in any case.
        most: values.
        cells: what can be left out of a network at a checkpoint.
        measured: checkpoints in all, if not all were read.

    Example:
        >>> room = room_for_run(100, 50, [0, 1, 2, 3], first=2, most=2000, cells="step")
        >>> room.epochs, room.replicates, room.words
        ([0, 12, 24, 37, 49], [0, 1, 2, 3], '5 of 50 checkpoints')
    """
    shown, networks = epochs, len(seeds)
    for fewest_epochs, fewest_networks in FEWEST:
        shown = min(shown, max(fewest_epochs, most // (each * networks)))
        networks = min(networks, max(fewest_networks, most // (each * shown)))
        if each * shown * networks <= most:
            break
    sides = 2 if cells == "row and column" else 1
    every = max(1, math.ceil((each * shown * networks / most) ** (1 / sides)))
    order = sorted(range(len(seeds)), key=lambda place: seeds[place] != first)  # that one first, then the others
    parts = []
    if shown < max(epochs, measured):
        parts.append(f"{shown} of {max(epochs, measured)} checkpoints")
    if networks < len(seeds):
        parts.append(f"{networks} of {len(seeds)} replicates")
    if every > 1:
        ordinal = {2: "second", 3: "third"}.get(every, f"{every}th")
        parts.append(f"every {ordinal} {cells}")
    return Room(evenly(epochs, shown), np.sort(order[:networks]).tolist(), every, ", ".join(parts))
