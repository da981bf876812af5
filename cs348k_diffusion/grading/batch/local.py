"""Grading on this machine: in this process, or in a few processes that hand each student back as soon as it is known.

Such a process runs pytest on a few students at a time; what the students wrote runs in workers of its own. It is told
what to do in lines of JSON, takes nothing from the environment or the current folder, and dies with its parent.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import selectors
import signal
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from cs348k_diffusion.exercises.framework.catalogue import free_texts
from cs348k_diffusion.grading.batch.plan import Plan, Todo
from cs348k_diffusion.grading.checks.plugin import Grader, run_checks
from cs348k_diffusion.grading.checks.source import WorkerSource
from cs348k_diffusion.grading.records import Lines, Record, Results, Status, StudentResult, from_line
from cs348k_diffusion.grading.submissions import reading
from cs348k_diffusion.grading.submissions.files import Unreadable
from cs348k_diffusion.grading.submissions.reading import Reading
from cs348k_diffusion.grading.tables import plain_text
from cs348k_diffusion.grading.workers.pool import ForkServer, SpawnedWorkers, isolated_python, workers_for
from cs348k_diffusion.grading.workers.sandbox import die_with_parent

CHUNK, TRIES = 8, 3
GONE = "The grader's process was ended while it worked on this; please look."


def grade_here(chunk: Todo, plan: Plan, done: Callable[[StudentResult], object] | None = None) -> list[StudentResult]:
    """Grade some students in this process; `done` gets each as soon as its last check has run."""
    workers = _workers(plan.hidden, plan.address)
    if plan.exercises:
        workers.prepare()
    results = Results([student for student, _ in chunk], plan.expected, done)
    read = {student: made for student, paths in chunk if (made := _read(student, paths, plan, results))}
    sources = [WorkerSource(student, made, workers, plan.ours) for student, made in read.items()]
    if sources:
        exercises, finished = plan.exercises.values(), results.finish
        run_checks(plan.files, Grader(exercises, sources, results.add, plan.public, plan.key, finished=finished))
    for student, _ in chunk:
        results.finish(student)
    return list(results.graded.values())


def _read(student: str, paths: list[Path], plan: Plan, results: Results) -> Reading | None:
    """A student's notebooks as they were read; what is not code, or why nothing was read, goes into the results."""
    try:
        made = reading.read(paths, plan.exercises, free_texts(plan.public).keys())
    except Unreadable as error:
        why = str(error)
    except Exception as error:  # one hand-in never stops the class
        why = f"This could not be read ({plain_text(f'{type(error).__name__}: {error}')[:300]}); please look."
    else:
        each = results.graded[student]
        each.texts, each.hints, each.notes, each.remarks = made.texts, made.hints, made.notes, made.remarks
        return made
    results.graded[student] = ungraded(student, plan, why)
    return None


@functools.lru_cache(maxsize=1)
def _workers(hidden: tuple[str, ...], address: str = "") -> ForkServer | SpawnedWorkers:
    """One fork server, or one clone of the main process's, for each process that grades, for as long as it lives."""
    return workers_for(hidden, address)


def ungraded(student: str, plan: Plan, why: str, status: Status = "failed") -> StudentResult:
    """A student whose files could not be graded: no points, and the reason; "error": the next grading tries again."""
    return StudentResult(student, [Record.failed(student, check, why, status) for check in plan.expected], [why])


def graded_locally(todo: Todo, plan: Plan, jobs: int) -> Iterator[StudentResult]:
    """Grade students as they come: here for one job or two students, else in processes."""
    if len(todo) <= 2 or jobs < 2:
        for each in todo:
            yield from grade_here([each], plan)
        return
    server = ForkServer(plan.hidden)
    try:
        server.prepare()  # it loads while the other processes do
        with contextlib.closing(Crew(todo, replace(plan, address=server.listening), jobs)) as crew:
            yield from crew.graded()
    finally:
        server.close()


class Crew:
    """The processes that grade, and what each has in hand; students whose process died are tried again, alone."""

    def __init__(self, todo: Todo, plan: Plan, jobs: int):
        size = max(1, min(CHUNK, len(todo) // (4 * jobs)))
        self.plan, self.jobs = plan, jobs
        self.chunks = deque(todo[i : i + size] for i in range(0, len(todo), size))
        self.failures: Counter[str] = Counter()
        self.in_hand: dict[subprocess.Popen, dict[str, list[Path]]] = {}
        self.unread: dict[subprocess.Popen, bytes] = {}
        self.ready = selectors.DefaultSelector()

    def graded(self) -> Iterator[StudentResult]:
        """Every student, as soon as known. Raises ValueError when a check module does not load."""
        for _ in range(min(self.jobs, len(self.chunks))):
            self._start()
        while self.in_hand:
            for event, _ in self.ready.select():
                yield from self._receive(event.data)

    def _start(self) -> None:
        process = isolated_python(
            "from cs348k_diffusion.grading.batch.local import main; main()",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout
        self.in_hand[process], self.unread[process] = {}, b""
        self.ready.register(process.stdout, selectors.EVENT_READ, process)
        self._tell(process, self.plan.to_json())
        self._give(process)

    def _tell(self, process: subprocess.Popen, message: Any) -> None:
        assert process.stdin
        try:
            process.stdin.write(json.dumps(message).encode() + b"\n")
            process.stdin.flush()
        except OSError:
            pass  # it has died, which its closed output says, too

    def _give(self, process: subprocess.Popen) -> None:
        """Give a process something to do, or let it go."""
        if not self.chunks:
            self._bury(process)
            return
        chunk = self.chunks.popleft()
        self.in_hand[process] = dict(chunk)
        self._tell(process, [[student, [str(path) for path in paths]] for student, paths in chunk])

    def _receive(self, process: subprocess.Popen) -> Iterator[StudentResult]:
        assert process.stdout
        data = os.read(process.stdout.fileno(), 1 << 20)
        *lines, self.unread[process] = (self.unread[process] + data).split(b"\n")
        for line in lines:
            facts = json.loads(line)
            if "fault" in facts:
                raise ValueError(facts["fault"])
            if "student" in facts:
                self.in_hand[process].pop(facts["student"], None)
                yield from_line(line.decode())
            else:
                self._give(process)
        if not data and process in self.in_hand:
            yield from self._replace(process)

    def _replace(self, process: subprocess.Popen) -> Iterator[StudentResult]:
        """A process has died: those it had in hand are tried again, alone."""
        left = self._bury(process)
        for student, paths in left.items():
            self.failures[student] += 1
            if self.failures[student] < TRIES:
                self.chunks.append([(student, paths)])
            else:
                yield ungraded(student, self.plan, GONE, "error")
        while self.chunks and len(self.in_hand) < self.jobs:
            self._start()

    def _bury(self, process: subprocess.Popen) -> dict[str, list[Path]]:
        """What it had in hand; may be called again where it was interrupted."""
        assert process.stdin
        assert process.stdout
        process.kill()
        process.wait()
        with contextlib.suppress(KeyError, ValueError):  # not registered yet, or not any more
            self.ready.unregister(process.stdout)
        process.stdout.close()
        with contextlib.suppress(OSError):  # what could not be told to it any more
            process.stdin.close()
        return self.in_hand.pop(process, {})

    def close(self) -> None:
        """End every process."""
        for process in list(self.in_hand):
            self._bury(process)
        self.ready.close()


def main() -> None:
    """In a process of the crew: a line with the plan, then lines with students; a line back for each that is done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    die_with_parent()
    sys.dont_write_bytecode = True  # nothing is left beside the instructor's check modules
    lines = Lines(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    plan = Plan.from_json(json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        chunk = [(student, list(map(Path, paths))) for student, paths in json.loads(line)]
        try:
            grade_here(chunk, plan, lines.write)
        except ValueError as error:
            lines.tell(json.dumps({"fault": str(error)}))
        lines.tell("{}")
