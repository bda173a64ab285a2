"""The epochs at which a run is measured, and at which its loss is recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["checkpoint_epochs", "history_epochs", "staged"]

HISTORY_ROWS = 200


def checkpoint_epochs(spec: Sequence[int] | Mapping[str, Any], epochs: int) -> list[int]:
    """The epochs at which a run is measured: sorted, unique, 0 and the last always among them.

    Args:
        spec: a list of epochs, or `{spacing: log | linear, count: N}`. linear divides 0 to `epochs` evenly; log is 0
            and then geometric from `epochs`/100, before which little moves, to `epochs`. Epochs are rounded and
            repeats dropped: at most N of them.
        epochs: the last epoch, at least 1.

    Returns:
        Epochs between 0 and `epochs`.

    Example:
        >>> checkpoint_epochs({"spacing": "log", "count": 5}, 1000)
        [0, 10, 46, 215, 1000]
        >>> checkpoint_epochs([200], 1000)
        [0, 200, 1000]
    """
    if not isinstance(spec, Mapping):
        return sorted({0, *spec, epochs})
    count = int(spec["count"])
    if spec["spacing"] == "linear":
        between = [epochs * step / (count - 1) for step in range(1, count - 1)]
    else:
        first = max(1.0, epochs / 100)
        between = [first * (epochs / first) ** (step / (count - 2)) for step in range(count - 2)]
    return sorted({0, *map(round, between), epochs})


def staged(schedule: Callable[[int], list[int]], lasts: Sequence[int], stopped_at: int | None = None) -> list[int]:
    """The epochs of a schedule for a run that was extended: what lies behind stays, the new schedule says what follows.

    Args:
        schedule: the epochs of a run by its last one, sorted.
        lasts: the last epoch of each stage, in order.
        stopped_at: the epoch at which the run ended early, which takes the place of all later ones.

    Example:
        >>> staged(lambda last: [0, last // 2, last], [100, 300])
        [0, 50, 100, 150, 300]
    """
    epochs: list[int] = []
    for last in lasts:
        epochs += [epoch for epoch in schedule(last) if not epochs or epoch > epochs[-1]]
    return epochs if stopped_at is None else [*(epoch for epoch in epochs if epoch < stopped_at), stopped_at]


def history_epochs(epochs: int) -> list[int]:
    """The epochs at which loss and accuracy are recorded: all, or about 200 evenly spaced, first and last included.

    Example:
        >>> history_epochs(3), len(history_epochs(150_000))
        ([0, 1, 2, 3], 201)
    """
    rows = min(epochs, HISTORY_ROWS)
    return [round(epochs * row / rows) for row in range(rows + 1)]
