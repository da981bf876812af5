"""What comes out of a batch: a gradebook, one results.json per student as Gradescope reads it, JUnit XML.

Feedback pages are written by `feedback`. Whatever a student wrote is cleaned for the format it goes into.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from cs348k_diffusion.exercises.catalogue import Exercise
from cs348k_diffusion.grading.cards import property_of
from cs348k_diffusion.grading.feedback import write_feedback
from cs348k_diffusion.grading.plugin import Record

Graded = Mapping[str, tuple[Sequence[Record], Sequence[str]]]  # student -> records, notes about the files
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_reports(graded: Graded, exercises: Mapping[str, Exercise], out: Path) -> None:
    """Write gradebook.csv, junit.xml, gradescope/<student>.json and feedback/<student>.html under `out`."""
    write_gradebook(graded, exercises, out / "gradebook.csv")
    write_junit(graded, out / "junit.xml")
    for name in ("gradescope", "feedback"):
        (out / name).mkdir(exist_ok=True)
    for student, file in file_names(graded).items():
        records, notes = graded[student]
        text = json.dumps(gradescope(records, exercises, notes), indent=1, ensure_ascii=False)
        (out / "gradescope" / f"{file}.json").write_text(text, encoding="utf-8")
        write_feedback(records, student, out / "feedback" / f"{file}.html", exercises=exercises, notes=notes)


def file_names(students: Iterable[str]) -> dict[str, str]:
    """A file name for each student, of letters, digits, dots and dashes; no two alike on any file system."""
    names: dict[str, str] = {}
    for student in students:
        base = re.sub(r"[^\w.-]+", "_", student).strip("._")[:100] or "student"
        taken, name, n = {each.casefold() for each in names.values()}, base, 2
        while name.casefold() in taken:
            name, n = f"{base}-{n}", n + 1
        names[student] = name
    return names


def write_gradebook(graded: Graded, exercises: Mapping[str, Exercise], path: Path) -> None:
    """One row a student: points for each exercise, their sum, what there was to earn, and notes."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        table = csv.writer(file)
        table.writerow(["student", *exercises, "total", "of", "notes"])
        for student, (records, notes) in sorted(graded.items()):
            earned = [sum(r["earned"] for r in records if r["exercise"] == id) for id in exercises]
            of = sum(r["points"] for r in records if r["exercise"] in exercises)
            row = [*earned, sum(earned), of]
            table.writerow([_cell(student), *(f"{points:g}" for points in row), _cell(" ".join(notes))])


def _cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    text = " ".join(text.split())
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def gradescope(records: Sequence[Record], exercises: Mapping[str, Exercise], notes: Sequence[str] = ()) -> dict:
    """The records of one student in the form of Gradescope's results.json."""
    tests = [_gradescope_test(record, exercises) for record in records]
    return {
        "score": sum(record["earned"] for record in records),
        "output": "\n".join(notes),
        "tests": tests,
    }


def _gradescope_test(record: Record, exercises: Mapping[str, Exercise]) -> dict:
    exercise = exercises.get(record["exercise"])
    title = f" {exercise.title}" if exercise else ""
    return {
        "name": f"{record['exercise']}{title}: {property_of(record['test'])}",
        "number": record["exercise"].removeprefix("E"),
        "score": record["earned"],
        "max_score": record["points"],
        "status": "passed" if record["status"] == "passed" else "failed",
        "output": "" if record["held_back"] else record["message"],
        "visibility": "after_published" if record["held_back"] else "visible",
    }


def write_junit(graded: Graded, path: Path) -> None:
    """JUnit XML over all students, also those graded before an interruption."""
    root = ElementTree.Element("testsuites", name="cs348k_diffusion")
    for student, (records, _) in sorted(graded.items()):
        bad = [record for record in records if record["status"] != "passed"]
        counts = {"tests": str(len(records)), "failures": str(len(bad)), "errors": "0"}
        suite = ElementTree.SubElement(root, "testsuite", {"name": _xml(student)} | counts)
        for record in records:
            facts = {"classname": record["exercise"], "name": record["test"], "time": str(record["seconds"])}
            case = ElementTree.SubElement(suite, "testcase", facts)
            if record["status"] != "passed":
                failure = ElementTree.SubElement(case, "failure", message=record["status"])
                failure.text = _xml(record["message"])
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _xml(text: str) -> str:
    return _NOT_XML.sub("?", text)
