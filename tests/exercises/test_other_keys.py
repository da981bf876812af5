"""Marks and names do not depend on the key of the grading, which salts what a check tries.

Each day another share of the exercises is judged under three keys; all of them, and the corpus of slips too, with
CS348K_ALL_KEYS=1.
"""

import importlib

import pytest

from cs348k_diffusion.exercises.framework.catalogue import registry
from tests.answers import Given, answers, records_of, verdicts
from tests.turns import everything, todays

pytestmark = pytest.mark.usefixtures("as_students_run_them")

EVERY = everything("KEYS")
KEYS = ("", "one key", "another")
DAYS = 32  # an exercise has its turn once in so many days
IDS = sorted(registry(), key=lambda id: [int(part) for part in id[1:].split(".")])


def sources(id):
    """Right and wrong answers to an exercise, and with all keys the corpus of slips."""
    word = registry()[id].word
    found = {f"right {k + 1}": right for k, right in enumerate(answers(word).RIGHT[id])}
    found |= {f"wrong: {name}": wrong for name, wrong in answers(word).WRONG[id].items()}
    if EVERY:
        slips = importlib.import_module(f"tests.answers.slips.{word}").SLIPS.get(id, {})
        found |= {f"slip: {name}": slip for name, slip in slips.items()}
    return [Given(name, {id: answer}) for name, answer in found.items()]


@pytest.mark.parametrize("id", todays(IDS, DAYS, "KEYS"))
def test_marks_and_names_are_the_same_under_every_key(id):
    one, *others = [verdicts(records_of([registry()[id]], sources(id), key=key)) for key in KEYS]
    assert one
    told = [
        f"{verdict}: {one[verdict]} under the key {KEYS[0]!r}, {other[verdict]} under {key!r}"
        for key, other in zip(KEYS[1:], others)
        for verdict in one
        if other[verdict] != one[verdict]
    ]
    assert not told, "\n".join(told)
