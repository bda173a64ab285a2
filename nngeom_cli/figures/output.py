"""Figure files: PNG, PDF and the numbers as netCDF, each whole or absent, with what made them in their metadata."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from nngeom_cli.errors import printable
from nngeom_cli.figures.canvas import Sheet
from nngeom_cli.figures.selection import figures_config
from nngeom_cli.figures.style import DPI
from nngeom_cli.store.arrays import netcdf_bytes
from nngeom_cli.store.run import Run
from nngeom_cli.system.atomic import written_whole

__all__ = ["convention_words", "metadata", "save"]

CURVATURE = {
    "geometric": "Ricci scalar: the unit 2-sphere has R = +2",
    "paper": "magnitudes as the paper plots them, V and |3 R|, where the unit 2-sphere has R = +2",
}


def metadata(run: Run) -> dict[str, str]:
    """Name, command, config hash, seeds, version and convention of a run, as text."""
    info = run.info
    seeds = [int(seed) for seed in run.geometry.replicate.values]
    known = {
        "Run": run.directory.name,
        "Command": info.get("command"),
        "ConfigHash": info.get("config_hash"),
        "Seeds": f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0]),
        "Version": f"nngeom {info.get('versions', {}).get('nngeom', 'of unknown version')}",
        "Commit": (info.get("git") or {}).get("commit"),
        "Convention": convention_words(figures_config(run).curvature_convention),
    }
    return {key: str(value) for key, value in known.items() if value is not None}


def convention_words(curvature: str) -> str:
    """What R, logarithms and features mean in a figure, for a `figures.curvature_convention`."""
    return f"{CURVATURE[curvature]}; natural logarithms; features divided by sqrt(width)"


def save(
    sheet: Sheet, directory: Path, name: str, about: dict[str, str], formats: Sequence[str] = ("png", "pdf")
) -> Path:
    """Writes `name`.png, `name`.pdf and `name`.nc, the sheet's data if it has any; returns the first.

    The same figure gives the same bytes again: no time is written.
    """
    about = {key: printable(text) for key, text in about.items()}  # the name of a folder may not be valid text
    title = f"{name} of {about['Run']}"
    subject = "; ".join(f"{key}: {value}" for key, value in about.items())
    kinds: dict[str, dict[str, str | None]] = {
        "png": {"Title": title, **about},
        "pdf": {"Title": title, "Subject": subject, "Creator": about["Version"], "CreationDate": None},
        "svg": {"Title": title, "Description": subject, "Creator": about["Version"], "Date": None},
    }
    for kind in formats:
        content = io.BytesIO()  # matplotlib reports a full disk less clearly than Python does
        sheet.figure.savefig(content, format=kind, dpi=DPI, metadata=kinds[kind])
        with written_whole(directory / f"{name}.{kind}") as path:
            path.write_bytes(content.getbuffer())
    first = directory / f"{name}.{formats[0]}"
    if not sheet.data:
        return first
    with written_whole(directory / f"{name}.nc") as path:
        path.write_bytes(netcdf_bytes(sheet.data.assign_attrs({"title": title, **about})))
    return first
