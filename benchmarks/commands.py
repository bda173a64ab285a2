"""Whole commands, each in its own process, in wall-clock time.

python benchmarks/commands.py [xor] [help] [digits] [sinusoid]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from timing import in_turns, machine

NNGEOM = str(Path(sys.executable).parent / "nngeom")
IMPORTS = [sys.executable, "-c", "import torch, matplotlib.pyplot, xarray, hydra"]
COMMANDS = {
    "xor": [NNGEOM, "run", "task=xor"],
    "help": [NNGEOM, "--help"],
    "digits": [NNGEOM, "run", "task=digits"],
    "sinusoid": [NNGEOM, "run", "task=sinusoid"],
}
ROUNDS = {"xor": 7, "help": 7, "digits": 3, "sinusoid": 1}


def main(names: list[str]) -> None:
    print(machine())
    with tempfile.TemporaryDirectory() as directory:
        start = partial(subprocess.run, cwd=directory, check=True, capture_output=True)
        for name in names or COMMANDS:
            sides = {"imports": partial(start, IMPORTS), "nngeom": partial(start, COMMANDS[name])}
            median = in_turns(sides, ROUNDS[name], time.perf_counter)
            own, imports = median["nngeom"], median["imports"]
            words = " ".join(["nngeom", *COMMANDS[name][1:]])
            print(f"{words:24}{own:8.2f} s, {own / imports:5.2f} times the imports' {imports:.2f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
