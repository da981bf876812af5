"""Plausible slips in notebooks 04 and 06: rejected, told in words, never "tell your instructor".

Each exercise meets a sample of the slips (all of them, and how many are explained, with CS348K_ALL_SLIPS=1).
"""

import random

import pytest

from cs348k_diffusion.exercises.framework.catalogue import registry
from cs348k_diffusion.exercises.framework.expecting import LIKELY
from tests.answers import Given, records_of
from tests.answers.slips.readers_of_04_and_06 import HARMLESS, SLIPS
from tests.turns import everything

pytestmark = pytest.mark.usefixtures("as_students_run_them")

EVERY = everything("SLIPS")
SAMPLE = 6
SELF_TOLD = ("wrong shape", "wrong dtype", "wrong result", "your code", "NaN or infinity", "another form")


@pytest.mark.parametrize("id", SLIPS)
def test_a_readers_slips_are_rejected_in_words(id):
    tried = {name: slip for name, slip in SLIPS[id].items() if (id, name) not in HARMLESS}
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
