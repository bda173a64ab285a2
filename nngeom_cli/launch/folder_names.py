"""Names of the folders of a sweep's jobs: the number of the job, and the settings that not all jobs share."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["folder_names"]

LONGEST_VALUE, LONGEST = 24, 80  # characters


def folder_names(batch: Sequence[Sequence[str]]) -> list[str]:
    """A name for each job; empty if all jobs have the same settings.

    Args:
        batch: the overrides of each job, as typed.

    Example:
        >>> folder_names([["architecture.hidden=[4]", "seed=0"], ["architecture.hidden=[8,8]", "seed=0"]])
        ['0-hidden=4', '1-hidden=8-8']
    """
    jobs = [{key.lstrip("+~"): value for key, _, value in (word.partition("=") for word in words)} for words in batch]
    keys = list(dict.fromkeys(key for job in jobs for key in job))
    varying = [key for key in keys if len({job.get(key) for job in jobs}) > 1]
    if not varying:
        return []
    short = {key: _short(key, varying) for key in varying}
    return [
        f"{number}-{','.join(f'{short[key]}={_plain(job[key])}' for key in varying if key in job)}"[:LONGEST].rstrip(
            "-,="
        )
        for number, job in enumerate(jobs)
    ]


def _short(key: str, keys: Sequence[str]) -> str:
    """As many of the last parts of a key as tell it from the others."""
    parts = re.split(r"[./@:]", key)
    ends = ["-".join(parts[-count:]) for count in range(1, len(parts) + 1)]
    others = [re.split(r"[./@:]", other) for other in keys if other != key]
    alone = (end for count, end in enumerate(ends, 1) if all(parts[-count:] != other[-count:] for other in others))
    return _safe(next(alone, ends[-1]))


def _plain(value: str) -> str:
    return _safe(re.sub(r"""[\[\](){}'"\s]""", "", value))[:LONGEST_VALUE]


def _safe(text: str) -> str:
    """Only characters that no shell and no file system minds."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "-", text)
