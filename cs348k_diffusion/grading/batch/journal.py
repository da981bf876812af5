"""results.jsonl: one line a student, written when that student is done; only ever added to.

An interrupted run goes on where it stopped, and a student whose files or checks changed since is graded anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

from cs348k_diffusion.grading.batch.plan import Plan, digest
from cs348k_diffusion.grading.records import StudentResult, from_line, to_line

Students = dict[str, list[Path]]


def read_journal(path: Path) -> dict[str, StudentResult]:
    """The students of an earlier run, the latest line of each; a line cut off by an interruption is ignored."""
    found = {}
    for line in path.read_text(encoding="utf-8").split("\n") if path.exists() else []:
        with suppress(ValueError, TypeError, KeyError):
            each = from_line(line)
            found[each.student] = each
    return found


def up_to_date(
    students: Students,
    plan: Plan,
    journal: Path,
    again: bool,
    grading: Callable[[Students], Generator[StudentResult, None, None]],
) -> dict[str, StudentResult]:
    """The students' marks: earlier ones where nothing changed since, or else graded now and added to the journal."""
    earlier = read_journal(journal)
    digests = {student: digest(paths, plan) for student, paths in students.items()}
    valid = {student: each for student, each in earlier.items() if digests.get(student) == each.digest and not again}
    todo = {student: paths for student, paths in students.items() if student not in valid}
    with journal.open("a", encoding="utf-8") as file:
        file.write("\n" if file.tell() else "")  # an interruption may have left half a line
        for student in todo.keys() & earlier.keys() if again else ():  # an interrupted run grades them, too
            file.write(to_line(replace(earlier[student], digest="")))
        file.flush()
        with closing(grading(todo)) as results:
            for each in results:
                unsure = any(record.status == "error" for record in each.records)  # the next grading tries again
                each.digest = "" if unsure else digests[each.student]
                valid[each.student] = _with_others(each, earlier.get(each.student, StudentResult(each.student)), plan)
                file.write(to_line(each))
                file.flush()
        os.fsync(file.fileno())
    return valid


def _with_others(each: StudentResult, before: StudentResult, plan: Plan) -> StudentResult:
    """The student with what an earlier grading said of exercises that are not graded now."""
    each.records = [r for r in before.records if r.exercise not in plan.exercises] + each.records
    each.remarks = [r for r in before.remarks if r.split()[0] not in plan.exercises] + each.remarks
    return each
