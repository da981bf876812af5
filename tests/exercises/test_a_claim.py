"""E11.7, a claim of one's own: each check looks at its own fields, and none says what the student is to find out."""

import pytest

from cs348k_diffusion.exercises.framework.catalogue import checks_of, registry
from tests.answers import Given, records_of
from tests.answers.evaluating_an_idea import GAPS, claimed, claimed_without, ends

IDEA, RUNS, INTERVAL, VERDICT, COST = (check.test for check in checks_of(registry()["E11.7"]))
LOOKED_AT = {
    "idea": {IDEA},
    "metric": {IDEA},
    "better": {IDEA, INTERVAL},
    "arms": {RUNS, INTERVAL},
    "cost": {COST},
    "interval": {INTERVAL, VERDICT},
    "verdict": {VERDICT},
    "limits": {COST},
}
ODD = (None, float("nan"), "", [], [1.0], {}, {"ours": [1.0], "plain": ["b"]}, [(1, "a")])


def failed(claim):
    records = records_of([registry()["E11.7"]], [Given("one claim", {"E11.7": claim})])
    return {record.test: record.message for record in records if record.status != "passed"}


@pytest.mark.parametrize("field", LOOKED_AT)
def test_a_missing_field_is_named_where_it_is_looked_at_and_nowhere_else(field):
    messages = failed(claimed_without(field))
    assert set(messages) == LOOKED_AT[field]
    assert all(message.endswith(f"missing here: {field}") for message in messages.values())


@pytest.mark.parametrize("field", LOOKED_AT)
def test_an_odd_field_is_told_in_words_where_it_is_looked_at_and_nowhere_else(field):
    for value in ODD:
        messages = failed(claimed(**{field: value}))
        assert messages, value
        assert set(messages) <= LOOKED_AT[field], value
        assert all("got" in message and "Error" not in message for message in messages.values()), messages


@pytest.mark.parametrize("change", [{"verdict": "not resolved"}, {"interval": (0.01, 0.02)}, {"interval": None}])
def test_no_message_holds_the_right_interval(change):
    right = ends(GAPS)
    given = change.get("interval", right)
    for message in failed(claimed(**change)).values():
        assert all(f"{end:.2g}" not in message for end in right if given != right)
        assert "supported" not in message.replace("not supported", "")


def test_a_verdict_that_follows_from_a_wrong_interval_costs_nothing():
    assert set(failed(claimed(interval=(-0.1, 0.2), verdict="not resolved"))) == {INTERVAL}
    assert set(failed(claimed(interval=(-0.1, 0.2)))) == {INTERVAL}
    assert set(failed(claimed(interval=(-0.1, 0.2), verdict="refuted"))) == {INTERVAL, VERDICT}
