"""A folder of submissions in, marks and feedback out.

The plan says what is graded, the journal what is graded already; the rest is graded on this machine or on a cluster,
and rules, overrides and what was read by a person turn records into the gradebook.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cs348k_diffusion.exercises.framework.catalogue import FOLDER, Exercise, in_course_order, registry
from cs348k_diffusion.grading.batch.journal import read_journal, up_to_date
from cs348k_diffusion.grading.batch.local import grade_here, graded_locally
from cs348k_diffusion.grading.batch.plan import Plan, key_of, plan_for
from cs348k_diffusion.grading.gradebook import free_text
from cs348k_diffusion.grading.gradebook.changes import changed, read_points, write_changes, write_points
from cs348k_diffusion.grading.gradebook.class_page import write_class
from cs348k_diffusion.grading.gradebook.overrides import read_overrides, template
from cs348k_diffusion.grading.gradebook.reports import in_order, reasons, write_reports
from cs348k_diffusion.grading.gradebook.roster import hand_ins
from cs348k_diffusion.grading.gradebook.rules import LOST, Rules, StudentRow, rows
from cs348k_diffusion.grading.records import Graded
from cs348k_diffusion.grading.submissions.lms_grades import NO_NUMBER, Mark, numbers, of_members, write_grades
from cs348k_diffusion.grading.submissions.source import handed_in
from cs348k_diffusion.grading.tables import key
from cs348k_diffusion.grading.workers.scratch import ending_tidily, remove_abandoned

NO_RULES = Rules()  # no roster, nothing late
ELSEWHERE = (
    "grade runs code that you do not trust, and the sandbox around it is Linux's. Elsewhere run it in a container: "
    'docker run --rm --network none -v "$PWD:/work" -w /work IMAGE cs348k grade submissions --out marks. '
    "A single notebook that you trust is checked by: cs348k check NOTEBOOK"
)


@ending_tidily()
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
    hidden: Iterable[Path] = (),
    dask: str = "",
) -> dict[str, StudentRow]:
    """Grade every submission of a folder; writes marks and feedback to `out` and returns them by student.

    only: exercise ids or notebook words, whose marks replace earlier ones while others stay; held_back: a folder of
    check modules of your own; again: ignore earlier results; rules: the roster and the rule for late work; hidden:
    more that no submission may see; dask: the address of a cluster to grade on. Raises RuntimeError without a sandbox
    (not Linux), NotADirectoryError, LookupError for `only`, ValueError for what is wrong with overrides.csv.
    """
    if sys.platform != "linux":
        raise RuntimeError(ELSEWHERE)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder; grade wants a folder of notebooks named by student")
    folder, held_back = folder.absolute(), held_back and held_back.absolute()  # other processes run elsewhere
    remove_abandoned()
    known = of_members(numbers(folder), rules.roster or {})
    students = handed_in(folder, {exercise.word for exercise in registry(checks).values()}, out)
    unseen = tuple(str(path.resolve()) for path in (folder, out, *hidden))
    plan = plan_for(students, only, checks, held_back, unseen)
    out.mkdir(parents=True, exist_ok=True)
    plan = replace(plan, key=key_of(out))
    template(out / "overrides.csv")
    journal = out / "results.jsonl"
    earlier = read_journal(journal)
    enrolled = [each.student for each in (rules.roster or {}).values()]
    named = [*hand_ins([*students, *earlier], rules.roster), *enrolled]
    overrides = read_overrides(out / "overrides.csv", named, plan.worth, _exercises_of(plan, earlier, rules))
    codes = free_text.codes_of([*students, *earlier], plan.key)
    marks = free_text.read_marks(out / free_text.FILE, plan.texts, codes)
    fresh = up_to_date(students, plan, journal, again, lambda todo: graded(todo, plan, jobs, dask))
    expected = plan.expected + [(text.id, free_text.TEST, text.points) for text in plan.texts.values()]
    found, before = (_by_student(_with_texts(each, plan, marks), rules) for each in (fresh, earlier))
    shown = rows(found, rules, overrides, expected, before)
    if plan.texts:
        given = {name: each.texts for name, each in fresh.items()}
        free_text.write_out(out, given, plan.texts, marks, codes)
        _say_of_texts(shown, given, hand_ins(fresh, rules.roster), plan, marks)
    for student, row in shown.items():
        row.remarks += [NO_NUMBER] if known and key(student) not in known else []
    _report(shown, plan, out)
    write_grades(known, {student: _mark(row, plan) for student, row in shown.items()}, out)
    _tell_changes(shown, plan, out)
    return shown


def graded(students: dict[str, list[Path]], plan: Plan, jobs: int, dask: str = "") -> Generator[Graded, None, None]:
    """Grade students as they come, under a progress bar: on this machine, or on a Dask cluster."""
    todo = list(students.items())
    if dask and todo:
        from cs348k_diffusion.grading.batch.dask import graded_by_dask

        return progress(graded_by_dask(todo, plan, dask), len(todo))
    return progress(graded_locally(todo, plan, jobs), len(todo))


def progress(items: Iterable[Graded], total: int) -> Generator[Graded, None, None]:
    """The same items under a progress bar with rate and time left."""
    from tqdm import tqdm

    bar: Any = tqdm(items, total=total, unit="student", desc="grading", disable=total == 0)
    yield from bar


@ending_tidily()
def check_notebook(path: Path, *, only: Sequence[str] = (), checks: Path = FOLDER) -> Graded:
    """One notebook as the batch would grade it; on any platform (outside Linux with a time limit alone)."""
    plan = plan_for({"you": [path]}, only, checks, None, ())
    return grade_here([("you", [path])], plan)[0]


def _with_texts(graded: dict[str, Graded], plan: Plan, marks: free_text.Marks) -> dict[str, Graded]:
    """The same students, with a record for each of their free-text answers."""
    every = {
        student: [*each.records, *free_text.records(student, each.texts, plan.texts, marks)]
        for student, each in graded.items()
    }
    return {student: replace(each, records=every[student]) for student, each in graded.items()}


def _exercises_of(plan: Plan, earlier: dict[str, Graded], rules: Rules) -> Callable[[str], set[str]]:
    """For a student, the exercises that are graded now or were before."""
    before = {
        key(student): {record.exercise for record in earlier[name].records}
        for student, name in hand_ins(earlier, rules.roster).items()
    }
    return lambda student: {*plan.exercises, *plan.texts} | before.get(key(student), set())


def _by_student(graded: dict[str, Graded], rules: Rules) -> dict[str, Graded]:
    """The same gradings, with a copy for each member in place of a group's."""
    found = {}
    for student, name in hand_ins(graded, rules.roster).items():
        records = [replace(record, student=student) for record in graded[name].records]
        found[student] = replace(graded[name], student=student, records=records)
    return found


def _say_of_texts(
    shown: dict[str, StudentRow],
    given: dict[str, dict[str, str]],
    names: dict[str, str],
    plan: Plan,
    marks: free_text.Marks,
) -> None:
    """Put comments on answers, and what is still to read, into the rows; names: of the hand-ins, by student."""
    for student, row in shown.items():
        name = names.get(student, student)
        row.remarks += free_text.remarks(name, given.get(name, {}), marks)
        row.comments = free_text.comments(name, plan.texts, marks) | row.comments


def _mark(row: StudentRow, plan: Plan) -> Mark:
    of = sum(record.points for record in row.records)
    return Mark(row.name, row.earned - row.lost, of, reasons(row, plan.exercises))


def _tell_changes(shown: dict[str, StudentRow], plan: Plan, out: Path) -> None:
    """Put what differs from the gradebook before into the rows and into changes.csv, and remember this one."""
    before, elsewhere = read_points(out), dict.fromkeys(plan.texts, "read by a person") | {LOST: "late days"}
    for student, row in shown.items():
        row.changes = changed(student, before.get(student, {}), row.known, elsewhere | row.by_hand)
    write_changes([change for _, row in sorted(shown.items()) for change in row.changes], out / "changes.csv")
    write_points(before, {student: row.known for student, row in shown.items()}, out)


def _report(shown: dict[str, StudentRow], plan: Plan, out: Path) -> None:
    checked = {record.exercise for each in shown.values() for record in each.records}
    seen = checked | plan.exercises.keys() | plan.texts.keys()
    known = registry(plan.public) | {t.id: Exercise(t.id, t.id, t.title, word=t.word) for t in plan.texts.values()}
    known = {id: known[id] for id in in_course_order(known) if id in seen}
    for each in shown.values():
        each.records = in_order(each.records, known)
    write_reports(shown, known, out)
    write_class(shown, known, out)
