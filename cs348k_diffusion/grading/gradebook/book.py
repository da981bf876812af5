"""The gradebook of one grading: what the instructor wrote is read before any submission is, all is written after.

So a slip in overrides.csv or texts.csv is reported at once and not after an hour of grading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cs348k_diffusion.exercises.framework.catalogue import Exercise, FreeText, in_course_order
from cs348k_diffusion.grading.gradebook import free_text
from cs348k_diffusion.grading.gradebook.changes import changed, read_points, write_changes, write_points
from cs348k_diffusion.grading.gradebook.class_page import write_class
from cs348k_diffusion.grading.gradebook.lms_grades import NO_NUMBER, Mark, of_members, write_grades
from cs348k_diffusion.grading.gradebook.overrides import read_overrides, template
from cs348k_diffusion.grading.gradebook.reports import in_order, reasons, write_reports
from cs348k_diffusion.grading.gradebook.roster import hand_ins
from cs348k_diffusion.grading.gradebook.rules import LOST, Rules, StudentRow, rows
from cs348k_diffusion.grading.records import StudentResult
from cs348k_diffusion.grading.submissions.lms import Number
from cs348k_diffusion.grading.tables import key


@dataclass(frozen=True)
class Scope:
    """What is graded now, and what else can have marks.

    exercises, texts: graded now, by id; expected: their tests (exercise, test, points); catalogue: every exercise of
    the course; worth: the points of every exercise and text.
    """

    exercises: Mapping[str, Exercise]
    texts: Mapping[str, FreeText]
    expected: list[tuple[str, str, float]]
    catalogue: Mapping[str, Exercise]
    worth: Mapping[str, float]


class Book:
    """A folder of marks, opened before a grading and written after it.

    earlier: the last grading, by the name of the hand-in; secret: the folder's; numbers: as `lms.numbers` reads them.
    Raises ValueError for what is wrong with overrides.csv or texts.csv.
    """

    def __init__(
        self,
        out: Path,
        scope: Scope,
        rules: Rules,
        students: list[str],
        earlier: Mapping[str, StudentResult],
        secret: str,
        numbers: Mapping[str, tuple[str, Number]],
    ):
        self.out, self.scope, self.rules, self.earlier = out, scope, rules, earlier
        self.numbers = of_members(numbers, rules.roster or {})
        template(out / "overrides.csv")
        names = [*students, *earlier]
        enrolled = [each.student for each in (rules.roster or {}).values()]
        known = [*hand_ins(names, rules.roster), *enrolled]
        before = self._earlier_exercises()
        now = {*scope.exercises, *scope.texts}
        self.overrides = read_overrides(
            out / "overrides.csv", known, scope.worth.get, lambda student: now | before.get(key(student), set())
        )
        self.codes = free_text.codes_of(names, secret)
        self.marks = free_text.read_marks(out / free_text.FILE, scope.texts, self.codes)

    def _earlier_exercises(self) -> dict[str, set[str]]:
        """The exercises that a student has records of, by `key` of the student."""
        return {
            key(student): {record.exercise for record in self.earlier[name].records}
            for student, name in hand_ins(self.earlier, self.rules.roster).items()
        }

    def write(self, graded: Mapping[str, StudentResult]) -> dict[str, StudentRow]:
        """Marks, pages and tables of everyone: by student, with overrides, late days and what differs from before.

        graded: by the name of the hand-in.
        """
        texts = self.scope.texts
        expected = self.scope.expected + [(text.id, free_text.TEST, text.points) for text in texts.values()]
        now, before = (self._by_student(self._with_texts(each)) for each in (graded, self.earlier))
        shown = rows(now, self.rules, self.overrides, expected, before)
        if texts:
            given = {name: each.texts for name, each in graded.items()}
            free_text.write_out(self.out, given, texts, self.marks, self.codes)
            self._note_texts(shown, given)
        for student, row in shown.items():
            row.remarks += [NO_NUMBER] if self.numbers and key(student) not in self.numbers else []
        self._report(shown)
        write_grades(self.numbers, {student: self._mark(row) for student, row in shown.items()}, self.out)
        self._note_changes(shown)
        return shown

    def _with_texts(self, graded: Mapping[str, StudentResult]) -> dict[str, StudentResult]:
        """The same students, with a record for each of their free-text answers."""
        every = {
            student: [*each.records, *free_text.records(student, each.texts, self.scope.texts, self.marks)]
            for student, each in graded.items()
        }
        return {student: replace(each, records=every[student]) for student, each in graded.items()}

    def _by_student(self, graded: Mapping[str, StudentResult]) -> dict[str, StudentResult]:
        """The same gradings, with a copy for each member in place of a group's."""
        found = {}
        for student, name in hand_ins(graded, self.rules.roster).items():
            records = [replace(record, student=student) for record in graded[name].records]
            found[student] = replace(graded[name], student=student, records=records)
        return found

    def _note_texts(self, shown: Mapping[str, StudentRow], given: Mapping[str, Mapping[str, str]]) -> None:
        """Put comments on answers, and what is still to read, into the rows; given: by the name of the hand-in."""
        names = hand_ins(given, self.rules.roster)
        for student, row in shown.items():
            name = names.get(student, student)
            row.remarks += free_text.remarks(name, given.get(name, {}), self.marks)
            row.comments = free_text.comments(name, self.scope.texts, self.marks) | row.comments

    def _mark(self, row: StudentRow) -> Mark:
        of = sum(record.points for record in row.records)
        return Mark(row.name, row.earned - row.lost, of, reasons(row, self.scope.exercises))

    def _note_changes(self, shown: Mapping[str, StudentRow]) -> None:
        """Put what differs from the gradebook before into the rows and changes.csv, and remember this one."""
        before = read_points(self.out)
        elsewhere = dict.fromkeys(self.scope.texts, "read by a person") | {LOST: "late days"}
        for student, row in shown.items():
            row.changes = changed(student, before.get(student, {}), row.known, elsewhere | row.by_hand)
        write_changes([change for _, row in sorted(shown.items()) for change in row.changes], self.out / "changes.csv")
        write_points(before, {student: row.known for student, row in shown.items()}, self.out)

    def _report(self, shown: Mapping[str, StudentRow]) -> None:
        checked = {record.exercise for each in shown.values() for record in each.records}
        listed = checked | self.scope.exercises.keys() | self.scope.texts.keys()
        texts = {text.id: Exercise(text.id, text.id, text.title, word=text.word) for text in self.scope.texts.values()}
        known = {**self.scope.catalogue, **texts}
        known = {id: known[id] for id in in_course_order(known) if id in listed}
        for each in shown.values():
            each.records = in_order(each.records, known)
        write_reports(shown, known, self.out)
        write_class(shown, known, self.out, self.rules)
