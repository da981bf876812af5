"""Where the grader imports from: the standard library and what is installed, never where it was started.

The current folder may be full of hand-ins, and PYTHONPATH may name it; a `struct.py` there would run as the grader.
"""

import os
import sys

INSTALLED = ("site-packages", "dist-packages")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def safe_path() -> list[str]:
    """`sys.path` from the standard library on; of what was put before it, only folders of installed packages."""
    stdlib = os.path.dirname(os.__file__)
    start = sys.path.index(stdlib) if stdlib in sys.path else 0
    before = [path for path in sys.path[:start] if path.endswith((*INSTALLED, ".zip"))]
    path = [each for each in (*sys.path[start:], *before, ROOT) if os.path.isabs(each)]
    return list(dict.fromkeys(path))
