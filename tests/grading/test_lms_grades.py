"""What goes back to Canvas and Moodle: the marks of each student under the number that the download named."""

import csv
import sys

import pytest

from cs348k_diffusion.grading.gradebook.lms_grades import MODIFIED, NO_NUMBER, Mark, of_members, write_grades
from cs348k_diffusion.grading.gradebook.roster import read_roster
from cs348k_diffusion.grading.gradebook.rules import Rules
from cs348k_diffusion.grading.submissions.lms import IDS, Number, collect, keep, numbers
from cs348k_diffusion.grading.submissions.source import handed_in
from tests.grading.a_class import gradebook, write
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
        ["Identifier", "Full name", "Email address", "Grade", "Maximum grade", MODIFIED, "Feedback comments"],
        ["Participant 12", "Zoë Müller", "", "1", "4", "", "E1.1: off by one."],
    ]


def test_without_numbers_nothing_is_written_and_a_broken_table_is_told(tmp_path):
    write_grades(numbers(tmp_path), {"a": Mark("", 1, 4, "")}, tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / IDS).write_text("student,grade\na,1\n")
    with pytest.raises(ValueError, match=r"lms\.csv has no column 'system'"):
        numbers(tmp_path)


FILES = {"canvas": "{name}_{id}_99_work.ipynb", "moodle": "{name}_{id}_assignsubmission_file/work.ipynb"}
COLUMN = {"canvas": ("ID", "CS348K", ""), "moodle": ("Identifier", "Grade", "Participant ")}


@pytest.mark.skipif(sys.platform != "linux", reason="grading a class is Linux's")
@pytest.mark.parametrize("system", FILES)
@pytest.mark.parametrize("named", ["red", "ada"])  # the file after the group, or after the member who sent it
def test_each_member_of_a_group_has_a_row_under_the_own_number(tmp_path, grade, system, named):
    files = {
        FILES[system].format(name=named, id=1): notebook("def f(): 1"),
        FILES[system].format(name="dee", id=4): notebook("def f(): 2"),
    }
    collect(zipped(tmp_path / "d.zip", files), tmp_path / "in")
    ids = {"ada": "Participant 1" if named == "ada" else "11", "bob": "Participant 12", "cy": "", "eve": "15"}
    groups = dict.fromkeys(("ada", "bob", "cy"), named) | {"ada": "" if named == "ada" else named}
    rows = "".join(f"{student},{student.title()},{groups.get(student, '')},{id}\n" for student, id in ids.items())
    roster = read_roster(write(tmp_path / "roster.csv", f"student,name,group,id\ndee,Dee,,\n{rows}"))
    shown = grade({}, rules=Rules(roster))
    assert set(shown) == {"ada", "bob", "cy", "dee", "eve"}
    id, mark, prefix = COLUMN[system]
    with (tmp_path / "out" / f"{system}.csv").open(encoding="utf-8-sig", newline="") as file:
        found = {row[id]: row[mark] for row in csv.DictReader(file) if row[id]}
    ada = "1" if named == "ada" else "11"
    assert found == {f"{prefix}{number}": "0" for number in (ada, "12", "4", "15")}
    assert [who for who, row in gradebook(tmp_path).items() if NO_NUMBER in row["notes"]] == ["cy"]


def test_a_number_on_the_roster_needs_a_system_and_the_downloads_own_comes_first(tmp_path):
    table = "student,group,id\nada,,1\nbob,red,2\ncy,,3\n"
    roster = read_roster(write(tmp_path / "roster.csv", table))
    assert of_members({}, roster) == {}
    both = {"ada": ("ada", Number("canvas", "9", "ada")), "red": ("red", Number("moodle", "5", "red"))}
    assert of_members(both, roster) == both | {"bob": ("bob", Number("moodle", "2", "bob"))}
    with pytest.raises(ValueError, match="line 3: the id 1 is there twice"):
        read_roster(write(tmp_path / "roster.csv", "student,id\nada,1\nbob,Participant 1\n"))
