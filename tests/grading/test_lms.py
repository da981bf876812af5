"""Downloads as other systems make them: whatever the names, a student's work is found, and what is left is told."""

import json
import os
import unicodedata
import zipfile

import pytest

from cs348k_diffusion.grading.gradebook.roster import read_roster
from cs348k_diffusion.grading.submissions import notebook as submission
from cs348k_diffusion.grading.submissions.files import Unreadable
from cs348k_diffusion.grading.submissions.lms import collect, safe_name
from cs348k_diffusion.grading.submissions.source import handed_in
from cs348k_diffusion.grading.tables import read_table, write_table


def notebook(*texts):
    return json.dumps({"cells": [{"cell_type": "code", "source": text} for text in texts]})


def zipped(path, files, utf8=True):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            info = zipfile.ZipInfo(name, (2026, 11, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, text)
    if not utf8:  # the flag that says so taken away, as many systems write it
        data = bytearray(path.read_bytes())
        for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            start = data.find(mark)
            while start >= 0:
                data[start + at + 1] &= ~0x08
                start = data.find(mark, start + 4)
        path.write_bytes(data)
    return path


def test_numbered_files_that_define_other_things_are_all_kept(tmp_path):
    names = {f"ada_1_{i}_work-{i}.ipynb": notebook(f"def f{i}(): pass") for i in (1, 2, 3)}
    found, said = collect(zipped(tmp_path / "d.zip", names), tmp_path / "out")
    assert sorted(found["ada"]) == ["work-2.ipynb", "work-3.ipynb", "work.ipynb"]
    assert said == []


def test_a_resubmission_replaces_and_is_told(tmp_path):
    names = {"ada_1_5_work.ipynb": notebook("def f(): 1"), "ada_1_6_work-1.ipynb": notebook("def f(): 2")}
    found, said = collect(zipped(tmp_path / "d.zip", names), tmp_path / "out")
    assert "def f(): 2" in (tmp_path / "out" / "ada" / "work.ipynb").read_text()
    assert found == {"ada": ["work.ipynb"]}
    assert len(said) == 1
    assert "older" in said[0]


def test_the_same_name_in_two_folders_is_two_files(tmp_path):
    home = "Ada Lovelace_12_assignsubmission_file"
    names = {f"{home}/{each}/work.ipynb": notebook("def f(): pass") for each in ("a", "b")}
    found, _ = collect(zipped(tmp_path / "d.zip", names), tmp_path / "out")
    assert len(set(found["Ada Lovelace"])) == 2


def test_a_flat_moodle_download_capitals_and_unmarked_utf8(tmp_path):
    names = {"Zoë Łem_12_assignsubmission_file_work.IPYNB": notebook("def f(): pass")}
    found, _ = collect(zipped(tmp_path / "d.zip", names, utf8=False), tmp_path / "out")
    assert found == {"Zoë Łem": ["work.ipynb"]}


def test_a_zip_that_would_grow_without_bounds_is_told(tmp_path):
    bomb = notebook("x = 1") + " " * (60 << 20)
    files = {"ada_1_2_big.ipynb": bomb, "bob_2_3_ok.ipynb": notebook("def f(): pass")}
    found, said = collect(zipped(tmp_path / "d.zip", files), tmp_path / "out")
    assert set(found) == {"bob"}
    assert "would become 60 MB" in said[0]


def test_names_are_cut_by_bytes_and_composed():
    assert len(safe_name("日" * 83).encode()) <= 100
    assert safe_name(unicodedata.normalize("NFD", "Zoë")) == "Zoë"


def test_one_student_in_two_spellings_is_one(tmp_path):
    for name in ("Zoë", unicodedata.normalize("NFD", "zoë")):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{len(name)}.ipynb").write_text(notebook("x = 1"))
    (student,) = handed_in(tmp_path, ["toys"]).values()
    assert len(student) == 2


@pytest.mark.parametrize("copy", ["-Copy1", " (1)", " copy", "_old"])
def test_a_copy_beside_its_original_is_the_same_student(tmp_path, copy):
    for name in ("ada", f"ada{copy}", f"ada_02_toys{copy}", "bob-1"):
        (tmp_path / f"{name}.ipynb").write_text(notebook("x = 1"))
    found = handed_in(tmp_path, ["toys"])
    assert {student: len(paths) for student, paths in found.items()} == {"ada": 3, "bob-1": 1}


def test_marks_and_hand_outs_are_not_students(tmp_path):
    for name in ("marks", "handouts", "graded", "ada"):
        (tmp_path / name).mkdir()
    (tmp_path / "graded" / "results.jsonl").write_text("")
    (tmp_path / "._ada.ipynb").write_text("x")
    assert set(handed_in(tmp_path, ["toys"])) == {"ada"}


@pytest.mark.parametrize(
    "data",
    [
        b"student;name\r\nada;Ada\r\n",
        b"sep=;\r\nstudent;name\r\nada;Ada\r\n",
        b"Student,Name\rada,Ada\r\r",
        "student\tname\nada\tAda\n".encode("utf-16"),
        "student\tname\nada\tAda\n".encode("utf-16-le"),
        b"\xef\xbb\xbfSTUDENT,Name\n    Points Possible,\nada,Ada\n,\n",
        "student,name\nada,Ad\xe1\n".encode("cp1252"),
    ],
)
def test_a_roster_from_any_spreadsheet_is_read(tmp_path, data):
    path = tmp_path / "roster.csv"
    path.write_bytes(data)
    (one,) = read_roster(path).values()
    assert one.student == "ada"
    assert one.name[:2] == "Ad"


def test_a_table_that_was_written_is_read_and_holds_no_formula(tmp_path):
    path = tmp_path / "t.csv"
    write_table(path, ["student", "x"], [("=1+1", "a\nb"), ("\ud800", 3)])
    rows = [row for _, row in read_table(path, ["student"])]
    assert rows[0] == {"student": "'=1+1", "x": "a b"}
    assert not os.path.exists(f"{path}.part")


WRONG_FILES = {
    "ada.zip": (b"PK\x03\x04", "is a zip archive; hand in the .ipynb file inside it"),
    "ada_02_toys.tar.gz": (b"\x1f\x8b", "is an archive; hand in the .ipynb file inside it"),
    "ada.pdf": (b"%PDF-1.7", "is a PDF"),
    "ada_02_toys.PY": (b"def double(x):\n    return 2 * x\n", "is a Python file; hand in the .ipynb file itself"),
    "ada.docx": (b"PK\x03\x04", "is a document"),
    "ada.html": (b"<!DOCTYPE html>", "is a web page"),
    "ada.jpeg": (b"\xff\xd8\xff", "is a picture"),
    "ada.ipynb.zip": (b"PK\x03\x04", "is a zip archive"),
}


@pytest.mark.parametrize("name", WRONG_FILES)
@pytest.mark.parametrize("form", ["grade", "folder", "canvas", "moodle"])
def test_what_is_handed_in_in_a_notebooks_place_is_told_to_student_and_instructor(tmp_path, name, form):
    data, words = WRONG_FILES[name]
    said, inbox = [words], tmp_path / "in"
    (inbox / "ada").mkdir(parents=True)
    if form in ("canvas", "moodle"):
        place = {"canvas": f"ada_1_2_{name}", "moodle": f"ada_1_assignsubmission_file/{name}"}[form]
        _, said = collect(zipped(tmp_path / "d.zip", {place: data}), inbox)
    else:
        (inbox / ("ada" if form == "folder" else "") / name).write_bytes(data)
    ((student, paths),) = handed_in(inbox, ["toys"]).items()
    assert student == "ada"
    assert ".ipynb." in name or words in " ".join(said)
    with pytest.raises(Unreadable, match=words):
        submission.read(paths)


def test_an_archive_beside_a_notebook_is_noted_and_other_files_are_not(tmp_path):
    (tmp_path / "ada").mkdir()
    for name in ("02.ipynb", "helper.py", "figure.png", "03.zip"):
        (tmp_path / "ada" / name).write_text(notebook("def f(): pass"))
    (paths,) = handed_in(tmp_path, ["toys"]).values()
    assert [path.name for path in paths] == ["02.ipynb", "03.zip"]
    (tmp_path / "ada" / "03.zip").write_bytes(b"PK\x03\x04")
    assert submission.read(paths).notes == ["The file 03.zip is a zip archive; hand in the .ipynb file inside it."]
    assert handed_in(tmp_path / "ada", ["toys"]).keys() >= {"02", "03"}


def test_tables_and_notes_of_the_instructor_are_not_students(tmp_path):
    for name in ("roster.csv", "README.md", "notes.txt", "class.xlsx"):
        (tmp_path / name).write_text("x")
    assert handed_in(tmp_path, ["toys"]) == {}
