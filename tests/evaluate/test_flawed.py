"""The three reports that notebook 11 opens with: the idea does nothing, the numbers are measured, one flaw each."""

import pytest

from cs348k_diffusion.evaluate.flawed import features_fd, polished, three_reports

REPORTS = three_reports()
HIDDEN = {"minimum": "shown", "cost": "evaluations", "samples": "samples"}  # what the flaw is in


def test_polish_does_nothing():
    """At the same number of steps a polished run ends at the same distance, bit by bit, at the same cost."""
    for seed, steps in ((0, 16), (3, 16), (5, 32)):
        assert polished(seed, steps, polish=True) == polished(seed, steps, polish=False)


@pytest.mark.parametrize("name", REPORTS)
def test_arms_differ_in_the_planted_flaw_alone(name):
    report, flaw = REPORTS[name].report, REPORTS[name].flaw
    ours, plain = report["arms"]["ours"], report["arms"]["plain"]
    differ = {key for key in ("evaluations", "samples", "trials") if ours[key] != plain[key]}
    differ |= {"shown" for arm in (ours, plain) if abs(arm["shown"] - sum(arm["runs"]) / len(arm["runs"])) > 1e-9}
    assert differ == {HIDDEN[flaw]}
    assert not report["star"]
    assert report["chosen_on"] != report["judged_on"]


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_says_what_its_runs_say_and_is_convincing(name):
    arms = REPORTS[name].report["arms"]
    assert arms["ours"]["shown"] < 0.8 * arms["plain"]["shown"]
    for arm in arms.values():
        assert f"{arm['shown']:.3f}" in REPORTS[name].text


def test_evaluations_are_counted_and_runs_can_be_had_again():
    for name, steps, polish in (("ours", 32, True), ("plain", 16, False)):
        arm = REPORTS["B"].report["arms"][name]
        assert arm["evaluations"] == steps
        assert arm["runs"][2] == polished(2, steps, polish)[0]
    assert REPORTS["B"].text.count("8 of 8") == 1


def test_without_the_flaw_no_gain_is_left():
    """A, three against three: within the luck of three runs. C, at one N: two perfect samplers."""
    a = REPORTS["A"].report["arms"]
    assert abs(sum(a["ours"]["runs"]) - sum(a["plain"]["runs"])) / 3 < 0.06
    one, other = (sum(features_fd(seed + k, 500) for seed in range(70, 130, 10)) / 6 for k in (1, 2))
    assert abs(one - other) < 0.2 * one
