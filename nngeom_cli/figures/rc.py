"""Matplotlib is imported here first, so that it reads no matplotlibrc in the current folder.

Versions before 3.11 evaluate such a file, and the folder may be a run that came from elsewhere.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from nngeom_cli.errors import ConfigError, one_line

if "matplotlib" not in sys.modules:
    here = os.open(os.curdir, os.O_RDONLY)
    try:
        os.chdir(Path(__file__).parent)
        import matplotlib as matplotlib
    except (OSError, ValueError) as error:  # it reads the user's settings as it is imported
        raise ConfigError(
            f"matplotlib's settings must let it start. Got: {one_line(error)}. See the variables "
            "MATPLOTLIBRC, MPLCONFIGDIR and MPLBACKEND."
        ) from error
    finally:
        os.fchdir(here)
        os.close(here)
