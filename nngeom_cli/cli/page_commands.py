"""`nngeom report` and `nngeom watch`. Each imports what it needs when it is called, so that help is fast."""

from __future__ import annotations

import contextlib
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from typing import Any

from nngeom_cli.cli.arguments import run_folders
from nngeom_cli.errors import ConfigError, require

__all__ = ["report", "watch"]

LARGEST_PORT = 65535
CHOOSERS = (("architecture", "kind"), ("optimizer", "name"), ("probe", "kind"))  # sections of several kinds


def report(options: Namespace) -> int:
    """nngeom report RUN_OR_SWEEP...

    One HTML file with everything in it, report.html in the directory of the run or sweep; its path is the last line.
    It opens in a browser, without a network: a slider through the checkpoints with heatmaps, boundary and values under
    the pointer, or curves with the images between two inputs; loss and statistics through training; metrics with
    intervals and controls; the config, what differs from the defaults first; provenance and citation.

    The page of a sweep has a table of its runs with what varies, and shows each of them. Whatever a page has no room
    for (it has fewer than 15 MB) it leaves out and says so. An unfinished run is shown as far as it has come.
    """
    folders = run_folders("report", options.words)

    from nngeom_cli.pages.report import write_report
    from nngeom_cli.system.progress import within

    for place, folder in enumerate(folders):
        with within(f"page {place + 1} of {len(folders)}" if len(folders) > 1 else ""):
            print(write_report(folder, defaults_of))
    return 0


def watch(options: Namespace) -> int:
    """nngeom watch RUN_OR_SWEEP [--port N]

    Serves the page of `nngeom report` on this machine while a run is running: it is refreshed as checkpoints appear,
    and keeps what you have chosen. Open the address that is printed. It holds a random token: whoever knows it, on
    this machine only, can read the page and nothing else. Ctrl-C stops the server; the run goes on.

    On a cluster, forward the port: ssh -L 8000:127.0.0.1:8000 HOST, with --port 8000 there.
    """
    if options.port is not None:
        suggestion = "Leave it out for any that is free."
        require(0 < options.port <= LARGEST_PORT, "--port", f"between 1 and {LARGEST_PORT}", options.port, suggestion)
    folders = run_folders("watch", options.words)
    if len(folders) != 1:
        raise ConfigError(f"`nngeom watch` must be followed by one run directory. Got {len(folders)}. Name one.")

    from nngeom_cli.pages.watch import page_server
    from nngeom_cli.system.signals import stop_on_signal

    with (
        contextlib.suppress(KeyboardInterrupt),  # that is how it ends
        page_server(folders[0], defaults_of, options.port or 0) as server,
        stop_on_signal() as stop,  # also where it was started in the background, with SIGINT ignored
    ):
        stop.at_once()
        print(server.address, flush=True)
        server.serve_forever()
    return 0


def defaults_of(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The default values of a config's keys; None of a recorded run.

    Those of an optimizer, a probe or an architecture that was chosen, but which one is chosen is the task's default: so
    `optimizer.name` differs where another was chosen, and `optimizer.lr` where its own default was changed.
    """
    if "recorded" in config:
        return None
    chosen = ((section, key, config[section].get(key)) for section, key in CHOOSERS)
    return _composed(config["task"]["name"], tuple(chosen))


@cache
def _composed(task: str, chosen: tuple[tuple[str, str, Any], ...]) -> Mapping[str, Any] | None:
    from nngeom_cli.config.loader import load_config
    from nngeom_cli.launch.application import composed

    try:
        of_task = [f"task={task}"]
        of_file = "path" in composed(of_task).task
        of_task += ["task.path=FILE"] if of_file else []  # without one a table is no config
        usual = asdict(load_config(composed(of_task)))
        others = [(section, key, kind) for section, key, kind in chosen if kind not in (None, usual[section][key])]
        values = asdict(load_config(composed([*of_task, *(f"{section}={kind}" for section, _, kind in others)])))
    except ConfigError:  # of a plugin that is not installed here
        return None
    for section, key, _ in others:
        values[section] |= {key: usual[section][key]}
    if of_file:
        values["task"] |= {"path": None}
    return values
