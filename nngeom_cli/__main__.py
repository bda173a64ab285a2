"""`python -m nngeom_cli` is `nngeom`."""

import sys

from nngeom_cli.cli import main

sys.exit(main())
