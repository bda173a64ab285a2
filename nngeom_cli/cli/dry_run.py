"""`nngeom run --dry-run`: the jobs that a command would start, and what they would take."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nngeom_cli.store.sweep import Job

__all__ = ["print_plan"]


def print_plan(jobs: Sequence[Job], swept: bool) -> None:
    """Prints the config of a run, or of the jobs of a sweep, and an estimate of time, memory and disk.

    Args:
        jobs: in order.
        swept: whether they are a sweep: then what all share comes first, and a table has what differs.
    """
    from nngeom_cli.analysis.text_table import aligned
    from nngeom_cli.config.cost import cost, time_in_words
    from nngeom_cli.config.loader import load_config
    from nngeom_cli.system.memory import in_words

    configs = [_keys(job.config) for job in jobs]
    takes = [cost(load_config(job.config)) for job in jobs]
    keys = list(dict.fromkeys(key for config in configs for key in config))
    shared = [key for key in keys if all(key in each and each[key] == configs[0].get(key) for each in configs)]
    print(*(_word(key, configs[0][key]) for key in shared), sep="\n")
    if swept:
        rows = [
            (
                str(number),
                job.directory,
                " ".join(_word(key, config[key]) for key in keys if key in config and key not in shared),
                time_in_words(each.seconds),
                in_words(each.disk),
            )
            for number, (job, config, each) in enumerate(zip(jobs, configs, takes, strict=True))
        ]
        print("\n" + aligned([("job", "folder", "what differs", "time", "disk"), *rows]))
    seconds, disk = (sum(getattr(each, name) for each in takes) for name in ("seconds", "disk"))
    what = f"{len(jobs)} job{'s' * (len(jobs) != 1)}" if swept else f"One run, into {jobs[0].directory}"
    print(
        f"\n{what}: about {time_in_words(seconds)} of one core and {in_words(disk)} of disk, "
        f"arrays of {in_words(max(each.memory for each in takes))} in memory at a time. Nothing was started."
    )


def _keys(config: dict[str, Any]) -> dict[str, Any]:
    """The keys of a config with their values, as they are typed."""
    from nngeom_cli.config.nested import leaves

    found = dict(leaves(config))
    spacing, count = (found.pop(f"probe.checkpoints.{name}", None) for name in ("spacing", "count"))
    return found | ({"probe.checkpoints": f"{spacing} {count}"} if spacing else {})


def _word(key: str, value: object) -> str:
    """A key as it is typed in a shell."""
    return shlex.quote(f"{key}={value if isinstance(value, str) else json.dumps(value, separators=(',', ':'))}")
