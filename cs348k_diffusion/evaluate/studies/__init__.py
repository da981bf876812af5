"""Studies, a module each: `python -m cs348k_diffusion.evaluate.studies.NAME [FOLDER]` writes the card NAME."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from cs348k_diffusion.evaluate import RESULTS


def from_command_line(main: Callable[[str], None]) -> None:
    """Run the study of the module that was called; its card goes into the folder that is given."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("folder", nargs="?", default=str(RESULTS), help="where the card goes (the package's results)")
    main(parser.parse_args().folder)
