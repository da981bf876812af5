"""The same grading on a Dask cluster: a task grades a few students, as a process on this machine does.

Scheduler and workers are yours: Linux, the same version of the course, the same files at the same place (a shared
disk). What Dask sends are pickles, so its ports belong where no student reaches them; the process that runs a
student's code has no sockets.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

from cs348k_diffusion import __version__
from cs348k_diffusion.cluster import cluster
from cs348k_diffusion.grading.batch.local import CHUNK, GONE, TRIES, grade_here, ungraded
from cs348k_diffusion.grading.batch.plan import Plan, Todo, digest
from cs348k_diffusion.grading.records import StudentResult

NOT_LINUX = "a Dask worker is not on Linux, whose sandbox the grader needs"
_ONE = threading.Lock()  # pytest takes over a process's streams and settings: one chunk at a time in each


def graded_by_dask(todo: Todo, plan: Plan, address: str) -> Iterator[StudentResult]:
    """Grade students as they come; those whose Dask workers died are tried again, alone, and at last left ungraded.

    address: the scheduler's, as "tcp://10.0.0.1:8786". Raises what `cluster` does.
    """
    size = CHUNK
    for _ in range(TRIES):
        done: set[str] = set()
        for each in _once(todo, size, plan, address) if todo else ():
            done.add(each.student)
            yield each
        todo, size = [(student, paths) for student, paths in todo if student not in done], 1
    for student, _ in todo:
        yield ungraded(student, plan, GONE, "error")


def _once(todo: Todo, size: int, plan: Plan, address: str) -> Iterator[StudentResult]:
    with cluster(address) as client:
        from distributed import KilledWorker, as_completed

        there: Any = client.nthreads()
        size = max(1, min(size, len(todo) // (2 * len(there) or 1)))
        chunks = [todo[i : i + size] for i in range(0, len(todo), size)]
        tasks = [client.submit(_task, chunk, plan, _versions(chunk, plan), pure=False) for chunk in chunks]
        waiting: Any = as_completed(tasks, loop=client.loop)  # else that of another client, if there is one
        for task in waiting:
            try:
                yield from task.result()
            except KilledWorker:
                continue


def _task(chunk: Todo, plan: Plan, seen: list[str]) -> list[StudentResult]:
    """What a Dask worker does. Raises RuntimeError where it is not Linux, or sees other files than the client."""
    if sys.platform != "linux":
        raise RuntimeError(NOT_LINUX)
    if _versions(chunk, plan) != seen:
        names = ", ".join(student for student, _ in chunk[:3])
        raise RuntimeError(
            f"a Dask worker sees another course version, other checks or other files of {names} than you do; give all "
            "of them the same installation and a shared disk"
        )
    with _ONE:
        return grade_here(chunk, plan)


def _versions(chunk: Todo, plan: Plan) -> list[str]:
    return [__version__, *(digest(paths, plan) for _, paths in chunk)]
