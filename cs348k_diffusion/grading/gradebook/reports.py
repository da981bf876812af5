"""What comes out of a batch: a gradebook, one results.json per student as Gradescope reads it, JUnit XML.

Feedback pages are written by `feedback`. Whatever a student wrote is cleaned for the format it goes
into, and what goes wrong with one student's files leaves the others alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from cs348k_diffusion.exercises.framework.catalogue import Exercise
from cs348k_diffusion.grading.gradebook.changes import by_exercise
from cs348k_diffusion.grading.gradebook.feedback import absence, group, reason, write_feedback
from cs348k_diffusion.grading.gradebook.rules import NOT_SUBMITTED, StudentRow
from cs348k_diffusion.grading.records import WAITING, Record, property_of
from cs348k_diffusion.grading.tables import cut, plain_text, write_table, write_whole

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_reports(shown: Mapping[str, StudentRow], exercises: Mapping[str, Exercise], out: Path) -> None:
    """Write gradebook.csv, junit.xml, gradescope/<student>.json and feedback/<student>.html under `out`.

    A student's own files that cannot be written are a remark in the gradebook and leave the others' alone.
    """
    for student, file in file_names(shown).items():
        try:
            _write_files_of(shown[student], file, exercises, out)
        except Exception as error:  # whatever a hand-in makes of it, the class gets its marks
            why = plain_text(f"{type(error).__name__}: {error}")[:300]
            shown[student].remarks.append(f"The feedback page could not be written ({why}).")
    write_gradebook(shown, exercises, out / "gradebook.csv")
    write_junit(shown, out / "junit.xml")


def _write_files_of(row: StudentRow, file: str, exercises: Mapping[str, Exercise], out: Path) -> None:
    result = gradescope(row.records, exercises, row.notes)
    result["score"] -= row.lost
    write_whole(out / "gradescope" / f"{file}.json", json.dumps(result, indent=1, ensure_ascii=False))
    page, more = out / "feedback" / f"{file}.html", {"notes": row.notes, "comments": row.comments}
    more |= {"regrades": row.regrades, "hints_used": row.hints, "name": row.name, "lost": row.lost}
    write_feedback(row.records, row.student, page, exercises=exercises, **more)


def file_names(students: Iterable[str]) -> dict[str, str]:
    """A file name for each student, of letters, digits, dots and dashes; no two alike on any file system."""
    names: dict[str, str] = {}
    for student in students:
        base = cut(re.sub(r"[^\w.-]+", "_", student).strip("._")) or "student"
        taken, name, n = {each.casefold() for each in names.values()}, base, 2
        while name.casefold() in taken:
            name, n = f"{base}-{n}", n + 1
        names[student] = name
    return names


def write_gradebook(shown: Mapping[str, StudentRow], exercises: Mapping[str, Exercise], path: Path) -> None:
    """One row a student: points for each exercise, their sum, what there was to earn, and notes.

    A column of names comes with a roster that has them; what of the sum no student could see being checked, with
    checks held back; days late, points lost and the final mark, with a due time.
    """
    named, dated = any(row.name for row in shown.values()), any(row.days_late is not None for row in shown.values())
    hiding = any(record.held_back for row in shown.values() for record in row.records)
    more = [*(["held back"] if hiding else []), *(["days late", "points lost", "final"] if dated else [])]
    rows = []
    for _, row in sorted(shown.items()):
        who = [row.student, *([row.name] if named else [])]
        extra = [*([_held_back(row)] if hiding else []), *(_late(row) if dated else [])]
        notes = " ".join([*row.notes, *row.remarks])
        rows.append([*who, *_points(row, exercises), *extra, reasons(row, exercises), notes])
    columns = ["student", *(["name"] if named else []), *exercises, "total", "of", *more, "reasons", "notes"]
    write_table(path, columns, rows)


def reasons(row: StudentRow, exercises: Mapping[str, Exercise]) -> str:
    """Why points are missing: not written, the likely mistake, or what does not hold; each reason once."""
    said: dict[str, list[str]] = {}
    for result in group(row.records, exercises):
        wrong = [record for record in result.records if record.status not in ("passed", WAITING)]
        if wrong and result.grade != "full":  # an override can give the points of a check that failed
            why = _why(result.grade, wrong)
            said.setdefault(why if why.endswith((".", "!", "?")) else f"{why}.", []).append(result.exercise.id)
    if len(said.get(NOT_SUBMITTED, [])) > 1 and len(said) == 1:
        return NOT_SUBMITTED
    return " ".join(f"{', '.join(ids)}: {why}" for why, ids in said.items())


def _why(grade: str, wrong: Sequence[Record]) -> str:
    if grade == "blank":
        return absence(wrong)
    if all(record.held_back for record in wrong):
        return "A held-back check failed"
    why = reason(next(record for record in wrong if not record.held_back))
    return why.get("likely") or why.get("not_yet") or why["says"] or "A check failed"


def _points(row: StudentRow, exercises: Iterable[str]) -> list[str]:
    earned = by_exercise(row.records)
    of = sum(record.points for record in row.records)
    return [f"{points:g}" for points in (*(earned.get(id, 0) for id in exercises), row.earned, of)]


def _held_back(row: StudentRow) -> str:
    """Earned and possible, as "3 of 4"."""
    hidden = [record for record in row.records if record.held_back]
    earned, of = sum(record.earned for record in hidden), sum(record.points for record in hidden)
    return f"{earned:g} of {of:g}"


def _late(row: StudentRow) -> list[str]:
    days = "" if row.days_late is None else str(row.days_late)
    return [days, f"{row.lost:g}", f"{row.earned - row.lost:g}"]


def in_order(records: Iterable[Record], exercises: Iterable[str]) -> list[Record]:
    """The records in the order of the exercises; those of no such exercise come last."""
    order = {exercise: i for i, exercise in enumerate(exercises)}
    return sorted(records, key=lambda record: order.get(record.exercise, len(order)))


def gradescope(records: Sequence[Record], exercises: Mapping[str, Exercise], notes: Sequence[str] = ()) -> dict:
    """The records of one student in the form of results.json (gradescope-autograders.readthedocs.io, "specs").

    Whatever a student wrote is shown as text, and a held-back check only after the marks are published.
    """
    return {
        "score": sum(record.earned for record in records),
        "output": "\n".join(notes),
        "output_format": "text",
        "test_output_format": "text",
        "stdout_visibility": "hidden",
        "tests": [_gradescope_test(record, exercises) for record in records],
    }


def _gradescope_test(record: Record, exercises: Mapping[str, Exercise]) -> dict:
    exercise = exercises.get(record.exercise)
    title = f" {exercise.title}" if exercise else ""
    what = "held-back check" if record.held_back else property_of(record.test)
    return {
        "name": f"{record.exercise}{title}: {what}",
        "number": record.exercise.removeprefix("E"),
        "score": record.earned,
        "max_score": record.points,
        **({} if record.status == WAITING else {"status": "passed" if record.status == "passed" else "failed"}),
        "output": "" if record.held_back else record.message,
        "visibility": "after_published" if record.held_back else "visible",
    }


def write_junit(shown: Mapping[str, StudentRow], path: Path) -> None:
    """JUnit XML over all students, also those graded before an interruption."""
    root = ElementTree.Element("testsuites", name="cs348k_diffusion")
    for student, row in sorted(shown.items()):
        records = row.records
        bad = [record for record in records if record.status not in ("passed", WAITING)]
        counts = {"tests": str(len(records)), "failures": str(len(bad)), "errors": "0"}
        suite = ElementTree.SubElement(root, "testsuite", {"name": _xml(student)} | counts)
        for record in records:
            facts = {"classname": record.exercise, "name": record.test, "time": str(record.seconds)}
            case = ElementTree.SubElement(suite, "testcase", facts)
            if record.status == WAITING:
                ElementTree.SubElement(case, "skipped", message=record.message)
            elif record.status != "passed":
                failure = ElementTree.SubElement(case, "failure", message=record.status)
                failure.text = _xml(record.message)
    write_whole(path, ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _xml(text: str) -> str:
    return _NOT_XML.sub("?", text)
