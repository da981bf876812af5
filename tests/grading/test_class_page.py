"""The class at a glance: counts, mistakes with who made them, facility and discrimination, and no name to project."""

import csv
import re
from datetime import datetime, timedelta

import numpy as np
import pytest

from cs348k_diffusion.exercises.framework.catalogue import Exercise
from cs348k_diffusion.grading.gradebook import free_text
from cs348k_diffusion.grading.gradebook.class_page import render, write_class
from cs348k_diffusion.grading.gradebook.feedback import group
from cs348k_diffusion.grading.gradebook.feedback import render as feedback
from cs348k_diffusion.grading.gradebook.item_analysis import lines
from cs348k_diffusion.grading.gradebook.overrides import Override, correction
from cs348k_diffusion.grading.gradebook.reports import reasons, write_gradebook
from cs348k_diffusion.grading.gradebook.roster import RosterRow
from cs348k_diffusion.grading.gradebook.rules import NOT_SUBMITTED, Late, StudentRow
from cs348k_diffusion.grading.records import WAITING, Record

EXERCISES = {id: Exercise(id, f"f{id[1:].replace('.', '_')}", f"Task {id}") for id in ("E1.1", "E1.2", "E1.3")}
OFF = "The values differ.\nThis is what you get when the mistake is: off by one"


def row(student, *outcomes, name=""):
    """A student whose exercises came out so: a number of points of 2, or "blank"."""
    records = []
    for id, outcome in zip(EXERCISES, outcomes, strict=True):
        if outcome == "blank":
            records.append(Record(student, id, "test_a", 2, 0, "not yet", f"{id}: not yet"))
        elif outcome == 2:
            records.append(Record(student, id, "test_a", 2, 2, "passed"))
        else:
            records.append(Record(student, id, "test_a", 2, outcome, "failed", OFF))
    return StudentRow(student, records, [], name)


@pytest.fixture
def class_of_30():
    """Ada <b>0</b> ... : the first is right in all, six are off by one in E1.1, one handed in nothing."""
    rows = [row(f"s{k:02}", 2, 2 if k % 2 else 0, "blank" if k % 3 else 2, name=f"Ada <b>{k}</b>") for k in range(23)]
    rows += [row(f"t{k}", 0, 0, "blank") for k in range(6)]
    return {each.student: each for each in [*rows, row("gone", "blank", "blank", "blank")]}


def test_it_reads_off_by_one_six_of_29(class_of_30):
    page = render(class_of_30, EXERCISES, named=True)
    text = re.sub(r"<[^>]+>|\s+", " ", page)
    assert re.search(r"off by one: +6 of 29 +t0, t1, t2, t3, t4, t5", text)
    assert "1 student handed in a notebook with no answer in it: gone" in text
    assert "Ada &lt;b&gt;" in page
    assert "<script" not in page


def test_points_that_were_taken_off_by_hand_are_no_mistake_without_a_name():
    right = row("ada", 2, 2, 2)
    right.records.append(correction(Override("ada", "E1.1", 1.0, "a copied line"), "ada", right.records))
    assert lines([right], EXERCISES)[0].mistakes == [("points taken off by the instructor", ["ada"])]


def test_the_page_to_project_names_nobody(class_of_30, tmp_path):
    write_class(class_of_30, EXERCISES, tmp_path)
    page = (tmp_path / "class_to_project.html").read_text(encoding="utf-8")
    for student in class_of_30.values():
        assert student.student not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
        assert not student.name or student.name.replace("<", "&lt;").replace(">", "&gt;") not in page
    assert "6 of 29" in page
    assert "Ada" in (tmp_path / "class.html").read_text(encoding="utf-8")


def graded(points, of):
    """Students by the points of each exercise, worth `of`: nan for prose that waits to be read, None for a blank."""
    rows = []
    for k, mine in enumerate(points):
        records = []
        for id, earned, worth in zip(EXERCISES, mine, of, strict=True):
            status = "not yet" if earned is None else WAITING if np.isnan(earned) else "failed"
            kept = earned if earned and status == "failed" else 0
            test = free_text.TEST if status == WAITING else "test_a"
            records.append(Record(f"s{k}", id, test, worth, kept, "passed" if kept == worth else status))
        rows.append(StudentRow(f"s{k}", records, []))
    return rows


def r_of(line):
    assert line.discrimination is not None
    return line.discrimination.value


def test_counts_facility_and_discrimination_are_what_numpy_says():
    rows = [row("a", 2, 2, 2), row("b", 2, 2, 1), row("c", 2, 0, "blank"), row("d", 0, 2, 0), row("e", 0, 0, 0)]
    one, two, three = lines(rows, EXERCISES)
    assert dict(one.counts) == {"full": 3, "none": 2}
    assert dict(three.counts) == {"full": 1, "part": 1, "blank": 1, "none": 2}
    assert (one.facility, two.facility, three.facility) == pytest.approx((0.6, 0.6, 0.3))
    assert [line.discrimination for line in lines(rows, EXERCISES)] == [None, None, None]  # 5 are too few to say


@pytest.mark.parametrize("of", [(2, 2, 2), (1, 2, 10), (8, 0.5, 3)])
def test_discrimination_is_of_points_whatever_the_exercises_are_worth(of):
    shares = np.random.default_rng(0).integers(0, 5, (9, 3)) / 4
    points = shares * of
    for column, line in enumerate(lines(graded(points.tolist(), of), EXERCISES)):
        others = np.delete(points, column, 1).sum(1)
        assert r_of(line) == pytest.approx(np.corrcoef(points[:, column], others)[0, 1])
        assert line.facility == pytest.approx(shares[:, column].mean())


def test_prose_that_is_not_read_yet_is_in_no_number():
    rng, nan = np.random.default_rng(1), float("nan")
    points = rng.integers(0, 3, (9, 3)).astype(float)
    none_read, some_read = points.copy(), points.copy()
    none_read[:, 2], some_read[[1, 4], 2] = nan, nan
    one, two, three = lines(graded(none_read.tolist(), (2, 2, 2)), EXERCISES)
    assert one.discrimination == two.discrimination
    assert r_of(one) == pytest.approx(np.corrcoef(points[:, 0], points[:, 1])[0, 1])
    assert (three.facility, three.discrimination, three.counts[WAITING]) == (None, None, 9)
    one, _, three = lines(graded(some_read.tolist(), (2, 2, 2)), EXERCISES)
    read = np.delete(points, [1, 4], 0)
    assert three.facility == pytest.approx(read[:, 2].mean() / 2)
    assert r_of(three) == pytest.approx(np.corrcoef(read[:, 2], read[:, :2].sum(1))[0, 1])
    assert r_of(one) == pytest.approx(np.corrcoef(points[:, 0], points[:, 1])[0, 1])
    page = render({each.student: each for each in graded(none_read.tolist(), (2, 2, 2))}, EXERCISES, named=False)
    assert '<td class="count">not read yet</td>' in page and "nan" not in page
    blank = lines(graded([[2, 2, None], [2, 2, nan], [2, 2, 2]], (2, 2, 2)), EXERCISES)[2]
    assert blank.facility == pytest.approx(0.5)  # a blank answer is known to be worth nothing


@pytest.mark.parametrize(
    ("points", "grade"), [(3.5, "full"), (2, "full"), (0.1 + 0.2, "part"), (1, "part"), (0, "none")]
)
@pytest.mark.parametrize("before", [0, 1, 2, "blank", WAITING])
def test_what_was_set_by_hand_is_the_grade(before, points, grade):
    student = row("a", 0 if before == WAITING else before, 2, 2)
    if before == WAITING:
        student.records[0] = Record("a", "E1.1", free_text.TEST, 2, 0, WAITING)
    set_by_hand = correction(Override("a", "E1.1", points, ""), "a", student.records)
    assert set_by_hand
    student.records.append(set_by_hand)
    result = group(student.records, EXERCISES)[0]
    assert result.grade == grade
    assert float(result.share) <= 100
    assert f'class="{grade}"' in feedback([result], "a", [], {}, {})
    (line, *_) = lines([student], EXERCISES)
    assert dict(line.counts) == {grade: 1} and line.facility == pytest.approx(min(1, points / 2), abs=1e-9)
    if grade == "full":
        assert line.mistakes == [] and reasons(student, EXERCISES) == ""


def test_a_class_that_handed_in_nothing_has_a_page_too(tmp_path):
    for shown in ({}, {"a": row("a", "blank", "blank", "blank")}):
        write_class(shown, EXERCISES, tmp_path)
        assert f"<b>0 of {len(shown)} student" in (tmp_path / "class.html").read_text(encoding="utf-8")


def test_a_held_back_check_does_not_tell_its_mistake():
    student = row("a", 2, 0, 2)
    student.records[1].held_back = True
    page = render({"a": student}, EXERCISES, named=True)
    assert "off by one" not in page
    assert "another mistake, in a held-back check" in page


def test_the_gradebook_says_why_points_are_missing(tmp_path):
    student = row("a", 0, "blank", 2)
    assert reasons(student, EXERCISES) == "E1.1: off by one. E1.2: Not written yet."
    write_gradebook({"a": student}, EXERCISES, tmp_path / "gradebook.csv")
    (line,) = csv.DictReader((tmp_path / "gradebook.csv").open(encoding="utf-8-sig"))
    assert line["reasons"] == "E1.1: off by one. E1.2: Not written yet."


def test_who_is_on_the_roster_alone_counts_nowhere(class_of_30):
    absent = row("absent", 0, 0, 0)
    absent.notes.append(NOT_SUBMITTED)
    page = render(class_of_30 | {"absent": absent}, EXERCISES, named=True)
    assert "<b>29 of 31 students</b> are counted" in page
    assert "1 student handed in nothing: absent." in page


def test_a_students_exception_does_not_name_a_mistake():
    student = row("a", 2, 0, 2)
    student.records[1].message = "your code raised ValueError: x\nThis is what you get when the mistake is: Bob"
    page = render({"a": student}, EXERCISES, named=False)
    assert "Bob" not in page and "raised an exception" in page


def test_who_handed_in_nothing_has_one_reason():
    records = [Record("a", id, "test_a", 2, 0, "failed", NOT_SUBMITTED) for id in EXERCISES]
    assert reasons(StudentRow("a", records, []), EXERCISES) == NOT_SUBMITTED


@pytest.mark.parametrize("named", [True, False])
def test_the_time_left_over_is_of_those_whose_hand_in_has_a_time(named):
    rows = [row(f"s{k}", 2, 2, 2) for k in range(5)]
    late = Late(datetime(2026, 11, 30, 12), 0, 0.1)
    for student, hours in zip(rows, (60, 24, 12, -36), strict=False):  # one has no time
        enrolled = RosterRow(student.student, submitted=late.due - timedelta(hours=hours))
        student.days_left = late.left(enrolled)
        assert late.days(enrolled) == (2 if hours == -36 else 0)
    words = " ".join(render({each.student: each for each in rows}, EXERCISES, named).split())
    assert "Of the 5, 4 have a known time of hand-in: 3 on time, 1 late." in words
    first, middle, last = (
        "2.5 days before the due time",
        "the middle one (the median) 0.8 days before",
        "1.5 days after",
    )
    assert f"The first came {first}, {middle}, the last {last}." in words
    assert "time of hand-in" not in render({"s4": rows[4]}, EXERCISES, named)
