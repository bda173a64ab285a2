"""`python -m nngeom_cli` is `nngeom`."""

import sys

from nngeom_cli.cli.entry import main

sys.exit(main())
