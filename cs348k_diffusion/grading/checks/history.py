"""What the notebook's cells, as they were run, say about an answer: the kernel remembers each of them.

An old definition stays in the kernel when a newer one fails to run, and values that cells filled in are not there when
a class is graded: both are said under a check, before anything is handed in.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from typing import Any

from cs348k_diffusion.exercises.framework.catalogue import Exercise
from cs348k_diffusion.grading.submissions import reasons
from cs348k_diffusion.grading.submissions.cells import SkipCell, parses, python_of
from cs348k_diffusion.grading.submissions.notebook import Submission

STALE = "The last run of a cell that defines {} failed: this is the version before."


def cells() -> list[str]:
    """The cells that this kernel has run, in order; none outside of one."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    found = shell.user_ns.get("In", []) if shell else []
    return [text for text in found if isinstance(text, str)]


def submission() -> Submission:
    """The cells that were run as a submission of which only the last of equal cells is there."""
    made = Submission([])
    for number, text in enumerate(cells(), start=1):
        try:
            python = python_of(text)
            ast.parse(python)
            made.cells.append((number, python))
        except SyntaxError as error:
            made.broken.append((number, text, error.lineno or 1, error.msg))
        except (SkipCell, ValueError, RecursionError, MemoryError):
            continue
    return made


def notes(exercise: Exercise, target: Any) -> list[str]:
    """Sentences under a check: a stale definition, values that the batch does not fill in."""
    made, name = submission(), exercise.name
    stale = [STALE.format(name)] if target is not None and is_stale(name, target, cells()) else []
    line = reasons.not_run(made, name) if made.has(name) else ""
    return [*stale, *([f"When a class is graded: {line}."] if line else [])]


def reason(exercise: Exercise) -> str:
    """Why an answer that is not written yet is not: `raise NotYet` left beside code."""
    made = submission()
    return reasons.leftover(made, exercise.name) if made.has(exercise.name) else ""


def is_stale(name: str, target: Any, ran: list[str]) -> bool:
    """Whether the last cell that defines a name is not the one that the kernel's own definition came from."""
    defines = re.compile(rf"(?m)^(async\s+def|def|class)\s+{re.escape(name)}\b")
    last = next((text for text in reversed(ran) if defines.search(text)), None)
    if last is None:
        return False
    if not parses(last):
        return True
    try:
        source = textwrap.dedent(inspect.getsource(target)).strip()
    except (OSError, TypeError):
        return False
    return source not in last
