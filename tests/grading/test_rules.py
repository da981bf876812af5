"""The instructor's rules: the roster, regrading and what it changed, overrides, late days, hand-in, Gradescope."""

import json
import os
import sys
import zipfile
from datetime import datetime, timedelta

import pytest

from cs348k_diffusion.grading.batch import run as batch
from cs348k_diffusion.grading.gradebook.overrides import read_overrides
from cs348k_diffusion.grading.gradebook.roster import RosterRow, extended, read_roster
from cs348k_diffusion.grading.gradebook.rules import NOT_ON_ROSTER, NOT_SUBMITTED, Late, Rules
from cs348k_diffusion.grading.submissions.lms import collect
from cs348k_diffusion.grading.submissions.source import handed_in
from cs348k_diffusion.grading.tables import key, moment
from tests.grading.a_class import gradebook, table, write

linux = pytest.mark.skipif(sys.platform != "linux", reason="grading a class is Linux's")


@linux
def test_who_did_not_hand_in_shows_and_a_stranger_is_noted(tmp_path, grade):
    roster = read_roster(
        write(tmp_path / "roster.csv", "\ufeffStudent;Name\r\nADA;Ada Lovelace\r\n\r\nbob;Bob, B.\r\n")
    )
    shown = grade({"ada": "E9.1", "eve": ""}, rules=Rules(roster))
    rows = gradebook(tmp_path)
    assert set(rows) == set(shown) == {"ada", "bob", "eve"}
    assert [rows["bob"][column] for column in ("name", "E9.1", "total", "of", "notes")] == [
        "Bob, B.",
        "0",
        "0",
        "5",
        NOT_SUBMITTED,
    ]
    assert (rows["ada"]["name"], rows["ada"]["total"], rows["ada"]["notes"]) == ("Ada Lovelace", "3", "")
    assert rows["eve"]["notes"] == NOT_ON_ROSTER
    assert NOT_SUBMITTED in (tmp_path / "out" / "feedback" / "bob.html").read_text()
    assert NOT_ON_ROSTER not in (tmp_path / "out" / "feedback" / "eve.html").read_text()  # the instructor's concern


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name,id\nAda,1\n", r"has no column 'student'; its header is: name, id"),
        ("", "no column 'student'; its header is: empty"),
        ("student,student\na,b\n", "more than one column"),
        ("student\nada\nbob\nAda\n", "line 4: Ada is there twice"),
        ("student,name\n,Ada\n", "line 2: the student's name is empty"),
        ("student\n\n", "names no students"),
        ("student\nLovelace, Ada\n", "line 2 has more cells than the header"),
        ("student,submitted\nada,yesterday\n", "'yesterday' is not a time"),
        (b"student\nJos\x8d\n", "roster.csv is not a table in text"),
        ("student\n" + "a" * 200_000, "is not CSV"),
    ],
)
def test_a_bad_roster_is_told_with_its_place(tmp_path, text, says):
    path = tmp_path / "roster.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=says):
        read_roster(path)


def test_names_match_whatever_the_system_made_of_them(tmp_path):
    (tmp_path / "roster.csv").write_bytes("student\tname\nJos\xe9\tx\n".encode("utf-16"))
    assert key("Jose\u0301") in read_roster(tmp_path / "roster.csv")


@linux
def test_regrading_one_exercise_keeps_the_others_and_tells_what_changed(tmp_path, grade):
    grade({"ada": "E9.1", "bob": "E9.1 E9.2"})
    assert table(tmp_path / "out" / "changes.csv") == []
    shown = grade({"ada": "E9.1 E9.2", "bob": "E9.2"}, only=["E9.2"])
    rows = gradebook(tmp_path)
    assert [(rows[name]["E9.1"], rows[name]["E9.2"], rows[name]["of"]) for name in ("ada", "bob")] == [
        ("3", "2", "5")
    ] * 2
    assert [record.exercise for record in shown["ada"].records] == ["E9.1", "E9.1", "E9.2"]
    change = {"student": "ada", "exercise": "E9.2", "before": "0", "after": "2", "why": "the checks"}
    assert table(tmp_path / "out" / "changes.csv") == [change]
    grade({}, only=["E9.3"])
    assert [rows["E9.2"] for rows in gradebook(tmp_path).values()] == ["2", "2"]


@linux
@pytest.mark.parametrize("again", [False, True])
def test_an_interrupted_regrading_loses_nothing_and_goes_on(tmp_path, grade, again):
    grade({"ada": "E9.1", "bob": "E9.1"})
    with pytest.raises(KeyboardInterrupt):
        grade({"ada": "E9.2", "bob": "interrupt"}, again=again)
    with (tmp_path / "out" / "results.jsonl").open("a") as journal:
        journal.write('{"student": "bob", "rec')
    kept = batch.read_journal(tmp_path / "out" / "results.jsonl")
    assert sum(record.earned for record in kept["bob"].records) == 3
    grade({"bob": "E9.1 E9.2"})
    assert grade.graded == ["bob"]
    said = [tuple(row.values())[:4] for row in table(tmp_path / "out" / "changes.csv")]
    assert said == [("ada", "E9.1", "3", "0"), ("ada", "E9.2", "0", "2"), ("bob", "E9.2", "0", "2")]


@linux
def test_again_grades_everyone_even_where_it_was_interrupted(grade):
    grade({"ada": "", "bob": ""})
    with pytest.raises(KeyboardInterrupt):
        grade({"ada": "interrupt"}, again=True)
    grade({"ada": ""})
    assert set(grade.graded) == {"ada", "bob"}


@linux
def test_overrides_and_comments_outlive_regrading(tmp_path, grade):
    grade({"ada": "E9.1", "bob": "E9.1 E9.2"})
    file = tmp_path / "out" / "overrides.csv"
    assert file.read_text() == "student,exercise,points,comment,status,request\n"
    text = (
        'student,exercise,points,comment\nada,E9.2,1.5,"Right idea, <b>wrong</b> sign"\nBob,e9.1,0,\nbob,E9.2,,See me\n'
    )
    write(file, text)
    for again in (False, True):
        grade({}, again=again)
        rows = gradebook(tmp_path)
        assert [(rows[name]["E9.1"], rows[name]["E9.2"], rows[name]["total"], rows[name]["of"]) for name in rows] == [
            ("3", "1.5", "4.5", "5"),
            ("0", "2", "2", "5"),
        ]
        assert rows["ada"]["notes"] == "E9.2 set to 1.5: 0 by the checks. E9.2: Right idea, <b>wrong</b> sign"
        assert file.read_text() == text
    page = (tmp_path / "out" / "feedback" / "ada.html").read_text()
    assert "Right idea, &lt;b&gt;wrong&lt;/b&gt; sign" in page
    assert "Set by your instructor" in page and "+1.5" in page
    assert json.loads((tmp_path / "out" / "gradescope" / "bob.json").read_text())["score"] == 2


@linux
def test_what_changed_between_two_gradebooks_is_listed_whoever_changed_it(tmp_path, grade):
    def changes():
        return [tuple(row.values()) for row in table(tmp_path / "out" / "changes.csv")]

    def again(overrides="", extension="", hand_ins=None, late=True):
        write(tmp_path / "out" / "overrides.csv", f"student,exercise,points,comment\n{overrides}")
        text = f"student,submitted,due\nada,2026-12-02T00:00,{extension}\nbob,2026-11-01T00:00,\ncy,,\n"
        rule = Late(moment("2026-11-30T23:59", ""), 0, 0.2) if late else None
        shown = grade(hand_ins or {}, rules=Rules(read_roster(write(tmp_path / "roster.csv", text)), rule))
        assert sorted(map(str, changes())) == sorted(
            str((c.student, c.exercise, f"{c.before:g}", f"{c.after:g}", c.why))
            for row in shown.values() for c in row.changes
        )  # fmt: skip
        return changes()

    assert again(hand_ins={"ada": "E9.1", "bob": "E9.1 E9.2"}) == []
    assert again() == []
    set_by_hand = "ada,E9.2,1,Right idea\nbob,E9.1,0,\n"
    asked = [
        ("ada", "E9.2", "0", "1", "by hand: Right idea"),
        ("ada", "points lost", "1.2", "1.6", "late days"),
        ("bob", "E9.1", "3", "0", "by hand"),
    ]
    assert again(set_by_hand) == asked
    assert again(set_by_hand) == []  # two gradebooks that say the same
    assert again(set_by_hand, "2026-12-05T00:00") == [("ada", "points lost", "1.6", "0", "late days")]
    assert again(set_by_hand, "2026-12-05T00:00", {"ada": "E9.1 E9.2"}) == []  # what was set by hand stays
    assert again("", "2026-12-05T00:00", {"cy": "E9.1"}) == [
        ("ada", "E9.2", "1", "2", "the checks"),
        ("bob", "E9.1", "0", "3", "the checks"),
    ]  # a first hand-in is no change


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("eve,E9.1,1,", "nobody called 'eve'"),
        ("ada,E9.9,1,", "no exercise 'E9.9'"),
        ("ada,E9.1,two,", "'two' is not a number"),
        ("ada,E9.1,nan,", "not between 0 and the 3"),
        ("ada,E9.1,-1,", "not between 0 and the 3"),
        ("ada,E9.1,33,", "not between 0 and the 3"),
        ("ada,E9.1,1,\nada,E9.1,2,", "line 3: ada has E9.1 twice"),
        ("ada,E9.1,1,well, done", "quote text that holds a comma"),
    ],
)
def test_a_bad_override_is_told_with_its_place(tmp_path, row, says):
    file = write(tmp_path / "overrides.csv", f"student,exercise,points,comment\n{row}\n")
    with pytest.raises(ValueError, match=says):
        read_overrides(file, ["ada"], {"E9.1": 3.0}.get, lambda _: ())


@linux
def test_late_days_cost_what_the_rule_says(tmp_path, grade):
    times = {"ada": "2026-11-30T23:58", "bob": "2026-12-02T00:00", "cy": "2027-01-30T00:00", "dee": "", "absent": ""}
    text = "student,submitted\n" + "".join(f"{name},{time}\n" for name, time in times.items())
    roster = read_roster(write(tmp_path / "roster.csv", text))
    rule = Late(moment("2026-11-30T23:59", ""), free=1, penalty=0.1)
    everything = dict.fromkeys(["ada", "bob", "cy", "dee"], "E9.1 E9.2")
    grade(everything, rules=Rules(roster, rule))
    late = {
        name: [row[part] for part in ("days late", "points lost", "final")] for name, row in gradebook(tmp_path).items()
    }
    assert late["ada"] == ["0", "0", "5"]
    assert late["bob"] == ["2", "0.5", "4.5"]
    assert late["cy"] == ["61", "5", "0"]
    assert late["dee"] == ["", "0", "5"]
    assert late["absent"] == ["", "0", "0"]
    assert "not known" in gradebook(tmp_path)["dee"]["notes"]
    page = (tmp_path / "out" / "feedback" / "bob.html").read_text()
    assert "2 days late, 1 day beyond the 1 free: 0.5 points off" in page
    assert "<b>4.5</b>" in page and "of 5 points: 5, less 0.5 for lateness" in page
    assert json.loads((tmp_path / "out" / "gradescope" / "bob.json").read_text())["score"] == 4.5


@linux
@pytest.mark.parametrize("way", ["roster", "extensions"])
@pytest.mark.parametrize("more", [0, 1, 3, 100])
def test_an_extension_is_due_later_for_one_student_and_nobody_else(tmp_path, grade, way, more):
    due, own = datetime(2026, 11, 30, 23, 59), datetime(2026, 11, 30, 23, 59) + timedelta(days=more)
    column = {"roster": f",{own.isoformat()}", "extensions": ","}[way]
    text = f"student,submitted,due\nada,2026-12-04T12:00{column}\nbob,2026-12-04T12:00,\n"
    roster = read_roster(write(tmp_path / "roster.csv", text))
    if way == "extensions":
        roster = extended(roster, write(tmp_path / "later.csv", f"Student;Due\nADA;{own.isoformat()}\n"))
    grade(dict.fromkeys(["ada", "bob"], "E9.1 E9.2"), rules=Rules(roster, Late(due, 1, 0.1)))
    rows = gradebook(tmp_path)
    late = max(0, 4 - more)
    assert (rows["ada"]["days late"], float(rows["ada"]["points lost"])) == (str(late), 0.5 * max(0, late - 1))
    assert (rows["bob"]["days late"], rows["bob"]["points lost"]) == ("4", "1.5")
    assert f"Due {own:%Y-%m-%d %H:%M} by extension." in rows["ada"]["notes"] and "extension" not in rows["bob"]["notes"]


@linux
def test_a_group_hands_in_one_file_and_each_member_has_the_marks(tmp_path, grade):
    text = "student,name,group\nada,Ada,Red\nbob,Bob,red\ncy,Cy,dee\ndee,Dee,\neve,Eve,red\nfay,Fay,blue\n"
    roster = read_roster(write(tmp_path / "roster.csv", text))
    write(tmp_path / "out" / "overrides.csv", "student,exercise,points,comment\nbob,E9.2,1,Half\n")
    shown = grade({"red": "E9.1", "dee": "E9.2", "eve": "E9.1 E9.2"}, rules=Rules(roster))
    rows = gradebook(tmp_path)
    assert sorted(shown) == sorted(rows) == ["ada", "bob", "cy", "dee", "eve", "fay"]  # the group is nobody
    totals = {student: row["total"] for student, row in rows.items()}
    assert totals == {"ada": "3", "bob": "4", "cy": "2", "dee": "2", "eve": "5", "fay": "0"}
    assert all(record.student == student for student, row in shown.items() for record in row.records)
    assert "E9.1" in (tmp_path / "out" / "feedback" / "ada.html").read_text()
    assert [student for student, row in rows.items() if NOT_SUBMITTED in row["notes"]] == ["fay"]
    assert not any(NOT_ON_ROSTER in row["notes"] for row in rows.values())
    write(tmp_path / "out" / "overrides.csv", "student,exercise,points,comment\nred,E9.2,1,Half\n")
    with pytest.raises(ValueError, match="nobody called 'red'"):
        grade({}, rules=Rules(roster))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("student,due\neve,2026-12-01T00:00\n", "line 2: nobody called 'eve'"),
        ("student,due\nada,2026-12-01T00:00\nAda,2026-12-02T00:00\n", "line 3: Ada is there twice"),
        ("student,due\nada,\n", "line 2: ada has no due time"),
        ("student,due\nada,tomorrow\n", "'tomorrow' is not a time"),
        ("student,until\nada,2026-12-01T00:00\n", "no column 'due'"),
    ],
)
def test_a_bad_extension_is_told_with_its_place(tmp_path, text, says):
    with pytest.raises(ValueError, match=says):
        extended({"ada": RosterRow("ada")}, write(tmp_path / "later.csv", text))


def test_a_rule_that_cannot_be_kept_is_told_before_grading(tmp_path):
    due = moment("2026-11-30T23:59", "")
    with pytest.raises(ValueError, match="column 'submitted'"):
        Rules(read_roster(write(tmp_path / "roster.csv", "student\nada\n")), Late(due, 0, 0.1))
    with pytest.raises(ValueError, match="time zone"):
        Rules(
            read_roster(write(tmp_path / "roster.csv", "student,submitted\nada,2026-11-30T23:59+01:00\n")),
            Late(due, 0, 0.1),
        )
    with pytest.raises(ValueError, match="between 0 and 1"):
        Late(due, 0, penalty=10)
    ada = RosterRow("ada", submitted=moment("2026-11-30T12:00", ""), due=moment("2025-12-02T23:59", ""))
    with pytest.raises(ValueError, match="ada has until 2025-12-02 23:59, which is before"):
        Rules({"ada": ada}, Late(due, 0, 0.1))
    with pytest.raises(ValueError, match="give --due"):
        Rules({"ada": ada})
    with pytest.raises(ValueError, match="time zone"):
        Rules({"ada": RosterRow("ada", submitted=due, due=moment("2026-12-02T23:59+01:00", ""))}, Late(due, 0, 0.1))


CANVAS = {
    "lovelaceada_101_9001_02_forward_noising.ipynb": "old",
    "lovelaceada_LATE_101_9005_02_forward_noising-1.ipynb": "new",
    "lovelaceada_101_9001_04_denoising_diffusion.ipynb": "four",
    "smithbob_102_9002_02_forward_noising.ipynb": "bob",
    "smithbob_103_9003_02_forward_noising.ipynb": "other bob",
    "smithbob_102_9002_report.pdf": "pdf",
    "notes.ipynb": "stray",
    "__MACOSX/._lovelaceada_101_9001_02_forward_noising.ipynb": "mac",
}
MOODLE = {
    "Ada Lovelace_12345_assignsubmission_file/02_forward_noising.ipynb": "ada",
    "Zoë da_Silva_12346_assignsubmission_file_/deep/02_forward_noising.ipynb": "zoe",
    "Bob_12347_assignsubmission_onlinetext/onlinetext.html": "text",
}


def download(folder, files, kind):
    for name, text in files.items():
        write(folder / "download" / name, text)
    if kind == "folder":
        return folder / "download"
    with zipfile.ZipFile(folder / "download.zip", "w") as archive:
        for name in files:
            archive.write(folder / "download" / name, name)
    return folder / "download.zip"


def collected(out):
    """The hand-ins by their places; beside them lies the table of the students' numbers."""
    files = {path.relative_to(out).as_posix(): path.read_text() for path in out.rglob("*") if path.is_file()}
    assert files.pop("lms.csv").startswith("\ufeffstudent,system,id,name\n")
    return files


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_a_canvas_download_becomes_folders_of_students(tmp_path, kind):
    students, said = collect(download(tmp_path, CANVAS, kind), tmp_path / "out")
    assert collected(tmp_path / "out") == {
        "lovelaceada/02_forward_noising.ipynb": "new",
        "lovelaceada/04_denoising_diffusion.ipynb": "four",
        "smithbob_102/02_forward_noising.ipynb": "bob",
        "smithbob_102/report.pdf": "pdf",
        "smithbob_103/02_forward_noising.ipynb": "other bob",
    }
    assert set(students) == set(handed_in(tmp_path / "out")) == {"lovelaceada", "smithbob_102", "smithbob_103"}
    told = "\n".join(said)
    assert "notes.ipynb is not named as Canvas or Moodle" in told
    assert "report.pdf is a PDF" in told
    assert "9001_02_forward_noising.ipynb is older than lovelaceada_LATE" in told
    assert "Two students are called smithbob" in told
    assert "mac" not in told.lower()
    assert len(said) == 5


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_a_moodle_download_becomes_folders_of_students(tmp_path, kind):
    _, said = collect(download(tmp_path, MOODLE, kind), tmp_path / "out")
    assert collected(tmp_path / "out") == {
        "Ada Lovelace/02_forward_noising.ipynb": "ada",
        "Zoë da_Silva/02_forward_noising.ipynb": "zoe",
    }
    assert said == [
        "Bob_12347_assignsubmission_onlinetext/onlinetext.html is not named as Canvas or Moodle name hand-ins."
    ]


def test_a_second_download_replaces_what_is_older_and_keeps_what_is_newer(tmp_path):
    name, out = "ada_1_2_a.ipynb", tmp_path / "out"
    file = write(tmp_path / "in" / name, "one")
    kept = out / "ada" / "a.ipynb"
    for text, time, says in (("one", 10, []), ("one", 20, []), ("two", 30, ["replaced"]), ("old", 5, ["was kept"])):
        file.write_text(text)
        os.utime(file, (time, time))
        _, said = collect(tmp_path / "in", out)
        assert [word for word in ("replaced", "was kept") if word in " ".join(said)] == says
    assert kept.read_text() == "two"


def test_nothing_leaves_the_folder_and_no_link_is_followed(tmp_path):
    secret = write(tmp_path / "secret", "secret")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../../ada_1_2_a.ipynb", "out")
        archive.writestr("/ada_1_2_b.ipynb", "root")
        archive.writestr("..\\ada_1_2_c.ipynb", "windows")
        archive.writestr(":_1_assignsubmission_file/d.ipynb", "colon")
        link = zipfile.ZipInfo("ada_1_2_e.ipynb")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, str(secret))
        archive.writestr("ada_1_2_f.ipynb", "fine")
    _, said = collect(tmp_path / "evil.zip", tmp_path / "out")
    assert collected(tmp_path / "out") == {"_/d.ipynb": "colon", "ada/f.ipynb": "fine"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.zip", "out", "secret"]
    assert [("points out" in line, "is a link" in line) for line in said] == [(True, False)] * 3 + [(False, True)]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_in_a_folder_are_reported(tmp_path):
    secret = write(tmp_path / "else" / "ada_1_2_secret.ipynb", "secret")
    write(tmp_path / "in" / "ada_1_2_a.ipynb", "fine")
    (tmp_path / "in" / "ada_1_2_b.ipynb").symlink_to(secret)
    (tmp_path / "in" / "folder").symlink_to(secret.parent, target_is_directory=True)
    _, said = collect(tmp_path / "in", tmp_path / "out")
    assert collected(tmp_path / "out") == {"ada/a.ipynb": "fine"}
    assert len(said) == 2 and all("is a link" in line for line in said)


def test_a_download_that_is_none_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no download"):
        collect(tmp_path / "nothing.zip", tmp_path / "out")
    with pytest.raises(ValueError, match="neither a folder nor a zip"):
        collect(write(tmp_path / "a.zip", "text"), tmp_path / "out")
    (tmp_path / "in").mkdir()
    with pytest.raises(ValueError, match="no notebook is named"):
        collect(tmp_path / "in", tmp_path / "out")
