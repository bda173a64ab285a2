"""How much memory is free, so that what cannot fit is refused before it is loaded."""

from __future__ import annotations

from pathlib import Path

__all__ = ["available_memory", "in_words"]

GROUPS = Path("/sys/fs/cgroup")  # where Linux keeps the limits of containers and of SLURM's jobs
MEMBERSHIP = Path("/proc/self/cgroup")


def available_memory() -> int:
    """Bytes that are free on this machine, at most the limit of the container or of the cluster's job."""
    import psutil

    return min([int(psutil.virtual_memory().available), *_limits()])


def _limits() -> list[int]:
    try:
        own = next(line[3:] for line in MEMBERSHIP.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return []
    group = GROUPS / own.lstrip("/")
    limits = []
    for folder in (group, *group.parents):
        try:
            limits.append((folder / "memory.max").read_text().strip())
        except OSError:
            continue
    return [int(limit) for limit in limits if limit.isdecimal()]


def in_words(size: float) -> str:
    """A number of bytes as people say it.

    Example:
        >>> in_words(999), in_words(3_200_000), in_words(8e9)
        ('999 bytes', '3.2 MB', '8 GB')
    """
    if size < 1000:
        return f"{size:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 1000:
            return f"{size:.3g} {unit}"
    return f"{size / 1000:.3g} TB"
