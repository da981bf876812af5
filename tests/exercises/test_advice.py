"""Advice for a property test that rejects a right subject is given only where its cause was seen."""

import importlib

import pytest
import torch

from cs348k_diffusion.exercises import Wrong, run_against
from cs348k_diffusion.exercises.framework.catalogue import registry
from cs348k_diffusion.exercises.framework.properties import overlooked
from cs348k_diffusion.grading.subject.subject import local

EXERCISES = [exercise for exercise in registry().values() if exercise.name.startswith("test_")]
RIGHT = {"one": lambda: 1.0, "1 + 1e-9": lambda: 1 + 1e-9, "1 + 2e-9": lambda: 1 + 2e-9}
ADVICE = {"1 + 2e-9": "the second digit", ("1 + 1e-9", "1 + 2e-9"): "a tolerance"}


def told(test, right=RIGHT, **named):
    with pytest.raises(Wrong, match="which is right") as raised:
        run_against(local(test), right, {"two": lambda: 2.0}, **named)
    return str(raised.value).rpartition("\n")[2]


def below(limit):
    def test(f):
        if f() >= limit:
            raise AssertionError("too large")

    return test


def test_advice_is_that_of_all_rejected_and_of_no_accepted_subject():
    assert told(below(1 + 1.5e-9), stricter=ADVICE) == "the second digit"
    assert told(below(1 + 5e-10), stricter=ADVICE) == "a tolerance"
    assert told(below(0), stricter=ADVICE).endswith("too large")
    assert told(lambda f: below(1)(lambda: 2 - f()), stricter={"1 + 2e-9": "the second digit"}).endswith("too large")


def test_advice_is_given_where_the_subject_of_one_slip_is_accepted():
    takes = {"1 is not 0": lambda: 0.0, "half is enough": lambda: 0.5}
    assert told(below(0.7), takes={"half is enough": lambda: 0.5}) == "half is enough"
    assert told(below(0.2), takes=takes) == "1 is not 0"
    assert told(below(-1), takes=takes).endswith("too large")


def test_a_difference_of_rounding_is_called_so():
    def close(to, **tolerance):
        return lambda f: torch.testing.assert_close(torch.tensor(f()), torch.tensor(to), **tolerance)

    assert "one of rounding" in told(close(1 + 1e-6, rtol=0, atol=0))
    assert "one of rounding" not in told(close(1.1, rtol=0, atol=0))


@pytest.fixture
def graded(monkeypatch):
    """What the checks of an exercise hand to `run_against`: (right, wrong, named arguments), its checks in turn."""

    def calls(exercise):
        module, found = importlib.import_module(f"cs348k_diffusion.exercises.{exercise.word}"), []
        monkeypatch.setattr(
            module, "run_against", lambda _, right, wrong, seed=0, **named: found.append((right, wrong, named))
        )
        for check in vars(module).values():
            marks = getattr(check, "pytestmark", [])
            if any(mark.args == (exercise.id,) for mark in marks if mark.name == "exercise"):
                check(None)
        return found

    return calls


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_no_exercise_advises_whatever_the_reason(exercise, graded):
    """A test that rejects every right answer, for a reason of its own, gets no advice; each advice has its case."""
    calls = graded(exercise)
    assert len(calls) == 2
    for right, wrong, named in calls:
        stricter = named.get("stricter", {})
        assert overlooked(right, right, stricter) == ""
        for names, advice in stricter.items():
            kind = {names} if isinstance(names, str) else set(names)
            assert kind <= set(right), f"no right subject is called {kind - set(right)}"
            seen = [one for one in kind if overlooked([one], right, stricter) == advice]
            assert seen or overlooked(kind, right, stricter) == advice, f"never given: {advice}"
        assert "takes" not in named or told(rejects_all, right, **named).endswith("not I")
        assert wrong


def rejects_all(subject):
    """A test with a reason of its own."""
    raise AssertionError("not I")
