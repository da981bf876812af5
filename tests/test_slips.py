"""Whatever an answer gives back is the student's result: never "the check itself went wrong", never a bare assert.

Every exercise meets a sample of odd values (all of them with CS348K_ALL_SLIPS=1).
"""

import random

import numpy as np
import pytest
import torch
from torch import nn

from cs348k_diffusion.exercises.framework.catalogue import registry
from tests.answers import Given, records_of
from tests.turns import everything

EXERCISES = list(registry().values())
SAMPLE = 3
VALUES = {
    "None": lambda: None,
    "a number": lambda: 3.0,
    "a list": lambda: [1.0, 2.0],
    "text": lambda: "x",
    "a numpy array": lambda: np.ones(3),
    "0-d": lambda: torch.tensor(2.0),
    "wrong shape": lambda: torch.ones(7, 11),
    "empty": lambda: torch.ones(0),
    "integers": lambda: torch.ones(5, 2, dtype=torch.int64),
    "float64": lambda: torch.ones(5, 2, dtype=torch.float64),
    "complex": lambda: torch.ones(5, 2, dtype=torch.complex64),
    "NaN": lambda: torch.full((5, 2), torch.nan),
    "requires grad": lambda: torch.ones(5, 2, requires_grad=True),
    "a subclass": lambda: nn.Parameter(torch.ones(5, 2)),
    "a pair": lambda: (torch.ones(5, 2), None),
    "a dictionary": lambda: {"x": 1.0},
    "a generator not advanced": lambda: (torch.ones(n) for n in range(3)),
    "a function": lambda: lambda *args: None,
    "wrong arity": None,
}


def answer(exercise, make):
    """A function or class that gives the value whatever it is given."""
    if make is None:
        return lambda: None
    if exercise.name[0].islower():
        return lambda *args, **named: make()

    class Odd(nn.Module):
        def __init__(self, *args, **named):
            super().__init__()

        def forward(self, *args, **named):
            return make()

    return Odd


def chosen(exercise):
    """The values that an exercise meets, the same each time."""
    names = list(VALUES)
    return names if everything("SLIPS") else random.Random(exercise.id).sample(names, SAMPLE)


@pytest.mark.parametrize("exercise", EXERCISES, ids=[exercise.id for exercise in EXERCISES])
def test_an_odd_value_is_the_students_result(exercise):
    sources = [Given(name, {exercise.id: answer(exercise, VALUES[name])}) for name in chosen(exercise)]
    records = records_of([exercise], sources)
    assert {record.student for record in records} == {source.student for source in sources}
    for record in records:
        told = f"{record.student}: {record.test}: {record.status}: {record.message}"
        assert record.status in ("passed", "failed", "timeout"), told
        if record.status == "failed":
            assert record.message, told
            assert not record.message.startswith("assert "), told
    for source in sources:
        assert any(r.status != "passed" for r in records if r.student == source.student), source.student
