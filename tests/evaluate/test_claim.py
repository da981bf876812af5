"""Verdicts against known truths: planted components, stated rates, and power as computed."""

import numpy as np
import pytest
from scipy import stats

from cs348k_diffusion.evaluate.claim import (
    Claim,
    combined,
    corrected,
    detectable,
    effects,
    finding,
    holm,
    judge,
    parts_of,
    power,
    profile,
    runs_needed,
    word_of,
)
from cs348k_diffusion.metrics.intervals import Interval


def claim(**changes):
    """A claim about simulated runs: the idea costs nothing and changes the loss by `gain`."""
    given = {
        "id": "X1",
        "idea": "the idea lowers the loss",
        "metric": "loss",
        "better": "less",
        "proposed": {"idea": True},
        "alternatives": ({"idea": False},),
        "experiment": lambda seed, idea: {"loss": 0.0, "cost": 1.0},
    }
    return Claim(**(given | changes))


def simulated(rng, gain, seeds):
    """Losses of a hard problem with seeds of very different difficulty, with and without an idea that gains `gain`."""
    difficulty = rng.normal(0, 5, seeds)
    losses = {True: difficulty - gain + rng.normal(0, 0.5, seeds), False: difficulty + rng.normal(0, 0.5, seeds)}
    return lambda levels: losses[levels["idea"]]


def words(gain, seeds=8, repeats=1500):
    """How often each verdict is given over many simulated studies."""
    rng = np.random.default_rng(7)
    found = [judge(claim(seeds=seeds), simulated(rng, gain, seeds)).word for _ in range(repeats)]
    return {word: found.count(word) / repeats for word in ("supported", "refuted", "not resolved")}


def test_a_planted_useless_component_is_not_resolved_at_the_stated_rate():
    found = words(gain=0.0)
    assert 0.93 < found["not resolved"] < 0.97
    assert abs(found["supported"] - found["refuted"]) < 0.02


def test_a_planted_useful_component_is_supported():
    """Its gain is twice what eight seeds detect in four of five studies, and less than half the seeds' own spread."""
    assert words(gain=2.0)["supported"] > 0.99
    assert words(gain=-2.0)["refuted"] > 0.99


@pytest.mark.parametrize("gain", [0.4, 0.8])
def test_power_is_as_computed(gain):
    spread = 0.5 * 2**0.5
    assert words(gain)["supported"] == pytest.approx(power(gain, spread, 8), abs=0.03)


def test_power_agrees_with_a_published_table():
    """G*Power's example of a paired t-test: d = 0.5 needs 34 pairs for a power of 0.8, and then has 0.808."""
    assert runs_needed(0.5, 1.0) == 34
    assert power(0.5, 1.0, 34) == pytest.approx(0.8078, abs=2e-4)


@pytest.mark.parametrize("n", [2, 3, 5, 12, 60])
def test_the_detectable_effect_is_found_in_four_of_five_studies(n):
    assert power(detectable(1.7, n), 1.7, n) == pytest.approx(0.8, abs=1e-6)
    assert runs_needed(1.001 * detectable(1.7, n), 1.7) == n


def test_out_of_reach_is_said():
    with pytest.raises(ValueError, match=r"more than 1,000 runs: 0\.001 is out of reach"):
        runs_needed(0.001, 1.0, most=1000)


def test_what_has_no_spread_needs_no_statistics():
    assert detectable(0.0, 3) == 0.0
    assert [finding([gain] * 3).word for gain in (0.1, -0.1, 0.0)] == ["supported", "refuted", "not resolved"]


def test_words_follow_the_interval_and_the_side():
    straddles, above = Interval(0.0, -1.0, 1.0), Interval(2.0, 1.5, 2.5)
    assert word_of(straddles) == "not resolved"
    assert word_of(above, 1.0) == "supported"
    assert word_of(above, 1.0, side=-1) == "refuted"
    assert word_of(above, 3.0, side=-1) == "supported"


def test_every_alternative_must_be_beaten():
    losses = {"idea": [1.0, 1.1, 0.9, 1.0], "weak": [3.0, 3.2, 2.9, 3.1], "strong": [0.8, 0.9, 0.7, 0.9]}
    others = ({"arm": "weak"}, {"arm": "strong"})
    one = claim(proposed={"arm": "idea"}, alternatives=others)
    verdict = judge(one, lambda levels: losses[levels["arm"]])
    assert [found.word for found in verdict.findings] == ["supported", "refuted"]
    assert verdict.word == "refuted"
    assert verdict.weakest.against == "arm strong"


def test_without_alternatives_the_threshold_is_the_test():
    errors = {"less": [0.010, 0.012, 0.011], "more": [0.9, 0.95, 0.92]}
    for better, threshold in (("less", 0.02), ("more", 0.8)):
        one = claim(better=better, alternatives=(), threshold=threshold, metric="error")
        assert judge(one, lambda _, better=better: errors[better]).word == "supported"
        assert judge(claim(better=better, alternatives=(), threshold=1 - threshold), lambda _, b=better: errors[b])


def test_the_p_value_is_scipys():
    values = np.random.default_rng(2).normal(0.3, 1.0, 9)
    assert finding(values, 0.1).p == pytest.approx(stats.ttest_1samp(values, 0.1).pvalue)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_holm_keeps_a_family_of_useless_ideas_quiet():
    """Twenty useless ideas a study: uncorrected, most studies find one; corrected, about one study in twenty."""
    rng, some = np.random.default_rng(11), [0, 0]
    for _ in range(200):
        verdicts = [combined((finding(rng.normal(0, 1, 8)),)) for _ in range(20)]
        some[0] += any(one.word != "not resolved" for one in verdicts)
        some[1] += any(one.word != "not resolved" for one in corrected(verdicts))
    assert some[0] / 200 > 0.55
    assert some[1] / 200 < 0.08


def test_effects_of_a_full_design():
    """y = 3 a + 2 b + 5 a b + c: with on and off as 1 and 0 the interaction is 5 and a's mean effect 3 + 5 / 2."""
    a, b, c = np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij")
    noise = np.random.default_rng(0).normal(size=4)  # the seed's own, in all cells: it cancels
    found = effects((3 * a + 2 * b + 5 * a * b + c)[..., None] + noise, ["a", "b", "c"])
    expected = {"a": 5.5, "b": 4.5, "c": 1.0, "a x b": 5.0, "a x c": 0.0, "b x c": 0.0, "a x b x c": 0.0}
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], np.full(4, value), atol=1e-12)


def test_effects_need_the_whole_design():
    with pytest.raises(ValueError, match=r"2 factors need a table \(2,\) \* 2 \+ \(seeds,\), got \(2, 3, 4\)"):
        effects(np.zeros((2, 3, 4)), ["a", "b"])


def design(**changes):
    """A claim about two parts, each on or off; less is better."""
    factors = {"a": ("off", "on"), "b": ("on", "off")}  # in either order
    given = {"factors": factors, "proposed": {"a": "on", "b": "on"}, "alternatives": (), "interaction": True}
    return claim(**given | changes)


def lowered(levels, together=5.0):
    """a lowers the loss by 3, b by 2 and both by `together` more; the seeds' own values cancel but for a little."""
    a, b = (levels[name] == "on" for name in "ab")
    tiny = 0.01 * np.arange(4) * (1 + a + 2 * b)
    return tiny - 3.0 * a - 2.0 * b - together * a * b


def test_parts_count_in_the_ideas_favour():
    parts = parts_of(design(), lowered)
    assert [one.against for one in parts] == ["a", "b", "a x b"]
    assert [one.interval.value for one in parts] == pytest.approx([5.5, 4.5, 5.0], abs=0.05)
    assert [one.word for one in parts] == ["supported"] * 3
    more = parts_of(design(better="more", proposed={"a": "on", "b": "off"}), lowered)
    assert [one.word for one in more] == ["refuted", "supported", "supported"]
    assert more[0].interval.value == pytest.approx(-5.5, abs=0.05)


def test_a_claim_about_an_interaction_is_judged_by_it():
    verdict = judge(design(threshold=4.0), lowered)
    assert verdict.word == "supported" and verdict.weakest.interval.value == pytest.approx(5.0, abs=0.05)
    assert verdict.findings[0].values == verdict.parts[-1].values
    assert judge(design(threshold=6.0), lowered).word == "refuted"
    with pytest.raises(ValueError, match="X1: an interaction needs two factors or more, of two levels each"):
        judge(design(factors={}), lowered)


def test_only_full_designs_of_two_levels_have_parts():
    compared = {"alternatives": ({"a": "off", "b": "off"},), "interaction": False}
    assert len(judge(design(**compared), lowered).parts) == 3
    assert judge(design(**compared, factors={}), lowered).parts == ()
    assert judge(design(**compared, factors={"a": ("off", "on", "half"), "b": ("off", "on")}), lowered).parts == ()
    assert judge(design(**compared, factors={"a": ("off", "on")}), lowered).parts == ()


def test_a_profile_sees_what_a_mean_hides():
    half_fail, mediocre = [1.0, 1.0, 0.0, 0.0] * 10, [0.5] * 40
    assert np.mean(half_fail) == np.mean(mediocre)
    assert [one.value for one in profile(half_fail, [0.1, 0.9])] == [0.5, 0.5]
    assert [one.value for one in profile(mediocre, [0.1, 0.9])] == [1.0, 0.0]
    assert [one.value for one in profile(mediocre, [0.1, 0.9], "less")] == [0.0, 1.0]
