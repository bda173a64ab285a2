"""What was measured for each claim, as a page for people and a file for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nngeom_cli.analysis.bootstrap import Estimate
from nngeom_cli.analysis.text_table import literal, markdown
from nngeom_cli.errors import printable
from nngeom_cli.reproduction.claims import TITLES, Result
from nngeom_cli.reproduction.summary import summary
from nngeom_cli.reproduction.verdict import Part, Range, judged
from nngeom_cli.store.run import Run
from nngeom_cli.system.atomic import remove_leftovers, written_whole

__all__ = ["TABLE", "as_code", "report_lines", "write_tables"]

TABLE = "REPRODUCTION"
SHOWN = 2  # pictures of each run: the paper's layout, and through training
AREAS = {
    "square": "inside the square that the data span",
    "window": "over the whole plotted window",
    "path": "along paths between two images",
}
ABOUT = (
    "Intervals are 95 % intervals over networks, by bootstrap; Wilson's for shares of networks, Newcombe's for a "
    "difference of shares. On grids values are means over networks, on paths medians over networks and paths. The band "
    "reaches 0.15 from the decision boundary of the trained network, for the untrained one, too. Relative: near the "
    "boundary against elsewhere. Absolute: near the boundary, trained against untrained.",
    "A statement holds if every interval lies on the expected side: the trained value (relative reading of levels), "
    "trained minus untrained, and the trained value minus that at each control, all paired by network. It is undecided "
    "if an interval reaches across, or has no width. If one lies outside, the verdict is `differs` where Findings has "
    "the reason, else `off`; only `off` makes the exit code 1.",
    "A control line of whose band more than three quarters lie in that of the network's own boundary, on average over "
    "networks, is the same line: it is shown and not counted. Without any control that counts nothing is decided.",
    "Nothing is corrected for the number of statements. If intervals cover what they say, one that is false holds by "
    "chance in at most one of 40 cases; but up to eight are looked at for each, so that a true one is undecided more "
    "easily, and `differs` by a single control deserves doubt.",
)


def write_tables(
    results: Sequence[Result],
    runs: Mapping[str, Run],
    drawn: Mapping[str, dict[str, Any]],
    directory: Path,
    quick: bool,
) -> None:
    """REPRODUCTION.md for people, REPRODUCTION.json for programs."""
    about = {
        name: {key: run.info.get(key) for key in ("command", "config_hash", "source", "wall_seconds")}
        | {"directory": str(run.directory), "networks": run.first_and_last.sizes["replicate"]}
        for name, run in runs.items()
    }
    remove_leftovers(directory)
    listed = [in_json(result, quick) for result in results]
    whole = {"quick": quick, "claims": listed, "runs": about, "figures": drawn}
    with written_whole(directory / f"{TABLE}.json") as path:
        path.write_text(json.dumps(whole, indent=2) + "\n")
    with written_whole(directory / f"{TABLE}.md") as path:
        path.write_text("\n".join(report_lines(results, about, drawn, quick)) + "\n", encoding="utf-8")


def in_json(result: Result, quick: bool) -> dict[str, Any]:
    """A claim as an object of REPRODUCTION.json."""
    claim = result.claim
    return {
        **{key: getattr(claim, key) for key in ("run", "subject", "reading", "area", "main", "statement", "statistic")},
        "parts": [
            {
                "name": part.name,
                "obtained": {key: finite(getattr(part.obtained, key)) for key in ("value", "low", "high", "n")},
                "expected": None if part.expected is None else [finite(end) for end in part.expected],
                "verdict": None if quick else judged(part) or None,
                "note": part.note,
            }
            for part in result.parts
        ],
        "verdict": None if quick else result.word,
        "deciding": [] if quick else list(result.deciding),
        "finding": claim.finding.text if claim.finding else "",
        "proved": bool(claim.finding and claim.finding.proved),
    }


def finite(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None


def report_lines(
    results: Sequence[Result],
    about: Mapping[str, dict[str, Any]],
    drawn: Mapping[str, dict[str, Any]],
    quick: bool,
) -> list[str]:
    """A summary, the tables of each figure, what they show, and where they come from."""
    lines = ["# The paper's claims, measured", ""]
    if quick:
        lines += ["**QUICK: training stopped early, so nothing is judged.**", ""]
    else:
        lines += [*(f"{place}. {literal(words)}" for place, words in enumerate(summary(results), start=1)), ""]
    lines += [part for words in ABOUT for part in (words, "")]
    for run in dict.fromkeys(result.claim.run for result in results):
        count = about[run]["networks"] if run in about else None
        lines += [f"## {TITLES[run]}" + (f" ({count} networks)" if count else ""), ""]
        for file in drawn.get(run, {}).get("files", [])[:SHOWN]:
            lines += [f"![{TITLES[run]}]({file})", ""]
        lines += tables([result for result in results if result.claim.run == run], count, quick)
    found = {result.claim.finding: None for result in results if result.word == "differs" and result.claim.finding}
    if found and not quick:
        lines += ["## Findings", ""]
        lines += [f"- {'Proved' if each.proved else 'After the numbers were seen'}: {each.text}" for each in found]
        lines += [""]
    lines += ["## Runs and figures", ""]
    for name, figures in drawn.items():
        files = ", ".join(f"[{file}]({file})" for file in figures["files"])
        if name in about:
            run_about = about[name]
            made = f"{as_code(run_about['command'])}, config {run_about['config_hash'][:12]}, "
            made += f"{run_about['wall_seconds']} s"
        else:
            made = as_code(figures["command"])
        lines.append(f"- {name}: {made}. {files}")
    return lines


def tables(results: Sequence[Result], count: int | None, quick: bool) -> Iterator[str]:
    """Of one run: what is checked, then a table for each subject and area."""
    checks = [result for result in results if result.claim.reading == "check"]
    if checks:
        rows = [("statement", "statistic", "expected", "obtained", "verdict")]
        for result in checks:
            claim, (part,) = result.claim, result.parts
            word = in_words(result, quick, named=False)
            rows.append((claim.statement, claim.statistic, range_in_words(part.expected), cell(part, count), word))
        yield from (markdown(rows), "")
    others = [result for result in results if result not in checks]
    for subject, area in dict.fromkeys((result.claim.subject, result.claim.area) for result in others):
        group = [result for result in others if (result.claim.subject, result.claim.area) == (subject, area)]
        yield from (f"### {subject.capitalize()}, {AREAS[area]}", "")
        statements = dict.fromkeys(result.claim.statement for result in group if result.claim.statement)
        yield from (*(f"- {literal(statement)}" for statement in statements), "")
        names = list(dict.fromkeys(part.name for result in group for part in result.parts))
        rows_of_group = [("reading", "statistic", "expected", *names, "verdict")]
        for result in group:
            by_name = {part.name: part for part in result.parts}
            side = next((part.expected for part in result.parts if part.expected is not None), None)
            cells = [cell(by_name[name], count) if name in by_name else "" for name in names]
            rows_of_group.append(
                (result.claim.reading, result.claim.statistic, range_in_words(side), *cells, in_words(result, quick))
            )
        yield from (markdown(rows_of_group), "")


def in_words(result: Result, quick: bool, *, named: bool = True) -> str:
    """The verdict, and what decides it where that is not clear."""
    if quick or result.word == "not judged":
        return "not judged"
    return f"{result.word}: {'; '.join(result.deciding)}" if named and result.deciding else result.word


def cell(part: Part, count: int | None) -> str:
    """A number with its interval, the number of networks where it is not that of the run, and a note."""
    found: Estimate = part.obtained
    words = str(found).replace(f" (n = {count})", "")
    return f"{words} ({part.note})" if part.note else words


def as_code(text: str) -> str:
    """Markdown that shows a command as code, or as text where it could leave the code."""
    return literal(text) if "`" in text else f"`{printable(text)}`"


def range_in_words(expected: Range | None) -> str:
    if expected is None:
        return ""
    low, high = expected
    if high == math.inf:
        return f"> {low:g}"
    return f"< {high:g}" if low == -math.inf else f"{low:.3g} to {high:.3g}"
