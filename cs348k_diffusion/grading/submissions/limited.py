"""A process of its own with limits on time and memory, for reading: a notebook can be made to take both."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cs348k_diffusion.grading.submissions.files import Unreadable

SECONDS, MEMORY = 20, 3 << 30  # of computing time; bytes beyond what the process has already
TOO_MUCH = f"This took more than {SECONDS} s or {MEMORY >> 30} GB to read; hand in a notebook without the bulk."


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
