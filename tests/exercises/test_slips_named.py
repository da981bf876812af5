"""Slips that no check knows by heart (tests/answers/slips): rejected, named rightly, and nine of ten named at all."""

import importlib

import pytest

from cs348k_diffusion.exercises.framework.catalogue import of_notebook, registry
from tests.answers import Given, names_in, records_of

pytestmark = pytest.mark.usefixtures("as_students_run_them")

WORDS = sorted({exercise.word for exercise in registry().values()})
BY_DESIGN = {"E1.5", "E11.7"}  # a policy and a claim of a student's own; tests/answers holds wrong ones


def slips(word):
    return importlib.import_module(f"tests.answers.slips.{word}")


def printed(messages):
    """The names that a student reads after "this is what you get when"."""
    return {name for line in names_in(messages) for name in line.split(", or: ")}


def verdict(expected, records):
    """What is wrong with how the checks treat a slip: accepted, without its name, or with another. None if nothing."""
    failed = [record for record in records if record.status != "passed"]
    messages = "\n".join(record.message for record in failed)
    if not failed or any(record.status in ("error", "not yet") for record in failed):
        return f"is accepted, or breaks the check: {messages}"
    false = [name for name in printed(messages) if not any(each in name for each in expected)]
    if false:
        return f"is misnamed {false}"
    return None if not expected or any(each in messages for each in expected) else f"is not named in:\n{messages}"


@pytest.mark.parametrize("word", WORDS)
def test_none_is_accepted_or_misnamed(word):
    told = []
    for id, answers in slips(word).SLIPS.items():
        records = records_of([registry()[id]], [Given(slip, {id: answer}) for slip, answer in answers.items()])
        for slip in answers:
            mine = [record for record in records if record.student == slip]
            problem = verdict(slips(word).NAMED[id].get(slip, ()), mine)
            told += [f"{id}, {slip!r} {problem}"] if problem else []
    assert not told, "\n".join(told)


def test_nine_of_ten_are_named():
    every = [(id, slip) for word in WORDS for id, answers in slips(word).SLIPS.items() for slip in answers]
    named = [(id, slip) for word in WORDS for id, names in slips(word).NAMED.items() for slip in names]
    assert len(every) >= 150
    assert set(named) <= set(every)
    assert len(named) >= 0.9 * len(every), f"{len(named)} of {len(every)}: {sorted(set(every) - set(named))}"


@pytest.mark.parametrize("word", WORDS)
def test_every_exercise_has_slips(word):
    assert {exercise.id for exercise in of_notebook(word)} - BY_DESIGN == set(slips(word).SLIPS)
