"""Matplotlib is imported here first, so that it reads no matplotlibrc of the folder that we stand in.

Its versions before 3.11 evaluate what such a file says, and the folder may be a run that came from elsewhere.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if "matplotlib" not in sys.modules:
    here = os.open(os.curdir, os.O_RDONLY)
    try:
        os.chdir(Path(__file__).parent)
        import matplotlib as matplotlib
    finally:
        os.fchdir(here)
        os.close(here)
