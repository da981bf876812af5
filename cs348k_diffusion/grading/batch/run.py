"""A folder of submissions in, marks and feedback out.

Each student is one line of results.jsonl, written when that student is done: an interrupted run goes on where it
stopped, and a file that changed since is graded anew. Processes of a small pool run pytest on a few students at a time;
what the students wrote runs in workers of theirs.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

from cs348k_diffusion.exercises.catalogue import (
    FOLDER,
    Exercise,
    FreeText,
    checks_in,
    free_texts,
    in_course_order,
    registry,
)
from cs348k_diffusion.grading.checks.plugin import Grader, run_checks
from cs348k_diffusion.grading.gradebook import free_text
from cs348k_diffusion.grading.gradebook.changes import Change, changed, write_changes
from cs348k_diffusion.grading.gradebook.overrides import read_overrides, template
from cs348k_diffusion.grading.gradebook.rules import Rules, StudentRow, rows
from cs348k_diffusion.grading.records import Record, missing
from cs348k_diffusion.grading.submissions import notebook, similarity
from cs348k_diffusion.grading.submissions.source import Submitted, handed_in
from cs348k_diffusion.grading.workers.pool import ForkServer, Spawned, workers_for

CHUNK, TRIES = 8, 3
NO_RULES = Rules()  # no roster, nothing late
ELSEWHERE = (
    "grade runs code that you do not trust, and the walls around it are Linux's. Elsewhere run it in a container: "
    'docker run --rm --network none -v "$PWD:/work" -w /work IMAGE cs348k grade submissions --out marks. '
    "A single notebook that you trust is checked by: cs348k check NOTEBOOK"
)


@dataclass(frozen=True)
class Plan:
    """What is graded: exercises, the check modules that hold their tests, and what workers must not see."""

    exercises: dict[str, Exercise]
    files: tuple[Path, ...]
    public: Path = FOLDER
    hidden: tuple[str, ...] = ()
    address: str = ""  # of the main process's fork server

    @property
    def expected(self) -> list[tuple[str, str, float]]:
        """Every test that must leave a record: exercise, test, points."""
        checks = [check for file in self.files for check in checks_in(file) if check.exercise in self.exercises]
        return [(check.exercise, check.test, check.points) for check in checks]

    @property
    def texts(self) -> dict[str, FreeText]:
        """The questions for prose in the notebooks that are graded."""
        words = {file.stem for file in self.files if file.parent == self.public}
        return {id: text for id, text in free_texts(self.public).items() if text.word in words}

    def worth(self, exercise: str) -> float | None:
        """The points of an exercise, graded now or not; None when there is no such exercise."""
        if exercise in free_texts(self.public):
            return free_texts(self.public)[exercise].points
        known = registry(self.public).get(exercise)
        if known is None:
            return None
        files = {*self.files, self.public / f"{known.word}.py"}
        return sum(check.points for file in files for check in checks_in(file) if check.exercise == exercise)

    @property
    def ours(self) -> dict[str, str]:
        """Exercise names and the package's answers to them."""
        known = registry(self.public).values()
        return {exercise.name: exercise.ours for exercise in known if exercise.ours}


@dataclass
class Graded:
    """One student: the records, sentences about the files, what they were made from, and answers in prose.

    remarks: what a person should look at, not shown to the student; hints: how many were opened, by exercise.
    """

    student: str
    records: list[Record] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    digest: str = ""
    texts: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    hints: dict[str, int] = field(default_factory=dict)


def grade(
    folder: Path,
    out: Path,
    *,
    only: Sequence[str] = (),
    held_back: Path | None = None,
    jobs: int = 2,
    again: bool = False,
    checks: Path = FOLDER,
    rules: Rules = NO_RULES,
    dask: str = "",
) -> dict[str, StudentRow]:
    """Grade every submission of a folder; writes marks and feedback to `out` and returns them by student.

    only: exercise ids or notebook words, whose marks replace earlier ones while others stay; held_back: a folder of
    check modules of your own; again: ignore earlier results; rules: the roster and the rule for late work; dask: the
    address of a cluster to grade on. Raises RuntimeError where there are no walls (not Linux), NotADirectoryError,
    LookupError for `only`, ValueError for what is wrong with overrides.csv.
    """
    if sys.platform != "linux":
        raise RuntimeError(ELSEWHERE)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder; grade wants a folder of notebooks named by student")
    folder, held_back = folder.absolute(), held_back and held_back.absolute()  # other processes may stand elsewhere
    hidden = str(folder.resolve()), str(out.resolve())
    students = handed_in(folder, {exercise.word for exercise in registry(checks).values()})
    plan = plan_for(students, only, checks, held_back, hidden)
    out.mkdir(parents=True, exist_ok=True)
    template(out / "overrides.csv")
    journal = out / "results.jsonl"
    earlier = read_journal(journal)
    enrolled = [each.student for each in (rules.roster or {}).values()]
    overrides = read_overrides(out / "overrides.csv", [*students, *earlier, *enrolled], plan.worth)
    marks = free_text.read_marks(out / free_text.FILE, plan.texts)
    fresh = _up_to_date(students, plan, earlier, journal, again, lambda todo: graded(todo, plan, jobs, dask))
    expected = plan.expected + [(text.id, free_text.TEST, text.points) for text in plan.texts.values()]
    found, before = _with_prose(fresh, plan, marks), _with_prose(earlier, plan, marks)
    shown = rows(found, rules, overrides, expected, before)
    if plan.texts:
        _hand_out_prose(shown, {student: each.texts for student, each in fresh.items()}, plan, marks, out)
    _report(shown, plan, out)
    write_changes(changes(journal), out / "changes.csv")
    return shown


def _up_to_date(
    students: dict[str, list[Path]],
    plan: Plan,
    earlier: dict[str, Graded],
    journal: Path,
    again: bool,
    grading: Callable[[dict[str, list[Path]]], Iterator[Graded]],
) -> dict[str, Graded]:
    """The students' marks: earlier ones where nothing changed since, or else graded now and added to the journal."""
    digests = {student: digest(paths, plan) for student, paths in students.items()}
    fresh = {student: each for student, each in earlier.items() if digests.get(student) == each.digest and not again}
    todo = {student: paths for student, paths in students.items() if student not in fresh}
    with journal.open("a", encoding="utf-8") as file:
        file.write("\n" if file.tell() else "")  # an interruption may have left half a line
        for student in todo.keys() & earlier.keys() if again else ():  # an interrupted run grades them, too
            file.write(json.dumps(asdict(replace(earlier[student], digest=""))) + "\n")
        for each in progress(grading(todo), len(todo)):
            each.digest = digests[each.student]
            before = earlier.get(each.student, Graded(each.student))
            each.records = [r for r in before.records if r.exercise not in plan.exercises] + each.records
            each.remarks = [r for r in before.remarks if r.split()[0] not in plan.exercises] + each.remarks
            file.write(json.dumps(asdict(each)) + "\n")
            file.flush()
            fresh[each.student] = each
    return fresh


def _with_prose(graded: dict[str, Graded], plan: Plan, marks: free_text.Marks) -> dict[str, Graded]:
    """The same students, with a record for each of their answers in prose."""
    every = {
        student: [*each.records, *free_text.records(student, each.texts, plan.texts, marks)]
        for student, each in graded.items()
    }
    return {student: replace(each, records=every[student]) for student, each in graded.items()}


def _hand_out_prose(
    shown: dict[str, StudentRow], given: dict[str, dict[str, str]], plan: Plan, marks: free_text.Marks, out: Path
) -> None:
    """Write the answers for reading, and put comments and what is still to read into the rows."""
    free_text.write_out(out, given, plan.texts, marks)
    for student, row in shown.items():
        row.remarks += free_text.remarks(student, given.get(student, {}), marks)
        row.comments = free_text.comments(student, plan.texts, marks) | row.comments


def check_notebook(path: Path, *, only: Sequence[str] = (), checks: Path = FOLDER) -> Graded:
    """One notebook as the batch would grade it; on any platform (outside Linux with a time limit as the only wall)."""
    plan = plan_for({"you": [path]}, only, checks, None, ())
    return next(grade_here([("you", [path])], plan))


def plan_for(
    students: dict[str, list[Path]],
    only: Sequence[str],
    checks: Path,
    held_back: Path | None,
    hidden: tuple[str, ...],
) -> Plan:
    """The exercises asked for, or else those of every notebook that somebody handed in."""
    known, asked = registry(checks), {**registry(checks), **free_texts(checks)}
    if unknown := [each for each in only if each not in asked and each not in {e.word for e in asked.values()}]:
        raise LookupError(f"no exercise or notebook is called {', '.join(unknown)}; there are {', '.join(asked)}")
    words = {each.word for each in asked.values() if each.id in only or each.word in only}
    words = words or _words_in(students, known.values()) or {exercise.word for exercise in known.values()}
    chosen = {e.id: e for e in known.values() if e.word in words and (not only or e.id in only or e.word in only)}
    files = [checks / f"{word}.py" for word in sorted(words)]
    files += sorted(held_back.glob("*.py")) if held_back else []
    return Plan(chosen, tuple(files), checks, hidden)


def _words_in(students: dict[str, list[Path]], exercises: Iterable[Exercise]) -> set[str]:
    waiting = {exercise.name: exercise.word for exercise in exercises}
    found: set[str] = set()
    for path in (path for paths in students.values() for path in paths):
        if waiting:
            text = _bytes(path)
            found |= {word for name, word in waiting.items() if re.search(rf"(def|class) {name}\b".encode(), text)}
            waiting = {name: word for name, word in waiting.items() if word not in found}
    return found


def digest(paths: Iterable[Path], plan: Plan) -> str:
    """Changes when a student's files, the exercises asked for or the checks change."""
    parts = hashlib.sha256(json.dumps(sorted(plan.exercises)).encode())
    for path in (*plan.files, *paths):
        parts.update(str(path.name).encode("utf-8", "backslashreplace"))
        parts.update(hashlib.sha256(_bytes(path)).digest())
    return parts.hexdigest()


def _bytes(path: Path) -> bytes:
    try:
        return notebook.plain_bytes(path)
    except notebook.Unreadable:
        return b""


def read_journal(path: Path) -> dict[str, Graded]:
    """The students of an earlier run, the latest line of each; a line cut off by an interruption is ignored."""
    return {each.student: each for each in _lines(path)}


def changes(path: Path) -> list[Change]:
    """What the latest grading of each student changed."""
    latest: dict[str, list[Graded]] = {}
    for each in _lines(path):
        latest[each.student] = [*latest.get(each.student, [])[-1:], each]
    pairs = [two for _, two in sorted(latest.items()) if len(two) == 2]
    return [change for old, new in pairs for change in changed(new.student, old.records, new.records)]


def _lines(path: Path) -> Iterator[Graded]:
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            facts = json.loads(line)
            yield Graded(**facts | {"records": [Record(**record) for record in facts["records"]]})
        except (ValueError, TypeError, KeyError):
            continue


def graded(students: dict[str, list[Path]], plan: Plan, jobs: int, dask: str = "") -> Iterator[Graded]:
    """Grade students as they come: here, in a pool of processes, or on a Dask cluster."""
    todo, size = list(students.items()), max(1, min(CHUNK, len(students) // (4 * jobs)))
    if dask and todo:
        from cs348k_diffusion.grading.batch.dask import graded_by_dask

        yield from _tried_again(todo, CHUNK, plan, functools.partial(graded_by_dask, plan=plan, address=dask))
        return
    if len(todo) <= 2 or jobs < 2:
        for i in range(0, len(todo), CHUNK):
            yield from grade_here(todo[i : i + CHUNK], plan)
        return
    server = ForkServer(plan.hidden)
    server.prepare()  # it loads while the pool's processes do
    try:
        joined = replace(plan, address=server.listening)
        yield from _tried_again(todo, size, plan, functools.partial(_in_pool, plan=joined, jobs=jobs))
    finally:
        server.close()


def _tried_again(
    todo: list[tuple[str, list[Path]]], size: int, plan: Plan, run: Callable[..., Iterator[Graded]]
) -> Iterator[Graded]:
    """Run on chunks of students; those whose process died are tried again, alone."""
    for _ in range(TRIES):
        done: set[str] = set()
        for each in run(todo, size) if todo else ():
            done.add(each.student)
            yield each
        todo, size = [(student, paths) for student, paths in todo if student not in done], 1
    for student, _ in todo:
        yield _ungraded(student, plan, "The grader's process was ended while it worked on this; please look.")


def _in_pool(todo: list[tuple[str, list[Path]]], size: int, plan: Plan, jobs: int) -> Iterator[Graded]:
    chunks = [todo[i : i + size] for i in range(0, len(todo), size)]
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])  # torch is loaded once for the whole pool
    with ProcessPoolExecutor(min(jobs, len(chunks)), context, _end_with_parent) as pool:
        futures = [pool.submit(_chunk, chunk, plan) for chunk in chunks]
        try:
            for future in as_completed(futures):
                try:
                    yield from future.result()
                except BrokenProcessPool:
                    continue
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _end_with_parent() -> None:
    """In a process of the pool: end when the process that made the pool is gone, however it went."""

    def wait() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _chunk(chunk: list[tuple[str, list[Path]]], plan: Plan) -> list[Graded]:
    return list(grade_here(chunk, plan))


def grade_here(chunk: list[tuple[str, list[Path]]], plan: Plan) -> Iterator[Graded]:
    """Grade some students in this process."""
    workers = _workers(plan.hidden, plan.address)
    if plan.exercises:
        workers.prepare()
    sources, results = [], {student: Graded(student) for student, _ in chunk}
    for student, paths in chunk:
        try:
            read = notebook.read(paths)
            sources.append(Submitted(student, read, workers, plan.ours))
            results[student].texts = free_text.answers(read.prose, free_texts(plan.public))
            results[student].hints = read.hints
            results[student].remarks = similarity.copies(read, plan.exercises)
            read.definitions  # noqa: B018 - reads the cells, and notes those that do not parse
            results[student].notes = read.notes
        except notebook.Unreadable as error:
            results[student] = _ungraded(student, plan, str(error))
    if sources:
        done = lambda record: results[record.student].records.append(record)  # noqa: E731
        run_checks(plan.files, Grader(plan.exercises.values(), sources, done, plan.public))
    for student, each in results.items():
        each.records += missing(each.records, plan.expected, student)
        yield each


@functools.lru_cache(maxsize=1)
def _workers(hidden: tuple[str, ...], address: str = "") -> ForkServer | Spawned:
    """One fork server, or one clone of the main process's, for each process of the pool, for as long as it lives."""
    workers = workers_for(hidden, address)
    atexit.register(workers.close)
    return workers


def _ungraded(student: str, plan: Plan, why: str) -> Graded:
    return Graded(student, [Record.failed(student, check, why) for check in plan.expected], [why])


def progress(items: Iterable[Graded], total: int) -> Iterator[Graded]:
    """The same items under a progress bar with rate and time left."""
    from tqdm import tqdm

    bar: Any = tqdm(items, total=total, unit="student", desc="grading", disable=total == 0)
    yield from bar


def _report(shown: dict[str, StudentRow], plan: Plan, out: Path) -> None:
    from cs348k_diffusion.grading.gradebook.reports import in_order, write_reports

    seen = (
        {record.exercise for each in shown.values() for record in each.records}
        | plan.exercises.keys()
        | plan.texts.keys()
    )
    known = registry(plan.public) | {t.id: Exercise(t.id, t.id, t.title, word=t.word) for t in plan.texts.values()}
    known = {id: known[id] for id in in_course_order(known) if id in seen}
    for each in shown.values():
        each.records = in_order(each.records, known)
    write_reports(shown, known, out)
