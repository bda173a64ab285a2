"""The command line with one empty figure, its numbers beside it: real ones take most of the time of a short run."""

import sys
from dataclasses import replace

from nngeom_cli.cli.entry import main
from nngeom_cli.figures import draw as figures
from nngeom_cli.figures.canvas import Sheet


def one_sheet(run):
    return {"plane": lambda **_: replace(Sheet.blank(1, 1), data=run.geometry)}


if __name__ == "__main__":
    figures.SHEETS["grid"] = one_sheet
    sys.exit(main(sys.argv[1:]))
