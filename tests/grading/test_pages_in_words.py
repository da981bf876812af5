"""What is countable in the words of pages: sums, headings with content, terms that are explained, plurals."""

import itertools
import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from scipy import stats

from cs348k_diffusion.grading.gradebook import item_analysis
from cs348k_diffusion.grading.gradebook.class_page import UNCOUNTED, render
from cs348k_diffusion.grading.gradebook.feedback import group
from cs348k_diffusion.grading.gradebook.feedback import render as feedback
from cs348k_diffusion.grading.gradebook.overrides import TEST, Override
from cs348k_diffusion.grading.gradebook.reports import reasons
from cs348k_diffusion.grading.gradebook.rules import NOT_SUBMITTED, StudentRow
from cs348k_diffusion.grading.pages import page
from cs348k_diffusion.grading.records import WAITING, Record
from cs348k_diffusion.grading.submissions.side_by_side import rows as side_by_side
from cs348k_diffusion.grading.submissions.similarity import Pair
from tests.grading.test_class_page import EXERCISES, row

BROKEN = "The file work.ipynb is not a valid notebook file (its JSON is broken)."
NOUNS = "student|point|day|exercise|answer|pair|hint|mark|request"
BAD_PLURAL = re.compile(rf"(?<![\d.])(?:1 (?:{NOUNS})s|(?!1 )\d+(?:\.\d+)? (?:{NOUNS}))\b")


class Blocks(HTMLParser):
    """Headings, paragraphs, list items and cells of a page, in order: (tag, text); styles are left out."""

    KEPT = ("h1", "h2", "h3", "p", "li", "th", "td")

    def __init__(self, html):
        super().__init__()
        self.blocks, self.inside = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag in self.KEPT:
            self.blocks.append([tag, ""])
        self.inside += [tag] if tag in ("style", "title") else []

    def handle_endtag(self, tag):
        self.inside = self.inside[:-1] if tag in ("style", "title") else self.inside

    def handle_data(self, data):
        if self.blocks and not self.inside:
            self.blocks[-1][1] += data


def blocks(html):
    return [(tag, " ".join(text.split())) for tag, text in Blocks(html).blocks]


def waiting_row(student):
    each = row(student, 2, 1, "blank")
    each.records[2] = Record(student, "E1.3", "test_a", 2, 0, WAITING, "Your answer waits to be read.")
    return each


def a_class(size):
    """Right, wrong, blank and unread answers, one broken file, one blank notebook, one who is absent, two requests."""
    outcomes = np.random.default_rng(size).choice(np.array([0, 1, 2, "blank"], object), (size, 3))
    rows = [row(f"s{k:02}", *mine, name=f"Name {k}") for k, mine in enumerate(outcomes)] + [waiting_row("waiting")]
    broken = [Record("broken", id, "test_a", 2, 0, "failed", BROKEN) for id in EXERCISES]
    absent = [Record("absent", id, "test_a", 2, 0, "failed", NOT_SUBMITTED) for id in EXERCISES]
    rows += [StudentRow("broken", broken, [BROKEN]), StudentRow("absent", absent, [NOT_SUBMITTED])]
    rows += [row("empty", "blank", "blank", "blank")]
    rows[0].regrades["E1.1"] = Override("s00", "E1.1", None, "", "open", "please look")
    rows[0].days_left, rows[-4].days_left = 1.0, -2.5
    return {each.student: each for each in rows}


def counted_rows(shown):
    return [each for each in shown.values() if each.student not in ("broken", "absent", "empty")]


def every_page():
    for size in (1, 2, 30):
        shown = a_class(size)
        for named in (True, False):
            yield f"class of {size}, named: {named}", render(shown, EXERCISES, named)
    yield "a class of nobody", render({}, EXERCISES, True)
    yield "all right", render({"a": row("a", 2, 2, 2)}, EXERCISES, True)
    for student, each in a_class(2).items():
        results = group(each.records, EXERCISES)
        yield student, feedback(results, student, each.notes, {}, {}, each.regrades, lost=1.0)
    for count in (1, 2):
        pair = Pair("ada", "bob", {"E1.1": 1.0}, 6, {"E1.1": ("a = 1", "b = 1")})
        answers = [("E1.1", 1.0, side_by_side("a = 1", "b = 1"))]
        yield f"{count} alike", page("similar.html", shown=[{"pair": pair, "answers": answers}], count=count)


PAGES = dict(every_page())


@pytest.mark.parametrize("name", PAGES)
def test_no_heading_is_without_content(name):
    found = [*blocks(PAGES[name]), ("h1", "the end")]
    if name.endswith("alike"):
        found = [each for each in found if each[0] != "h3"]  # its content is in no paragraph
    for (tag, text), (after, following) in itertools.pairwise(found):
        assert text or tag == "td", (tag, following)
        assert tag not in ("h2", "h3") or after not in ("h1", "h2") or after > tag or name.endswith("alike"), text


@pytest.mark.parametrize("name", PAGES)
def test_plurals_are_right(name):
    for _, text in blocks(PAGES[name]):
        assert not BAD_PLURAL.search(text), text


@pytest.mark.parametrize("name", [name for name in PAGES if "class" in name or "right" in name])
def test_nothing_is_said_twice_and_no_term_stays_unexplained(name):
    found = blocks(PAGES[name])
    sentences = Counter(text for tag, text in found if tag == "p")
    assert [text for text, times in sentences.items() if times > 1] == []
    text = " ".join(text for tag, text in found if tag in ("p", "li"))
    heads = [term for tag, term in found if tag == "th" and not term.startswith("E")]
    assert all(re.search(rf"\b{term}\b", text, re.IGNORECASE) for term in heads)
    assert "in the median" not in text and "You answered" not in text
    assert "_" not in text and "difficulty" not in text.lower()


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("size", [1, 2, 30])
def test_counts_add_up_to_the_students_that_the_page_says_it_counts(size, named):
    shown = a_class(size)
    rows = counted_rows(shown)
    found = blocks(render(shown, EXERCISES, named))
    text = " ".join(text for _, text in found)
    assert f"{len(rows)} of {len(shown)} students" in text
    for says in UNCOUNTED.values():
        assert f"1 student {says}" in text
    line = [texts for tag, texts in found if tag == "td"]
    width = 7 if named else 6
    for start in range(0, len(line), width):
        assert sum(map(int, line[start : start + 5])) == len(rows)
    assert {int(of) for of in re.findall(r": \d+ of (\d+)", text)} <= {len(rows)}
    assert "1 to E1.3" in text
    for name in ("Name 0", "absent", "broken", "empty"):
        assert (name in text) == named
    assert ("please look" in text) == named and "1 open, 0 granted, 0 refused" in text


def test_blanks_are_listed_by_name_where_names_are():
    shown = a_class(30)
    for line in item_analysis.lines(counted_rows(shown), EXERCISES):
        assert len(line.blank) == line.counts["blank"]
        says = f"blank: {len(line.blank)} of {line.of} {', '.join(line.blank)}"
        assert (says in [text for _, text in blocks(render(shown, EXERCISES, True))]) == bool(line.blank)


def test_unread_and_late_ones_are_named_where_names_are_and_what_is_to_do_is_linked():
    shown = a_class(30)
    page, projected = (render(shown, EXERCISES, named) for named in (True, False))
    found = [text for _, text in blocks(page)]
    assert "not read yet: 1 of 31 waiting" in found
    assert any(text.endswith("Late: waiting.") for text in found)
    assert any(text.startswith("To do: decide 1 request for a regrade; read E1.3") for text in found)
    assert "To do" not in projected and "Late:" not in projected
    for each in (page, projected):
        assert set(re.findall(r'href="#([^"]+)"', each)) <= set(re.findall(r'id="([^"]+)"', each))
    scores = [sum(record.earned for record in row.records) for row in counted_rows(shown)]
    says = f"{np.mean(scores):.1f} of 6 on average (median {np.median(scores):g}, from {min(scores):g} to"
    assert any(text.startswith(f"Points so far: {says} {max(scores):g}).") for text in found)


def test_mistakes_with_a_name_come_first():
    bare = [Record(f"b{k}", "E1.1", "test_a", 2, 0, "failed", "The values differ.") for k in range(3)]
    rows = [row("a", 0, 2, 2), *(StudentRow(each.student, [each], []) for each in bare)]
    names = [name for name, _ in item_analysis.lines(rows, EXERCISES)[0].mistakes]
    assert names == ["off by one", 'another mistake, in the check "a"']


def test_every_answer_without_all_points_is_blank_unread_or_among_the_mistakes():
    granted = row("granted", "blank", 2, 2)
    granted.records.append(Record("granted", "E1.1", TEST, 0, 1.5, "passed", "0 by the checks"))
    for line in item_analysis.lines([*counted_rows(a_class(30)), granted], EXERCISES):
        named = {student for _, students in line.mistakes for student in students}
        assert len(named) == line.counts["part"] + line.counts["none"]


def test_an_unreadable_notebook_beside_a_good_one_is_blank_and_no_mistake():
    each = row("a", 2, 0, 2)
    each.records[1].message = BROKEN
    each.notes.append(BROKEN)
    _, line, _ = item_analysis.lines([each], EXERCISES)
    assert dict(line.counts) == {"blank": 1} and line.mistakes == [] and line.facility == 0


def test_an_unread_answer_is_not_shown_as_0_points():
    each = waiting_row("waiting")
    found = [text for _, text in blocks(feedback(group(each.records, EXERCISES), "waiting", [], {}, {}))]
    assert any("of 6 points, 2 of them not read yet" in text for text in found)
    assert "0 of 2" not in " ".join(found)


def test_the_interval_of_the_discrimination_is_fishers():
    earned = np.random.default_rng(0).integers(0, 5, (28, 4)).astype(float)
    index = item_analysis.correlation(earned, 0)
    theirs: Any = stats.pearsonr(earned[:, 0], earned[:, 1:].sum(1))
    assert index == pytest.approx((theirs.statistic, *theirs.confidence_interval(0.95), 28))


def test_one_wrong_answer_of_eleven_raises_no_warning_and_few_classes_raise_a_false_one():
    earned = np.repeat(np.arange(11.0)[:, None], 3, 1)
    earned[:, 0] = 2
    earned[10, 0] = 0  # by the best of all in everything else
    assert item_analysis.correlation(earned, 0) is None
    rng, warned = np.random.default_rng(0), 0
    for _ in range(1000):  # the exercise is as it should be: above EXPECTED, whatever the share that has it right
        rest = rng.standard_normal((30, 1))
        skill = 0.4 * rest + np.sqrt(1 - 0.4**2) * rng.standard_normal((30, 1))
        index = item_analysis.correlation(np.hstack([skill > rng.uniform(-1.5, 1.5), rest]).astype(float), 0)
        warned += index is not None and index.high < item_analysis.EXPECTED
    assert warned <= 25  # of 1,000
    upside_down = np.hstack([rest < 0, rest]).astype(float)
    index = item_analysis.correlation(upside_down, 0)
    assert index is not None and index.high < 0


def test_a_reason_is_given_once_for_all_its_exercises():
    records = [Record("a", id, "test_a", 2, 0, "failed", BROKEN) for id in EXERCISES]
    assert reasons(StudentRow("a", records, [BROKEN]), EXERCISES) == f"E1.1, E1.2, E1.3: {BROKEN}"
