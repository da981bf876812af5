"""What goes back to Canvas and Moodle: the marks of each student under the number that the download named."""

import csv

import pytest

from cs348k_diffusion.grading.submissions.lms import collect
from cs348k_diffusion.grading.submissions.lms_grades import IDS, Mark, Number, keep, numbers, write_grades
from cs348k_diffusion.grading.submissions.source import handed_in
from tests.grading.test_lms import notebook, zipped

NAMES = {
    "lovelaceada_LATE_4711_99_work.ipynb": notebook("def f(): 1"),
    "Zoë Müller_12_assignsubmission_file/work.ipynb": notebook("def f(): 2"),
}


def table(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def test_numbers_survive_collect_and_are_no_student(tmp_path):
    out = tmp_path / "submissions"
    collect(zipped(tmp_path / "d.zip", NAMES), out)
    found = dict(numbers(out).values())
    assert found == {
        "lovelaceada": Number("canvas", "4711", "lovelaceada"),
        "Zoë Müller": Number("moodle", "12", "Zoë Müller"),
    }
    assert set(handed_in(out)) == set(found)
    keep(out, {"new": Number("canvas", "5", "new")})  # a second download: who was there stays
    assert {student for student, _ in numbers(out).values()} == {*found, "new"}


def test_each_system_gets_its_own_columns(tmp_path):
    collect(zipped(tmp_path / "d.zip", NAMES), tmp_path / "submissions")
    marks = {
        "lovelaceada": Mark("Ada Lovelace", 3.5, 4, ""),
        "Zoë Müller": Mark("", 1, 4, "E1.1: off by one."),
        "mailed": Mark("", 2, 4, ""),
    }
    write_grades(numbers(tmp_path / "submissions"), marks, tmp_path)
    assert table(tmp_path / "canvas.csv") == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "CS348K"],
        ["Points Possible", "", "", "", "", "4"],
        ["Ada Lovelace", "4711", "", "", "", "3.5"],
    ]
    assert table(tmp_path / "moodle.csv") == [
        ["Identifier", "Full name", "Email address", "Grade", "Maximum grade", "Feedback comments"],
        ["Participant 12", "Zoë Müller", "", "1", "4", "E1.1: off by one."],
    ]


def test_without_numbers_nothing_is_written_and_a_broken_table_is_told(tmp_path):
    write_grades(numbers(tmp_path), {"a": Mark("", 1, 4, "")}, tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / IDS).write_text("student,grade\na,1\n")
    with pytest.raises(ValueError, match=r"lms\.csv has no column 'system'"):
        numbers(tmp_path)
