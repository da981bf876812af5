"""A regrade is requested from the feedback page, pasted into overrides.csv, and decided there."""

import csv
import html
import re
import sys

import pytest

from cs348k_diffusion.commands.marks import print_class
from cs348k_diffusion.grading.gradebook.overrides import STATUSES, read_overrides, request_line
from cs348k_diffusion.grading.gradebook.roster import read_roster
from cs348k_diffusion.grading.gradebook.rules import Rules
from tests.grading.a_class import gradebook, table, write

HEADER = "student,exercise,points,comment,status,request\n"
WHY = "At t = 0, the limit is 1; <b>see</b> the docstring"


def page_of(tmp_path, student):
    return (tmp_path / "out" / "feedback" / f"{student}.html").read_text(encoding="utf-8")


def text_of(page):
    return " ".join(html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL)).split())


def lines_on(page):
    return [html.unescape(line) for line in re.findall(r"in place of WHY.*?<pre[^>]*>(.*?)</pre>", page)]


@pytest.fixture
def asked(tmp_path, grade):
    """A class of two with one request each, pasted as it stands on the page; grades again with what follows."""
    if sys.platform != "linux":
        pytest.skip("grading a class is Linux's")
    roster = 'student,name,group\nada,"Lovelace, Ada",\nbob,Bob,red\n'
    rules = Rules(read_roster(write(tmp_path / "roster.csv", roster)))
    hand_ins = {"ada": "E9.1", "red": ""}
    grade(hand_ins, rules=rules)
    rows = [line.replace("WHY", WHY) for student in ("ada", "bob") for line in lines_on(page_of(tmp_path, student))[:1]]

    def again(*rows):
        write(tmp_path / "out" / "overrides.csv", HEADER + "".join(f"{row}\n" for row in rows))
        return grade({}, rules=rules)

    return again, rows


def test_the_page_offers_a_line_where_points_are_missing_and_nowhere_else(tmp_path, asked):
    _, rows = asked
    assert [next(csv.reader([row])) for row in rows] == [
        ["ada", "E9.2", "", "", "open", WHY],
        ["bob", "E9.1", "", "", "open", WHY],
    ]
    assert len(lines_on(page_of(tmp_path, "ada"))) == 1 and len(lines_on(page_of(tmp_path, "bob"))) == 2


def test_a_request_is_shown_to_the_student_and_the_instructor_and_moves_no_points(tmp_path, asked, capsys):
    again, rows = asked
    shown = again(*rows)
    assert table(tmp_path / "out" / "changes.csv") == []
    assert f"Regrade open. You wrote: {WHY}" in text_of(page_of(tmp_path, "ada"))
    assert lines_on(page_of(tmp_path, "ada")) == []  # one request at a time
    assert "E9.2: regrade open." in gradebook(tmp_path)["ada"]["notes"]
    the_class, projected = (
        text_of((tmp_path / "out" / f"{name}.html").read_text()) for name in ("class", "class_to_project")
    )
    assert f"E9.2 open Lovelace, Ada (ada) : {WHY}" in the_class.replace("ada):", "ada) :")
    assert "2 open, 0 granted, 0 refused" in the_class and "2 open, 0 granted, 0 refused" in projected
    assert WHY not in projected and "Lovelace" not in projected
    print_class(shown, tmp_path / "out")
    assert "2 regrade requests are open" in capsys.readouterr().out


def test_what_was_decided_and_why_is_on_the_page_and_among_the_changes(tmp_path, asked):
    again, _ = asked
    granted, refused = f'ada,E9.2,1.5,Half of it holds,granted,"{WHY}"', f'bob,E9.1,,The limit is 2,refused,"{WHY}"'
    again(granted, refused)
    (change,) = table(tmp_path / "out" / "changes.csv")
    assert (change["student"], change["after"], change["why"]) == ("ada", "1.5", "regrade granted: Half of it holds")
    ada, bob = (text_of(page_of(tmp_path, student)) for student in ("ada", "bob"))
    assert "Half of it holds" in ada and "Regrade granted." in ada
    assert "The limit is 2" in bob and "Regrade refused." in bob
    assert gradebook(tmp_path)["ada"]["total"] == "4.5" and gradebook(tmp_path)["bob"]["total"] == "0"
    assert (tmp_path / "out" / "overrides.csv").read_text() == HEADER + f"{granted}\n{refused}\n"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("ada,E9.1,,,maybe,why", "line 2, E9.1: 'maybe' is not a status; write open, granted or refused"),
        ("eve,E9.1,,,open,why", "nobody called 'eve'"),
        ("ada,E9.9,,,open,why", "no exercise 'E9.9'"),
        ("ada,E9.3,,,open,why", "line 2: E9.3 is in no notebook of ada's that was graded"),
        ("ada,E9.1,,yes,granted,why", "E9.1 is granted; write the points it has now"),
        ("ada,E9.1,,,refused,why", "E9.1 is refused; write the reason as the comment"),
        ("ada,E9.1,,,open,why, and how", "has more cells than the header .*status, request"),
        (f"{request_line('ada', 'E9.1')}\nada,E9.1,2,,,", "line 3: ada has E9.1 twice"),
    ],
)
def test_a_bad_request_is_told_with_its_place_and_nothing_is_lost(tmp_path, asked, row, says):
    again, _ = asked
    before = gradebook(tmp_path)
    with pytest.raises(ValueError, match=says):
        again(row)
    assert gradebook(tmp_path) == before
    assert (tmp_path / "out" / "overrides.csv").read_text() == f"{HEADER}{row}\n"


def test_a_file_from_before_requests_is_read_and_a_request_pasted_there_is_told(tmp_path):
    file = write(tmp_path / "overrides.csv", "student,exercise,points,comment\nada,E9.1,1,Half\n")
    (override,) = read_overrides(file, ["ada"], {"E9.1": 3.0}.get, lambda _: ())
    assert (override.points, override.status) == (1, "")
    write(file, f"student,exercise,points,comment\n{request_line('ada', 'E9.1')}\n")
    with pytest.raises(ValueError, match=r"more cells than the header \(student, exercise, points, comment\)"):
        read_overrides(file, ["ada"], {"E9.1": 3.0}.get, lambda _: ("E9.1",))


@pytest.mark.usefixtures("asked")
def test_an_exercise_graded_before_can_be_requested_and_a_request_without_a_status_is_open(tmp_path, grade):
    write(tmp_path / "out" / "overrides.csv", HEADER + "ada,e9.2,,,,why\n")
    shown = grade({}, only=["E9.3"])
    assert shown["ada"].regrades["E9.2"].status == "open"
    assert "Regrade open. You wrote: why" in text_of(page_of(tmp_path, "ada"))


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.usefixtures("asked")
def test_a_request_of_who_handed_in_nothing_is_shown_too(tmp_path, grade, status):
    write(tmp_path / "out" / "overrides.csv", f"{HEADER}eve,E9.1,1,So it is,{status},why\n")
    roster = Rules(read_roster(write(tmp_path / "roster.csv", "student\nada\neve\n")))
    grade({}, rules=roster)
    assert f"Regrade {status}. You wrote: why" in text_of(page_of(tmp_path, "eve"))
