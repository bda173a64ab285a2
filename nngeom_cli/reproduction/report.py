"""What was measured for each claim, as a page for people and a file for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nngeom_cli.analysis.bootstrap import Estimate
from nngeom_cli.analysis.text_table import literal, markdown
from nngeom_cli.errors import printable
from nngeom_cli.reproduction.claims import Claim
from nngeom_cli.store.run import Run
from nngeom_cli.system.atomic import remove_leftovers, written_whole

__all__ = ["TABLE", "as_code", "report_lines", "write_tables"]

TABLE = "REPRODUCTION"


def write_tables(
    rows: Sequence[tuple[Claim, Estimate, str]],
    runs: Mapping[str, Run],
    drawn: Mapping[str, dict[str, Any]],
    directory: Path,
    quick: bool,
) -> None:
    """REPRODUCTION.md for people, REPRODUCTION.json for programs."""
    listed = [
        {
            "run": claim.run,
            "statement": claim.statement,
            "statistic": claim.statistic,
            "expected": [finite(end) for end in claim.expected],
            "obtained": {key: finite(getattr(obtained, key)) for key in ("value", "low", "high", "n")},
            "verdict": None if quick else word,
            "finding": claim.finding,
        }
        for claim, obtained, word in rows
    ]
    about = {
        name: {key: run.info.get(key) for key in ("command", "config_hash", "source", "wall_seconds")}
        | {"directory": str(run.directory)}
        for name, run in runs.items()
    }
    remove_leftovers(directory)
    whole = {"quick": quick, "claims": listed, "runs": about, "figures": drawn}
    with written_whole(directory / f"{TABLE}.json") as path:
        path.write_text(json.dumps(whole, indent=2) + "\n")
    with written_whole(directory / f"{TABLE}.md") as path:
        path.write_text("\n".join(report_lines(rows, about, drawn, quick)) + "\n", encoding="utf-8")


def finite(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None


def report_lines(
    rows: Sequence[tuple[Claim, Estimate, str]],
    about: Mapping[str, dict[str, Any]],
    drawn: Mapping[str, dict[str, Any]],
    quick: bool,
) -> list[str]:
    """The table, what it shows, and where it comes from."""
    lines = ["# The paper's claims, measured", ""]
    if quick:
        lines += ["**QUICK: training stopped early, so nothing is judged.**", ""]
    lines += [
        "Intervals are 95 % intervals over networks. A claim holds if the whole interval has the sign that it names,",
        "or if the interval meets a range given in numbers. Expected ranges were fixed before the runs. `differs`: the",
        "number is not what the paper says, for the reason under Findings; `off`: the same, without a known reason.",
        "",
    ]
    table = [("run", "statement", "statistic", "expected", "obtained", "verdict")]
    for claim, obtained, word in rows:
        judged = "not judged" if quick else word
        table.append(
            (claim.run, claim.statement, claim.statistic, range_in_words(claim.expected), str(obtained), judged)
        )
    lines.append(markdown(table))
    findings = dict.fromkeys(claim.finding for claim, _, word in rows if word == "differs")
    if findings and not quick:
        lines += ["", "## Findings", "", *(f"- {finding}" for finding in findings)]
    lines += ["", "## Runs and figures", ""]
    for name, figures in drawn.items():
        files = ", ".join(f"[{file}]({file})" for file in figures["files"])
        if name in about:
            run = about[name]
            made = f"{as_code(run['command'])}, config {run['config_hash'][:12]}, {run['wall_seconds']} s"
        else:
            made = as_code(figures["command"])
        lines.append(f"- {name}: {made}. {files}")
    return lines


def as_code(text: str) -> str:
    """Markdown that shows a command as code, or as text where it could leave the code."""
    return literal(text) if "`" in text else f"`{printable(text)}`"


def range_in_words(expected: tuple[float, float]) -> str:
    low, high = expected
    if low == high:
        return f"{low:g}"
    if high == math.inf:
        return f"> {low:g}"
    return f"< {high:g}" if low == -math.inf else f"{low:.3g} to {high:.3g}"
