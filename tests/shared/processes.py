"""The command line in processes of its own, which can be stopped and killed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib.util import find_spec

import psutil

PLUGINS = {
    "basic": "hydra",
    "joblib": "hydra_plugins.hydra_joblib_launcher",
    "submitit_local": "hydra_plugins.hydra_submitit_launcher",
    "ray": "hydra_plugins.hydra_ray_launcher",
}
TINY = ["replicates=1", "probe.resolution=3", "probe.checkpoints=[]", "device=cpu", "figures.draw=false"]
LONG = [*TINY, "optimizer.epochs=20000", "checkpoint_seconds=0.1"]  # to be stopped in the middle, then finished
ENVIRONMENT = os.environ | {"NNGEOM_CORES": "2", "RAY_AUTH_MODE": "disabled"}


def installed(plugin):
    try:
        return find_spec(plugin) is not None
    except ModuleNotFoundError:
        return False


def start(*words, folder):
    return subprocess.Popen(
        [sys.executable, "-m", "nngeom_cli", *words],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def held(sweep, process, count=1):
    """So many runs that have saved an epoch which they trained, each stopped (SIGSTOP) as soon as that is seen."""
    found = {}

    def enough():
        for path in sweep.glob("*/run.json"):
            info, saved = json.loads(path.read_text()), path.parent.glob("checkpoints/*.npz")
            if info["status"] == "running" and any("epoch-000000" not in file.name for file in saved):
                found[path.parent] = info["process"]["pid"]
                os.kill(info["process"]["pid"], signal.SIGSTOP)
        return len(found) >= count

    wait_until(enough, process)
    return found


def wait_until(condition, process):
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def apart_from_progress(said):
    """What a command says on stderr beside how far it is, which it tells on a slow machine only."""
    return re.sub(r"^nngeom: .*\d+ of \d+ \w+, (.*, )?(about .* left|after .*)\n", "", said, flags=re.MULTILINE)


def nngeom(*words, **options):
    settings = {"env": os.environ | {"NNGEOM_CORES": "2"}, "text": True, "capture_output": True} | options
    return subprocess.run([sys.executable, "-m", "nngeom_cli", *map(str, words)], check=False, **settings)


def started(directory, *words):
    """A process that runs XOR without an end in sight, and has saved its first checkpoint."""
    command = [
        sys.executable,
        "-m",
        "nngeom_cli.cli.entry",
        "run",
        "task=xor",
        "probe.checkpoints=[0]",
        "figures.draw=false",
        *words,
    ]
    process = subprocess.Popen(
        [*command, f"hydra.run.dir={directory}"],
        stderr=subprocess.PIPE,
        env=os.environ | {"NNGEOM_CORES": "2"},
        text=True,
        start_new_session=True,
    )
    while not (directory / "SHA256SUMS").exists():
        assert process.poll() is None
        time.sleep(0.02)
    return process


def left_of(family):
    """Processes that are there still after some seconds; joblib's that tidies up ends as the very last one."""
    deadline = time.monotonic() + 10
    while family and time.monotonic() < deadline:
        time.sleep(0.05)
        family = [each for each in family if is_there(each)]
    return family


def is_there(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
