"""Earlier runs: which of them have a given config and come from the current code, and whether they are whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nngeom_cli.config.run import Config, config_hash
from nngeom_cli.errors import DamageError, say
from nngeom_cli.runs.code_fingerprint import run_source
from nngeom_cli.store.measured import check_measured
from nngeom_cli.store.run import Run, described

__all__ = ["matching_runs", "require_measured"]


def matching_runs(configs: Mapping[str, Config], outputs: Path) -> dict[str, Path]:
    """The newest complete run under `outputs` for each config, made by the current code."""
    wanted, source = {config_hash(config): name for name, config in configs.items()}, run_source()
    found: dict[str, Path] = {}
    for path in sorted(outputs.glob("*/*/*/run.json"), key=lambda path: path.parent.name):
        try:
            info = described(path.parent, verify=True).info
        except (DamageError, FileNotFoundError) as error:  # FileNotFoundError: run.json is a pipe
            say(str(error))
            continue
        config, name = info.get("config", {}), wanted.get(info.get("config_hash", ""))
        reusable = info.get("status") == "complete" and info.get("source") == source
        if name is not None and reusable and config_hash(config) == info["config_hash"]:
            found[name] = path.parent
    return found


def require_measured(run: Run, config: Config) -> None:
    """Refuses a run that does not hold what a run of its config does: someone else may have written it.

    Raises:
        DamageError: it does not.
    """
    geometry = run.first_and_last
    check_measured(geometry, run.directory)
    seeds = list(range(config.seed, config.seed + config.replicates))
    rows = run.info.get("replicates", [])
    same = {
        "a probe of another kind": geometry.attrs["kind"] == config.probe.kind,
        "other layers": sorted(geometry.layer.values.tolist()) == sorted(config.probe.hidden_or_output),
        "other replicates": geometry.replicate.values.tolist() == seeds == [row["replicate"] for row in rows],
        "no scores": all(row["accuracy"] is not None for row in rows),
        "no command or time": {"command", "wall_seconds"} <= run.info.keys(),
    }
    for what, holds in same.items():
        if not holds:
            raise DamageError(
                f"`{run.directory}` must hold what a run of its config measures. Got {what}. "
                "Move it elsewhere, and it is run again."
            )
