"""Reading a submission in a process of its own with limits on time and memory: a notebook can be made to take both.

The process runs nothing of the student's. What it has read comes back as JSON.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cs348k_diffusion.grading.submissions import notebook
from cs348k_diffusion.grading.submissions.files import Unreadable
from cs348k_diffusion.grading.submissions.notebook import Definition, Needs, Part, Submission

SECONDS, MEMORY = 20, 3 << 30  # of computing time; bytes beyond what the process has already
TOO_MUCH = f"This took more than {SECONDS} s or {MEMORY >> 30} GB to read; hand in a notebook without the bulk."


def read(paths: Sequence[Path], look: Callable[[Submission], list[str]]) -> Submission:
    """`notebook.read` within limits; `look` finds remarks on it, and what else takes time, within limits, too.

    Raises Unreadable, also for what goes beyond the limits.
    """

    def facts() -> dict[str, Any]:
        made = notebook.read(paths)
        made.remarks = look(made)
        return dataclasses.asdict(made) | {"definitions": [_as_lists(each) for each in made.definitions]}

    return _submission(limited_call(facts))


def limited_call(action: Callable[[], Any]) -> Any:
    """What `action` returns, as JSON has it: found in a child within limits, where the platform has them.

    Raises Unreadable, also for what goes beyond the limits.
    """
    if sys.platform != "linux":
        return json.loads(json.dumps(action()))
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        _act_and_tell(action, theirs)
    os.close(theirs)
    with os.fdopen(ours, "rb") as answer:
        data = answer.read()
    _, status = os.waitpid(child, 0)
    if status or not data:
        raise Unreadable(TOO_MUCH)
    facts = json.loads(data)
    if "unreadable" in facts:
        raise Unreadable(facts["unreadable"])
    return facts["found"]


def _act_and_tell(action: Callable[[], Any], pipe: int) -> None:
    """In the child: act, write the answer, and end."""
    status = 1
    try:
        _limit()
        try:
            facts = {"found": action()}
        except Unreadable as error:
            facts = {"unreadable": str(error)}
        with os.fdopen(pipe, "w") as answer:
            json.dump(facts, answer)
        status = 0
    finally:
        os._exit(status)


def _limit() -> None:
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    memory = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _as_lists(definition: Definition) -> list[Any]:
    binds, now, later = (sorted(names) for names in (definition.binds, definition.now, definition.later))
    return [definition.cell, definition.index, binds, now, later, definition.adds, definition.stub]


def _submission(facts: dict[str, Any]) -> Submission:
    made = Submission(
        cells=[(number, text) for number, text in facts["cells"]],
        notes=facts["notes"],
        markdown=[(tags, text) for tags, text in facts["markdown"]],
        hints=facts["hints"],
        parts=[Part(**part) for part in facts["parts"]],
        remarks=facts["remarks"],
        why=facts["why"],
        chosen=facts["chosen"],
        prepared={
            name: Needs([(cell, each) for cell, each in found], read)
            for name, (found, read) in facts["prepared"].items()
        },
        compiling=facts["compiling"],
    )
    vars(made)["definitions"] = [
        Definition(cell, index, frozenset(binds), frozenset(now), frozenset(later), adds, stub)
        for cell, index, binds, now, later, adds, stub in facts["definitions"]
    ]
    return made
