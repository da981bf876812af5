"""Plausible slips in notebooks 04 and 06: rejected, told in words, never "tell your instructor".

Each exercise meets a sample of the slips (all of them, and how many are explained, with CS348K_ALL_SLIPS=1).
"""

import os
import random

import jaxtyping
import pytest

from cs348k_diffusion.exercises.framework.catalogue import registry
from cs348k_diffusion.exercises.framework.expecting import LIKELY
from tests.answers import Given, records_of
from tests.answers.slips import readers_of_04_and_06 as plausible_slips

EVERY = bool(os.environ.get("CS348K_ALL_SLIPS"))
SAMPLE = 6
SELF_TOLD = ("wrong shape", "wrong dtype", "wrong result", "your code", "NaN or infinity", "another form")


@pytest.fixture(autouse=True)
def as_students_run_them():
    """Without the checks of types, which draw random numbers."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("id", plausible_slips.S)
def test_a_readers_slips_are_rejected_in_words(id):
    tried = {name: slip for name, slip in plausible_slips.S[id].items() if (id, name) not in plausible_slips.HARMLESS}
    names = list(tried) if EVERY else random.Random(id).sample(list(tried), SAMPLE)
    records = records_of([registry()[id]], [Given(name, {id: tried[name]}) for name in names])
    told = 0
    for name in names:
        failed = [record for record in records if record.student == name and record.status != "passed"]
        assert failed, f"{name} is accepted"
        assert {record.status for record in failed} <= {"failed", "timeout"}, failed
        messages = "\n".join(record.message for record in failed)
        assert "tell your instructor" not in messages
        assert "has no attribute 'name'" not in messages  # what a check asks of an answer to describe it
        told += LIKELY in messages or any(words in messages for words in SELF_TOLD)
    if EVERY:
        assert told >= 0.6 * len(names)
