"""Studies, a module each: `python -m cs348k_diffusion.evaluate.studies.NAME [FOLDER]` writes the card NAME."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cs348k_diffusion.evaluate import RESULTS
from cs348k_diffusion.evaluate.study import write_whole


def from_command_line(main: Callable[[str], None]) -> None:
    """Run the study of the module that was called; its card goes into the folder that is given."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("folder", nargs="?", default=str(RESULTS), help="where the card goes (the package's results)")
    main(parser.parse_args().folder)


def finished(path: Path, make: Callable[[], Any]) -> Any:
    """What is in the file, or what make() gives, written whole: a study that was stopped goes on where it was."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(make()))
    return json.loads(path.read_text(encoding="utf-8"))
