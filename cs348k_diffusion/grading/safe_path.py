"""Where the grader imports from: the standard library and what is installed, never where it was started.

The current folder may be full of hand-ins, and PYTHONPATH may name it; a `struct.py` there would run as the grader.
"""

import os
import sys

INSTALLED = ("site-packages", "dist-packages")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def safe_path() -> list[str]:
    """The standard library, this package's own folder, and what is installed: of `sys.path`, the rest is left out.

    The package comes before what is installed, since a second copy may be: a child must run the code that started it.
    """
    stdlib = os.path.dirname(os.__file__)
    start = sys.path.index(stdlib) if stdlib in sys.path else 0
    before = [path for path in sys.path[:start] if path.endswith((*INSTALLED, ".zip"))]
    rest = sys.path[start:]
    first = next((i for i, path in enumerate(rest) if path.endswith(INSTALLED)), len(rest))
    path = [each for each in (*rest[:first], ROOT, *rest[first:], *before) if os.path.isabs(each)]
    return list(dict.fromkeys(path))
