"""The feedback page: the student's own results in words, nothing that was held back, nothing that runs."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch

from cs348k_diffusion.exercises import Exercise, expect
from cs348k_diffusion.grading.checks.pictures import small
from cs348k_diffusion.grading.gradebook.feedback import sentence, write_feedback
from cs348k_diffusion.grading.records import Record

EXERCISES = {
    "E9.1": Exercise("E9.1", "double", "Twice", hints=("Add <it> to itself.", "x + x"), word="toy"),
    "E9.2": Exercise("E9.2", "half", "Half", hints=("Divide.", "x / 2"), word="toy"),
    "E10.1": Exercise("E10.1", "later", "A later one", word="later"),
}
ATTACK = '</pre><script>alert(1)</script><img src=x onerror=alert(2)> & "quotes" \x1b[31m'


def record(exercise, test, status, message="", points=2, held_back=False, student="Ann"):
    earned = points if status == "passed" else 0
    return Record(student, exercise, test, points, earned, status, message, 0.1, held_back)


class Page(HTMLParser):
    """The text a reader sees, the tags, and whether they are balanced."""

    def __init__(self, source):
        super().__init__()
        self.source, self.words, self.tags, self.open = source, [], [], []
        self.feed(source)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)


@pytest.fixture
def page(tmp_path):
    def write(*records, student="Ann", **more):
        path = tmp_path / "feedback.html"
        write_feedback(records, student, path, exercises=EXERCISES, **more)
        made = Page(path.read_text(encoding="utf-8"))
        assert made.open == []
        return made

    return write


def message_of(got, want, mistakes):
    with pytest.raises(AssertionError) as error:
        expect(got, want, "Twice must be twice.", mistakes)
    return str(error.value)


def test_points_are_summed_and_shown_by_exercise(page):
    made = page(
        record("E9.1", "test_a", "passed"), record("E9.1", "test_b", "failed"), record("E9.2", "test_c", "passed")
    )
    assert "4 of 6 points" in made.text
    assert "E9.1 Twice 2 of 4" in made.text
    assert "E9.2 Half 2 of 2" in made.text
    assert "1 exercise complete, 1 to look at again." in made.text


def test_a_failure_is_told_with_property_numbers_and_likely_mistake(page):
    message = message_of(3.0, 4.0, {"adds one instead of doubling": 3.0})
    made = page(record("E9.1", "test_keeps_its_promise", "failed", message))
    assert "Keeps its promise" in made.text
    assert "Twice must be twice. got 3, expected 4" in made.text
    assert "Likely mistake: adds one instead of doubling" in made.text
    assert "look for the likely mistake named above, then run check(double) again." in made.text
    assert "This is what you get" not in made.text


@pytest.mark.parametrize(
    ("status", "message", "step"),
    [
        ("not yet", "E9.1: not yet", "its docstring gives the shapes, and check(double) answers at once"),
        ("timeout", "out of time", "find what takes so long in double"),
        ("error", "the check itself went wrong", "not your fault"),
        ("failed", "your code raised ValueError: no", "run check(double) in the notebook; the error appears there too"),
        ("failed", "Twice must be twice.", "compare your answer with the property above"),
    ],
)
def test_the_next_step_fits_what_went_wrong(page, status, message, step):
    made = page(record("E9.1", "test_a", status, message), record("E9.1", "test_b", status, message))
    assert step in made.text
    assert "Add <it> to itself." in made.text  # the first hint is offered, the second is not
    assert "x + x" not in made.text


def test_a_held_back_check_shows_only_whether_it_passed(page):
    made = page(
        record("E9.1", "test_a", "passed"),
        record("E9.1", "test_secret_trap", "failed", "the input was 17.25", held_back=True),
        record("E9.2", "test_other_trap", "passed", held_back=True),
    )
    assert made.text.count("Held-back check") == 2
    assert "the checks you can see pass. Try double on what they leave out" in made.text
    for secret in ("secret", "trap", "17.25"):
        assert secret not in made.source


def test_other_students_do_not_occur(page):
    made = page(record("E9.1", "test_a", "passed"), record("E9.2", "test_b", "failed", "Bob's message", student="Bob"))
    assert "Bob" not in made.source
    assert "2 of 2 points" in made.text


def test_what_a_student_wrote_is_shown_and_never_runs(page):
    made = page(
        record("E9.1", "test_a", "failed", f"{ATTACK}\n{ATTACK}\nThis is what you get when the mistake is: {ATTACK}"),
        record(ATTACK, ATTACK, "failed", ATTACK, student="Ann"),
        notes=[ATTACK],
        comments={"E9.1": ATTACK},
    )
    assert "<script>alert(1)</script>" in made.text
    assert {tag for tag, _ in made.tags} & {"script", "img", "iframe", "object", "link"} == set()
    assert not any(name.startswith("on") for _, attrs in made.tags for name in attrs)
    assert "\x1b" not in made.source
    assert (
        "meta",
        {
            "http-equiv": "Content-Security-Policy",
            "content": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
        },
    ) in made.tags


def test_a_name_is_escaped_too(page):
    made = page(record("E9.1", "test_a", "passed", student=ATTACK), student=ATTACK)
    assert "script" not in {tag for tag, _ in made.tags}
    assert "2 of 2 points" in made.text


def test_the_page_needs_nothing_from_elsewhere(page):
    made = page(record("E9.1", "test_a", "failed", "see https://example.org"))
    assert not re.search(r"(src|href)\s*=\s*[\"'](?!#)", made.source)
    assert "url(" not in made.source
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in made.tags
    assert "prefers-color-scheme: dark" in made.source


def test_exercises_stand_in_the_order_of_the_course(page):
    made = page(*(record(id, "test_a", "passed") for id in ("E10.1", "E9.2", "E9.1")))
    assert [int(made.text.index(title)) for title in ("Twice", "Half", "A later one")] == sorted(
        made.text.index(title) for title in ("Twice", "Half", "A later one")
    )
    assert made.text.index("Notebook 09: toy") < made.text.index("Notebook 10: later")


def test_points_that_a_person_gave_in_part_are_no_failure(page):
    made = page(replace(record("E9.1", "test_read_by_your_instructor", "failed"), earned=1.5))
    assert "◐ Read by your instructor 1.5 of 2" in made.text and "Next:" not in made.text


def test_hints_comments_and_notes_are_told(page):
    made = page(
        record("E9.1", "test_a", "failed"),
        hints_used={"E9.1": 1},
        comments={"E9.1": "Nearly."},
        notes=["Cell 3 does not parse."],
    )
    assert "You opened 1 of 2 hints." in made.text
    assert "Your instructor: Nearly." in made.text
    assert "About your hand-in Cell 3 does not parse." in made.text


def test_the_answer_is_drawn_beside_its_target_where_a_check_failed(page):
    drawn = small([(torch.zeros(3, 8, 8), torch.ones(3, 8, 8), "a <cat>")])
    failed = replace(record("E9.1", "test_a", "failed", "no"), picture=drawn)
    made = page(failed, replace(record("E9.2", "test_b", "failed", "no", held_back=True), picture=drawn))
    images = [attrs for tag, attrs in made.tags if tag == "img"]
    assert [image["alt"] for image in images] == ["yours", "target"]  # none of the held-back check
    assert all(image["src"].startswith("data:image/png;base64,") for image in images)
    assert "a <cat>" in made.text


@pytest.mark.parametrize(
    "got", [torch.zeros(5, 8, 8), torch.zeros(400, 400, 4), torch.zeros(3, 8, 8).to_sparse(), torch.zeros(0), "x", None]
)
def test_an_answer_that_cannot_be_drawn_is_no_crash(got):
    assert 'alt="yours"' not in small([(got, torch.ones(3, 8, 8), "")])


def test_a_file_that_cannot_be_read_is_told_once(page):
    why = "The file ann.ipynb is empty."
    made = page(*(record(id, "test_a", "failed", why) for id in ("E9.1", "E9.2")), notes=[why])
    assert made.text.count("empty") == 1
    assert "0 of 4 points" in made.text
    assert "Likely" not in made.text


def test_a_missing_definition_is_named(page):
    made = page(record("E9.1", "test_a", "not yet", "E9.1: not yet (no definition of double was found)"))
    assert "No definition of double in what you handed in." in made.text


def test_nothing_handed_in_is_a_page_too(page):
    made = page(notes=["The file is empty."])
    assert "0 of 0 points" in made.text
    assert "No exercise was found" in made.text


def test_a_long_message_is_cut(page):
    made = page(record("E9.1", "test_a", "failed", "x" * 100_000))
    assert len(made.source) < 20_000


@pytest.mark.parametrize(
    ("text", "shown"),
    [("twice is two", "Twice is two"), ("a step", "A step"), ("k = 0 stays", "k = 0 stays"), ("x_t is x", "x_t is x"),
     ("alpha(t) falls", "alpha(t) falls"), ("beta = 1", "beta = 1"), ("", "")],
)  # fmt: skip
def test_a_sentence_opens_with_a_capital_and_a_symbol_stays(text, shown):
    assert sentence(text) == shown


def test_the_same_records_give_the_same_page(page):
    records = [record("E9.1", "test_a", "failed", "no"), record("E9.2", "test_b", "passed")]
    assert page(*records).source == page(*records).source
