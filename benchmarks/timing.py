"""Two or more ways to do the same, in one process, in turns: medians and ratios."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch


def in_turns(sides: dict[str, Callable[[], object]], rounds: int = 7) -> dict[str, float]:
    """Median seconds of each side over `rounds` rounds, A B A B ..., after one round that is not counted.

    They are seconds of this process on the processor, all its threads together, so that other programs count little.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for counted in [False] + [True] * rounds:
        for name, side in sides.items():
            start = time.process_time()
            side()
            if counted:
                seconds[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def machine() -> str:
    """What the numbers were measured on."""
    details = Path("/proc/cpuinfo")
    lines = details.read_text(encoding="utf-8").splitlines() if details.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.machine()
    return (
        f"{name}, {os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} thread, "
        f"Python {platform.python_version()}"
    )
