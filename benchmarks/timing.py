"""Two or more ways to do the same thing, in one process, in turns: medians and ratios."""

from __future__ import annotations

import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import TypeVar

import torch

LEAST_SECONDS = 0.1  # that each side runs in a round
Clock = Callable[[], float]
K = TypeVar("K", bound=Hashable)


def in_turns(
    sides: Mapping[K, Callable[[], object]], rounds: int = 7, clock: Clock = time.process_time
) -> dict[K, float]:
    """Median seconds of one run of each side over `rounds` rounds, A B A B ...

    In a round, a side runs as often as it takes to fill a tenth of a second, so that a run of a millisecond is not
    measured with the caches that another side left behind. `clock` counts CPU seconds of this process, over all its
    threads, so that other programs matter little; sides that start processes need `time.perf_counter`.
    """
    for side in sides.values():
        side()  # warm up: whatever is made once is made here
    repeats = {name: math.ceil(LEAST_SECONDS / seconds_of(side, 1, clock)) for name, side in sides.items()}
    seconds: dict[K, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            seconds[name].append(seconds_of(side, repeats[name], clock))
    return {name: statistics.median(values) for name, values in seconds.items()}


def seconds_of(side: Callable[[], object], repeats: int, clock: Clock) -> float:
    """Mean seconds of one run."""
    start = clock()
    for _ in range(repeats):
        side()
    return (clock() - start) / repeats


def machine() -> str:
    """The machine that the numbers were measured on."""
    details = Path("/proc/cpuinfo")
    lines = details.read_text(encoding="utf-8").splitlines() if details.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.machine()
    return (
        f"{name}, {os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} thread, "
        f"Python {platform.python_version()}"
    )
