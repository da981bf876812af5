"""Marks and names do not depend on the key of the grading, which salts what a check tries.

Each day another share of the exercises is judged under three keys; all of them, and the corpus of slips too, with
CS348K_ALL_KEYS=1.
"""

import importlib

import jaxtyping
import pytest

from cs348k_diffusion.exercises.framework.catalogue import FOLDER, registry
from cs348k_diffusion.exercises.framework.expecting import LIKELY
from cs348k_diffusion.grading.checks.plugin import Grader, run_checks
from tests.answers import Given, answers
from tests.turns import everything, todays

EVERY = everything("KEYS")
KEYS = ("", "one key", "another")
DAYS = 32  # an exercise has its turn once in so many days
IDS = sorted(registry(), key=lambda id: [int(part) for part in id[1:].split(".")])


@pytest.fixture(autouse=True)
def as_students_run_them():
    """Without the checks of shapes and types, as in tests/test_answers.py."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def sources(id):
    """Right and wrong answers to an exercise, and with all keys the corpus of slips."""
    word = registry()[id].word
    found = {f"right {k + 1}": right for k, right in enumerate(answers(word).RIGHT[id])}
    found |= {f"wrong: {name}": wrong for name, wrong in answers(word).WRONG[id].items()}
    if EVERY:
        slips = importlib.import_module(f"tests.answers.slips.{word}").SLIPS.get(id, {})
        found |= {f"slip: {name}": slip for name, slip in slips.items()}
    return [Given(name, {id: answer}) for name, answer in found.items()]


def verdicts(id, key):
    """(answer, test) -> points, and the mistakes that were named."""
    exercise, records = registry()[id], []
    run_checks([FOLDER / f"{exercise.word}.py"], Grader([exercise], sources(id), records.append, key=key))
    return {
        (r.student, r.test): (r.status, r.earned, [x for x in r.message.splitlines() if x.startswith(LIKELY)])
        for r in records
    }


@pytest.mark.parametrize("id", todays(IDS, DAYS, "KEYS"))
def test_marks_and_names_are_the_same_under_every_key(id):
    one, *others = [verdicts(id, key) for key in KEYS]
    assert one
    told = [
        f"{answer}: {test}: {one[answer, test]} under the key {KEYS[0]!r}, {other[answer, test]} under {key!r}"
        for key, other in zip(KEYS[1:], others)
        for answer, test in one
        if other[answer, test] != one[answer, test]
    ]
    assert not told, "\n".join(told)
