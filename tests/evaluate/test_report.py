"""A report says what the verdict says, shows it to scale, and is safe and whole in one file."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from cs348k_diffusion.evaluate import report
from cs348k_diffusion.evaluate.claim import Claim, judge, label

CLAIM = Claim(
    "X1",
    "b reaches a lower loss than a",
    "loss",
    "less",
    {"arm": "b"},
    "tests.evaluate.test_study:noisy",
    ({"arm": "a"}, {"arm": "c"}),
    seeds=6,
    budget=10.0,
    source="Nobody 2020",
    notebook="11",
)
LOSSES = {"a": [3.0, 5.0, 4.0, 2.0, 6.0, 4.0], "b": [1.0, 2.5, 1.5, 0.5, 3.5, 1.0], "c": [1.1, 2.4, 1.4, 0.6, 3.4, 1.1]}
VERDICT = judge(CLAIM, lambda levels: LOSSES[levels["arm"]])
COSTS = {label(levels): 10.0 for levels in CLAIM.settings()}


class Tags(HTMLParser):
    """Every tag with its attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def every(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def test_a_sentence_says_which_way_the_difference_goes_and_when_seeds_agree():
    def said(**settings):
        claim = replace(CLAIM, **settings)
        return report.sentence(claim, judge(claim, lambda levels: LOSSES[levels["arm"]]))

    assert said(alternatives=({"arm": "a"},)) == (
        "Over 6 seeds, loss is 2.33 lower than with arm = a (95 % interval of the gain: 1.79 to 2.88); "
        "the claim needs a gain of more than 0. Four of five such studies would find an effect of 0.741."
    )
    worse = said(better="more", alternatives=({"arm": "a"},))
    assert "loss is 2.33 lower than with arm = a (95 % interval of the gain: -2.88 to -1.79)" in worse
    assert said(alternatives=(), threshold=4.0).startswith("Over 6 seeds, loss is 1.67 (95 % interval: ")
    same = judge(replace(CLAIM, alternatives=()), lambda levels: [1.0, 1.0, 1.0])
    assert report.sentence(replace(CLAIM, alternatives=()), same).endswith("All seeds agree exactly.")


def written(claim=CLAIM, verdict=VERDICT):
    return report.page(claim, verdict, COSTS, f"cs348k claims {claim.id} --full")


@pytest.mark.parametrize(
    "text", [" ".join(Tags(written()).text), report.markdown(CLAIM, VERDICT, COSTS, "cs348k claims X1 --full")]
)
def test_the_numbers_of_the_verdict_are_on_the_page(text):
    said = re.sub(r"\s+", " ", text)
    assert VERDICT.word == "not resolved"
    for one in VERDICT.findings:
        for value in (*one.interval, one.detectable):
            assert report.number(value) in said
    for part in (CLAIM.idea, "Nobody 2020", "cs348k claims X1 --full", "arm a: 10", "6, the same for every setting"):
        assert part in said
    assert "torch" in said


def test_the_limits_say_how_many_seeds_pass_by_themselves():
    """Against c, which decides, b is ahead on three seeds of six; Wilson's interval of that share is known."""
    said = report.limits(CLAIM, VERDICT)
    assert said.startswith("3 of 6 seeds pass by themselves; of many seeds it would be 19% to 81%")
    under = replace(CLAIM, alternatives=(), threshold=2.0)
    verdict = judge(under, lambda levels: LOSSES["b"])
    assert report.limits(under, verdict).startswith("4 of 6 seeds pass")  # less is better: 1, 1.5, 0.5 and 1


def test_the_design_says_where_settings_cost_unlike_amounts():
    equal, unequal = (dict(report.described(CLAIM, costs)) for costs in (COSTS, COSTS | {"arm b": 4.0}))
    assert "not equal" not in equal["Cost of a run"]
    assert unequal["Cost of a run"].endswith("evaluations, which is not equal (budget 10)")


def test_every_report_says_how_many_tuning_trials_each_got():
    tuned = replace(CLAIM, trials=7)
    for claim, said in (
        (CLAIM, "idea 0, alternatives 0 each: every setting is as given"),
        (tuned, "idea 7, alternatives 7 each, on seeds that judge nothing"),
    ):
        assert said in " ".join(Tags(written(claim)).text)
        assert f"- Tuning trials: {said}" in report.markdown(claim, VERDICT, COSTS, "")


TWO = replace(
    CLAIM,
    proposed={"arm": "b", "clip": "on"},
    alternatives=(),
    factors={"arm": ("a", "b"), "clip": ("off", "on")},
    interaction=True,
)


def of_parts(arm, clip, both):
    """The verdict on `TWO` where arm b, clipping, and both beyond their sum lower the loss by so much."""

    def values(levels):
        b, on = levels["arm"] == "b", levels["clip"] == "on"
        chance = 0.01 * np.array([-1, 1, -1, 1, -1, 1]) * (1 + b - on + b * on)
        return chance - arm * b - clip * on - both * b * on

    return judge(TWO, values)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            (3.0, 2.0, 1.0),
            "Responsible, averaged over the other parts: arm b and clip on. Arm and clip together gain more than the "
            "sum: a part of the gain needs them all.",
        ),
        (
            (3.0, -2.0, -1.0),
            "Responsible, averaged over the other parts: arm b. What hurts: clip on. Arm and clip together gain less "
            "than the sum: one does a part of another's work.",
        ),
        (
            (0.0, 2.0, 0.0),
            "Responsible, averaged over the other parts: clip on. Not resolved by 6 seeds: arm b. No interaction is "
            "seen: what the parts change adds up.",
        ),
        (
            (-3.0, -2.0, 0.0),
            "No part is seen to help by itself. What hurts: arm b and clip on. No interaction is seen: what the parts "
            "change adds up.",
        ),
    ],
)
def test_a_report_says_which_part_is_responsible(parts, said):
    verdict = of_parts(*parts)
    page, text = Tags(written(TWO, verdict)), report.markdown(TWO, verdict, COSTS, "")
    assert report.responsible(TWO, verdict.parts) == said
    for shown in ("".join(page.text), text):
        assert said in shown
        for one in verdict.parts:
            assert report.number(one.interval.value) in shown and one.against in shown
    assert "| arm x clip |" in text and "Which part is responsible" in "".join(page.text)


def test_a_report_on_no_parts_has_no_table_of_them():
    assert report.responsible(CLAIM, ()) == ""
    assert "responsible" not in written() and "| part |" not in report.markdown(CLAIM, VERDICT, COSTS, "")


def test_a_sentence_about_an_interaction_says_what_it_is_over():
    said = report.sentence(TWO, of_parts(3.0, 2.0, 1.0))
    assert said.startswith("Over 6 seeds, loss is 1 lower with all parts than if what each changes were added up")
    assert "the claim needs a gain of more than 0" in said


def test_the_drawing_is_to_scale():
    """Places on the x axis are one straight line of the values they show."""
    drawn = report.figure_of(CLAIM, VERDICT.findings)
    at, values = [], []
    for row, one in zip(drawn["rows"], VERDICT.findings, strict=True):
        at += [row["low"], row["high"], row["value"], row["threshold"], *(dot["x"] for dot in row["dots"])]
        values += [one.interval.low, one.interval.high, one.interval.value, one.threshold, *one.values]
    slope, start = np.polyfit(values, at, 1)
    np.testing.assert_allclose(np.array(values) * slope + start, at, atol=0.11)  # rounded to 0.1
    assert slope > 0
    assert min(at) >= 0 and max(at) <= report.WIDTH
    ticks = [float(tick["text"]) for tick in drawn["ticks"]]
    np.testing.assert_allclose(np.array(ticks) * slope + start, [tick["x"] for tick in drawn["ticks"]], atol=0.11)


def test_every_seed_is_drawn():
    circles = Tags(written()).every("circle")
    assert len(circles) == sum(len(one.values) + 1 for one in VERDICT.findings)


def test_the_page_needs_nothing_else():
    page = Tags(written())
    assert not page.every("script") and not page.every("link") and not page.every("img")
    assert not re.search(r"(?:src|href)=|url\(|https?:", written())
    assert page.every("svg")[0]["role"] == "img"
    assert "not resolved" in page.every("svg")[0]["aria-label"]
    assert page.every("meta")[1]["name"] == "viewport"


def test_text_is_escaped():
    idea = "<script>alert(1)</script> & a < b"
    page = Tags(written(replace(CLAIM, idea=idea)))
    assert not page.every("script")
    assert idea in "".join(page.text)


def test_a_verdict_unlike_the_literatures_is_marked():
    agreed = replace(CLAIM, expected="not resolved")
    for text in (written(), report.markdown(CLAIM, VERDICT, COSTS, "")):
        assert "Otherwise than the literature" in text
    for text in (written(agreed), report.markdown(agreed, VERDICT, COSTS, "")):
        assert "Otherwise than the literature" not in text
    marked, plain = (report.table_of_claims([(one, VERDICT)]) for one in (CLAIM, agreed))
    assert "| **not resolved** |" in marked and "| not resolved |" in plain


def test_a_table_keeps_its_columns():
    lines = report.table_of_claims([(replace(CLAIM, idea="|x| is\nsmall"), VERDICT)]).splitlines()
    assert len(lines) == 3
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {8}


@pytest.mark.parametrize(("low", "high"), [(-0.3, 6.4), (0.001, 0.0042), (-3e-5, 1e-5), (100, 9000), (2.0, 2.0)])
def test_ticks_are_few_and_inside(low, high):
    ticks = report._ticks(low, high)
    assert 1 <= len(ticks) <= 6
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)


def test_both_files_are_written(tmp_path):
    path = report.write(tmp_path / "out", CLAIM, VERDICT, COSTS, "cs348k claims X1 --full")
    assert path.read_text(encoding="utf-8") == written()
    assert (tmp_path / "out" / "X1.md").read_text(encoding="utf-8").startswith("# X1: b reaches")
